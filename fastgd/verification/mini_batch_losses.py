"""The losses beside rows of w after each epoch of mini-batches, by what they may be.

They may be those of all samples before or after the epoch, or the mean, the weighted mean, the sum,
the first or the last of those of its batches, each before its step; or there is one for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..input.reading import read_array
from .bound.batches import BatchSteps, Rule, Step
from .bound.yardstick import Array, share_of
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .judging import of_codes
from .report.beyond import Beyond

__all__ = ["Losses", "explained_losses"]

_UNWEIGHTED = "the mean of those of the batches of its epoch, each before its step"
_WEIGHTED = "the mean of those of the batches of its epoch, weighted by their sizes"


class Losses(NamedTuple):
    """What the losses are, and the share of the bound of each row's."""

    share: Array  # (m,) NaN: not judged
    codes: tuple[str, ...] = ()
    size: float = 1.0  # what their mean is divided by

    def with_cause(self, of_w: Diagnosis | None, question: Question, beyond: Beyond) -> Diagnosis:
        """Return the diagnosis of w and of the losses together."""
        if not self.codes:
            told = f"no known cause explains it: {beyond.quantity} is the first that is wrong, in epoch {beyond.epoch}"
            return of_w or Diagnosis("unknown", ("unknown",), told)
        found = of_codes(self.codes, question, 1.0, self.size)
        if of_w is None:
            return found
        fixes = "; ".join(fix for fix in (of_w.fix, found.fix) if fix)
        return replace(of_w, codes=(*of_w.codes, *found.codes), sentence=f"{of_w.sentence}; {found.sentence}", fix=fixes)


class _Reading(NamedTuple):
    """What losses may be: their values, how far rounding may move them, and their rows."""

    words: str
    value: Array  # NaN: too near overflow
    error: Array
    at: Array
    size: float
    given: slice = slice(None)  # of the losses
    sizes: str = ""  # of the batches in words, where they differ

    def share_of(self, difference: Array, bound: Array) -> Array:
        """Return the share of a bound; NaN: not judged."""
        return np.where(np.isnan(self.value), np.nan, share_of(difference, bound))


def explained_losses(question: Question, rows: Array, loss_history: Any, dtype: Any, limit: float, notes: list[str]) -> Losses:
    """Return the losses by the reading that explains most of them (note 3)."""
    nothing = Losses(np.full(len(rows), np.nan))
    if loss_history is None:
        return nothing
    found = np.asarray(read_array(loss_history, "loss_history"))
    readings = list(_readings(question, rows, found.size)) if found.ndim == 1 else []
    if not readings:
        notes.append("the losses are not judged: there is not one for each row, nor for each step")
        return nothing
    u = float(np.finfo(dtype).eps) / 2
    # what was asked for is no defect
    of_half: tuple[str, ...] = () if question.reduction.startswith("half") else ("loss_half",)
    of_sum: tuple[str, ...] = () if question.reduction.endswith("sum") else ("loss_sum",)
    best: tuple[tuple[int, int], _Reading, tuple[str, ...], Array] | None = None
    for reading in readings:
        n, losses = reading.size, found[reading.given]
        for codes, factor in (((), 1.0), (of_half, 0.5), (of_sum, n), ((*of_sum, *of_half), n / 2)):
            share = reading.share_of(losses - factor * reading.value, factor * reading.error + 2 * u * np.abs(factor * reading.value))
            best = _better(best, reading, codes, share, limit)
        with np.errstate(all="ignore"):
            square = np.square(losses.astype(reading.value.dtype))
            root = reading.share_of(square - reading.value, reading.error + 8 * u * reading.value)
        best = _better(best, reading, ("loss_rmse",), np.where(losses < 0, np.inf, root), limit)
    assert best is not None
    (agreeing, _), reading, codes, share = best
    if codes:  # how far they are from right ones
        share = reading.share_of(found[reading.given] - reading.value, reading.error)
    judged = int((~np.isnan(share)).sum())
    if agreeing < judged and not (agreeing > 1 and 2 * agreeing > judged):
        notes.append("the losses are not judged: they are neither those of all samples at each row nor those of the batches")
        return nothing
    if reading.words:
        notes.append(f"each loss is {reading.words}{_unlike_all(reading, readings)}")
    each = np.full(len(rows), np.nan)
    for row, one in zip(reading.at, share, strict=True):
        each[row] = np.fmax(each[row], one)
    return Losses(each, codes, reading.size)


def _unlike_all(reading: _Reading, readings: list[_Reading]) -> str:
    """Return by how much the mean of the batches' losses is not that of their samples, in words."""
    weighted = next((one for one in readings if one.words == _WEIGHTED and one.given == reading.given), None)
    if reading.words != _UNWEIGHTED or weighted is None or not reading.sizes:
        return ""
    with np.errstate(all="ignore"):
        off = np.abs(reading.value / weighted.value - 1)
    most = float(np.max(off[np.isfinite(off)], initial=0.0))
    return f", unweighted: {reading.sizes}, the mean of all samples is another number, by up to {100 * most:.2g} %"


