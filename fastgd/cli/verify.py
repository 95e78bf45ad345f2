"""`fastgd verify`: find the candidate and the data that the command line names, and verify them.

1. Without a candidate it verifies every backend that can run here, on the named problems, in
   float32 and float64.
2. `file.py:function` runs the user's file as an import does: `if __name__ == "__main__"` is false.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..environment import info
from ..planning.backends import BACKENDS
from ..testing import problems, rates
from ..verification.bound.yardstick import NoLongDouble
from ..verification.report.report import Report, Verdict
from ..verification.verifying import verify

__all__ = ["CommandError", "verify_backends", "verify_one"]

_QUICK = 5  # --quick takes one problem in five


class CommandError(ValueError):
    """The command line, or a file that it names, cannot be used."""


class _Row(NamedTuple):
    """A row of the printed table: a backend in one dtype."""

    backend: str
    dtype: str
    problems: int  # how many
    verdicts: list[tuple[str, Verdict]]  # (problem, verdict)


def verify_backends(backends: list[str], quick: bool, tell: Callable[[str], None]) -> Report:
    """Verify backends on the named problems, at three learning rates; print and return it."""
    names = backends or [name for name, row in BACKENDS.items() if row.why_unavailable() is None]
    chosen = problems()[:: _QUICK if quick else 1]
    at_rates = "learning rates of 0.5, 1.9 and 2.2 of 1/lambda_max (the last diverges)"
    tell(f"{len(chosen)} problems, {at_rates}, 30 epochs, w and loss at every epoch")
    rows, not_judged = [], {}
    for name in names:
        for dtype in ("float32", "float64"):
            try:
                rows.append(_verify_backend(name, dtype, chosen))
            except NoLongDouble as missing:
                not_judged[dtype] = missing
    tell(f"{'backend':10} {'dtype':8} {'problems':>8} {'worst tau_w':>11} {'worst tau_loss':>14} {'allowed':>8}")
    for row in rows:
        verdicts = [verdict for _, verdict in row.verdicts]
        tau_w, tau_loss = (max(np.nan_to_num(getattr(v, name), nan=0.0) for v in verdicts) for name in ("tau_w", "tau_loss"))
        bad = sum(not verdict.ok for verdict in verdicts)
        said = f"{bad} DISAGREE" if bad else "agrees"
        tell(f"{row.backend:10} {row.dtype:8} {row.problems:8} {tau_w:11.3f} {tau_loss:14.3f} {verdicts[0].limit:8g}  {said}")
    for row in rows:
        for problem, verdict in row.verdicts:
            if not verdict.ok:
                tell(f"{problem}: {verdict}")
    for dtype, why in not_judged.items():
        tell(f"{dtype} is left out: {why}")
    for name, reason in info().backends.items():
        if reason and not backends:
            tell(f"{name} cannot run here: {reason}")
    judged = list(dict.fromkeys(row.dtype for row in rows))
    every = tuple(_named(verdict, problem) for row in rows for problem, verdict in row.verdicts)
    first = verify("numpy", [1.0], [1.0], lr=0.1, epochs=0, dtype="float32")
    question = {**first.question, "recipe": "the named problems of fastgd.testing", "epochs": 30, "dtype": " and ".join(judged)}
    question |= {"n_fits": len(every), "n_samples": "various", "n_features": "various"}
    return Report(every, question, first.environment)


def _verify_backend(name: str, dtype: Any, chosen: list[Any]) -> _Row:
    """Verify one backend in one dtype on the problems that suit the dtype."""
    verdicts = []
    fitting = [problem.astype(dtype) for problem in chosen if dtype in problem.dtypes]
    for problem in fitting:
        for multiple, lr in rates(problem).items():
            if multiple != 1.0:
                found = verify(name, problem.X, problem.y, lr=lr, epochs=30, intercept=problem.intercept, w0=problem.w0, dtype=dtype)
                verdicts.append((f"{problem.name} in {dtype} at {multiple}/lambda", found.verdicts[0]))
    return _Row(name, dtype, len(fitting), verdicts)


def _named(verdict: Verdict, problem: str) -> Verdict:
    """Return the verdict with the name of the problem."""
    return replace(verdict, candidate=f"{verdict.candidate}, {problem}")


def verify_one(candidate: str, data: Path | None, y: str | None, x: str | None, **asked: Any) -> Report:
    """Verify a function in a file, recorded arrays in a file, or a backend, on the user's data."""
    if candidate.endswith(".npz"):
        return _verify_archive(Path(candidate), data, y, x, asked)
    if data is None:
        raise CommandError("--data is needed: the file with X and y (.csv with a header, or .npz with the arrays X and y)")
    X, target = _read_data(data, y, x)
    path, colon, function = candidate.rpartition(":")
    found = _load_function(Path(path), function) if colon else candidate
    if not colon and candidate.endswith(".py"):
        raise CommandError(f"{candidate}: which function? Give {candidate}:NAME")
    for name in ("lr", "epochs"):
        if asked.get(name) is None:
            raise CommandError(f"--{name} is needed")
    return verify(found, X, target, **asked)


