"""Compile the kernels ahead, or load them from the disk cache: in one thread, before work begins.

Each function here runs its kernels once on one sample, in the data type that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..chunk import MOMENTS, STREAM, Batches, Chunk, Samples
from ..update_rules import UPDATE_RULES
from . import compress_fits, compress_targets, descend, descend_batches, find_kept, find_shifts, invert, read_only, solve
from .closed_form.inverse import invert as invert_kernel
from .descent.fit_by_fit import descend as descend_kernel
from .minibatch.epochs import descend_batches as descend_batches_kernel
from .minibatch.ordering import sort_order
from .moments.compress import compress, join
from .moments.curvature import largest_eigenvalues
from .moments.many_targets import compress_targets as compress_targets_kernel
from .moments.samples import find_kept as find_kept_kernel
from .moments.samples import find_shifts as find_shifts_kernel
from .moments.standardize import standardize as standardize_kernel
from .moments.standardize import unscale
from .packs.descend_packs import descend_packs, descend_rule_packs
from .packs.least import least_values as least_values_kernel
from .records import Moments, no_weighing
from .simd.announcing import announced, in_words
from .simd.disk_cache import are_kept, files_in, folder_to_write, folders_to_read, why_refused
from .simd.disk_cache import writing_shared as writing_shared
from .solving import solve as solve_kernel

KERNELS: dict[str, Any] = {
    "find_kept": find_kept_kernel,
    "find_shifts": find_shifts_kernel,
    "compress": compress,
    "compress_targets": compress_targets_kernel,
    "join": join,
    "largest_eigenvalues": largest_eigenvalues,
    "least_values": least_values_kernel,
    "descend_packs": descend_packs,
    "descend_rule_packs": descend_rule_packs,
    "descend": descend_kernel,
    "descend_batches": descend_batches_kernel,
    "sort_order": sort_order,
    "standardize": standardize_kernel,
    "unscale": unscale,
    "solve": solve_kernel,
    "invert": invert_kernel,
}
# how many compiled versions there are for both data types
OF_FIT = {"compress": 2, "join": 1, "largest_eigenvalues": 1, "least_values": 1, "descend_packs": 2, "descend_rule_packs": 2, "descend": 2}
OF_ALL = OF_FIT | {
    "compress_targets": 2,
    "descend_batches": 2,
    "sort_order": 1,
    "find_kept": 2,
    "find_shifts": 2,
    "standardize": 1,
    "unscale": 3,
    "solve": 1,
    "invert": 1,
}
PARTS = frozenset(("moments", "join", "rates", "least", "packs", "rule_packs", "fit_by_fit"))  # of the kernels of `fit`
NEEDED = {  # the kernels of each part
    "moments": ("compress",),
    "join": ("join",),  # of fits that are compressed in parts
    "rates": ("largest_eigenvalues",),
    "least": ("least_values",),
    "packs": ("descend_packs",),
    "rule_packs": ("descend_rule_packs",),
    "fit_by_fit": ("descend",),
    "batches": ("descend_batches", "sort_order"),
    "targets": ("compress_targets",),
    "find_kept": ("find_kept",),
    "standardize": ("compress", "standardize", "unscale"),
    "solve": ("compress", "find_shifts", "solve"),
    "invert": ("compress", "invert"),
}
_done: set[tuple[str, np.dtype]] = set()


def compile_parts(dtype: np.dtype, parts: Iterable[str]) -> None:
    """Compile or load the kernels of parts, keys of NEEDED: one line says so if any is compiled."""
    missing = {part for part in parts if (part, dtype) not in _done}
    if not missing:
        return
    to_compile = _to_compile(dtype, missing)
    with announced(to_compile, kept=bool(to_compile) and are_kept()):
        compile_fit(dtype, PARTS & missing)
        others = {
            "batches": compile_batches,
            "targets": compile_targets,
            "find_kept": compile_find_kept,
            "standardize": compile_standardize,
            "solve": compile_solve,
            "invert": compile_invert,
        }
        for part, prepare in others.items():
            if part in missing:
                prepare(dtype)
    _done.update((part, dtype) for part in missing)


def _to_compile(dtype: np.dtype, parts: Iterable[str]) -> list[str]:
    """Which kernels of these parts this process has not, nor the disk."""
    return [name for name in sorted({name for part in parts for name in NEEDED[part]}) if not _is_at_hand(name, dtype)]


def _is_at_hand(name: str, dtype: np.dtype) -> bool:
    """Whether a kernel is compiled for a type of data, in this process or on disk.

    Of the types of a version "float32" is one only where the data are float32. A file on disk is
    not read to its end: that is done when it is loaded.
    """
    kernel = KERNELS[name]

    def are_for(versions: Iterable[str]) -> bool:
        return any(OF_ALL[name] == 1 or ("float32" in version) == (dtype == np.float32) for version in versions)

    return are_for(map(str, kernel.signatures)) or are_for(kernel._cache.signatures_on_disk(whole=False))


def time_to_compile() -> str:
    """How long compiling takes here for a first fit of plain SGD, and for everything, in words."""
    first = [name for part in ("moments", "packs") for name in NEEDED[part]]
    everything = [name for name, versions in OF_ALL.items() for _ in range(versions)]
    return f"about {in_words(first)} of one core for the first fit of each dtype, {in_words(everything)} for all kernels"


def compile_fit(dtype: np.dtype, parts: Iterable[str]) -> None:
    """Run the kernels of these parts of `fit` once.

    "moments", and "join" for those of long fits; safe "rates" and the "least" values, from them;
    "packs" of fits of plain SGD, and "rule_packs" of other rules; "fit_by_fit" for all other fits.
    What is left out is compiled or loaded when it is first needed.
    """
    moments, cancel, counter = Moments.empty(1, 1, 1, dtype), np.zeros(1, np.int32), np.zeros(1, np.int64)
    for array in (moments.gram, moments.gram_exponents, moments.weighing, moments.target, moments.exponents):
        array.fill(1)
    one, m = np.zeros(1, np.int64), np.ones((1, 1))
    for part in sorted(parts):
        if part == "moments":
            _compress_one(dtype)
        elif part == "join":
            join(moments.gram, moments.target, moments.exponents, moments.weighing, 1)
        elif part == "rates":
            moments.largest_eigenvalues(0, 1, cancel)
        elif part == "least":
            least_values_kernel(
                one, moments.gram, one, moments.target, one, moments.exponents, moments.weighing, m[0], 1, False, False,
                m[0].copy(), m[0].copy(), m[0].copy(), cancel,
            )  # fmt: skip
        else:
            chunk = _chunk_of_one(dtype, STREAM if part == "fit_by_fit" else MOMENTS)
            descend(chunk, moments, one, one, cancel, counter, plain=part == "packs")


def _chunk_of_one(dtype: np.dtype, algorithm: int) -> Chunk:
    """One epoch of plain SGD of one fit of one sample."""
    samples, rule, one = _one_sample(dtype), UPDATE_RULES["sgd"], np.zeros(1, np.int64)
    return Chunk(
        samples.X, samples.y, one, one, samples.weights, one, samples.kept, samples.kept_index, samples.n_used,
        False, rule, np.ones((1, 1)), np.zeros((1, len(rule.hyperparameters))), 1, "mean", -1.0, 1,
        np.zeros((1, 1)), np.zeros((1, len(rule.slots), 1)), np.ones((1, 0)), one.copy(),
        np.full(1, algorithm, np.int8), np.zeros(1, np.int8),
        np.empty((1, 1), dtype), np.empty(1, dtype), one.copy(), np.empty((1, 2, 1), dtype), np.empty((1, 2), dtype),
    )  # fmt: skip


def compile_batches(dtype: np.dtype) -> None:
    """The kernels of mini-batches."""
    moments, cancel, counter = _compress_one(dtype)
    chunk, one = _chunk_of_one(dtype, MOMENTS), np.zeros(1, np.int64)
    chunk.batches = Batches(1, True, False, False, one, one.copy())
    chunk.batch_loss = np.empty((1, 1), dtype)
    descend_batches(chunk, moments, one, one, cancel, counter)


def compile_targets(dtype: np.dtype) -> None:
    """The kernel of many targets on one X."""
    moments, samples = Moments.empty(0, 1, 1, dtype), _one_sample(dtype)
    records = moments.target, moments.exponents, no_weighing(1)
    compress_targets(samples, np.zeros(1, np.int64), samples.n_used, False, *records, np.zeros(1, np.int32))


def compile_find_kept(dtype: np.dtype) -> None:
    """The kernel that weights and missing values need besides."""
    find_kept(_one_sample(dtype), True, True, np.zeros(1, np.int32))


def compile_standardize(dtype: np.dtype) -> None:
    """The kernel of standardised fits."""
    moments, cancel, _ = _compress_one(dtype)
    center, switch = np.ones((1, 1)), np.zeros((1, 1), bool)
    moments.standardize_gram(0, 1, center, center.copy(), switch, switch[0], False, cancel)
    rows = np.zeros((1, 1, 1), dtype)
    for values in (rows, rows.astype(np.float64)):  # of `fit`, and of `solve`
        unscale(values, center, center, False, rows, cancel)


def compile_solve(dtype: np.dtype) -> None:
    """The kernels of `solve`."""
    moments, cancel, counter = _compress_one(dtype)
    one, m = np.zeros(1, np.int64), np.zeros(1)
    solve(moments, one, one, m, one, False, m[:, None], m, m, one.copy(), np.zeros(1, np.int8), cancel, counter)
    find_shifts(_one_sample(dtype), 1, cancel)


def compile_invert(dtype: np.dtype) -> None:
    """The kernel of statistics."""
    moments, cancel, _ = _compress_one(dtype)
    one, m = np.zeros(1, np.int64), np.zeros((1, 1))
    invert(moments, one, False, 1.0, 0.0, m[None].copy(), m, m[0].copy(), one.copy(), cancel)


def compiled_and_loaded() -> dict[str, int]:
    """How many versions of kernels this process compiled, and how many it loaded from disk."""
    counts = [kernel.stats for kernel in KERNELS.values()]
    return {
        "compiled": sum(sum(count.cache_misses.values()) for count in counts),
        "loaded": sum(sum(count.cache_hits.values()) for count in counts),
    }


def on_disk() -> tuple[bool, bool]:
    """Whether the kernels of `fit`, and whether all kernels, are on disk for this processor."""
    versions = {name: len(kernel._cache.signatures_on_disk()) for name, kernel in KERNELS.items()}
    ready, complete = (all(versions[name] >= needed for name, needed in group.items()) for group in (OF_FIT, OF_ALL))
    return ready, complete


def cache_folder() -> tuple[Path | None, str | None]:
    """(the folder of the kernels of these sources, why it is refused or None).

    It is the one that has any, else the one to which they would be written; None: there is none.
    """
    having = (folder for folder in folders_to_read() if files_in(folder))
    folder = next(having, folder_to_write())
    return folder, why_refused(folder) if folder else None


def _one_sample(dtype: np.dtype) -> Samples:
    """One fit of one sample, X = y = 1."""
    zero = np.zeros(1, np.int64)
    X, y, weights = (read_only(np.ones(shape, dtype)) for shape in ((1, 1, 1), (1, 1), (0, 1)))
    return Samples(X, y, zero, zero, weights, zero, np.empty((0, 1), np.int32), zero - 1, zero + 1)


def _compress_one(dtype: np.dtype) -> tuple[Moments, np.ndarray, np.ndarray]:
    """The moments of one sample: (moments, cancel flag, counter)."""
    moments, cancel, counter = Moments.empty(1, 1, 1, dtype), np.zeros(1, np.int32), np.zeros(1, np.int64)
    compress_fits(_one_sample(dtype), False, moments, cancel)
    return moments, cancel, counter
