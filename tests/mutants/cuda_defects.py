"""Defects of the CUDA kernels, and the host run that finds each: plainly or under a sanitizer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.cuda_on_host.building import SOURCES
from tests.cuda_on_host.sanitized import run
from tests.mutants.defect import CudaDefect, plant

CUDA = "kernels/cuda"
NUMBERS = 3  # the program's exit status where the numbers are not the ones expected
CUDA_DEFECTS = (
    CudaDefect(
        "missing barrier before rows are written",
        f"{CUDA}/descend.cu",
        "    __syncwarp();\n    for (int k = lane; k < LANES * count * D",
        "    for (int k = lane; k < LANES * count * D",
        "thread",
        "data race",
    ),
    CudaDefect(
        "missing barrier after a tile is filled",
        f"{CUDA}/compress.cu",
        "        __syncthreads();\n        if (lane >= rows) continue;",
        "        if (lane >= rows) continue;",
        "thread",
        "data race",
    ),
    CudaDefect(
        "history written one row too far",
        f"{CUDA}/descend.cu",
        "static_cast<T*>(work.history_loss)[(first + q) * work.n_rows + row + place]",
        "static_cast<T*>(work.history_loss)[(first + q) * work.n_rows + row + place + 1]",
        "address",
        "heap-buffer-overflow",
    ),
    CudaDefect(
        "y read one sample too far", f"{CUDA}/samples.cuh", "T r = -y[place];", "T r = -y[place + 1];", "address", "heap-buffer-overflow"
    ),
    CudaDefect(
        "shared tile one column too small",
        f"{CUDA}/compress.cu",
        "typedef double Tile[2 * TILE][LANES + 1];",
        "typedef double Tile[2 * TILE - 1][LANES + 1];",
        "address",
        "heap-buffer-overflow",
    ),
    CudaDefect(
        "list of kept samples in the wrong place",
        f"{CUDA}/missing.cu",
        "row[before + count + __popc(",
        "row[n - used_of(work, item) + count + __popc(",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "mask of the wrong group",
        f"{CUDA}/arithmetic.cuh",
        "((1u << group) - 1u) << first",
        "((1u << group) - 1u) << (first & 16)",
        "",
        "not in its own mask",
    ),
    CudaDefect(
        "barrier in a divergent branch",
        f"{CUDA}/stream.cu",
        "        __syncthreads();  // the history has been written from w",
        "        if (warp == 0) __syncthreads();  // the history has been written from w",
        "",
        "divergent barrier",
    ),
    CudaDefect(
        "shared memory read before it is written",
        f"{CUDA}/descend.cu",
        "    rows.until[lane] = records ? work.n_rows : 0;\n",
        "",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "lanes of the GPU added in another order",
        f"{CUDA}/arithmetic.cuh",
        "for (int distance = group >> 1; distance > 0; distance >>= 1) v =",
        "for (int distance = 1; distance < group; distance <<= 1) v =",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "momentum on the gradient too",
        f"{CUDA}/rules.cuh",
        "fused(undamped, g, slot[0] * momentum)",
        "fused(undamped, g, slot[0]) * momentum",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "mini-batches: the first epoch's order used again, CUDA",
        f"{CUDA}/minibatch.cu",
        "work.order + (t - first) * used",
        "work.order",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "mini-batches: the last short batch weighted as a full one, CUDA",
        f"{CUDA}/minibatch.cu",
        "T total = T(places.count);",
        "T total = T(work.size_of_batch);",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "mini-batches: parts read while the step reads them",
        f"{CUDA}/minibatch.cu",
        "            __syncthreads();  // the new w stands, and `parts` has been read\n",
        "",
        "thread",
        "data race",
    ),
    CudaDefect("tol: absolute", f"{CUDA}/work.cuh", "larger(work.tol * initial_excess,", "larger(work.tol,", "", NUMBERS),
    CudaDefect(
        "target from w at another epoch", f"{CUDA}/stream.cu", "if (t == 0 && initial_excess", "if (t == 1 && initial_excess", "", NUMBERS
    ),
    CudaDefect(
        "target of a state that goes on, from its w",
        f"{CUDA}/least.cu",
        "if (known == known) return;",
        "if (known == known + 1.0) return;",
        "",
        NUMBERS,
    ),
    CudaDefect("F* without the penalty", f"{CUDA}/least.cu", "j < count ? entry + hi : entry", "j < count ? entry : entry", "", NUMBERS),
    CudaDefect(
        "F* without the penalty, float64",
        f"{CUDA}/least.cu",
        "half != 0.0 && j < count ? dd_add(",
        "half == 0.0 && j < count ? dd_add(",
        "",
        NUMBERS,
    ),
    CudaDefect("a column that is a combination of others is not left out", f"{CUDA}/least.cu", "if (regular) r =", "r =", "", NUMBERS),
    CudaDefect(
        "F* of another item",
        f"{CUDA}/least.cu",
        "const long long item = listed(work.item, fit);",
        "const long long item = fit % work.n_items;",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "the limits of a fit without samples are those of one with",
        f"{CUDA}/descend_any.cu",
        "stays = !has_samples || (",
        "stays = (",
        "",
        NUMBERS,
    ),
    CudaDefect(
        "a fit without samples is rounded at a limit",
        f"{CUDA}/descend.cu",
        "            if (work.X) {",
        "            if (true) {",
        "",
        NUMBERS,
    ),
    CudaDefect("shift not undone in the intercept", f"{CUDA}/units.cu", "b = b - own *", "b = b - 0.0 *", "", NUMBERS),
    CudaDefect("start not scaled", f"{CUDA}/units.cu", "w[j] = w[j] * s;", "w[j] = w[j];", "", NUMBERS),
    CudaDefect(
        "a constant column of features is not left out",
        f"{CUDA}/standardize.cu",
        "const bool constant = finite &&",
        "const bool constant = !finite &&",
        "",
        NUMBERS,
    ),
)


def find_in_host_run(defect: CudaDefect, expected: Path) -> str | None:
    """What reports the defect when the host runs the spoiled kernels, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "kernels" / "cuda"
        shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        plant(defect, Path(name))
        ran = run(defect.sanitizer, expected, folder)
    if "could not compile" in ran.stderr:
        raise RuntimeError(ran.stderr[-2000:])
    if isinstance(defect.told, int):
        return "the comparison with the numbers expected" if ran.returncode == defect.told else None
    if ran.returncode == 0 or defect.told not in ran.stderr:
        return None
    return next(line.strip() for line in ran.stderr.splitlines() if defect.told in line)
