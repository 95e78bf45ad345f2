"""`fastgd verify`: find the candidate and the data that the command line names, and verify them.

1. Without a candidate it verifies every backend that can run here, on the named problems, in
   float32 and float64.
2. The code of `file.py:function` never runs in this process, which alone decides the exit status.
3. What was asked for is judged, or is an error: an option that does nothing is refused.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..environment import info
from ..input.messages import what_was_raised
from ..planning.backends import BACKENDS
from ..results.file_format import DESCRIPTION, most_allowed, read_arrays
from ..testing import problems, rates
from ..verification.bound.yardstick import NoLongDouble
from ..verification.candidates.file_candidate import FileCandidate
from ..verification.report.report import Report, Verdict
from ..verification.verifying import verify
from .csv_file import CommandError, read_columns, regular_file

__all__ = ["CommandError", "verify_backends", "verify_one"]

_QUICK = 5  # --quick takes one problem in five
_ARRAYS = ("w", "loss", "w_history", "loss_history", "X", "y", "lr")  # of a file of histories


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
        counts = Counter(verdict.outcome for verdict in verdicts)
        words = {"disagrees": "DISAGREE", "not judged": "not judged", "agrees in part": "judged in part"}
        said = ", ".join(f"{counts[outcome]} {word}" for outcome, word in words.items() if counts[outcome]) or "agrees"
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


def verify_one(
    candidate: str, data: Path | None, y: str | None, x: str | None, time_limit: float | None, left_out: list[int] | None, **asked: Any
) -> Report:
    """Verify a function in a file, recorded arrays in a file, or a backend, on the user's data.

    left_out: None, or a list that gets the numbers of the lines, or samples, in which a number is
    missing; they are left out.
    """
    if candidate.endswith(".npz"):
        return _verify_archive(Path(candidate), data, y, x, left_out, asked)
    found = _read_candidate(candidate, time_limit)
    if data is None:
        raise CommandError("--data is needed: the file with X and y (.csv with a header, or .npz with the arrays X and y)")
    X, target = _read_data(data, y, x, left_out)
    for name in ("lr", "epochs"):
        if asked.get(name) is None:
            raise CommandError(f"--{name} is needed")
    return verify(found, X, target, **asked)


def _read_candidate(candidate: str, time_limit: float | None) -> str | FileCandidate:
    """Return the backend or the function in a file that the command line names."""
    path, _, function = candidate.rpartition(":")
    notebook = path if path.endswith(".ipynb") else candidate
    if notebook.endswith(".ipynb"):
        name = function if path.endswith(".ipynb") else "NAME"
        raise CommandError(
            f"{notebook} is a notebook, which is not executed here. In it, call fastgd.verify({name}, X, y, lr=...); or export it, "
            f"jupyter nbconvert --to script {notebook}, and verify {notebook.removesuffix('.ipynb')}.py:{name}; %run {notebook} runs it in "
            "another notebook"
        )
    if candidate.endswith(".py") or (path and not function):
        raise CommandError(f"{candidate}: which function? Give {candidate.rstrip(':')}:NAME")
    if path:
        if not path.endswith(".py"):
            raise CommandError(f"{path} is no Python file: FILE.py:FUNCTION names a function, and the name of its file ends in .py")
        return FileCandidate(regular_file(Path(path)), function, time_limit)
    backends = ", ".join(BACKENDS)
    if candidate != "auto" and candidate not in BACKENDS:
        raise CommandError(f"the candidate {candidate!a} is neither FILE.py:FUNCTION nor FILE.npz nor a backend ({backends})")
    return candidate


def _verify_archive(
    path: Path, data: Path | None, y: str | None, x: str | None, left_out: list[int] | None, asked: dict[str, Any]
) -> Report:
    """Verify the arrays w and loss of an .npz file."""
    arrays = _read_npz(path)
    unknown = [name for name in arrays if name not in _ARRAYS]
    if unknown:
        raise CommandError(f"{path} has arrays that are not judged: {', '.join(unknown)}; it may have {', '.join(_ARRAYS)}")
    for short in ("w", "loss"):
        if {short, f"{short}_history"} <= arrays.keys():
            raise CommandError(f"{path} has both {short} and {short}_history; one of them is needed")
    w = arrays.get("w", arrays.get("w_history"))
    loss = arrays.get("loss", arrays.get("loss_history"))
    if w is None:
        raise CommandError(f"{path} has no array w (epochs + 1, D); it has {', '.join(arrays) or 'nothing'}")
    if data is not None:
        X, target = _read_data(data, y, x, left_out)
    elif "X" in arrays and "y" in arrays:
        X, target = _without_missing(arrays["X"], arrays["y"], left_out)
        _refuse_columns(path, y, x)
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
        with regular_file(path).open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise ValueError("it has one array without a name; numpy.savez writes arrays with names")
            length = file.seek(0, os.SEEK_END)
            with zipfile.ZipFile(file) as archive:
                return _read_members(path, archive, length)
    except (CommandError, MemoryError):
        raise
    except Exception as error:  # whatever the readers of a file that somebody made may raise
        raise CommandError(f"cannot read {path}: {what_was_raised(error)}") from None  # zipfile quotes what it found


def _read_members(path: Path, archive: zipfile.ZipFile, length: int) -> dict[str, Any]:
    """Return the arrays of an archive; sizes are compared with a limit before all else."""
    if DESCRIPTION in archive.namelist():
        raise CommandError(f"{path} is a FitResult: in Python, fastgd.verify(fastgd.load({str(path)!a}), X, y, lr=...) judges its history")
    names = Counter(name.removesuffix(".npy") for name in archive.namelist())
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"it has two arrays of the name {twice[0]}")
    declared, limit = sum(member.file_size for member in archive.infolist()), most_allowed(length)
    if declared > limit:
        what = f"it would take {declared:,} bytes of memory, and {limit:,} are allowed for a file of {length:,}"
        raise ValueError(f"{what}: write it with numpy.savez, which does not compress")
    return read_arrays(archive, archive.namelist())


def _read_data(path: Path, y: str | None, x: str | None, left_out: list[int] | None) -> tuple[Any, Any]:
    """Return X (n, d) and y (n,) of an .npz or .csv file."""
    if path.suffix == ".npz":
        _refuse_columns(path, y, x)
        arrays = _read_npz(path)
        if not {"X", "y"} <= arrays.keys():
            raise CommandError(f"{path} must have the arrays X and y; it has {', '.join(arrays) or 'nothing'}")
        return _without_missing(arrays["X"], arrays["y"], left_out)
    return read_columns(path, y, None if x is None else [name.strip() for name in x.split(",")], left_out)


def _without_missing(X: Any, y: Any, left_out: list[int] | None) -> tuple[Any, Any]:
    """Return the data of one fit without samples that are not finite, where that is asked for."""
    if left_out is None or y.ndim != 1 or X.shape[:1] != y.shape or y.dtype.kind not in "fiub" or X.dtype.kind not in "fiub":
        return X, y  # verify says what is wrong with them
    whole = np.isfinite(y) & np.isfinite(X.reshape(len(y), -1)).all(1)
    left_out.extend(np.flatnonzero(~whole).tolist())
    return X[whole], y[whole]


def _refuse_columns(path: Path, y: str | None, x: str | None) -> None:
    """Raise an error where columns are named and no .csv is read."""
    if y is not None or x is not None:
        raise CommandError(f"--y and --x name columns of a .csv; X and y are the arrays of {path}")
