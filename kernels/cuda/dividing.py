"""Divides a chunk into parts that fit the device's memory, and runs them one after another.

1. Where there are several, the data of the next part are uploaded while the kernels of one run; so each may take half of the memory.
2. Where the device runs out of memory all the same, the parts are halved, and that is logged. Parts change no bit.
"""

from __future__ import annotations

import dataclasses
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..chunk import MOMENTS, Chunk
from .running import CHUNK, Device, Found, Part, Prepare

SHARE = 0.8  # of the free memory
_log = logging.getLogger("fastgd")


def bytes_per_fit(chunk: Chunk) -> float:
    """Device memory that a fit takes, its share of the data included."""
    size, itemsize, m = chunk.w.shape[1], chunk.X.dtype.itemsize, len(chunk.w)
    n, d = chunk.X.shape[1:]
    chunks, planes = -(-n // CHUNK), itemsize // 4
    data = itemsize * n * (len(chunk.X) * d + len(chunk.y) + len(chunk.weights)) + 4 * n * len(chunk.kept)
    records = 8 * chunks * (planes * (size + 1) * (size + 2) // 2 + size + 1) + 8 * size * size + 100
    state = 8 * size * (2 * chunk.slots.shape[1] + 8) + 8 * (chunk.products.shape[1] + chunk.hyper.shape[1] + len(chunk.lr) + 10)
    return data / m + records + state + itemsize * (size + 1) * (chunk.history_w.shape[1] + 1)


def cut_chunk(chunk: Chunk, first: int, stop: int) -> Chunk:
    """Fits first … stop-1, with the data that they need: views."""
    here = slice(first, stop)
    changed: dict[str, Any] = {"lr": chunk.lr[:, here]}
    for data, index in (("X", "x_index"), ("y", "y_index"), ("weights", "weight_index"), ("kept", "kept_index")):
        array, places = getattr(chunk, data), getattr(chunk, index)[here]
        there = places[places >= 0]
        changed[index] = places
        if len(array) and len(there):
            low, high = int(there.min()), int(there.max()) + 1
            changed |= {data: array[low:high], index: np.where(places < 0, -1, places - low)}
    for name in ("n_used", "hyper", "w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run",
                 "history_w", "history_loss"):  # fmt: skip
        changed[name] = getattr(chunk, name)[here]
    return dataclasses.replace(chunk, **changed)


def _run(part: Part, cancel: np.ndarray, progress: np.ndarray, prepare: Prepare | None) -> None:
    part.weigh()
    if prepare is not None or (part.chunk.algorithm == MOMENTS).any():
        part.compress()
    if prepare is not None:
        prepare(part.chunk, Found(part))
    part.begin()
    if part.descend(cancel, progress):
        part.write_back()


def descend(chunk: Chunk, cancel: np.ndarray, progress: np.ndarray, device: Device, prepare: Prepare | None = None) -> None:
    """All epochs of a chunk. `prepare` is told what the moments of a part say, and may set its lr, status and algorithm."""
    m, first = len(chunk.w), 0
    at_once = int(SHARE * device.free_bytes() / bytes_per_fit(chunk))
    count = m if m <= at_once else max(1, at_once // 2)
    ahead: Future[Part] | None = None
    with ThreadPoolExecutor(1) as pool:
        while first < m and not cancel[0]:
            stop, before = min(m, first + count), int(progress[0])
            try:
                part: Any = ahead.result() if ahead else Part(device, cut_chunk(chunk, first, stop))
                ahead = None
                if stop < m:
                    ahead = pool.submit(Part, device, cut_chunk(chunk, stop, min(m, stop + count)))
                _run(part, cancel, progress, prepare)
                first = stop
            except device.out_of_memory:
                device.wait()  # what was launched still reads the memory that is given back
                if stop - first == 1:
                    raise MemoryError(f"one fit of {chunk.X.shape[1]:,} samples does not fit into the device's memory") from None
                count, ahead, progress[0] = (stop - first + 1) // 2, None, before
                _log.warning("the device is out of memory with %d fits at a time; going on with %d", stop - first, count)
            part = None  # its memory is free before the next one takes some
