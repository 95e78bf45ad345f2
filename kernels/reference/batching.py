"""The mini-batches of a fit for the references, and the loss that users print after an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..batch_order import batches_of, order_of_epoch, steps_per_epoch
from ..chunk import Chunk


class Batching:
    """The batches of every epoch of one fit of a chunk; without mini-batches one, of all samples.

    ``running`` is what a loop over a DataLoader sums: the loss of each batch times its size.
    """

    def __init__(self, chunk: Chunk, fit: int, n_samples: int) -> None:
        self._chunk, self._fit, self._n = chunk, fit, n_samples
        own = chunk.batches
        self.passes = 0 if own is None else int(own.passes[fit])  # epochs before this call
        self.steps = 1 if own is None else steps_per_epoch(n_samples, own.size, own.drop_last)
        self.per_step = own is not None and own.rate_per_step
        self._running = self._size = 0.0

    def of_epoch(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch of this call, each as an index of samples; None: all of them."""
        own = self._chunk.batches
        if own is None:
            yield None
            return
        self._running = self._size = 0.0
        order = order_of_epoch(self._n, self.passes + epoch, int(own.seeds[self._fit])) if own.shuffle else np.arange(self._n)
        yield from batches_of(order, own.size, own.drop_last)
        if self._chunk.batch_loss.shape[1]:
            self._chunk.batch_loss[self._fit, epoch] = self._running / self._size if self._size else math.nan

    def add(self, loss: float, size: float) -> None:
        """Count the loss of a batch; size: its number of samples, with weights their sum."""
        self._running += loss * size
        self._size += size
