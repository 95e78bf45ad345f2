"""Losses without w: they are compared with those of the descent that was asked for.

1. From the start that was given, or zeros, the steps are taken in extended precision. A loss may
   differ from the one at the end of them by the propagated bound (docs/error-bound.md), which each
   step widens: less is seen than of rows of w.
2. The losses are those of w before each update, or after it: the first reading that agrees counts.
3. A cause is a named factor on the gradient, on the loss, or on both. None is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..input.messages import counted
from .bound.propagated import propagated_bound
from .bound.yardstick import LIMIT, Array, Yardstick, share_of
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.recorded import Recorded
from .causes.recorded_rows import decimals_of
from .causes.ridge import wrong_penalties
from .judging import Judgement, named_factors, of_codes
from .report.beyond import Beyond

__all__ = ["judge_losses", "with_losses"]

_MOST = 20_000  # epochs: each step is made in Python


def with_losses(found: Judgement, losses: Judgement) -> Judgement:
    """Return the judgement of the last w, with that of the losses of all epochs."""
    both = [one for one in (found.beyond, losses.beyond) if one is not None]
    beyond = min(both, key=lambda one: one.epoch, default=None)

    def diagnosis() -> Diagnosis | None:
        causes = [cause for cause in (found.diagnosis(), losses.diagnosis()) if cause is not None]
        return next((cause for cause in causes if cause.code != "unknown"), causes[0] if causes else None)

    notes = (*found.notes, *(note for note in losses.notes if note.startswith("each loss")))
    share = np.full(found.epochs + 1, np.nan)
    share[: len(losses.loss_share)] = losses.loss_share[: len(share)]
    return found._replace(beyond=beyond, diagnosis=diagnosis, notes=notes, loss_share=share)


class _Path(NamedTuple):
    """The losses of exact descent from the start, and how far rounding may move them."""

    loss: Array  # (epochs + 1,)
    bound: Array  # (epochs + 1,) inf where a step may overflow
    w: Array  # (epochs + 1, d), without the intercept
    w_bound: Array  # (epochs + 1, d)
    u: Any  # the unit roundoff

    def of(self, size: float, penalty: float, u: float = 0.0) -> tuple[Array, Array]:
        """Return `size` times the losses with this penalty, and how far rounding may move them."""
        loss, bound = self.loss, self.bound
        if penalty:
            added = penalty * (self.w * self.w).sum(1)
            loss = loss + added
            bound = bound + penalty * ((2 * np.abs(self.w) + self.w_bound) * self.w_bound).sum(1)
            bound = bound + 2 * self.u * ((self.w.shape[1] + 3) * added + np.abs(loss))
        return size * loss, size * (bound + 2 * u * np.abs(loss))


def judge_losses(question: Question, losses: Array, start: Array, dtype: Any, limit: float) -> Judgement:
    """Judge the losses of a descent of which w was not recorded; start: (D,)."""
    if not question.stateless:
        raise ValueError("losses without w are judged for SGD alone, at one rate and without momentum: give (w_history, losses)")
    found = np.asarray(losses, np.float64)[:_MOST]
    rows = [start.astype(dtype)]
    right = _path(question, start, len(found), 1.0, dtype)
    notes = ["w was not recorded: the losses are compared with those of the descent that was asked for"]
    if question.w0 is None or not np.any(question.w0):
        notes.append("the descent is taken to begin at zeros: give w0= where it does not")
    # of half of the squares, and of their sum, the mean and what is asked for are habits
    habits = {question.asked.factor: ", as it is asked for"} | ({0.5: ""} if question.reduction.startswith("half_") else {})
    habits = {1.0: "", **{size: ", halved" if size == 0.5 else told for size, told in habits.items() if size != 1}}
    shares = {key: _shares(found, right, *key) for key in product((0, 1), habits, question.penalties)}
    read = next((key for key, share in shares.items() if not (share > limit).any()), (0, 1.0, 0.0))
    shift, size, penalty = read
    told = f"{habits[size]}{', with the penalty' if penalty else ''}"
    notes.append(f"each loss is read as that of w {'after' if shift else 'before'} its update{told}")
    share = shares[read]
    judged = int(np.count_nonzero(~np.isnan(share)))
    epochs = len(found) - 1 + shift
    w_share, loss_share = np.full(epochs + 1, np.nan), np.full(epochs + 1, np.nan)
    loss_share[shift:] = share
    if judged < len(found):
        notes.append(f"judged up to epoch {shift + judged - 1}: the bound is infinite after that")
    beyond = None
    if (share > limit).any():
        t = int(np.argmax(share > limit))
        expected = float(right.of(size, penalty)[0][t + shift])
        off = abs(found[t] - expected)
        beyond = Beyond(t + shift, "loss", float(share[t]), float(found[t]), expected, float(off), abs(expected))

    def diagnosis() -> Diagnosis | None:
        return None if beyond is None else _cause(question, found, start, dtype, limit, beyond)

    recorded = Recorded(np.array(rows), None, np.dtype(dtype), (), False)
    at = np.zeros(1, np.int64)
    return Judgement(recorded, at, w_share, loss_share, beyond, epochs, max(0, shift + judged - 1), tuple(notes), diagnosis)


def _path(question: Question, start: Array, steps: int, factor: float, dtype: Any, decay: Any = None) -> _Path:
    """Return the losses of the descent with a factor on the data's gradient, or another decay."""
    yardstick = Yardstick(question.X, question.y, "mean", dtype, question.intercept)
    by = question.asked.factor * factor
    rate = yardstick.extended(np.asarray(float(question.lr.flat[0])).astype(dtype))[()] * by
    decay = np.broadcast_to(question.asked.values["weight_decay"] if decay is None else decay, question.n_parameters) / by
    path = [yardstick.extended(start.astype(dtype))]
    with np.errstate(all="ignore"):
        for _ in range(steps):
            path.append(path[-1] - rate * (yardstick.measure(path[-1][None]).gradient[0] + decay * path[-1]))
        rows = np.stack(path)
        w_bound, bound = propagated_bound(
            question.X, question.y, rows, lr=rate, dtype=dtype, intercept=question.intercept, weight_decay=decay
        )
        d = question.X.shape[1]
        return _Path(yardstick.measure_all(rows).loss, bound, rows[:, :d], w_bound[:, :d], yardstick.u)


