"""Runs every kind of kernel once on small chunks; as a program, under a sanitizer: `python -m
tests.cuda_on_host.sanitized thread`.

1. A sanitizer must be in the process from its start, so `run` starts one with the sanitizer's
   library loaded first. What it reports goes to standard error; the program ends with 1 where a
   kernel did what it must not, and with 3 where its numbers are not the ones expected.
2. Numba is not loaded in there. The numbers expected are in the file named by the last argument.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastgd.kernels.chunk import MOMENTS, STREAM, Batches, Chunk
from fastgd.kernels.cuda.data import Data, GivenMoments, find_items
from fastgd.kernels.cuda.splitting import Handling, descend
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.cuda_on_host.building import SOURCES, KernelError
from tests.cuda_on_host.device import HostDevice

RESULTS = ("w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss")
MORE = ("initial_excess", "excess", "center", "scale", "batch_loss")  # of length 0 where nobody asks for them
LIBRARIES = {"thread": "libtsan.so", "address": "libasan.so"}
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:report_signal_unsafe=0",
    "ASAN_OPTIONS": "detect_leaks=0:exitcode=66:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def chunk(
    m: int,
    n: int,
    d: int,
    name: str,
    algorithm: int,
    *,
    epochs=3,
    rule="sgd",
    weighted=False,
    intercept=False,
    lr=1e-3,
    tol=-1.0,
    standardized=False,
    weight_decay=0.0,
) -> Chunk:
    """m fits of their own data; F(w) − F* is asked for."""
    rng = np.random.default_rng([m, n, d])
    table, D, rows = UPDATE_RULES[rule], d + intercept, epochs + 1
    values = table.all_values({"momentum": 0.5, "weight_decay": weight_decay})
    to_be_made = np.full((m if standardized else 0, d), np.nan)
    own = np.arange(m)
    return Chunk(
        rng.standard_normal((m, n, d)).astype(name), rng.standard_normal((m, n)).astype(name), own, own,
        rng.uniform(0.5, 2, (m if weighted else 0, n)).astype(name), own if weighted else np.zeros(m, np.int64),
        np.empty((0, n), np.int32), np.full(m, -1), np.full(m, n),
        intercept=intercept, rule=table, lr=np.full((1, m), lr),
        hyper=np.tile([float(values[key]) for key in (*table.hyperparameters, *table.derived)], (m, 1)),
        epochs=epochs, reduction="mean", tol=tol, every=1,
        w=np.zeros((m, D)), slots=np.zeros((m, len(table.slots), D)), products=np.ones((m, len(table.products))),
        steps=np.zeros(m, np.int64),
        algorithm=np.full(m, algorithm, np.int8), status=np.zeros(m, np.int8),
        w_out=np.zeros((m, D), name), loss=np.zeros(m, name), epochs_run=np.zeros(m, np.int64),
        history_w=np.zeros((m, rows, D), name), history_loss=np.zeros((m, rows), name),
        initial_excess=np.full(m, np.nan), excess=np.zeros(m, name), center=to_be_made, scale=to_be_made.copy(),
    )  # fmt: skip


def cases() -> list[tuple[str, Chunk]]:
    """Every kernel: short and long fits, few and many features, both algorithms, the hand-over,
    weights."""
    return [
        ("few features", chunk(5, 40, 2, "float32", MOMENTS, weighted=True, epochs=18)),
        ("small fits", chunk(11, 5, 1, "float64", MOMENTS)),
        ("chunks", chunk(1, 4100, 1, "float64", MOMENTS, weighted=True, epochs=1)),
        ("many features", chunk(2, 40, 18, "float64", MOMENTS, epochs=1)),
        ("hand-over", chunk(2, 40, 1, "float64", MOMENTS, lr=1e200, epochs=6)),
        ("stopping", chunk(3, 40, 2, "float32", MOMENTS, epochs=18, lr=0.05, tol=0.05)),
        ("samples in chunks", chunk(3, 8200, 1, "float64", STREAM, epochs=3)),
        ("a penalty", chunk(2, 40, 2, "float32", MOMENTS, epochs=3, weight_decay=0.5)),
        ("a penalty, doubled", chunk(2, 40, 1, "float64", MOMENTS, epochs=3, weight_decay=0.5)),
        ("columns that depend on others", with_dependent_columns()),
        ("two rates for one item", with_shared_data()),
        ("scaled features", chunk(2, 40, 2, "float32", MOMENTS, standardized=True)),
        ("scaled features of samples", chunk(2, 40, 1, "float64", STREAM, standardized=True)),
        ("mini-batches", in_batches(chunk(3, 40, 2, "float64", MOMENTS, weighted=True, intercept=True), 16)),
        ("mini-batches of chunks", in_batches(chunk(1, 9000, 1, "float64", STREAM, epochs=1), 4500)),
    ]


def in_batches(work: Chunk, size: int) -> Chunk:
    """The chunk, in shuffled mini-batches; the fits have two seeds."""
    m = len(work.w)
    work.batches = Batches(size, True, False, False, np.arange(m) // 2, np.zeros(m, np.int64))
    work.batch_loss = np.zeros((m, work.epochs), work.w_out.dtype)
    return work


def with_dependent_columns() -> Chunk:
    """18 features, of which one is another one doubled, and one is 0."""
    work = chunk(1, 40, 18, "float64", MOMENTS, epochs=1)
    work.X[:, :, 17], work.X[:, :, 3] = 2 * work.X[:, :, 0], 0
    return work


def with_shared_data() -> Chunk:
    """Three fits of the data of two; one goes on from a state."""
    work = chunk(3, 40, 2, "float32", MOMENTS)
    work.x_index = work.y_index = np.array([0, 0, 1])
    work.initial_excess[1] = 0.5
    return work


def run_cases(device: HostDevice) -> dict[str, dict[str, np.ndarray]]:
    """The results of every case; λ_max; and of data with gaps, which samples stay and the rates."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, work in cases():
        data = Data(device, work, find_items(work)[0])
        data.weigh()
        data.compress()
        data.find_eigenvalues()
        descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), device, Handling(take_note, minimise=know_least))
        found[name] = {result: getattr(work, result) for result in (*RESULTS, *MORE)}
        found[name]["eigenvalues"] = data.read("eigenvalues", (data.n_items,), np.float64)
    for name, work in without_samples():
        moments = moments_of(device, work)
        alone = replace(work, X=work.X[:1, :0], y=work.y[:, :0], x_index=0 * work.x_index)
        descend(alone, np.zeros(1, np.int32), np.zeros(1, np.int64), device, Handling(take_note, moments=moments))
        found[name] = {result: getattr(alone, result) for result in (*RESULTS, *MORE)}
    for name, work in gaps():
        units = len(work.center) > 0
        handling = Handling(take_note, omit=True, safe_rates=True, converts_results=units, converts_start=units)
        descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), device, handling)
        found[name] = {result: getattr(work, result) for result in (*RESULTS, *MORE, "n_used", "lr")}
    return found


