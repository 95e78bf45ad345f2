"""fit(): the one path that everything else goes through. Reads the user's words, checks them, and hands a Job to execute."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .arguments import (
    MOST,
    broadcast,
    counted,
    read_choice,
    read_count,
    read_history,
    read_nan_policy,
    read_numbers,
    read_progress,
    read_threads,
    read_tol,
    refuse_later_options,
    shown,
    without_repeats,
)
from .execute import Job, NonFiniteDataError, Outputs, algorithm_name, run
from .hyperparameters import kernel_values, read_hyperparameters, read_rates
from .kernels.chunk import ALGORITHMS, AUTOGRAD, MANUAL, MOMENTS, STREAM, n_rows
from .kernels.update_rules import UpdateRule
from .optimizers import find_optimizer
from .plan import check_memory, choose_backend, make_plan
from .problem import FitOrder, Problem
from .result import FitResult, History, State, Status


def fit(
    X: Any,
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
        Features: of NumPy, torch (CPU), JAX (CPU), or any library with DLPack and the array API; lists too. Results come back in the same
        library. 2-D X is always (n_samples, n_features); many fits of one feature are ``X[..., None]``. With a 1-D X the result has no
        feature axis.
    y : array (…, n_samples)
        Targets.
    lr : float or array, optional
        Learning rate, ≥ 0; here or in the optimizer object. None: for SGD the safe rate 1/(λ_max + weight_decay) of each fit, λ_max of
        the Hessian of the (mean or sum) loss (above 64 parameters the largest row sum of the Hessian, a bound of it); 0 where the
        Hessian is 0. It needs the parameters' second moments: with many features give an lr. For the other rules torch's default.
    epochs : int, default 100
        Passes over the data, ≥ 0.
    optimizer : str or optimizer object, default "sgd"
        The update rule: "sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", or for example ``fastgd.SGD(momentum=0.9)``.
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
        When an argument is wrong; the message names it, what was given and what is needed. Non-finite data are a ValueError under
        ``nan_policy="raise"``.
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
    refuse_later_options(locals())
    problem = Problem.read(X, y, intercept=intercept, dtype=dtype)
    optimizer = find_optimizer(optimizer)
    rates = read_rates(lr, optimizer)
    hyper = read_hyperparameters(optimizer)
    epochs = read_count(epochs, "epochs", 0)
    every = read_history(history)
    reduction = read_choice(reduction, "reduction", ("mean", "sum"))
    propagate = read_nan_policy(nan_policy) == "propagate"
    tol = read_tol(tol)
    threads = read_threads(threads)
    progress = read_progress(progress)
    starts = _read_start(problem, w0, intercept0)
    backend_name, _ = choose_backend(backend)
    if state is not None:
        state = _read_state(state, problem, optimizer.rule, backend_name, algorithm, w0, intercept0)
    named = ({} if rates is None else {"lr": rates}) | hyper
    order = order_fits(problem, {name: values.shape for name, values in named.items()}, starts, state)
    plan = make_plan(
        problem,
        order,
        epochs=epochs,
        algorithm=_algorithm_of(state, algorithm),
        backend=backend,
        threads=threads,
        safe_rate=rates is None,
    )
    check_memory(problem, order, plan, n_rows(epochs, every), len(optimizer.rule.slots), len(optimizer.rule.products))
    named = {name: np.asarray(without_repeats(values, 0), order="C") for name, values in named.items()}
    job = Job(
        problem=problem,
        order=order,
        plan=plan,
        rule=optimizer.rule,
        rates=named.get("lr"),
        hyper=kernel_values(optimizer.rule, [named[name] for name in hyper]),
        epochs=epochs,
        reduction=reduction,
        tol=tol,
        every=every,
        propagate=propagate,
        start=_start_of(problem, starts),
        state=state,
    )
    try:
        run(job, progress)
    except NonFiniteDataError:
        raise ValueError(problem.where_not_finite()) from None
    return _result(job, job.outputs)


def _read_start(problem: Problem, w0: Any, intercept0: Any) -> dict[str, np.ndarray]:
    """w0 (…, n_features) and, with an intercept, intercept0 (…), rounded to the data's dtype; float64."""
    if intercept0 is not None and not problem.intercept:
        raise ValueError(f"intercept0 was given ({shown(intercept0)}), but there is no intercept: give intercept=True too")
    w = np.zeros(problem.n_features) if w0 is None else read_numbers(w0, "w0")
    if w0 is not None and problem.one_feature:
        w = w[..., None]
    if w.ndim == 0 or w.shape[-1] != problem.n_features:
        raise ValueError(f"w0 must have shape (…, {problem.n_features}), since X has {problem.n_features} features; it has shape {w.shape}")
    starts = {"w0": w}
    if problem.intercept:
        starts["intercept0"] = np.zeros(()) if intercept0 is None else read_numbers(intercept0, "intercept0")
    for name, values in starts.items():
        given = without_repeats(values, 1 if name == "w0" else 0)
        with np.errstate(over="ignore"):
            rounded = given.astype(problem.dtype).astype(np.float64)
        if not np.isfinite(rounded).all():
            raise ValueError(f"{name} is too large for {problem.dtype}: its largest value is {np.abs(given).max():g}")
        starts[name] = np.broadcast_to(rounded, values.shape)
    return starts


