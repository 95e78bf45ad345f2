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
from ..input.arrays import Arrived, Library
from ..input.messages import counted, shown
from ..input.options import MOST, read_choice, read_count
from ..input.shapes import broadcast, without_repeats
from .items import Items


def choose_dtype(X: np.ndarray, y: np.ndarray, dtype: Any) -> np.dtype:
    """float32 or float64: as asked for, or as NumPy promotes X and y (16-bit floats to float32)."""
    if dtype is not None:
        try:
            asked = np.dtype(dtype)
        except (TypeError, ValueError):
            asked = np.dtype(object)
        if asked not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
        return asked
    if X.dtype == y.dtype and X.dtype.name in ("float32", "float64"):
        return np.dtype(X.dtype.type)
    kinds = [np.dtype(np.float64) if a.dtype.kind in "iub" else a.dtype for a in (X, y)]
    result = np.result_type(*kinds)
    return np.dtype(np.float32) if result.itemsize < 4 else np.dtype(result.type)


def check_weights(weights: np.ndarray, X: np.ndarray, y: np.ndarray, n_samples: int, leading: tuple[int, ...]) -> tuple[int, ...]:
    """Check the shape of the weights; return `leading` broadcast with their leading axes."""
    if weights.ndim == 0 or weights.shape[-1] != n_samples:
        actual = f"it has shape {weights.shape}" if weights.ndim else f"it is the single number {weights[()]}"
        raise ValueError(f"sample_weight must have shape (..., {n_samples}), a weight for each of the {n_samples:,} samples; {actual}")
    if weights.size == 0:
        raise ValueError(f"sample_weight is empty, it has shape {weights.shape}")
    try:
        return broadcast({"": leading, "sample_weight": weights.shape[:-1]})
    except ValueError:
        raise ValueError(
            f"leading axes do not broadcast against each other: sample_weight has shape {weights.shape}, so {weights.shape[:-1]} fits, "
            f"X has shape {X.shape}, y has shape {y.shape}: {leading} fits"
        ) from None


def check_shapes(X: np.ndarray, y: np.ndarray) -> None:
    """Raise if the shapes of X and y do not match; the message says what to give instead."""
    for name, given in (("X", X), ("y", y)):
        if given.ndim == 0:
            raise ValueError(f"{name} must have at least one axis, the samples; it is the single number {given[()]}")
        if given.size == 0:
            raise ValueError(f"{name} is empty, it has shape {given.shape}; at least one sample, one feature and one fit are needed")
    n_samples = X.shape[0] if X.ndim == 1 else X.shape[-2]
    if X.ndim == 2 and X.shape == y.shape:
        raise ValueError(
            f"X and y both have shape {X.shape}, and a 2-D X is always (n_samples, n_features). "
            f"For {counted(X.shape[0], 'fit')} of one feature give X[..., None]; for one X and many y give X[None]"
        )
    if y.shape[-1] != n_samples:
        hint = ""
        if y.ndim == 2 and y.shape[0] == n_samples:
            hint = "; the samples are the last axis of y: give " + ("y[:, 0]" if y.shape[1] == 1 else "y.T for many targets")
        elif X.ndim == 2 and y.shape[-1] == X.shape[1]:
            hint = "; a 2-D X is always (n_samples, n_features): for many fits of one feature give X[..., None]"
        raise ValueError(f"X has {counted(n_samples, 'sample')} (shape {X.shape}) but y has {y.shape[-1]:,} (shape {y.shape}){hint}")


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

    @property
    def n_parameters(self) -> int:
        """Number of features, and one for an intercept."""
        return self.n_features + self.intercept

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
    def read(
        cls,
        arrived: Arrived,
        *,
        intercept: bool,
        dtype: Any,
        nan_policy: Any = "raise",
        min_samples: Any = None,
    ) -> Problem:
        """Check X, y and perhaps sample_weight. Data on a GPU stay there."""
        if not isinstance(intercept, bool | np.bool_):
            raise TypeError(f"intercept must be True or False, not {shown(intercept)}; a starting value is given as intercept0")
        X, y = arrived.read("X"), arrived.read("y")
        check_shapes(X, y)
        weights = None if arrived.given.get("sample_weight") is None else arrived.read("sample_weight")
        nan_policy = read_choice(nan_policy, "nan_policy", get_args(NanPolicy))
        least = 1 if min_samples is None else read_count(min_samples, "min_samples", 1)
        one_feature = X.ndim == 1
        n_samples = X.shape[0] if one_feature else X.shape[-2]
        n_features = 1 if one_feature else X.shape[-1]
        chosen = choose_dtype(X, y, dtype)
        x_leading = () if one_feature else X.shape[:-2]
        try:
            leading = broadcast({"X": x_leading, "y": y.shape[:-1]})
        except ValueError:
            raise ValueError(
                "leading axes do not broadcast against each other: "
                f"X has shape {X.shape}, so {x_leading} fits, y has shape {y.shape}, so {y.shape[:-1]}"
            ) from None
        if n_samples >= 2**31 and (weights is not None or nan_policy == "omit"):
            raise ValueError(f"fits of 2^31 samples or more cannot leave samples out; X has {n_samples:,}")
        if weights is not None:
            leading = check_weights(weights, X, y, n_samples, leading)
        if n_samples * n_features * math.prod(leading) * chosen.itemsize > MOST:
            fits = " x ".join(map(str, leading)) or 1
            raise ValueError(
                f"X and y are too many numbers: {fits} fits x {n_samples} samples x {n_features} features is more than 2^63 bytes"
            )
        X, y = without_repeats(X, 1 if one_feature else 2), without_repeats(y, 1)
        weights = None if weights is None else without_repeats(weights, 1)
        return cls(
            Items(X, X.shape[: X.ndim - (1 if one_feature else 2)], (n_samples, n_features), chosen),
            Items(y, y.shape[:-1], (n_samples,), chosen),
            None if weights is None else Items(weights, weights.shape[:-1], (n_samples,), chosen),
            leading, n_samples, n_features, one_feature, bool(intercept), chosen, arrived.library, nan_policy, least, arrived.device,
        )  # fmt: skip
