"""What a new process pays for importing, loading and compiling kernels.

`python benchmarks/first_call.py [--out FILE]`.

1. Every figure is of new processes, whose clocks begin after NumPy, or Numba, was imported. The
   cache is a folder of its own (NUMBA_CACHE_DIR), empty at first; that kernels were loaded, not
   compiled, is read from Numba's own counts. Python keeps its byte code, which pip writes when it
   installs, whatever PYTHONDONTWRITEBYTECODE says here: the first process, which may write it, is
   not counted.
2. Rows: compiling what `fit` needs for each dtype, then what `solve` and gaps in the data need
   besides; the first call with all of that on disk, from after `import numba` to its result,
   `import fastgd` included, and beside it the first call of an empty cached kernel, which is what
   Numba itself takes for its first one; the size of the cache; `import fastgd` beyond NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

from benchmarks.measuring import Journal, Row, conditions, percentiles, shown
from fastgd.planning.plan import available_threads

MOST_IMPORT, MOST_FIRST = 0.05, 0.5  # seconds: the aims
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
seconds["import"] = time.perf_counter() - began
for what in sys.argv[2:]:
    if what == "fit": fastgd.fit(X, y, epochs=5)
    if what == "fit, no rate": fastgd.fit(X, y, lr=0.001, epochs=5)
    if what == "gaps": fastgd.fit(gaps, y, epochs=5, nan_policy="omit")
    if what == "solve": fastgd.solve(X, y)
    seconds[what] = time.perf_counter() - began
from fastgd.kernels.cpu import compile_ahead
print(json.dumps({"seconds": seconds, "counts": compile_ahead.compiled_and_loaded()}))
"""


def run_new(code: str, *arguments: str, cache: str | None = None) -> Any:
    """What a new process prints, as JSON."""
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": cache})
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-P", "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def aimed(case: str, dtype: str, values: list[float], most: float, limit: str) -> Row:
    """A row whose limit is a time."""
    seconds = percentiles(values)
    return {
        "case": case, "dtype": dtype, **seconds, "aim": f"≤ {most:g} s", "limit": limit, "limit_s": most, "most": 1.0,
        "ratio": seconds["median"] / most, "ratio_p20": seconds["p20"] / most, "ratio_p80": seconds["p80"] / most,
        "met": seconds["median"] <= most, "repeats": len(values),
    }  # fmt: skip


def measure_imports(repeats: int) -> list[Row]:
    """`import fastgd`, until `fastgd.fit` is at hand, beyond NumPy."""
    run_new(IMPORT)
    return [aimed("import fastgd", "", [run_new(IMPORT) for _ in range(repeats)], MOST_IMPORT, "beyond NumPy")]


def measure_first_calls(repeats: int, cache: str | None = None) -> list[Row]:
    """The first fit in a new process, kernels on disk; the process that compiles is not counted."""
    rows = []
    for dtype in ("float32", "float64"):
        run_new(FIRST, dtype, "fit", cache=cache)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "empty_kernel.py").write_text(EMPTY_KERNEL)
            run_new(EMPTY, folder)
            pairs = [(run_new(EMPTY, folder), run_new(FIRST, dtype, "fit", cache=cache)) for _ in range(repeats)]
        found = [fit for _, fit in pairs]
        if any(each["counts"]["compiled"] for each in found) or any(misses for (_, misses), _ in pairs):
            raise SystemExit("the cache was warm, and kernels were compiled all the same")
        empty = float(np.median([seconds for (seconds, _), _ in pairs]))
        seconds, limit = [each["seconds"]["fit"] for each in found], f"beyond Numba; an empty kernel {shown(empty)}"
        row = aimed("first fit of a process, kernels on disk", dtype, seconds, MOST_FIRST, limit)
        rows.append(row | {"empty_kernel_s": empty, "kernels_loaded": found[0]["counts"]["loaded"]})
    return rows


def measure_cold(cache: str) -> list[Row]:
    """Compiling into an empty cache."""
    rows = []
    for dtype in ("float32", "float64"):
        found = run_new(FIRST, dtype, "fit", "gaps", "solve", cache=cache)
        seconds = found["seconds"]
        total = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
        rows.append({
            "case": "compiling", "dtype": dtype, "fit_s": seconds["fit"], "gaps_s": seconds["gaps"] - seconds["fit"],
            "solve_s": seconds["solve"] - seconds["gaps"], "kernels_compiled": found["counts"]["compiled"],
            "kernels_loaded": found["counts"]["loaded"], "cache_bytes_so_far": total,
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure all of it, in a cache of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="file for the JSON lines; without it they are printed")
    parser.add_argument("--repeats", type=int, default=9, help="processes for each median (default 9)")
    options = parser.parse_args()
    journal = Journal(options.out, conditions(available_threads()))
    with tempfile.TemporaryDirectory() as cache:
        for rows in (measure_cold(cache), measure_first_calls(options.repeats, cache), measure_imports(options.repeats)):
            for row in rows:
                journal.write(row)
    for row in journal.rows:
        if row["case"] == "compiling":
            parts = ", ".join(f"{what} {row[key]:.1f} s" for what, key in (("fit", "fit_s"), ("gaps", "gaps_s"), ("solve", "solve_s")))
            print(f"{row['dtype']}: compiling {parts}; the cache has {row['cache_bytes_so_far'] / 2**20:.1f} MiB then")
        else:
            times = f"{shown(row['median'])} ({shown(row['p20'])} to {shown(row['p80'])})"
            print(f"{row['case']} {row['dtype']}: {times}, {row['aim']}: {'met' if row['met'] else 'MISSED'}")
    journal.close()


if __name__ == "__main__":
    main()
