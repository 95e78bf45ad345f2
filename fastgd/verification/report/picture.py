"""The picture of a report: the share of the bound at every epoch, a curve per candidate.

1. matplotlib is imported when the picture is drawn. The page has its own picture, which needs no
   matplotlib.
2. A log scale shows neither 0 nor infinity: they are drawn at the lower and the upper edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...results.figure import LIMIT, SERIES, axes_for, title
from ..bound.yardstick import Array

__all__ = ["LOWEST", "curves", "plot_shares"]

LOWEST = 1e-4  # smaller shares of the bound are drawn here
_MOST_CURVES = 12


def curves(report: Any) -> list[tuple[str, str, Array, Array]]:
    """Return (name, "w" or "loss", epochs, shares) of each curve, at most twelve.

    Of many verdicts those that are not ok come first, then those with the largest shares.
    """
    found: list[tuple[str, str, Array, Array]] = []
    ordered = list(report.verdicts)
    if 2 * len(ordered) > _MOST_CURVES:
        ordered.sort(key=lambda verdict: (verdict.ok, -max(np.nan_to_num([verdict.tau_w, verdict.tau_loss], nan=0.0)) / verdict.limit))
    for verdict in ordered:
        for what, share in (("w", verdict.w_share), ("loss", verdict.loss_share)):
            known = ~np.isnan(share)
            if known.any() and len(found) < _MOST_CURVES:
                found.append((verdict.name, what, np.flatnonzero(known), share[known]))
    return found


def plot_shares(report: Any, ax: Any) -> Any:
    """Draw a report on axes, or on those of a new figure; return them."""
    ax = axes_for(ax, "report")
    drawn = curves(report)
    finite = [share[np.isfinite(share)] for *_, share in drawn]
    highest = max([10.0 * max(verdict.limit for verdict in report.verdicts), *(float(s.max()) * 10 for s in finite if len(s))])
    names = list(dict.fromkeys(name for name, *_ in drawn))
    for name, what, epochs, share in drawn:
        style = {"color": SERIES[names.index(name) % len(SERIES)], "linewidth": 1.4, "marker": "." if len(epochs) < 60 else ""}
        ax.plot(epochs, np.clip(share, LOWEST, highest), "-" if what == "w" else ":", label=f"{name}, {what}", **style)
    for limit in sorted({verdict.limit for verdict in report.verdicts}):
        ax.axhline(limit, color=LIMIT, linewidth=1, linestyle="--")
        ax.annotate(f"bound {limit:g}", (0, limit), xytext=(4, 3), textcoords="offset points", color=LIMIT, fontsize=8)
    ax.set_yscale("log")
    ax.set_ylim(LOWEST / 1.5, highest * 1.5)
    ax.set_xlabel("epoch")
    ax.set_ylabel("share of the rounding-error bound")
    title(ax, report.outcome.capitalize())
    if drawn:
        ax.legend(frameon=False, fontsize=8)
    return ax
