"""Arrays of libraries that are not among the test requirements, as far as fastgd looks at them.

In each of them a mask can hide where `numpy.asarray` does not see it.
"""

from __future__ import annotations

import numpy as np


class OfDask:
    """A dask array: `__array__` computes it, and its blocks may be masked arrays."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


class OfNetCDF4(OfDask):
    """A netCDF4.Variable: `__array__` is `self[...]`, which is masked."""

    def __init__(self, array, dimensions=None):
        super().__init__(array)
        self.dimensions = dimensions or tuple(f"axis{k}" for k in range(array.ndim))

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        return self._array[index]

    def __array__(self):
        return self[...]


class OfSciPy:
    """A scipy.io.netcdf_variable: it has no `__array__`."""

    def __init__(self, array):
        self.data, self.shape = array, array.shape

    def __getitem__(self, index):
        return self.data[index]


class OnlyIndexed(OfSciPy):
    """A variable of a file that has a length, too: NumPy takes it for a list of its rows."""

    def __len__(self):
        return len(self.data)


class Sequence:
    """A list of another class, of which nothing says that it is one."""

    def __init__(self, *entries):
        self._entries = entries

    def __len__(self):
        return len(self._entries)

    def __getitem__(self, index):
        return self._entries[index]


class OfXarray:
    """An xarray.DataArray: `__array__` drops the mask of the array that it wraps."""

    def __init__(self, data, dims=None):
        self.data, self.shape = data, data.shape
        self.dims = dims or tuple(f"axis{k}" for k in range(len(data.shape)))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.data, dtype)


class OnlyDLPack:
    """An array that has nothing but DLPack."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()
