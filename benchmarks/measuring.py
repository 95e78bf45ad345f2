"""Timing, rows and tables.

Medians of interleaved repetitions with the 20th and 80th percentile: machines are noisy, in waves.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import fastgd

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent


def percentiles(values: list[float] | np.ndarray) -> dict[str, float]:
    """Median, 20th and 80th percentile."""
    return dict(zip(("median", "p20", "p80"), (float(q) for q in np.percentile(values, [50, 20, 80])), strict=True))


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call; what it returns is given back afterwards."""
    began = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - began
    del result
    return seconds


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each function, called in turn, `repeats` times; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            spent = timed(function)
            if repeat:
                seconds[name].append(spent)
    return seconds


def conditions(threads: int) -> Row:
    """Where and with what this was measured."""
    found = fastgd.info()

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    return {
        "commit": (git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")) or None,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": found.cpu, "simd_bits": found.simd_bits, "threads": threads, "platform": found.platform,
        "python": found.python, "fastgd": found.fastgd, **{name: found.libraries[name] for name in ("numpy", "numba", "torch")},
    }  # fmt: skip


class Journal:
    """Rows as JSON lines, in a file or on the standard output."""

    def __init__(self, path: str | None, about: Row) -> None:
        self._about = about
        self._file = None
        self.rows: list[Row] = []
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  # closed by close()

    def write(self, row: Row) -> None:
        """One row."""
        self.rows.append(row)
        line = json.dumps(self._about | row, ensure_ascii=False, default=lambda value: value.item())
        if self._file is None:
            print(line, flush=True)
        else:
            print(line, file=self._file, flush=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def shown(seconds: float) -> str:
    """Seconds with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table_of_aims(rows: list[Row]) -> str:
    """A line for each row that has an aim."""
    lines = [f"{'case':44}{'dtype':8}{'median':>9}{'p20':>9}{'p80':>9}  {'limit':46}{'ratio':>7}{'p20–p80':>12}{'aim':>7}  {'τ':>6}"]
    for row in rows:
        if "aim" not in row:
            continue
        times = "".join(f"{shown(row[key]):>9}" for key in ("median", "p20", "p80"))
        limit = f"{shown(row['limit_s'])}: {row['limit']}"
        ratio = f"{row['ratio']:>7.2f}{row['ratio_p20']:>6.2f}–{row['ratio_p80']:<5.2f}{row['most']:>6.2f}"
        tau = f"{row['worst_tau']:>6.2f}" if "worst_tau" in row else ""
        lines.append(f"{row['case']:44}{row['dtype']:8}{times}  {limit:46}{ratio}  {tau:>6}  {'met' if row['met'] else 'MISSED'}")
    return "\n".join(lines)
