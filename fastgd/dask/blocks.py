"""Blocks of X, y and the weights, and what is done with each in a task.

A block of fits travels as an array of objects with one element, so that everything here is an
operation of dask.array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeAlias

import dask.array as da
import numpy as np

from ..compressing import compress
from ..input.messages import kind_of

Chunked: TypeAlias = Any  # dask.array.Array, numpy.ndarray


@dataclass(frozen=True)
class Blocks:
    """X, y and the weights as arrays of Dask with the same chunks.

    leading: the chunks of the fits. samples: those of the samples.
    """

    X: da.Array
    y: da.Array
    weights: da.Array | None
    leading: tuple[tuple[int, ...], ...]
    samples: tuple[int, ...]

    @classmethod
    def of(cls, X: Chunked, y: Chunked, weights: Chunked | None) -> Blocks:
        """Check the shapes and chunks; arrays of NumPy are cut as those of Dask are."""
        given = {"X": X, "y": y} | ({} if weights is None else {"sample_weight": weights})
        for name, array in given.items():
            if not isinstance(array, da.Array):
                if isinstance(array, str) or not hasattr(array, "__array__") or hasattr(array, "dims"):
                    raise TypeError(f"{name} must be a dask array or a NumPy array, not {kind_of(array)}")
                array = given[name] = np.asarray(array)
            if array.ndim == 0:
                raise ValueError(f"{name} must have at least one axis, the samples")
            if any(np.isnan(length) for length in array.shape):
                raise ValueError(f"{name} has chunks of unknown size: call {name}.compute_chunk_sizes() first")
        of_X = 1 if given["X"].ndim == 1 else 2  # axes of X that are no fits
        fits = {name: (array.ndim - (of_X if name == "X" else 1)) for name, array in given.items()}
        axes = {name: [*range(-fits[name], 0), 0] for name in given}  # fits are counted from the last, samples are 0
        chunks = _common_chunks({name: (array, axes[name]) for name, array in given.items()})
        made = {}
        for name, array in given.items():
            cut = tuple(chunks[axis] if length > 1 else (1,) for axis, length in zip(axes[name], array.shape, strict=False))
            last = ((array.shape[-1],),) if name == "X" and of_X == 2 else ()
            if isinstance(array, da.Array):
                if last and array.chunks[-1] != last[0]:
                    raise ValueError(f"X has the chunks {array.chunks[-1]} along its features: give X.rechunk({{-1: -1}})")
                made[name] = array
            else:
                made[name] = da.from_array(array, chunks=cut + last)
        leading = tuple(chunks[axis] for axis in range(-max(fits.values()), 0))
        return cls(made["X"], made["y"], made.get("sample_weight"), leading, chunks[0])

    def apply(self, function: Callable[..., np.ndarray], options: Mapping[str, Any]) -> da.Array:
        """function of each block, an object: an array (blocks of fits…, blocks of samples)."""
        fits, sample, feature = tuple(range(1, len(self.leading) + 1)), 0, -1
        arrays: list[Any] = []
        for array, ends in ((self.X, (sample, feature) if self.X.ndim > 1 else (sample,)), (self.y, (sample,)), (self.weights, (sample,))):
            n_fits = 0 if array is None else array.ndim - len(ends)
            arrays += [array, None if array is None else (*fits[len(fits) - n_fits :], *ends)]
        once = {axis: lambda length: 1 for axis in (*fits, sample)}
        meta = np.empty((0,) * (len(fits) + 1), object)
        return da.blockwise(
            function, (*fits, sample), *arrays, options=dict(options), adjust_chunks=once, concatenate=True, align_arrays=False,
            dtype=object, meta=meta,
        )  # fmt: skip


def _common_chunks(given: Mapping[str, tuple[Any, list[int]]]) -> dict[int, tuple[int, ...]]:
    """{axis: its chunks}; an axis of length 1 repeats."""
    found: dict[int, tuple[str, tuple[int, ...]]] = {}
    lengths: dict[int, tuple[str, int]] = {}
    for name, (array, axes) in given.items():
        for place, axis in enumerate(axes):
            length = array.shape[place]
            what = "samples" if axis == 0 else f"axis {axis} of the fits"
            other = lengths.setdefault(axis, (name, length))
            if other[1] == 1 and axis < 0:
                lengths[axis] = (name, length)
            elif length != other[1] and not (length == 1 and axis < 0):
                raise ValueError(f"{other[0]} has the length {other[1]:,} along the {what}, {name} {length:,}")
            if not isinstance(array, da.Array) or (length == 1 and axis < 0):
                continue
            first, chunks = found.setdefault(axis, (name, array.chunks[place]))
            if chunks != array.chunks[place]:
                raise ValueError(
                    f"{first} and {name} have different chunks along the {what}: {_told(chunks)} and {_told(array.chunks[place])}. "
                    f"Rechunk one of them: nothing is rechunked here"
                )
    return {axis: found[axis][1] if axis in found else (length,) for axis, (_, length) in lengths.items()}


def _told(chunks: tuple[int, ...]) -> str:
    """The lengths of chunks, for errors."""
    return f"({', '.join(map(str, chunks[:4]))}{f', ... {len(chunks)} in all' if len(chunks) > 4 else ''})"


def merged(parts: da.Array) -> da.Array:
    """The sums of Moments along the last axis, neighbours first, as `Moments.merge` adds them."""
    waiting: list[tuple[int, da.Array]] = []  # (how many parts it is the sum of, the sum): fewer and fewer
    for number in range(parts.shape[-1]):
        part, count = parts[..., number : number + 1], 1
        while waiting and waiting[-1][0] == count:
            part, count = _sum_of(waiting.pop()[1], part), 2 * count
        waiting.append((count, part))
    _, result = waiting.pop()
    while waiting:
        result = _sum_of(waiting.pop()[1], result)
    return result


def _sum_of(first: da.Array, second: da.Array) -> da.Array:
    return da.map_blocks(_add_moments, first, second, dtype=object, meta=np.empty((0,) * first.ndim, object))


# -- tasks -----------------------------------------------------------------------------------------


def _boxed(value: Any, n_axes: int) -> np.ndarray:
    """An array of objects with `n_axes` axes of length 1."""
    box = np.empty((1,) * n_axes, object)
    box[(0,) * n_axes] = value
    return box


def fit_block(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, options: Mapping[str, Any]) -> np.ndarray:
    """Task: the fits of one block, by one call of `options["run"]`."""
    chosen = dict(options)
    return _of_block(chosen.pop("run"), X, y, weights, chosen)


def compress_block(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, options: Mapping[str, Any]) -> np.ndarray:
    """Task: the Moments of one block."""
    return _of_block(compress, X, y, weights, options)


def _of_block(run: Callable[..., Any], X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, options: Mapping[str, Any]) -> np.ndarray:
    """One call of fastgd, boxed."""
    try:
        made = run(X, y, sample_weight=weights, **options)
    except ValueError as error:
        raise ValueError(f"{error} (in a block with y of shape {y.shape}; places are counted from its beginning)") from None
    return _boxed(made, max(X.ndim - 1, 1, y.ndim, 0 if weights is None else weights.ndim))


def _add_moments(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _boxed(first.item() + second.item(), first.ndim)


def fit_moments(moments: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Task: the fits of a block whose samples are Moments."""
    chosen = dict(options)
    run = chosen.pop("run")
    return _boxed(run(moments.item(), **chosen), moments.ndim)


def value_of(result: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Task: one field of the results of a block."""
    return np.asarray(attrgetter(options["name"])(result.item()))
