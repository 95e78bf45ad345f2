"""Hypotheses about the samples: the gradient uses some of the rows only.

1. Subsets are first tried at one step, the one with the largest deviation: every prefix, suffix,
   single missing row and stride, and every subset where there are at most 10 rows. The subsets that
   come nearest are tested at all steps. The divisor is the number of rows used, or that of all
   rows, and the size one of those that people write.
2. Other subsets of many rows are not tried: the gradients of all epochs determine only
   (D + 1)(D + 2)/2 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import LIMIT, Array, Yardstick
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .sizes import Variant, at_named_sizes, named_factors

__all__ = ["about_samples"]

_FEW = 10  # up to this many rows every subset is tried
_STRIDES = (2, 3, 4, 5, 10)
_TRIED = 8  # subsets that are tested at all steps
_SIZES = (("gradient_missing_two",), ("gradient_sum_missing_two",), ("gradient_sum",))  # beside the right one


class _Subset(NamedTuple):
    """A set of rows that the gradient may use."""

    miss: float  # distance of its gradient from the observed one, in rounding errors
    kept: Array  # (n,) bool
    divisor: int
    variant: str


def about_samples(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the rows that the gradient uses."""
    seen, shown, t = scene.seen, scene.shown, scene.telling_step
    if seen.n < 2 or shown is None or t is None:
        return
    rate = shown.rate[t, 0]
    target, unit = shown.gradient(seen)[t], seen.scale()[t] / np.abs(rate)
    asked = scene.asked.factor
    sizes = [asked, *(factor for codes, factor in named_factors(seen.size, asked) if codes in _SIZES)]
    found = [subset for k, factor in enumerate(sizes) for subset in _subsets(seen, t, target / factor, unit / factor, few=k < 2)]
    yield from at_named_sizes(scene, (_variant(seen, subset) for subset in sorted(found, key=lambda subset: subset.miss)[:_TRIED]))


def _variant(seen: Observation, found: _Subset) -> Variant:
    """Return the gradient of some of the rows."""
    yardstick, n_kept = seen.yardstick, int(found.kept.sum())
    part = Yardstick(yardstick.X[found.kept], yardstick.y[found.kept], "mean", seen.dtype, seen.intercept, held_higher=seen.held_higher)

    def gradient(rows: slice) -> Term:
        truth = part.measure_all(seen.w[:-1][rows])
        mean = Term(truth.gradient, truth.gradient_error)
        return mean if found.divisor == n_kept else mean.times(part.extended(n_kept)[()] / found.divisor, seen.u)

    def loss(seen: Observation) -> tuple[Array, Array]:
        truth = part.measure_all(seen.w[: len(seen.true_loss)])
        return truth.loss, truth.loss_error

    divided = "" if found.divisor == n_kept else f", divided by all {seen.n}"
    words = {"kept": n_kept, "variant": f"{found.variant} ({n_kept / seen.n:.3g} of them{divided})", "value": n_kept / seen.n}
    return Variant(("rows_dropped",), gradient, 3, words, constants=1, loss=loss)


@lapack
def _subsets(seen: Observation, t: int, target: Array, unit: Array, few: bool) -> Iterator[_Subset]:
    """Yield the subset of each kind whose gradient at step t is nearest to the target."""
    n, yardstick = seen.n, seen.yardstick
    residual = yardstick.residual(seen.w[t : t + 1])[0]
    # (n, D): what each row adds to the gradient
    parts = 2 * residual[:, None] * (np.column_stack([yardstick.X, np.ones(n)]) if seen.intercept else yardstick.X)
    total, place = parts.sum(0), np.arange(n)

    def nearest(sums: Array, sizes: Array, kept: list[Array] | None, variant: str, make: str) -> Iterator[_Subset]:
        """Yield the subset with the nearest gradient, for both divisors."""
        for divisors in (sizes, np.full(len(sizes), n)):
            with np.errstate(all="ignore"):
                miss = (np.abs(sums / np.maximum(divisors, 1)[:, None] - target) / unit).max(1).astype(np.float64)
            k = int(np.nanargmin(np.where((sizes > 0) & (sizes < n), miss, np.inf)))
            if 0 < sizes[k] < n:
                rows = kept[k] if kept is not None else {"first": place <= k, "last": place > k, "all but": place != k}[make]
                yield _Subset(float(miss[k]), rows, int(divisors[k]), variant.format(size=int(sizes[k]), row=k))

    prefix = np.cumsum(parts, axis=0)
    yield from nearest(prefix, place + 1, None, "the first {size}", "first")
    yield from nearest(total - prefix, n - 1 - place, None, "the last {size}", "last")
    yield from nearest(total - parts, np.full(n, n - 1), None, "all but row {row}", "all but")
    strides = [(place % k == j, f"every {_ordinal(k)} row, from row {j}") for k in _STRIDES if k < n for j in range(k)]
    strides += [(~mask, text.replace("every", "all but every")) for mask, text in strides]
    for mask, text in strides:
        yield from nearest(parts[mask].sum(0)[None], np.array([mask.sum()]), [mask], text, "")
    if few and n <= _FEW:
        masks = (np.arange(1, 2**n - 1)[:, None] >> place) & 1 == 1
        every = list(masks)
        for subset in nearest(masks.astype(parts.dtype) @ parts, masks.sum(1), every, "some", ""):
            rows = ", ".join(map(str, np.flatnonzero(subset.kept)))
            # Subsets with a name come first.
            yield subset._replace(variant=f"rows {rows}", miss=subset.miss + LIMIT)


def _ordinal(k: int) -> str:
    return {2: "second", 3: "third", 10: "tenth"}.get(k, f"{k}th")
