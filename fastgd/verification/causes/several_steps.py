"""Hypotheses about steps on parts of the samples: one per sample, or one per mini-batch, in order.

1. An epoch of steps is replayed from each observed row. One step multiplies an error E of w, in the
   Euclidean norm, by at most M = max(1, |1 − lr c λ|), with λ the largest eigenvalue of X_BᵀX_B of
   its batch B, and adds its own: E ← M E + ‖lr δg + 2u|lr g| + u|w| + 2η‖. δg is that of
   Yardstick.measure, for a batch.
2. Every size of a batch is tried at the step that is furthest from what was asked for, as far as
   that takes few operations. Only what comes near is replayed from every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastgd.input.messages import counted
from fastgd.kernels.forks import lapack

from ..bound.yardstick import Array, growth
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .other_data import design_of
from .sizes import Variant, at_named_sizes

__all__ = ["about_several_steps"]

_MOST_STEPS = 3000  # in one epoch, of all sizes of a batch together
_EVERY_SIZE = 40  # with up to this many samples every size is tried
_USUAL = (1, 2, 3, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024)
_SIZES = (
    "mean",
    "mean, without the factor 2",
    "sum",
    "sum, without the factor 2",
    "sum divided by n",
    "sum divided by n, without the factor 2",
)


class _Batches(NamedTuple):
    """How an epoch is cut into batches: sizes, and whether the last, smaller one is left out."""

    size: int
    dropped: bool

    def slices(self, n: int) -> list[slice]:
        """Return the batches, in order."""
        last = n - n % self.size if self.dropped else n
        return [slice(begin, min(begin + self.size, last)) for begin in range(0, last, self.size)]

    def words(self, n: int) -> str:
        """Return the batches in words."""
        return counted(self.size, "sample") + (f" (the last {n % self.size} are left out)" if self.dropped else "")


def about_several_steps(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about steps on parts of the samples."""
    seen, t = scene.seen, scene.telling_step
    if seen.n < 2 or scene.shown is None or t is None:
        return
    yield from at_named_sizes(scene, _one_batch_per_row(scene))
    if scene.asked.plain:
        yield from _epochs_of_steps(scene, t)


def _cuts(n: int, most: int) -> Iterator[_Batches]:
    """Yield the ways to cut n samples into batches of at most `most`."""
    sizes = range(1, n) if n <= _EVERY_SIZE else sorted({size for size in (*_USUAL, *(k for k in range(1, 200) if n % k == 0)) if size < n})
    for size in sizes:
        if size <= most:
            yield _Batches(size, False)
            if n % size and size < n:
                yield _Batches(size, True)


def _factors(size: int, n: int) -> Array:
    """Return the factor c on X_Bᵀr of a batch of this size, for every one of _SIZES, (6, 1)."""
    return np.array([2 / size, 1 / size, 2, 1, 2 / n, 1 / n], np.longdouble)[:, None]


@lapack
def _epochs_of_steps(scene: Scene, t: int) -> Iterator[Hypothesis]:
    """A row for each epoch, which has a step for each batch."""
    seen, X, y = scene.seen, design_of(scene.seen), scene.seen.yardstick.y
    lr, start, moved = seen.lr[t, 0], seen.w[t], seen.moved[t]
    near = 1e-6 if seen.dtype == np.float64 else 1e-2
    left = _MOST_STEPS
    found = []
    for cut in _cuts(seen.n, seen.n - 1):
        batches = cut.slices(seen.n)
        if not 1 < len(batches) <= left:
            continue
        left -= len(batches)
        w = np.repeat(start[None], len(_SIZES), axis=0)
        with np.errstate(all="ignore"):
            for batch in batches:
                part = X[batch]
                w = w - lr * _factors(len(part), seen.n) * ((w @ part.T - y[batch]) @ part)
            miss = np.abs(w - start + moved).max(1) / np.abs(moved).max()
        found += [(float(miss[k]), cut, int(k)) for k in np.flatnonzero(miss < near)]
    for _, cut, k in sorted(found)[:4]:
        step = _replayed(seen, X, y, cut, k)
        if step is None:
            continue
        words = {"value": cut.size, "variant": f"{cut.words(seen.n)}, in their order; each has the gradient of the {_SIZES[k]}"}
        yield Hypothesis(("steps_per_sample" if cut.size == 1 else "mini_batches",), 3 + 0.25 * k, step, words, constants=1)