def _shares(losses: Array, path: _Path, shift: int, size: float = 1.0, penalty: float = 0.0, u: float = 0.0) -> Array:
    """Return the share of the bound of each loss; NaN: not judged."""
    with np.errstate(all="ignore"):
        expected, bound = (part[shift : shift + len(losses)] for part in path.of(size, penalty, u))
        share = share_of(losses - expected, bound)
    return np.where(np.isfinite(bound.astype(np.float64)), share, np.nan)


def _cause(question: Question, losses: Array, start: Array, dtype: Any, limit: float, beyond: Beyond) -> Diagnosis:
    """Return the simplest named factors with which the losses agree; the rest is possible."""
    u = float(np.finfo(dtype).eps) / 2
    found: list[tuple[str, ...]] = []
    n, asked = len(question.y), question.asked
    steps: list[tuple[tuple[str, ...], float, Any]] = [((), 1.0, None)]
    steps += [(codes, factor / asked.factor, None) for codes, factor in _factors(question)]
    steps += [(codes, 1.0, decay) for codes, decay in wrong_penalties(asked, n, question.n_parameters, question.intercept)]
    for codes, factor, decay in steps:
        path = _path(question, start, len(losses), factor, dtype, decay)
        for of_size, size in _sizes(n):
            of_loss = tuple(code for code in of_size if code.removeprefix("loss_") not in question.reduction.split("_"))
            readings = product((0, 1), (size,), question.penalties)
            if (codes or of_loss) and any(not (_shares(losses, path, *one, u) > limit).any() for one in readings):
                found.append((*codes, *of_loss))
    decimals = decimals_of(losses)
    if decimals is not None and len(losses) > 2:
        path, half = _path(question, start, len(losses), 1.0, dtype), 0.5 * 10.0**-decimals / LIMIT
        for one in product((0, 1), (1.0, 0.5), question.penalties):
            rounded = path._replace(bound=path.bound + half / one[1])
            if not (_shares(losses, rounded, *one, u) > limit).any():
                return of_codes(("loss_rounded",), question, 1.0, variant=f"{decimals} decimals")
    if not found or len(losses) < 3:
        told = f"{counted(len(losses), 'value')} of the loss alone tell too little to name a cause: record w too"
        return Diagnosis("unknown", ("unknown",), f"{told}; the first that is wrong is that of epoch {beyond.epoch}",
                         also_possible=tuple(" + ".join(codes) for codes in found))  # fmt: skip
    best = min(found, key=len)
    rivals = [codes for codes in found if len(codes) == len(best)]
    if len(rivals) > 1:
        return Diagnosis(
            "unknown", ("unknown",), "several causes have these losses: record w too", also_possible=tuple(map(" + ".join, found))
        )
    if set(best) == {"gradient_missing_two", "loss_half"}:
        best = ("half_convention",)
    factor = dict(_factors(question)).get(best[:1], asked.factor)
    named = of_codes(best, question, factor / asked.factor, penalty=asked.penalty)
    return replace(named, also_possible=("lr_scaled",)) if best[:1] in dict(_factors(question)) else named


def _factors(question: Question) -> Iterator[tuple[tuple[str, ...], float]]:
    for codes, factor in named_factors(len(question.y), question.asked.factor):
        if math.isfinite(factor):
            yield codes, factor


def _sizes(n: int) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, factor) of the losses that people take for the mean."""
    return [((), 1.0), (("loss_half",), 0.5), (("loss_sum",), float(n)), (("loss_sum", "loss_half"), n / 2)]
