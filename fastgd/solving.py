"""solve(): the minimiser that `fit` converges to, in closed form: prepare, run, build."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .input.annotations import AnyArray, DType, NanPolicy, NoData, NumberOrArray, Progress, Reduction, Stats
from .input.float_mode import in_ieee_mode, quietly
from .input.wrong_names import helps_with_keywords
from .planning.call_cache import prepare_solution
from .planning.statistics_job import prepare_statistics
from .results.building import build
from .results.group_result import of_groups
from .results.moments import Moments
from .results.result import FitResult
from .running.adding_statistics import with_statistics
from .running.run import run_call


@helps_with_keywords
def solve(
    X: AnyArray | Moments,
    y: AnyArray | None = None,
    *,
    intercept: bool = False,
    standardize: bool = False,
    weight_decay: NumberOrArray = 0.0,
    ridge: NumberOrArray | None = None,
    reduction: Reduction = "mean",
    dtype: DType | None = None,
    sample_weight: AnyArray | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    min_samples: int | None = None,
    stats: Stats = False,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit linear models by least squares in closed form: what `fit` converges to.

    ::

        s Xᵀ(X w − y) + weight_decay · w = 0        s = 2/n_samples (mean) or 2 (sum)

    With sample weights ω the gradient is s Xᵀ diag(ω)(X w − y), with s = 2/Σω or 2. Where many w
    solve this, the result is the one of minimum norm, which descent from zero converges to. Leading
    axes of X, y, sample_weight, weight_decay and ridge broadcast as in NumPy: each point of the
    broadcast shape is a fit of its own. A fit that is solved from moments has the same bits alone
    or in a batch, for any number of threads; the last bits of a fit that LAPACK solves depend on
    the build of LAPACK.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features: an array of NumPy, torch, JAX or any library with DLPack in the computer's memory,
        a frame of pandas or polars, or a list. Results come back in the same library. 2-D X is
        always (n_samples, n_features); with a 1-D X the result has no feature axis. Where the axes
        of X and y have names, the axis of the samples is found by its name, as in `fit`. Or Moments
        of `fastgd.compress`, in place of X and y: where they do not determine w, singular values
        below about 1e-8 of the largest count as zero, and the fit is ``ill_conditioned``.
    y : array (…, n_samples)
        Targets. None where X is Moments.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    standardize : bool, default False
        Solve for centred and scaled features, (x − center) / scale, as `fit` does; w and the
        intercept are in the units of X. weight_decay penalises all scaled features alike then, and
        of many solutions the one is taken whose w is shortest there. Without either nothing but
        the last digits changes, unless a column's spread is below 2^-48 of its mean (2^-23 in
        float32), which counts as constant.
    weight_decay : float or array, default 0
        L2 penalty (ridge), ≥ 0, on the same scale as in `fit` and torch.optim; the intercept is
        penalised, too. Where λ is to be added to the diagonal of XᵀX, weight_decay is 2λ/n_samples
        for "mean" and 2λ for "sum".
    ridge : float or array, optional
        Minimise loss + ridge · ‖w‖², the loss being the (weighted) mean whatever the reduction is.
        The intercept is **not** penalised: w is that of centred features and y, and condition and
        rank are those of the centred features with the rows √ridge·I below, one more for the
        intercept. scikit-learn's ``Ridge(alpha)`` has alpha = ridge · n_samples (with weights
        ridge · Σω); without an intercept it is weight_decay = 2 · ridge. With ``standardize`` it
        acts on the scaled features. An array broadcasts as weight_decay does: a path of many ridges
        reads the data once. The reported loss is without the penalty.
    reduction : {"mean", "sum"}, default "mean"
        Which loss is minimised: the mean of the squared residuals, or their sum. It matters only
        together with weight_decay.
    dtype : {"float32", "float64"}, optional
        Convert the data. None: as NumPy promotes X and y; integers become float64, 16-bit floats
        are computed as float32.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, rounded to the data's dtype. For ``reduction="mean"`` only their proportions
        count. A sample of weight 0 is left out, even where its data are NaN.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number of X, y or the weights is not finite or is missing: masked, None,
        NA, null, or a value of `nodata`. "raise": an error that names the first such number.
        "omit": the sample is left out of its fit. "propagate": only that fit becomes NaN.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", such as -9999, compared in the dtype of the data before any
        conversion: for X, y and sample_weight alike, or a mapping such as ``{"y": [255, 254]}``.
    min_samples : int, optional
        Fits that keep fewer samples get NaN and the status ``TOO_FEW_SAMPLES``. Default: the number
        of parameters for ``nan_policy="omit"``, else 1.
    stats : bool, str or mapping, default False
        Whether ``result.stats`` has standard errors, t, p, R² and so on (`Statistics`), of least
        squares. They come from what the solution needs; with a ``checkpoint``, or where memory is
        short, and of fits that LAPACK solves, from one more read. A text is the covariance:
        "nonrobust" (True), or one that does not trust σ², for which the samples are read once more:
        "HC0" to "HC3". Or a mapping of ``covariance``; ``clusters``, a label for each sample (…,
        n_samples), for covariance "cluster"; and ``weights_are``: "precision" (default, as in
        statsmodels' WLS) or "frequency" (a sample of weight 3 stands for three). Not with a
        weight_decay. p and intervals need SciPy (``pip install 'fastgd[stats]'``).
    threads : int, optional
        Number of threads. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that the call may take beside your own arrays: a number, or a text such as "2 GiB".
        None: 80 % of the free memory.
    progress : bool or callable, optional
        None: a progress bar on a terminal when the work takes over a second. True: always. False:
        never. A function is called with (done, total), both in fits.
    checkpoint : str or path, optional
        A folder, made if it is not there, in which finished fits are stored, about once a second.
        The same call goes on from there after it was ended in any way, with the same bits, as in
        `fit`.

    Returns
    -------
    FitResult
        w, intercept, loss, status, n_used …, with epochs 0 and lr NaN, and for every fit

        * ``rank``: the rank of X, with a column of ones for an intercept, and with the rows √λ·I
          below it where weight_decay > 0; 0 where the data are invalid.
        * ``condition``: Stewart's largest collinearity index: 1/condition is the smallest relative
          change of one column that makes the columns dependent; 1 for orthogonal columns, at most
          their condition number once they have length 1. Columns of zeros, and constant ones beside
          an intercept, are left out of it; where the rank is smaller still, it is σ_1/σ_rank of X
          as it is. NaN where the data are invalid.
        * ``ill_conditioned``: condition > 1/√u (u = 2^-24 for float32 data, 2^-53 for float64:
          4,096 and 9.5e7), or rank below the number of parameters, as in every fit without
          weight_decay that has fewer samples than parameters. A change of the data in their last
          digit may then change more than half of the digits of w, or many w fit the data equally
          well, so the answer says little about the data, however well it was computed.
          Of scaled features where ``standardize=True``, as are rank and condition.
        * ``state.algorithm``: the algorithm that solved it, "moments" or "lstsq" (by LAPACK), as an
          index into ``state.algorithm_names``.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed.
        Non-finite data raise a ValueError under ``nan_policy="raise"``.
    MemoryError
        When the results and one piece of work do not fit into the memory limit; the message has the
        numbers.

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
    return in_ieee_mode(_solve, locals())


def _solve(arguments: Mapping[str, Any]) -> FitResult:
    job = prepare_solution(arguments)
    more = quietly(prepare_statistics, job) if job.stats else None
    run_call(job, "solve", arguments)
    result = of_groups(build(job.buffers, job.provenance), arguments["X"])
    return result if more is None else with_statistics(result, more)
