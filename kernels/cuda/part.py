"""Part: some fits of a chunk on a device, and the kernels that are launched for them.

1. The device is given: launching.py has the GPU's, tests/cuda_on_host one that executes the kernels
   on the host. Everything here, and every kernel, is the same for both.
2. No launch should take more than about 100 ms: longer ones are cut at an epoch, with the state
   left on the device, so that in between the cancel flag is read and the progress reported.
3. NumPy arrays of a chunk are uploaded and downloaded. Results on the device are filled in place;
   of a state there the kernels get a copy, so that a part that runs out of memory may begin again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..batch_order import ORDERED, order_of_epoch
from ..chunk import DIVERGED, INVALID_DATA, MOMENTS, STANDARD, TOO_FEW_SAMPLES, Batches, Chunk
from .data import THREADS, Arrays, Data, Device
from .header import CHUNK, FINISHED, LANES, ON_MOMENTS, ON_SAMPLES
from .specialised import descend_any_name, descend_name, minibatch_name, struct_of

LAUNCH_SECONDS = 0.1
SCRATCH_BYTES = 256 * 2**20  # of `stream` and of `least_values`, at a time
FETCHED_BYTES = 256 * 2**20  # of samples that are copied to the computer's memory at a time
STATE = ("w", "slots", "products", "steps")
RESULTS = ("w_out", "loss", "epochs_run", "history_w", "history_loss")
EXCESSES = ("initial_excess", "excess")  # of length 0 where nobody asks how far a fit is from its minimum
CODES = ("algorithm", "status")  # always NumPy arrays: the host decides by them what happens next

# fills least and allowance of a chunk of fits whose samples are in the computer's memory
Minimise = Callable[[Chunk], None]


class Part(Arrays):
    """Some fits on a device, with the data of their items.

    item_of_fit: the item of each fit; None where every fit has its own.
    """

    def __init__(self, data: Data, chunk: Chunk, item_of_fit: np.ndarray | None) -> None:
        super().__init__(data.device, data)
        self.data, self.chunk, self.item_of_fit = data, chunk, item_of_fit
        self.n_fits, self.real, self.dtype = len(chunk.w), data.real, data.dtype
        self.n_parameters, self.makes_rates = data.n_parameters, False

    def of_fits(self, of_items: np.ndarray) -> np.ndarray:
        """Values of items as values of fits."""
        return of_items if self.item_of_fit is None else of_items[self.item_of_fit]

    def begin(self, safe_rates: bool = False, converts: bool = False) -> None:
        """Upload the start of every fit, and allocate the results.

        safe_rates: the learning rates are made on the device. converts: the start is in the
        caller's units, the fits are standardised.
        """
        chunk, m = self.chunk, self.n_fits
        self.values = {
            "n_fits": m, "sums": int(chunk.reduction == "sum"), "epochs": chunk.epochs, "every": chunk.every,
            "n_rows": chunk.history_w.shape[1], "n_rates": len(chunk.lr), "tol": float(chunk.tol),
            "n_decayed": chunk.n_decayed,
            "n_hyper": chunk.hyper.shape[1] if chunk.hyper.strides[0] or m == 1 else 0,
            "size_of_batch": 0, "drop_last": 0, "rate_per_step": 0, "n_batch_losses": 0,
        }  # fmt: skip
        batches = chunk.batches
        if batches is not None:
            self.values |= {
                "size_of_batch": batches.size, "drop_last": int(batches.drop_last), "rate_per_step": int(batches.rate_per_step),
                "n_batch_losses": chunk.batch_loss.shape[1],
            }  # fmt: skip
            self._take("passes", batches.passes)
            self._make("batch_loss", chunk.batch_loss)
        if self.item_of_fit is not None:
            self.put("item", self.item_of_fit)
        self.put("hyper", chunk.hyper if self.values["n_hyper"] else chunk.hyper[:1])
        self.makes_rates = safe_rates
        if safe_rates:
            self._make("lr", chunk.lr)
            names = list(chunk.rule.hyperparameters)
            decay = names.index("weight_decay") if "weight_decay" in names else -1
            if "eigenvalues" not in self.data.arrays:
                self.data.find_eigenvalues()
            self.launch("rates.cu", f"safe_rates<{self.real}>", -(-m // THREADS), THREADS, np.int64(decay))
        else:
            self.put("lr", chunk.lr)
        if len(chunk.momenta):
            self.put("momenta", chunk.momenta)
        for name in STATE:
            self._take(name, getattr(chunk, name))
        for name in RESULTS:
            self._make(name, getattr(chunk, name))
        self.device.fill(self.arrays["loss"], 0)
        for name in CODES:
            self.put(name, getattr(chunk, name))
        too_few = chunk.status == TOO_FEW_SAMPLES
        self.began_on = np.where(too_few, FINISHED, np.where(chunk.algorithm == MOMENTS, ON_MOMENTS, ON_SAMPLES)).astype(np.int8)
        self.put("phase", self.began_on)
        diverged = chunk.status == DIVERGED
        for name, dtype, byte in (("row_is_done", np.int8, 0), ("nan_epochs", np.int8, 0), ("epoch", np.int64, 0),
                                  ("first_bad", np.int64, 0xFF)):  # fmt: skip
            self.allocate(name, (m,), dtype, byte)
        self.allocate("handed_over", (1,), np.int32, 0)
        if diverged.any():
            self.put("first_bad", np.where(diverged, 0, -1))
        if len(chunk.center):
            for name in STANDARD:
                self._make(name, getattr(chunk, name))
            self.launch("units.cu", f"enter_standard<{self.real}>", -(-m // THREADS), THREADS, np.int32(converts))

    def follow(self, rates: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        """Upload the rate of every epoch, rates(lr (m,), steps (m,)), in place of the first.

        And the momenta, where there are some.
        """
        m, batches = self.n_fits, self.chunk.batches
        counted = "steps" if batches is None or batches.rate_per_step else "passes"
        lr, steps = self.read("lr", (1, m), np.float64), self.read(counted, (m,), np.int64)
        if self.makes_rates and self.arrays["lr"] is not self.chunk.lr:
            self.device.download(self.arrays["lr"], self.chunk.lr)  # these are told, not those of all epochs
        self.makes_rates = False
        table, momenta = rates(lr[0], steps)
        self.put("lr", table)
        if len(momenta):
            self.put("momenta", momenta)
        self.values["n_rates"] = len(table)

    def convert_results(self) -> None:
        """Turn results of standardised fits into the caller's units."""
        rows = self.n_fits * (self.chunk.history_w.shape[1] + 1)
        self.launch("units.cu", f"leave_standard<{self.real}>", -(-rows // THREADS), THREADS)

    def find_least(self, minimise: Minimise | None) -> None:
        """Find the least value of what each fit descends on, where somebody asks for it.

        minimise: finds it for fits whose moments do not tell it; without it they have none.
        """
        chunk, m = self.chunk, self.n_fits
        if len(chunk.excess) == 0:
            return
        self._take("initial_excess", chunk.initial_excess)
        self._make("excess", chunk.excess)
        switches = decay, _, _ = self._switches()
        names = ["least"] + ["penalty"] * (decay >= 0) + ["allowance"] * (chunk.tol >= 0.0)
        for name in names:
            self.allocate(name, (m,), np.float64)
        self.allocate("doubtful", (m,), np.int8)
        self.allocate("some_are_doubtful", (1,), np.int32, 0)
        entries = self.data.planes * self.data.n_entries
        threads = max(1, min(m, SCRATCH_BYTES // (8 * entries)))
        self.allocate("elimination", (entries, threads), np.float64)
        self.launch("least.cu", f"least_values<{self.real}>", -(-threads // THREADS), THREADS, *map(np.int64, (threads, *switches)))
        del self.arrays["elimination"]
        if minimise is not None and self.read("some_are_doubtful", (1,), np.int32)[0]:
            doubtful = (self.read("doubtful", (m,), np.int8) != 0) & (chunk.status != INVALID_DATA)
            self._minimise(minimise, np.flatnonzero(doubtful), names)
            self.launch("least.cu", f"initial_excesses<{self.real}>", -(-m // THREADS), THREADS)

    def _switches(self) -> tuple[int, int, int]:
        """Places of weight_decay, of the switch that decouples it, and of maximize; −1: none."""
        rule, names = self.chunk.rule, list(self.chunk.rule.hyperparameters)
        decay, maximize = (names.index(name) if name in names else -1 for name in ("weight_decay", "maximize"))
        decoupled = names.index(rule.decoupled) if isinstance(rule.decoupled, str) else -1
        no_decay = rule.decoupled is True or (self.values["n_hyper"] == 0 and self.chunk.hyper[0, decay] == 0.0)
        return -1 if no_decay else decay, decoupled, maximize

    def _minimise(self, minimise: Minimise, fits: np.ndarray, names: list[str]) -> None:
        """Have F* of these fits found from their samples, some at a time. names: what there is."""
        chunk, m, D = self.chunk, self.n_fits, self.n_parameters
        found = {"penalty": np.zeros(m), "allowance": np.zeros(m)} | {name: self.read(name, (m,), np.float64) for name in names}
        found |= {name: self.read(name, (m, self.data.n_features), np.float64) for name in STANDARD if len(chunk.center)}
        items = fits if self.item_of_fit is None else self.item_of_fit[fits]
        at_a_time = max(1, FETCHED_BYTES // max(1, self.data.n_samples * (self.data.n_features + 2) * self.dtype.itemsize))
        for begin in range(0, len(fits), at_a_time):
            here, some = slice(begin, begin + at_a_time), fits[begin : begin + at_a_time]
            changed = self.data.samples_of(items[here]) | {name: array[some] for name, array in found.items()}
            changed |= {name: getattr(chunk, name)[some] for name in (*CODES, "hyper")}
            changed |= {"w": np.empty((len(some), D)), "w_out": np.empty((len(some), D), self.dtype)}
            apart = dataclasses.replace(chunk, **changed)
            minimise(apart)
            for name in ("least", "allowance"):
                found[name][some] = getattr(apart, name)
        for name in names:
            self.put(name, found[name])

    def _take(self, name: str, array: Any) -> None:
        """Upload or copy an array that is read and written."""
        if isinstance(array, np.ndarray):
            self.put(name, array)
        else:
            self.arrays[name] = self.device.copy(array)

    def _make(self, name: str, array: Any) -> None:
        """Allocate an array that is written, or take the user's."""
        if isinstance(array, np.ndarray):
            self.allocate(name, array.shape, array.dtype)
        else:
            self.arrays[name] = array

    def descend(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        """All epochs of all fits; False if cancelled."""
        if self.chunk.batches is not None:
            done = self._descend_in_batches(self.chunk.batches, cancel, progress)
            progress[0] += int((self.began_on == FINISHED).sum()) * self.chunk.epochs if done else 0
            return done
        beyond_limits = self._descend_on_samples if self.data.n_samples else self._descend_without_limits
        done = self._descend_on_moments(cancel, progress) and beyond_limits(cancel, progress)
        progress[0] += int((self.began_on == FINISHED).sum()) * self.chunk.epochs if done else 0
        return done

    def _descend_on_moments(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        count = int((self.began_on == ON_MOMENTS).sum())
        if count == 0:
            return True
        rule = self.chunk.rule
        # `descend` has no registers left for a momentum that moves, or an intercept without decay
        generic = "momenta" in self.arrays or self.chunk.free_intercept
        file, name = descend_any_name(self.real, rule) if generic else descend_name(self.real, rule, self.n_parameters)
        return self._run_epochs(file, name, cancel, progress, count)

    def _descend_without_limits(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        """The epochs of fits that passed a limit of `descend` and have no samples."""
        if not self.read("handed_over", (1,), np.int32)[0]:
            return True
        return self._run_epochs(*descend_any_name(self.real, self.chunk.rule), cancel, progress, 0)

    def _run_epochs(self, file: str, name: str, cancel: np.ndarray, progress: np.ndarray, count: int) -> bool:
        """Launch a kernel that descends on moments, for all epochs.

        count: how many fits are reported as they make progress.
        """
        epochs, threads = self.chunk.epochs, self.n_fits
        last_argument: tuple[np.generic, ...] = ()
        if file == "descend_any.cu":
            self.allocate("scratch", (self.n_fits, self.chunk.slots.shape[1] + 5, self.n_parameters), np.float64)
            group = np.int32(min(LANES, 1 << (self.n_parameters - 1).bit_length()))
            threads, last_argument = self.n_fits * int(group), (group,)
        operations = self.n_parameters**2 * (16 if self.data.planes == 2 else 2) + 60
        pace = Pace(self.device, self.n_fits * operations / self.device.operations_per_second, epochs + 1)
        first = 0
        while first <= epochs:
            if cancel[0]:
                return False
            stop = min(epochs + 1, first + pace.epochs)
            with pace:
                self.launch(file, name, -(-threads // THREADS), THREADS, np.int64(first), np.int64(stop), *last_argument)
            progress[0] += (min(stop, epochs) - min(first, epochs)) * count
            first = stop
        return True

    def _descend_on_samples(self, cancel: np.ndarray, progress: np.ndarray) -> bool:
        if not (self.began_on == ON_SAMPLES).any() and not self.read("handed_over", (1,), np.int32)[0]:
            return True
        fits = np.flatnonzero(self.read("phase", (self.n_fits,), np.int8) == ON_SAMPLES)
        n_chunks = max(1, -(-int(self.data.used.max(initial=1)) // CHUNK))
        self.values["n_chunks"] = n_chunks  # of `parts`; the moments are no longer needed
        warps = min(8, n_chunks)
        bytes_per_fit = ((self.n_parameters + 1) * n_chunks + warps * self.n_parameters * LANES) * self.dtype.itemsize
        at_a_time = max(1, SCRATCH_BYTES // bytes_per_fit)
        for begin in range(0, len(fits), at_a_time):
            group = left = fits[begin : begin + at_a_time]
            self.allocate("parts", (len(group), n_chunks, self.n_parameters + 1), self.dtype)
            self.allocate("lanes", (len(group), warps, self.n_parameters, LANES), self.dtype)
            n_bytes = len(group) * self.data.n_samples * self.data.n_features * self.dtype.itemsize
            pace = Pace(self.device, n_bytes / 1e12, self.chunk.epochs + 1)
            while len(left):
                if cancel[0]:
                    return False
                self.put("at_hand", left)
                with pace:
                    self.launch("stream.cu", f"stream<{self.real}, {struct_of(self.chunk.rule)}>", len(left), LANES * warps,
                                 np.int64(pace.epochs))  # fmt: skip
                left = left[self.read("phase", (self.n_fits,), np.int8)[left] == ON_SAMPLES]
            progress[0] += int((self.began_on[group] == ON_SAMPLES).sum()) * self.chunk.epochs
        return True

    def _descend_in_batches(self, batches: Batches, cancel: np.ndarray, progress: np.ndarray) -> bool:
        """Fits that have the samples in one order run together, some epochs at a time."""
        m, used = self.n_fits, self.of_fits(self.data.used)
        passes = self.read("passes", (m,), np.int64)
        kinds = np.stack([batches.seeds, passes, used], axis=1) if batches.shuffle else np.zeros((m, 1), np.int64)
        kinds[self.began_on == FINISHED] = -1
        different, kind_of_fit = np.unique(kinds, axis=0, return_inverse=True)
        n_parts = max(1, -(-int(used.max(initial=1)) // CHUNK))
        warps = min(8, n_parts)
        bytes_per_fit = ((self.n_parameters + 1) * n_parts + warps * self.n_parameters * LANES) * self.dtype.itemsize
        at_a_time = max(1, SCRATCH_BYTES // bytes_per_fit)
        for number, kind in enumerate(different.tolist()):
            fits = np.flatnonzero(kind_of_fit.reshape(-1) == number)
            for begin in range(0, len(fits) if kind[0] >= 0 else 0, at_a_time):
                group = fits[begin : begin + at_a_time]
                self.allocate("parts", (len(group), n_parts, self.n_parameters + 1), self.dtype)
                self.allocate("lanes", (len(group), warps, self.n_parameters, LANES), self.dtype)
                if not self._run_batches(batches.shuffle, kind, group, (n_parts, warps), cancel, progress):
                    return False
        self.arrays.pop("order", None)
        return True

    def _run_batches(
        self, shuffle: bool, kind: list[int], group: np.ndarray, sizes: tuple[int, int], cancel: np.ndarray, progress: np.ndarray
    ) -> bool:
        """All epochs of some fits.

        kind: their seed, the epochs before this call, how many samples they use; sizes: parts and
        warps of each.
        """
        epochs, first, left = self.chunk.epochs, 0, group
        n_bytes = len(group) * self.data.n_samples * self.data.n_features * self.dtype.itemsize
        pace = Pace(self.device, n_bytes / 1e11, epochs + 1)  # a block makes one step after the other
        while first <= epochs and len(left):
            if cancel[0]:
                return False
            stop = min(epochs + 1, first + pace.epochs)
            self.arrays.pop("order", None)
            if shuffle:
                stop = min(stop, first + max(1, ORDERED // max(1, kind[2])))
                orders = [order_of_epoch(kind[2], kind[1] + t, kind[0]).astype(np.int32) for t in range(first, min(stop, epochs))]
                self.put("order", np.stack(orders) if orders else np.zeros((1, max(1, kind[2])), np.int32))
            self.put("at_hand", left)
            with pace:
                name = minibatch_name(self.real, self.chunk.rule)
                self.launch("minibatch.cu", name, len(left), LANES * sizes[1], np.int64(first), np.int64(stop), np.int64(sizes[0]))
            left = left[self.read("phase", (self.n_fits,), np.int8)[left] != FINISHED]
            progress[0] += (min(stop, epochs) - min(first, epochs)) * len(group)
            first = stop
        progress[0] += (epochs - min(first, epochs)) * len(group)
        return True

    def write_back(self) -> None:
        """Download into the chunk; fits of too few samples are left as they are."""
        too_few = self.chunk.status == TOO_FEW_SAMPLES
        batches = self.chunk.batches
        for name in (*STATE, *RESULTS, *EXCESSES, *STANDARD, *CODES, "lr", "batch_loss", "passes"):
            into = getattr(self.chunk if name != "passes" else batches, name, None)
            if into is None:
                continue
            if name not in self.arrays or into.size == 0 or (name == "lr" and not self.makes_rates) or self.arrays[name] is into:
                continue
            if too_few.any() and name != "lr" and isinstance(into, np.ndarray):
                found = np.empty(into.shape, into.dtype)
                self.device.download(self.arrays[name], found)
                into[~too_few] = found[~too_few]
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
