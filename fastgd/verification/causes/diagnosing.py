"""diagnose(): from arrays to a Diagnosis.

It explains update, start and loss, and puts the findings into words.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...input.annotations import AnyArray, DType, JudgedReduction, NumberOrArray, OptimizerName
from ...input.exits import lets_nothing_exit
from ...input.float_mode import computes
from ...input.one_place import in_one_place, parts_of
from ...input.wrong_names import helps_with_keywords
from ...optimizers import Optimizer
from ...schedules.table import ScheduleLike
from ..bound.yardstick import Array
from .diagnosis import Diagnosis, Finding, explain_by_rounding, explain_loss, explain_update
from .hypotheses import Hypothesis
from .observation import Observation
from .one_array import begins_rounded, in_doubt, of_equal_rows, parts_may_be_one_array
from .question import Question, read_question, start_of
from .recorded import Recorded, read_recorded
from .table import CAUSES, gradient_of, mean_of

__all__ = ["Question", "diagnose", "examine", "of_changed_data", "read_question"]

_NO_STEP = Finding((), {}, math.nan, math.nan, None, (), {}, None)  # nothing is known of the update
# What a change of the data in place may look like.
_OF_CHANGED_DATA = {"unknown", "features_scaled", "target_scaled", "target_other", "columns_permuted", "rows_dropped"}
# Causes with so much freedom that they also explain a first step that is wrong.
_EXPLAINS_ANY_STEP = {"unknown", "gradient_clipped", "gradient_clipped_values", "lr_schedule"}


@lets_nothing_exit
@helps_with_keywords
@computes
def diagnose(
    X: AnyArray,
    y: AnyArray,
    w_history: AnyArray,
    loss_history: AnyArray | None = None,
    *,
    lr: NumberOrArray | None = None,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    schedule: ScheduleLike | None = None,
    reduction: JudgedReduction = "mean",
    intercept: bool = False,
    w0: AnyArray | None = None,
    ridge: float | None = None,
    dtype: DType | None = None,
) -> Diagnosis:
    """Name the cause when a recorded gradient descent is not what it should be.

    Each hypothesis predicts w_{t+1} from the *observed* rows up to w_t. Its τ is the worst share of
    the rounding-error bound of one step::

        τ = max_t |w_{t+1} − predicted| / bound

    The simplest hypothesis with τ ≤ 8 wins. The loss is explained separately, from the observed w,
    so a defect of the update does not hide a defect of the loss. No reference run is needed.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The features, without a column of ones.
    y : array_like, shape (n_samples,)
        The targets.
    w_history : array_like, shape (epochs + 1, D), or (epochs + 1,) where D = 1
        The recorded parameters, the start first; D = n_features, or n_features + 1 with the
        intercept last.
    loss_history : array_like, shape (epochs + 1,) or (epochs,), optional
        The recorded losses; loss[t] is read as the loss of w[t].
    lr : float or array_like, shape (epochs,), optional
        The learning rate that was asked for, or one per epoch; here or in the optimizer.
    optimizer : str or optimizer object, default "sgd"
        The update rule that was asked for, for example ``fastgd.SGD(momentum=0.9)``.
    schedule : schedule, callable or array, optional
        How the learning rate should go on, as in `fastgd.fit`; lr is then the first one.
    reduction : {"mean", "sum", "half_mean", "half_sum"}, default "mean"
        Whether the gradient should be that of the mean of the squared residuals, of their sum, or
        of half of either, as in J = 1/(2n) Σ r². The losses may be the mean or what is asked for.
    intercept : bool, default False
        Whether the last column of w_history is an intercept.
    w0 : array_like, shape (D,), optional
        The start that was asked for. None: row 0 is not judged.
    ridge : float, optional
        The penalty that was asked for, as in `fastgd.fit`: loss + ridge · ‖w‖², of which the
        gradient has 2 · ridge · w, without the intercept. The losses may be with it or without.
    dtype : {"float32", "float64"}, optional
        The precision that was asked for. None: float32 where w_history is float32, or where the
        data are and w is representable in it; else float64.

    Returns
    -------
    Diagnosis
        `code`, `codes`, `sentence`, `evidence`, `fix`, `also_possible`; prints itself.

    Raises
    ------
    ValueError, TypeError
        A shape does not fit, a value is out of range, or the data are not finite.
    RuntimeError
        float64 is judged and this machine's `numpy.longdouble` has a significand of fewer than 64
        bits.

    Examples
    --------
    The tutorial's gradient, np.dot(2 * x, x * w - y).mean(), at lr = 0.01:

    >>> import numpy as np, fastgd
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> w = [0.0]
    >>> for epoch in range(10):
    ...     w.append(w[-1] - 0.01 * np.dot(2 * x, w[-1] * x - 2 * x).mean())
    >>> fastgd.diagnose(x, 2 * x, w, lr=0.01).code
    'gradient_sum'
    """
    question = read_question(
        X, y, lr=lr, optimizer=optimizer, reduction=reduction, intercept=intercept, w0=w0, schedule=schedule, ridge=ridge
    )
    recorded = read_recorded(
        w_history, loss_history, n_parameters=question.n_parameters, intercept=intercept, dtype=dtype, of_data=question.data_dtype
    )
    epochs = len(recorded.w) - 1
    question = question.on_schedule(epochs)._replace(
        one_array=isinstance(w_history, list) and len(w_history) > 1 and in_one_place(map(parts_of, w_history))
    )
    if question.lr.ndim and len(question.lr) not in (1, epochs):
        raise ValueError(
            f"lr must be a number, or one per epoch: w_history has {epochs} epochs after its start, lr has {len(question.lr)} values"
        )
    return examine(question, recorded)


@np.errstate(all="ignore")  # a history that overflows is a finding, not a warning
def examine(question: Question, recorded: Recorded) -> Diagnosis:
    """Diagnose a history."""
    seen = question.observe(recorded)
    notes = [*recorded.notes, *seen.notes]
    start = start_of(question, recorded)
    alike = of_equal_rows(question, recorded, seen)
    if alike is not None:
        return replace(alike, notes=tuple(notes))
    update = explain_update(seen, question.asked) if seen.n_steps else _NO_STEP
    if start is not None and update.codes and begins_rounded(question, recorded):
        rounded = explain_by_rounding(seen, question.asked, update)
        if rounded is not None:  # one cause of update and start
            update, start = rounded, None
    if update.codes == ("parameter_not_updated",) and recorded.w.dtype.kind in "iu":
        update = explain_by_rounding(seen, question.asked, update) or update
    late = _recorded_late(question, recorded, update) if start is not None else None
    after = late is not None
    update = late or update
    if seen.too_early is not None:
        early = seen.too_early
        notes.append(f"judged up to epoch {early - 1}: w is not finite from epoch {early} on, though nothing can overflow there")
        if not update.codes:
            update = update._replace(codes=("not_finite",), words={"epoch": seen.too_early}, tau=np.inf, first=seen.too_early)
    elif seen.why_not_all:
        notes.append(f"judged up to epoch {seen.n_steps}: {seen.why_not_all}")
    elif seen.n_steps == 0:
        notes.append("there is no step to judge: w_history has one row")

    starts: list[tuple[str, dict[str, Any]]] = []
    if start is not None:
        starts = [("recorded_after_update", {})] if after else [start]
    loss = _explain_loss(question, recorded, seen, update, after, notes)
    if loss is not None and "unknown" in loss.codes and parts_may_be_one_array(question, recorded, update):
        update = in_doubt(update)
    return _in_words(question, seen, update, starts, loss, notes)


def of_changed_data(found: Diagnosis | None) -> Diagnosis:
    """Return the diagnosis where a candidate changes its data, with what that looks like."""
    cause = CAUSES["inputs_modified"]
    if found is None:
        return Diagnosis(cause.code, (cause.code,), cause.sentence, fix=cause.fix)
    if found.code not in _OF_CHANGED_DATA:
        return found
    looks, sentence = ((), "") if found.code == "unknown" else (found.codes, f"; {found.sentence}")
    return replace(found, code=cause.code, codes=(cause.code, *looks), sentence=cause.sentence + sentence, fix=cause.fix)


def _recorded_late(question: Question, recorded: Recorded, without: Finding) -> Finding | None:
    """Return what explains the history with the start put before it; None: nothing does."""
    whole = question.observe(recorded._replace(w=_with_start(question, recorded), loss=None))
    if not whole.n_steps:
        return None
    found = explain_update(whole, question.asked)
    # Where w stands still there is one step to explain, the one from w0.
    stands_still = bool((recorded.w == recorded.w[0]).all())
    if found.codes and (found.codes[0] in _EXPLAINS_ANY_STEP or stands_still) and found.codes != without.codes:
        return None
    return found


def _explain_loss(
    question: Question, recorded: Recorded, seen: Observation, update: Finding, after: bool, notes: list[str]
) -> Finding | None:
    """Return what explains the losses; None where there are none to judge."""
    if recorded.loss is None or not seen.n_inside:
        return None
    of_update = update.hypothesis if isinstance(update.hypothesis, Hypothesis) else None
    found = explain_loss(seen, of_update)
    if question.reduction.startswith("half") and "loss_half" in found.codes:  # the half that was asked for is no defect
        halved = seen.with_loss_of(question.asked.factor)
        found = _without_a_half(found, explain_loss(halved, of_update), halved, notes)
    if seen.notes and {"loss_scaled", "loss_of_residuals", "unknown"} & set(found.codes):  # of what was recorded, not of what was read
        found = explain_loss(question._replace(reduction="").observe(recorded), of_update)
        notes[:] = [note for note in notes if note not in seen.notes]
    of_updates = len(recorded.loss) == len(recorded.w) - 1 > 0 and not after  # one for each: that before it or after it is a habit
    if found.codes and (recorded.start_added or after or of_updates):
        other = _other_alignment(question, recorded, later=recorded.start_added or of_updates)
        better = explain_loss(other, of_update)
        if not better.codes or (better.codes != ("unknown",) and "loss_after_update" in found.codes):
            told = "the w recorded with it" if recorded.start_added else "the w after its update" if of_updates else "w before the update"
            notes[:] = [note for note in notes if "read as the loss before each update" not in note]
            notes.append(f"each loss is that of {told}")
            return better
    if found.codes == ("unknown",) and recorded.dtype == np.float64:
        narrow = np.asarray(recorded.loss, np.float64)
        in_float32 = "float32_arithmetic" in update.codes or "float32_storage" in update.codes
        with np.errstate(over="ignore"):
            fits = bool((narrow == narrow.astype(np.float32)).all())
        if in_float32 or fits:
            in_range = question.observe(recorded._replace(dtype=np.dtype(np.float32)))
            coarse = explain_loss(in_range, of_update)
            # Fewer rows inside would mean that float32 arithmetic had overflowed.
            if coarse.codes != ("unknown",) and in_range.n_inside >= seen.n_inside:
                return coarse._replace(codes=(*coarse.codes, *(() if in_float32 else ("loss_float32",))))
    return found


def _without_a_half(found: Finding, halved: Finding, seen: Observation, notes: list[str]) -> Finding:
    """Return what explains the losses read as those of half of the squares, if no half is left."""
    if halved.codes == ("unknown",) or "loss_half" in halved.codes:
        return found
    notes.extend(seen.notes)
    return halved


def _other_alignment(question: Question, recorded: Recorded, later: bool) -> Observation:
    """Return the history with each loss one row earlier or later.

    Where the start is not recorded, or there is one loss for each update, both ways are in use.
    """
    assert recorded.loss is not None
    if later:  # loss[t] belongs to the t-th recorded w, which is row t + 1
        return question.observe(recorded._replace(w=recorded.w[1:]), first=1)
    return question.observe(recorded._replace(w=_with_start(question, recorded)))


def _with_start(question: Question, recorded: Recorded) -> Array:
    """Return the recorded rows with the start that was asked for before them."""
    assert question.w0 is not None
    with np.errstate(over="ignore"):
        return np.concatenate([question.w0.astype(recorded.dtype)[None], recorded.w])


def _rates_fix(question: Question) -> str:
    """Return the line that mends learning rates which are not those that were asked for."""
    rates = np.ravel(question.lr)
    if (rates == rates[0]).all():
        return f"keep lr = {rates[0]:.6g} in every epoch"
    return "follow the schedule from epoch to epoch; a run that goes on needs scheduler.load_state_dict too"


def _in_words(
    question: Question,
    seen: Observation,
    update: Finding,
    starts: list[tuple[str, dict[str, Any]]],
    loss: Finding | None,
    notes: list[str],
) -> Diagnosis:
    """Return the findings as a Diagnosis."""
    given: dict[str, Any] = {
        "n": f"{seen.size:.6g}",
        "n_minus_1": f"{seen.size - 1:.6g}",
        "recipe": question.words,
        "lr": float(question.lr.flat[0]),
    }
    weighted = seen.parts is not None and seen.parts.weights is not None
    given |= {
        "gradient": gradient_of(question.reduction, weighted),
        "mean": mean_of(weighted, question.reduction),
        "rates_fix": _rates_fix(question),
    }
    parts = [(code, {**given, **update.words}) for code in update.codes]
    parts += [(code, {**given, **words}) for code, words in starts]
    parts += [(code, {**given, **loss.words}) for code in loss.codes] if loss is not None else []
    one_half = loss is not None and "gradient_missing_two" in update.codes and "loss_half" in loss.codes
    if one_half:  # one convention, and no two defects
        parts = [("half_convention" if code == "gradient_missing_two" else code, words) for code, words in parts if code != "loss_half"]
    evidence: dict[str, Any] = {"tau": update.tau, "tau_asked": update.tau_asked, "first_epoch": update.first, "epochs_used": seen.n_steps}
    evidence |= {name: update.words[name] for name in ("value", "damping", "decay", "rate") if name in update.words}
    evidence |= {"rivals": update.rivals, "constants": getattr(update.hypothesis, "constants", 0)}
    also = update.also
    if loss is not None:
        evidence |= {"tau_loss": loss.tau, "tau_loss_asked": loss.tau_asked, "loss_first_epoch": loss.first}
        evidence |= {"loss_value": loss.words["value"]} if "value" in loss.words else {}
        also += loss.also + (("gradient_missing_two + loss_half",) if one_half else ())
    if not parts:  # no cause was found
        parts = [("ok", given)] if seen.n_steps else [("not_judged", given)]
    of_update = len(update.codes)
    parts[:of_update] = sorted(parts[:of_update], key=lambda part: part[0] == "half_convention")  # a convention comes after the causes
    codes = tuple(dict.fromkeys(code for code, _ in parts))
    sentences = [CAUSES[code].sentence.format(**words) for code, words in parts]
    if codes == ("ok",) and seen.why_not_all:
        sentences = [f"{sentences[0]}, up to epoch {seen.n_steps}; later ones are not judged"]
    fixes = [CAUSES[code].fix.format(**words) for code, words in parts if CAUSES[code].fix]
    return Diagnosis(
        code=codes[0],
        codes=codes,
        sentence="; ".join(dict.fromkeys(sentences)),
        evidence=evidence,
        fix="; ".join(dict.fromkeys(fixes)),
        also_possible=also,
        notes=tuple(notes),
    )
