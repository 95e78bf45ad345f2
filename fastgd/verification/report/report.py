"""Report: the verdict on one or more candidates, for people (print, picture, page) and for programs (JSON)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..bound.yardstick import Array
from ..causes.diagnosis import Diagnosis

__all__ = ["Beyond", "Report", "Verdict"]

_MOST_SHOWN = 6  # verdicts printed one by one


class Beyond(NamedTuple):
    """The first value that is beyond the bound."""

    epoch: int
    quantity: str  # "w[j]", "intercept" or "loss"
    share: float  # of the bound; inf: not a number, or not there


@dataclass(frozen=True, eq=False)
class Verdict:
    """One candidate on one fit.

    Attributes
    ----------
    candidate : str
        Its name.
    fit : tuple of int
        Its place among the leading axes; empty for a single fit.
    ok : bool
        Whether w and loss are within the bound at every epoch, and nothing else is wrong.
    dtype : str
        The precision that was judged.
    limit : float
        The share of the bound that is allowed: 2 for fastgd's own kernels, 8 for others.
    tau_w, tau_loss : float
        The worst shares of the bound; NaN where there was nothing to judge.
    tau_w_epoch, tau_loss_epoch : int or None
        Where they are.
    first : Beyond or None
        The first value beyond the bound.
    epochs, epochs_judged : int
        Epochs recorded, and those of them that could be judged.
    w_share : ndarray (epochs + 1,)
        The share of the bound that the step to each row used; NaN: not judged.
    loss_share : ndarray (epochs + 1,)
        That of each loss.
    diagnosis : Diagnosis or None
        The cause, where the numbers are wrong.
    notes : tuple of str
        What was assumed, left out, or noticed.
    failure : str or None
        What the candidate raised.
    """

    candidate: str
    fit: tuple[int, ...]
    ok: bool
    dtype: str
    limit: float
    tau_w: float
    tau_loss: float
    tau_w_epoch: int | None
    tau_loss_epoch: int | None
    first: Beyond | None
    epochs: int
    epochs_judged: int
    w_share: Array = field(repr=False)
    loss_share: Array = field(repr=False)
    diagnosis: Diagnosis | None = None
    notes: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def name(self) -> str:
        """Candidate and fit."""
        return f"{self.candidate}{f', fit {self.fit if len(self.fit) > 1 else self.fit[0]}' if self.fit else ''}"

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        taus = f"τ_w {_number(self.tau_w)}" + ("" if math.isnan(self.tau_loss) else f", τ_loss {_number(self.tau_loss)}")
        if self.failure:
            return f"{self.name}: {self.failure.splitlines()[0].rstrip(':')} ({self.failure.splitlines()[-1].strip()})"
        if self.ok:
            return f"{self.name}: agrees at all {self.epochs_judged} epochs judged: {taus} (bound {self.limit:g})"
        if self.first is None:
            return f"{self.name}: NOT ok: {taus} (bound {self.limit:g})"
        far = "is not a number" if not math.isfinite(self.first.share) else f"is {_number(self.first.share)} times its rounding-error bound"
        return f"{self.name}: DISAGREES from epoch {self.first.epoch} on: {self.first.quantity} {far} ({self.limit:g} are allowed)"

    def __str__(self) -> str:
        lines = [self.headline]
        if self.failure:
            lines += [f"  {line}" for line in self.failure.splitlines()[1:]]
        if self.diagnosis is not None and not self.diagnosis.ok:
            lines += [f"  {line}" for line in str(self.diagnosis).splitlines()]
        told = set(self.diagnosis.notes) if self.diagnosis is not None else set()
        lines += [f"  note: {note}" for note in self.notes if note not in told]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON: NaN becomes null, infinity a string."""
        cause = self.diagnosis
        return {
            "candidate": self.candidate, "fit": list(self.fit), "ok": self.ok, "dtype": self.dtype, "limit": self.limit,
            "tau_w": _plain(self.tau_w), "tau_w_epoch": self.tau_w_epoch,
            "tau_loss": _plain(self.tau_loss), "tau_loss_epoch": self.tau_loss_epoch,
            "first_epoch": self.first and self.first.epoch, "quantity": self.first and self.first.quantity,
            "epochs": self.epochs, "epochs_judged": self.epochs_judged,
            "w_share": _plain(self.w_share.tolist()), "loss_share": _plain(self.loss_share.tolist()),
            "code": cause.code if cause else None, "codes": list(cause.codes) if cause else [],
            "sentence": cause.sentence if cause else None, "fix": cause.fix if cause else None,
            "also_possible": list(cause.also_possible) if cause else [],
            "evidence": _plain(cause.evidence) if cause else {}, "notes": list(self.notes), "failure": self.failure,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Report:
    """The verdict of `fastgd.verify`; prints itself.

    Attributes
    ----------
    verdicts : tuple of Verdict
        One for each candidate and fit.
    question : dict
        What was asked: n_samples, n_features, n_fits, lr, epochs, recipe, dtype.
    environment : dict of str to str
        Versions of Python and the libraries, and the machine.

    Examples
    --------
    >>> import fastgd
    >>> report = fastgd.verify("numpy", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
    >>> print(report)
    numpy: agrees at all 20 epochs judged: τ_w ..., τ_loss ... (bound 8)
    >>> report.ok, report.first, report.diagnosis
    (True, None, None)
    """

    verdicts: tuple[Verdict, ...]
    question: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every candidate agrees on every fit."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts that are not ok."""
        return tuple(verdict for verdict in self.verdicts if not verdict.ok)

    @property
    def tau_w(self) -> float:
        """The worst share of the bound in w, of all."""
        return self._worst("tau_w")[0]

    @property
    def tau_w_epoch(self) -> int | None:
        """Where it is."""
        return self._worst("tau_w")[1]

    @property
    def tau_loss(self) -> float:
        """The worst share of the bound in the loss, of all; NaN if there is no loss."""
        return self._worst("tau_loss")[0]

    @property
    def tau_loss_epoch(self) -> int | None:
        """Where it is."""
        return self._worst("tau_loss")[1]

    @property
    def first(self) -> Beyond | None:
        """The first value beyond the bound, of the first candidate that is not ok."""
        return next((verdict.first for verdict in self.failed if verdict.first), None)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The cause, of the first candidate that has one."""
        return next((verdict.diagnosis for verdict in self.failed if verdict.diagnosis), None)

    def _worst(self, name: str) -> tuple[float, int | None]:
        known = [verdict for verdict in self.verdicts if not math.isnan(getattr(verdict, name))]
        if not known:
            return math.nan, None
        worst = max(known, key=lambda verdict: getattr(verdict, name))
        return getattr(worst, name), getattr(worst, f"{name}_epoch")

    def __str__(self) -> str:
        shown = (*self.failed, *(verdict for verdict in self.verdicts if verdict.ok))[:_MOST_SHOWN]
        lines = [str(verdict) for verdict in shown]
        if len(self.verdicts) > len(shown):
            more = len(self.verdicts) - len(shown)
            lines.append(f"… and {more:,} more; {len(self.failed):,} of {len(self.verdicts):,} are not ok")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Report({len(self.verdicts)} verdicts, {'ok' if self.ok else f'{len(self.failed)} NOT ok'})"

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of the bound at every epoch, on a log scale, a line per candidate (``pip install 'fastgd[report]'``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), made without pyplot.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> report = fastgd.verify(["cpu", "numpy"], [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
        >>> report.plot().get_yscale()
        'log'
        """
        from .picture import plot_shares

        return plot_shares(self, ax)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one page that needs nothing else: verdict, cause, table, picture, environment (``pip install 'fastgd[report]'``).

        Parameters
        ----------
        path : str or path
            The file; an older one is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ImportError
            When jinja2 is not installed.
        OSError
            When the file cannot be written.

        Examples
        --------
        >>> import fastgd, tempfile, pathlib
        >>> report = fastgd.verify("cpu", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "<!doctype html>" in report.to_html(pathlib.Path(folder) / "report.html").read_text("utf-8")
        True
        """
        from .page import write_page

        return write_page(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers, ready for JSON."""
        return {
            "ok": self.ok, "question": _plain(dict(self.question)), "environment": dict(self.environment),
            "tau_w": _plain(self.tau_w), "tau_loss": _plain(self.tau_loss), "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }  # fmt: skip

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it where a path is given.

        Parameters
        ----------
        path : str or path, optional
            The file; an older one is replaced.

        Returns
        -------
        str
            Valid JSON: NaN is null, infinity is "inf".

        Raises
        ------
        OSError
            When the file cannot be written.

        Examples
        --------
        >>> import fastgd, json
        >>> report = fastgd.verify("cpu", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
        >>> json.loads(report.to_json())["ok"]
        True
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text


def _number(value: float) -> str:
    return "not a number" if math.isnan(value) else "inf" if math.isinf(value) else f"{value:.2g}"


def _plain(value: Any) -> Any:
    """Only what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return None if math.isnan(number) else number if math.isfinite(number) else str(number)
