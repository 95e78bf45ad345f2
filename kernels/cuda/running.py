"""Runs a part of a chunk on a device: what is uploaded, which kernels are launched with what geometry, what comes back.

1. The device is given: launching.py has the GPU's, tests/cuda_on_host one that executes the kernels on the host. Everything here, and
   every kernel, is the same for both.
2. No launch should take more than about 100 ms: longer ones are cut at an epoch, with the state kept on the device, so that the cancel
   flag is looked at and the progress told in between.
3. Data that several fits share are compressed once per part: an item is a distinct set of X, y, weights and kept samples.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..chunk import DIVERGED, MOMENTS, TOO_FEW_SAMPLES, Chunk
from .specialised import TYPES, compress_name, descend_name, struct_of

CHUNK = 4096  # samples; arithmetic.cuh
LANES, THREADS = 32, 128
ON_MOMENTS, ON_SAMPLES, FINISHED = range(3)  # work.cuh
LAUNCH_SECONDS = 0.1
SCRATCH_BYTES = 256 * 2**20  # of `stream`, at a time
MOST_BLOCKS = 2**31 - 1

_FIELD = re.compile(r"^ {4}(?:const )?([\w ]+?)(\*?) (\w+);", re.MULTILINE)


class Device(Protocol):
    """What this module asks of a machine."""

    out_of_memory: type[BaseException]
    epochs_per_launch: int | None  # None: as many as LAUNCH_SECONDS allow

    def upload(self, array: Any) -> Any:
        """A contiguous copy on the device, or the array itself where it is there."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Room on the device, not initialised."""

    def address(self, array: Any) -> int:
        """Where it lies."""

    def download(self, array: Any, into: np.ndarray) -> None:
        """Copy back, and wait for it."""

    def launch(self, file: str, name: str, grid: tuple[int, int], threads: int, arguments: tuple[np.generic | Any, ...]) -> None:
        """Launch a kernel; an argument is a device array or a NumPy scalar."""

    def wait(self) -> None:
        """Wait for all launches."""

    def free_bytes(self) -> int:
        """Memory that can still be taken."""


Prepare = Callable[[Chunk, "Found"], None]


def work_fields() -> list[tuple[str, str]]:
    """(kind, name) of the fields of struct Work, in order; kind is "long long", "double" or "pointer". Each has 8 bytes."""
    source = (Path(__file__).parent / "work.cuh").read_text(encoding="utf-8")
    body = source[source.index("struct Work {") : source.index("\n};", source.index("struct Work {"))]
    return [("pointer" if star else kind, name) for kind, star, name in _FIELD.findall(body)]


