"""verify(): from a candidate, the data and what was asked for to a Report.

1. Every epoch is judged by the bound of `check_history`, from the observed rows. The cause is
   looked for only where a value is beyond the bound.
2. Of many fits each is judged by itself.
"""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from ..data.problem import Problem
from ..input.annotations import AnyArray, DType, JudgedReduction, NumberOrArray, OptimizerName
from ..input.arrays import NUMPY, arrive_on_host
from ..input.exits import lets_nothing_exit
from ..input.float_mode import CallersMode, computes
from ..input.options import read_choice, read_count
from ..input.reading import SEQUENCES, read_array, read_numbers
from ..input.room import OF_A_JUDGED, check_room
from ..input.shapes import broadcast, without_repeats
from ..input.sharing import library_of
from ..input.wrong_names import helps_with_keywords
from ..optimizers import Optimizer, find_optimizer, optimizer_classes
from ..schedules.table import ScheduleLike, read_first_rates, read_one_schedule, walk
from .bound.yardstick import Array
from .candidates.kinds import ask_for_torchs, read_candidates
from .candidates.tasks import Own, Task, is_column
from .causes.diagnosing import Question, read_question
from .judging_batches import read_batches
from .report.report import Report
from .verdicts import verdicts_on

__all__ = ["verify"]

OF_A_FIT = 2**12  # bytes of what is asked of one fit


@lets_nothing_exit
@helps_with_keywords
def verify(
    candidate: Any,
    X: AnyArray,
    y: AnyArray,
    *,
    lr: NumberOrArray | None = None,
    epochs: int | None = None,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    schedule: ScheduleLike | None = None,
    reduction: JudgedReduction = "mean",
    intercept: bool = False,
    w0: AnyArray | None = None,
    sample_weight: AnyArray | None = None,
    batch_size: int | None = None,
    order: AnyArray | Callable[[int], Any] | None = None,
    ridge: float | None = None,
    dtype: DType | None = None,
) -> Report:
    """Judge gradient descent at every epoch, and name the cause where it is wrong.

    From the OBSERVED w of each epoch one step ŵ is computed in extended precision. The observed
    next w may differ from ŵ by the rounding-error bound ℓ of
    `fastgd.verification.bound.check_step`, the loss by Λ::

        τ_w = max |w_{t+1} − ŵ| / ℓ          τ_loss = max |loss_t − loss(w_t)| / Λ

    fastgd's own kernels stay below 2, any correct program below 8. Where a candidate does not,
    `diagnose` looks for the cause.

    Parameters
    ----------
    candidate : str, list of str, FitResult, History, Recorder, arrays, function, class or pair
        What is judged. The intercept is the last entry of w, and X has no column of ones. Your own
        code is executed. One of

        * the name of a backend, or a list of names;
        * a result of `fit` with history=True, or a `fastgd.Recorder`;
        * an array w (…, epochs + 1, D), or a pair of it and the losses (…, epochs + 1); lists may
          have rows [w, b] or dicts; (None, losses) where w was not recorded;
        * a function ``step(w, X, y, lr)`` that returns w, or w and the loss at the w it was given;
        * a function ``train(X, y, lr, epochs, w0)`` that returns (w_history, loss_history); the
          parameters of functions may have other names and another order: docs/verify.md;
        * a function that takes w, X and y, and returns the gradient;
        * a class or an object with ``fit(X, y)``;
        * a pair (torch module, torch optimizer), or three with torch's scheduler, whose rates are
          judged where schedule is not given;
        * an object whose ``partial_fit(X, y)`` makes one full-batch step, or scikit-learn's
          SGDRegressor.
    X : array_like, shape (…, n_samples, n_features) or (n_samples,)
        Features. A function gets one fit at a time, in the dtype and library that X has: X
        (n_samples, n_features), or X (n_samples,) and a number w where X is 1-D.
    y : array_like, shape (…, n_samples)
        Targets.
    lr : float or array_like, shape (…), optional
        The learning rate, here or in the optimizer; of one recorded history also one per epoch.
        None: for a backend the default of `fit`, for an object with a rate its own.
    epochs : int, optional
        The number of updates. Arrays and results do not need it.
    optimizer : str or optimizer object, default "sgd"
        The update rule that is asked for, for example ``fastgd.SGD(momentum=0.9)``; one value per
        hyperparameter. A torch optimizer stands for its rule, options and lr.
    schedule : schedule, callable or array, optional
        How the learning rate should go on from epoch to epoch, as in `fastgd.fit`: a callable
        returns what lr, the first one, is multiplied by, an array holds the rates. A function
        ``step`` gets the rate of the epoch, ``train`` the first one.
    reduction : {"mean", "sum", "half_mean", "half_sum"}, default "mean"
        Whether the gradient should be that of the mean of the squared residuals, of their sum, or
        of half of either, as in J = 1/(2n) Σ r². The losses may be the mean or what is asked for,
        and a note says which. Backends know no half.
    intercept : bool, default False
        Whether there is an intercept.
    w0 : array_like, shape (…, D), optional
        The start, the intercept last; D = n_features, or n_features + 1. None: zeros; for arrays
        and torch modules the start that they have.
    sample_weight : array_like, shape (n_samples,), optional
        The weights of the samples: loss and gradient should be their weighted means.
    batch_size : int, optional
        Samples of a step. A function ``step`` gets one batch at a time. Rows are w after each
        epoch, or after each step, which is found out where epochs is not given. Other rules than
        SGD are judged on batches where there is a row for each step. None: all.
    order : array_like, shape (n_samples,) or (epochs, n_samples), or callable, optional
        The order of the samples, which `batch_size` cuts; a function of the epoch may return the
        batches themselves, as `fastgd.testing.minibatch_order` does. None: that of the data.
    ridge : float, optional
        A penalty, as in `fastgd.fit`: loss + ridge · ‖w‖², of which the gradient has 2 · ridge · w,
        without the intercept. The losses may be with it or without. A function may take it as
        ``ridge``, ``lam``, ``l2`` or ``reg``.
    dtype : {"float32", "float64"}, optional
        The precision that is judged. None: that of the data; for arrays float32 where w is float32,
        or where the data are and w is representable in it.

    Returns
    -------
    Report
        `ok`, `tau_w`, `tau_loss`, `first` (epoch and quantity), `diagnosis`, `verdicts`. It prints
        itself and has `plot()`, `to_html()` and `to_json()`.

    Raises
    ------
    ValueError, TypeError
        An argument is wrong, or a history has another length than the epochs need. What a candidate
        raises is in the report.
    BackendUnavailable
        A backend that was named cannot run here (an ImportError).

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> def step(w, x, y, lr):
    ...     gradient = np.dot(2 * x, w * x - y).mean()
    ...     return w - lr * gradient
    >>> report = fastgd.verify(step, x, 2 * x, lr=0.01, epochs=20)
    >>> report.ok, report.first.epoch, report.diagnosis.code
    (False, 1, 'gradient_sum')
    >>> fastgd.verify(["cpu", "numpy"], x, 2 * x, lr=0.01, epochs=20).ok
    True
    """
    return _verify(CallersMode(), **locals())


