"""Problem: X, y and weights, checked once and never copied whole; FitOrder: which fit stands where.

1. Axes along which an array is only repeated (stride 0, as from numpy.broadcast_to) count as shared: such data are read once.
2. The kernels read any layout. Data of another dtype, or whose leading axes no single stride runs through, are converted range by range;
   so are data in which neighbouring fits lie closer together than neighbouring samples (rasters, time first): read fit by fit they would
   use one number of every cache line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from .arguments import MOST, broadcast, read_array, read_choice, read_count, shown, without_repeats
from .arrays import Library, library_of
from .gpu_arrays import fetch, strided
from .shapes import check_shapes, check_weights, choose_dtype


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

    def take(self, first: int, stop: int, contiguous: bool = False) -> np.ndarray:
        """Items first … stop-1 as an aligned, read-only array of `dtype`: a view where that serves, else a C-contiguous copy; see 2."""
        part = self._given(first, stop)  # on a GPU only for a message: there the kernels take `flat`
        if contiguous or not self._serves(part) or items_interleave(part):
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is found as such
                part = np.require(part, dtype=self.dtype, requirements=["C", "A"])
            part = part.reshape(-1).reshape(part.shape)  # a view; axes of length 1 get the usual strides too: torch looks at them
        part.flags.writeable = False
        return part

    def view(self, first: int, stop: int) -> np.ndarray | None:
        """The same range in whatever layout it has; None where that needs a copy."""
        part = self._view(first, stop)
        if part is None or not self._serves(part):
            return None
        part.flags.writeable = False
        return part

    def flat(self) -> Any:
        """All items, (count, …): a view where one stride runs through them."""
        view = self._view(0, self.count)
        return self.array.reshape(self.count, *self.item) if view is None else view

    def bytes_to_copy(self, n_items: int, tiles: bool = True) -> int:
        """Memory that `take` (`convert`, without tiles) needs for so many items: 0 where there is a view."""
        serves, interleave = self._where_it_lies
        if serves and not (tiles and interleave):
            return 0
        size = self.dtype.itemsize + (self.array.itemsize if self._whole is None else 0)  # picked out, then converted
        return min(n_items, self.count) * math.prod(self.item) * size

    def convert(self, first: int, stop: int, target: np.ndarray) -> None:
        """Write items first … stop-1 into an array of `dtype`, without another copy where they can be run through with one stride."""
        with np.errstate(over="ignore"):
            np.copyto(target, self._given(first, stop), casting="unsafe")

    def _serves(self, part: np.ndarray) -> bool:
        """Whether the kernels can read it as it is."""
        return (
            part.dtype == self.dtype
            and getattr(part.flags, "aligned", True)
            and all(stride % part.itemsize == 0 for stride in part.strides)
        )

    def first_not_finite(self) -> tuple[int, tuple[int, ...], Any] | None:
        """(item, place in it, the value as it was given) of the first value that is not finite in `dtype`."""
        step = max(1, 2**20 // math.prod(self.item))
        for first in range(0, self.count, step):
            wrong = ~np.isfinite(self.take(first, min(first + step, self.count)))
            if wrong.any():
                offset, *where = (int(i) for i in np.argwhere(wrong)[0])
                index = (*(int(i) for i in np.unravel_index(first + offset, self.leading)), *where)
                return first + offset, tuple(where), fetch(self.array[index[: self.array.ndim]])[()]  # 1-D X has no feature axis
        return None

    def _given(self, first: int, stop: int) -> np.ndarray:
        """The range as it was given: a view, or else a copy."""
        part = self._view(first, stop)
        if part is not None:
            return fetch(part)
        return fetch(self.array)[np.unravel_index(np.arange(first, stop), self.leading)].reshape(stop - first, *self.item)

    def _view(self, first: int, stop: int) -> np.ndarray | None:
        """The range without a copy, or None where the leading axes cannot be run through with one stride."""
        return None if self._whole is None else self._whole[first:stop]

    @cached_property
    def _where_it_lies(self) -> tuple[bool, bool]:
        """Whether the kernels can read all items as they are, and whether these interleave."""
        return (False, False) if self._whole is None else (self._serves(self._whole), items_interleave(self._whole))

    @cached_property
    def _whole(self) -> np.ndarray | None:
        """The same of all items."""
        strides = self.array.strides
        moving = [a for a in range(len(self.leading)) if self.leading[a] > 1]
        if any(strides[a] != strides[b] * self.leading[b] for a, b in pairwise(moving)):
            return None
        step = strides[moving[-1]] if moving else 0
        item_strides = strides[len(self.leading) :]
        item_strides += (0,) * (len(self.item) - len(item_strides))  # 1-D X: its feature axis has length 1
        return strided(self.array, (self.count, *self.item), (step, *item_strides))


def items_interleave(part: np.ndarray) -> bool:
    """Whether neighbouring items lie closer together than an item's samples."""
    return len(part) > 1 and part.shape[1] > 1 and 0 < abs(part.strides[0]) < abs(part.strides[1])