def _start_of(problem: Problem, starts: dict[str, np.ndarray]) -> np.ndarray:
    """(…, D): w0 and intercept0 side by side; leading axes that only repeat have length 1."""
    w = without_repeats(starts["w0"], 1)
    if problem.intercept:
        last = without_repeats(starts["intercept0"], 0)
        leading = broadcast({"w0": w.shape[:-1], "intercept0": last.shape})
        w = np.concatenate([np.broadcast_to(w, (*leading, problem.n_features)), np.broadcast_to(last, leading)[..., None]], axis=-1)
    return np.asarray(w, order="C")


def order_fits(problem: Problem, shapes: dict[str, tuple[int, ...]], starts: dict[str, np.ndarray], state: State | None) -> FitOrder:
    """The shape of the results and the order of computation."""
    shapes = {"X and y": problem.leading} | shapes
    shapes |= {name: values.shape[:-1] if name == "w0" else values.shape for name, values in starts.items()}
    if state is not None:
        shapes["state"] = state.epoch.shape
    shape = broadcast(shapes)
    if math.prod(shape) * problem.n_parameters * 8 > MOST:
        fits = " × ".join(map(str, shape))
        raise ValueError(f"too many fits: {fits}, with {counted(problem.n_parameters, 'parameter')} each, is more than 2^63 bytes")
    return FitOrder.of(shape, problem.X.leading, problem.y.leading)


