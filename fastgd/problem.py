"""Problem: X and y, checked once and never copied whole; FitOrder: which fit stands where.

1. Axes along which an array is only repeated (stride 0, as from numpy.broadcast_to) count as shared: such data are read once.
2. Data in another layout or dtype are converted chunk by chunk, when a chunk is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_MOST = 2**63 - 1


def read_array(value: Any, name: str) -> np.ndarray:
    """`value` as an array of real numbers, not copied where it is one; its errors name the argument."""
    library = type(value).__module__.partition(".")[0]
    if library in ("torch", "cupy", "jax", "jaxlib"):
        raise TypeError(f"{name} is an array of {library}, which is not available yet; give a NumPy array")
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise TypeError(f"{name} is a masked array; masks are not available yet: give {name}.filled(numpy.nan) or leave the rows out")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from None
    kind = array.dtype.kind
    if kind == "c":
        raise TypeError(f"{name} is complex ({array.dtype}); fastgd fits real data")
    if kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; numbers are needed (float32, float64, integers)")
    if kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {array.dtype}; there are float32 and float64: use {name}.astype('float64')")
    return array


def choose_dtype(X: np.ndarray, y: np.ndarray, dtype: Any) -> np.dtype:  # noqa: N803
    """float32 or float64: the one asked for, or the one that NumPy's promotion gives (16-bit floats are computed as float32)."""
    if dtype is not None:
        try:
            asked = np.dtype(dtype)
        except TypeError:
            asked = None
        if asked not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}")
        return asked
    kinds = [np.dtype(np.float64) if a.dtype.kind in "iub" else a.dtype for a in (X, y)]
    result = np.result_type(*kinds)
    return np.dtype(np.float32) if result.itemsize < 4 else np.dtype(result.type)


def _without_repeats(array: np.ndarray, n_last: int) -> np.ndarray:
    """Leading axes that only repeat are cut to length 1."""
    leading = array.ndim - n_last
    index = tuple(slice(0, 1) if array.strides[a] == 0 and array.shape[a] > 1 else slice(None) for a in range(leading))
    return array[index] if index else array


@dataclass(frozen=True)
class Items:
    """An array of items (leading axes …, each item of shape `item`), handed out in ranges as the kernels want them."""

    array: np.ndarray
    leading: tuple[int, ...]
    item: tuple[int, ...]
    dtype: np.dtype

    @property
    def count(self) -> int:
        """Number of different items."""
        return math.prod(self.leading)

    def take(self, first: int, stop: int) -> np.ndarray:
        """Items first … stop-1 as one C-contiguous, aligned, read-only array of `dtype`: a view where that is possible."""
        part = self._view(first, stop)
        if part is None:
            index = np.unravel_index(np.arange(first, stop), self.leading)
            part = self.array[index].reshape(stop - first, *self.item)
        part = np.require(part, dtype=self.dtype, requirements=["C", "A"])
        part = part.view()
        part.flags.writeable = False
        return part

    def ready(self) -> Items:
        """The same items in the form that `take` can hand out without copying: itself where it has it, else one copy."""
        if self.array.dtype == self.dtype and self.array.flags.c_contiguous and self.array.flags.aligned:
            return self
        return Items(self.take(0, self.count).reshape(*self.leading, *self.item), self.leading, self.item, self.dtype)

    def _view(self, first: int, stop: int) -> np.ndarray | None:
        """The range without a copy, or None where the leading axes cannot be run through with one stride."""
        strides = self.array.strides
        moving = [a for a in range(len(self.leading)) if self.leading[a] > 1]
        if any(strides[a] != strides[b] * self.leading[b] for a, b in zip(moving, moving[1:], strict=False)):
            return None
        step = strides[moving[-1]] if moving else 0
        item_strides = strides[len(self.leading) :]
        item_strides += (0,) * (len(self.item) - len(item_strides))  # 1-D X: its feature axis has length 1
        flat = np.lib.stride_tricks.as_strided(self.array, (self.count, *self.item), (step, *item_strides), writeable=False)
        return flat[first:stop]


@dataclass(frozen=True)
class Problem:
    """The data of many fits."""

    X: Items
    y: Items
    leading: tuple[int, ...]
    n_samples: int
    n_features: int
    one_feature: bool  # X was 1-D: results have no feature axis
    intercept: bool
    dtype: np.dtype

    @property
    def n_parameters(self) -> int:
        """Number of features, and one for an intercept."""
        return self.n_features + self.intercept

    @classmethod
    def read(cls, X: Any, y: Any, *, intercept: bool, dtype: Any) -> Problem:  # noqa: N803
        """Check the user's data and lay them out."""
        if not isinstance(intercept, bool | np.bool_):
            raise TypeError(f"intercept must be True or False, not {intercept!r}; a starting value is given as intercept0")
        X, y = read_array(X, "X"), read_array(y, "y")
        _check_shapes(X, y)
        one_feature = X.ndim == 1
        n_samples = X.shape[0] if one_feature else X.shape[-2]
        n_features = 1 if one_feature else X.shape[-1]
        chosen = choose_dtype(X, y, dtype)
        x_leading = () if one_feature else X.shape[:-2]
        try:
            leading = np.broadcast_shapes(x_leading, y.shape[:-1])
        except ValueError:
            raise ValueError(
                f"the leading axes of X and y do not broadcast: X has shape {X.shape}, so {x_leading} fits, y has shape {y.shape}, so {y.shape[:-1]}"
            ) from None
        if n_samples * n_features * math.prod(leading) * chosen.itemsize > _MOST:
            raise ValueError(
                f"too many numbers: {' × '.join(map(str, leading)) or 1} fits × {n_samples} samples × {n_features} features is more than 2^63 bytes"
            )
        X, y = _without_repeats(X, 1 if one_feature else 2), _without_repeats(y, 1)
        return cls(
            Items(X, X.shape[: X.ndim - (1 if one_feature else 2)], (n_samples, n_features), chosen),
            Items(y, y.shape[:-1], (n_samples,), chosen),
            leading,
            n_samples,
            n_features,
            one_feature,
            bool(intercept),
            chosen,
        )


