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

from ..bound.yardstick import BLOCK, LIMIT, Array, growth, share_of
from .broadcasting import loss_of_pairs
from .hypotheses import Hypothesis
from .observation import Observation
from .recorded_rows import decimals_of

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
    sure: bool = False  # its evidence is not in its bound

    def explains(self, observed: Array, right: LossHypothesis) -> bool:
        """Return whether its bound is narrower than what it explains (note 1 of evidence.py).

        That is looked at where the loss is first wrong, and where it is most.
        """
        m = min(len(observed), len(self.value), len(right.value))
        share = np.where(np.isnan(self.value[:m]), 0, right.shares(observed)[:m])
        at = [int(np.argmax(share > LIMIT)), int(np.argmax(share))] if (share > LIMIT).any() else []
        with np.errstate(all="ignore"):
            return self.sure or any(LIMIT * self.error[t] <= abs(observed[t] - right.value[t]) for t in at)

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


def about_loss(seen: Observation, update: Hypothesis | None = None) -> Iterator[LossHypothesis]:
    """Yield hypotheses about the loss, the right one first; `update`: what explains the update."""
    true, error = seen.true_loss, seen.loss_error
    yield right_loss(seen)
    yield from _of_named_sizes(seen, true, error)
    if update is not None and update.loss is not None:  # that of the data which the gradient uses
        value, doubt = update.loss(seen)
        yield LossHypothesis((), 0.5, value, doubt)
        yield from _of_named_sizes(seen, value, doubt)
    yield from _of_pairs(seen) if seen.parts is None else ()
    yield from _of_another_kind(seen, true, error)
    yield from _rounded(seen, true, error)
    yield from _scaled(seen, true, error)
    yield from _with_penalty(seen, true, error)
    if decimals_of(np.asarray(seen.loss, seen.dtype)) is None:  # rounded losses are off by as much
        yield from _expanded(seen, true, error)
    if seen.parts is not None:
        yield from _without_weights(seen)
        return
    if len(true) * seen.n <= BLOCK:
        yield from _of_residuals(seen)
        value = np.abs(seen.yardstick.residual(seen.w[: len(true)])).mean(1)
        reach = np.abs(seen.w[: len(true)]).max(1) * seen.yardstick.size.sum(1).max() + seen.yardstick.y_size.max() + value
        yield LossHypothesis(("loss_absolute",), 1, value, (seen.n + seen.n_parameters + 3) * seen.u * reach + 2 * seen.eta)


def _without_weights(seen: Observation) -> Iterator[LossHypothesis]:
    """The loss is the mean of the squares of all samples alike."""
    if seen.yardstick.weights is not None:
        plain = seen.weighted(None).measure_all(seen.w[: len(seen.true_loss)])
        yield LossHypothesis(("loss_unweighted",), 1, plain.loss, plain.loss_error)


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
    n, u = seen.loss_size, seen.u
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


