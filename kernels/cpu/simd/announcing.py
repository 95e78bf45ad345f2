"""What is said before kernels are compiled: one line for all that a call needs, and how long.

The seconds are for an AMD EPYC core of 2024, from those of a machine 2.4 times slower, scaled by
how fast each compiles a piece of Python: most of Numba's work is Python's own. Processor time, of a
piece so short that it is seldom interrupted: on a busy machine the estimate stays what one core
takes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from ...telling import LISTENER

SECONDS = {  # of one core, for each version of a kernel
    "compress": 1.9, "compress_targets": 1.0, "join": 0.2, "largest_eigenvalues": 0.2, "least_values": 0.4, "descend_packs": 1.9,
    "descend_rule_packs": 1.8, "descend": 3.8, "descend_batches": 2.1, "sort_order": 0.1, "find_kept": 0.3, "find_shifts": 0.1,
    "standardize": 0.4, "solve": 1.7, "invert": 0.4, "unscale": 0.1,
}  # fmt: skip
PIECE_SECONDS = 0.00078  # that the reference takes to compile the text of this file 4 times
_announced: ContextVar[bool] = ContextVar("_announced", default=False)


@functools.cache
def slowness() -> float:
    """How long this machine takes for the piece of Python, in times of the reference."""
    text, spent = Path(__file__).read_bytes().partition(b"from __future__")[2].partition(b"\n")[2] * 4, []
    for _ in range(12):
        began = time.process_time()
        compile(text, __file__, "exec")
        spent.append(time.process_time() - began)
    return min(max(min(spent) / PIECE_SECONDS, 0.3), 10.0)


def seconds(kernels: Iterable[str]) -> float:
    """How long compiling these kernels takes here [s of one core], about."""
    return slowness() * sum(SECONDS.get(name, 0.5) for name in kernels)


def in_words(kernels: Iterable[str]) -> str:
    """The same, as "12 s"."""
    return f"{max(1, round(seconds(kernels)))} s"


@contextlib.contextmanager
def announced(kernels: list[str], kept: bool = True) -> Iterator[None]:
    """While it is open these kernels are compiled, one after another: one line for all of them.

    kept: whether they are written to disk then, so that they are compiled once.
    """
    if not kernels:
        yield
        return
    _begin(kernels, kept)
    token = _announced.set(True)
    try:
        yield
    finally:
        _announced.reset(token)
        LISTENER.get().end()


def _begin(kernels: list[str], kept: bool) -> None:
    listener, once = LISTENER.get(), ", once" if kept else ""
    listener.say(f"fastgd: compiling CPU kernels{once}: about {in_words(kernels)} of one core (docs/how-to/kernels.md, Compiling)")
    listener.begin(f"compiling kernels, about {in_words(kernels)}")


def announce_lazily(kernel: str, kept: bool = True) -> None:
    """A kernel is about to be compiled: say so, unless a line has told of it."""
    if not _announced.get():
        _begin([kernel], kept)


def end_lazily() -> None:
    """That kernel is compiled."""
    if not _announced.get():
        LISTENER.get().end()
