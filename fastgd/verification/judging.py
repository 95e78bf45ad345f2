"""A history is judged: its readings, the share of the bound of every w and loss, the cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .bound.batches import Rule
from .bound.yardstick import Array
from .causes.diagnosing import Question, examine
from .causes.diagnosis import Diagnosis
from .causes.loss import right_loss
from .causes.observation import Observation
from .causes.readings import Reading
from .causes.recorded import Recorded
from .causes.ridge import wrong_penalties
from .causes.sizes import named_factors
from .causes.table import CAUSES, gradient_of, mean_of
from .report.beyond import Beyond

__all__ = ["Judgement", "judge", "judge_each", "named_factors", "names_of", "of_codes"]


class Judgement(NamedTuple):
    """What was found of one reading of a history."""

    recorded: Recorded
    at: Array  # (m,): the epoch of each row
    w_share: Array  # (epochs + 1,): of the bound; NaN: not judged
    loss_share: Array  # (epochs + 1,)
    beyond: Beyond | None  # the first value beyond the bound
    epochs: int  # recorded
    epochs_judged: int
    notes: tuple[str, ...]
    diagnosis: Callable[[], Diagnosis | None]  # it is costly, and of one reading alone
    unit: str = "epoch"  # that rows are apart, "epoch" or "step"


def judge(question: Question, readings: list[Reading], limit: float, held_higher: bool) -> Judgement:
    """Judge a history by the first of its readings that passes; by the first where none does."""
    made = []
    for reading in readings:
        one = (_judge_apart if reading.strided else judge_each)(question, reading, limit, held_higher)
        if one.beyond is None and (one.epochs_judged or len(readings) == 1):
            return one
        made.append(one)
    for powers in ("of float32", "rounded") if question.asked.rule.products else ():
        coarse = question._replace(asked=replace(question.asked, powers=powers))
        one = judge_each(coarse, readings[0], limit, held_higher)
        if one.beyond is None and one.epochs_judged:
            return one._replace(notes=(*one.notes, "1 - beta**t is made in float32, which is rounding: judged so"))
    return made[0] if len(made) == 1 else _none_passes(made)


def judge_each(question: Question, reading: Reading, limit: float, held_higher: bool) -> Judgement:
    """Judge rows that are one epoch apart."""
    recorded = reading.recorded
    question = question.on_schedule(len(recorded.w) - 1)
    seen = question.observe(recorded, held_higher=held_higher)
    notes = [*recorded.notes, *seen.notes]
    w_share, loss_share, beyond = _shares(question, recorded, seen, limit, notes)
    if beyond is not None and beyond.quantity == "loss":  # they are not what they were read as
        notes = [note for note in notes if note not in seen.notes]
    if seen.why_not_all:
        notes.append(f"judged up to epoch {seen.n_steps}: {seen.why_not_all}")

    def diagnosis() -> Diagnosis | None:
        return None if beyond is None else examine(question, recorded)

    return Judgement(recorded, reading.at, w_share, loss_share, beyond, len(recorded.w) - 1, seen.n_steps, tuple(notes), diagnosis)


def _judge_apart(question: Question, reading: Reading, limit: float, held_higher: bool) -> Judgement:
    """Judge rows that are several epochs apart: each by the steps from the row before it."""
    recorded, at = reading.recorded, reading.at
    question = question.on_schedule(int(at[-1]))
    shares, expected = question.shares_apart(recorded.w, at, dtype=recorded.dtype, held_higher=held_higher, limit=limit)
    epochs, judged = int(at[-1]), ~np.isnan(shares).any(1)
    w_share, loss_share = np.full(epochs + 1, np.nan), np.full(epochs + 1, np.nan)
    w_share[at] = shares.max(1)
    found: list[Beyond] = []
    if question.start_is_wrong(recorded):
        found.append(_wrong_start(question, recorded))
    if (shares > limit).any():
        row = int(np.argmax((shares > limit).any(1)))
        column = int(np.argmax(shares[row]))
        seen_there, ours = recorded.w[row, column], expected[row, column]
        off, moved = abs(seen_there - ours), abs(recorded.w[row - 1, column] - ours)
        name, share = names_of(question)[column], shares[row, column]
        found.append(Beyond(int(at[row]), name, *map(float, (share, seen_there, ours, off, moved))))
    notes = list(recorded.notes)
    seen = question.observe(recorded)
    if seen.loss is not None:
        of_loss = _loss_shares(question, recorded, seen, limit, notes)
        loss_share[at[: len(of_loss)]] = of_loss
        if (of_loss > limit).any():
            row = int(np.argmax(of_loss > limit))
            found.append(_wrong_loss(question, recorded, seen, of_loss, row)._replace(epoch=int(at[row])))
    last = int(at[judged][-1]) if judged.any() else 0
    beyond = min(found, key=lambda beyond: beyond.epoch) if found else None
    if beyond is None and last < epochs:
        notes.append(f"judged up to epoch {last}: values are too near overflow after that")

    def diagnosis() -> Diagnosis | None:
        return None if beyond is None else _cause_apart(question, reading, limit, held_higher, beyond)

    return Judgement(recorded, reading.at, w_share, loss_share, beyond, epochs, last, tuple(notes), diagnosis)


def _cause_apart(question: Question, reading: Reading, limit: float, held_higher: bool, beyond: Beyond) -> Diagnosis:
    """Return the cause where rows are several epochs apart: one without constants, or none."""
    recorded = reading.recorded
    if beyond.quantity != "loss" and not question.start_is_wrong(recorded):
        for codes, factor, rule in _named_steps(question):
            shares, _ = question.shares_apart(
                recorded.w, reading.at, dtype=recorded.dtype, held_higher=held_higher, limit=limit, rule=rule, factor=factor
            )
            if (shares[1:] <= limit).all():
                return of_codes(codes, question, factor, penalty=question.asked.penalty, recipe=question.words)
    told = "rows that are several epochs apart tell too little to name a cause: record every epoch"
    return Diagnosis("unknown", ("unknown",), f"{told}; {beyond.quantity} is the first that is wrong, in epoch {beyond.epoch}")


def _named_steps(question: Question) -> Iterator[tuple[tuple[str, ...], float, Rule]]:
    """Yield (codes, factor on the gradient of the data, rule) of causes without constants."""
    asked, n = question.asked, len(question.y)
    linear = asked.linear
    for codes, factor in named_factors(n, asked.factor):
        yield codes, factor / asked.factor, linear
    for codes, decay in wrong_penalties(asked, n, question.n_parameters, question.intercept):
        yield codes, 1.0, linear._replace(weight_decay=decay)
    if not asked.plain and not asked.ridge:
        yield ("plain_descent",), 1.0, Rule()


def of_codes(codes: tuple[str, ...], question: Question, value: float, size: float | None = None, **more: Any) -> Diagnosis:
    """Return the diagnosis of causes; value: the factor of a step, size: what divides its mean."""
    n = len(question.y) if size is None else size
    words = {"n": f"{n:.6g}", "n_minus_1": f"{n - 1:.6g}", "value": value, "variant": "", "lr": float(question.lr.flat[0])}
    weighted = question.parts is not None and question.parts.weights is not None
    words |= {"gradient": gradient_of(question.reduction, weighted), "mean": mean_of(weighted, question.reduction), **more}
    causes = [CAUSES[code] for code in codes]
    fixes = dict.fromkeys(cause.fix.format(**words) for cause in causes if cause.fix)
    return Diagnosis(codes[0], codes, "; ".join(cause.sentence.format(**words) for cause in causes), fix="; ".join(fixes))


def _none_passes(made: list[Judgement]) -> Judgement:
    """Return the judgement where no reading passes; a cause needs a name without constants."""
    for one in made:
        named = one.diagnosis()
        if named is not None and "unknown" not in named.codes and not named.evidence.get("constants"):
            return one
    first, *others = made
    others = [one for one in others if not np.array_equal(one.at, first.at)]  # not the same rows with other losses
    if not others:
        return first

    def diagnosis() -> Diagnosis | None:
        found = first.diagnosis()
        if found is None or found.code == "unknown":
            return found
        possible = (" + ".join(found.codes), *found.also_possible)
        given = "every row" if first.recorded.start_added is False and first.at[0] == 0 else "w0 and every row"
        told = f"the rows may be read in several ways, of which none agrees: give {given} to have the cause named"
        return Diagnosis("unknown", ("unknown",), told, found.evidence, "", possible, found.notes)

    tried = [other.recorded.notes[0].partition("read as ")[2] for other in others]
    notes = (*first.notes, *(f"read as {words}, it does not agree either" for words in tried[:2]))
    return first._replace(notes=notes, diagnosis=diagnosis)


def names_of(question: Question) -> list[str]:
    """Return the names of the parameters."""
    names = [f"w[{j}]" for j in range(question.n_parameters)]
    return [*names[:-1], "intercept"] if question.intercept else names


def _shares(
    question: Question, recorded: Recorded, seen: Observation, limit: float, notes: list[str]
) -> tuple[Array, Array, Beyond | None]:
    """Return the share of the bound of w and loss at every row, and the first value beyond it."""
    rows = len(recorded.w)
    w_share, loss_share = np.full(rows, np.nan), np.full(rows, np.nan)
    found: list[Beyond] = []
    names = names_of(question)
    if question.start_is_wrong(recorded):
        found.append(_wrong_start(question, recorded))
    if seen.n_steps:
        step = question.asked.step(seen)
        shares = seen.shares_by_parameter(step)
        w_share[1 : seen.n_steps + 1] = shares.max(1)
        bad = shares > limit
        if bad.any():
            t = int(np.argmax(bad.any(1)))
            j = int(np.argmax(shares[t]))
            size, off = step.value[t, j], abs(seen.moved[t, j] - step.value[t, j])
            values = float(seen.w[t + 1, j]), float(seen.w[t, j] - size)
            found.append(Beyond(t + 1, names[j], float(shares[t, j]), *values, float(off), float(abs(size))))
    if seen.too_early is not None:
        w_share[seen.too_early] = np.inf
        j = int(np.argmin(np.isfinite(recorded.w[seen.too_early])))
        found.append(Beyond(seen.too_early, names[j], math.inf, float(recorded.w[seen.too_early, j])))
    if seen.loss is not None:
        of_loss = _loss_shares(question, recorded, seen, limit, notes)
        loss_share[: len(of_loss)] = of_loss
        if (of_loss > limit).any():
            t = int(np.argmax(of_loss > limit))
            found.append(_wrong_loss(question, recorded, seen, of_loss, t))
    return w_share, loss_share, min(found, key=lambda beyond: beyond.epoch) if found else None


def _wrong_start(question: Question, recorded: Recorded) -> Beyond:
    """Return the number in which row 0 is farthest from the start that was asked for."""
    assert question.w0 is not None
    off = np.nan_to_num(np.abs(recorded.w[0].astype(np.float64) - question.w0), nan=np.inf)
    j = int(np.argmax(off))
    return Beyond(0, names_of(question)[j], math.inf, float(recorded.w[0, j]), float(question.w0[j]), float(off[j]))


def _wrong_loss(question: Question, recorded: Recorded, seen: Observation, shares: Array, t: int) -> Beyond:
    """Return what is known of a wrong loss, in the units in which it was recorded."""
    assert seen.loss is not None
    assert recorded.loss is not None
    found, expected = seen.loss[t], seen.true_loss[t]
    factor = question.asked.factor
    if question.reduction not in ("mean", "") and abs(factor * found - recorded.loss[t]) <= 1e-6 * abs(found):  # so it was read
        found, expected = factor * found, factor * expected
    return Beyond(t, "loss", float(shares[t]), float(found), float(expected), float(abs(found - expected)), float(abs(expected)))


def _loss_shares(question: Question, recorded: Recorded, seen: Observation, limit: float, notes: list[str]) -> Array:
    """Return the share of the bound of each loss, by the convention that fits."""
    assert seen.loss is not None
    assert recorded.loss is not None
    shares = right_loss(seen).shares(seen.loss)
    if len(recorded.loss) == len(recorded.w) - 1 and (shares > limit).any():
        # One loss for each update may be that of w before it or after it.
        later = question.observe(recorded._replace(w=recorded.w[1:]), first=1)
        assert later.loss is not None
        of_later = right_loss(later).shares(later.loss)
        if (of_later <= limit).all():
            notes[:] = [note for note in notes if "read as the loss before each update" not in note]
            notes.append(f"each loss is that of the w {'recorded with it' if recorded.start_added else 'after its update'}")
            return np.concatenate([[np.nan], of_later])
    return shares
