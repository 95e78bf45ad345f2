"""TableResult: what became of the fits of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..input.messages import counted, in_ascii


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TableResult:
    """What `fastgd.fit_table` found: counts, and the results or the file that has them.

    Attributes
    ----------
    n_rows : int
        Rows that were read.
    n_left_out : int
        Rows that lack a number, and were left out under ``nan_policy="omit"``.
    n_groups : int
        Groups; 1 without ``by``.
    statuses : dict
        How many fits have each status, by its name; of several y each is a fit.
    n_far : int
        How many descents ended more than 1 % above the least loss, as far as that is known: their
        coefficients, and statistics, are not those of least squares. 0 for ``solve=True``.
    path : path, or None
        The file with the results, where one was asked for.
    table : pyarrow.Table, or None
        The results, where no file was asked for: a row for each group, as of `fit_frame`.
    """

    n_rows: int
    n_left_out: int
    n_groups: int
    statuses: dict[str, int]
    n_far: int
    path: Path | None
    table: Any

    def __repr__(self) -> str:
        left_out = f", {self.n_left_out:,} left out" if self.n_left_out else ""
        statuses = ", ".join(f"{count:,} {name}" for name, count in self.statuses.items())
        far = [f"{self.n_far:,} more than 1 % above the least loss"] * bool(self.n_far)
        facts = [counted(self.n_rows, "row") + left_out, counted(self.n_groups, "group"), statuses, *far]
        return f"TableResult({'; '.join(facts)}{'' if self.path is None else f'; {in_ascii(str(self.path))}'})"