def _check_shapes(X: np.ndarray, y: np.ndarray) -> None:  # noqa: N803
    if X.ndim == 0 or y.ndim == 0:
        name, given = ("X", X) if X.ndim == 0 else ("y", y)
        raise ValueError(f"{name} must have at least one axis, the samples; it is the single number {given[()]}")
    if X.size == 0 or y.size == 0:
        raise ValueError(f"there are no data: X has shape {X.shape}, y has shape {y.shape}")
    n_samples = X.shape[0] if X.ndim == 1 else X.shape[-2]
    if X.ndim == 2 and X.shape == y.shape and y.ndim == 2:
        raise ValueError(
            f"X and y both have shape {X.shape}, and a 2-D X is always (n_samples, n_features). For {X.shape[0]} fits of one feature give "
            "X[..., None]; for one X and many y give X[None]"
        )
    if y.shape[-1] != n_samples:
        hint = ""
        if y.ndim == 2 and y.shape[0] == n_samples and (y.shape[1] == 1 or X.ndim == 2):
            hint = "; the samples are the last axis of y" + (": give y[:, 0]" if y.shape[1] == 1 else ": give y.T for many targets")
        raise ValueError(f"X has {n_samples} samples (shape {X.shape}) but y has {y.shape[-1]} (shape {y.shape}){hint}")


@dataclass(frozen=True)
class FitOrder:
    """The order in which fits are computed: fits that share their data stand together.

    `shape` is the leading shape of the results, `pairs` the part of it along which the data differ. Fit f belongs to the pair
    (of an X and a y) f // n_cells.
    """

    shape: tuple[int, ...]
    pairs: tuple[int, ...]  # as many axes as shape; 1 where the data are shared

    @classmethod
    def of(cls, shape: tuple[int, ...], *data_leading: tuple[int, ...]) -> FitOrder:
        """Order the fits of `shape` whose data have these (reduced) leading shapes."""
        pairs = np.broadcast_shapes(*data_leading)
        return cls(shape, (1,) * (len(shape) - len(pairs)) + pairs)

    @property
    def n_fits(self) -> int:
        """Number of fits."""
        return math.prod(self.shape)

    @property
    def n_pairs(self) -> int:
        """Number of different pairs of an X and a y."""
        return math.prod(self.pairs)

    @property
    def n_cells(self) -> int:
        """Fits per pair."""
        return self.n_fits // self.n_pairs

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of `shape` in the order of computation: those of the pairs, then the others."""
        every = range(len(self.shape))
        return tuple(a for a in every if self.pairs[a] > 1) + tuple(a for a in every if self.pairs[a] == 1)

    def index(self, leading: tuple[int, ...], fits: np.ndarray) -> np.ndarray:
        """(m,) int64: the places of some fits in an array with these leading axes, flattened."""
        padded = (1,) * (len(self.shape) - len(leading)) + tuple(leading)
        if math.prod(padded) == 1:
            return np.zeros(len(fits), np.int64)
        if padded == self.shape and self.axes == tuple(range(len(self.shape))):
            return fits
        steps = [math.prod(padded[a + 1 :]) if padded[a] > 1 else 0 for a in range(len(padded))]
        result = np.zeros(len(fits), np.int64)
        for a in reversed(self.axes):
            fits, here = np.divmod(fits, self.shape[a])
            if steps[a]:
                result += here * steps[a]
        return result

    def pick(self, values: np.ndarray, fits: np.ndarray, n_last: int = 0) -> np.ndarray:
        """The values (leading axes broadcast against `shape`, then n_last axes of their own) of some fits: (m, …)."""
        leading = values.shape[: values.ndim - n_last]
        return values.reshape(-1, *values.shape[values.ndim - n_last :])[self.index(leading, fits)]

    def restore(self, values: np.ndarray) -> np.ndarray:
        """(n_fits, …) in the order of computation -> (shape…, …), without a copy."""
        tail = values.shape[1:]
        ordered = values.reshape((*(self.shape[a] for a in self.axes), *tail))
        back = np.argsort(self.axes) if self.axes else np.zeros(0, int)
        return ordered.transpose((*(int(a) for a in back), *range(len(self.shape), ordered.ndim)))
