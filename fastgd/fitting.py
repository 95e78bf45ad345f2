"""fit(): prepare, run, build."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from .input.annotations import (
    Algorithm,
    AnyArray,
    BackendName,
    DType,
    NanPolicy,
    NoData,
    NumberOrArray,
    OptimizerName,
    Progress,
    Reduction,
    ScheduleUnit,
    Stats,
)
from .input.float_mode import in_ieee_mode, quietly
from .input.wrong_names import helps_with_keywords
from .optimizers import Optimizer
from .planning.call_cache import prepare
from .planning.statistics_job import prepare_statistics
from .results.building import build
from .results.group_result import of_groups
from .results.moments import Moments
from .results.result import FitResult, State
from .running.adding_statistics import with_statistics
from .running.run import run_call
from .schedules.table import ScheduleLike


@helps_with_keywords
def fit(
    X: AnyArray | Moments,
    y: AnyArray | None = None,
    *,
    lr: NumberOrArray | None = None,
    epochs: int | None = 100,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    schedule: ScheduleLike | None = None,
    w0: AnyArray | None = None,
    intercept: bool = False,
    intercept0: AnyArray | None = None,
    standardize: bool = False,
    state: State | None = None,
    sample_weight: AnyArray | None = None,
    X_val: AnyArray | Moments | None = None,
    y_val: AnyArray | None = None,
    sample_weight_val: AnyArray | None = None,
    reduction: Reduction = "mean",
    ridge: NumberOrArray | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    seed: int | AnyArray = 0,
    drop_last: bool = False,
    schedule_every: ScheduleUnit = "epoch",
    tol: float | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    restore_best: bool = False,
    excess_loss: bool | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    min_samples: int | None = None,
    stats: Stats = False,
    history: bool | int = False,
    dtype: DType | None = None,
    algorithm: Algorithm = "auto",
    backend: BackendName = "auto",
    threads: int | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
    checkpoint: str | PathLike[str] | None = None,
    out: AnyArray | Mapping[str, AnyArray] | None = None,
) -> FitResult:
    """Fit linear models by gradient descent, one or millions at a time.

    ::

        prediction = X w (+ intercept)      residual = prediction − y
        loss = mean(residual²)              gradient = (2/n_samples) Xᵀ residual
        w ← w − lr · gradient               (or another update rule)

    With sample weights ω the loss is Σ ω residual² / Σ ω. The leading axes of X, y and of every
    hyperparameter broadcast as in NumPy: each point of the broadcast shape is a fit of its own.
    Shared data are read and compressed once. A fit has the same bits alone or in a batch, for any
    number of threads.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features: an array of NumPy, torch, JAX, CuPy or any library with DLPack, a frame of pandas
        or polars, or a list. Results come back in the same library and on the device of the data
        (the computer's memory or a CUDA GPU), which must be the same for X, y and sample_weight.
        2-D X is always (n_samples, n_features); many fits of one feature are ``X[..., None]``. With
        a 1-D X the result has no feature axis. Where the axes of X and y have names (``dims`` of
        xarray, ``dimensions`` of netCDF4), the axis of the samples is found by its name.
        Or Moments of `fastgd.compress`, in place of X and y: then no samples are read, and whether
        there is an intercept, the weights, the dtype and what is missing are theirs. A fit that
        overflows goes on by its moments; its status is ``DIVERGED``.
    y : array (…, n_samples)
        Targets. None where X is Moments.
    lr : float or array, optional
        Learning rate, ≥ 0, here or in the optimizer object. None: for SGD a safe rate of each fit,
        1/(λ_max + weight_decay), where λ_max is the largest eigenvalue of the Hessian of the (mean
        or sum) loss, or above 64 parameters its largest row sum, which is a bound; 0 where the
        Hessian is 0. It is computed from the second moments, n_parameters² numbers per fit: with
        thousands of features give an lr. For the other rules None is torch's default.
    epochs : int or None, default 100
        Passes over the data, ≥ 0. None: until ``tol`` or ``patience``, of which one is needed, ends
        each fit, at most 1,000,000.
    optimizer : str or optimizer object, default "sgd"
        The update rule: an object such as ``fastgd.SGD(momentum=0.9)``, or the name of its class in
        lower case, such as "adam".
    schedule : schedule, list of schedules, callable or array, optional
        How the learning rate goes on from epoch to epoch: one of `fastgd.schedules`, such as
        ``fastgd.schedules.StepLR(30)``, with the values of torch.optim.lr_scheduler; or an array
        that broadcasts as hyperparameters do, of one for each fit (a list has one axis; None: the
        rate stays). lr is the rate that torch's optimizer has before the schedule is constructed. A
        function of the epoch 0, 1, … gives factors on lr, as LambdaLR does. Numbers, shape
        (epochs,), are the rates themselves: then, and with CyclicLR and OneCycleLR, leave lr out.
        With a state the schedule is given again, and goes on where the state stands.
    w0 : array (…, n_features), optional
        Start of w, default zeros. Where X is 1-D, w0 has no feature axis.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    intercept0 : float or array, optional
        Start of the intercept, default 0.
    standardize : bool, default False
        Descend on centred and scaled features, (x − center) / scale: with an intercept their mean
        and population standard deviation, without one 0 and their root mean square (all weighted,
        of the samples that are used); a constant column has scale 1. They are made from the
        moments, for each fit, and are in ``result.center`` and ``result.scale``; y stays as it is.
        w0, intercept0, w, intercept and the history are in the units of X. lr and weight_decay act
        on the scaled features.
    state : State, optional
        ``FitResult.state`` of an earlier fit, which is continued bit for bit; it takes the place of
        w0 and intercept0. For data on a GPU its arrays are CuPy's.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, rounded to the data's dtype. For ``reduction="mean"`` only their proportions
        count. A sample of weight 0 is left out, even where its data are NaN. A negative weight is
        an error under every nan_policy; NaN, inf and −inf are numbers that are not finite.
    X_val : array (…, n_samples, n_features) or (n_samples,), optional
        Validation data, with the features of X, whose leading axes broadcast to those of X and y;
        or Moments, without y_val. They do not change the descent: ``val_loss`` of the result is
        their loss at w, and ``best_epoch`` the epoch at which it was least. The loss of every epoch
        is computed from their second moments, with mini-batches too; with ``history`` its rows have
        it. Not for data on a GPU.
    y_val : array (…, n_samples), optional
        Targets of the validation data.
    sample_weight_val : array (…, n_samples), optional
        Weights of the validation data, ≥ 0. ``sample_weight`` does not count there.
    reduction : {"mean", "sum"}, default "mean"
        Which loss is differentiated: the mean of the squared residuals, or their sum, whose
        gradient is n_samples times as large. The reported loss is always the mean.
    ridge : float or array, optional
        Minimise loss + ridge · ‖w‖², ≥ 0, the loss being the (weighted) mean: the gradient has 2 ·
        ridge · w more. The intercept is **not** penalised. scikit-learn's ``Ridge(alpha)`` has
        alpha = ridge · n_samples (with weights ridge · Σω); without an intercept it is weight_decay
        = 2 · ridge of the optimizer, bit for bit. With ``reduction="sum"`` all of the objective is
        n_samples times as large, and the minimum is the same; weights, missing data and
        mini-batches go with "mean" alone. With ``standardize`` it acts on the scaled features. The
        reported loss is without the penalty. Not with AdamW, whose decay is no part of a loss.
    batch_size : int, optional
        Mini-batches: each update takes this many samples, as with torch's DataLoader. The gradient
        is that of the batch's own mean (or sum); the last batch of an epoch may be shorter. A batch
        may need a smaller rate than the safe one of all samples: give an lr. None: each epoch is
        one update, of all samples.
    shuffle : bool, default True
        Whether each epoch has the samples in another order, that of
        `fastgd.testing.minibatch_order`. It changes nothing without a batch_size, nor do the next
        three.
    seed : int or array (…) of int, default 0
        ≥ 0. All fits that use equally many samples have the same order in an epoch; an array has a
        seed for each fit. A state is continued with its own.
    drop_last : bool, default False
        Leave out the last batch of an epoch where it is not full.
    schedule_every : {"epoch", "step"}, default "epoch"
        Whether a schedule goes on after every epoch or after every update. Rates that are given as
        an array are one for each of them.
    tol : float, optional
        Stop a fit at the first epoch t ≥ 1 with F(w_t) − F* ≤ tol · (F(w_0) − F*): at most this
        share of the start's distance from the least loss F* is left. F is the loss, plus what a
        coupled ``weight_decay`` adds; with a state w_0 is the start of the first call, on the data
        of that call, and fits that met a larger tol go on. A state that was made without tol and
        excess_loss may not know that start: then that of this call counts. An excess below the
        rounding error of F* counts as 0. F* is known beforehand, since the loss is quadratic: see
        excess_loss for what that costs. Not for ``maximize``. None: run all epochs.
    patience : int, optional
        Stop a fit, with the status ``STOPPED_EARLY``, after this many epochs in a row without a
        better val_loss; 0 means 1. These are the words of Keras and Lightning, and what they mean
        there: epochs 1, 2, … are looked at, and epoch t improves the fit where val_loss +
        ``min_delta`` < the best val_loss before it. Each fit stops on its own and then costs
        nothing; ``epochs`` says when, later rows of the history repeat the last. A fit whose w or
        loss is no longer finite stops at once, DIVERGED. Not with a state, which does not know the
        epochs before. None: validation ends no fit.
    min_delta : float, default 0
        By how much val_loss must fall, ≥ 0, to count as improved.
    restore_best : bool, default False
        Whether w, loss, excess_loss, state and val_loss are those of ``best_epoch``, whatever ended
        the fit; ``epochs``, ``status`` and the history tell of the whole descent.
    excess_loss : bool, optional
        Whether the result tells F(w) − F*, by how much the loss is above its least value. None:
        where it costs little, which is for fits on moments of at most 32 parameters; NaN for
        others. True: for every fit; more parameters, "stream" and the reference backends then
        take as long as `solve` does, besides. False: for none, unless a tol needs it.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number of X, y or the weights is not finite or is missing: masked (in a
        NumPy masked array, also in a list or behind ``__array__``), None, NA, null, or a value of
        `nodata`. "raise": an error that names the first such number. "omit": the sample is left out
        of its fit, as if the row had been deleted; the data are not copied whole. "propagate": only
        that fit becomes NaN, with the status ``INVALID_DATA``.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", such as -9999: a number, or a list, tuple, set or array of up to
        1,000, for X, y and sample_weight alike; or a mapping with some of these names, such as
        ``{"y": [255, 254]}``. They are compared with the data as they are given, in their own
        dtype, before any conversion. A value that no array can hold is an error.
    min_samples : int, optional
        Fits that keep fewer samples get NaN for w and loss, 0 epochs and the status
        ``TOO_FEW_SAMPLES``; n_used says how many they kept. Default: the number of parameters for
        ``nan_policy="omit"``, else 1.
    stats : bool, str or mapping, default False
        Whether ``result.stats`` has standard errors, t, p, R² and so on (`Statistics`), of least
        squares. It costs one more read of the data, none of Moments. A text is the covariance:
        "nonrobust" (True), or one that does not trust σ², for which the samples are read once more:
        "HC0" to "HC3". Or a mapping of ``covariance``; ``clusters``, a label for each sample (…,
        n_samples), for covariance "cluster"; and ``weights_are``: "precision" (default, as in
        statsmodels' WLS) or "frequency" (a sample of weight 3 stands for three). Not with a
        weight_decay or maximize. p and intervals need SciPy (``pip install 'fastgd[stats]'``).
    history : bool or int, default False
        True: record w and loss of every epoch; k: of epochs 0, k, 2k, … and the last. The loss of a
        row is that of all samples at its w; with mini-batches ``history.batch_loss`` has the mean
        of the losses of the batches of every epoch, too.
    dtype : {"float32", "float64"}, optional
        Convert the data. None: as NumPy promotes X and y; integers become float64, 16-bit floats
        are computed as float32.
    algorithm : {"auto", "moments", "stream"}, default "auto"
        "moments" reads the data once and descends on their second moments; "stream" goes through
        the samples in every epoch. "auto" takes "stream" where a fit has n_samples ≤ 2 ·
        n_features, n_features > 256, or data that are not finite. Mini-batches always go through
        the samples: this is then what the losses of all samples are computed from.
    backend : {"auto", "cpu", "torch", "torch-cuda", "numpy", "cuda"}, default "auto"
        "auto" is "cuda" where the data are on a GPU, else "cpu". "cuda" also takes NumPy data,
        which are copied to the GPU and back. "torch" and "torch-cuda" are torch.autograd and
        torch.optim, "numpy" is a readable descent written by hand: they serve as references, and
        run one fit after another.
    threads : int, optional
        Number of threads; only backend "cpu" has this option. None: as many as this process may
        use.
    memory_limit : int or str, optional
        Bytes that the call may take beside your own arrays: a number, or a text such as "2 GiB".
        The work is cut into pieces so small that they stay below it. None: 80 % of the free memory.
        Up to 16 MiB of freed result memory stay reserved for later calls; give a memory_limit to
        avoid that. For data on a GPU the limit is one of the GPU's memory.
    progress : bool or callable, optional
        None: a progress bar on a terminal when the work takes over a second. True: always. False:
        never. A function is called with (done, total), both in epochs of fits.
    checkpoint : str or path, optional
        A folder, made if it is not there, in which finished fits are stored, about once a second.
        The same call goes on from there after it was ended in any way, with the same bits. Another
        call is refused: of the arguments only ``threads``, ``memory_limit`` and ``progress`` may
        differ. The folder stays until you delete it. It is for data in the computer's memory, and
        without ``out``.
    out : array or mapping of str to array, optional
        Where to write results, for example arrays on disk (``numpy.memmap``); a single array is for
        w. Names: "w", "intercept", "loss", "epochs", "status", "history.w", "history.intercept",
        "history.loss", "history.batch_loss", "state.w", "state.slots", "excess_loss". Shapes and
        dtypes are those of the result, which then holds these arrays. They must not share memory
        with anything else that `fit` was given, nor with each other; but w may be written over w0,
        the intercept over intercept0, and state.w, state.slots and the status over those of
        ``state``, each in exactly its place. When `fit` raises, they may be partly written.

    Returns
    -------
    FitResult
        w, intercept, loss, excess_loss, epochs, status, lr, state, history …; "…" is the broadcast
        shape.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed.
        Non-finite data raise a ValueError under ``nan_policy="raise"``, a negative weight always.
    BackendUnavailable
        An ImportError, when the backend that was asked for cannot run here.
    MemoryError
        When the results and one piece of work do not fit into the memory limit; the message has the
        numbers.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20, history=True)
    >>> round(float(result.w), 3)
    2.0
    >>> [float(w) for w in result.history.w[:4]]
    [0.0, 3.0, 1.5, 2.25]

    Until the loss of other data was not improved for five epochs:

    >>> validation = {"X_val": [1.0, 2], "y_val": [2.5, 3.5]}
    >>> options = {"epochs": None, "patience": 5, "restore_best": True}
    >>> result = fastgd.fit([1.0, 2], [2.0, 4], lr=0.02, **validation, **options)
    >>> int(result.best_epoch), int(result.epochs)
    (28, 33)

    A thousand fits, 64 learning rates each:

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 50, 3)), rng.normal(size=(1000, 50))
    >>> fastgd.fit(X, y, lr=np.logspace(-4, 0, 64)[:, None], epochs=10).w.shape
    (64, 1000, 3)

    Mini-batches, as torch's DataLoader cuts them:

    >>> result = fastgd.fit(X, y, lr=0.01, epochs=5, batch_size=16, seed=1, history=True)
    >>> result.history.batch_loss.shape
    (1000, 5)
    """
    return in_ieee_mode(_fit, locals())


def _fit(arguments: Mapping[str, Any]) -> FitResult:
    job = prepare(arguments)
    more = quietly(prepare_statistics, job) if job.stats else None
    run_call(job, "fit", arguments)
    result = of_groups(build(job.buffers, job.provenance), arguments["X"])
    return result if more is None else with_statistics(result, more)
