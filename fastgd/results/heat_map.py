"""The heat map of a sweep: the losses over two of its axes, and the stability limit of the rate.

1. An axis of many increasing numbers has its own scale, a log scale where it spans a factor of 30.
   Others (few numbers, texts, betas) have one column or row of equal width for each value.
2. Colours are of log(loss). They end at the largest loss below the stability limit, where it is
   known: losses that grow without limit would leave one colour for all others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cells import losses_that_count, read_by
from .coordinate import Coordinate, short
from .figure import DARK, LIMIT, LOST, NUMBERS, axes_for, title
from .sweep_frame import swept_names

_FEW = 12  # values that get a column or a row of equal width each
_DECADES = 12  # of the colours, at most


class _Scale:
    """One axis of the picture: where its values, and numbers between them, are drawn."""

    def __init__(self, name: str, coordinate: Coordinate | None) -> None:
        self.name = name
        labels = np.zeros(1) if coordinate is None else coordinate.labels
        numbers = labels.ndim == 1 and labels.dtype.kind in "fi" and len(labels) > 1
        self.order = np.argsort(labels, kind="stable") if numbers else np.arange(len(labels))
        self.numbers: Any = labels[self.order] if numbers else None
        low, high = (float(self.numbers[0]), float(self.numbers[-1])) if self.numbers is not None else (0.0, 0.0)
        self.log = low > 0 and high / low >= 30
        self.own = self.numbers is not None and len(labels) > _FEW
        self.ticks = [] if coordinate is None else [short(coordinate.value(int(place))) for place in self.order]
        if self.own:
            values: Any = np.asarray(self.numbers, float)
            middle = np.log(values) if self.log else values
            gaps = np.diff(middle) / 2
            edges = np.concatenate([[middle[0] - gaps[0]], middle[:-1] + gaps, [middle[-1] + gaps[-1]]])
            self.edges = np.exp(edges) if self.log else edges
        else:
            self.edges = np.arange(len(labels) + 1) - 0.5

    def at(self, number: float) -> float:
        """Where a number is drawn; NaN beyond the first and the last column."""
        if self.numbers is None or (self.log and number <= 0):
            return float("nan")
        if self.own:
            return number if self.edges[0] <= number <= self.edges[-1] else float("nan")
        known, wanted = (np.log(self.numbers), np.log(number)) if self.log else (self.numbers, number)
        return float(np.interp(wanted, known, np.arange(len(known)), left=np.nan, right=np.nan))

    def dress(self, axis: Any, set_scale: Any) -> None:
        """Set the scale and the ticks of one of matplotlib's axes."""
        if self.own:
            set_scale("log" if self.log else "linear")
        else:
            axis.set_ticks(np.arange(len(self.ticks)), self.ticks)
        axis.set_label_text(self.name)


def draw_heat_map(result: Any, x: Any, y: Any, by: Any, ax: Any) -> Any:
    """Draw the losses over two axes, for `SweepResult.plot`."""
    by = read_by(result, by)
    if result.data_dims:
        first = result.data_dims[0]
        raise ValueError(f"the data have leading axes ({', '.join(result.data_dims)}): select a fit first, result.sel({first}=0).plot()")
    x, y = _read_axes(result, x, y)
    axes = axes_for(ax, "plot")
    losses = losses_that_count(result, by)
    colours = _colours(result, losses)
    if "point" in result.dims:
        picture = _draw_points(result, x, y, losses, colours, axes)
    else:
        picture = _draw_cells(result, x, y, losses, colours, axes)
    words = {"loss": "loss (mean squared residual)", "val_loss": "validation loss (mean squared residual)", "excess_loss": "excess loss"}
    axes.figure.colorbar(picture, ax=axes, label=words[by], extend="max", pad=0.02)
    lost = int(np.isnan(losses).sum())
    over = [name for name in result.dims if name not in (x, y, "point")]
    said = [f"{losses.size:,} cells", *([f"{lost:,} diverged or not finite"] if lost else [])]
    said += [f"least over {', '.join(over)}"] if over else []
    title(axes, "; ".join(said))
    axes.grid(False)
    return axes


def _read_axes(result: Any, x: Any, y: Any) -> tuple[str, str | None]:
    """The names of both axes; None for y where there is one axis."""
    names = [name for name in swept_names(result) if name != "point"]
    for name, given in (("x", x), ("y", y)):
        if given is not None and given not in names:
            raise ValueError(f"{name} must be an axis of the sweep, one of {', '.join(names)}, not {given!r}")
    if not names:
        raise ValueError("the sweep has no axes left to draw: it is one cell")
    left = [name for name in names if name not in (x, y)]
    if x is None:
        x = "lr" if "lr" in left else left[0] if left else y
        left = [name for name in left if name != x]
    if y is None and left:
        y = left[0]
    if x == y:
        raise ValueError(f"x and y are the same axis, {x!r}; give two")
    return x, y


