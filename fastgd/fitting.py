"""fit(): the one path that everything else goes through. Reads the user's words, checks them, and hands a Job to execute."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .execute import Job, NonFiniteDataError, Outputs, algorithm_name, run
from .kernels.chunk import ALGORITHMS, AUTOGRAD, MANUAL, MOMENTS, STREAM
from .optimizers import find_optimizer, read_hyperparameter, read_hyperparameters
from .plan import choose_backend, make_plan
from .problem import FitOrder, Items, Problem, read_array
from .result import FitResult, History, State, Status

_MOST = 2**63 - 1
_LATER = {  # options that are not available yet: their value that means "not used"
    "schedule": None,
    "sample_weight": None,
    "batch_size": None,
    "shuffle": True,
    "seed": 0,
    "min_samples": None,
    "memory_limit": None,
    "checkpoint": None,
}


def fit(  # noqa: PLR0913 (the options of gradient descent)
    X: Any,  # noqa: N803
    y: Any,
    *,
    lr: Any = None,
    epochs: int = 100,
    optimizer: Any = "sgd",
    schedule: Any = None,
    w0: Any = None,
    intercept: bool = False,
    intercept0: Any = None,
    state: State | None = None,
    sample_weight: Any = None,
    reduction: str = "mean",
    batch_size: int | None = None,
    shuffle: bool = True,
    seed: Any = 0,
    tol: float | None = None,
    nan_policy: str = "raise",
    min_samples: int | None = None,
    history: bool | int = False,
    dtype: Any = None,
    algorithm: str = "auto",
    backend: str = "auto",
    threads: int | None = None,
    memory_limit: Any = None,
    progress: Any = None,
    checkpoint: Any = None,
) -> FitResult:
    """Fit linear models by full-batch gradient descent on the mean squared error, one or millions at a time.

    ::

        prediction = X w (+ intercept)      residual = prediction − y
        loss = mean(residual²)              gradient = (2/n_samples) Xᵀ residual
        w ← w − lr · gradient               (or another update rule)

    The leading axes of X, y and of every hyperparameter broadcast as in NumPy: each point of the broadcast shape is a fit of its own. Data
    that are shared are read and compressed once. A fit has the same bits alone or in a batch, for any number of threads.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features. 2-D X is always (n_samples, n_features); many fits of one feature are ``X[..., None]``. With a 1-D X the result has no
        feature axis.
    y : array (…, n_samples)
        Targets.
    lr : float or array, optional
        Learning rate, ≥ 0. None: for SGD the safe rate 1/(λ_max + weight_decay) of each fit, λ_max of the Hessian of the (mean or sum) loss.
    epochs : int, default 100
        Passes over the data, ≥ 0.
    optimizer : str or optimizer object, default "sgd"
        The update rule: a name, or for example ``fastgd.SGD(momentum=0.9)``.
    schedule : None
        Not available yet.
    w0 : array (…, n_features), optional
        Start, default zeros. No feature axis where X is 1-D.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    intercept0 : float or array, optional
        Start of the intercept, default 0.
    state : State, optional
        ``FitResult.state`` of an earlier fit: continues it bit for bit. Instead of w0 and intercept0.
    sample_weight : None
        Not available yet.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of. "sum" is n_samples times as large. The reported loss is always the mean.
    batch_size : None
        Not available yet (mini-batches).
    shuffle : True
        Not available yet (mini-batches).
    seed : 0
        Not available yet (mini-batches).
    tol : float, optional
        Stop a fit at the first epoch t ≥ 1 with 0 ≤ loss[t−1] − loss[t] ≤ tol · loss[t−1]. None: run all epochs.
    nan_policy : {"raise", "propagate"}, default "raise"
        What happens when X or y is not finite: an error that says where, or NaN for that fit alone.
    min_samples : None
        Not available yet.
    history : bool or int, default False
        True: keep w and loss of every epoch; k: of epochs 0, k, 2k, … and the last.
    dtype : {"float32", "float64"}, optional
        Convert the data. None: as NumPy promotes X and y; integers become float64, 16-bit floats are computed as float32.
    algorithm : {"auto", "moments", "stream"}, default "auto"
        "moments" reads the data once and descends on their second moments; "stream" goes through the samples at every epoch. "auto" takes
        "stream" where n_samples ≤ 2 · n_features or n_features > 256.
    backend : {"auto", "cpu", "torch", "torch-cuda", "numpy", "cuda"}, default "auto"
        "torch" is torch.autograd and torch.optim, "numpy" a readable hand-written descent: both to compare with, one fit after another.
    threads : int, optional
        Threads of the cpu backend. None: as many as this process may use.
    memory_limit : None
        Not available yet.
    progress : bool or callable, optional
        None: a bar on a terminal when the work is long. True, False: always, never. A function is called with (done, total).
    checkpoint : None
        Not available yet.

    Returns
    -------
    FitResult
        w, intercept, loss, epochs, status, lr, state, history …; "…" is the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed. Also for non-finite data under ``nan_policy="raise"``.
    BackendUnavailable
        An ImportError, when the backend that was asked for cannot run here.
    MemoryError
        When the results do not fit in memory.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20, history=True)
    >>> round(float(result.w), 3)
    2.0
    >>> [float(w) for w in result.history.w[:4]]
    [0.0, 3.0, 1.5, 2.25]

    A thousand fits, 64 learning rates each:

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 50, 3)), rng.normal(size=(1000, 50))
    >>> fastgd.fit(X, y, lr=np.logspace(-4, 0, 64)[:, None], epochs=10).w.shape
    (64, 1000, 3)
    """
    given = locals()
    for name, unused in _LATER.items():
        if not (given[name] is unused or (unused == 0 and given[name] == 0 and not isinstance(given[name], bool))):
            raise ValueError(f"{name} is not available yet in this version of fastgd; leave it out (it was given as {_shown(given[name])})")
    problem = Problem.read(X, y, intercept=intercept, dtype=dtype)
    optimizer = find_optimizer(optimizer)
    rates = _read_rates(lr, optimizer)
    hyper = read_hyperparameters(optimizer)
    epochs = _read_count(epochs, "epochs", 0)
    every = _read_history(history)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
    if nan_policy == "omit":
        raise ValueError("nan_policy='omit' is not available yet in this version of fastgd; there are 'raise' and 'propagate'")
    if nan_policy not in ("raise", "propagate"):
        raise ValueError(f"nan_policy must be 'raise' or 'propagate', not {nan_policy!r}")
    if threads is not None:
        threads = _read_count(threads, "threads", 1)
    start = _read_start(problem, w0, intercept0)
    named = {} if rates is None else {"lr": rates}
    named |= hyper
    backend_name, _ = choose_backend(backend)
    if state is not None:
        _check_state(state, problem, optimizer.rule.name, backend_name, algorithm, w0, intercept0)
    order = _order_fits(problem, named, start, state)
    plan = make_plan(
        problem,
        order,
        epochs=epochs,
        algorithm=_algorithm_of(state, algorithm),
        backend=backend,
        threads=threads,
        safe_rate=rates is None,
    )
    job = Job(
        problem, order, plan, optimizer.rule, rates, tuple(hyper.values()), epochs, reduction, _read_tol(tol), every, nan_policy == "propagate", start,
        state,
    )  # fmt: skip
    try:
        run(job, progress)
    except NonFiniteDataError:
        raise ValueError(_where_not_finite(problem)) from None
    return _result(job, job.outputs)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def _read_count(value: Any, name: str, least: int) -> int:
    """A whole number that is at least `least`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {_shown(value)}") from None
    if count < least:
        raise ValueError(f"{name} must be at least {least}; it is {count}")
    if count > _MOST:
        raise ValueError(f"{name} must be less than 2^63; it is {count}")
    return count


