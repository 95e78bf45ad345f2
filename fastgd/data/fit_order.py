"""FitOrder: the order in which fits are computed, and which data each fit has."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class FitOrder:
    """The order in which fits are computed: fits that share their data follow each other.

    Fit f, in this order, belongs to pair f // n_cells; a pair is an X and a y.
    """

    shape: tuple[int, ...]  # leading axes of the results
    pairs: tuple[int, ...]  # the same axes, of length 1 where X, y and weights are shared
    own_x: tuple[bool, ...]  # for each axis, whether X or the weights differ along it
    n_fits: int = field(init=False)
    n_pairs: int = field(init=False)  # different pairs
    n_cells: int = field(init=False)  # fits per pair
    axes: tuple[int, ...] = field(init=False)  # numbers of the axes, the slowest first
    natural: bool = field(init=False)  # whether `axes` is 0, 1, 2, …

    def __post_init__(self) -> None:
        n_fits, n_pairs, numbers = math.prod(self.shape), math.prod(self.pairs), range(len(self.shape))
        # the slowest axes are those along which X differs, then those along which y does
        rank = [(not own, pair == 1) for own, pair in zip(self.own_x, self.pairs, strict=True)]
        axes = tuple(sorted(numbers, key=lambda axis: (rank[axis], axis)))
        found = {"n_fits": n_fits, "n_pairs": n_pairs, "n_cells": n_fits // n_pairs, "axes": axes, "natural": axes == tuple(numbers)}
        vars(self).update(found)

    @classmethod
    @functools.lru_cache(64)
    def of(cls, shape: tuple[int, ...], *data_leading: tuple[int, ...]) -> FitOrder:
        """The order of fits of `shape`, whose X (with weights) and y have these leading axes.

        Calls share it: nobody changes it.
        """
        pairs = np.broadcast_shapes(*data_leading)
        x_leading = (1,) * (len(shape) - len(data_leading[0])) + data_leading[0]
        return cls(shape, (1,) * (len(shape) - len(pairs)) + pairs, tuple(length > 1 for length in x_leading))

    def index(self, leading: tuple[int, ...], fits: np.ndarray) -> np.ndarray:
        """(m,) int64: positions of m fits in an array with these leading axes, flattened."""
        padded = (1,) * (len(self.shape) - len(leading)) + tuple(leading)
        if math.prod(padded) == 1:
            return np.zeros(len(fits), np.int64)
        if padded == self.shape and self.natural:
            return fits
        steps = [math.prod(padded[a + 1 :]) if padded[a] > 1 else 0 for a in range(len(padded))]
        result = np.zeros(len(fits), np.int64)
        for a in reversed(self.axes):
            fits, here = np.divmod(fits, self.shape[a])
            if steps[a]:
                result += here * steps[a]
        return result

    def pick(self, values: np.ndarray, fits: np.ndarray, n_last: int = 0) -> np.ndarray:
        """(m, …): the values of m fits; axes of `values` but the n_last broadcast to `shape`."""
        leading = values.shape[: values.ndim - n_last]
        return values.reshape(math.prod(leading), *values.shape[values.ndim - n_last :])[self.index(leading, fits)]

    def pick_range(self, values: np.ndarray, first: int, stop: int, n_last: int = 0) -> np.ndarray:
        """(stop - first, …): the values of a range of fits; (1, …) where all have the same."""
        leading, tail = values.shape[: values.ndim - n_last], values.shape[values.ndim - n_last :]
        if values.size == math.prod(tail):
            return values.reshape(1, *tail)
        if leading == self.shape and self.natural:
            return values.reshape(-1, *tail)[first:stop]
        return self.pick(values, np.arange(first, stop, dtype=np.int64), n_last)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """A view (*shape, …) of values (n_fits, …) that are in the order of computation."""
        tail = values.shape[1:]
        if self.natural:
            return values if len(self.shape) == 1 else values.reshape(self.shape + tail)
        ordered = values.reshape((*(self.shape[a] for a in self.axes), *tail))
        back = np.argsort(self.axes) if self.axes else np.zeros(0, int)
        return ordered.transpose((*(int(a) for a in back), *range(len(self.shape), ordered.ndim)))
