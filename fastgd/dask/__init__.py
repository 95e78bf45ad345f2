"""Dask: fits of chunked arrays, a task for each block of fits (extra ``fastgd[dask]``).

Nothing is rechunked, and nothing is computed before it is asked for.
"""

try:
    import dask.array as _array  # noqa: F401 - to say at once what is missing
except ImportError:
    raise ImportError("fastgd.dask needs Dask: pip install 'fastgd[dask]'") from None

from .fitting import Fits, compress, fit, solve
from .sweeping import sweep

__all__ = ["Fits", "compress", "fit", "solve", "sweep"]


def __dir__() -> list[str]:
    return __all__
