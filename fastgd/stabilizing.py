"""stability(): the moments, and the eigenvalues of the Hessian that they hold."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from .compressing import compress
from .input.annotations import AnyArray, DType, NanPolicy, NoData, NumberOrArray, Progress, Reduction
from .input.float_mode import computes
from .input.hyperparameters import read_hyperparameter
from .input.options import read_choice
from .input.shapes import broadcast
from .input.wrong_names import helps_with_keywords
from .kernels.update_rules import NOT_NEGATIVE
from .planning.backends import require_kernels
from .planning.compressed import read_moments
from .results.moments import Moments
from .results.stability import Stability


@helps_with_keywords
@computes
def stability(
    X: AnyArray | Moments,
    y: AnyArray | None = None,
    *,
    weight_decay: NumberOrArray = 0.0,
    reduction: Reduction = "mean",
    intercept: bool = False,
    dtype: DType | None = None,
    sample_weight: AnyArray | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
) -> Stability:
    """Say at which learning rates gradient descent is stable, and how fast it is.

    ::

        H = s·XᵀX + weight_decay·I        s = 2/n ("mean") or 2 ("sum")
        with sample weights ω: Xᵀ diag(ω) X and 2/Σω
        plain descent is stable where lr < 2/λ_max(H)

    No epoch is run. The eigenvalues are those of the moments of X, in float64, by LAPACK.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,), or Moments
        Features, as in `compress`; or what `compress` returns, in place of X and y.
    y : array (…, n_samples)
        Targets, of which only the missing ones matter. None where X is Moments.
    weight_decay : float or array, default 0
        Coupled weight decay ≥ 0 of the descent, which is added to every eigenvalue. An array
        broadcasts with the leading axes.
    reduction : {"mean", "sum"}, default "mean"
        Loss whose gradient descends, as in `fit`.
    intercept : bool, default False
        Whether there is an intercept, as one more feature of value 1.
    dtype : {"float32", "float64"}, optional
        As in `compress`.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens to missing numbers, as in `fit`.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", as in `fit`.
    threads : int, optional
        Number of threads that compress. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that compressing may take beside your own arrays. None: 80 % of the free memory.
    progress : bool or callable, optional
        As in `compress`.

    Returns
    -------
    Stability
        λ_max, λ_min, the condition, the stability limit, the best fixed rates, and how many epochs
        they take.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed.
    MemoryError
        When compressing does not fit into the memory limit.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.random.default_rng(0).normal(size=(1000, 50, 3))
    >>> y = X @ [1.0, 2.0, 3.0]
    >>> found = fastgd.stability(X, y)
    >>> found.lr_limit.shape
    (1000,)
    >>> result = fastgd.fit(X, y, lr=found.best_lr, epochs=200, tol=1e-6)
    >>> bool((result.epochs <= found.epochs(1e-6)).all())
    True
    """
    require_kernels("stability")
    from .running.hessians import extreme_eigenvalues  # imports Numba

    decay = read_hyperparameter(weight_decay, "weight_decay", NOT_NEGATIVE)
    of_the_sum = read_choice(reduction, "reduction", get_args(Reduction)) == "sum"
    told: dict[str, Any] = {
        "y": y,
        "intercept": intercept,
        "dtype": dtype,
        "sample_weight": sample_weight,
        "nan_policy": nan_policy,
        "nodata": nodata,
    }
    if isinstance(X, Moments):
        read_moments({"X": X, "min_samples": 1, **told})
        moments = X
    else:
        moments = compress(X, threads=threads, memory_limit=memory_limit, progress=progress, **told)
    shape = broadcast({"the fits": moments.leading, "weight_decay": decay.shape})
    largest, least = (np.broadcast_to(np.asarray(found), moments.leading) + decay for found in extreme_eigenvalues(moments, of_the_sum))
    return Stability(np.broadcast_to(largest, shape), np.broadcast_to(least, shape))
