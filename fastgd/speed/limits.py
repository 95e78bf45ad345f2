"""What this machine can do: reading, writing, gathering, multiply-adds and an empty call.

1. Threads that wait in a pool, so that a limit holds no start of a thread; the work is cut evenly.
   Where there are several ways to do a thing each one is measured, in turn with the cases, and the
   fastest is the limit.
2. read: every number once, summed by NumPy or by a loop of vectors of our own. write: by memset, by
   NumPy's fill or by vectors of our own; into memory that was touched before, or into fresh pages,
   which the system hands out and clears while they are written.
3. fma: chains of vector multiply-adds that do not wait for each other, with numbers in registers
   alone. Several numbers of chains are tried first, since machines differ in registers and in how
   long one multiply-add takes; the fastest is then measured.
4. gather: rows of a matrix read in a given order, each fetched before it is needed, by one thread.
5. Nothing is kept on disk: these functions are no kernels of `fit`, and take seconds to compile.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

from ..kernels.cpu.simd.compiling import OPTIONS
from ..kernels.cpu.simd.lanes import LANES, PART, add, butterfly, fill, first_half, fma, load, load_part, second_half, store
from ..kernels.cpu.simd.scalars import prefetch
from .measuring import interleaved

AHEAD = 32  # rows that are fetched before they are read
ROUNDS = 1_000_000  # of the longest chain: some milliseconds
Way = Callable[[], object]


@numba.njit(**OPTIONS)
def read_numbers(array: Any) -> Any:
    """The sum of a flat array, four vectors of lanes at a time."""
    zero = fill(array.dtype.type(0))
    a, b, c, d = zero, zero, zero, zero
    i = 0
    while i + 4 * LANES <= len(array):
        a, b = add(a, load(array, i)), add(b, load(array, i + LANES))
        c, d = add(c, load(array, i + 2 * LANES)), add(d, load(array, i + 3 * LANES))
        i += 4 * LANES
    total = butterfly(add(add(a, b), add(c, d)))
    while i < len(array):
        total += array[i]
        i += 1
    return total


@numba.njit(**OPTIONS)
def write_numbers(array: Any, number: Any) -> None:
    """Fill a flat array, a vector of lanes at a time."""
    value = fill(number)
    i = 0
    while i + LANES <= len(array):
        store(array, i, value)
        i += LANES
    while i < len(array):
        array[i] = number
        i += 1


@numba.njit(**OPTIONS)
def gather_rows(X: Any, order: Any, sums: Any) -> None:
    """Sum the rows of X, flat, PART numbers each, in an order."""
    total = load_part(sums, 0)
    for i in range(len(order)):
        if i + AHEAD < len(order):
            prefetch(X, np.int64(order[i + AHEAD]) * PART)
        total = add(total, load_part(X, np.int64(order[i]) * PART))
    store(sums, 0, total)


@numba.njit(**OPTIONS)
def one_chain(x: Any, count: int) -> Any:
    """`count` multiply-adds of one vector."""
    a, by, plus = fill(x), fill(x), fill(x)
    for _ in range(count):
        a = fma(a, by, plus)
    return butterfly(a)


@numba.njit(**OPTIONS)
def halves(x: Any, count: int) -> Any:
    """`count` multiply-adds of each of three independent vectors of half as many lanes."""
    a, by, plus = first_half(fill(x)), first_half(fill(x)), first_half(fill(x))
    b, c = add(a, a), plus
    for _ in range(count):
        a, b, c = fma(a, by, plus), fma(b, by, plus), fma(c, by, plus)
    sixteen = add(a, add(b, c))
    eight = add(first_half(sixteen), second_half(sixteen))  # every lane counts: what is not asked for need not be computed
    four = add(first_half(eight), second_half(eight))
    two = add(first_half(four), second_half(four))
    return first_half(two) + second_half(two)


@numba.njit(**OPTIONS)
def three_chains(x: Any, count: int) -> Any:
    """`count` multiply-adds of each of three independent vectors."""
    a, by, plus = fill(x), fill(x), fill(x)
    b = add(a, a)
    c = add(b, a)
    for _ in range(count):
        a, b, c = fma(a, by, plus), fma(b, by, plus), fma(c, by, plus)
    return butterfly(add(a, add(b, c)))


@numba.njit(**OPTIONS)
def six_chains(x: Any, count: int) -> Any:
    """`count` multiply-adds of each of six independent vectors."""
    a, by, plus = fill(x), fill(x), fill(x)
    b = add(a, a)
    c = add(b, a)
    d, e, f = add(c, a), add(c, b), add(c, c)
    for _ in range(count):
        a, b, c = fma(a, by, plus), fma(b, by, plus), fma(c, by, plus)
        d, e, f = fma(d, by, plus), fma(e, by, plus), fma(f, by, plus)
    return butterfly(add(add(a, add(b, c)), add(d, add(e, f))))


CHAINS = {one_chain: LANES, halves: 3 * LANES // 2, three_chains: 3 * LANES, six_chains: 6 * LANES}  # multiply-adds of a round


def pieces_of(arrays: tuple[np.ndarray, ...], threads: int) -> list[list[np.ndarray]]:
    """For every thread a stretch of each array."""
    return [[np.array_split(array.reshape(-1), threads)[k] for array in arrays] for k in range(threads)]


class Machine:
    """Limits of this machine, as functions to be timed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._chains: dict[str, Callable[..., object]] = {}

    def _on_all(self, function: Callable[[int], object], threads: int) -> None:
        for answer in [self._pool.submit(function, k) for k in range(threads)]:
            answer.result()

    def ways_to_read(self, arrays: tuple[np.ndarray, ...]) -> dict[str, Way]:
        """Read all of these once."""
        pieces = pieces_of(arrays, self.threads)

        def by_numpy(k: int) -> None:
            for piece in pieces[k]:
                piece.sum()

        def by_vectors(k: int) -> None:
            for piece in pieces[k]:
                read_numbers(piece)

        return {f"read {way.__name__}": functools.partial(self._on_all, way, self.threads) for way in (by_numpy, by_vectors)}

    def _write(self, arrays: tuple[np.ndarray, ...], how: str) -> tuple[np.ndarray, ...]:
        pieces = pieces_of(arrays, self.threads)

        def write(k: int) -> None:
            for piece in pieces[k]:
                if how == "by_memset":
                    ctypes.memset(piece.ctypes.data, 1, piece.nbytes)
                elif how == "by_numpy":
                    piece.fill(1)
                else:
                    write_numbers(piece, piece.dtype.type(1))

        self._on_all(write, self.threads)
        return arrays

    def ways_to_write(self, like: tuple[np.ndarray, ...]) -> dict[str, Way]:
        """Write as much as these hold: `write …` to touched memory, `fresh …` to fresh pages."""
        hows = ("by_memset", "by_numpy", "by_vectors")
        touched = self._write(tuple(np.empty_like(array) for array in like), "by_numpy")
        shapes = [(array.shape, array.dtype) for array in like]
        ways: dict[str, Way] = {f"write {how}": functools.partial(self._write, touched, how) for how in hows}

        def write_fresh(how: str) -> tuple[np.ndarray, ...]:
            return self._write(tuple(np.empty(*each) for each in shapes), how)

        return ways | {f"fresh {how}": functools.partial(write_fresh, how) for how in hows}

    def ways_to_multiply(self, dtype: str, threads: int) -> dict[str, Way]:
        """As many multiply-adds as `operations` says, by the chain that was fastest in a trial."""
        number = np.dtype(dtype).type(0.5)

        def run(chain: Callable[..., object]) -> object:
            return chain(number, ROUNDS * 6 * LANES // CHAINS[chain])

        if dtype not in self._chains:
            trial = interleaved({chain.__name__: functools.partial(run, chain) for chain in CHAINS}, 5)
            self._chains[dtype] = min(CHAINS, key=lambda chain: min(trial[chain.__name__]))
        chain = self._chains[dtype]
        return {f"fma{dtype[-2:]} by_{chain.__name__}": lambda: self._on_all(lambda k: run(chain), threads)}

    def ways_to_gather(self, X: np.ndarray, order: np.ndarray) -> dict[str, Way]:
        """Read the rows (n, PART) of X in this order, by one thread."""
        flat, sums = X.reshape(-1), np.zeros(PART)
        return {"gather by_vectors": lambda: gather_rows(flat, order, sums)}

    def operations(self, threads: int) -> int:
        """Multiply-adds of `ways_to_multiply`."""
        return ROUNDS * 6 * LANES * threads


def empty_like(arguments: tuple[object, ...]) -> Way:
    """A call of a compiled function that takes these arguments and does nothing."""
    names = ", ".join(f"a{i}" for i in range(len(arguments)))
    empty = numba.njit(nogil=True)(eval(f"lambda {names}: None"))
    empty(*arguments)
    return functools.partial(empty, *arguments)


def fastest(seconds: dict[str, list[float]], kind: str) -> tuple[str, list[float]]:
    """Of all ways whose names begin with this kind: the one with the smallest median."""
    ways = {name: values for name, values in seconds.items() if name.split()[0] == kind}
    name = min(ways, key=lambda name: float(np.median(ways[name])))
    return name, ways[name]
