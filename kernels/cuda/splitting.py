"""Splits a chunk into parts that fit into the device's memory, and runs them one after another.

1. The data of the next part are uploaded while the kernels of this one run and its results come
   back; so each may take half of the memory. Large chunks in the computer's memory are always
   split, so that copies and kernels overlap.
2. Where the device runs out of memory all the same, the parts are halved, and that is logged. Parts
   change no bit.
3. A part ends where an item ends. Where the fits of one item need several parts, its data stay on
   the device, and are compressed once.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..batch_order import steps_per_epoch
from ..chunk import MOMENTS, STANDARD, STREAM, Chunk
from .data import Data, Device, GivenMoments, find_items
from .header import CHUNK, NEGATIVE, NOT_FINITE
from .part import EXCESSES, RESULTS, STATE, Minimise, Part

SHARE = 0.8  # of the free memory
STREAMED_BYTES = 2**29  # of data in the computer's memory: more is sent in parts
_log = logging.getLogger("fastgd")

_INDICES = (("X", "x_index"), ("y", "y_index"), ("weights", "weight_index"), ("kept", "kept_index"))


@dataclass(frozen=True)
class Handling:
    """What is done on the device besides the epochs.

    omit: samples with missing numbers are left out. safe_rates: the learning rates are made there,
    into lr. refuse(chunk, n_used, invalid, negative) is called before a part descends, with how
    many samples each fit uses, whether its data are not finite, and whether a weight is negative;
    it may raise, and set status and algorithm. minimise: as in Part.find_least. converts_results:
    the results of standardised fits are turned into the caller's units. converts_start: the start
    of standardised fits is in the caller's units and is turned into theirs. follow(first, stop, lr,
    steps) gives the (epochs, m) rates of some fits of the chunk, which begin with lr (m,) after
    some steps (m,), and their momenta, as in a Chunk; None: the rates stay. moments: those that are
    given in place of samples, for the fits whose y_index is their number; then nothing is refused.
    """

    refuse: Callable[[Chunk, np.ndarray, np.ndarray, np.ndarray], None]
    omit: bool = False
    safe_rates: bool = False
    minimise: Minimise | None = None
    converts_results: bool = False
    converts_start: bool = False
    follow: Callable[[int, int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    tables: int = 1  # how many `follow` gives that are not empty
    moments: GivenMoments | None = None


def _is_here(array: Any) -> bool:
    """Whether an array is in the computer's memory."""
    return isinstance(array, np.ndarray)


