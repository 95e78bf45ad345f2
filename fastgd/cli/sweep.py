"""`fastgd sweep`: read the axes and the data that the command line names, sweep, and write."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..results.replacing import replacing
from ..results.sweep_result import SweepResult
from ..sweeping import sweep
from .csv_file import CommandError, read_columns

ENDINGS = (".csv", ".parquet", ".npz")
_MOST_VALUES = 10**7  # of one axis
_LIBRARIES = ("polars", "pyarrow", "pandas")  # that write files, the first that is there


def read_axis(text: str, option: str) -> list[float]:
    """The values of an axis: '0,0.9,0.99', or low:high:log:count, or low:high:lin:count."""
    if ":" not in text:
        return [_number(one, option) for one in text.split(",")]
    parts = text.split(":")
    if len(parts) != 4 or parts[2].strip() not in ("log", "lin"):
        raise CommandError(f"{option} {text} is neither numbers with commas, such as 0,0.9, nor LOW:HIGH:log:COUNT nor LOW:HIGH:lin:COUNT")
    low, high, kind = _number(parts[0], option), _number(parts[1], option), parts[2].strip()
    if not (parts[3].strip().isdecimal() and 2 <= int(parts[3]) <= _MOST_VALUES):
        raise CommandError(f"{option} {text}: the count must be a whole number from 2 to {_MOST_VALUES:,}")
    if not low < high or (kind == "log" and low <= 0):
        needed = "0 < LOW < HIGH" if kind == "log" else "LOW < HIGH"
        raise CommandError(f"{option} {text}: {needed} is needed")
    values = np.geomspace(low, high, int(parts[3])) if kind == "log" else np.linspace(low, high, int(parts[3]))
    return [float(value) for value in values]


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CommandError(f"{option}: {text.strip()!a} is not a number")
    return value


def sweep_file(
    data: Path, y: str | None, x: str | None, validation: Path | None, axes: dict[str, tuple[str, str | None]], **options: Any
) -> SweepResult:
    """Sweep the columns of a .csv file.

    axes: {name in the grid: (option of the command line, its text or None)}.
    """
    grid: dict[str, Any] = {}
    for name, (option, text) in axes.items():
        if text is not None:
            grid[name] = [one.strip() for one in text.split(",")] if name in ("optimizer", "reduction") else read_axis(text, option)
    if not grid:
        raise CommandError(f"an axis is needed: one of {', '.join(option for option, _ in axes.values())}")
    columns = None if x is None else [name.strip() for name in x.split(",")]
    X, target = read_columns(data, y, columns)
    if validation is not None:
        options["X_val"], options["y_val"] = read_columns(validation, y, columns)
    return sweep(X, target, grid=grid, **options)


def check_ending(path: Path) -> None:
    """Raise unless the name says what kind of file is to be written, and that can be done."""
    if path.suffix not in ENDINGS:
        raise CommandError(f"--out {path}: the name must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if path.suffix != ".npz":
        _library()


def write(result: SweepResult, path: Path) -> None:
    """Write a table with a row for each cell (.csv, .parquet), or the whole sweep (.npz)."""
    if path.suffix == ".npz":
        result.save(path)
        return
    import narwhals

    frame: Any = narwhals.from_native(result.to_frame(_library()))
    with replacing(path) as file:
        if path.suffix == ".parquet":
            frame.write_parquet(file)
        else:
            file.write(frame.write_csv().encode())


def draw(result: SweepResult, path: Path) -> None:
    """Write the heat map to a picture."""
    figure: Any = result.plot().figure
    figure.savefig(path)


def _library() -> str:
    """The library that writes tables."""
    if importlib.util.find_spec("narwhals") is None:
        raise CommandError("tables need narwhals, and polars, pyarrow or pandas: pip install 'fastgd[frames]' polars")
    found = [name for name in _LIBRARIES if importlib.util.find_spec(name) is not None]
    if not found:
        raise CommandError("tables need polars, pyarrow or pandas: pip install polars")
    return found[0]
