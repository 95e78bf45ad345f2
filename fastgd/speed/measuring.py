"""Timing, rows and tables.

1. Functions that are compared are called in turn: machines are noisy, in waves longer than a call.
   A median, with the 20th and 80th percentile, is told, never the best.
2. A row is a dict that tells the whole story: JSON lines in a file, which can be gone on with.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..environment import info

Row = dict[str, Any]
FEWEST = 3  # repetitions


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


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int, most_seconds: float = np.inf) -> dict[str, list[float]]:
    """Seconds of each function, called in turn, `repeats` times; a first round is not counted.

    Rounds end after `most_seconds`, when there are FEWEST of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    began = time.perf_counter()
    for repeat in range(repeats + 1):
        if repeat > FEWEST and time.perf_counter() - began > most_seconds:
            break
        for name, function in functions.items():
            spent = timed(function)
            if repeat:
                seconds[name].append(spent)
    return seconds


def conditions(threads: int) -> Row:
    """Where and with what this was measured."""
    found = info()
    return {
        "load": os.getloadavg()[0], "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": found.cpu, "simd_bits": found.simd_bits, "threads": threads, "platform": found.platform,
        "python": found.python, "fastgd": found.fastgd, **{name: found.libraries[name] for name in ("numpy", "numba", "torch")},
    }  # fmt: skip


class Journal:
    """Rows as JSON lines in a file, or in memory alone; what is in the file already is read."""

    def __init__(self, path: Path | None, about: Row) -> None:
        self._path, self._about = path, about
        self.rows: list[Row] = []
        if path is not None and path.exists():
            self.rows = read_rows(path)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(_line(row) for row in self.rows), encoding="utf-8")

    def has(self, **wanted: object) -> bool:
        """Whether there is a row with these values."""
        return any(all(row.get(name) == value for name, value in wanted.items()) for row in self.rows)

    def write(self, row: Row) -> None:
        """Add a row; the file is whole after each."""
        row = json.loads(json.dumps(self._about | row, default=lambda value: value.item()))
        self.rows.append(row)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(row))


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; a last line that a kill cut short is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def shown(seconds: float) -> str:
    """Seconds with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def cells_of(row: Row) -> tuple[str, str, str, str, str]:
    """What a table shows of a row: time, limit, ratio, aim, whether it is met."""
    if "ratio" not in row:
        return shown(row["median"]), "", "", "", ""
    limit = row["limit"] if row["limit"] == shown(row["limit_s"]) else f"{shown(row['limit_s'])}: {row['limit']}"
    ratio = f"{row['ratio']:.2f} ({row['ratio_p20']:.2f} to {row['ratio_p80']:.2f})"
    if row["most"] is None:
        return shown(row["median"]), limit, ratio, "", ""
    return shown(row["median"]), limit, ratio, f"<= {row['most']:g}", "met" if row["ratio"] <= row["most"] else "missed"
