"""`fastgd fit`: read what the command line names, fit the groups of a table, and tell."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..input.messages import counted
from ..input.options import read_memory_limit
from ..integrations.table_job import LEAST_MEMORY, planned
from ..integrations.table_plan import plan_of
from ..kernels.update_rules import UPDATE_RULES
from ..results.table_result import TableResult
from .csv_file import CommandError

OF_PROGRAM = 200 * 2**20  # bytes of Python, its libraries and the kernels, measured: 190 MiB
_SHOWN = 20  # rows of results that are printed where no file is asked for


def read_columns_option(text: str | None) -> list[str]:
    """Names of columns, separated by commas; one with a comma in it has quotes."""
    if not text:
        return []
    names = next(csv.reader([text], skipinitialspace=True))
    return [name.strip() for name in names]


def read_nodata_option(text: str) -> list[float]:
    """The values that mean missing."""
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise CommandError(f"--nodata {text}: numbers are needed, such as -9999 or 254,255") from None


def read_optimizer(name: str, given: dict[str, float | None]) -> Any:
    """The optimizer object of a name, with the hyperparameters that were given."""
    from .. import optimizers

    rule = UPDATE_RULES.get(name)
    if rule is None:
        raise CommandError(f"--optimizer {name} is unknown; there are: {', '.join(UPDATE_RULES)}")
    values = {hyper: value for hyper, value in given.items() if value is not None}
    return getattr(optimizers, rule.class_name)(**values)


def limit_of_call(text: str | None) -> int | None:
    """What is left for the call of a limit for the whole process."""
    limit = read_memory_limit(text)
    if limit is None:
        return None
    if limit < OF_PROGRAM + LEAST_MEMORY:
        raise CommandError(
            f"--memory-limit {text}: at least {(OF_PROGRAM + LEAST_MEMORY) // 2**20} MiB are needed, of which Python, its libraries and "
            f"the kernels take {OF_PROGRAM // 2**20}"
        )
    return limit - OF_PROGRAM


@contextmanager
def sources(files: list[str]) -> Iterator[list[str]]:
    """A context of the paths of the files; what standard input has is written to one of them."""
    if "-" not in files:
        yield files
        return
    if len(files) > 1:
        raise CommandError("- (standard input) stands alone: give either it or files")
    with tempfile.NamedTemporaryFile(prefix="fastgd-", suffix=".tmp") as copy:  # it is read twice
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        if not os.path.getsize(copy.name):
            raise CommandError("standard input is empty; a line of names and at least one row of numbers are needed")
        yield [copy.name]


def fit_files(
    files: list[str], given: dict[str, Any], options: dict[str, Any], places: dict[str, Any], dry_run: bool, **limits: Any
) -> list[str]:
    """The lines to print: of what was fitted, or of the plan."""
    began = time.monotonic()
    with sources(files) as paths, planned(paths, given, options, places, **limits) as job:
        if dry_run:
            return [f"{name:<12} {words}" for name, words in plan_of(job)]
        result = job.run()
    lines = summary_of(result, time.monotonic() - began)
    return lines if result.table is None else [*table_of(result), "", *lines]


def summary_of(result: TableResult, seconds: float) -> list[str]:
    """What became of the fits, in lines."""
    left_out = f", of which {result.n_left_out:,} lack a number and were left out" if result.n_left_out else ""
    rate = result.n_rows / max(seconds, 1e-9)
    told = f": {rate:,.0f} rows/s" if rate >= 1 else ""
    lines = [f"{counted(result.n_rows, 'row')}{left_out}, {counted(result.n_groups, 'group')} in {seconds:,.1f} s{told}"]
    lines += [f"  {count:>13,}  {name}" for name, count in result.statuses.items()]
    if result.n_far:
        lines.append(f"  {result.n_far:>13,}  more than 1 % above the least loss: give --standardize, more --epochs, or --solve")
    return lines if result.path is None else [*lines, f"results: {result.path}"]


def table_of(result: TableResult) -> list[str]:
    """The first rows of the results, in columns."""
    shown = result.table.slice(0, _SHOWN)
    columns = [[name, *(_in_words(value) for value in shown[name].to_pylist())] for name in shown.column_names]
    widths = [max(map(len, column)) for column in columns]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) for cells in zip(*columns, strict=True)]
    left = result.table.num_rows - shown.num_rows
    return lines if not left else [*lines, f"... and {counted(left, 'row')} more: give --out FILE for all"]


def _in_words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "null" if value is None else str(value)
