"""fit(): the one path that everything else goes through. Reads the user's words, checks them, and hands a Job to execute."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data.problem import Problem
from .input.arrays import common_device, without_repeats
from .input.hyperparameters import kernel_values, read_hyperparameters, read_rates
from .input.options import (
    read_choice,
    read_count,
    read_history,
    read_memory_limit,
    read_progress,
    read_threads,
    read_tol,
    refuse_later_options,
)
from .kernels.chunk import n_rows
from .optimizers import find_optimizer
from .planning.backends import choose_backend, on_device, refuse_rule
from .planning.job import Job, order_fits
from .planning.memory import fit_into_memory
from .planning.plan import make_plan
from .planning.start import algorithm_of, read_start, read_state, start_of
from .results.buffers import Layout, Outputs, read_out
from .results.building import split_parameters
from .results.device_buffers import open_outputs
from .results.result import FitResult, History, State, Status
from .running.call_cache import key_of, remember, repeat
from .running.chunks import algorithm_name
from .running.moments import NegativeWeightError, NonFiniteDataError
from .running.run import run


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
    out: Any = None,
) -> FitResult:
    """Fit linear models by full-batch gradient descent on the mean squared error, one or millions at a time.

    ::

        prediction = X w (+ intercept)      residual = prediction − y
        loss = mean(residual²)              gradient = (2/n_samples) Xᵀ residual
        w ← w − lr · gradient               (or another update rule)

    With sample weights ω the loss is Σ ω residual² / Σ ω. The leading axes of X, y and of every hyperparameter broadcast as in NumPy: each
    point of the broadcast shape is a fit of its own. Data that are shared are read and compressed once. A fit has the same bits alone or in
    a batch, for any number of threads.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features: of NumPy, torch, JAX, CuPy, or any library with DLPack; lists too. Results come back in the same library, on the device
        that the data are on: the computer's memory or a CUDA GPU, the same for X, y and sample_weight. 2-D X is always
        (n_samples, n_features); many fits of one feature are ``X[..., None]``. With a 1-D X the result has no feature axis.
    y : array (…, n_samples)
        Targets.
    lr : float or array, optional
        Learning rate, ≥ 0; here or in the optimizer object. None: for SGD the safe rate 1/(λ_max + weight_decay) of each fit, λ_max of
        the Hessian of the (mean or sum) loss (above 64 parameters the largest row sum of the Hessian, a bound of it); 0 where the
        Hessian is 0. It needs the parameters' second moments: with many features give an lr. For the other rules torch's default.
    epochs : int, default 100
        Passes over the data, ≥ 0.
    optimizer : str or optimizer object, default "sgd"
        The update rule: an object such as ``fastgd.SGD(momentum=0.9)``, or the name of its class in lower case, such as "adam".
    schedule : None
        Not available yet.
    w0 : array (…, n_features), optional
        Start, default zeros. No feature axis where X is 1-D.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    intercept0 : float or array, optional
        Start of the intercept, default 0.
    state : State, optional
        ``FitResult.state`` of an earlier fit: continues it bit for bit. Instead of w0 and intercept0. Of data on a GPU its arrays are
        CuPy's.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, rounded to the data's dtype; for ``reduction="mean"`` only their proportions count: frequencies and precisions (1/σ²)
        give the same fit. A sample of weight 0 is not there, even if it is NaN.
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
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number of X, y or the weights is not finite: an error that says where; the sample is left out of its fit, as if
        the row had been deleted (without a copy of the data); or NaN for that fit alone.
    min_samples : int, optional
        Fits that keep fewer samples get NaN and the status ``TOO_FEW_SAMPLES``. Default 1.
    history : bool or int, default False
        True: keep w and loss of every epoch; k: of epochs 0, k, 2k, … and the last.
    dtype : {"float32", "float64"}, optional
        Convert the data. None: as NumPy promotes X and y; integers become float64, 16-bit floats are computed as float32.
    algorithm : {"auto", "moments", "stream"}, default "auto"
        "moments" reads the data once and descends on their second moments; "stream" goes through the samples at every epoch. "auto" takes
        "stream" where a fit has n_samples ≤ 2 · n_features, or n_features > 256.
    backend : {"auto", "cpu", "torch", "torch-cuda", "numpy", "cuda"}, default "auto"
        "auto" is "cuda" where the data are on a GPU, else "cpu"; "cuda" takes NumPy's data too, which are copied to the GPU and back.
        "torch" is torch.autograd and torch.optim, "numpy" a readable hand-written descent: both to compare with, one fit after another.
    threads : int, optional
        Threads of the cpu backend, of no other. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that the call may take beside your own arrays: a number, or a text such as "2 GiB". The work is cut into pieces that keep
        within it. None: 80 % of what is free; then the memory of small results that nobody has any more, 16 MiB at most, is kept for
        the next call. Of the GPU's memory where the data are on one.
    progress : bool or callable, optional
        None: a bar on a terminal when the work is long. True, False: always, never. A function is called with (done, total).
    checkpoint : None
        Not available yet.
    out : array or mapping of str to array, optional
        Where to write results, for example arrays on disk (``numpy.memmap``); one array is for w. Names: "w", "intercept", "loss",
        "epochs", "status", "history.w", "history.intercept", "history.loss", "state.w", "state.slots", of the shape and dtype that the
        result has. The result then holds these arrays. When `fit` raises, they may be half written.

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
        When the results and one piece of work do not fit into the memory limit; the message has the numbers.

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
    options = locals()
    key = key_of(options)
    known = repeat(key, X, y, lr)
    if known is not None:
        return known
    refuse_later_options(options)
    device = common_device({"X": X, "y": y} if sample_weight is None else {"X": X, "y": y, "sample_weight": sample_weight})
    if device is not None:
        choose_backend(backend, device)  # before the data are looked at: without CuPy they cannot be
    problem = Problem.read(
        X, y, intercept=intercept, dtype=dtype, sample_weight=sample_weight, nan_policy=nan_policy, min_samples=min_samples, device=device
    )
    optimizer = find_optimizer(optimizer)
    rates = read_rates(lr, optimizer, device)
    hyper = read_hyperparameters(optimizer, device)
    epochs = read_count(epochs, "epochs", 0)
    every = read_history(history)
    reduction = read_choice(reduction, "reduction", ("mean", "sum"))
    tol = read_tol(tol)
    threads = read_threads(threads)
    limit = read_memory_limit(memory_limit)
    progress = read_progress(progress)
    starts = read_start(problem, w0, intercept0)
    backend_name, _ = choose_backend(backend, device)
    refuse_rule(backend_name, optimizer.rule, backend)
    if state is not None:
        state = read_state(state, problem, optimizer.rule, backend_name, algorithm, w0, intercept0)
    named = ({} if rates is None else {"lr": rates}) | hyper
    order = order_fits(problem, {name: values.shape for name, values in named.items()}, starts, state)
    plan = make_plan(
        problem,
        order,
        epochs=epochs,
        algorithm=algorithm_of(state, algorithm),
        backend=backend,
        threads=threads,
        safe_rate=rates is None,
        side_by_side=optimizer.rule.name == "sgd",
    )
    layout = Layout(problem, order, optimizer.rule, epochs, every)
    given = read_out(out, layout, {"X": problem.X.array, "y": problem.y.array, **_weights_of(problem)})
    outputs = Outputs(layout, given) if device is None else open_outputs(layout, given, limit)
    of_results = layout.bytes_of_a_fit(outputs.made())
    plan = fit_into_memory(
        problem,
        order,
        plan,
        results=order.n_fits * of_results,
        of_a_fit=layout.bytes_of_a_fit() - of_results + 8 * (len(hyper) + 12),
        rows=n_rows(epochs, every),
        limit=limit,
    )
    outputs.allocate(tightly=limit is not None)
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
        start=start_of(problem, starts),
        state=state,
        outputs=outputs,
        memory_limit=limit,
    )
    run_job = run
    if on_device(plan.backend):
        from .running.cuda import run_on_gpu as run_job
    try:
        run_job(job, progress)
    except NonFiniteDataError:
        raise ValueError(problem.where_not_finite()) from None
    except NegativeWeightError:
        raise ValueError(problem.where_negative()) from None
    remember(key, job)
    return _result(job)