def find_items(chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
    """The fits that stand for each distinct set of data, and the item of every fit."""
    key = chunk.x_index * len(chunk.y) + chunk.y_index
    if len(chunk.weights):
        key = key * len(chunk.weights) + chunk.weight_index
    if len(chunk.kept):
        key = key * (len(chunk.kept) + 1) + chunk.kept_index + 1
    if (key[1:] >= key[:-1]).all():  # fits that share their data stand together
        starts = np.concatenate([[True], key[1:] != key[:-1]])
        return np.flatnonzero(starts), np.cumsum(starts) - 1
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse


class Found:
    """What the moments of a part tell before it descends, one value per fit."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def finite(self) -> np.ndarray:
        """(m,) bool: whether the data of each fit are finite."""
        part = self._part
        record = part.read("moments", (part.n_items, part.n_chunks, part.planes, part.n_entries), np.float64)[:, 0, 0]
        diagonal = [j * (j + 1) // 2 + j for j in range(part.n_parameters + 1)]
        return np.isfinite(record[:, diagonal]).all(axis=1)[part.item_of_fit]

    def largest_eigenvalues(self) -> np.ndarray:
        """(m,) float64: λ_max of XᵀX."""
        part = self._part
        part.find_eigenvalues()
        return part.read("eigenvalues", (part.n_items,), np.float64)[part.item_of_fit]

    def curvature(self, of_the_sum: bool) -> np.ndarray:
        """(m,) float64: s·λ_max of each fit, the largest eigenvalue of the Hessian of the loss (docs/arithmetic.md, section 5)."""
        part = self._part
        sums = part.read("weight_sum", (part.n_items, 2), np.float64)[:, 0]
        exponents = part.read("weight_exponent", (part.n_items,), np.int64)
        with np.errstate(all="ignore"):  # no sample may have stayed
            scales = np.ldexp(2.0, exponents) if of_the_sum else 2.0 / sums
            return scales[part.item_of_fit] * self.largest_eigenvalues()


class Part:
    """Some fits on a device."""

    def __init__(self, device: Device, chunk: Chunk) -> None:
        self.device, self.chunk = device, chunk
        self.dtype = chunk.X.dtype
        self.real = TYPES[np.dtype(self.dtype)]
        self.planes = 1 if self.real == "float" else 2
        representatives, self.item_of_fit = find_items(chunk)
        self.n_fits, self.n_items = len(chunk.w), len(representatives)
        self.n_samples, self.n_features = chunk.X.shape[1:]
        self.n_parameters = chunk.w.shape[1]
        self.n_entries = (self.n_parameters + 1) * (self.n_parameters + 2) // 2
        self.used = chunk.n_used[representatives]
        self.n_chunks = max(1, -(-int(self.used.max(initial=1)) // CHUNK))
        self.arrays: dict[str, Any] = {}
        self._values: dict[str, int | float] = {}
        self._work: Any = None
        weighted, keeps = len(chunk.weights) > 0, len(chunk.kept) > 0
        self._put("X", chunk.X)
        self._put("y", chunk.y)
        if weighted:
            self._put("weights", chunk.weights)
        if keeps:
            self._put("kept", chunk.kept)
        self._put("item_x", chunk.x_index[representatives])
        self._put("item_y", chunk.y_index[representatives])
        self._put("item_weights", chunk.weight_index[representatives] if weighted else np.zeros(self.n_items, np.int64))
        self._put("item_kept", chunk.kept_index[representatives] if keeps else np.full(self.n_items, -1, np.int64))
        self._put("used", self.used)
        self._room("weight_sum", (self.n_items, 2), np.float64)
        for name in ("weight_total", "weight_least"):
            self._room(name, (self.n_items,), np.float64)
        self._room("weight_exponent", (self.n_items,), np.int64)
        self._set(n_items=self.n_items, n_samples=self.n_samples, n_features=self.n_features, n_parameters=self.n_parameters)
        self._set(intercept=int(chunk.intercept), n_chunks=self.n_chunks, n_fits=self.n_fits)

    # -- the struct of the kernels

    def _put(self, name: str, array: Any) -> None:
        self.arrays.pop(name, None)  # first, so that both are never there
        self.arrays[name] = self.device.upload(array)
        self._work = None

    def _room(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.arrays.pop(name, None)
        self.arrays[name] = self.device.empty(shape, dtype)
        self._work = None

    def _set(self, **values: int | float) -> None:
        self._values |= values
        self._work = None

    def _launch(self, file: str, name: str, grid: tuple[int, int] | int, threads: int, *arguments: np.generic) -> None:
        grid = grid if isinstance(grid, tuple) else (grid, 1)
        if max(grid) > MOST_BLOCKS or grid[1] > 65535:
            raise ValueError(f"{name} would need {grid} blocks: fit a part of the batch at a time")
        if self._work is None:
            packed = np.zeros(len(work_fields()), np.int64)
            for place, (kind, field) in enumerate(work_fields()):
                if kind == "pointer":
                    packed[place] = self.device.address(self.arrays[field]) if field in self.arrays else 0
                elif kind == "double":
                    packed[place : place + 1].view(np.float64)[0] = self._values.get(field, 0.0)
                else:
                    packed[place] = self._values.get(field, 0)
            self._work = self.device.upload(packed)
        self.device.launch(file, name, grid, threads, (self._work, *arguments))

    def read(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A copy of an array of the device."""
        result = np.empty(shape, dtype)
        self.device.download(self.arrays[name], result)
        return result

    # -- the data

    def weigh(self) -> None:
        """What does not change from epoch to epoch: the sums of the weights."""
        self._launch("compress.cu", f"weigh<{self.real}>", -(-self.n_items // 4), THREADS)

    def compress(self) -> None:
        """The moments of every item."""
        self._room("moments", (self.n_items, self.n_chunks, self.planes, self.n_entries), np.float64)
        self._room("exponents", (self.n_items, self.n_chunks, self.n_parameters + 1), np.int64)
        units, columns = self.n_items * self.n_chunks, self.n_parameters + 1
        name = compress_name(self.real, self.n_features, self.chunk.intercept)
        if name:
            group = np.int32(min(LANES, 1 << max(0, int(self.used.max()) - 1).bit_length()))
            self._launch("compress.cu", name, -(-units * int(group) // THREADS), THREADS, group)
        else:
            tiles = -(-columns // 16)
            self._launch("compress.cu", f"find_exponents<{self.real}>", (units, -(-columns // THREADS)), THREADS)
            self._launch("compress.cu", f"compress_any<{self.real}>", (units, tiles * (tiles + 1) // 2), 256)
        if self.n_chunks > 1:
            self._launch("compress.cu", f"join<{self.real}>", self.n_items, 256)

    def find_eigenvalues(self) -> None:
        """λ_max of every item."""
        self._room("eigenvalues", (self.n_items,), np.float64)
        self._room("matrix", (self.n_items, self.n_parameters, self.n_parameters), np.float64)
        group = np.int32(min(LANES, 1 << (self.n_parameters - 1).bit_length()))
        self._launch("curvature.cu", f"largest_eigenvalues<{self.real}>", -(-self.n_items * int(group) // THREADS), THREADS, group)
        del self.arrays["matrix"]

    # -- the fits

    def begin(self) -> None:
        """Upload where every fit starts, and make room for the results."""
        chunk, m = self.chunk, self.n_fits
        rows = chunk.history_w.shape[1]
        self._set(
            sums=int(chunk.reduction == "sum"), epochs=chunk.epochs, every=chunk.every, n_rows=rows, n_rates=len(chunk.lr),
            n_hyper=chunk.hyper.shape[1], tol=float(chunk.tol),
        )  # fmt: skip
        self._put("item", self.item_of_fit)
        for name in ("lr", "hyper", "w", "slots", "products", "steps", "algorithm", "status"):
            self._put(name, np.ascontiguousarray(getattr(chunk, name)))
        self._room("w_out", (m, self.n_parameters), self.dtype)
        self._put("loss", np.zeros(m, self.dtype))
        self._room("epochs_run", (m,), np.int64)
        self._room("history_w", (m, rows, self.n_parameters), self.dtype)
        self._room("history_loss", (m, rows), self.dtype)
        too_few = chunk.status == TOO_FEW_SAMPLES
        self.began_on = np.where(too_few, FINISHED, np.where(chunk.algorithm == MOMENTS, ON_MOMENTS, ON_SAMPLES)).astype(np.int8)
        self._put("phase", self.began_on)
        self._put("row_is_done", np.zeros(m, np.int8))
        self._put("nan_epochs", np.zeros(m, np.int8))
        self._put("epoch", np.zeros(m, np.int64))
        self._put("first_bad", np.where(chunk.status == DIVERGED, 0, -1))
        self._put("previous", np.full(m, np.nan))

    def descend(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        """All epochs of all fits; False if cancelled."""
        done = self._descend_on_moments(cancel, progress) and self._descend_on_samples(cancel, progress)
        progress[0] += int((self.began_on == FINISHED).sum()) * self.chunk.epochs if done else 0
        return done

    def _descend_on_moments(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        epochs, count = self.chunk.epochs, int((self.began_on == ON_MOMENTS).sum())
        if count == 0:
            return True
        file, name = descend_name(self.real, self.chunk.rule, self.n_parameters)
        threads = self.n_fits
        last_argument: tuple[np.generic, ...] = ()
        if file == "descend_any.cu":
            self._room("scratch", (self.n_fits, self.chunk.slots.shape[1] + 5, self.n_parameters), np.float64)
            group = np.int32(min(LANES, 1 << (self.n_parameters - 1).bit_length()))
            threads, last_argument = self.n_fits * int(group), (group,)
        operations = self.n_parameters**2 * (16 if self.planes == 2 else 2) + 60
        pace = Pace(self.device, self.n_fits * operations / 2e12, epochs + 1)
        first = 0
        while first <= epochs:
            if cancel[0]:
                return False
            stop = min(epochs + 1, first + pace.epochs)
            with pace:
                self._launch(file, name, -(-threads // THREADS), THREADS, np.int64(first), np.int64(stop), *last_argument)
            progress[0] += (min(stop, epochs) - min(first, epochs)) * count
            first = stop
        return True

    def _descend_on_samples(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        fits = np.flatnonzero(self.read("phase", (self.n_fits,), np.int8) == ON_SAMPLES)
        warps = min(8, self.n_chunks)
        bytes_per_fit = ((self.n_parameters + 1) * self.n_chunks + warps * self.n_parameters * LANES) * self.dtype.itemsize
        at_a_time = max(1, SCRATCH_BYTES // bytes_per_fit)
        for begin in range(0, len(fits), at_a_time):
            batch = left = fits[begin : begin + at_a_time]
            self._room("parts", (len(batch), self.n_chunks, self.n_parameters + 1), self.dtype)
            self._room("lanes", (len(batch), warps, self.n_parameters, LANES), self.dtype)
            pace = Pace(self.device, len(batch) * self.n_samples * self.n_features * self.dtype.itemsize / 1e12, self.chunk.epochs + 1)
            while len(left):
                if cancel[0]:
                    return False
                self._put("at_hand", left)
                with pace:
                    self._launch("stream.cu", f"stream<{self.real}, {struct_of(self.chunk.rule)}>", len(left), LANES * warps,
                                 np.int64(pace.epochs))  # fmt: skip
                left = left[self.read("phase", (self.n_fits,), np.int8)[left] == ON_SAMPLES]
            progress[0] += int((self.began_on[batch] == ON_SAMPLES).sum()) * self.chunk.epochs
        return True

    def write_back(self) -> None:
        """What the chunk is to hold; a fit of too few samples is not touched."""
        too_few = self.chunk.status == TOO_FEW_SAMPLES
        for name in ("w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss"):
            into = getattr(self.chunk, name)
            if into.size == 0:
                continue
            if too_few.any():
                kept = np.empty(into.shape, into.dtype)
                self.device.download(self.arrays[name], kept)
                into[~too_few] = kept[~too_few]
            else:
                self.device.download(self.arrays[name], into)


class Pace:
    """How many epochs a launch gets: a first guess, then what was measured."""

    def __init__(self, device: Device, seconds_per_epoch: float, most: int) -> None:
        self._device, self._most = device, most
        self.epochs = max(1, min(most, device.epochs_per_launch or int(LAUNCH_SECONDS / 4 / max(seconds_per_epoch, 1e-9))))
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._device.wait()
        if self._device.epochs_per_launch is None:
            rate = self.epochs / max(time.perf_counter() - self._began, 1e-6)
            self.epochs = max(1, min(self._most, 4 * self.epochs, int(0.8 * LAUNCH_SECONDS * rate)))