def bytes_of(chunk: Chunk, dtype: np.dtype) -> tuple[int, float]:
    """Bytes of device memory: (of data to be uploaded or converted, of a fit besides)."""
    size, itemsize, n = chunk.w.shape[1], dtype.itemsize, chunk.X.shape[1]
    planes, chunks = itemsize // 4, max(1, -(-n // CHUNK))
    data = sum(array.size * itemsize for array in (chunk.X, chunk.y, chunk.weights) if not _is_as_needed(array, dtype))
    records = 8 * chunks * (planes * (size + 1) * (size + 2) // 2 + size + 1) + 8 * size * size + 100
    records += 8 * planes * (size + 1) * (size + 2) // 2 if len(chunk.excess) else 0  # of the elimination
    records += 16 * size if len(chunk.center) else 0
    scratch = 8 * size * (chunk.slots.shape[1] + 6) + 8 * (chunk.hyper.shape[1] + 10)
    results = [array for name in (*STATE, *RESULTS, *EXCESSES, *STANDARD, "lr", "batch_loss") if _is_here(array := getattr(chunk, name))]
    return data, records + scratch + sum(array.nbytes for array in results) / len(chunk.w)


def _is_as_needed(array: Any, dtype: np.dtype) -> bool:
    return not _is_here(array) and array.dtype == dtype and bool(array.flags.c_contiguous)


def cut_chunk(chunk: Chunk, first: int, stop: int) -> Chunk:
    """Fits first … stop-1, with the data that they need: views."""
    here = slice(first, stop)
    changed: dict[str, Any] = {"lr": chunk.lr[:, here], "momenta": chunk.momenta[:, here]}
    for data, index in _INDICES:
        array, places = getattr(chunk, data), getattr(chunk, index)[here]
        changed[index] = places
        if not len(array):
            continue
        there = places[places >= 0] if data == "kept" else places
        low, high = (int(there.min()), int(there.max()) + 1) if len(there) else (0, 0)
        if (low, high) != (0, len(array)):
            changed |= {data: array[low:high], index: np.where(places < 0, -1, places - low) if low else places}
    for name in ("n_used", "hyper", "algorithm", "status", "batch_loss", *STATE, *RESULTS, *EXCESSES, *STANDARD):
        changed[name] = getattr(chunk, name)[here]
    if chunk.batches is not None:
        own = chunk.batches
        changed["batches"] = dataclasses.replace(own, seeds=own.seeds[here], passes=own.passes[here])
    return dataclasses.replace(chunk, **changed)


class _Prepared:
    """A part, ready to run, and the data that it may share with the next one."""

    def __init__(self, device: Device, chunk: Chunk, first: int, stop: int, before: _Prepared | None) -> None:
        self.first, self.stop = first, stop
        cut = cut_chunk(chunk, first, stop)
        representatives, item_of_fit = find_items(cut)
        self.pairs = chunk.y_index[first:stop] if representatives is None else chunk.y_index[first:stop][representatives]
        lone = stop - first == 1 or (representatives is not None and len(representatives) == 1)
        self.key = (
            tuple(int(getattr(chunk, index)[first]) if len(getattr(chunk, data)) else 0 for data, index in _INDICES) if lone else None
        )
        shares = before is not None and self.key is not None and before.key == self.key
        self.is_new = not shares
        self.data: Data = before.data if shares and before is not None else Data(device, cut, representatives)
        self.part, self.representatives = Part(self.data, cut, item_of_fit), representatives

    def run(self, cancel: np.ndarray, progress: np.ndarray, handling: Handling | None) -> None:
        """Run the part, from the data to the results."""
        part, data = self.part, self.data
        standardizes = len(part.chunk.center) > 0
        compresses = bool((part.chunk.algorithm == MOMENTS).any()) or standardizes or (handling is not None and handling.safe_rates)
        given = None if handling is None else handling.moments
        if self.is_new and given is not None:
            data.put_moments(given, self.pairs)
        elif self.is_new:
            data.invalid, data.negative = _find_invalid(data, handling, compresses)
            if standardizes:
                data.doubtful = data.standardize(part.chunk, self.representatives, handling is None or not handling.converts_start)
        if handling is not None and given is None:
            handling.refuse(part.chunk, part.of_fits(data.used), part.of_fits(data.invalid), part.of_fits(data.negative))
        if standardizes:
            part.chunk.algorithm[part.of_fits(data.doubtful)] = STREAM
        part.begin(handling is not None and handling.safe_rates, handling is not None and handling.converts_start)
        if handling is not None and handling.follow is not None:
            part.follow(partial(handling.follow, self.first, self.stop))
        part.find_least(handling.minimise if handling is not None else None)
        if part.descend(cancel, progress):
            if standardizes and handling is not None and handling.converts_results:
                part.convert_results()
            part.write_back()


def _find_invalid(data: Data, handling: Handling | None, compresses: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find the kept samples, weigh and compress them.

    Returns for each item whether its data are not finite, and whether a weight is negative.
    """
    faults = np.zeros(data.n_items, np.int8)
    invalid = np.zeros(data.n_items, bool)
    omit = handling is not None and handling.omit
    if handling is not None and (data.weighted or (omit and not compresses)):
        faults = data.leave_out(omit, check_finite=omit and not compresses)
    data.weigh()
    if compresses:
        data.compress()
    if handling is not None and not (omit and not compresses):
        invalid = data.moments_not_finite() if compresses else data.not_finite(omit)
        if omit and invalid.any():
            items = np.flatnonzero(invalid)
            data.leave_out(omit, items, check_finite=True)
            data.weigh(items)
            data.compress(items)
            invalid = np.zeros(data.n_items, bool)
    return invalid | (faults == NOT_FINITE), faults == NEGATIVE


def _ends(chunk: Chunk) -> np.ndarray | None:
    """The first fit of each item, and the number of fits.

    None where every fit has its own item, or fits of one item do not follow each other.
    """
    representatives, item_of_fit = find_items(chunk)
    if representatives is None or item_of_fit is None or (item_of_fit[1:] < item_of_fit[:-1]).any():
        return None
    return np.append(representatives, len(item_of_fit))


def _end_of_part(ends: np.ndarray | None, first: int, count: int, m: int) -> int:
    stop = min(m, first + count)
    if ends is None or stop == m:
        return stop
    whole = int(ends[np.searchsorted(ends, stop, side="right") - 1])
    return whole if whole > first else stop


def descend(
    chunk: Chunk,
    cancel: np.ndarray,
    progress: np.ndarray,
    device: Device,
    handling: Handling | None = None,
    limit: int | None = None,
) -> None:
    """Run all epochs of a chunk.

    handling None: the data are finite and the rates given. limit: bytes of the device's memory that
    may be taken; None: as much as is free.
    """
    m, first, ends = len(chunk.w), 0, _ends(chunk)
    count = _fits_at_once(chunk, device, ends, limit, tables=handling.tables if handling is not None and handling.follow is not None else 0)
    before: _Prepared | None = None
    ahead: Future[_Prepared] | None = None
    with ThreadPoolExecutor(1) as pool:
        while first < m and not cancel[0]:
            stop, done, here = _end_of_part(ends, first, count, m), int(progress[0]), None
            try:
                here = ahead.result() if ahead else _Prepared(device, chunk, first, stop, before)
                before, ahead = here, None
                if stop < m:
                    ahead = pool.submit(_Prepared, device, chunk, stop, _end_of_part(ends, stop, count, m), here)
                here.run(cancel, progress, handling)
                first = stop
            except device.out_of_memory:
                if ahead is not None:
                    ahead.exception()  # it is there now, and can be let go
                device.wait()  # what was launched still reads the memory that is given back
                if stop - first == 1:
                    raise MemoryError(f"one fit of {chunk.X.shape[1]:,} samples does not fit into the device's memory") from None
                count, ahead, before, progress[0] = (stop - first + 1) // 2, None, None, done
                _log.warning("the device is out of memory with %d fits at a time; going on with %d", stop - first, count)


def _fits_at_once(chunk: Chunk, device: Device, ends: np.ndarray | None, limit: int | None, tables: int = 0) -> int:
    """How many fits a part may have. tables: in how many each has a number for every epoch."""
    m = len(chunk.w)
    of_data, of_fit = bytes_of(chunk, chunk.w_out.dtype)
    batches, n = chunk.batches, chunk.X.shape[1]
    steps = steps_per_epoch(n, batches.size, batches.drop_last) if batches is not None and batches.rate_per_step else 1
    of_table = 8 * chunk.epochs * steps * tables
    of_fit += of_table
    n_items = m if ends is None else len(ends) - 1
    shared = of_data / n_items if n_items == 1 else 0.0
    each = of_fit + (0.0 if n_items == 1 else of_data / m)
    free = SHARE * device.free_bytes()
    if limit is not None and shared + each > limit:
        raise MemoryError(f"memory_limit leaves {limit:,} bytes of the GPU's memory, and computing one fit needs {int(shared + each):,}")
    free = free if limit is None else min(free, limit)
    count = m
    if shared + m * each > free:  # half for the part that runs, half for the next one
        count = max(1, int((free / 2 - shared) / each))
    if n_items > 1 and _is_here(chunk.X) and of_data > STREAMED_BYTES:
        count = min(count, max(1, int(m * (STREAMED_BYTES / of_data))))
    if of_table:  # it is made in the computer's memory
        count = min(count, max(1, STREAMED_BYTES // of_table))
    return count