def tile(array: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Items first … stop-1 of an array that `Items.view` gave, as `Items.take` would give them."""
    part = array[first:stop]
    if items_interleave(part):
        part = np.ascontiguousarray(part)
        part.flags.writeable = False
    return part


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


@dataclass(frozen=True)
class FitOrder:
    """The order in which fits are computed: fits that share their data stand together.

    `shape` is the leading shape of the results, `pairs` the part of it along which the data differ. Fit f belongs to the pair
    (of an X and a y) f // n_cells.
    """

    shape: tuple[int, ...]
    pairs: tuple[int, ...]  # as many axes as shape; 1 where the data are shared
    own_x: tuple[bool, ...]  # as many: the axes along which X (or its weights) differs

    @classmethod
    def of(cls, shape: tuple[int, ...], *data_leading: tuple[int, ...]) -> FitOrder:
        """Order the fits of `shape` whose data have these (reduced) leading shapes."""
        pairs = np.broadcast_shapes(*data_leading)
        x_leading = (1,) * (len(shape) - len(data_leading[0])) + data_leading[0]
        return cls(shape, (1,) * (len(shape) - len(pairs)) + pairs, tuple(length > 1 for length in x_leading))

    @cached_property
    def n_fits(self) -> int:
        """Number of fits."""
        return math.prod(self.shape)

    @cached_property
    def n_pairs(self) -> int:
        """Number of different pairs of an X and a y."""
        return math.prod(self.pairs)

    @cached_property
    def n_cells(self) -> int:
        """Fits per pair."""
        return self.n_fits // self.n_pairs

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Axes of `shape` in the order of computation: those along which X differs, those along which only y does, then the others."""
        rank = [(not own, pair == 1) for own, pair in zip(self.own_x, self.pairs, strict=True)]
        return tuple(sorted(range(len(self.shape)), key=lambda a: (rank[a], a)))

    @cached_property
    def natural(self) -> bool:
        """Whether the fits are computed in the order of their shape."""
        return self.axes == tuple(range(len(self.shape)))

    def index(self, leading: tuple[int, ...], fits: np.ndarray) -> np.ndarray:
        """(m,) int64: the places of some fits in an array with these leading axes, flattened."""
        padded = (1,) * (len(self.shape) - len(leading)) + tuple(leading)
        if math.prod(padded) == 1:
            return np.zeros(len(fits), np.int64)
        if padded == self.shape and self.natural:
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
        return values.reshape(math.prod(leading), *values.shape[values.ndim - n_last :])[self.index(leading, fits)]

    def pick_range(self, values: np.ndarray, first: int, stop: int, n_last: int = 0) -> np.ndarray:
        """The same of fits first … stop-1; of length 1 where all have the same."""
        leading, tail = values.shape[: values.ndim - n_last], values.shape[values.ndim - n_last :]
        if values.size == math.prod(tail):
            return values.reshape(1, *tail)
        if leading == self.shape and self.natural:
            return values.reshape(-1, *tail)[first:stop]
        return self.pick(values, np.arange(first, stop, dtype=np.int64), n_last)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """(n_fits, …) in the order of computation -> (shape…, …), without a copy."""
        tail = values.shape[1:]
        if self.natural:
            return values.reshape(self.shape + tail)
        ordered = values.reshape((*(self.shape[a] for a in self.axes), *tail))
        back = np.argsort(self.axes) if self.axes else np.zeros(0, int)
        return ordered.transpose((*(int(a) for a in back), *range(len(self.shape), ordered.ndim)))
