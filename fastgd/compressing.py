"""compress(): prepare, run, and give the moments."""

from __future__ import annotations

from .input.annotations import AnyArray, DType, NanPolicy, NoData, Progress
from .input.float_mode import computes
from .input.wrong_names import helps_with_keywords
from .planning.compress_job import prepare_compress
from .results.moments import Moments
from .running.run import run


@helps_with_keywords
@computes
def compress(
    X: AnyArray,
    y: AnyArray,
    *,
    intercept: bool = False,
    dtype: DType | None = None,
    sample_weight: AnyArray | None = None,
    nan_policy: NanPolicy = "raise",
    nodata: NoData | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
) -> Moments:
    """Compress data to what full-batch descent needs of them, once for any number of calls.

    ::

        XᵀX, Xᵀy, yᵀy        with sample weights ω: Xᵀ diag(ω) X and so on

    ``fit(compress(X, y), ...)`` is ``fit(X, y, algorithm="moments", ...)``, bit for bit, without
    reading X and y again: for sweeps, and for data that come part after part (`Moments.merge`) or
    are gone.

    Parameters
    ----------
    X : array (…, n_samples, n_features) or (n_samples,)
        Features, as in `fit`, in the computer's memory.
    y : array (…, n_samples)
        Targets.
    intercept : bool, default False
        Whether fits of these moments have an intercept.
    dtype : {"float32", "float64"}, optional
        Convert the data. None: as NumPy promotes X and y; integers become float64, 16-bit floats
        are computed as float32.
    sample_weight : array (…, n_samples), optional
        Weights ≥ 0, rounded to the data's dtype. A sample of weight 0 is left out.
    nan_policy : {"raise", "omit", "propagate"}, default "raise"
        What happens when a number is not finite or is missing, as in `fit`: "raise" an error,
        "omit" the sample, or "propagate": that fit is ``INVALID_DATA``.
    nodata : number, several numbers, or mapping, optional
        Values that mean "missing", as in `fit`.
    threads : int, optional
        Number of threads. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that the call may take beside your own arrays: a number, or a text such as "2 GiB".
        None: 80 % of the free memory.
    progress : bool or callable, optional
        None: a progress bar on a terminal when the work takes over a second. True: always. False:
        never. A function is called with (done, total), both in fits.

    Returns
    -------
    Moments
        Of all fits; data that fits share are compressed once.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed.
        Non-finite data raise a ValueError under ``nan_policy="raise"``.
    MemoryError
        When the moments and one piece of work do not fit into the memory limit.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 50, 3)), rng.normal(size=(1000, 50))
    >>> moments = fastgd.compress(X, y)
    >>> first = fastgd.fit(moments, lr=0.1, epochs=100)
    >>> bool((first.w == fastgd.fit(X, y, lr=0.1, epochs=100).w).all())
    True

    A second sweep reads nothing:

    >>> fastgd.fit(moments, lr=np.logspace(-4, 0, 64)[:, None], epochs=10).w.shape
    (64, 1000, 3)
    """
    job = prepare_compress(locals())
    run(job)
    return job.made