def _colours(result: Any, losses: np.ndarray) -> Any:
    """The norm of the colours: logarithms of losses."""
    from matplotlib.colors import LogNorm

    positive = losses[losses > 0]
    if not positive.size:
        return LogNorm(0.1, 1.0)
    stable = positive
    if result.stability_limit is not None:
        below = np.asarray(result.lr < np.asarray(result.stability_limit))
        stable = losses[below & (losses > 0)] if (below & (losses > 0)).any() else positive
    high = float(stable.max())
    low = max(float(positive.min()), high * 10.0**-_DECADES)
    return LogNorm(low / 1.05, high) if low >= high else LogNorm(low, high)


def _draw_cells(result: Any, x: str, y: str | None, losses: np.ndarray, colours: Any, axes: Any) -> Any:
    dims = result.dims
    across, up = _Scale(x, result.coordinates[x]), _Scale(y or "", None if y is None else result.coordinates[y])
    table = _table(losses, dims, x, y, np.fmin)[np.ix_(up.order, across.order)]
    axes.set_facecolor(LOST)
    picture = axes.pcolormesh(across.edges, up.edges, np.maximum(table, colours.vmin), norm=colours, cmap=NUMBERS)
    across.dress(axes.xaxis, axes.set_xscale)
    up.dress(axes.yaxis, axes.set_yscale)
    if y is None:
        axes.set_yticks([])
    if not np.isnan(table).all():
        row, column = np.unravel_index(np.nanargmin(table), table.shape)
        place = [_middle(across, int(column)), _middle(up, int(row))]
        axes.plot(*([one] for one in place), marker="*", markersize=13, color="white", markeredgecolor=DARK, linestyle="", label="least")
    _draw_limit(result, x, y, across, up, axes)
    _legend(axes, bool(np.isnan(table).any()))
    return picture


def _middle(scale: _Scale, place: int) -> float:
    return float(scale.numbers[place]) if scale.own and scale.numbers is not None else float(place)


def _table(values: np.ndarray, dims: tuple[str, ...], x: str, y: str | None, reduce: Any) -> np.ndarray:
    """(rows, columns) of values; other axes are reduced."""
    for axis in reversed(range(len(dims))):
        if dims[axis] not in (x, y):
            values = reduce.reduce(values, axis=axis)
    kept = [dim for dim in dims if dim in (x, y)]
    if y is None:
        return values[None]
    return values if kept == [y, x] else values.T


def _draw_limit(result: Any, x: str, y: str | None, across: _Scale, up: _Scale, axes: Any) -> None:
    """A line across each row (or column) where the rate is at the stability limit."""
    if result.stability_limit is None or "lr" not in (x, y):
        return
    limits = np.asarray(result.stability_limit)
    least, most = (_table(limits, result.dims, x, y, reduce) for reduce in (np.fmin, np.fmax))
    if not np.array_equal(least, most, equal_nan=True):  # it is not one number over the other axes
        return
    of_rows = x == "lr"
    table = least[np.ix_(up.order, across.order)]
    numbers = table[:, 0] if of_rows else table[0]
    rates, others = (across, up) if of_rows else (up, across)
    drawn = False
    for place, limit in enumerate(numbers):
        at = rates.at(float(limit)) if np.isfinite(limit) else np.nan
        if np.isnan(at):
            continue
        span = others.edges[place : place + 2]
        line = ([at, at], span) if of_rows else (span, [at, at])
        axes.plot(*line, color=LIMIT, linewidth=2.2, label=None if drawn else "stability limit")
        if of_rows and len(numbers) <= 6:
            box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
            place_of_text = {"xytext": (-5, -6), "textcoords": "offset points", "ha": "right", "va": "top"}
            axes.annotate(f"{limit:.4g}", (at, span[1]), color=LIMIT, fontsize=9, fontweight="bold", bbox=box, **place_of_text)
        drawn = True


def _draw_points(result: Any, x: str, y: str | None, losses: np.ndarray, colours: Any, axes: Any) -> Any:
    """Points as dots."""
    places: list[Any] = []
    for name, axis, set_scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        if name is None:
            places.append(np.zeros(losses.shape))
            continue
        coordinate = result.coordinates[name]
        labels = coordinate.labels
        if labels.ndim == 1 and labels.dtype.kind in "fi":
            low, high = float(labels.min()), float(labels.max())
            set_scale("log" if low > 0 and high / low >= 30 else "linear")
            places.append(labels)
        else:
            different, inverse = np.unique(coordinate.values, axis=0, return_inverse=True)
            first = [int(np.flatnonzero(inverse.ravel() == k)[0]) for k in range(len(different))]
            axis.set_ticks(np.arange(len(first)), [short(coordinate.value(place)) for place in first])
            places.append(inverse.ravel())
        axis.set_label_text(name)
    out = np.isnan(losses)
    axes.plot(places[0][out], places[1][out], "x", color="#888888", markersize=5, label="diverged or not finite")
    size = {"s": 60, "edgecolors": DARK, "linewidths": 0.4}
    picture = axes.scatter(places[0][~out], places[1][~out], c=np.maximum(losses[~out], colours.vmin), norm=colours, cmap=NUMBERS, **size)
    if out.any():
        _legend(axes, False)
    return picture


def _legend(axes: Any, lost: bool) -> None:
    from matplotlib.patches import Patch

    handles = axes.get_legend_handles_labels()[0]
    handles += [Patch(facecolor=LOST, label="diverged or not finite")] if lost else []
    if handles:
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=9)
