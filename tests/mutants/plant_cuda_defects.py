"""Plants defects in the CUDA kernels, one at a time, and names what finds each: `python -m tests.mutants.plant_cuda_defects [name …]`.

A copy of kernels/cuda gets the defect, and tests/cuda_on_host/sanitized.py runs it: plainly or under a sanitizer.
The test tests/kernels/cuda/test_defects.py does the same with a share of them.
"""

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cuda_on_host.building import SOURCES
from tests.cuda_on_host.device import HostDevice
from tests.cuda_on_host.sanitized import run, run_cases

NUMBERS = 3  # the program's exit code where the numbers are not the ones expected


@dataclass(frozen=True)
class Defect:
    """What is planted where, and what must find it."""

    name: str
    file: str
    right: str
    wrong: str
    sanitizer: str  # "" is none
    told: str | int  # a part of what must be reported, or the exit code


DEFECTS = [
    Defect("missing barrier before rows are written", "descend.cu", "    __syncwarp();\n    for (int k = lane; k < LANES * count * D",
           "    for (int k = lane; k < LANES * count * D", "thread", "data race"),
    Defect("missing barrier after a tile is filled", "compress.cu", "        __syncthreads();\n        if (lane >= rows) continue;",
           "        if (lane >= rows) continue;", "thread", "data race"),
    Defect("history written one row too far", "descend.cu", "static_cast<T*>(work.history_loss)[(first + q) * work.n_rows + row + place]",
           "static_cast<T*>(work.history_loss)[(first + q) * work.n_rows + row + place + 1]", "address", "heap-buffer-overflow"),
    Defect("y read one sample too far", "stream.cu", "T r = -y[place];", "T r = -y[place + 1];", "address", "heap-buffer-overflow"),
    Defect("shared tile one column too small", "compress.cu", "typedef double Tile[2 * TILE][LANES + 1];",
           "typedef double Tile[2 * TILE - 1][LANES + 1];", "address", "heap-buffer-overflow"),
    Defect("list of kept samples in the wrong place", "missing.cu", "row[before + count + __popc(",
           "row[n - used_of(work, item) + count + __popc(", "", NUMBERS),
    Defect("mask of the wrong group", "arithmetic.cuh", "((1u << group) - 1u) << first", "((1u << group) - 1u) << (first & 16)",
           "", "not in its own mask"),
    Defect("barrier in a divergent branch", "stream.cu", "        __syncthreads();  // the history has been written from w",
           "        if (warp == 0) __syncthreads();  // the history has been written from w", "", "divergent barrier"),
    Defect("shared memory read before it is written", "descend.cu", "    rows.until[lane] = records ? work.n_rows : 0;\n", "", "", NUMBERS),
    Defect("lanes added in another order", "arithmetic.cuh",
           "for (int distance = group >> 1; distance > 0; distance >>= 1) v =",
           "for (int distance = 1; distance < group; distance <<= 1) v =",
           "", NUMBERS),
    Defect("momentum on the gradient too", "rules.cuh", "fused(keep, g, slot[0] * momentum)", "fused(keep, g, slot[0]) * momentum", "",
           NUMBERS),
]  # fmt: skip


def plant(defect: Defect, folder: Path) -> None:
    """Copy the kernels and spoil the copy."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    target = folder / defect.file
    source = target.read_text(encoding="utf-8")
    if source.count(defect.right) != 1:
        raise SystemExit(f"{defect.name}: {defect.right!r} stands {source.count(defect.right)} times in {defect.file}, not once")
    target.write_text(source.replace(defect.right, defect.wrong), encoding="utf-8")


def find(defect: Defect, expected: Path) -> str | None:
    """What reported the defect, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cuda"
        plant(defect, folder)
        ran = run(defect.sanitizer, expected, folder)
    if isinstance(defect.told, int):
        return "the comparison with the numbers expected" if ran.returncode == defect.told else None
    if ran.returncode == 0 or defect.told not in ran.stderr:
        return None
    return next(line.strip() for line in ran.stderr.splitlines() if defect.told in line)


def write_expected(path: Path) -> None:
    """The numbers of the kernels as they are."""
    path.write_bytes(pickle.dumps(run_cases(HostDevice())))


def main() -> int:
    """Plant those that were named, or all."""
    chosen = [defect for defect in DEFECTS if not sys.argv[1:] or defect.name in sys.argv[1:]]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "expected"
        write_expected(expected)
        for defect in chosen:
            found = find(defect, expected)
            missed += found is None
            print(f"{defect.name:42} {defect.sanitizer or 'plain':8} {found or 'NOT FOUND'}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