def _read_history(history: Any) -> int:
    if isinstance(history, bool | np.bool_):
        return int(history)
    return _read_count(history, "history", 1)


def _read_tol(tol: Any) -> float:
    """The tolerance; -1 for none."""
    if tol is None:
        return -1.0
    try:
        value = float(tol)
    except (TypeError, ValueError):
        raise TypeError(f"tol must be a number or None, not {_shown(tol)}") from None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"tol must be finite and at least 0; it is {value:g}")
    return value


def _read_rates(lr: Any, optimizer: Any) -> np.ndarray | None:
    """The learning rates, given to `fit` or to the optimizer; None for the safe rate."""
    if lr is not None and optimizer.lr is not None:
        raise ValueError(f"lr was given twice: fit(lr={_shown(lr)}) and {type(optimizer).__name__}(lr={_shown(optimizer.lr)}); give one of them")
    chosen = optimizer.lr if lr is None else lr
    return None if chosen is None else read_hyperparameter(chosen, "lr")


def _read_start(problem: Problem, w0: Any, intercept0: Any) -> np.ndarray:
    """(…, D) float64: w0 and intercept0 side by side, rounded to the data's dtype."""
    if intercept0 is not None and not problem.intercept:
        raise ValueError("intercept0 was given, but there is no intercept: give intercept=True too")
    w = np.zeros(problem.n_features) if w0 is None else _read_finite(w0, "w0")
    if w0 is not None and problem.one_feature:
        w = w[..., None]
    if w.ndim == 0 or w.shape[-1] != problem.n_features:
        needed = "no feature axis, since X is 1-D" if problem.one_feature else f"shape (…, {problem.n_features}): X has {problem.n_features} features"
        raise ValueError(f"w0 must have {needed}; it has shape {np.shape(w0)}")
    if problem.intercept:
        first = np.zeros(()) if intercept0 is None else _read_finite(intercept0, "intercept0")
        leading = _broadcast({"w0": w.shape[:-1], "intercept0": first.shape})
        w = np.concatenate(
            [np.broadcast_to(w, (*leading, problem.n_features)), np.broadcast_to(first, leading)[..., None]], axis=-1
        )
    with np.errstate(over="ignore"):
        rounded = w.astype(problem.dtype).astype(np.float64)
    if not np.isfinite(rounded).all():
        raise ValueError(f"w0 is too large for {problem.dtype}: its largest value is {np.abs(w).max():g}")
    return rounded


