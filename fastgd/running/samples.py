"""Samples of fits, read in float64, block after block: for F* and for least squares on samples.

A block has as many samples as the decomposition of a long fit takes at a time, so the memory is
small however long the fit is. Before each the cancel flag is read: an exception ends the work then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from ..data.double_double import add, two_sum
from ..kernels.chunk import Samples
from ..kernels.telling import LISTENER
from ..planning.plan import STACK_NUMBERS, TALL

CHUNK, LANES = 4096, 32  # of a sum over samples (docs/arithmetic.md, section 2)


@dataclass(slots=True)
class ScaledSamples(Samples):
    """Samples whose features are read as (x − center) / scale; m pairs."""

    center: np.ndarray  # (m, d)
    scale: np.ndarray
    own: np.ndarray  # (m,): pairs of one X and one number have the same center and scale
    precision: np.dtype  # each of the two operations is rounded to it
    middle: np.ndarray | None = None  # (m,): what is subtracted from y


def scale_samples(
    samples: Samples, center: np.ndarray, scale: np.ndarray, own: np.ndarray, precision: np.dtype, middle: np.ndarray | None = None
) -> ScaledSamples:
    """These samples, to be scaled as they are read; the rest as in `ScaledSamples`."""
    as_they_are = {of.name: getattr(samples, of.name) for of in fields(Samples) if of.init}
    return ScaledSamples(**as_they_are, center=center, scale=scale, own=own, precision=precision, middle=middle)


def read_samples(samples: Samples, name: str, pairs: np.ndarray, first: int = 0, stop: int | None = None) -> np.ndarray:
    """(m, n, …) float64: samples first … stop-1 of X, y or weights, of fits of equally many."""
    LISTENER.get().check()
    array, index = getattr(samples, name), getattr(samples, {"X": "x_index", "y": "y_index", "weights": "weight_index"}[name])[pairs]
    kept = samples.kept_index[pairs]
    stop = int(samples.n_used[pairs[0]]) if stop is None else stop
    whole = (kept < 0).all()
    rows = np.arange(first, stop)[None]
    if not whole:
        rows = np.where(kept[:, None] < 0, rows, samples.kept[np.maximum(kept, 0), first:stop])
    if samples.lengths is not None:
        values = array[index[:, None] + rows, 0]
    else:
        values = array[index, first:stop] if whole else array[index[:, None], rows]
    if name == "X" and isinstance(samples, ScaledSamples):
        center, scale = (of[pairs, None].astype(samples.precision) for of in (samples.center, samples.scale))
        values = (values.astype(samples.precision, copy=False) - center) / scale
    elif name == "y" and isinstance(samples, ScaledSamples) and samples.middle is not None:
        values = values.astype(samples.precision, copy=False) - samples.middle[pairs, None]
    return values.astype(np.float64, copy=False)


def blocks_of(samples: Samples, pair: np.ndarray, size: int) -> list[tuple[int, int]]:
    """(first, stop) of the samples of a fit of `size` parameters that are read at a time."""
    n, step = int(samples.n_used[pair[0]]), max(TALL * size, STACK_NUMBERS // size)
    return [(first, min(first + step, n)) for first in range(0, n, step)]


def weights_of(
    samples: Samples, pair: np.ndarray, blocks: list[tuple[int, int]]
) -> tuple[Callable[[tuple[int, int]], np.ndarray], float, np.ndarray]:
    """(read, total, power) of a fit: read(block) returns weights, which have this total.

    They are the fit's own, divided by 2^power, so that neither they nor their total overflow; 1
    where it has none.
    """
    if not len(samples.weights):
        return lambda block: np.ones(block[1] - block[0]), float(samples.n_used[pair[0]]), np.zeros(1, np.int64)
    power = even_exponent(np.array([max(float(read_samples(samples, "weights", pair, *block).max()) for block in blocks)]))

    def read(block: tuple[int, int]) -> np.ndarray:
        return np.asarray(np.ldexp(read_samples(samples, "weights", pair, *block)[0], -power))

    return read, sum(float(read(block).sum()) for block in blocks), power


def even_exponent(weights: np.ndarray) -> np.ndarray:
    """Of the largest weights, even: by half of it √weights is scaled, exactly, too.

    Divided by 2^this they are below 1, so a product with a root cannot overflow.
    """
    return 2 * -(-np.frexp(weights)[1] // 2).astype(np.int64)


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, number): where each different row of `rows` (m, k) stands first; (m,) which it is."""
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, number.reshape(-1)


def total_weights(samples: Samples, fits: np.ndarray) -> np.ndarray:
    """(m,): Σω of some fits, in the order of docs/arithmetic.md, section 2.

    In float64, or of float64 weights in double-double (section 4). It may be inf.
    """
    first, place = distinct_rows(np.stack([samples.n_used[fits], samples.weight_index[fits], samples.kept_index[fits]], axis=1))
    found, lengths = np.empty(len(first)), samples.n_used[fits[first]]
    for n in np.unique(lengths):
        alike, step = np.flatnonzero(lengths == n), max(1, STACK_NUMBERS // int(n))
        for here in (alike[start : start + step] for start in range(0, len(alike), step)):
            found[here] = _total_of_lists(samples, fits[first[here]], int(n))
    return found[place]


def _total_of_lists(samples: Samples, fits: np.ndarray, n: int) -> np.ndarray:
    """(m,): Σω of fits of n samples each."""
    double = samples.weights.dtype == np.float64
    blocks = [(first, min(first + 8 * CHUNK, n)) for first in range(0, n, 8 * CHUNK)]
    power = even_exponent(np.max([read_samples(samples, "weights", fits, *block).max(axis=1) for block in blocks], axis=0))
    sums = []  # of the chunks: (2, m, chunks), high and low parts
    for first, stop in blocks:
        padded = np.zeros((len(fits), -(-(stop - first) // CHUNK) * CHUNK))
        padded[:, : stop - first] = np.ldexp(read_samples(samples, "weights", fits, first, stop), -power[:, None])
        lanes = padded.reshape(len(fits), -1, CHUNK // LANES, LANES)
        total = np.zeros((2, *lanes.shape[:2], LANES))
        for row in range(-(-min(stop - first, CHUNK) // LANES)):
            total[0], error = two_sum(total[0], lanes[:, :, row])
            total[1] += error
        total[:] = two_sum(*total) if double else total
        for half in (16, 8, 4, 2, 1):
            total = _add(total[..., :half], total[..., half:], double)
        sums.append(total[..., 0])
    total = np.concatenate(sums, axis=2)
    while total.shape[2] > 1:  # an odd last one passes up unchanged
        even = total.shape[2] // 2 * 2
        total = np.concatenate([_add(total[..., :even:2], total[..., 1:even:2], double), total[..., even:]], axis=2)
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(total[0, :, 0], power))


def _add(left: np.ndarray, right: np.ndarray, double: bool) -> np.ndarray:
    """The sums of double-doubles (2, …), or of their high parts."""
    if not double:
        return np.stack(two_sum(left[0], right[0]))
    return np.stack(add(left[0], left[1], right[0], right[1]))
