"""The accessor of DataArrays and Datasets: ``data.fastgd``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray

from .fitting import fit, solve


@xarray.register_dataset_accessor("fastgd")
@xarray.register_dataarray_accessor("fastgd")
class Accessor:
    """Fits along a dimension: ``data.fastgd.fit("time")`` and ``data.fastgd.solve("time")``.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        What is fitted.
    """

    def __init__(self, data: xarray.DataArray | xarray.Dataset) -> None:
        self._data = data

    def fit(self, dim: Hashable = "time", **options: Any) -> xarray.Dataset:
        """`fastgd.xarray.fit` of these data, with its options."""
        return fit(self._data, dim, **options)

    def solve(self, dim: Hashable = "time", **options: Any) -> xarray.Dataset:
        """`fastgd.xarray.solve` of these data, with its options."""
        return solve(self._data, dim, **options)
