"""diagnose(): from arrays to a Diagnosis.

It checks the arguments, explains update, start and loss, and puts the findings into words.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_args

import numpy as np

from ...data.faults import where_not_finite
from ...data.problem import Problem
from ...input.annotations import AnyArray, DType, NumberOrArray, OptimizerName, Reduction
from ...input.arrays import arrive_on_host
from ...input.exits import lets_nothing_exit
from ...input.float_mode import computes
from ...input.hyperparameters import read_hyperparameters
from ...input.messages import shown
from ...input.options import read_choice
from ...input.reading import read_array, read_numbers
from ...input.room import OF_A_JUDGED, check_room
from ...input.wrong_names import helps_with_keywords
from ...optimizers import Optimizer, find_optimizer
from ...schedules.table import Scheduled, ScheduleLike, read_first_rates, read_one_schedule, walk
from ..bound.yardstick import Array
from .diagnosis import Diagnosis, Finding, explain_loss, explain_update
from .observation import Observation
from .recipes import Recipe
from .recorded import Recorded, read_recorded
from .table import CAUSES

__all__ = ["Question", "diagnose", "examine", "read_question"]

_NO_STEP = Finding((), {}, math.nan, math.nan, None, (), {}, None)  # nothing is known of the update
# Causes with so much freedom that they also explain a first step that is wrong.
_EXPLAINS_ANY_STEP = {"unknown", "gradient_clipped", "lr_schedule"}


class Question(NamedTuple):
    """The data of one fit, and what was asked for."""

    X: Array  # (n, d)
    y: Array  # (n,)
    lr: Any  # () or (epochs,)
    asked: Recipe
    intercept: bool
    w0: Array | None  # (D,)
    words: str  # what was asked for, in words
    data_dtype: np.dtype[Any]  # the precision in which `fit` would fit them
    schedule: Scheduled | None = None  # lr is then the rate that it begins with, until `on_schedule`

    @property
    def n_parameters(self) -> int:
        """Number of parameters, the intercept counted."""
        return self.X.shape[1] + self.intercept

    def with_rate(self, lr: float) -> Question:
        """Return this question with another learning rate."""
        return self._replace(lr=np.asarray(lr), words=self.words.replace(f"lr {float(self.lr.flat[0]):g}", f"lr {lr:g}"))

    def on_schedule(self, epochs: int) -> Question:
        """Return this question with the rate of each epoch, where there is a schedule."""
        walked = walk(self.schedule, None, epochs)
        if walked is None:
            return self
        lr = np.asarray(self.lr, np.float64).reshape(1)
        return self._replace(lr=walked.table(np.zeros(1, np.int64), lr, np.zeros(1, np.int64), epochs)[:, 0])

    @property
    def strides(self) -> bool:
        """Whether rows that are several epochs apart can be judged: no state is between them."""
        return self.asked.plain and self.schedule is None

    def start_is_wrong(self, recorded: Recorded) -> bool:
        """Return whether row 0 is another start than the one asked for."""
        return _start_of(self, recorded) is not None

    def observe(self, recorded: Recorded, loss: Array | None = None, held_higher: bool = False, first: int = 0) -> Observation:
        """Return the recorded rows that can be judged, with the exact gradient and loss there.

        first: the epoch of the first row. Where there is a rate for each epoch, rows end with them.
        """
        lr, w = self.lr, recorded.w
        if lr.ndim and len(lr) > 1:
            lr = lr[first : first + max(len(w) - 1, 0)]
            w = w[: len(lr) + 1]
        seen = Observation(
            self.X, self.y, w, recorded.loss if loss is None else loss, lr=lr, dtype=recorded.dtype,
            intercept=self.intercept, factor=self.asked.factor, held_higher=held_higher,
        )  # fmt: skip
        return self.asked.judged(seen)


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
    reduction: Reduction = "mean",
    intercept: bool = False,
    w0: AnyArray | None = None,
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
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient should be that of the mean of the squared residuals, or of their sum.
    intercept : bool, default False
        Whether the last column of w_history is an intercept.
    w0 : array_like, shape (D,), optional
        The start that was asked for. None: row 0 is not judged.
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
    question = read_question(X, y, lr=lr, optimizer=optimizer, reduction=reduction, intercept=intercept, w0=w0, schedule=schedule)
    recorded = read_recorded(
        w_history, loss_history, n_parameters=question.n_parameters, intercept=intercept, dtype=dtype, of_data=question.data_dtype
    )
    epochs = len(recorded.w) - 1
    question = question.on_schedule(epochs)
    if question.lr.ndim and len(question.lr) not in (1, epochs):
        raise ValueError(
            f"lr must be a number, or one per epoch: w_history has {epochs} epochs after its start, lr has {len(question.lr)} values"
        )
    return examine(question, recorded)


def read_question(X: Any, y: Any, *, lr: Any, optimizer: Any, reduction: str, intercept: bool, w0: Any, schedule: Any = None) -> Question:
    """Check the data of one fit and what was asked for."""
    problem = Problem.read(arrive_on_host(X=X, y=y), intercept=intercept, dtype=None)
    if problem.leading:
        raise ValueError(f"diagnose takes one fit, X of shape (n_samples, n_features); X and y have leading axes {problem.leading}")
    data, target = read_array(X, "X"), read_array(y, "y")
    data = data[:, None] if data.ndim == 1 else data
    check_room("X", data.size, OF_A_JUDGED)
    if not (np.isfinite(data).all() and np.isfinite(target).all()):
        raise ValueError(where_not_finite(problem))
    optimizer = find_optimizer(optimizer)
    scheduled = read_one_schedule(schedule)
    given = optimizer.lr if lr is None else lr
    given = optimizer.rule.default_lr if given is None else given
    given = given if scheduled is None else read_first_rates(lr, optimizer, scheduled)
    if given is None:
        raise ValueError("lr is needed: the learning rate that was meant")
    rate = read_numbers(given, "lr")
    if rate.ndim and scheduled is not None:
        raise ValueError(f"lr must be a number beside a schedule; it has shape {rate.shape}")
    if rate.ndim > 1:
        raise ValueError(f"lr must be a number, or one per epoch; it has shape {rate.shape}")
    values = read_hyperparameters(optimizer)
    for name, number in values.items():
        if number.ndim:
            raise ValueError(f"{name} must be a number here, not an array of shape {number.shape}")
    names = dict(zip(values, optimizer.rule.hyperparameters, strict=True))  # beta1 for betas[0]
    defaults = optimizer.rule.hyperparameters
    plain = {names[name]: _like(defaults[names[name]], number) for name, number in values.items()}
    factor = float(problem.n_samples) if read_choice(reduction, "reduction", get_args(Reduction)) == "sum" else 1.0
    start = None if w0 is None else _read_start(w0, data.shape[1] + intercept, intercept)
    changed = ", ".join(f"{name}={value:g}" for name, value in plain.items() if value != defaults[name])
    words = f"{optimizer.rule.name}{f'({changed})' if changed else ''}, lr {float(rate.flat[0]):g}, {reduction}"
    words += "" if scheduled is None else f", {scheduled.words}"
    return Question(data, target, rate, Recipe(optimizer.rule, plain, factor), bool(intercept), start, words, problem.dtype, scheduled)


def _like(default: float | bool, number: Array) -> float | bool:
    return bool(number) if isinstance(default, bool) else float(number)


def _read_start(w0: Any, D: int, intercept: bool) -> Array:
    """Return w0 (D,) as an array."""
    start = np.atleast_1d(read_numbers(w0, "w0"))
    if start.shape != (D,):
        last = ", the intercept last" if intercept else ""
        raise ValueError(f"w0 must have shape ({D},){last}; it has shape {np.shape(w0)}: {shown(w0)}")
    return start


@np.errstate(all="ignore")  # a history that overflows is a finding, not a warning
def examine(question: Question, recorded: Recorded) -> Diagnosis:
    """Diagnose a history."""
    seen = question.observe(recorded)
    notes = list(recorded.notes)
    start = _start_of(question, recorded)
    update = explain_update(seen, question.asked) if seen.n_steps else _NO_STEP
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
    return _in_words(question, seen, update, starts, loss, notes)


def _start_of(question: Question, recorded: Recorded) -> tuple[str, dict[str, Any]] | None:
    """Return ("initial_w", words) where row 0 is another start than the one asked for."""
    if question.w0 is None or recorded.start_added:
        return None
    with np.errstate(over="ignore"):
        meant = question.w0.astype(recorded.dtype).astype(np.float64)
    found = recorded.w[0].astype(np.float64)
    either = (found == question.w0) | (found == meant) | (found == question.w0.astype(np.float32))
    return None if either.all() else ("initial_w", {"found": _told(found), "expected": _told(question.w0)})


def _told(w: Array) -> str:
    return f"[{', '.join(f'{float(value):.6g}' for value in w[:4])}{', ...' if len(w) > 4 else ''}]"


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
    rows = getattr(update.hypothesis, "rows", None)
    found = explain_loss(seen, rows)
    if found.codes and (recorded.start_added or after):
        other = _other_alignment(question, recorded)
        better = explain_loss(other, rows)
        if not better.codes:
            notes.append(f"each loss is that of {'the w recorded with it' if recorded.start_added else 'w before the update'}")
            return better
    if found.codes == ("unknown",) and recorded.dtype == np.float64:
        narrow = np.asarray(recorded.loss, np.float64)
        in_float32 = "float32_arithmetic" in update.codes or "float32_storage" in update.codes
        with np.errstate(over="ignore"):
            fits = bool((narrow == narrow.astype(np.float32)).all())
        if in_float32 or fits:
            in_range = question.observe(recorded._replace(dtype=np.dtype(np.float32)))
            coarse = explain_loss(in_range, rows)
            # Fewer rows inside would mean that float32 arithmetic had overflowed.
            if coarse.codes != ("unknown",) and in_range.n_inside >= seen.n_inside:
                return coarse._replace(codes=(*coarse.codes, *(() if in_float32 else ("loss_float32",))))
    return found


def _other_alignment(question: Question, recorded: Recorded) -> Observation:
    """Return the history with each loss one row earlier or later.

    Where the start is not recorded, both ways to record the loss are in use.
    """
    assert recorded.loss is not None
    if recorded.start_added:  # loss[t] belongs to the t-th recorded w, which is row t + 1
        return question.observe(recorded._replace(w=recorded.w[1:]), first=1)
    return question.observe(recorded._replace(w=_with_start(question, recorded)))


def _with_start(question: Question, recorded: Recorded) -> Array:
    """Return the recorded rows with the start that was asked for before them."""
    assert question.w0 is not None
    with np.errstate(over="ignore"):
        return np.concatenate([question.w0.astype(recorded.dtype)[None], recorded.w])


def _in_words(
    question: Question,
    seen: Observation,
    update: Finding,
    starts: list[tuple[str, dict[str, Any]]],
    loss: Finding | None,
    notes: list[str],
) -> Diagnosis:
    """Return the findings as a Diagnosis."""
    given: dict[str, Any] = {"n": seen.n, "n_minus_1": seen.n - 1, "recipe": question.words, "lr": float(question.lr.flat[0])}
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