def _of_another_kind(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """The logarithm, the root of the sum of the squares, sums and means over the epochs."""
    u, n = seen.u, seen.loss_size
    with np.errstate(all="ignore"):
        logarithm, root = np.log(true), np.sqrt(n * true)
        off = np.where(true > 2 * error, error / (true - error), np.inf)
        yield LossHypothesis(("loss_log",), 1, np.where(true > 0, logarithm, np.nan), off + 2 * u * (1 + np.abs(logarithm)))
        yield LossHypothesis(("loss_rmse", "loss_sum"), 2, root, np.where(true > 0, 0.5 * off * root, np.sqrt(n * error)) + 4 * u * root)
    count = np.arange(1, len(true) + 1)
    total, doubt = np.cumsum(true), np.cumsum(error)
    yield LossHypothesis(("loss_cumulative",), 1, total, doubt + count * u * total)
    yield LossHypothesis(("loss_running_mean",), 1, total / count, (doubt + count * u * total) / count + 2 * u * total / count)


def _rounded(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """A loss that is rounded to a few decimals, or to whole numbers."""
    assert seen.loss is not None
    m = min(len(seen.loss), len(true))
    recorded = np.asarray(seen.loss[:m], seen.dtype)
    if m < 2 or not (recorded != recorded[0]).any():
        return
    k = decimals_of(recorded)
    if k is None:
        return
    what = "whole numbers" if k == 0 else f"{k} decimal{'s' if k > 1 else ''}"
    for codes, factor in (
        ((), 1.0),
        (("loss_half",), 0.5),
        (("loss_sum",), float(seen.loss_size)),
        (("loss_sum", "loss_half"), seen.loss_size / 2),
    ):
        # 10⁻ᵏ/2 is the most that rounding changes: it is divided by LIMIT.
        doubt = factor * error + 0.5 * 10.0**-k / LIMIT
        yield LossHypothesis(("loss_rounded", *codes), 1.5 + len(codes), factor * true, doubt, {"variant": what, "value": k}, sure=True)


def _scaled(seen: Observation, true: Array, error: Array) -> Iterator[LossHypothesis]:
    """The loss times any constant."""
    assert seen.loss is not None
    m = min(len(seen.loss), len(true))
    with np.errstate(all="ignore"):
        a, b = true[:m] / error[:m], seen.loss[:m] / error[:m]
        found = (a * b).sum() / (a * a).sum()
    if m < 3 or not np.isfinite(found) or found == 0 or abs(found - 1) < 1e-5:
        return
    short = [float(f"{float(found):.{k - 1}e}") for k in _DIGITS]
    # With one number alone every square that is 0 at the best fit is a multiple of the right one.
    for value in dict.fromkeys(short if seen.has_one_number else [*short, found]):
        scaled = value * true
        length = 4 if value is found else 2
        words = {"value": float(value), "variant": _in_symbols(seen, float(value))}
        one = LossHypothesis(("loss_scaled",), length, scaled, np.abs(value) * error + 3 * seen.u * np.abs(scaled), words)
        if one.tau(seen.loss) <= LIMIT:
            varies = np.abs(scaled[:m] - scaled[0]) > 2 * LIMIT * (one.error[:m] + one.error[0])
            if varies.sum() >= 2:  # equal losses show a factor on anything
                yield one
            return


def _in_symbols(seen: Observation, value: float) -> str:
    """Return what a factor is in symbols, if it is one that people write."""
    n, D = float(seen.n), seen.n_parameters
    named = {"1 / n": 1 / n, "1 / (2 * n)": 0.5 / n, "n": n, "1 / n**2": 1 / n**2}
    named |= {f"n / (n - {k})": n / (n - k) for k in dict.fromkeys((2, D)) if n > k > 1}
    named |= {"sample_weight.mean()": float(seen.yardstick.total) / n} if seen.yardstick.weights is not None else {}
    spread = float(np.var(np.asarray(seen.yardstick.y, np.float64)))
    named |= {"1 / y.var()": 1 / spread} if spread > 0 else {}
    return next((f", which is {told}" for told, factor in named.items() if abs(factor - value) <= 1e-6 * abs(factor)), "")


def _of_residuals(seen: Observation) -> Iterator[LossHypothesis]:
    """The loss is another number of the residuals than the mean of their squares."""
    w, u, n = seen.w[: len(seen.true_loss)], seen.u, seen.n
    r = seen.yardstick.residual(w)
    off = (seen.n_parameters + 3) * u * (seen.yardstick.reach(w) + seen.yardstick.y_size + np.abs(r)) + 2 * seen.eta
    square, square_off = r * r, (2 * np.abs(r) + off) * off + 2 * u * r * r
    mean = r.mean(1)
    mean_off = off.mean(1) + growth(n) * u * np.abs(r).mean(1)
    from_mean = r - mean[:, None]
    spread_off = off.max(1) + mean_off + u * np.abs(from_mean).max(1)
    spread = (from_mean * from_mean).mean(1)
    y, true, error = seen.yardstick.y, seen.true_loss[: len(w)], seen.loss_error[: len(w)]
    bent = np.clip(r, -1, 1)
    huber = (bent * (r - bent / 2)).mean(1)
    of_y = ((y - y.mean()) ** 2).mean()
    numbers = {
        "the mean of the residuals": (mean, mean_off),
        "the square of the mean of the residuals": (mean * mean, (2 * np.abs(mean) + mean_off) * mean_off + 2 * u * mean * mean),
        "the variance of the residuals": (spread, 2 * np.sqrt(spread) * spread_off + spread_off**2 + growth(n) * u * spread),
        "the median of the squares": (np.median(square, axis=1), square_off.max(1)),
        "the largest of the squares": (square.max(1), square_off.max(1)),
        "Huber's loss, as torch's SmoothL1Loss is": (huber, (off * np.minimum(np.abs(r) + off, 1)).mean(1) + growth(n) * u * (1 + huber)),
        "R squared, 1 - loss / y.var()": (1 - true / of_y, error / of_y + 2 * growth(n) * u * (1 + true / of_y)),
    }
    for words, (value, doubt) in numbers.items():
        for prefix, factor in (("", 1.0), ("half of ", 0.5), ("n times ", float(n)), ("n / 2 times ", n / 2)):
            scaled = factor * value
            yield LossHypothesis(
                ("loss_of_residuals",), 1 + bool(prefix), scaled, factor * doubt + 2 * u * np.abs(scaled), {"variant": prefix + words}
            )


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
    signs = np.sign(seen.loss[:m] - true[:m])[seen_off]
    # Rounding errors have either sign: where all have one, it may be something else.
    as_it_falls = (signs > 0).any() and (signs < 0).any()
    if as_it_falls and (off[seen_off] > 0.05 * u * size[:m][seen_off]).any():
        largest = float((size[:m] / np.maximum(true[:m], np.finfo(np.float64).tiny))[seen_off].max())
        yield LossHypothesis(("loss_cancellation",), 3, true, error + roundings * u * size, {"value": largest}, sure=True)


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
                    different = np.unique(penalty[:m])
                    if varies and np.count_nonzero(different) > 1:  # one penalty shows a weight of anything
                        yield found
                    break