@computes
def _verify(callers: CallersMode, candidate: Any, dtype: Any, **asked_for: Any) -> Report:
    """Return the report of `verify`; callers: the mode in which the candidates run."""
    candidates = read_candidates(candidate)
    if hasattr(asked_for["optimizer"], "param_groups"):  # torch's
        asked_for |= ask_for_torchs(asked_for, optimizer_classes(), candidates)
    for one in candidates:
        asked_for = one.completed(asked_for, optimizer_classes()) if hasattr(one, "completed") else asked_for
    task, questions = _read_task(callers, dtype=dtype, **asked_for)
    verdicts = [verdict for one in candidates for verdict in verdicts_on(one, task, questions, dtype)]
    first = questions[()] if not task.shape else next(iter(questions.values()))
    asked = {
        "candidates": ", ".join(one.name for one in candidates),
        "recipe": first.words,
        "n_samples": task.X.shape[-2],
        "n_features": task.X.shape[-1],
        "intercept": task.intercept,
        "n_fits": math.prod(task.shape),
        "epochs": max(verdict.epochs for verdict in verdicts),
        "dtype": ", ".join(dict.fromkeys(verdict.dtype for verdict in verdicts)),
    }
    return Report(tuple(verdicts), asked, _environment())


def _read_task(
    callers: CallersMode, *, X: Any, y: Any, lr: Any, epochs: int | None, optimizer: Any, schedule: Any, reduction: str, intercept: bool,
    w0: Any, sample_weight: Any, batch_size: Any, order: Any, ridge: Any, dtype: Any,
) -> tuple[Task, dict[tuple[int, ...], Question]]:  # fmt: skip
    """Check the arguments; return the task and the question of every fit."""
    columns = is_column(y, X)
    given, y = y, read_array(y, "y")[:, 0] if columns else y
    problem = Problem.read(arrive_on_host(X=X, y=y), intercept=intercept, dtype=dtype)
    data, target = read_array(X, "X"), read_array(y, "y")
    data = data[..., None] if data.ndim == 1 else data
    check_room("X", problem.n_samples * problem.n_features, OF_A_JUDGED)
    found = find_optimizer(optimizer)
    scheduled = read_one_schedule(schedule)
    rates = read_first_rates(lr, found, scheduled)
    read_choice(reduction, "reduction", get_args(JudgedReduction))
    D = data.shape[-1] + bool(intercept)
    start = None if w0 is None else _read_start(w0, D, intercept)
    columns = columns or (D > 1 and np.shape(w0) == (D, 1))
    shapes = {"X": data.shape[:-2], "y": target.shape[:-1]}
    shapes |= {} if rates is None else {"lr": rates.shape}
    shapes |= {} if start is None else {"w0": start.shape[:-1]}
    shape = broadcast(shapes)
    if not math.prod(shape):
        raise ValueError("there is no fit to verify: X and y have an empty leading axis")
    check_room(f"the fits {shape} of X, y, lr and w0", math.prod(shape), OF_A_FIT)
    epochs = None if epochs is None else read_count(epochs, "epochs", 0)
    batches = read_batches(batch_size, order, sample_weight, problem.n_samples)
    if batches is not None and scheduled is not None and scheduled.moves_momentum:
        raise ValueError("with batch_size and sample_weight a schedule that moves momentum is not judged: give cycle_momentum=False")
    if batches is not None and ridge is not None and reduction.endswith("sum"):
        raise ValueError("of mini-batches and weights ridge goes with a mean: give reduction='mean'")
    if batches is not None and shape:
        raise ValueError(f"batch_size, order and sample_weight are judged for one fit, but X, y, lr and w0 have leading axes {shape}")
    table = None
    if scheduled is not None and epochs and rates is not None:
        which, first = np.zeros(math.prod(shape), np.int64), np.broadcast_to(rates, shape).ravel()
        scheduled = walk(scheduled, None, epochs, found.rule)
        assert scheduled is not None
        table = scheduled.table(which, first, which, epochs).T.reshape(*shape, epochs)
    narrow = problem.dtype
    with np.errstate(over="ignore"):
        task = Task(
            X=np.broadcast_to(without_repeats(data, 2).astype(narrow), (*shape, *data.shape[-2:])),
            y=np.broadcast_to(without_repeats(target, 1).astype(narrow), (*shape, target.shape[-1])),
            lr=None if rates is None else np.broadcast_to(rates, shape),
            epochs=epochs,
            schedule=schedule,
            schedule_sets_rates=scheduled is not None and scheduled.sets_rates,
            table=table,
            optimizer=optimizer if lr is not None or getattr(optimizer, "lr", None) is None else replace(optimizer, lr=None),
            reduction=reduction,
            intercept=bool(intercept),
            w0=None if start is None else np.broadcast_to(start, (*shape, D)),
            shape=shape,
            one_feature=problem.one_feature,
            callers=callers,
            columns=columns,
            batches=batches,
            ridge=None if ridge is None else float(read_numbers(ridge, "ridge").reshape(-1)[0]),
            own=_own((X, given), (without_repeats(data, 2), without_repeats(target, 1)), problem, shape, dtype),
        )
    questions = {}
    for index in np.ndindex(shape):
        questions[index] = read_question(
            np.broadcast_to(data, (*shape, *data.shape[-2:]))[index],
            np.broadcast_to(target, (*shape, target.shape[-1]))[index],
            lr=1.0 if rates is None else float(np.broadcast_to(rates, shape)[index]),
            optimizer=task.optimizer, reduction=reduction, intercept=intercept, w0=None if task.w0 is None else task.w0[index],
            ridge=ridge,
        ).with_schedule(scheduled)  # fmt: skip
    return task, questions


