"""Problem: X, y and weights, checked once and never copied whole.

1. Axes along which an array is only repeated (stride 0, as from numpy.broadcast_to) count as shared: such data are read once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..input.arrays import Library, broadcast, fetch, library_of, read_array, without_repeats
from ..input.messages import counted, shown
from ..input.options import MOST, read_choice, read_count
from .fit_order import FitOrder
from .items import Items


def choose_dtype(X: np.ndarray, y: np.ndarray, dtype: Any) -> np.dtype:
    """float32 or float64: the one asked for, or the one that NumPy's promotion gives (16-bit floats are computed as float32)."""
    if dtype is not None:
        try:
            asked = np.dtype(dtype)
        except (TypeError, ValueError):
            asked = np.dtype(object)
        if asked not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
        return asked
    kinds = [np.dtype(np.float64) if a.dtype.kind in "iub" else a.dtype for a in (X, y)]
    result = np.result_type(*kinds)
    return np.dtype(np.float32) if result.itemsize < 4 else np.dtype(result.type)


def check_weights(weights: np.ndarray, X: np.ndarray, y: np.ndarray, n_samples: int, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes, with those of the weights."""
    if weights.ndim == 0 or weights.shape[-1] != n_samples:
        told = f"it has shape {weights.shape}" if weights.ndim else f"it is the single number {weights[()]}"
        raise ValueError(f"sample_weight must have shape (…, {n_samples}), a weight for each of the {n_samples:,} samples; {told}")
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
    """Refuse X and y that do not fit together, in words that say how to mend it."""
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


@dataclass(frozen=True)
class Problem:
    """The data of many fits."""

    X: Items
    y: Items
    weights: Items | None
    leading: tuple[int, ...]
    n_samples: int
    n_features: int
    one_feature: bool  # X was 1-D: results have no feature axis
    intercept: bool
    dtype: np.dtype
    library: Library  # that the data came in, and the results go back in
    nan_policy: str  # "raise", "omit" or "propagate"
    min_samples: int
    device: int | None = None  # the GPU that the data are on

    @property
    def n_parameters(self) -> int:
        """Number of features, and one for an intercept."""
        return self.n_features + self.intercept

    @property
    def gram_leading(self) -> tuple[int, ...]:
        """Leading axes of the different Gram matrices: of pairs of an X and weights."""
        return self.X.leading if self.weights is None else np.broadcast_shapes(self.X.leading, self.weights.leading)

    def item_of_gram(self, items: Items, numbers: np.ndarray) -> np.ndarray:
        """Which item (of X or the weights) each of these Gram matrices has; their numbers are those of the flattened `gram_leading`."""
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

    def where_not_finite(self) -> str:
        """A sentence that names the first datum that is not finite and counts."""
        if self.weights is not None:
            found = self._first_not_finite_that_counts()
        else:
            found = next(((name, *hit) for name, items in (("X", self.X), ("y", self.y)) if (hit := items.first_not_finite())), None)
        if found is None:
            raise AssertionError("the data are finite, but their moments are not: please report this")
        name, item, (row, *column), value = found
        feature = f", feature {column[0]}" if column and not self.one_feature else ""
        items = {"X": self.X, "y": self.y, "sample_weight": self.weights}[name]
        assert items is not None
        where = f"in row {row}{feature}{self._fit_named(items, item)}"
        if np.isfinite(value):
            return f"{name} is too large for {self.dtype}: {value:g} {where}; give dtype='float64'"
        return (
            f"{name} is not finite: {value:g} {where}. Clean the data, or give nan_policy='omit' to leave such samples out, "
            "or 'propagate' to get NaN for such fits alone"
        )

    def where_negative(self) -> str:
        """A sentence that names the first negative weight."""
        assert self.weights is not None
        for item in range(self.weights.count):
            weights = self.weights.take(item, item + 1)[0]
            for row in np.flatnonzero((weights < 0) & np.isfinite(weights)):
                return f"sample_weight must be at least 0; it is {weights[row]:g} in row {row}{self._fit_named(self.weights, item)}"
        raise AssertionError("no weight is negative: please report this")

    def _first_not_finite_that_counts(self) -> tuple[str, int, tuple[int, ...], Any] | None:
        """(name, item, place in it, value) of the first such datum whose sample has a weight that is not 0."""
        assert self.weights is not None
        order = FitOrder.of(self.leading, self.gram_leading, self.y.leading)
        step = max(1, 2**20 // (self.n_samples * self.n_features))
        for first in range(0, order.n_pairs, step):
            pairs = np.arange(first, min(first + step, order.n_pairs)) * order.n_cells
            index = {name: order.index(items.leading, pairs) for name, items in self._named()}
            weights = np.concatenate([self.weights.take(int(i), int(i) + 1) for i in index["sample_weight"]])
            for name, items in self._named():
                data = np.concatenate([items.take(int(i), int(i) + 1) for i in index[name]])
                counts = (weights != 0).reshape(*weights.shape, *(1,) * (data.ndim - 2))
                wrong = np.argwhere(~np.isfinite(data) & counts)
                if len(wrong):
                    place, *where = (int(i) for i in wrong[0])
                    item = int(index[name][place])
                    given = (*(int(i) for i in np.unravel_index(item, items.leading)), *where)
                    return name, item, tuple(where), fetch(items.array[given[: items.array.ndim]])[()]
        return None

    def _named(self) -> list[tuple[str, Items]]:
        weights = [] if self.weights is None else [("sample_weight", self.weights)]
        return [*weights, ("X", self.X), ("y", self.y)]

    def _fit_named(self, items: Items, item: int) -> str:
        """Which fit the item belongs to, in the user's indices: the first one where many share it."""
        n_fits = math.prod(self.leading)
        if n_fits == 1:
            return ""
        index = tuple(int(i) for i in np.unravel_index(item, items.leading))
        padded = (0,) * (len(self.leading) - len(index)) + index
        return f" of fit {padded[0] if len(padded) == 1 else padded} of {n_fits:,}"

    @classmethod
    def read(
        cls,
        X: Any,
        y: Any,
        *,
        intercept: bool,
        dtype: Any,
        sample_weight: Any = None,
        nan_policy: Any = "raise",
        min_samples: Any = None,
        device: int | None = None,
    ) -> Problem:
        """Check the user's data and lay them out. Those on the GPU `device` stay there."""
        if not isinstance(intercept, bool | np.bool_):
            raise TypeError(f"intercept must be True or False, not {shown(intercept)}; a starting value is given as intercept0")
        library = library_of(X=X, y=y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
        X, y = read_array(X, "X", device=device), read_array(y, "y", device=device)
        check_shapes(X, y)
        weights = None if sample_weight is None else read_array(sample_weight, "sample_weight", device=device)
        nan_policy = read_choice(nan_policy, "nan_policy", ("raise", "omit", "propagate"))
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
            fits = " × ".join(map(str, leading)) or 1
            raise ValueError(
                f"X and y are too many numbers: {fits} fits × {n_samples} samples × {n_features} features is more than 2^63 bytes"
            )
        X, y = without_repeats(X, 1 if one_feature else 2), without_repeats(y, 1)
        weights = None if weights is None else without_repeats(weights, 1)
        return cls(
            Items(X, X.shape[: X.ndim - (1 if one_feature else 2)], (n_samples, n_features), chosen),
            Items(y, y.shape[:-1], (n_samples,), chosen),
            None if weights is None else Items(weights, weights.shape[:-1], (n_samples,), chosen),
            leading, n_samples, n_features, one_feature, bool(intercept), chosen, library, nan_policy, least, device,
        )  # fmt: skip