def without_samples() -> list[tuple[str, Chunk]]:
    """Fits that pass the limits, of few features and of many."""
    return [
        ("moments alone", chunk(2, 40, 2, "float32", MOMENTS, lr=1e18, epochs=6)),
        ("many moments alone", chunk(2, 40, 18, "float64", MOMENTS, lr=1e200, epochs=6)),
    ]


def moments_of(device: HostDevice, work: Chunk) -> GivenMoments:
    """The moments of the samples of a chunk without weights."""
    data, (m, D) = Data(device, work, None), work.w.shape
    data.weigh()
    data.compress()
    records = data.read("moments", (m, 1, data.planes, data.n_entries), np.float64)[:, 0]
    exponents = data.read("exponents", (m, 1, D + 1), np.int64)[:, 0] if data.planes == 2 else np.zeros((m, D + 1), np.int64)
    weighing = np.stack([*data.read("weight_sum", (m, 2), np.float64).T, np.zeros(m), np.ones(m)], axis=1)
    own, split = np.arange(m), D * (D + 1) // 2
    return GivenMoments(records[:, :, :split], weighing, own, records[:, :, split:], exponents)


def know_least(apart: Chunk) -> None:
    """What a caller does for fits whose moments do not tell F*: any number will do here."""
    apart.least[:], apart.allowance[:] = 0.25 * apart.n_used / apart.X.shape[1], 0.0


def take_note(part: Chunk, n_used: np.ndarray, invalid: np.ndarray, negative: np.ndarray) -> None:
    """What a caller does with what was found."""
    part.n_used[:] = n_used


def gaps() -> list[tuple[str, Chunk]]:
    """Samples of weight 0, and missing numbers: lists of those that stay, in two spans; with scaled
    features, a start and an intercept."""
    found = []
    for name, m, n, dtype, scaled in (("gaps", 3, 40, "float32", False), ("gaps in spans", 1, 4130, "float64", False),
                                      ("units", 2, 40, "float64", True)):  # fmt: skip
        d = 2 if dtype == "float32" else 1
        work = chunk(m, n, d, dtype, MOMENTS, weighted=True, epochs=1, standardized=scaled, intercept=scaled)
        if scaled:
            work.w[:], work.X[1] = 0.5, 0.3  # the feature of the second fit is constant
        work.weights[:, ::7] = 0
        work.y[0, 3], work.X[-1, n - 1, 0] = np.nan, np.inf
        found.append((name, work))
    return found


def write_expected(path: Path) -> None:
    """Write the numbers that the kernels give without a sanitizer, for `run` to compare with."""
    path.write_bytes(pickle.dumps(run_cases(HostDevice())))


def equal(ours: dict, theirs: dict) -> bool:
    """Whether all results of all cases are the same."""
    return all(np.array_equal(ours[case][key], theirs[case][key], equal_nan=theirs[case][key].dtype.kind == "f")
               for case in theirs for key in theirs[case])  # fmt: skip


def run(sanitizer: str, expected: Path, sources: Path = SOURCES, order: str = "forwards") -> subprocess.CompletedProcess[str]:
    """This program in a process of its own; `sanitizer` may be empty."""
    environment = {**os.environ, **OPTIONS, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-P", "-m", "tests.cuda_on_host.sanitized", sanitizer or "none", str(sources), order, str(expected)]
    if sanitizer:
        first = (LIBRARIES[sanitizer], "libstdc++.so")
        asked = [subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True) for name in first]
        environment["LD_PRELOAD"] = " ".join(answer.stdout.strip() for answer in asked)
        command = ["setarch", "-R", *command]  # the thread sanitizer knows only some layouts of the address space
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def main(arguments: list[str]) -> int:
    """Run, compare, tell."""
    sanitizer, sources, order, expected = arguments
    os.environ.pop("LD_PRELOAD", None)  # not for the compiler
    device: Any = HostDevice(sanitizer="" if sanitizer == "none" else sanitizer, sources=Path(sources), order=order)
    try:
        found = run_cases(device)
    except KernelError as error:
        print(f"KernelError: {error}", file=sys.stderr)
        return 1
    return 0 if equal(found, pickle.loads(Path(expected).read_bytes())) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
