"""A result and its parts in words, for the methods of FitResult, History and State.

A result may have 10⁸ fits, so nothing here makes a Python object per fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import counted, in_ascii, shown
from ..kernels.chunk import CONVERGED
from .distances import Distances, Ends, distances
from .looked_at import LookedAt, limit_in_words, rates_in_words
from .special import has_scipy
from .status import STATUS_NAMES
from .table import html_table, text_table

_MOST_COEFFICIENTS = 20  # shown in the summary of a single fit
_MOST_IN_REPR = 4  # coefficients


def feature_names(result: Any, features: Sequence[str] | None) -> list[str]:
    """The names that were given, checked, or those of X; or w_0, w_1, … (w when X was 1-D)."""
    count = 1 if result._one_feature else np.shape(result.w)[-1]
    if features is None and getattr(result, "features", None) is not None:
        return list(result.features)
    if features is None:
        return ["w"] if result._one_feature else [f"w_{k}" for k in range(count)]
    try:
        if isinstance(features, str):
            raise TypeError
        names = [str.__str__(name) for name in features]
    except Exception:  # whatever an __iter__ may raise
        raise TypeError(f"features must be a sequence of names, not {shown(features)}") from None
    if len(names) != count:
        raise ValueError(f"the fit has {counted(count, 'feature')}, but features has {counted(len(names), 'name')}")
    if len(set(names)) != count:
        raise ValueError(f"features holds a name twice: {shown(features)}")
    return names


def coefficients(result: Any) -> np.ndarray:
    """(…, n_features): w, with a feature axis even where X was 1-D."""
    w = np.asarray(result.w)
    return w[..., None] if result._one_feature else w


def _number(value: Any) -> str:
    return f"{value:.6g}"


def span(values: Any) -> str:
    """The numbers in short: '100' where all are equal, else '3 to 100, median 50'; NaN is none."""
    values = np.asarray(values).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return "-"
    low, high = values.min(), values.max()
    if low == high:
        return _number(low)
    return f"{_number(low)} to {_number(high)}, median {_number(np.median(values))}"


def counts_of(codes: Any, names: Sequence[str]) -> str:
    """How often each code occurs: '998 COMPLETED, 2 DIVERGED'."""
    counts = np.bincount(np.asarray(codes).ravel(), minlength=len(names))
    return ", ".join(f"{count:,} {name}" for count, name in zip(counts, names, strict=True) if count)


def _ends(result: Any) -> Ends:
    """Where the descents of a result ended; NaN for what is not known."""
    unknown = np.full(np.size(result.loss), np.nan)
    loss, status = np.ravel(result.loss), np.ravel(result.status)
    excess, start = (unknown if given is None else np.ravel(given) for given in (result.excess_loss, result.state.initial_excess))
    w = result.state.w.reshape(len(loss), -1)
    return Ends(
        loss, excess, start, np.ravel(result.lr), np.ravel(result.epochs), status, w,
        result.state.optimizer, result._start, result._penalised,
    )  # fmt: skip


def count_far(result: Any) -> int:
    """How many fits of a descent ended more than 1 % above the least loss, where that is known."""
    return int(np.count_nonzero(_distances(result, _ends(result)).far))


def _distances(result: Any, ends: Ends) -> Distances:
    """How far from the least loss fits ended; nothing is far that was to fit validation data."""
    found = distances(ends)
    return found if result.val_loss is None else found._replace(far=np.zeros_like(found.far))


def _losses(loss: np.ndarray, made: np.ndarray) -> str:
    """Median, best and worst loss of the fits made, and the indices of the best and the worst."""
    flat = loss.ravel()
    finite = np.isfinite(flat) & made
    if not finite.any():
        return "none is finite"

    def place(at: np.intp) -> str:
        index = [int(i) for i in np.unravel_index(at, loss.shape)]
        return f"{_number(flat[at])} (fit {index[0] if len(index) == 1 else tuple(index)})"

    median = np.median(flat if finite.all() else flat[finite])
    best, worst = (place(np.argmin(np.where(finite, flat, np.inf))), place(np.argmax(np.where(finite, flat, -np.inf))))
    lost = np.count_nonzero(made) - np.count_nonzero(finite)
    return f"median {_number(median)}, best {best}, worst {worst}" + (f"; {lost:,} not finite" if lost else "")


def _notes(result: Any, ends: Ends) -> list[tuple[str, str]]:
    """Rows (what, text) on the distance from the least loss; none where it is not known."""
    found, single = _distances(result, ends), np.ndim(result.loss) == 0
    known, worse, looked_at = found.known, found.worse, LookedAt(result)
    least = " above the least objective" if ends.penalised else ""
    rows = [("excess", span(ends.excess[known]) + least)] if known.any() else []
    far = found.far & ~worse  # whose rate is to be mended first
    if far.any():
        whose = "" if single else f"{np.count_nonzero(far):,} of {np.count_nonzero(known):,} fits are "
        ways = _ways_on(result, ends, far, looked_at.scaled(far))
        why = looked_at.why_far(far)
        if way_out := looked_at.way_out(far):
            ways = way_out if single else f"{way_out}, {ways}"
        rows.append(("note", f"{whose}more than 1 % above the least loss{f' ({why})' if why else ''}: {ways}"))
    if worse.any():
        whose = "" if single else f"{np.count_nonzero(worse):,} of {np.count_nonzero(known | worse):,} "
        began, what = "it" if single else "they", "objective" if ends.penalised else "loss"
        why = looked_at.above_the_limit(worse) or _why_worse(result, worse, found.much_worse & ~looked_at.judged)
        rows.append(("warning", f"{whose}ended above the {what} that {began} began with: {why}"))
    if why := looked_at.above_the_limit(found.lost & ~worse):
        rows.append(("warning", f"{'' if single else f'{np.count_nonzero(found.lost & ~worse):,} '}DIVERGED: {why}"))
    return rows


def _ways_on(result: Any, ends: Ends, far: np.ndarray, scaled: bool) -> str:
    """What brings fits nearer to the least loss: no more epochs where tol ended them.

    scaled: their condition is near 1, so with the right rate few epochs would do.
    """
    moves = far & (ends.lr != 0.0)
    under_way = moves & (ends.status != CONVERGED)
    ways = []
    if under_way.any():
        ways += ["another schedule", "more epochs"] if result._scheduled else ["more epochs"]
        if ends.optimizer != "sgd" or result.algorithm == "minibatch" or scaled:
            ways.append("another rate")
        decoupled = ends.optimizer == "adamw" or np.any(result.hyperparameters.get("decoupled_weight_decay", 0))
        if decoupled and np.any(result.hyperparameters.get("weight_decay", 0)):
            ways.append("a smaller weight_decay")
    if (moves & ~under_way).any():
        ways.append("a smaller tol")
    if not ways:
        ways.append("a rate above 0")
    text = f"give {' or '.join(ways)}, or use solve"
    alike = result._one_feature or np.shape(result.w)[-1] == 1
    if (
        under_way.any() and not scaled and result.center is None and not (alike and result.intercept is None)
    ):  # one column is as good as scaled
        return f"centre and scale X (standardize=True), {text}"
    return text


def _why_worse(result: Any, worse: np.ndarray, much_worse: np.ndarray) -> str:
    """Why fits ended above their start, where no curvatures say it.

    Of plain SGD there is one reason: at a rate of at most 2/λ_max no part of the excess grows.
    """
    state = result.state
    plain = state.optimizer == "sgd" and not state.slots.reshape(worse.size, -1)[worse].any()
    if not plain:
        return f"the rate{' or the momentum' if state.optimizer in ('sgd', 'rmsprop') else ''} is too large"
    if (worse & ~much_worse).any():
        return "the rate is too large"
    return f"{rates_in_words(result, int(np.count_nonzero(worse)))} above the stability limit {limit_in_words(result._penalised)}"


def _n_fits(shape: tuple[int, ...]) -> str:
    """The number of fits and the leading axes: '64,000 fits (64 x 1,000)'."""
    count = counted(int(np.prod(shape, dtype=object)), "fit")
    return f"{count} ({' x '.join(f'{length:,}' for length in shape)})" if len(shape) > 1 else count


def _facts(result: Any, features: Sequence[str] | None = None) -> tuple[str, list[tuple[str, str]]]:
    """A heading, and rows (what, text). features: their names."""
    result = with_numpy_arrays(result)
    labels = feature_names(result, features)
    loss, ends = np.asarray(result.loss), _ends(result)
    single, made = loss.ndim == 0, ends.made()
    heading = f"{_n_fits(loss.shape)} of {counted(len(labels), 'feature')}{'' if result.intercept is None else ' + intercept'}"
    optimizer = getattr(result.state, "optimizer", None)
    rows = [("status", STATUS_NAMES[int(result.status)] if single else counts_of(result.status, STATUS_NAMES) or "-")]
    if single and made.all():
        w, errors = coefficients(result), _errors_in_words(result.stats)
        rows += [(name, _number(value) + errors(k)) for k, (name, value) in enumerate(zip(labels[:_MOST_COEFFICIENTS], w, strict=False))]
        if len(labels) > _MOST_COEFFICIENTS:
            rows.append(("...", f"{len(labels) - _MOST_COEFFICIENTS:,} more in .w"))
        if result.intercept is not None:
            rows.append(("intercept", _number(result.intercept) + errors(-1)))
    if made.any():
        rows.append(("loss", _number(loss) if single else _losses(loss, made)))
        if result.val_loss is not None:
            rows.append(("val_loss", _number(result.val_loss) if single else _losses(np.asarray(result.val_loss), made)))
        rows += _notes(result, ends)
        told = ("epochs", "lr") if result.rank is None else ("rank", "condition")
        rows += [(name, span(np.ravel(getattr(result, name))[made])) for name in told]
        if result.best_epoch is not None:
            rows.insert(-1, ("best epoch", span(np.ravel(result.best_epoch)[made])))
        if result.rank is not None and (bad := np.count_nonzero(np.ravel(result.ill_conditioned)[made])):
            rows.append(("warning", f"{bad:,} of {np.count_nonzero(made):,} ill-conditioned"))
    rows.append(("samples", span(result.n_used)))
    rows += _statistics(result.stats, made)
    if result.center is not None:
        rows.append(("features", "(x - center) / scale in the computation; w is in the units of X"))
    rows.append(("computed", result.explanation))
    algorithms = np.ravel(result.state.algorithm)[made]
    codes, batched = np.unique(algorithms), result.algorithm == "minibatch"
    if len(codes) > 1 if batched else any(result.state.algorithm_names[code] != result.algorithm for code in codes):
        rows.append(("losses by" if batched else "algorithms", counts_of(algorithms, result.state.algorithm_names)))
    return f"{heading} by {optimizer}" if optimizer else heading, rows


def _errors_in_words(stats: Any) -> Callable[[int], str]:
    """Of a single fit: the standard error, t and perhaps p of parameter k; '' without `stats`."""
    if stats is None:
        return lambda k: ""
    told = {"std error": stats.std_error, "t": stats.t} | ({"p": stats.p} if has_scipy() else {})
    return lambda k: f"  ({', '.join(f'{name} {_number(values[k])}' for name, values in told.items())})"


def _statistics(stats: Any, made: np.ndarray) -> list[tuple[str, str]]:
    """Rows (what, text) on the statistics of all fits made."""
    if stats is None or not made.any():
        return []
    values = {"r2": stats.r2, "sigma": np.sqrt(stats.residual_variance), "dof": stats.dof, "F": stats.f}
    rows = [(name, span(np.ravel(value)[made])) for name, value in values.items()]
    if stats.covariance_kind != "nonrobust" or stats.weights_are != "precision":
        rows.append(("errors", f"{stats.covariance_kind}; weights are {stats.weights_are}"))
    few = np.ravel(stats.rank < stats.estimate.shape[-1])[made]
    if few.any():
        whose = "" if few.size == 1 else f"in {np.count_nonzero(few):,} of {few.size:,} fits "
        rows.append(("aliased", f"{whose}columns are combinations of others: NaN for the errors of what the data do not tell"))
    elif (bad := np.ravel(stats.ill_conditioned)[made]).any():
        whose = "" if bad.size == 1 else f"of {np.count_nonzero(bad):,} of {bad.size:,} fits "
        rows.append(("warning", f"{whose}ill-conditioned: the last digits of X decide on the standard errors"))
    return rows


def summarize(result: Any, features: Sequence[str] | None) -> str:
    """The text of `FitResult.summary`, in ASCII."""
    heading, rows = _facts(result, features)
    return text_table(heading, [(in_ascii(what), text) for what, text in rows])


def in_html(result: Any) -> str:
    """The summary as an HTML table."""
    return html_table(*_facts(result))


def history_facts(history: Any) -> tuple[str, list[tuple[str, str]]]:
    """A heading, and rows (what, text), of a History."""
    history = with_numpy_arrays(history)
    epoch, loss = history.epoch, np.asarray(history.loss)
    rows = [
        ("epochs", f"{epoch[0]} to {epoch[-1]}, " + counted(len(epoch), "row")),
        ("first loss", span(loss[..., 0])),
        ("last loss", span(loss[..., -1])),
        ("w", f"shape {np.shape(history.w)}, {history.w.dtype}"),
    ]
    return f"History of {_n_fits(loss.shape[:-1])}", rows


def state_facts(state: Any) -> tuple[str, list[tuple[str, str]]]:
    """A heading, and rows (what, text), of a State."""
    state = with_numpy_arrays(state)
    *leading, size = state.w.shape
    rows = [
        ("status", counts_of(state.status, STATUS_NAMES)),
        ("epochs", span(state.epoch)),
        ("parameters", f"{size:,}" + (", the intercept last" if state.intercept else "")),
        ("algorithm", counts_of(state.algorithm, state.algorithm_names)),
        ("dtype", state.dtype),
    ]
    return f"State of {_n_fits(tuple(leading))}" + (f" by {state.optimizer}" if state.optimizer else ""), rows


def short(result: Any) -> str:
    """The text of `repr(result)`: one line."""
    result = with_numpy_arrays(result)
    loss, ends = np.asarray(result.loss), _ends(result)
    made, far = ends.made(), _distances(result, ends).far
    computed = f"{result.backend}, {result.algorithm}"
    if loss.ndim:
        finite = loss[np.isfinite(loss)]
        losses = f"median loss {_number(np.median(finite))}" if finite.size else "no finite loss"
        losses += f", {np.count_nonzero(far):,} more than 1 % above the least" if far.any() else ""
        what = f": {counts_of(result.status, STATUS_NAMES)}; {losses}" if loss.size else ""
        return f"{type(result).__name__}({_n_fits(loss.shape)}{what}; {computed})"
    if not made.all():
        return f"{type(result).__name__}({STATUS_NAMES[int(result.status)]}: {counted(int(result.n_used), 'sample')}; {computed})"
    w = coefficients(result)
    numbers = [_number(value) for value in w]
    parts = [
        f"w = {numbers[0] if result._one_feature else '[' + ', '.join(numbers) + ']'}"
        if w.size <= _MOST_IN_REPR
        else f"{w.size:,} features"
    ]
    if result.intercept is not None:
        parts.append(f"intercept = {_number(result.intercept)}")
    above = f" ({_number(result.excess_loss)} above the least)" if far.any() else ""
    parts += [f"loss {_number(loss)}{above}", counted(int(result.epochs), "epoch")]
    return f"{type(result).__name__}({STATUS_NAMES[int(result.status)]}: {', '.join(parts)}; {computed})"
