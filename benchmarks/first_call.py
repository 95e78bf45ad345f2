"""What a new process pays: importing, a first fit with and without kernels on disk, memory.

    python -P benchmarks/first_call.py

1. Every figure is of new processes, whose clocks begin after NumPy, or Numba, was imported. The
   cache is a folder of its own (NUMBA_CACHE_DIR), empty at first; that kernels were loaded, not
   compiled, is read from Numba's own counts. Python keeps its byte code, which pip writes when it
   installs, whatever PYTHONDONTWRITEBYTECODE says here: the first process, which may write it, is
   not counted.
2. Compiling: what `fit` needs for each dtype, then what gaps in the data and `solve` need besides,
   into an empty cache, and its size.
3. Memory: the most that was resident while a call ran, less what was before it, its own data among
   that; a million cells of a sweep: the whole process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

from fastgd.planning.plan import available_threads
from fastgd.speed.measuring import Journal, Row, conditions, percentiles, shown

IMPORT = """
import json, time
import numpy
began = time.perf_counter()
import fastgd
fastgd.fit
print(json.dumps(time.perf_counter() - began))
"""
EMPTY = """
import json, sys, time
import numpy as np, numba
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
import empty_kernel
empty_kernel.empty(np.ones(1))
print(json.dumps([time.perf_counter() - began, sum(empty_kernel.empty.stats.cache_misses.values())]))
"""
EMPTY_KERNEL = """
import numba

@numba.njit(cache=True)
def empty(array):
    pass
"""
FIRST = """
import json, sys, time
import numpy as np, numba
X, y = np.ones((20, 2), sys.argv[1]), np.arange(20, dtype=sys.argv[1])
X[:, 1] = y * y
gaps = X.copy()
gaps[3, 0] = np.nan
seconds = {}
began = time.perf_counter()
import fastgd
for what in sys.argv[2:]:
    if what == "fit": fastgd.fit(X, y, epochs=5)
    if what == "gaps": fastgd.fit(gaps, y, epochs=5, nan_policy="omit")
    if what == "solve": fastgd.solve(X, y)
    seconds[what] = time.perf_counter() - began
from fastgd.kernels.cpu import compile_ahead
print(json.dumps({"seconds": seconds, "counts": compile_ahead.compiled_and_loaded()}))
"""
MEMORY = """
import json, sys, threading
import numpy as np, fastgd
from pathlib import Path

def resident():
    return 1024 * int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])

rng = np.random.default_rng(0)
what, share = sys.argv[1], float(sys.argv[2])
of = lambda number: max(20, int(number * share))
if what == "raster":
    cube = rng.standard_normal((120, of(1_000_000)), np.float32)
    X, y, options = np.linspace(0, 1, 120, dtype=np.float32), cube.T, {"epochs": 50, "intercept": True}
    options |= {"memory_limit": limit} if (limit := "".join(sys.argv[3:])) else {}
    warm = lambda: fastgd.fit(X, np.ascontiguousarray(y[0]), **options)
    call = lambda: fastgd.fit(X, y, progress=False, **options)
elif what == "cells":
    X, y, count = rng.normal(size=(1000, 8)), rng.normal(size=1000), of(1000)
    grid = {"lr": np.geomspace(1e-4, 0.1, count), "momentum": np.linspace(0, 0.9, count)}
    warm = lambda: fastgd.sweep(X, y, grid={"lr": [0.1], "momentum": [0.5]}, epochs=1, progress=False)
    call = lambda: fastgd.sweep(X, y, grid=grid, epochs=20, progress=False)
else:
    m, n, d = json.loads(what)
    m, n = (of(m), n) if m > 1 else (m, of(n))
    X, y = rng.standard_normal((m, n, d), np.float32), rng.standard_normal((m, n), np.float32)
    warm = lambda: fastgd.fit(X[0, :50], y[0, :50], lr=0.01, epochs=2)
    call = lambda: fastgd.fit(X, y, lr=0.01, epochs=100, progress=False)
warm()
before = most = resident()
over = threading.Event()

