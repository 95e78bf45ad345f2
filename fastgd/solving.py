"""solve(): the minimiser that descent converges to, in closed form: prepare, run, build."""

from __future__ import annotations

from typing import Any

from .planning.job import prepare_solve
from .results.building import build
from .results.result import FitResult
from .running.run import run


def solve(
    X: Any,
    y: Any,
    *,
    intercept: bool = False,
    weight_decay: Any = 0.0,
    reduction: str = "mean",
    dtype: Any = None,
    sample_weight: Any = None,
    nan_policy: str = "raise",
    min_samples: int | None = None,
    threads: int | None = None,
    memory_limit: Any = None,
    progress: Any = None,
) -> FitResult:
    """Fit linear models by least squares in closed form: what `fit` converges to.

    ::

        s Xᵀ(X w − y) + weight_decay · w = 0        s = 2/n_samples (mean) or 2 (sum)

    With sample weights ω the gradient is s Xᵀ diag(ω)(X w − y), with s = 2/Σω or 2. Where many w
    solve this, the result is the one of minimum norm, which descent from zero converges to. Axes
    broadcast as in `fit`; fits that share X and weight_decay share its factors. A fit from moments
    has the same bits alone or in a batch, for any number of threads; the bits of a fit by LAPACK
    are LAPACK's.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, as in `fit`.
    y : array (…, n_samples)
        Targets.
    intercept : bool, default False
        Whether to fit an intercept, as one more feature of value 1.
    weight_decay : float or array, default 0
        L2 penalty (ridge), ≥ 0, of the size that it has in `fit` and in torch.optim: on the
        intercept too, and for "mean" it is 2/n_samples times the λ that is added to the diagonal of
        XᵀX, 2λ/n_samples.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of. Without weight_decay it changes nothing.
    dtype : {"float32", "float64"}, optional
        Convert the data, as in `fit`.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, as in `fit`.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number of X, y or the weights is not finite, as in `fit`.
    min_samples : int, optional
        Fits that keep fewer samples get NaN and the status ``TOO_FEW_SAMPLES``. Default 1.
    threads : int, optional
        Threads. None: as many as this process may use.
    memory_limit : int or str, optional
        As in `fit`.
    progress : bool or callable, optional
        As in `fit`.

    Returns
    -------
    FitResult
        As from `fit`, with epochs 0, lr NaN, and for every fit

        * ``rank``: of [X 1], with rows √λ·I below it where there is a weight_decay; 0 where the
          data are invalid.
        * ``condition``: Stewart's largest collinearity index: 1/condition is the smallest relative
          change of one column that makes the columns dependent; 1 for orthogonal columns, at most
          their condition number once they have length 1. Where the rank is smaller than the number
          of parameters, σ_1/σ_rank of X as it is. NaN where the data are invalid.
        * ``ill_conditioned``: condition > 1/√u (u = 2^-24 for float32 data, 2^-53 for float64:
          4,096 and 9.5e7), or rank below both the number of samples and that of parameters. A
          change of the data in their last digit may then change more than half of the digits of w,
          so the answer says little about the data, however well it was computed.
        * ``state.algorithm``: which algorithm it was computed by, "moments" or "lstsq": see
          ``state.algorithm_names``.

    Raises
    ------
    ValueError, TypeError
        As `fit`.
    MemoryError
        As `fit`.

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
    job = prepare_solve(locals())
    run(job)
    return build(job.buffers, job.provenance)
