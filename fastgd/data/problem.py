"""Problem: X, y and weights, checked once and never copied as a whole.

Data that are repeated along an axis (stride 0, as from numpy.broadcast_to) count as shared, and are
read once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ..input.annotations import NanPolicy
from ..input.arrays import NUMPY, Arrived, Library
from ..input.messages import shown, where_arrays
from ..input.missing import Numbers, read_nodata, refuse_impossible
from ..input.options import MOST, read_choice, read_count, read_dtype
from ..input.reading import names_of_columns
from ..input.shapes import axes_that_repeat, broadcast, without_repeats
from .axes import bring_samples_into_place, check_shapes, check_weights
from .items import Items

DATA = ("X", "y", "sample_weight")
NAN_POLICIES = get_args(NanPolicy)


def choose_dtype(X: np.ndarray, y: np.ndarray, dtype: Any) -> np.dtype:
    """float32 or float64: as asked for, or as NumPy promotes X and y (16-bit floats to float32)."""
    if dtype is not None:
        return read_dtype(dtype)
    if X.dtype == y.dtype and X.dtype.type in (np.float32, np.float64):
        return np.dtype(X.dtype.type)
    kinds = [np.dtype(np.float64) if a.dtype.kind in "iub" else a.dtype for a in (X, y)]
    result = np.result_type(*kinds)
    return np.dtype(np.float32) if result.itemsize < 4 else np.dtype(result.type)


@dataclass
class Problem:
    """The checked data of many fits."""

    X: Items  # items (n_samples, n_features)
    y: Items  # items (n_samples,)
    weights: Items | None  # items (n_samples,)
    leading: tuple[int, ...]  # leading axes of X, y and weights, broadcast
    n_samples: int
    n_features: int
    one_feature: bool  # X was 1-D: results have no feature axis
    intercept: bool
    dtype: np.dtype  # of the computation: float32 or float64
    library: Library  # of the data and of the results
    nan_policy: str  # "raise", "omit" or "propagate"
    min_samples: int  # fits with fewer kept samples are not computed
    device: int | None = None  # number of the GPU that the data are on; None: the computer's memory
    given: Any = None  # results.moments.Moments in place of samples: X and y are empty
    features: tuple[str, ...] | None = None  # names of the columns of X

    @property
    def n_parameters(self) -> int:
        """Number of features, and one for an intercept."""
        return self.n_features + self.intercept

    @property
    def usual_samples(self) -> float:
        """How many samples a fit has on average; how the work is cut depends on it, no bit does."""
        return float(self.n_samples)

    @property
    def is_weighted(self) -> bool:
        """Whether samples have weights."""
        return self.weights is not None if self.given is None else bool(self.given.weighted)

    @property
    def gram_leading(self) -> tuple[int, ...]:
        """Leading axes of the Gram matrices: those of X and weights, broadcast."""
        return self.X.leading if self.weights is None else np.broadcast_shapes(self.X.leading, self.weights.leading)

    def item_of_gram(self, items: Items, numbers: np.ndarray) -> np.ndarray:
        """(m,) int64: which of `items` each of these Gram matrices is made from.

        numbers: (m,) positions of Gram matrices in the flattened `gram_leading`.
        """
        shape = self.gram_leading
        padded = (1,) * (len(shape) - len(items.leading)) + items.leading
        result = np.zeros(len(numbers), np.int64)
        for axis, place in enumerate(np.unravel_index(numbers, shape) if shape else ()):
            if padded[axis] > 1:
                result += place * math.prod(padded[axis + 1 :])
        return result

    @property
    def may_lose_samples(self) -> bool:
        """Whether some fits may have fewer samples than others."""
        return self.weights is not None or self.nan_policy == "omit"

    @classmethod
    def of_moments(cls, moments: Any, least: int) -> Problem:
        """The problem of compressed data. moments: results.moments.Moments; least: min_samples."""
        pairs, d, dtype = moments.n_used.shape, moments.n_features, np.dtype(moments.dtype)
        X, y = np.empty((*pairs, 0, d), dtype), np.empty((*pairs, 0), dtype)
        return cls(
            Items(X, pairs, (0, d), dtype), Items(y, pairs, (0,), dtype), None, moments.leading, 0, d, moments.one_feature,
            moments.intercept, dtype, NUMPY, "raise", least, given=moments,
        )  # fmt: skip

    @classmethod
    def read(
        cls,
        arrived: Arrived,
        *,
        intercept: bool,
        dtype: Any,
        nan_policy: Any = "raise",
        min_samples: Any = None,
        nodata: Any = None,
    ) -> Problem:
        """Check X, y and perhaps sample_weight. Data on a GPU stay there."""
        if not isinstance(intercept, bool | np.bool_):
            raise TypeError(f"intercept must be True or False, not {shown(intercept)}; a starting value is given as intercept0")
        of_x, of_y, of_weights = read_data(arrived, nodata)
        X, y = of_x.array, of_y.array
        try:
            check_shapes(X, y)
        except ValueError as error:
            raise ValueError(where_arrays(str(error), arrived.given)) from None
        nan_policy = read_choice(nan_policy, "nan_policy", NAN_POLICIES)
        one_feature = X.ndim == 1
        n_samples = X.shape[0] if one_feature else X.shape[-2]
        n_features = 1 if one_feature else X.shape[-1]
        default = n_features + bool(intercept) if nan_policy == "omit" else 1
        least = default if min_samples is None else read_count(min_samples, "min_samples", 1)
        chosen = choose_dtype(X, y, dtype)
        x_leading = () if one_feature else X.shape[:-2]
        try:
            leading = broadcast({"X": x_leading, "y": y.shape[:-1]}) if x_leading or y.ndim > 1 else ()
        except ValueError:
            raise ValueError(
                "leading axes do not broadcast against each other: "
                f"X has shape {X.shape}, so {x_leading} fits, y has shape {y.shape}, so {y.shape[:-1]}"
            ) from None
        if n_samples >= 2**31 and (of_weights is not None or nan_policy == "omit"):
            raise ValueError(f"fits of 2^31 samples or more cannot leave samples out; X has {n_samples:,}")
        if of_weights is not None:
            try:
                leading = check_weights(of_weights.array, X, y, n_samples, leading)
            except ValueError as error:
                raise ValueError(where_arrays(str(error), arrived.given)) from None
        if n_samples * n_features * math.prod(leading) * chosen.itemsize > MOST:
            fits = " x ".join(map(str, leading)) or 1
            raise ValueError(
                f"X and y are too many numbers: {fits} fits x {n_samples} samples x {n_features} features is more than 2^63 bytes"
            )
        return cls(
            items_of(of_x, 1 if one_feature else 2, (n_samples, n_features), chosen),
            items_of(of_y, 1, (n_samples,), chosen),
            None if of_weights is None else items_of(of_weights, 1, (n_samples,), chosen),
            leading, n_samples, n_features, one_feature, bool(intercept), chosen, arrived.library, nan_policy, least, arrived.device,
            features=names_of_columns(arrived.given["X"], n_features),
        )  # fmt: skip


def read_data(arrived: Arrived, nodata: Any) -> tuple[Numbers, Numbers, Numbers | None]:
    """X, y and the weights (None where none were given), with the samples in their places."""
    given = DATA if arrived.given.get("sample_weight") is not None else DATA[:2]
    asked = {} if nodata is None else read_nodata(nodata, DATA)
    numbers = {name: arrived.read(name, asked.get(name, ())) for name in given}
    if asked:
        refuse_impossible(asked, numbers)
    X, y, weights = numbers["X"], numbers["y"], numbers.get("sample_weight")
    bring_samples_into_place(X, y, weights)
    return X, y, weights


def items_of(numbers: Numbers, n_last: int, item: tuple[int, ...], dtype: np.dtype) -> Items:
    """The items of an array; axes along which numbers and mask only repeat have length 1."""
    array, mask = numbers.array, numbers.mask
    if mask is None:
        array = without_repeats(array, n_last)
        return Items(array, array.shape[: array.ndim - n_last], item, dtype, nodata=numbers.nodata)
    index = axes_that_repeat(n_last, array, mask)
    array, mask = array[index], mask[index]
    leading = array.shape[: array.ndim - n_last]
    return Items(array, leading, item, dtype, Items(mask, leading, item, np.dtype(bool)), numbers.nodata)
