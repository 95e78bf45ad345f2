"""A raster, time first, fitted pixel by pixel within a memory limit: the peak of the call.

It also checks that no bit depends on the layout.

`python -P benchmarks/raster_memory.py [times rows columns] [--limits LIMIT …]`; default 120 × 1000
× 1000 float32, 480 MB, in 1 GiB and in 200 MiB. `480 1500 1500 --limits 512MiB` is 4 GiB of data;
it takes 9 GiB, since a transposed copy is compared.

1. The peak is that of the process's resident memory while the call runs, read every 2 ms from /proc
   (Linux), less what was resident before.
2. The limit counts what the call takes beside the user's own arrays: so does the peak, since the
   raster is resident before.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import numpy as np

import fastgd


def resident() -> float:
    """Resident memory in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Peak:
    """Watches the resident memory while a block runs."""

    def __enter__(self) -> Peak:
        self.before = self.most = resident()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, resident())

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()

    @property
    def taken(self) -> float:
        """MiB above what was resident before."""
        return self.most - self.before


def make_raster(times: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """t (times,) and a raster (times, rows, columns) of lines with noise, float32."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, times, dtype=np.float32)
    slope, offset = rng.standard_normal((2, rows, columns), np.float32)
    cube = np.empty((times, rows, columns), np.float32)
    for layer, at in zip(cube, t, strict=True):
        layer[:] = offset + slope * at + np.float32(0.1) * rng.standard_normal((rows, columns), np.float32)
    return t, cube


def main() -> int:
    """Fit, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", type=int, nargs="*", default=(120, 1000, 1000), help="times, rows, columns")
    parser.add_argument("--limits", nargs="+", default=("1 GiB", "200 MiB"), help="values of memory_limit")
    asked = parser.parse_args()
    t, cube = make_raster(*asked.shape)
    pixels = np.moveaxis(cube, 0, -1)
    settings = {"intercept": True, "epochs": 50}
    fastgd.fit(t, pixels[0, 0], **settings)  # compiled or loaded before anything is measured
    results = {}
    for limit in asked.limits:
        with Peak() as peak:
            began = time.perf_counter()
            results[limit] = fastgd.fit(t, pixels, memory_limit=limit, **settings)
            took = time.perf_counter() - began
        print(f"memory_limit={limit!r:10}  peak {peak.taken:7.1f} MiB  {took:6.2f} s  {results[limit]}")
    began = time.perf_counter()
    copy = np.ascontiguousarray(pixels)
    print(f"a transposed copy: {copy.nbytes / 2**20:.1f} MiB, {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    want = fastgd.fit(t, copy, **settings)
    print(f"the fit of that copy: {time.perf_counter() - began:.2f} s")
    equal = all(
        np.array_equal(getattr(result, name), getattr(want, name)) for result in results.values() for name in ("w", "intercept", "loss")
    )
    print("w, intercept and loss of all are", "equal with ==" if equal else "NOT EQUAL")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
