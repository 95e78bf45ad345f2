"""Storing: finished fits of a job go into its checkpoint while the others are computed.

1. `Store.cut` cuts the fits that are not stored yet into tasks. A worker whose task is done writes
   down which fits are finished, and now and then stores all that are: the other workers go on.
2. After a store the next one waits for 32 times as long as that took, and a hundredth of the time
   of the call, but at least 1 s and at most 60 s. So storing takes 3 % of one thread's time where a
   store takes less than 2 s, and a kill loses what was computed since the last one.
3. What cannot be stored (a full disk) stays with what is stored next. The user is told once, and
   the call goes on. When it ends, by Ctrl-C too, all that is finished is stored.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from ..input.messages import in_ascii, what_was_raised
from ..results.buffers import Buffers
from ..results.checkpoint import MOST_BYTES, Block, Part, say
from ..results.curvatures import concatenated
from .pool import Control, Range, Run, Task

SHARE = 32  # a store takes at most one part of so many
SHORTEST, LONGEST = 1.0, 60.0  # seconds between two stores

Ranges = list[tuple[int, int]]


def run_stored(runner: ModuleType, job: Any, control: Control, go: Run, keeps: bool = True) -> None:
    """Run a job by its runner, without the fits that its checkpoint has, and store the others.

    keeps: whether fits are stored when all are finished.
    """
    assert job.part is not None
    store = control.store = Store(Fits(job.part, job.buffers), control)
    try:
        control.counter(0)[0] += job.total // max(1, job.order.n_fits) * store.load(job.order.n_fits)
        runner.run(job, control, go)
        complete = not control.cancel[0]
    except BaseException:
        store.close()
        raise
    else:
        if keeps or not complete:
            store.close()
    finally:
        control.store = None


class Fits:
    """The fits of a job, and the part of the checkpoint that holds them."""

    def __init__(self, part: Part, buffers: Buffers) -> None:
        self.part, self.buffers, self.folder = part, buffers, part.checkpoint.folder

    def pieces(self, first: int, stop: int) -> Ranges:
        """Cut a range of fits into blocks."""
        most = max(1, MOST_BYTES // max(1, self.buffers.layout.bytes_per_fit))
        return [(at, min(at + most, stop)) for at in range(first, stop, most)]

    def read(self) -> Ranges:
        """Put all stored fits into the buffers; returns which they are."""
        found = []
        for block in self.part.read(self._holds):
            for name, values in block.arrays.items():
                self.buffers.arrays[name][block.first : block.stop] = values
            if block.curvatures is not None:
                self.buffers.curvatures.append(block.curvatures)
            found.append((block.first, block.stop))
        return found

    def _holds(self, block: Block) -> bool:
        """Whether a block has all arrays of some fits of the job."""
        arrays, count = self.buffers.arrays, block.stop - block.first
        if not 0 <= block.first < block.stop <= self.buffers.layout.order.n_fits or block.arrays.keys() != arrays.keys():
            return False
        return all(
            (values.shape, values.dtype) == ((count, *arrays[name].shape[1:]), arrays[name].dtype) for name, values in block.arrays.items()
        )

    def write(self, first: int, stop: int) -> None:
        """Store a range of finished fits."""
        kept = [part[(part.index >= first) & (part.index < stop)] for part in list(self.buffers.curvatures)]
        some = [part for part in kept if len(part.index)]
        arrays = {name: values[first:stop] for name, values in self.buffers.arrays.items()}
        self.part.write(first, stop, arrays, concatenated(some) if some else None)


class Store:
    """What of a job is stored, what is finished, and when the next store is due."""

    def __init__(self, items: Any, control: Control) -> None:
        self._items, self._control, self._process = items, control, os.getpid()
        self._lock = threading.Lock()
        self._stored: Ranges = []
        self._finished: Ranges = []
        self._busy = self._told = False
        self._began = time.monotonic()
        self._due = self._began + SHORTEST

    @property
    def goes_on(self) -> bool:
        """Whether some items were stored when the call began."""
        return bool(self._stored)

    def load(self, count: int) -> int:
        """Take over what the checkpoint has; returns how many of `count` items that are."""
        self._stored = merged(self._items.read())
        return count - sum(stop - first for first, stop in self.missing(0, count))

    def missing(self, first: int, stop: int) -> Ranges:
        """The ranges of items first … stop-1 that were not stored when the call began."""
        found = []
        for begin, end in self._stored:
            if end > first and begin < stop:
                if begin > first:
                    found.append((first, begin))
                first = end
        return [*found, (first, stop)] if first < stop else found

    def cut(self, count: int, size: int, function: Range, begin: int = 0) -> Iterator[Task]:
        """As `pool.cut`, without the items that are stored; what tasks finish is noted."""
        for first, stop in self.missing(begin, begin + count):
            for at in range(first, stop, size):
                yield partial(self._run, function, at, min(at + size, stop))

    def _run(self, function: Range, first: int, stop: int, counter: np.ndarray) -> None:
        function(first, stop, counter)
        if not self._control.cancel[0]:  # else a kernel may have stopped in the midst
            self.note(first, stop)

    def note(self, first: int, stop: int) -> None:
        """Items first … stop-1 are finished; store all that are, if it is time."""
        with self._lock:
            self._finished.append((first, stop))
            if self._busy or time.monotonic() < self._due:
                return
            self._busy = True
        try:
            self._write_all()
        finally:
            self._busy = False

    def close(self) -> None:
        """Store what is finished."""
        if os.getpid() == self._process:  # not in the child of a fork, whose parent goes on
            self._write_all()

    def _write_all(self) -> None:
        with self._lock:
            ranges, self._finished = merged(self._finished), []
        began, left = time.monotonic(), [piece for first, stop in ranges for piece in self._items.pieces(first, stop)]
        try:
            while left:
                self._items.write(*left[0])
                left.pop(0)
        except (OSError, MemoryError) as error:
            self._tell(error)
        finally:
            now = time.monotonic()
            with self._lock:
                self._finished += left
                self._due = now + min(LONGEST, max(SHORTEST, SHARE * (now - began), (now - self._began) / 100))

    def _tell(self, error: BaseException) -> None:
        if self._told:
            return
        self._told = True
        say(
            f"fastgd: the checkpoint {in_ascii(self._items.folder)} could not be written ({what_was_raised(error)}): the call goes on, and "
            "tries it again now and then; what was stored before stays"
        )


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same items in as few ranges as can be, ascending."""
    found: Ranges = []
    for first, stop in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((first, stop))
    return found
