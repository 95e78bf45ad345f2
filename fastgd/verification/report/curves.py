"""w and loss over the epochs, a candidate's and ours, as small pictures in SVG.

1. Ours is a fit from the same start. A program that is right to within rounding lies on it, and a
   beginner sees how another one leaves it. It decides nothing: the bound does.
2. At most four pictures of a history: the parameter that is wrong first, the others, the loss.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..bound.yardstick import Array

__all__ = ["Curves", "draw_curves"]

_MOST_PARAMETERS, _MOST_POINTS = 3, 300
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 220, 66, 10, 26, 34
_THEIRS, _OURS = "#b4412a", "#0b7a75"


class Curves(NamedTuple):
    """What is drawn of one history."""

    names: list[str]  # of the parameters
    at: Array  # (m,): the epoch of each row
    w: Array  # (m, D)
    loss: Array | None  # (m,) or (m − 1,)
    our_w: Array | None  # (epochs + 1, D); None: there is no start to go from
    our_loss: Array | None  # (epochs + 1,)


def draw_curves(curves: Curves, first: str | None) -> str:
    """Return the pictures as SVG; first: the quantity that is drawn first."""
    order = sorted(range(len(curves.names)), key=lambda j: curves.names[j] != first)[:_MOST_PARAMETERS]
    pictures = []
    for j in order:
        ours = None if curves.our_w is None else curves.our_w[:, j]
        pictures.append(_draw(curves.names[j], curves.at, curves.w[:, j], ours, False))
    if curves.loss is not None:
        loss = _draw("loss", curves.at[: len(curves.loss)], curves.loss, curves.our_loss, True)
        pictures.insert(0 if first == "loss" else len(pictures), loss)
    return "".join(pictures)


def _draw(name: str, at: Array, theirs: Array, ours: Array | None, logarithmic: bool) -> str:
    """Return the picture of one quantity."""
    every = theirs if ours is None else np.concatenate([theirs, ours])
    shown = every[np.isfinite(every)]
    logarithmic = logarithmic and len(shown) > 0 and shown.min() > 0 and shown.max() > 20 * shown.min()

    def level(value: float) -> float:
        return math.log10(value) if logarithmic else value

    low, high = (level(float(shown.min())), level(float(shown.max()))) if len(shown) else (0.0, 1.0)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high, last = low - margin, high + margin, max(1, int(at[-1]) if len(at) else 1)

    def path(epochs: Array, values: Array) -> str:
        points, pen = [], "M"
        for i in np.unique(np.linspace(0, max(len(values) - 1, 0), min(len(values), _MOST_POINTS)).round().astype(int)):
            value = float(values[i])
            if not math.isfinite(value):
                pen = "M"
                continue
            x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * float(epochs[i]) / last
            y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - level(value)) / (high - low)
            points.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        return "".join(points)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name} over the epochs">']
    parts.append(f'<text x="{_LEFT}" y="16" style="font-weight:600">{name}{" (log scale)" if logarithmic else ""}</text>')
    for share in (0.0, 0.5, 1.0):
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)
        value = low + (high - low) * share
        text = f"{10**value:.3g}" if logarithmic else f"{value:.4g}"
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#eceff1"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for epoch, anchor in ((0, "start"), (last, "end")):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * epoch / last
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 14}" text-anchor="{anchor}">{"epoch " if epoch == 0 else ""}{epoch}</text>')
    parts.append(f'<path d="{path(at, theirs)}" fill="none" stroke="{_THEIRS}" stroke-width="2.4"/>')
    if ours is not None:
        parts.append(f'<path d="{path(np.arange(len(ours)), ours)}" fill="none" stroke="{_OURS}" stroke-width="2" stroke-dasharray="6 4"/>')
    return "".join([*parts, "</svg>"])