def watch():
    global most
    while not over.wait(0.002):
        most = max(most, resident())

watcher = threading.Thread(target=watch)
watcher.start()
result = call()
over.set()
watcher.join()
most = max(most, resident())
print(json.dumps({"data": X.nbytes + y.nbytes, "before": before, "taken": most - before}))
"""
OF_MEMORY = {  # words: arguments
    "10⁵ × 100 × 1, w only": ("[100000, 100, 1]",),
    "2·10⁴ × 256 × 8, w only": ("[20000, 256, 8]",),
    "one fit, 10⁶ × 16": ("[1, 1000000, 16]",),
    "raster 120 × 10⁶, a line each": ("raster",),
    'the same, memory_limit="200 MiB"': ("raster", "200 MiB"),
    "10⁶ cells of a sweep, d = 8": ("cells",),
}


def run_new(code: str, *arguments: str, cache: str | None = None) -> Any:
    """What a new process prints, as JSON."""
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-P", "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def measure_import(repeats: int) -> Row:
    """`import fastgd`, until `fastgd.fit` is at hand, beyond NumPy."""
    run_new(IMPORT)
    return {
        "cold": "import fastgd, beyond NumPy",
        "dtype": "",
        **percentiles([run_new(IMPORT) for _ in range(repeats)]),
        "repeats": repeats,
    }


def measure_compiling(cache: str, dtype: str) -> Row:
    """Compiling into an empty cache: one process."""
    found = run_new(FIRST, dtype, "fit", "gaps", "solve", cache=cache)
    seconds, total = found["seconds"], sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    return {
        "cold": "first fit, kernels compiled", "dtype": dtype, **percentiles([seconds["fit"]]), "repeats": 1,
        "gaps_s": seconds["gaps"] - seconds["fit"], "solve_s": seconds["solve"] - seconds["gaps"],
        "kernels_compiled": found["counts"]["compiled"], "cache_bytes": total,
    }  # fmt: skip


def measure_loading(cache: str, dtype: str, repeats: int) -> Row:
    """The first fit of a process, kernels on disk, beside an empty kernel of Numba's own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty_kernel.py").write_text(EMPTY_KERNEL)
        run_new(EMPTY, folder)
        pairs = [(run_new(EMPTY, folder), run_new(FIRST, dtype, "fit", cache=cache)) for _ in range(repeats)]
    if any(fit["counts"]["compiled"] for _, fit in pairs) or any(misses for (_, misses), _ in pairs):
        raise SystemExit("the cache was warm, and kernels were compiled all the same")
    empty = float(np.median([seconds for (seconds, _), _ in pairs]))
    return {"cold": "first fit, kernels on disk, beyond Numba", "dtype": dtype, **percentiles([fit["seconds"]["fit"] for _, fit in pairs]),
            "repeats": repeats, "empty_kernel_s": empty}  # fmt: skip


def measure_all(journal: Journal, share: float) -> None:
    """All rows; where the journal has some of them, none."""
    if any("cold" in row or "memory" in row for row in journal.rows):
        return
    repeats = 9 if share == 1.0 else 2
    rows = [measure_import(repeats)]
    with tempfile.TemporaryDirectory() as cache:
        for dtype in ("float32", "float64"):
            rows += [measure_compiling(cache, dtype), measure_loading(cache, dtype, repeats)]
    for words, (what, *more) in OF_MEMORY.items():
        rows.append({"memory": words, **run_new(MEMORY, what, str(share), *more)})
    for row in rows:
        journal.write(row)
        if "cold" in row:
            print(f"{row['cold']:44} {row['dtype']:8} {shown(row['median'])} ({shown(row['p20'])} to {shown(row['p80'])})", flush=True)
        else:
            print(f"{row['memory']:44} takes {row['taken'] / 2**20:,.0f} MiB beyond its {row['data'] / 2**20:,.0f} MiB of data", flush=True)


if __name__ == "__main__":
    measure_all(Journal(None, conditions(available_threads())), 1.0)
