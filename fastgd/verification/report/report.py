"""Report: the verdicts on candidates, to print, to draw, as a page, and as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...input.float_mode import computes
from ...input.messages import counted, in_ascii, repr_in_ascii
from ...results.replacing import write_text
from ...results.table import html_table
from ..bound.yardstick import Array
from ..causes.diagnosis import Diagnosis
from .beyond import Beyond, number, plain
from .curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Beyond", "Report", "Verdict"]

_MOST_SHOWN = 6  # more verdicts than these are only counted


@repr_in_ascii
@dataclass(frozen=True, eq=False)
class Verdict:
    """The verdict on one candidate and one fit.

    Attributes
    ----------
    candidate : str
        The candidate's name.
    fit : tuple of int
        The index of the fit in the leading axes; empty for a single fit.
    ok : bool
        Whether w and loss are within the bound at every epoch that was judged, at least one was,
        and the candidate neither raised nor changed its data. `outcome` says whether all were.
    dtype : str
        The precision that was judged.
    limit : float
        The share of the bound that is allowed: 2 for fastgd's own kernels, 8 for others.
    tau_w, tau_loss, tau_w_epoch, tau_loss_epoch : float, float, int or None, int or None
        The worst shares of the bound, NaN where nothing was judged, and their epochs.
    first : Beyond or None
        The first value beyond the bound.
    epochs, epochs_judged : int
        The number of epochs recorded, and of those judged, which are the first ones. Where an
        intermediate of the arithmetic may overflow, the judgement ends.
    w_share : ndarray, shape (epochs + 1,), float64
        The share of the bound that the step to each row used; NaN: not judged.
    loss_share : ndarray, shape (epochs + 1,), float64
        The share of the bound that the loss of each row used; NaN: not judged.
    diagnosis : Diagnosis or None
        The cause, where a value is beyond the bound or the candidate changed its data.
    notes : tuple of str
        What was assumed, left out or noticed.
    failure : str or None
        The exception that the candidate raised, with its traceback.
    unit : str
        What rows are apart, and are counted in here: "epoch", or "step" of mini-batches.
    asked : int or None
        The number of epochs that was asked for, where there is one.
    curves : callable or None
        Returns w and loss over the epochs, the candidate's and ours, as the page draws them.
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
    unit: str = "epoch"  # that rows are apart, "epoch" or "step"
    asked: int | None = None  # epochs that were asked for; None: no number was
    curves: Callable[[], Curves] | None = field(default=None, repr=False)  # they take a fit of ours: made when they are drawn

    @property
    def name(self) -> str:
        """The name of the candidate, with the index of the fit."""
        return f"{self.candidate}{f', fit {self.fit if len(self.fit) > 1 else self.fit[0]}' if self.fit else ''}"

    @property
    def outcome(self) -> str:
        """What was found, one of the following.

        * "agrees": every epoch was judged, and is within the bound;
        * "agrees in part": so are the epochs that were judged, but they are not all;
        * "not judged": no epoch could be judged;
        * "disagrees": a value is beyond the bound, or the candidate raised or changed its data.
        """
        if self.failure or self.first is not None or self.diagnosis is not None:
            return "disagrees"
        if not self.ok:
            return "not judged"
        return "agrees" if self.epochs_judged == self.epochs else "agrees in part"

    @property
    @computes
    def headline(self) -> str:
        """The verdict in one line."""
        return f"{self.name}: {self._lines()[0]}"

    def _lines(self) -> list[str]:
        """The verdict in words, without the name: one line, the cause, the notes."""
        lines = [self._in_short()]
        if self.failure and len(self.failure.splitlines()) > 2:
            lines += [f"  {line}" for line in self.failure.splitlines()[1:]]
        if self.diagnosis is not None and not self.diagnosis.ok:
            lines += [f"  {line}" for line in str(self.diagnosis).splitlines()]
        told = set(self.diagnosis.notes) if self.diagnosis is not None else set()
        return lines + [f"  note: {note}" for note in self.notes if note not in told]

    def _in_short(self) -> str:
        known = {"tau_w": self.tau_w, "tau_loss": self.tau_loss}
        taus = ", ".join(f"{name} {number(tau)}" for name, tau in known.items() if not math.isnan(tau)) or "tau_w not a number"
        if self.failure:
            return f"{self.failure.splitlines()[0].rstrip(':')} ({self.failure.splitlines()[-1].strip()})"
        unjudged = math.isnan(self.tau_loss) and "the losses are not judged" in "; ".join(self.notes)
        agrees, but = ("w agrees", "; the losses are not judged") if unjudged else ("agrees", "")
        if self.outcome == "not judged":
            return f"NOT JUDGED: {f'none of the {self.epochs} {self.unit}s could be judged' if self.epochs else f'there is no {self.unit}'}"
        if self.outcome == "agrees in part":
            told = f"{self.epochs_judged} of {self.epochs} {self.unit}s judged, not judged from {self.unit} {self.epochs_judged + 1} on"
            return f"{agrees} at the {told}: {taus} (bound {self.limit:g}){but}"
        ended = self.asked is not None and self.epochs < self.asked
        if self.ok:
            told = f"{self.epochs_judged} {self.unit}s judged{f', of {self.asked:,} asked' if ended else ''}"
            return f"{agrees} at all {told}: {taus} (bound {self.limit:g}){but}"
        if ended and self.first is None:
            return f"ENDS after {self.epochs:,} of {self.asked:,} epochs, which agree: {taus} (bound {self.limit:g}){but}"
        if self.first is None:
            return f"NOT ok: {taus} (bound {self.limit:g})"
        return f"DISAGREES from {self.unit} {self.first.epoch} on: {self.first.in_words(self.limit)}"

    @computes
    def __str__(self) -> str:
        first, *others = self._lines()
        return in_ascii("\n".join([f"{self.name}: {first}", *others]))

    @computes
    def to_dict(self) -> dict[str, Any]:
        """Return the verdict ready for JSON: NaN becomes None, infinity a string."""
        cause = self.diagnosis
        return {
            "candidate": self.candidate, "fit": list(self.fit), "ok": self.ok, "outcome": self.outcome, "dtype": self.dtype,
            "limit": self.limit,
            "tau_w": plain(self.tau_w), "tau_w_epoch": self.tau_w_epoch,
            "tau_loss": plain(self.tau_loss), "tau_loss_epoch": self.tau_loss_epoch,
            "first_epoch": self.first and self.first.epoch, "quantity": self.first and self.first.quantity,
            "found": plain(self.first.found) if self.first else None, "expected": plain(self.first.expected) if self.first else None,
            "epochs": self.epochs, "epochs_judged": self.epochs_judged,
            "w_share": plain(self.w_share.tolist()), "loss_share": plain(self.loss_share.tolist()),
            "code": cause.code if cause else None, "codes": list(cause.codes) if cause else [],
            "sentence": cause.sentence if cause else None, "fix": cause.fix if cause else None,
            "also_possible": list(cause.also_possible) if cause else [],
            "evidence": plain(cause.evidence) if cause else {}, "notes": list(self.notes), "failure": self.failure,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Report:
    """The answer of `fastgd.verify`; it prints itself.

    Attributes
    ----------
    verdicts : tuple of Verdict
        One verdict for each candidate and fit.
    question : dict
        What was asked for: candidates, recipe, n_samples, n_features, intercept, n_fits, epochs,
        dtype.
    environment : dict of str to str
        The versions of Python and the libraries, and the machine.

    Examples
    --------
    >>> import fastgd
    >>> report = fastgd.verify("numpy", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
    >>> print(report)
    numpy: agrees at all 20 epochs judged: tau_w ..., tau_loss ... (bound 8)
    >>> report.ok, report.first, report.diagnosis
    (True, None, None)
    """

    verdicts: tuple[Verdict, ...]
    question: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every candidate agrees on every fit, as far as it could be judged."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def outcome(self) -> str:
        """The first that a verdict has of "disagrees", "not judged", "agrees in part", "agrees"."""
        found = {verdict.outcome for verdict in self.verdicts}
        return next(one for one in ("disagrees", "not judged", "agrees in part", "agrees") if one in found)

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts that are not ok."""
        return tuple(verdict for verdict in self.verdicts if not verdict.ok)

    @property
    def tau_w(self) -> float:
        """The worst share of the bound in w of all verdicts; NaN: nothing was judged."""
        return self._worst("tau_w")[0]

    @property
    def tau_w_epoch(self) -> int | None:
        """The epoch of `tau_w`."""
        return self._worst("tau_w")[1]

    @property
    def tau_loss(self) -> float:
        """The worst share of the bound in the loss of all verdicts; NaN: no loss was judged."""
        return self._worst("tau_loss")[0]

    @property
    def tau_loss_epoch(self) -> int | None:
        """The epoch of `tau_loss`."""
        return self._worst("tau_loss")[1]

    @property
    def first(self) -> Beyond | None:
        """The first value beyond the bound in the first verdict that has one."""
        return next((verdict.first for verdict in self.failed if verdict.first), None)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The cause in the first verdict that has one."""
        return next((verdict.diagnosis for verdict in self.failed if verdict.diagnosis), None)

    def _worst(self, name: str) -> tuple[float, int | None]:
        """Return the largest τ of this name, and its epoch."""
        known = [verdict for verdict in self.verdicts if not math.isnan(getattr(verdict, name))]
        if not known:
            return math.nan, None
        worst = max(known, key=lambda verdict: getattr(verdict, name))
        return getattr(worst, name), getattr(worst, f"{name}_epoch")

    def _shown(self) -> tuple[list[Verdict], list[str]]:
        """The verdicts that are told, those that are not ok first, and a line about the others."""
        ordered = [*self.failed, *(verdict for verdict in self.verdicts if verdict.ok)]
        more = len(ordered) - _MOST_SHOWN
        others = f"... and {more:,} more; {len(self.failed):,} of {len(self.verdicts):,} are not ok"
        return ordered[:_MOST_SHOWN], [others] if more > 0 else []

    @computes
    def __str__(self) -> str:
        shown, others = self._shown()
        return "\n".join([*map(str, shown), *others])

    @computes
    def _repr_html_(self) -> str:
        from .page import headline

        shown, others = self._shown()
        rows = [(verdict.name, "\n".join(verdict._lines())) for verdict in shown] + [("", line) for line in others]
        return html_table(headline(self), rows)

    def __repr__(self) -> str:
        told = f"{len(self.failed)} NOT ok" if self.failed else "ok" if self.outcome == "agrees" else "ok in part"
        return f"Report({counted(len(self.verdicts), 'verdict')}, {told})"

    @computes
    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of the bound at every epoch, a curve per candidate, on a log scale.

        It needs matplotlib: ``pip install 'fastgd[report]'``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks, so that ``plt.show()`` shows it.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ImportError
            matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> x, y = [1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]
        >>> report = fastgd.verify(["cpu", "numpy"], x, y, lr=0.1, epochs=20)
        >>> report.plot().get_yscale()
        'log'
        """
        from .picture import plot_shares

        return plot_shares(self, ax)

    @computes
    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as one self-contained HTML page.

        The page has verdict, cause, picture, table and environment. It needs jinja2:
        ``pip install 'fastgd[report]'``.

        Parameters
        ----------
        path : str or path
            The file; an existing one is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ImportError
            jinja2 is not installed.
        OSError
            The file cannot be written; an older one of that name stays.

        Examples
        --------
        >>> import fastgd, tempfile, pathlib
        >>> report = fastgd.verify("cpu", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = report.to_html(pathlib.Path(folder) / "report.html").read_text("utf-8")
        >>> "<!doctype html>" in page
        True
        """
        from .page import write_page

        return write_page(self, Path(path))

    @computes
    def to_dict(self) -> dict[str, Any]:
        """Return the report as dicts, lists, strings and numbers, ready for JSON."""
        return {
            "ok": self.ok, "question": plain(dict(self.question)), "environment": dict(self.environment),
            "tau_w": plain(self.tau_w), "tau_loss": plain(self.tau_loss), "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }  # fmt: skip

    @computes
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to a file if `path` is given.

        Parameters
        ----------
        path : str or path, optional
            The file; an existing one is replaced.

        Returns
        -------
        str
            The JSON text: NaN is null, infinity is "inf".

        Raises
        ------
        OSError
            The file cannot be written; an older one of that name stays.

        Examples
        --------
        >>> import fastgd, json
        >>> report = fastgd.verify("cpu", [1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20)
        >>> json.loads(report.to_json())["ok"]
        True
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        if path is not None:
            write_text(path, text + "\n")
        return text
