"""solve(): the minimiser that descent converges to, without descending.

1. The road of each fit depends on its own data alone. From the moments (kernels/cpu/solving.py) where n_samples ≥ D and n_features ≤ 256
   and their condition allows; else LAPACK (lapack.py), on the samples.
2. Moments first, for all fits; those that they cannot tell are collected and go to LAPACK, the fits of one X and one penalty together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from .arguments import read_choice, read_nan_policy, read_progress, read_threads, without_repeats
from .execute import NonFiniteDataError, Run, algorithm_name, compress_groups, cut, watched
from .fitting import order_fits, split_parameters
from .hyperparameters import read_hyperparameter
from .kernels.chunk import COMPLETED, DIVERGED, INVALID_DATA, LSTSQ, MOMENTS
from .lapack import factor
from .plan import MOST_FEATURES, Plan, check_memory, make_plan
from .pool import Control, Task
from .problem import FitOrder, Problem
from .result import FitResult, State, Status


def solve(
    X: Any,
    y: Any,
    *,
    intercept: bool = False,
    weight_decay: Any = 0.0,
    reduction: str = "mean",
    dtype: Any = None,
    nan_policy: str = "raise",
    threads: int | None = None,
    progress: Any = None,
) -> FitResult:
    """Fit linear models by least squares in closed form: what `fit` converges to, one or millions at a time.

    ::

        s Xᵀ(X w − y) + weight_decay · w = 0        s = 2/n_samples (mean) or 2 (sum)

    The w with this gradient; where there are many, the one of minimum norm, which descent from zero converges to. Axes broadcast as in
    `fit`; fits that share X and weight_decay share its factors. A fit from moments has the same bits alone or in a batch, for any number of
    threads; one by LAPACK has those that LAPACK gives it.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, as in `fit`.
    y : array (…, n_samples)
        Targets.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    weight_decay : float or array, default 0
        L2 penalty (ridge), ≥ 0, of the size that it has in `fit` and in torch.optim: on the intercept too, and for "mean" it is
        2/n_samples times the λ that is added to the diagonal of XᵀX, 2λ/n_samples.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of. Without weight_decay it changes nothing.
    dtype : {"float32", "float64"}, optional
        Convert the data, as in `fit`.
    nan_policy : {"raise", "propagate"}, default "raise"
        What happens when X or y is not finite: an error that says where, or NaN for that fit alone.
    threads : int, optional
        Threads. None: as many as this process may use.
    progress : bool or callable, optional
        As in `fit`.

    Returns
    -------
    FitResult
        As from `fit`, with epochs 0, lr NaN, and for every fit

        * ``rank``: of [X 1], with rows √λ·I below it where there is a weight_decay; 0 where the data are invalid.
        * ``condition``: Stewart's largest collinearity index: 1/condition is the smallest relative change of one column that makes the
          columns dependent; 1 for orthogonal columns, at most their condition number once they have length 1. Where the rank is smaller
          than the number of parameters, σ_1/σ_rank of X as it is. NaN where the data are invalid.
        * ``ill_conditioned``: condition > 1/√u (u = 2^-24 for float32 data, 2^-53 for float64: 4,096 and 9.5e7), or rank below both
          the number of samples and that of parameters. A change of the data in their last digit may then change more than half of the
          digits of w, so the answer says little about the data, however well it was computed.
        * ``state.algorithm``: which algorithm it was computed by, "moments" or "lstsq": see ``state.algorithm_names``.

    Raises
    ------
    ValueError, TypeError
        As `fit`.
    MemoryError
        When the results do not fit in memory.

    References
    ----------
    G. W. Stewart, "Collinearity and least squares regression", Statistical Science 2 (1987) 68-84.

    Examples
    --------
    >>> import fastgd
    >>> line = fastgd.solve([1.0, 2, 3, 4], [3.0, 5, 7, 9], intercept=True)
    >>> float(line.w), float(line.intercept), float(line.loss), int(line.rank)
    (2.0, 1.0, 0.0, 2)

    Two equal features cannot be told apart; the answer of minimum norm says so:

    >>> twice = fastgd.solve([[1.0, 1], [2, 2], [3, 3]], [2.0, 4, 6])
    >>> twice.w.round(12).tolist(), int(twice.rank), bool(twice.ill_conditioned)
    ([1.0, 1.0], 1, True)
    """
    problem = Problem.read(X, y, intercept=intercept, dtype=dtype)
    decay = read_hyperparameter(weight_decay, "weight_decay")
    reduction = read_choice(reduction, "reduction", ("mean", "sum"))
    propagate = read_nan_policy(nan_policy) == "propagate"
    threads = read_threads(threads)
    progress = read_progress(progress)
    order = order_fits(problem, {"weight_decay": decay.shape}, {}, None)
    plan = _plan(problem, order, threads)
    check_memory(problem, order, plan, 0, 0)
    given = np.asarray(without_repeats(decay, 0), order="C")
    job = _Job(problem.ready() if plan.staged else problem, order, plan, given, reduction, propagate)
    try:
        _run(job, progress)
    except NonFiniteDataError:
        raise ValueError(problem.where_not_finite()) from None
    return _result(job)


@dataclass
class _Job:
    """What every task needs to know, and the results in the order of computation."""

    problem: Problem
    order: FitOrder
    plan: Plan
    decay: np.ndarray  # weight_decay, leading axes broadcast
    reduction: str
    propagate: bool
    w: np.ndarray = field(init=False)  # (fits, D)
    loss: np.ndarray = field(init=False)
    condition: np.ndarray = field(init=False)
    rank: np.ndarray = field(init=False)
    algorithm: np.ndarray = field(init=False)
    status: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        m, size = self.order.n_fits, self.problem.n_parameters
        self.w, self.loss, self.condition = np.empty((m, size)), np.empty(m), np.empty(m)
        self.rank, self.status = np.full(m, size), np.full(m, COMPLETED, np.int8)
        self.algorithm = np.full(m, self.plan.algorithm, np.int8)

    def invalidate(self, fits: np.ndarray) -> None:
        """Fits whose data are not finite: an error, or NaN."""
        if len(fits) and not self.propagate:
            raise NonFiniteDataError
        self.w[fits], self.loss[fits], self.condition[fits] = math.nan, math.nan, math.nan
        self.rank[fits], self.status[fits] = 0, INVALID_DATA


def _plan(problem: Problem, order: FitOrder, threads: int | None) -> Plan:
    n, size = problem.n_samples, problem.n_parameters
    if n < size:
        code, why = LSTSQ, f"lstsq: n_samples {n} < n_parameters {size}"
    elif problem.n_features > MOST_FEATURES:
        code, why = LSTSQ, f"lstsq: n_features {problem.n_features} > {MOST_FEATURES}"
    else:
        code, why = MOMENTS, "moments: the data are read once; fits that need more than the moments hold are solved by lstsq"
    name = "moments" if code == MOMENTS else "stream"  # costs of a fit: so many epochs, or reading the data so often
    plan = make_plan(problem, order, epochs=4 * size, algorithm=name, backend="cpu", threads=threads, safe_rate=False)
    return replace(plan, algorithm=code, explanation=f"cpu: the data are in the computer's memory; {why}")


def _run(job: _Job, progress: object) -> None:
    from .kernels import cpu

    order, plan = job.order, job.plan
    with watched(plan, progress, order.n_fits, f"{order.n_fits:,} fits") as (control, go):
        if plan.algorithm == MOMENTS:
            cpu.prepare_solve(job.problem.dtype)
        if plan.algorithm == MOMENTS and plan.staged:
            _solve_groups(job, control, go)
        elif plan.algorithm == MOMENTS:
            go(cut(order.n_fits, plan.fits_per_task, partial(_solve_fits, job, control)))
        go(_left_to_lapack(job))


def _solve_fits(job: _Job, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """Compress and solve fits that have their data to themselves."""
    from .kernels import cpu

    problem = job.problem
    fits = np.arange(first, stop, dtype=np.int64)
    x_index, y_index = job.order.index(problem.X.leading, fits), job.order.index(problem.y.leading, fits)
    x_first, y_first = int(x_index.min()), int(y_index.min())
    X, y = problem.X.take(x_first, int(x_index.max()) + 1), problem.y.take(y_first, int(y_index.max()) + 1)
    moments = cpu.Moments.empty(len(fits), len(fits), problem.n_parameters, problem.dtype)
    cpu.compress_fits(X, y, x_index - x_first, y_index - y_first, problem.intercept, moments, control.cancel)
    if control.cancel[0]:
        return
    own = np.arange(len(fits), dtype=np.int64)
    records = fits, own, own, moments.finite_gram() & moments.finite_target()
    _solve_part(job, control, moments, records, 0, len(fits), counter)


def _solve_groups(job: _Job, control: Control, go: Run) -> None:
    """Fits that share data, or are long: compress a group, then solve its fits, those of one Gram matrix together."""
    order, plan = job.order, job.plan
    for pair, moments, grams in compress_groups(job.problem, order, plan, control, go):
        targets = np.arange(len(grams) * order.n_cells, dtype=np.int64) // order.n_cells
        fits = np.arange(len(targets), dtype=np.int64) + pair * order.n_cells
        sequence = np.lexsort((order.pick(job.decay, fits), grams[targets]))
        fits, targets = fits[sequence], targets[sequence]
        index = grams[targets]
        finite = moments.finite_gram()[index] & moments.finite_target()[targets]

        go(cut(len(fits), plan.fits_per_task, partial(_solve_part, job, control, moments, (fits, index, targets, finite))))


def _solve_part(
    job: _Job, control: Control, moments: Any, records: tuple[np.ndarray, ...], first: int, stop: int, counter: np.ndarray
) -> None:
    """Solve fits from their records: arrays of fits, the Gram matrix and the target of each, and whether these are finite."""
    from .kernels import cpu

    fits, gram_index, target_index, finite = (values[first:stop] for values in records)
    job.invalidate(fits[~finite])
    fits, gram_index, target_index = fits[finite], gram_index[finite], target_index[finite]
    cpu.solve(
        moments.gram, moments.gram_exponents, gram_index, moments.target, moments.exponents, target_index, job.order.pick(job.decay, fits),
        fits, job.problem.n_samples, job.reduction == "sum", job.w, job.loss, job.condition, job.algorithm, control.cancel, counter,
    )  # fmt: skip


def _left_to_lapack(job: _Job) -> Iterator[Task]:
    """One task for the fits of one X and one weight_decay."""
    problem, order = job.problem, job.order
    fits = np.flatnonzero((job.algorithm == LSTSQ) & (job.status != INVALID_DATA))
    x_items, y_items, decay = order.index(problem.X.leading, fits), order.index(problem.y.leading, fits), order.pick(job.decay, fits)
    sequence = np.lexsort((decay, x_items))
    fits, x_items, y_items, decay = fits[sequence], x_items[sequence], y_items[sequence], decay[sequence]
    changes = np.flatnonzero((np.diff(x_items) != 0) | (np.diff(decay) != 0)) + 1
    for here in np.split(np.arange(len(fits)), changes) if len(fits) else ():
        yield partial(_solve_by_lapack, job, fits[here], int(x_items[here[0]]), y_items[here], float(decay[here[0]]))


def _solve_by_lapack(job: _Job, fits: np.ndarray, x_item: int, y_items: np.ndarray, decay: float, counter: np.ndarray) -> None:
    problem = job.problem
    X = problem.X.take(x_item, x_item + 1)[0].astype(np.float64)
    if not np.isfinite(X).all():
        job.invalidate(fits)
        return
    if problem.intercept:
        X = np.concatenate([X, np.ones((problem.n_samples, 1))], axis=1)
    root = math.sqrt(decay) * math.sqrt(0.5 if job.reduction == "sum" else 0.5 * problem.n_samples)
    factored = factor(X, root)
    for fit, y_item in zip(fits.tolist(), y_items.tolist(), strict=True):
        y = problem.y.take(y_item, y_item + 1)[0].astype(np.float64)
        if not np.isfinite(y).all():
            job.invalidate(np.array([fit]))
            continue
        w = factored.solve(y)
        with np.errstate(all="ignore"):
            residual = X @ w - y
            job.w[fit], job.loss[fit] = w, residual @ residual / problem.n_samples
        job.rank[fit], job.condition[fit] = factored.rank, factored.condition
        counter[0] += 1


def _result(job: _Job) -> FitResult:
    """Results in the order of computation -> the user's shapes and dtype."""
    problem, order, dtype = job.problem, job.order, job.problem.dtype
    with np.errstate(all="ignore"):
        parameters, loss = job.w.astype(dtype), job.loss.astype(dtype)
    finite = np.isfinite(parameters).all(axis=1) & np.isfinite(loss)
    job.status[~finite & (job.status == COMPLETED)] = DIVERGED
    few = min(problem.n_samples, problem.n_parameters)
    deficient = (job.rank < np.where(order.pick(job.decay, np.arange(order.n_fits)) > 0.0, problem.n_parameters, few)) & (
        job.status != INVALID_DATA
    )
    ill = (job.condition > 1.0 / math.sqrt(np.finfo(dtype).eps / 2.0)) | deficient
    by_lapack = int(((job.algorithm == LSTSQ) & (job.status != INVALID_DATA)).sum())
    explanation = job.plan.explanation
    if by_lapack and job.plan.algorithm == MOMENTS:
        explanation += f" ({by_lapack:,} of {order.n_fits:,})"
    wrap = problem.library.wrap
    w, intercept = split_parameters(problem, order, parameters)
    status = order.restore(job.status)
    epochs = np.zeros(order.shape, np.int64)
    state = State(
        w=order.restore(job.w),
        slots=np.zeros((*order.shape, 0, problem.n_parameters)),
        products=np.zeros((*order.shape, 0)),
        epoch=epochs.copy(),
        algorithm=order.restore(job.algorithm),
        status=status,
        optimizer="solve",
        intercept=problem.intercept,
        dtype=str(dtype),
    )
    return FitResult(
        w=w,
        loss=wrap(order.restore(loss)[()]),
        epochs=wrap(epochs[()]),
        status=wrap(status) if order.shape else Status(int(status)),
        n_used=wrap(np.full(order.shape, problem.n_samples)[()]),
        lr=wrap(np.full(order.shape, math.nan)[()]),
        backend="cpu",
        algorithm=algorithm_name(job.plan.algorithm),
        explanation=explanation,
        state=state,
        intercept=intercept,
        rank=wrap(order.restore(job.rank)[()]),
        condition=wrap(order.restore(job.condition)[()]),
        ill_conditioned=wrap(order.restore(ill)[()]),
        _one_feature=problem.one_feature,
    )