@lapack
def _replayed(seen: Observation, X: Array, y: Array, cut: _Batches, k: int) -> Term | None:
    """Return the steps of an epoch of batches from every row, and their error (note 1)."""
    u, w, lr = seen.u, seen.w[:-1], seen.lr
    off = np.zeros((len(w), 1), w.dtype)
    many = len(cut.slices(seen.n)) * len(w)
    if many * cut.size * seen.n_parameters > 2**24:
        return None
    for batch in cut.slices(seen.n):
        part, c = X[batch], _factors(len(X[batch]), seen.n)[k, 0]
        r = w @ part.T - y[batch]
        delta = (
            u * (growth(seen.n_parameters) * (np.abs(w) @ np.abs(part).T) + np.abs(y[batch]) + np.abs(r))
            + (seen.n_parameters + 2) * seen.eta
        )
        pull = lr * c * (r @ part)
        local = np.abs(lr) * c * ((delta + growth(len(part)) * u * np.abs(r)) @ np.abs(part)) + 6 * u * np.abs(pull) + 4 * seen.eta
        local += np.abs(lr) * (np.abs(part).sum(0) + len(part)) * max(1, c) * seen.eta
        w = w - pull
        local += u * np.abs(w)
        largest = np.linalg.norm(part.astype(np.float64), 2) ** 2
        off = np.maximum(1, np.abs(1 - lr * c * largest)) * off + np.sqrt((local * local).sum(1, keepdims=True))
    return Term(seen.w[:-1] - w, np.broadcast_to(off, w.shape))


def _one_batch_per_row(scene: Scene) -> Iterator[Variant]:
    """A row for each step, and a step for each batch."""
    seen, X = scene.seen, design_of(scene.seen)
    n, place, step = seen.n, np.arange(seen.n), np.arange(seen.n_steps)
    for cut in _cuts(n, n - 1):
        count = n // cut.size if cut.dropped else -(-n // cut.size)
        if count < 2:
            continue
        which = np.where(place // cut.size < count, place // cut.size, -1)
        sizes = np.minimum(cut.size, n - (step % count) * cut.size)[:, None] if not cut.dropped else np.full((seen.n_steps, 1), cut.size)
        for told, by in (("mean", sizes), ("sum", np.ones_like(sizes)), ("sum divided by n", np.full_like(sizes, n))):

            def gradient(rows: slice, which: Array = which, by: Array = by, count: int = count) -> Term:
                return _of_batches(seen, X, which == (step[rows] % count)[:, None], 2 / seen.yardstick.extended(by[rows]), rows)

            words = {"value": cut.size, "variant": f"{cut.words(n)}, in their order; its gradient is that of the {told}"}
            yield Variant(("rows_are_steps",), gradient, 3, words, constants=1)


@lapack
def _of_batches(seen: Observation, X: Array, used: Array, two: Array, rows: slice) -> Term:
    """Return the gradient of the batch `used` (T, n) of each row, and its error."""
    w, yardstick, u = seen.w[:-1][rows], seen.yardstick, seen.u
    r = yardstick.residual(w) * used
    delta = u * (growth(seen.n_parameters) * yardstick.reach(w) + yardstick.y_size + np.abs(r)) + yardstick.prediction_underflow * seen.eta
    value = two * (r @ X)
    error = two * ((delta * used + growth(seen.n) * u * np.abs(r)) @ np.abs(X)) + 4 * u * np.abs(value)
    return Term(value, error + (1 + two) * yardstick.underflow * seen.eta + 2 * seen.eta)
