"""The data of some fits on a device: what is uploaded, which samples are kept, the moments.

1. An item is a distinct set of X, y, weights and kept samples. Data that several fits share are
   uploaded and compressed once per item.
2. Indices that would only count up (0, 1, 2, …) are neither made nor uploaded: see work.cuh.
3. Good data are read once: all items are compressed as if nothing were missing; only items whose
   moments are not finite are searched for missing numbers, and compressed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..chunk import W_EXPONENT, W_HIGH, W_LEAST, W_LOW, Chunk
from .header import CANCELLED, CHUNK, FINE, LANES, NEGATIVE, NOT_FINITE, work_fields
from .specialised import TYPES, compress_name

THREADS = 128  # of a block
MOST_BLOCKS = 2**31 - 1
OF_FITS = frozenset(  # the numbers of struct Work that kernels about data alone do not read
    (
        "n_fits",
        "sums",
        "epochs",
        "every",
        "n_rows",
        "n_rates",
        "n_hyper",
        "n_decayed",
        "tol",
        "size_of_batch",
        "drop_last",
        "rate_per_step",
        "n_batch_losses",
    )
)
STRAIGHT_BLOCKS = 2**14  # of `compress` where there is nothing to be looked up: enough for every GPU, each with many items


class Device(Protocol):
    """What the backend needs of a machine."""

    out_of_memory: type[BaseException]
    epochs_per_launch: int | None  # None: as many as 100 ms allow
    operations_per_second: float  # of float64, all lanes together: a guess for the length of the first launch
    tell: Callable[[str], object]  # called with what is being compiled, and with "" when that is done

    def upload(self, array: Any, dtype: Any = None, alignment: int = 8) -> Any:
        """A C-contiguous array of that dtype on the device, at a multiple of `alignment` bytes.

        The array itself where it is one, else a copy.
        """

    def copy(self, array: Any) -> Any:
        """A copy of an array that is on the device."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new array on the device, not initialised."""

    def fill(self, array: Any, byte: int) -> None:
        """Set every byte: 0, or 0xFF, which is −1 in integers and NaN in floats."""

    def address(self, array: Any) -> int:
        """The address of an array on the device."""

    def download(self, array: Any, into: Any) -> None:
        """Copy into a NumPy array or another array on the device, and wait for it."""

    def launch(self, file: str, name: str, grid: tuple[int, int], threads: int, arguments: tuple[np.generic | Any, ...]) -> None:
        """Launch a kernel; arguments, NumPy scalars or arrays of one element, go by value."""

    def wait(self) -> None:
        """Wait for all launches."""

    def free_bytes(self) -> int:
        """Bytes of memory that can still be taken."""


def find_items(chunk: Chunk) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(first fit of each item, item of each fit); (None, None) where every fit has its own."""
    if len(chunk.y_index) < 2 or (chunk.y_index[1:] > chunk.y_index[:-1]).all():
        return None, None
    key = chunk.x_index * len(chunk.y) + chunk.y_index
    if len(chunk.weights):
        key = key * len(chunk.weights) + chunk.weight_index
    if len(chunk.kept):
        key = key * (len(chunk.kept) + 1) + chunk.kept_index + 1
    if (key[1:] >= key[:-1]).all():  # fits that share their data stand together
        starts = np.concatenate([[True], key[1:] != key[:-1]])
        if starts.all():
            return None, None
        return np.flatnonzero(starts), np.cumsum(starts) - 1
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse


def counts_up(places: np.ndarray) -> bool:
    """Whether these are 0, 1, 2, …."""
    return bool(places[0] == 0 and places[-1] == len(places) - 1 and (np.diff(places) == 1).all())


class Arrays:
    """Arrays on a device and numbers, by their names in struct Work; also those of `below`."""

    not_read: frozenset[str] = frozenset()  # numbers that no kernel reads which is launched here

    def __init__(self, device: Device, below: Arrays | None = None) -> None:
        self.device, self.below = device, below
        self.arrays: dict[str, Any] = {}
        self.values: dict[str, Any] = {}  # numbers

    def put(self, name: str, array: Any, dtype: Any = None, alignment: int = 8) -> None:
        """Upload an array under this name, if it is not on the device already."""
        self.arrays.pop(name, None)  # first, so that both are never there
        self.arrays[name] = self.device.upload(array, dtype, alignment)

    def allocate(self, name: str, shape: tuple[int, ...], dtype: Any, byte: int | None = None) -> None:
        """Allocate an array under this name, filled with `byte` where that is given."""
        self.arrays.pop(name, None)
        self.arrays[name] = self.device.empty(shape, dtype)
        if byte is not None:
            self.device.fill(self.arrays[name], byte)

    def launch(self, file: str, name: str, grid: tuple[int, int] | int, threads: int, *arguments: np.generic) -> None:
        """Launch a kernel with all arrays and numbers."""
        grid = grid if isinstance(grid, tuple) else (grid, 1)
        if max(grid) > MOST_BLOCKS or grid[1] > 65535:
            raise ValueError(f"{name} would need {grid} blocks: fit a part of the batch at a time")
        self.device.launch(file, name, grid, threads, (self._pack(), *arguments))

    def read(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A copy of an array of the device."""
        result = np.empty(shape, dtype)
        self.device.download(self.arrays[name], result)
        return result

    def _layers(self) -> Iterator[Arrays]:
        if self.below is not None:
            yield from self.below._layers()
        yield self

    def _pack(self) -> np.ndarray:
        """struct Work as an array of one element, which is passed by value.

        An array that is not there is a null pointer, which kernels ask about; every number that a
        kernel may read must be there.
        """
        arrays = {name: array for layer in self._layers() for name, array in layer.arrays.items()}
        values = {name: value for layer in self._layers() for name, value in layer.values.items()}
        fields = work_fields()
        packed = np.zeros(len(fields), np.int64)
        for place, (kind, field) in enumerate(fields):
            if kind == "pointer":
                packed[place] = self.device.address(arrays[field]) if field in arrays else 0
            elif field in self.not_read:
                continue
            elif field not in values:
                raise LookupError(f"struct Work has the number {field}, and {type(self).__name__} launches a kernel without it")
            elif kind == "double":
                packed[place : place + 1].view(np.float64)[0] = values[field]
            else:
                packed[place] = values[field]
        return packed.view(np.dtype((np.void, packed.nbytes)))


