"""The page of a report: one self-contained HTML file, for small and large screens and for paper.

1. jinja2 fills report.html and escapes all text. The picture is SVG, drawn here: it is sharp at
   every width and needs no matplotlib.
2. Only a limited number of verdicts, causes and curves is shown, however many fits there are.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...results.figure import SERIES
from ...results.replacing import write_text
from ..bound.yardstick import Array
from .curves import draw_curves
from .picture import LOWEST, curves

__all__ = ["headline", "write_page"]

_MOST_VERDICTS, _MOST_CAUSES, _MOST_POINTS, _MOST_DRAWN = 200, 8, 400, 3
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 820, 380, 64, 16, 16, 44


class _Legend(NamedTuple):
    """An entry of the legend: the name of a curve and how it is drawn."""

    name: str
    colour: str
    dashes: str


def write_page(report: Any, path: Path) -> Path:
    """Write the page and return its path."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise ImportError("the HTML report needs jinja2: pip install 'fastgd[report]'") from None
    from markupsafe import Markup

    ordered = (*report.failed, *(verdict for verdict in report.verdicts if verdict.ok))
    shown = curves(report)
    names = list(dict.fromkeys(name for name, *_ in shown))
    key = [_Legend(f"{name}, {what}", _colour(names, name), "" if what == "w" else "3 4") for name, what, *_ in shown]
    drawn = len({name for name, *_ in shown})
    notes = list(dict.fromkeys(f"{verdict.name}: {note}" for verdict in ordered[:_MOST_CAUSES] for note in verdict.notes))
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        files("fastgd").joinpath("verification", "report", "report.html").read_text("utf-8")
    )
    page = template.render(
        title=report.outcome,
        headline=headline(report),
        report=report,
        question=report.question,
        causes=[verdict for verdict in report.failed][:_MOST_CAUSES],
        curves=[(verdict.name, Markup(drawn)) for verdict, drawn in _curves(ordered)],  # safe: numbers and our names only
        picture=Markup(_draw(report, shown, names)),  # safe: numbers and constants only
        key=key,
        lowest=LOWEST,
        told={verdict: verdict.first.in_words(verdict.limit) for verdict in report.failed if verdict.first},
        drawn="" if drawn >= len(ordered) else f"Drawn are the {drawn} that come nearest to their bound. ",
        shown=ordered[:_MOST_VERDICTS],
        left_out=max(0, len(ordered) - _MOST_VERDICTS),
        notes=notes,
        environment=report.environment,
        number=_number,
    )
    # a path in a traceback may hold bytes that are no UTF-8: they are shown escaped
    write_text(path, page + "\n", errors="backslashreplace")
    return path


def _curves(verdicts: Iterable[Any]) -> list[tuple[Any, str]]:
    """Return (verdict, its pictures of w and loss), of the first few that have some."""
    found = []
    for verdict in itertools.islice((one for one in verdicts if one.curves is not None and one.epochs), _MOST_DRAWN):
        found.append((verdict, draw_curves(verdict.curves(), verdict.first.quantity if verdict.first else None)))
    return found


def headline(report: Any) -> str:
    """Return the outcome of a report in one line."""
    if len(report.verdicts) == 1:
        (verdict,) = report.verdicts
        words = {"agrees": "agrees at every epoch", "agrees in part": f"agrees at the first {verdict.epochs_judged} epochs"}
        return f"{verdict.name} {words.get(verdict.outcome, 'could not be judged' if verdict.outcome == 'not judged' else 'disagrees')}"
    counts = Counter(verdict.outcome for verdict in report.verdicts)
    if report.outcome == "agrees":
        return f"All {len(report.verdicts)} agree at every epoch"
    words = {"disagrees": "disagree", "not judged": "could not be judged", "agrees in part": "agree as far as they could be judged"}
    told = [f"{counts[outcome]} of {len(report.verdicts)} {word}" for outcome, word in words.items() if counts[outcome]]
    return "; ".join(told)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "not a number" if math.isinf(value) else f"{value:.2g}"


def _colour(names: list[str], name: str) -> str:
    return SERIES[names.index(name) % len(SERIES)]


def _draw(report: Any, shown: list[tuple[str, str, Array, Array]], names: list[str]) -> str:
    """Return the picture as SVG: the share of the bound over the epochs, on a log scale."""
    last = max([1, *(int(epochs[-1]) for _, _, epochs, _ in shown)])
    finite = [float(s[np.isfinite(s)].max()) for *_, s in shown if np.isfinite(s).any()]
    top = math.ceil(math.log10(max([100.0, *finite]))) + (1 if any(np.isinf(s).any() for *_, s in shown) else 0)
    bottom = round(math.log10(LOWEST))

    def x(epoch: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * epoch / last

    def y(share: float) -> float:
        level = min(max(math.log10(share) if 0 < share < math.inf else (bottom if share == 0 else top), bottom), top)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - level) / (top - bottom)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="share of the bound over the epochs">']
    every = max(1, -(-(top - bottom) // 6))
    for level in range(bottom, top + 1, every):
        at = y(10.0**level)
        parts.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#eceff1"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 5:.1f}" text-anchor="end">{_power(level)}</text>')
    for epoch in sorted({round(last * k / 4) for k in range(5)}):
        anchor = "end" if epoch == last else "middle"
        parts.append(f'<text x="{x(epoch):.1f}" y="{_HEIGHT - 22}" text-anchor="{anchor}">{epoch}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">epoch</text>')
    limits = sorted({verdict.limit for verdict in report.verdicts})
    for limit in limits:
        at = y(limit)
        # The label of the highest limit stands above its line, others below, so that they never
        # overlap.
        label = at - 6 if limit == limits[-1] else at + 16
        parts.append(
            f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#b4412a" stroke-dasharray="7 5"/>'
            f'<text x="{_WIDTH - _RIGHT - 4}" y="{label:.1f}" text-anchor="end" style="fill:#b4412a">bound {limit:g}</text>'
        )
    for name, what, epochs, share in shown:
        kept = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), _MOST_POINTS)).round().astype(int))
        points = " ".join(f"{x(float(epochs[i])):.1f},{y(float(share[i])):.1f}" for i in kept)
        dashes = "" if what == "w" else ' stroke-dasharray="3 4"'
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_colour(names, name)}" stroke-width="2"{dashes}/>')
        if len(epochs) == 1:
            parts.append(f'<circle cx="{x(float(epochs[0])):.1f}" cy="{y(float(share[0])):.1f}" r="3" fill="{_colour(names, name)}"/>')
    return "".join([*parts, "</svg>"])


def _power(level: int) -> str:
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}.get(level, f"1e{level}")