def _weights_of(problem: Problem) -> dict[str, np.ndarray]:
    return {} if problem.weights is None else {"sample_weight": problem.weights.array}


def _result(job: Job) -> FitResult:
    """Arrays in the order of computation -> the user's shapes; arrays of the user's as they are."""
    problem, order, out = job.problem, job.order, job.outputs
    wrap = problem.library.wrap

    def own(name: str) -> Any:
        return out.given[name][1] if name in out.given else None

    def restored(source: str, name: str = "") -> Any:
        values = out.of(source)
        return own(name) if name in out.given else None if values is None else order.restore(values)

    def parameters(source: str, prefix: str = "") -> tuple[Any, Any]:
        values = out.of(source)
        w, intercept = (None, None) if values is None else split_parameters(problem, order, values)
        return (w if own(prefix + "w") is None else own(prefix + "w")), (
            intercept if own(prefix + "intercept") is None else own(prefix + "intercept")
        )

    def shown_as(source: str, name: str = "") -> Any:
        return own(name) if name in out.given else wrap(restored(source)[()])

    w, intercept = parameters("w_out")
    recorded = None
    if job.every:
        epoch = np.append(np.arange(0, job.epochs, job.every), job.epochs)
        history_w, history_intercept = parameters("history_w", "history.")
        loss = own("history.loss") if "history.loss" in out.given else wrap(restored("history_loss"))
        recorded = History(epoch, history_w, loss, history_intercept)
    status = restored("status", "status")
    state = State(
        w=restored("w", "state.w"),
        slots=restored("slots", "state.slots"),
        products=restored("products"),
        epoch=restored("steps"),
        algorithm=restored("algorithm"),
        status=status,
        optimizer=job.rule.name,
        intercept=problem.intercept,
        dtype="float32" if problem.dtype.itemsize == 4 else "float64",  # str(dtype) takes longer than all of these
    )
    return FitResult(
        w=w,
        loss=shown_as("loss", "loss"),
        epochs=shown_as("epochs_run", "epochs"),
        status=(own("status") if "status" in out.given else wrap(status)) if order.shape else Status(int(status)),
        n_used=shown_as("n_used"),
        lr=shown_as("lr"),
        backend=job.plan.backend,
        algorithm=algorithm_name(job.plan.algorithm),
        explanation=job.plan.explanation,
        state=state,
        intercept=intercept,
        history=recorded,
        _one_feature=problem.one_feature,
    )