class GivenMoments(NamedTuple):
    """Moments of pairs of an X and a y in place of samples, as kernels/cpu/records.py has them."""

    gram: np.ndarray  # (n_gram, planes, D(D+1)/2)
    weighing: np.ndarray  # (n_gram, 4)
    gram_index: np.ndarray  # (n_pairs,)
    target: np.ndarray  # (n_pairs, planes, D+1)
    exponents: np.ndarray  # (n_pairs, D+1)


class Data(Arrays):
    """The items of a chunk on a device: data, sums of weights, moments."""

    not_read = OF_FITS

    def __init__(self, device: Device, chunk: Chunk, representatives: np.ndarray | None) -> None:
        super().__init__(device)
        chosen = slice(None) if representatives is None else representatives
        self.dtype = chunk.w_out.dtype
        self.real = TYPES[np.dtype(self.dtype)]
        self.planes = 1 if self.real == "float" else 2
        self.n_items = len(chunk.n_used[chosen])
        self.n_samples, self.n_features = chunk.X.shape[1:]
        self.n_parameters, self.intercept = chunk.w.shape[1], bool(chunk.intercept)
        self.n_entries = (self.n_parameters + 1) * (self.n_parameters + 2) // 2
        self.used = chunk.n_used[chosen]
        self.weighted, self.n_chunks = len(chunk.weights) > 0, 0
        self.invalid = self.negative = np.zeros(self.n_items, bool)  # data that are not finite, weights below 0
        self._pairs = np.empty(0, np.int64)  # of items that have moments alone
        self.doubtful = self.invalid  # moments that lost too much as they were standardised
        row = self.n_features * self.dtype.itemsize
        if self.n_samples:  # X and y stay null pointers where there are only moments
            self.put("X", chunk.X, self.dtype, 16 if row % 16 == 0 else self.dtype.itemsize)  # as the widest loads of `compress` need it
            self.put("y", chunk.y, self.dtype, self.dtype.itemsize)
        self._places = {"X": ("x_index", chunk.x_index[chosen]), "y": ("y_index", chunk.y_index[chosen])}
        self._put_places("item_x", chunk.x_index[chosen], len(chunk.X))
        self._put_places("item_y", chunk.y_index[chosen], len(chunk.y))
        if self.weighted:
            self.put("weights", chunk.weights, self.dtype, self.dtype.itemsize)
            self._places["weights"] = ("weight_index", chunk.weight_index[chosen])
            self._put_places("item_weights", chunk.weight_index[chosen], len(chunk.weights))
        if len(chunk.kept):
            self.put("kept", chunk.kept, np.int32, 4)
            self.put("item_kept", chunk.kept_index[chosen])
        self.values = {
            "n_items": self.n_items, "n_chosen": self.n_items, "n_samples": self.n_samples, "n_features": self.n_features,
            "n_parameters": self.n_parameters, "intercept": int(self.intercept), "n_spans": -(-self.n_samples // CHUNK),
            "n_chunks": 0,  # of moments that are not made yet
        }  # fmt: skip
        self._put_used()

    def _put_places(self, name: str, places: np.ndarray, count: int) -> None:
        if count == 1:
            self.allocate(name, (self.n_items,), np.int64, 0)
        elif not counts_up(places):
            self.put(name, places)

    def _put_used(self) -> None:
        if (self.used == self.n_samples).all():
            self.arrays.pop("used", None)
        else:
            self.put("used", self.used)

    def _choose(self, items: np.ndarray | None) -> None:
        """Choose the items of the next launches; None: all."""
        self.arrays.pop("chosen", None)
        if items is not None:
            self.put("chosen", items)
        self.values["n_chosen"] = self.n_items if items is None else len(items)

    def leave_out(self, omit: bool, items: np.ndarray | None = None, check_finite: bool = False) -> np.ndarray:
        """Leave out samples of these items, or of all.

        Those of weight 0; with `omit` also those whose weight is not finite; with `check_finite`
        also those whose X or y is not. Returns (items,) int8: FINE, NEGATIVE or NOT_FINITE, of the
        weights.
        """
        counts, faults = self._count(omit, items, check_finite)
        self.used = np.array(self.used)
        self.used[slice(None) if items is None else items] = counts
        lost = np.flatnonzero(self.used < self.n_samples)
        self._put_used()
        if len(lost):
            rows = np.full(self.n_items, -1, np.int64)
            rows[lost] = np.arange(len(lost))
            self.allocate("kept", (len(lost), self.n_samples), np.int32)
            self.put("item_kept", rows)
            self._count(omit, lost, None)
            self._choose(lost)
            self.launch("missing.cu", f"find_kept<{self.real}>", self._spans_of(len(lost)), THREADS, np.int32(omit), np.int32(1))
        for name in ("counts", "faults", "chosen"):
            self.arrays.pop(name, None)
        return faults

    def not_finite(self, omit: bool) -> np.ndarray:
        """(n_items,) bool: whether X or y of a kept sample is not finite; without moments."""
        counts, _ = self._count(omit, None, True)
        return counts < self.used

    def _spans_of(self, count: int) -> int:
        return -(-count * int(self.values["n_spans"]) // 4)

    def _count(self, omit: bool, items: np.ndarray | None, check_finite: bool | None) -> tuple[np.ndarray, np.ndarray]:
        """(kept samples of each item, faults). check_finite None: as before for each item."""
        self._choose(items)
        shape = self.values["n_chosen"], self.values["n_spans"]
        if check_finite or (check_finite is not None and "check_finite" in self.arrays):
            checks = np.zeros(self.n_items, np.int8)
            checks[slice(None) if items is None else items] = check_finite
            self.put("check_finite", checks)
        self.allocate("counts", shape, np.int32)
        self.allocate("faults", shape, np.int8)
        self.launch("missing.cu", f"find_kept<{self.real}>", self._spans_of(shape[0]), THREADS, np.int32(omit), np.int32(0))
        counts, faults = self.read("counts", shape, np.int32), self.read("faults", shape, np.int8)
        negative, bad = (faults == NEGATIVE).any(axis=1), (faults == NOT_FINITE).any(axis=1)
        return counts.sum(axis=1, dtype=np.int64), np.where(negative, NEGATIVE, np.where(bad, NOT_FINITE, FINE))

    def weigh(self, items: np.ndarray | None = None) -> None:
        """Make the sums of the weights of these items, or of all."""
        if items is None:
            self.allocate("weight_sum", (self.n_items, 2), np.float64)
            for name in ("weight_total", "weight_least"):
                self.allocate(name, (self.n_items,), np.float64)
            self.allocate("weight_exponent", (self.n_items,), np.int64)
        self._choose(items)
        self.launch("compress.cu", f"weigh<{self.real}>", -(-self.values["n_chosen"] // 4), THREADS)

    def compress(self, items: np.ndarray | None = None) -> None:
        """Make the moments of these items, or of all."""
        if items is None:
            self.n_chunks = max(1, -(-int(self.used.max(initial=1)) // CHUNK))
            self.allocate("moments", (self.n_items, self.n_chunks, self.planes, self.n_entries), np.float64)
            if self.planes == 2:
                self.allocate("exponents", (self.n_items, self.n_chunks, self.n_parameters + 1), np.int64)
            self.values["n_chunks"] = self.n_chunks
        self._choose(items)
        chosen, columns = self.values["n_chosen"], self.n_parameters + 1
        units = chosen * self.n_chunks
        name = compress_name(self.real, self.n_features, self.intercept)
        if name:
            shift = min(5, max(0, int(self.used.max()) - 1).bit_length())
            blocks, straight = -(-(units << shift) // THREADS), 0
            looked_up = {"item_x", "item_y", "item_kept", "used", "chosen"} & self.arrays.keys()
            if self.planes == 1 and shift == 5 and self.n_chunks == 1 and not (looked_up or self.weighted):
                blocks = min(blocks, STRAIGHT_BLOCKS)
                straight = blocks * (THREADS // LANES)
            self.launch("compress.cu", name, blocks, THREADS, np.int32(shift), np.int64(straight))
        else:
            tiles = -(-columns // 16)
            if self.planes == 2:
                self.launch("compress.cu", f"find_exponents<{self.real}>", (units, -(-columns // THREADS)), THREADS)
            self.launch("compress.cu", f"compress_any<{self.real}>", (units, tiles * (tiles + 1) // 2), 256)
        if self.n_chunks > 1:
            self.launch("compress.cu", f"join<{self.real}>", chosen, 256)

    def put_moments(self, given: GivenMoments, pairs: np.ndarray) -> None:
        """Upload the moments of all items; pairs (n_items,): which of those that are given."""
        self._pairs, grams = pairs, given.gram_index[pairs]
        self.n_chunks = self.values["n_chunks"] = 1
        self.put("moments", np.concatenate([given.gram[grams], given.target[pairs]], axis=2))
        if self.planes == 2:
            self.put("exponents", given.exponents[pairs])
        weighing = given.weighing[grams]
        self.put("weight_sum", weighing[:, [W_HIGH, W_LOW]])
        self.put("weight_exponent", weighing[:, W_EXPONENT].astype(np.int64))
        self.put("weight_least", weighing[:, W_LEAST])

    def moments_not_finite(self) -> np.ndarray:
        """(n_items,) bool: whether the moments, and so the data, are not finite."""
        self.allocate("faults", (self.n_items,), np.int8)
        self.launch("missing.cu", f"find_invalid<{self.real}>", -(-self.n_items // THREADS), THREADS)
        return self.read("faults", (self.n_items,), np.int8) == NOT_FINITE

    def standardize(self, chunk: Chunk, representatives: np.ndarray | None, given: bool) -> np.ndarray:
        """Make the moments those of standardised features, and their center and scale.

        given: those in the chunk are taken where they are not NaN. Returns (n_items,) bool: whether
        the moments of an item lost too much.
        """
        for name in ("center", "scale"):
            shape = self.n_items, self.n_features
            if given:
                values = np.empty(getattr(chunk, name).shape)
                self.device.download(getattr(chunk, name), values)
                self.put(f"item_{name}", values if representatives is None else values[representatives])
            else:
                self.allocate(f"item_{name}", shape, np.float64, 0xFF)
        self.allocate("faults", (self.n_items,), np.int8)
        group = np.int32(min(LANES, 1 << (self.n_features - 1).bit_length()))
        self.launch("standardize.cu", f"standardize<{self.real}>", -(-self.n_items * int(group) // THREADS), THREADS, group)
        return self.read("faults", (self.n_items,), np.int8) == CANCELLED

    def samples_of(self, items: np.ndarray) -> dict[str, Any]:
        """All samples of these items in the computer's memory, by their names in Samples.

        Of items that have moments alone, which pairs they are: y_index.
        """
        m, n = len(items), self.n_samples
        if n == 0:
            return {"y_index": self._pairs[items], "n_used": self.used[items]}
        found: dict[str, Any] = {
            "weights": np.empty((0, n), self.dtype), "weight_index": np.zeros(m, np.int64),
            "kept": np.empty((0, n), np.int32), "kept_index": np.full(m, -1), "n_used": np.full(m, n),
        }  # fmt: skip
        for name, (index, places) in self._places.items():
            found[name], found[index] = self._fetch(name, places[items])
        return found

    def _fetch(self, name: str, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of an array of the device, and the number among them of each of these places."""
        array, (rows, index) = self.arrays[name], np.unique(places, return_inverse=True)
        low, high = int(rows[0]), int(rows[-1]) + 1
        if high - low < 2 * len(rows):  # most of what lies between is wanted
            result = np.empty((high - low, *array.shape[1:]), array.dtype)
            self.device.download(array[low:high], result)
            return result, places - low
        result = np.empty((len(rows), *array.shape[1:]), array.dtype)
        for row, into in zip(rows.tolist(), result, strict=True):
            self.device.download(array[row], into)
        return result, index

    def find_eigenvalues(self) -> None:
        """Find λ_max of every item."""
        self.allocate("eigenvalues", (self.n_items,), np.float64)
        self.allocate("matrix", (self.n_items, self.n_parameters, self.n_parameters), np.float64)
        group = np.int32(min(LANES, 1 << (self.n_parameters - 1).bit_length()))
        self.launch("curvature.cu", f"largest_eigenvalues<{self.real}>", -(-self.n_items * int(group) // THREADS), THREADS, group)
        del self.arrays["matrix"]
