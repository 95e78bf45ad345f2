"""plotting: pictures of a result: the descent of its losses, and a fit beside its data.

1. matplotlib is imported when a picture is drawn, never before, and pyplot never: a figure that nobody holds is gone. The caller's axes
   keep their style.
2. The number of things drawn does not grow with the number of fits or samples: beyond a limit, bands instead of lines and every k-th
   point instead of all, and the picture says so.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .arguments import counted, read_array, shown

_MOST_LINES = 100
_MOST_FITS = 20_000  # of which quantiles are taken
_MOST_ROWS = 1_000
_MOST_POINTS = 10_000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LINE, _POINT, _LOST, _SOFT, _DARK = "#0b7a75", "#4a5560", "#c8553d", "#666666", "#222222"
_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "xtick.color": _SOFT, "ytick.color": _SOFT,
    "axes.labelcolor": _SOFT, "axes.titlelocation": "left", "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlepad": 10,
    "axes.grid": True, "grid.color": "#eeeeee", "axes.axisbelow": True, "font.size": 10, "legend.frameon": False,
}  # fmt: skip


def _axes(ax: Any) -> Any:
    """The caller's axes, or those of a new figure that can be saved and shown without pyplot."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'fastgd[plot]'") from None
    if ax is not None:
        if not callable(getattr(ax, "plot", None)):
            raise TypeError(f"ax must be matplotlib axes or None, not {shown(ax)}")
        return ax
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.6), dpi=130, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        return figure.add_subplot()