def _read_finite(value: Any, name: str) -> np.ndarray:
    array = read_array(value, name).astype(np.float64)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        place = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(f"{name} must be finite; it is {array[where]:g}{place}")
    return array


def _broadcast(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that all broadcast to; an error names the ones that do not fit together."""
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ValueError(f"leading axes do not broadcast against each other: {told}") from None


def _order_fits(problem: Problem, named: dict[str, np.ndarray], start: np.ndarray, state: State | None) -> FitOrder:
    """The shape of the results and the order of computation."""
    shapes = {"X and y": problem.leading} | {name: values.shape for name, values in named.items()} | {"w0": start.shape[:-1]}
    if state is not None:
        shapes["state"] = state.epoch.shape
    shape = _broadcast(shapes)
    if math.prod(shape) * problem.n_parameters * 8 > _MOST:
        raise ValueError(f"too many fits: {' × '.join(map(str, shape))} with {problem.n_parameters} parameters each is more than 2^63 bytes")
    return FitOrder.of(shape, problem.X.leading, problem.y.leading)


def _check_state(state: Any, problem: Problem, rule: str, backend: str, algorithm: str, w0: Any, intercept0: Any) -> None:
    """Whether a state can be continued with these data and options."""
    if not isinstance(state, State):
        raise TypeError(f"state must be the state of a FitResult, not {type(state).__name__}")
    if w0 is not None or intercept0 is not None:
        raise ValueError("state holds where to start: leave w0 and intercept0 out")
    if algorithm != "auto":
        raise ValueError(f"state continues with its own algorithm: leave algorithm={algorithm!r} out")
    for what, has, needs in (
        ("optimizer", state.optimizer, rule),
        ("intercept", state.intercept, problem.intercept),
        ("dtype", state.dtype, str(problem.dtype)),
        ("number of parameters", state.w.shape[-1], problem.n_parameters),
    ):
        if has != needs:
            raise ValueError(f"state was made with {what} {has!r}, but this fit has {needs!r}")
    known = {"torch": (AUTOGRAD,), "torch-cuda": (AUTOGRAD,), "numpy": (MANUAL,)}.get(backend, (MOMENTS, STREAM))
    if not np.isin(state.algorithm, known).all():
        wrong = ALGORITHMS[int(np.asarray(state.algorithm)[~np.isin(state.algorithm, known)].flat[0])]
        raise ValueError(f"state was made by algorithm {wrong!r}, which backend {backend!r} does not have")


def _algorithm_of(state: State | None, algorithm: str) -> str:
    """The algorithm to plan for: that of the state, if there is one."""
    if state is None or not np.isin(state.algorithm, (MOMENTS, STREAM)).all():
        return algorithm
    return "moments" if (state.algorithm == MOMENTS).any() else "stream"


def _where_not_finite(problem: Problem) -> str:
    """A sentence that names the first non-finite datum."""
    fits = math.prod(problem.leading)
    for name, items in (("X", problem.X), ("y", problem.y)):
        for item in range(items.count):
            values = items.take(item, item + 1)[0]
            wrong = ~np.isfinite(values)
            if wrong.any():
                row, *column = (int(i) for i in np.argwhere(wrong)[0])
                feature = f", feature {column[0]}" if column and not problem.one_feature else ""
                return (
                    f"{name} is not finite: {values[(row, *column)]:g} in row {row}{feature}{_fit_named(problem, items, item, fits)}. "
                    "Clean the data, or give nan_policy='propagate' to get NaN for such fits alone"
                )
    return f"the data are finite, but not in {problem.dtype}: give dtype='float64'"


def _fit_named(problem: Problem, items: Items, item: int, fits: int) -> str:
    """Which fit the item belongs to, in the user's indices."""
    if fits == 1:
        return ""
    index = tuple(int(i) for i in np.unravel_index(item, items.leading))
    padded = (0,) * (len(problem.leading) - len(index)) + index
    return f" of fit {padded[0] if len(padded) == 1 else padded} of {fits:,}"


def _result(job: Job, out: Outputs) -> FitResult:
    """Arrays in the order of computation -> the user's shapes."""
    problem, order = job.problem, job.order
    d = problem.n_features

    def split(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        restored = order.restore(parameters)
        w = restored[..., 0] if problem.one_feature else restored[..., :d]
        return w, restored[..., d] if problem.intercept else None

    w, intercept = split(out.w)
    recorded = None
    if job.every:
        epoch = np.append(np.arange(0, job.epochs, job.every), job.epochs)
        history_w, history_intercept = split(out.history_w)
        recorded = History(epoch, history_w, order.restore(out.history_loss), history_intercept)
    rates = np.broadcast_to(job.rates, order.shape).copy() if job.rates is not None else order.restore(out.rates)
    status = order.restore(out.status)
    state = State(
        w=order.restore(out.state_w),
        slots=order.restore(out.slots),
        epoch=order.restore(out.steps),
        algorithm=order.restore(out.algorithm),
        status=status,
        optimizer=job.rule.name,
        intercept=problem.intercept,
        dtype=str(problem.dtype),
    )
    return FitResult(
        w=w[()],
        loss=order.restore(out.loss)[()],
        epochs=order.restore(out.epochs)[()],
        status=status if order.shape else Status(int(status)),
        n_used=np.full(order.shape, problem.n_samples)[()],
        lr=rates[()],
        backend=job.plan.backend,
        algorithm=algorithm_name(job.plan.algorithm),
        explanation=job.plan.explanation,
        state=state,
        intercept=None if intercept is None else intercept[()],
        history=recorded,
        _one_feature=problem.one_feature,
    )


