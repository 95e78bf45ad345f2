"""significant(): which p values of a map are small, for all points together."""

from __future__ import annotations

import numpy as np
import xarray

from ..input.messages import shown
from ..input.wrong_names import helps_with_keywords


@helps_with_keywords
def significant(p: xarray.DataArray, level: float = 0.05) -> xarray.DataArray:
    """Mark the points whose p values stay significant where many are looked at.

    ::

        p_(1) ≤ … ≤ p_(n)        significant: p ≤ p_(k), k the largest with p_(k) ≤ level · k/n

    Of a map of independent noise 5 % of the points have p < 0.05. Here at most the share ``level``
    of the marked points is expected to be noise (the false discovery rate), also where neighbours
    are alike.

    Parameters
    ----------
    p : DataArray
        p values, such as ``air.fastgd.solve(stats=True).p``. NaN counts as no test.
    level : float, default 0.05
        The share of false discoveries, between 0 and 1.

    Returns
    -------
    DataArray of bool
        True where p is significant; False where it is NaN.

    Raises
    ------
    TypeError, ValueError
        When p is no DataArray, not between 0 and 1, or level is not between 0 and 1.
    ImportError
        When SciPy is not installed: ``pip install 'fastgd[stats]'``.

    References
    ----------
    Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57 (1995) 289-300. D. S. Wilks, "The stippling shows statistically
    significant grid points", Bulletin of the American Meteorological Society 97 (2016) 2263-2273.

    Examples
    --------
    >>> import xarray
    >>> from fastgd.xarray import significant
    >>> significant(xarray.DataArray([0.001, 0.04, 0.9, float("nan")])).values.tolist()
    [True, False, False, False]
    """
    try:
        from scipy.stats import false_discovery_control
    except ImportError:
        raise ImportError("significant needs SciPy: pip install 'fastgd[stats]'") from None
    if not isinstance(p, xarray.DataArray):
        raise TypeError(f"p must be a DataArray of p values, not {shown(p)}")
    if not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise ValueError(f"level must be a number between 0 and 1, not {shown(level)}")
    values = p.values
    tested = ~np.isnan(values)
    if ((values[tested] < 0.0) | (values[tested] > 1.0)).any():
        raise ValueError("p must hold values between 0 and 1")
    marked = np.zeros(values.shape, bool)
    marked[tested] = false_discovery_control(values[tested], method="bh") <= level
    return p.copy(data=marked).assign_attrs(long_name=f"significant at a false discovery rate of {level:g}")
