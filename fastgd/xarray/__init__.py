"""xarray: labelled arrays in, a labelled Dataset of their fits out (extra ``fastgd[xarray]``).

`fit` and `solve` take a DataArray or a Dataset and the name of the dimension along which the
samples lie. Importing this module adds the accessor: ``data.fastgd.solve(dim="time")``.
"""

try:
    import xarray as _xarray  # noqa: F401 - to say at once what is missing
except ImportError:
    raise ImportError("fastgd.xarray needs xarray: pip install 'fastgd[xarray]'") from None

from .accessor import Accessor
from .fitting import fit, solve
from .significance import significant

__all__ = ["Accessor", "fit", "significant", "solve"]


def __dir__() -> list[str]:
    return __all__