def _own(given: tuple[Any, Any], arrays: tuple[Array, Array], problem: Problem, shape: tuple[int, ...], dtype: Any) -> Own:
    """Return the data as the user has them; with `dtype`, numbers that are not whole are in it."""
    narrow, library = problem.dtype, problem.library if library_of(given[0]) != "numpy" else NUMPY
    whole = [part.dtype.kind in "iub" and np.array_equal(part, part.astype(narrow)) for part in arrays]
    kept = [dtype is None or part.dtype == narrow or is_whole for part, is_whole in zip(arrays, whole, strict=True)]
    X, y = (part if keeps else part.astype(narrow) for part, keeps in zip(arrays, kept, strict=True))
    as_given = not shape and all(kept) and not any(isinstance(part, SEQUENCES) for part in given)
    n, d = problem.n_samples, problem.n_features
    X, y = np.broadcast_to(X, (*shape, n, d)), np.broadcast_to(y, (*shape, n))
    return Own(X, y, given if as_given else None, library, is_column(given[1], given[0]))


def _read_start(w0: Any, D: int, intercept: bool) -> Array:
    """Return w0 (…, D); a number is the w0 of one parameter."""
    start = np.asarray(read_numbers(w0, "w0"))
    if start.ndim == 0 and D == 1:
        start = start[None]
    if D > 1 and start.shape == (D, 1):  # a column, as y may be
        start = start[:, 0]
    if start.shape[-1:] != (D,):
        last = ", the intercept last" if intercept else ""
        raise ValueError(f"w0 must have shape (..., {D}){last}; it has shape {start.shape}")
    return start


def _environment() -> dict[str, str]:
    """Return the versions of Python and of the loaded libraries, and the machine."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in ("fastgd", "numpy", "numba", "torch", "cupy")}
    versions = {name: str(version) for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}", **versions}
