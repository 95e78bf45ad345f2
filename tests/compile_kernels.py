"""Compile the CPU kernels in several processes: `python -m tests.compile_kernels`, before tests.

Numba compiles one version at a time in a process, and without this each worker of pytest-xdist
compiles nearly all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from fastgd.kernels.cpu.compile_ahead import NEEDED, compile_parts, on_disk, time_to_compile

# all others need the first; then what takes longest, so that no process waits at the end
PARTS = (
    "moments", "join", "fit_by_fit", "batches", "packs", "rule_packs", "solve", "targets", "standardize", "least", "invert", "rates",
    "find_kept",
)  # fmt: skip
DTYPES = ("float64", "float32")  # what one version serves is at hand when the second type comes


def compile_part(part: str, dtype: str) -> None:
    """Compile one part for one type of data; what of it is on disk is loaded."""
    with contextlib.redirect_stderr(io.StringIO()):  # a line for each part says that it is compiled
        compile_parts(np.dtype(dtype), {part})


def main() -> None:
    """Compile what is not on disk."""
    assert set(PARTS) == set(NEEDED)
    parser = argparse.ArgumentParser(prog="python -m tests.compile_kernels", description="Compile the CPU kernels before the tests.")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes (2)")
    jobs = max(1, parser.parse_args().jobs)
    if on_disk()[1]:
        return
    print(f"Compiling the CPU kernels in {jobs} processes; in one it takes {time_to_compile()}.", flush=True)
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(compile_part, PARTS[:1] * 2, DTYPES))
        rest = [(part, dtype) for dtype in DTYPES for part in PARTS[1:]]
        list(pool.map(compile_part, *zip(*rest, strict=True)))


if __name__ == "__main__":
    main()