def _read_state(state: Any, problem: Problem, rule: UpdateRule, backend: str, algorithm: str, w0: Any, intercept0: Any) -> State:
    """The state, if it can be continued with these data and options."""
    if not isinstance(state, State):
        hint = ": give result.state" if isinstance(state, FitResult) else ""
        raise TypeError(f"state must be the state of a FitResult, not a {type(state).__name__}{hint}")
    if w0 is not None or intercept0 is not None:
        raise ValueError(f"state holds where to start: leave {'intercept0' if w0 is None else 'w0'} out")
    if not (isinstance(algorithm, str) and algorithm == "auto"):
        raise ValueError(f"state continues with its own algorithm: leave algorithm={shown(algorithm)} out")
    for what, has, needs in (
        ("optimizer", state.optimizer, rule.name),
        ("intercept", state.intercept, problem.intercept),
        ("dtype", state.dtype, str(problem.dtype)),
        ("n_features", state.w.shape[-1] - state.intercept, problem.n_features),
    ):
        if has != needs:
            raise ValueError(f"state was made with {what} {has!r}, but this fit has {needs!r}")
    leading, size = np.shape(state.epoch), problem.n_parameters
    for name, needs in (("w", (size,)), ("slots", (len(rule.slots), size)), ("algorithm", ()), ("status", ())):
        if np.shape(getattr(state, name)) != leading + needs:
            has = np.shape(getattr(state, name))
            raise ValueError(f"state.{name} has shape {has}; it must be {leading + needs}, since state.epoch has shape {leading}")
    known = {"torch": (AUTOGRAD,), "torch-cuda": (AUTOGRAD,), "numpy": (MANUAL,)}.get(backend, (MOMENTS, STREAM))
    if not np.isin(state.algorithm, known).all():
        wrong = int(np.asarray(state.algorithm)[~np.isin(state.algorithm, known)].flat[0])
        hint = {AUTOGRAD: "torch", MANUAL: "numpy"}.get(wrong, "cpu")
        made = f"state was made by algorithm {ALGORITHMS[wrong]!r}"
        raise ValueError(f"{made}, which backend {backend!r} does not have: give backend={hint!r}")
    return replace(
        state,
        w=np.asarray(state.w, order="C"),
        slots=np.asarray(state.slots, order="C"),
        products=np.asarray(state.products, order="C"),
        epoch=np.asarray(state.epoch, order="C"),
        algorithm=np.asarray(state.algorithm, order="C"),
        status=np.asarray(state.status, order="C"),
    )


def _algorithm_of(state: State | None, algorithm: str) -> str:
    """The algorithm to plan for: that of the state, if there is one."""
    if state is None or not np.isin(state.algorithm, (MOMENTS, STREAM)).all():
        return algorithm
    return "moments" if (state.algorithm == MOMENTS).any() else "stream"


def split_parameters(problem: Problem, order: FitOrder, parameters: np.ndarray) -> tuple[Any, Any]:
    """(fits, …, D) in the order of computation -> w and intercept (or None) in the user's shapes and library."""
    restored, wrap = order.restore(parameters), problem.library.wrap
    w = restored[..., 0] if problem.one_feature else restored[..., : problem.n_features]
    return wrap(w[()]), wrap(restored[..., problem.n_features][()]) if problem.intercept else None


def _result(job: Job, out: Outputs) -> FitResult:
    """Arrays in the order of computation -> the user's shapes."""
    problem, order = job.problem, job.order
    wrap = problem.library.wrap
    w, intercept = split_parameters(problem, order, out.w)
    recorded = None
    if job.every:
        epoch = np.append(np.arange(0, job.epochs, job.every), job.epochs)
        history_w, history_intercept = split_parameters(problem, order, out.history_w)
        recorded = History(epoch, history_w, wrap(order.restore(out.history_loss)), history_intercept)
    if job.rates is not None:
        rates = np.broadcast_to(job.rates, order.shape).copy()
    else:
        assert out.rates is not None
        rates = order.restore(out.rates)
    status = order.restore(out.status)
    state = State(
        w=order.restore(out.state_w),
        slots=order.restore(out.slots),
        products=order.restore(out.products),
        epoch=order.restore(out.steps),
        algorithm=order.restore(out.algorithm),
        status=status,
        optimizer=job.rule.name,
        intercept=problem.intercept,
        dtype=str(problem.dtype),
    )
    return FitResult(
        w=w,
        loss=wrap(order.restore(out.loss)[()]),
        epochs=wrap(order.restore(out.epochs)[()]),
        status=wrap(status) if order.shape else Status(int(status)),
        n_used=wrap(np.full(order.shape, problem.n_samples)[()]),
        lr=wrap(rates[()]),
        backend=job.plan.backend,
        algorithm=algorithm_name(job.plan.algorithm),
        explanation=job.plan.explanation,
        state=state,
        intercept=intercept,
        history=recorded,
        _one_feature=problem.one_feature,
    )