def _verify_archive(path: Path, data: Path | None, y: str | None, x: str | None, asked: dict[str, Any]) -> Report:
    """Verify the arrays w and loss of an .npz file."""
    arrays = _read_npz(path)
    w = arrays.get("w", arrays.get("w_history"))
    loss = arrays.get("loss", arrays.get("loss_history"))
    if w is None:
        raise CommandError(f"{path} has no array w (epochs + 1, D); it has {', '.join(arrays) or 'nothing'}")
    if data is not None:
        X, target = _read_data(data, y, x)
    elif "X" in arrays and "y" in arrays:
        X, target = arrays["X"], arrays["y"]
    else:
        raise CommandError(f"{path} has no arrays X and y: put them in, or give --data")
    if asked.get("lr") is None:
        if "lr" not in arrays:
            raise CommandError("--lr is needed, or an array lr in the file")
        asked["lr"] = arrays["lr"]
    return verify((w, loss) if loss is not None else w, X, target, **asked)


def _read_npz(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz file by name."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it has one array without a name; numpy.savez writes arrays with names")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CommandError(f"cannot read {path}: {error}") from None


def _read_data(path: Path, y: str | None, x: str | None) -> tuple[Any, Any]:
    """Return X (n, d) and y (n,) of an .npz or .csv file."""
    if path.suffix == ".npz":
        arrays = _read_npz(path)
        if not {"X", "y"} <= arrays.keys():
            raise CommandError(f"{path} must have the arrays X and y; it has {', '.join(arrays) or 'nothing'}")
        return arrays["X"], arrays["y"]
    header, rows = _read_csv(path)
    if y is None:
        raise CommandError(f"--y is needed: the column with the targets, one of {', '.join(header)}")
    features = [name.strip() for name in x.split(",")] if x else [name for name in header if name != y]
    for name in (y, *features):
        if name not in header:
            raise CommandError(f"{path} has no column {name!r}; it has {', '.join(header)}")
    columns = [header.index(name) for name in (*features, y)]
    numbers = np.empty((len(rows), len(columns)))
    for i, (line, row) in enumerate(rows):
        for k, column in enumerate(columns):
            try:
                numbers[i, k] = float(row[column])
            except (ValueError, IndexError):
                value = repr(row[column]) if column < len(row) else "nothing"
                raise CommandError(f"{path}, line {line}, column {header[column]!r}: {value} is not a number") from None
    return numbers[:, :-1], numbers[:, -1]


def _read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows, each with its line number, of a file with , ; or tabs."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            table = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(table) < 2:
        raise CommandError(f"{path} needs a header and at least one row of numbers")
    return [name.strip() for name in table[0][1]], table[1:]


def _load_function(path: Path, name: str) -> Any:
    """Return the function of this name in the user's file."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # so that the file can import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # any error of the user's file
        raise CommandError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    found = getattr(module, name, None)
    if not callable(found):
        there = ", ".join(key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == path.stem)
        raise CommandError(f"{path} has no function {name!r}; it has {there or 'none'}")
    return found
