"""Hypotheses about the recorded loss. Each predicts it from the observed rows, whatever the update.

1. The loss may belong to another row, have a factor, or both. It may include a penalty of unknown
   weight.
2. The bound is Λ of `check_step`, scaled as the hypothesis scales the loss, plus one rounding for
   every further operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..bound.yardstick import BLOCK, LIMIT, Array, Yardstick, growth, share_of
from .broadcasting import loss_of_pairs
from .observation import Observation

__all__ = ["LossHypothesis", "about_loss", "right_loss"]

_DIGITS = (1, 2, 3, 4)


@dataclass(frozen=True)
class LossHypothesis:
    """A possible cause: the losses that it predicts, and how far rounding may move them."""

    codes: tuple[str, ...]  # empty: the loss is right
    complexity: float
    value: Array = field(repr=False)  # (m,); NaN where it predicts nothing
    error: Array = field(repr=False)
    words: dict[str, Any] = field(default_factory=dict)

    def shares(self, observed: Array) -> Array:
        """Return the share of the bound of each row, (m,) float64; NaN: nothing is predicted."""
        m = min(len(observed), len(self.value))
        with np.errstate(all="ignore"):
            share = share_of(observed[:m] - self.value[:m], self.error[:m])
        return np.where(np.isnan(self.value[:m]), np.nan, share)

    def tau(self, observed: Array) -> float:
        """Return the worst share; inf where no row is predicted."""
        share = self.shares(observed)
        return float(np.nanmax(share)) if not np.isnan(share).all() else np.inf


def right_loss(seen: Observation) -> LossHypothesis:
    """Return the prediction of a right loss: the mean of the squared residuals at each row."""
    return LossHypothesis((), 0, seen.true_loss, seen.loss_error)


def about_loss(seen: Observation, rows: Array | None = None) -> Iterator[LossHypothesis]:
    """Yield hypotheses about the loss, the right one first.

    `rows`: (n,) bool, the samples that the gradient was found to use; None: all.
    """
    true, error = seen.true_loss, seen.loss_error
    yield right_loss(seen)
    yield from _of_named_sizes(seen, true, error)
    if rows is not None:
        w = seen.yardstick.extended(seen.w[: len(true)])
        X, y = seen.yardstick.X[rows], seen.yardstick.y[rows]
        part = Yardstick(X, y, "mean", seen.dtype, seen.intercept, held_higher=seen.held_higher).measure(w)
        yield LossHypothesis((), 0.5, part.loss, part.loss_error)
        yield from _of_named_sizes(seen, part.loss, part.loss_error)
    yield from _of_pairs(seen)
    yield from _with_penalty(seen, true, error)
    yield from _expanded(seen, true, error)
    if len(true) * seen.n <= BLOCK:
        value = np.abs(seen.yardstick.residual(seen.w[: len(true)])).mean(1)
        reach = np.abs(seen.w[: len(true)]).max(1) * seen.yardstick.size.sum(1).max() + seen.yardstick.y_size.max() + value
        yield LossHypothesis(("loss_absolute",), 1, value, (seen.n + seen.n_parameters + 3) * seen.u * reach + 2 * seen.eta)


def _of_pairs(seen: Observation) -> Iterator[LossHypothesis]:
    """The loss over all pairs of a prediction and a target, with a factor or as a root."""
    found = loss_of_pairs(seen)
    if found is None:
        return
    mean, error = found
    n = float(seen.n)
    sums = (((), 1.0, ""), ((), n, f", times {seen.n}: summed over one axis"), (("loss_sum",), n * n, f", times {seen.n} * {seen.n}"))
    for codes, factor, words in sums:
        total = factor * mean
        doubt = factor * error + 2 * seen.u * total
        yield LossHypothesis(("loss_broadcast", *codes), 1 + len(codes), total, doubt, {"variant": words})
    for one in _of_named_sizes(seen, mean, error):
        yield replace(one, codes=("loss_broadcast", *one.codes), complexity=1 + one.complexity, words={"variant": ""})


def _of_named_sizes(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """The loss of the same row or a neighbouring one, with a factor or as a root."""
    n, u = seen.n, seen.u
    sizes: list[tuple[tuple[str, ...], float]] = [((), 1.0), (("loss_sum",), float(n)), (("loss_half",), 0.5)]
    sizes += [(("loss_sum", "loss_half"), n / 2)] + ([(("loss_n_minus_1",), n / (n - 1))] if n > 1 else [])
    nothing = np.full(1, np.nan, true.dtype)
    shifts = (
        ((), true, error),
        (("loss_after_update",), np.concatenate([true[1:], nothing]), np.concatenate([error[1:], nothing])),
        (("loss_one_epoch_late",), np.concatenate([nothing, true[:-1]]), np.concatenate([nothing, error[:-1]])),
    )
    for when, value, doubt in shifts:
        for size, factor in sizes:
            if (when or size) and (factor != 1 or not size):
                scaled = factor * value
                yield LossHypothesis((*size, *when), len(when) + len(size), scaled, factor * doubt + 2 * u * scaled)
        root = np.sqrt(value)
        with np.errstate(all="ignore"):
            near = np.where(value > 0, doubt / np.maximum(root, np.sqrt(doubt)), np.sqrt(doubt)) + 2 * u * root
        yield LossHypothesis(("loss_rmse", *when), 1 + len(when), root, near)


def _expanded(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """The square is expanded, wᵀXᵀXw − 2wᵀXᵀy + yᵀy, and its digits cancel where it is small.

    Each of the three is rounded relative to its own size: the sums of n terms by a_n u, those of D
    by a_D u, twice in the first. Evidence is that the errors are of this size, and not smaller.
    """
    yardstick, u = seen.yardstick, seen.u
    w = np.abs(seen.w[: len(true)])
    if len(w) < len(true):
        true, error = true[: len(w)], error[: len(w)]
    assert seen.loss is not None
    m = min(len(seen.loss), len(true))
    if not m or m * seen.n > BLOCK:
        return
    size = ((yardstick.reach(w) + yardstick.y_size) ** 2).sum(1) / seen.n
    roundings = growth(seen.n) + 2 * growth(seen.n_parameters) + 5
    off = np.abs(seen.loss[:m] - true[:m])
    seen_off = off > LIMIT * error[:m]
    if seen_off.any() and (off[seen_off] > 0.05 * u * size[:m][seen_off]).any():
        largest = float((size[:m] / np.maximum(true[:m], np.finfo(np.float64).tiny))[seen_off].max())
        yield LossHypothesis(("loss_cancellation",), 3, true, error + roundings * u * size, {"value": largest})


def _with_penalty(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """The loss plus a penalty of unknown weight."""
    assert seen.loss is not None
    w = seen.w[: len(true)]
    if len(w) < len(true):
        true, error = true[: len(w)], error[: len(w)]
    slopes = w[:, :-1] if seen.intercept else w
    penalties = {"|w|^2": (w * w).sum(1), "sum|w|": np.abs(w).sum(1)}
    if seen.intercept:
        penalties |= {"|w|^2, the intercept left out": (slopes * slopes).sum(1), "sum|w|, the intercept left out": np.abs(slopes).sum(1)}
    m = min(len(seen.loss), len(true))
    for factor, size in ((1.0, ()), (0.5, ("loss_half",))):
        for variant, penalty in penalties.items():
            with np.errstate(all="ignore"):
                a, b = penalty[:m] / error[:m], (seen.loss[:m] - factor * true[:m]) / error[:m]
                if m < 2 or not np.isfinite(a).all() or not np.isfinite(b).all() or not (a * a).sum() > 0:
                    continue
                weight = (a * b).sum() / (a * a).sum()
            tried = dict.fromkeys([*(float(f"{float(weight):.{k - 1}e}") for k in _DIGITS), weight])
            for value in tried:
                added = value * penalty
                found = LossHypothesis(
                    ("loss_includes_penalty", *size),
                    (4 if value is weight else 2) + 2 * (value < 0) + len(size),
                    factor * true + added,
                    factor * error + (seen.n_parameters + 4) * seen.u * np.abs(added) + seen.u * np.abs(factor * true + added),
                    {"value": float(value), "variant": variant},
                )
                if value != 0 and found.tau(seen.loss) <= LIMIT:
                    varies = np.abs(value) * np.ptp(penalty[:m]) > 2 * LIMIT * found.error[:m].max()
                    if varies:  # a penalty that is constant is no evidence
                        yield found
                    break