def _better(best: Any, reading: _Reading, codes: tuple[str, ...], share: Array, limit: float) -> Any:
    """Return the reading with more agreeing losses, of those the one with fewer codes."""
    key = int((share <= limit).sum()), -len(codes)
    return (key, reading, codes, share) if best is None or key > best[0] else best


def _readings(question: Question, rows: Array, count: int) -> Iterator[_Reading]:
    """Yield what this number of losses may be."""
    assert question.parts is not None
    plan = question.parts.plan
    assert plan is not None
    on_all = plan.steps.on(None)
    assert on_all is not None
    rule, taken = question.asked.linear, plan.rows_of(plan.epochs)[: len(rows) - 1]
    yardstick, m = on_all[0], len(rows)
    w = yardstick.parameters(rows, "w_history", rows=True)
    with np.errstate(all="ignore"):
        truth = yardstick.measure_all(w)
    value, error, total = np.where(truth.inside, truth.loss, np.nan), truth.loss_error, float(yardstick.total)
    if count == m:
        yield _Reading("", value, error, np.arange(m), total)
    if count == m - 1:
        yield _Reading("that of all samples before its epoch", value[:-1], error[:-1], np.arange(m - 1), total)
        yield _Reading("that of all samples after its epoch", value[1:], error[1:], np.arange(1, m), total)
    if count not in (m - 1, m, sum(map(len, taken))):
        return
    paths = list(_losses_on(plan.steps, w, taken, rule))
    if any(path is None or not len(path[0]) for path in paths):
        return
    known = [path for path in paths if path is not None]
    size = max(float(path[2].max()) for path in known)
    if count in (m - 1, m):
        last, least = np.arange(1, m), min(float(path[2].min()) for path in known)
        told = "weights that sum to {:.4g} of {:.4g}" if question.parts.weights is not None else "{:g} of {:g} samples"
        unlike = f"the smallest batch has {told.format(least, size)}" if least < size else ""
        ways: list[tuple[str, Callable[[Array, Array], Any]]] = [
            (_UNWEIGHTED, lambda part, by: part.mean()),
            (_WEIGHTED, lambda part, by: (part * by).sum() / by.sum()),
            ("the sum of those of the batches of its epoch, each before its step", lambda part, by: part.sum()),
            ("the sum of those of the batches of its epoch, times their sizes", lambda part, by: (part * by).sum()),
            ("that of the last batch of its epoch, before its step", lambda part, by: part[-1]),
            ("that of the first batch of its epoch, before its step", lambda part, by: part[0]),
        ]
        for words, way in ways:
            values, errors = (np.array([way(path[k], path[2]) for path in known]) for k in (0, 1))
            more = np.array([len(path[0]) + 4 for path in known]) * yardstick.u * np.abs(values)
            for given in (slice(None),) if count == m - 1 else (slice(1, None), slice(None, -1)):
                yield _Reading(words, values, errors + more, last, size, given, unlike)
    if count == sum(map(len, taken)):
        at = np.repeat(np.arange(1, m), [len(path[0]) for path in known])
        value, error, by = (np.concatenate([path[k] for path in known]) for k in range(3))
        yield _Reading("that of the batch of its step", value, error, at, size)
        if (by != size).any():
            yield _Reading("that of the batch of its step, times its size", by * value, by * error + 2 * yardstick.u * by * value, at, size)


def _losses_on(steps: BatchSteps, rows: Array, taken: list[list[Step]], rule: Rule) -> Iterator[tuple[Array, Array, Array] | None]:
    """Yield the loss of each batch before its step, how far it may be off, and the sizes.

    None: a step may overflow.
    """
    D = rows.shape[1]
    buffer = np.zeros(D if rule.momentum else 0, rows.dtype)
    for i, one in enumerate(taken):
        path = steps.path(np.append(rows[i], buffer), one, rule, i == 0)
        if path is None:
            yield None
            return
        buffer, found = path.states[-1][D:], []
        for step, state, off in zip(one, path.states, path.reach(), strict=False):
            known = steps.on(step.batch)
            if known is not None:
                yardstick, moments = known
                at = yardstick.measure(state[None, :D])
                length = np.sqrt((at.gradient[0] ** 2).sum()) * (2 / (yardstick.scale * yardstick.total))
                bend = np.abs(moments).sum() / yardstick.total
                found.append((at.loss[0], at.loss_error[0] + length * off + bend * off * off, yardstick.total))
        value, error, size = (np.array(part) for part in zip(*found, strict=True)) if found else (np.zeros(0),) * 3
        yield value, error, size
