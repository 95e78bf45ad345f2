"""A Parquet file, unsorted, larger than memory, fitted group by group by `fastgd fit`: its time,
and the most memory that its process had.

`python -P benchmarks/tables.py [--gb 1] [--memory 512MiB] [--rows-per-group 30] [--folder .]`;
`--gb 5 --memory 2GiB` is the case of the design, about a quarter of an hour on two cores.

1. The file is made here by DuckDB, out of hashes of row numbers: float64 columns that do not
   compress, keys in no order. It and the results are removed at the end.
2. Each command is a process of its own. Its peak is ru_maxrss of the system's account of it, and
   this process imports nothing large, since a child begins with the size of its parent.
3. Three groups are compared with `fastgd.fit` on their rows alone, by ==.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BYTES_PER_ROW = 33  # of the Parquet file: three float64 columns, a key of about 9 bytes

MAKE = """
import duckdb, sys
path, rows, groups, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
con = duckdb.connect(config={"memory_limit": memory, "preserve_insertion_order": False})
key = f"hash(i) % {groups}"
number = "(hash(i + {0}) % 9007199254740992) / 4503599627370496.0 - 1"
columns = f"({key})::BIGINT AS key, {number.format(10**12)} AS x1, {number.format(2 * 10**12)} AS x2"
noise = number.format(3 * 10**12)
con.sql("SET enable_progress_bar = false")
con.sql(f"COPY (SELECT *, 3 * x1 - x2 + key % 7 + ({noise}) AS y FROM (SELECT i, {columns} FROM range({rows}) t(i)) )"
        f" TO '{path}' (FORMAT parquet)")
"""

CHECK = """
import sys
import duckdb, numpy as np, fastgd
path, fits, groups = sys.argv[1], sys.argv[2], int(sys.argv[3])
for key in (0, groups // 3, groups - 1):
    rows = duckdb.sql(f"SELECT x1, x2, y FROM '{path}' WHERE key = {key}").fetchnumpy()
    alone = fastgd.fit(np.stack([rows["x1"], rows["x2"]], 1), rows["y"], intercept=True, epochs=500)
    found = duckdb.sql(f"SELECT n_used, x1, x2, intercept, loss FROM '{fits}' WHERE key = {key}").fetchall()
    assert found == [(int(alone.n_used), *alone.w.tolist(), float(alone.intercept), float(alone.loss))], (key, found, alone)
print("three groups are those of fastgd.fit, by ==")
"""


def run(*command: str) -> tuple[float, float]:
    """Run Python with these arguments: (seconds, peak of resident memory [MiB])."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-P", *command])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Make the file, fit it, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.0, help="size of the Parquet file, in GB")
    parser.add_argument("--memory", default="512MiB", help="--memory-limit of fastgd fit")
    parser.add_argument("--rows-per-group", type=int, default=30)
    parser.add_argument("--folder", default=".", help="where the file, the results and what is sorted lie")
    asked = parser.parse_args()
    rows = int(asked.gb * 1e9 / BYTES_PER_ROW)
    groups = max(1, rows // asked.rows_per_group)
    with tempfile.TemporaryDirectory(prefix="fastgd-tables-", dir=asked.folder) as folder:
        path, fits = str(Path(folder) / "rows.parquet"), str(Path(folder) / "fits.parquet")
        seconds, _ = run("-c", MAKE, path, str(rows), str(groups), asked.memory)
        size = os.path.getsize(path)
        print(f"{size / 1e9:.2f} GB of Parquet, {rows:,} rows, {groups:,} keys in no order; made in {seconds:.0f} s", flush=True)
        model = [path, "--y", "y", "--x", "x1,x2", "--epochs", "500", "--memory-limit", asked.memory]
        seconds, peak = run("-m", "fastgd.cli", "fit", *model, "--by", "key", "--out", fits)
        print(f"by key: {seconds:.1f} s, {rows / seconds / 1e6:.2f} million rows/s, peak {peak:,.0f} MiB of {asked.memory}", flush=True)
        run("-c", CHECK, path, fits, str(groups))
        seconds, peak = run("-m", "fastgd.cli", "fit", *model, "--stats", "--out", str(Path(folder) / "one.csv"))
        print(f"one fit: {seconds:.1f} s, {rows / seconds / 1e6:.2f} million rows/s, peak {peak:,.0f} MiB of {asked.memory}", flush=True)


if __name__ == "__main__":
    main()