def _spaced(count: int, most: int) -> np.ndarray:
    """Indices 0 … count − 1, or at most `most` of them, evenly spaced, first and last among them."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.intp)


def plot_loss(result: Any, ax: Any) -> Any:
    """The picture of `FitResult.plot_loss`."""
    if result.history is None:
        raise ValueError("the fit kept no history of its losses: fit(..., history=True) keeps every epoch, history=k every k-th")
    axes = _axes(ax)
    epoch = np.asarray(result.history.epoch)
    loss = np.asarray(result.history.loss)
    n_fits, n_rows = math.prod(loss.shape[:-1]), loss.shape[-1]
    rows, fits = _spaced(n_rows, _MOST_ROWS), _spaced(n_fits, _MOST_FITS)
    shown_loss = loss.reshape(n_fits, n_rows)[fits[:, None], rows].astype(float)
    lost = ~np.isfinite(np.asarray(result.loss)).ravel()
    title = "Loss" if n_fits == 1 else f"Loss of {counted(n_fits, 'fit')}"
    axes.set_title(f"{title}, {np.count_nonzero(lost):,} not finite at the end" if lost.any() else title)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (mean squared residual)")
    axes.set_xlim(epoch[0], max(epoch[-1], epoch[0] + 1))
    if n_fits > _MOST_LINES:
        drawn = _draw_bands(axes, epoch[rows], shown_loss, n_fits)
    else:
        drawn = _draw_losses(axes, epoch[rows], shown_loss, lost)
    _limit(axes, drawn, shown_loss)
    return axes


def _draw_losses(axes: Any, epoch: np.ndarray, loss: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """One line for each fit, and their median where there are enough of them; returns what was drawn."""
    drawn = np.where(np.isfinite(loss) & (loss > 0), loss, np.nan)
    few = len(loss) <= 5
    for fit, values in enumerate(drawn):
        colour = _LOST if lost[fit] else _LINE
        marker = "o" if len(epoch) == 1 else None
        axes.plot(
            epoch, values, color=colour, linewidth=2 if few else 0.9, alpha=0.9 if few else max(0.25, 0.8 - len(loss) / 150), marker=marker
        )
    if len(loss) > 5:
        median = _quantiles(loss)[2]
        axes.plot(epoch, median, color=_DARK, linewidth=2, label="median")
        axes.legend()
    return drawn


def _draw_bands(axes: Any, epoch: np.ndarray, loss: np.ndarray, n_fits: int) -> np.ndarray:
    """The median and the bands that hold half and nine tenths of the fits; returns what was drawn."""
    low, lower, middle, upper, high = drawn = _quantiles(loss)
    top = np.nanmax(drawn, initial=0.0) * 1e6 or 1.0  # a band whose upper edge is not finite runs out of the picture
    for inner, outer, strength, label in ((low, high, 0.16, "90 % of the fits"), (lower, upper, 0.32, "50 % of the fits")):
        edge = np.where(np.isnan(outer) & ~np.isnan(inner), top, outer)
        axes.fill_between(epoch, inner, edge, color=_LINE, alpha=strength, linewidth=0, label=label)
    axes.plot(epoch, middle, color=_LINE, linewidth=2, label="median")
    title = f"{n_fits:,} fits, drawn from {len(loss):,} of them, evenly spaced" if n_fits > len(loss) else None
    axes.legend(title=title, title_fontsize="small")
    return drawn


def _quantiles(loss: np.ndarray) -> np.ndarray:
    """(5, m): quantiles of every row over the fits; a loss that is not finite is above all others; NaN where there is nothing to draw."""
    ordered = np.where(np.isfinite(loss), loss, np.inf)
    found = np.quantile(ordered, _QUANTILES, axis=0, method="nearest")
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)


def _limit(axes: Any, drawn: np.ndarray, loss: np.ndarray) -> None:
    """Limits of the loss axis: what is drawn, but fits that diverge must not press the others into a line."""
    seen = drawn[np.isfinite(drawn)]
    if not seen.size:
        axes.text(0.5, 0.5, "no loss is positive and finite", transform=axes.transAxes, ha="center", color=_SOFT)
        return
    ends = loss[np.isfinite(loss[:, -1]) & (loss[:, -1] <= loss[:, 0])]  # the fits that came down
    came_down = ends[np.isfinite(ends)].max(initial=0.0)
    top = min(seen.max(), came_down * 1e3) if came_down > 0 else seen.max()
    span = max(math.log10(top) - math.log10(seen.min()), 1.0)
    room = 0.05 * span
    if axes.get_lines() or axes.collections:
        low, high = math.log10(seen.min()) - room, math.log10(top) + room
        axes.set_ylim(10.0 ** max(low, -320), 10.0 ** min(high, 308))


def plot_fit(result: Any, X: Any, y: Any, fit: Any, ax: Any) -> Any:
    """The picture of `FitResult.plot_fit`."""
    place = _read_fit(fit, np.shape(result.loss))
    w = np.asarray(result.w)[place]
    intercept = 0.0 if result.intercept is None else np.asarray(result.intercept)[place]
    d = 1 if result._one_feature else w.shape[-1]
    X = _samples(read_array(X, "X"), "X", place, np.shape(result.loss), 1 if result._one_feature else 2)
    y = _samples(read_array(y, "y"), "y", place, np.shape(result.loss), 1)
    if not result._one_feature and X.shape[-1] != d:
        raise ValueError(f"X must have {counted(d, 'feature')} (its last axis), as in the fit; it has shape {X.shape}")
    if len(X) != len(y):
        raise ValueError(f"X has {counted(len(X), 'sample')}, but y has {len(y):,}")
    axes = _axes(ax)
    chosen = _spaced(len(y), _MOST_POINTS)
    X, y = X.reshape(len(y), d)[chosen].astype(float), y[chosen].astype(float)
    w = np.atleast_1d(w).astype(float)
    with np.errstate(all="ignore"):
        prediction = X @ w + intercept
    finite = bool(np.isfinite(w).all() and np.isfinite(intercept))
    name = "Fit" if not place else f"Fit {place[0] if len(place) == 1 else place}"
    axes.set_title(f"{name}: {_line_text(w, intercept, result.intercept is not None)}" if finite else f"{name}: w is not finite")
    dots = {"color": _POINT, "markersize": 5 if len(y) <= 200 else 2.5, "alpha": 0.85 if len(y) <= 200 else 0.35, "markeredgewidth": 0}
    label = "data" if len(chosen) == len(y) and len(y) < _MOST_POINTS else f"every k-th of the data, {len(y):,} points"
    if d == 1:
        _draw_line(axes, X[:, 0], y, w[0], intercept, finite, dots | {"label": label})
    else:
        _draw_predicted(axes, prediction, y, finite, dots | {"label": label})
    return axes


def _line_text(w: np.ndarray, intercept: Any, has_intercept: bool) -> str:
    """'y = 2.1 x − 0.4', or how many features there are."""
    if len(w) > 1:
        return f"{len(w):,} features"
    sign = "−" if intercept < 0 else "+"
    return f"y = {w[0]:.4g} x".replace("-", "−") + (f" {sign} {abs(float(intercept)):.4g}" if has_intercept else "")


def _draw_line(axes: Any, x: np.ndarray, y: np.ndarray, w: Any, intercept: Any, finite: bool, dots: dict[str, Any]) -> None:
    """The data, the residuals where they are few, and the line."""
    axes.plot(x, y, "o", **dots)
    kept = x[np.isfinite(x)]
    if finite and kept.size:
        ends = np.array([kept.min(), kept.max()])
        if len(x) <= 60:
            axes.vlines(x, w * x + intercept, y, color=_LINE, linewidth=1, alpha=0.4, zorder=1)
        axes.plot(ends, w * ends + intercept, color=_LINE, linewidth=2, label="fit")
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend()


def _draw_predicted(axes: Any, prediction: np.ndarray, y: np.ndarray, finite: bool, dots: dict[str, Any]) -> None:
    """Predicted against observed; on the diagonal they are equal."""
    both = np.concatenate([prediction, y])
    both = both[np.isfinite(both)]
    if finite:
        axes.plot(prediction, y, "o", **dots)
    if both.size:
        ends = [both.min(), both.max()]
        axes.plot(ends, ends, color=_LINE, linewidth=1.6, label="observed = predicted")
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")
    axes.legend()


def _read_fit(fit: Any, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The index of one fit along each leading axis."""
    count = math.prod(leading)
    try:
        if isinstance(fit, bool):
            raise TypeError
        index = tuple(operator.index(i) for i in fit) if isinstance(fit, tuple) else (operator.index(fit),)
    except TypeError:
        raise TypeError(f"fit must be a whole number or a tuple of them, not {shown(fit)}") from None
    if isinstance(fit, tuple):
        if len(index) == len(leading) and all(-length <= i < length for i, length in zip(index, leading, strict=True)):
            return tuple(i % length for i, length in zip(index, leading, strict=True))
    elif -count <= index[0] < count:
        return tuple(int(i) for i in np.unravel_index(index[0] % count, leading))
    raise IndexError(f"there is no fit {fit}: the result has {counted(count, 'fit')}, of shape {leading}")


def _samples(array: np.ndarray, name: str, place: tuple[int, ...], leading: tuple[int, ...], n_last: int) -> np.ndarray:
    """The part of X or y that belongs to one fit: the array may have the fits' leading axes, or axes that broadcast to them."""
    axes = array.ndim - n_last
    if axes < 0:
        raise ValueError(f"{name} must have at least {counted(n_last, 'axis').replace('axiss', 'axes')}; it has shape {array.shape}")
    if axes > len(leading) or any(
        length not in (1, fits) for length, fits in zip(array.shape[:axes], leading[len(leading) - axes :], strict=True)
    ):
        raise ValueError(f"{name} has shape {array.shape}; its leading axes do not broadcast to those of the fits, {leading}")
    return np.asarray(array[tuple(0 if array.shape[k] == 1 else place[len(leading) - axes + k] for k in range(axes))])
