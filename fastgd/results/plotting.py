"""Pictures of a result: its losses over the epochs, and a fit beside its data.

1. matplotlib is imported when a picture is drawn. The style of the caller's axes stays as it is.
2. The number of things drawn does not grow with the number of fits or samples: beyond a limit,
   bands replace curves and every k-th point replaces all, and the picture says so.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import counted, shown
from ..input.reading import check_names, read
from ..kernels.forks import lapack_lock
from .figure import DARK, DASHES, LIMIT, LINE, POINT, SERIES, SOFT, axes_for, title

_MOST_LINES = 100  # fits that are drawn one by one; of more, quantiles
_MOST_FITS = 20_000  # fits that quantiles are taken of
_MOST_ROWS = 1_000  # epochs
_MOST_POINTS = 10_000  # samples
_REACH = 200  # powers of ten on a log scale; matplotlib's ticks overflow when they go up to 10³⁰⁸
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def spaced(count: int, most: int) -> np.ndarray:
    """Indices 0 … count − 1, or `most` of them, evenly spaced, with the first and the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.intp)


def plot_loss(result: Any, ax: Any, names: Callable[[Any], list[str]] | None = None) -> Any:
    """Draw the losses over the epochs, for `FitResult.plot_loss`. names: of the curves."""
    if result.history is None:
        raise ValueError("the fit recorded no history of its losses: fit(..., history=True) records every epoch, history=k every k-th")
    axes = axes_for(ax, "plot")
    result = with_numpy_arrays(result)
    epoch = np.asarray(result.history.epoch)
    loss = np.asarray(result.history.loss)
    n_fits, n_rows = math.prod(loss.shape[:-1]), loss.shape[-1]
    rows, fits = spaced(n_rows, _MOST_ROWS), spaced(n_fits, _MOST_FITS)
    shown_loss = loss.reshape(n_fits, n_rows)[fits[:, None], rows].astype(float)
    lost = ~np.isfinite(np.asarray(result.loss)).ravel()
    words = "Loss" if n_fits == 1 else f"Loss of {counted(n_fits, 'fit')}"
    title(axes, f"{words}, {np.count_nonzero(lost):,} not finite at the end" if lost.any() else words)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (mean squared residual)")
    if not n_fits:
        return axes
    edges = np.quantile(np.where(np.isfinite(shown_loss), shown_loss, np.inf), _QUANTILES, axis=0, method="nearest")
    as_lines = n_fits <= _MOST_LINES
    drawn, edges = _drawable(shown_loss if as_lines else edges), _drawable(edges)
    # before anything is drawn: matplotlib's own limits overflow where a loss is 1e308
    _limit(axes, epoch, drawn, shown_loss)
    if as_lines:
        _draw_losses(axes, epoch[rows], drawn, edges[2], lost, (names or _line_names)(result))
    else:
        _draw_bands(axes, epoch[rows], edges, f"drawn from {len(fits):,} of them, evenly spaced" if n_fits > len(fits) else None)
    return axes


def _drawable(loss: np.ndarray) -> np.ndarray:
    """The losses, with NaN where a log scale cannot show them."""
    return np.where(np.isfinite(loss) & (loss > 0), np.clip(loss, 10.0 ** (-1 - _REACH), 10.0 ** (1 + _REACH)), np.nan)


def _limit(axes: Any, epoch: np.ndarray, drawn: np.ndarray, loss: np.ndarray) -> None:
    """Set scale and limits so that fits whose loss grows do not flatten the other curves."""
    low, high = epoch[0], max(epoch[-1], epoch[0] + 1)
    ends = loss[np.isfinite(loss[:, -1]) & (loss[:, -1] <= loss[:, 0])]  # of fits whose loss fell
    came_down = ends[np.isfinite(ends)].max(initial=0.0)
    seen = np.log10(drawn[~np.isnan(drawn)])
    bottom, top = (seen.min(), seen.max()) if seen.size else (-1.0, 1.0)
    if came_down > 0 and 20 * len(ends) >= len(loss):
        top = min(top, max(math.log10(came_down) + 3, bottom))
    margin = max(0.05 * (top - bottom), 0.1)
    limits = [10.0 ** max(bottom - margin, -_REACH), 10.0 ** min(top + margin, _REACH)]
    if axes.has_data():
        (left, right), (below, above) = axes.get_xlim(), axes.get_ylim()
        low, high = min(low, left), max(high, right)
        limits = [min(limits[0], below) if below > 0 else limits[0], max(limits[1], above)]
    axes.set_autoscale_on(False)
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(*limits)
    if not seen.size:
        axes.text(0.5, 0.5, "no loss is positive and finite", transform=axes.transAxes, ha="center", color=SOFT)


def _draw_losses(axes: Any, epoch: np.ndarray, drawn: np.ndarray, median: np.ndarray, lost: np.ndarray, names: list[str]) -> None:
    """One curve for each fit, and their median where there are enough of them."""
    few = len(drawn) <= len(SERIES)
    style: dict[str, Any] = {"linewidth": 2, "alpha": 0.9} if few else {"linewidth": 0.9, "alpha": max(0.25, 0.7 - len(drawn) / 150)}
    if len(epoch) == 1:
        style["marker"] = "o"
    looks = zip(SERIES, DASHES, strict=True) if few else itertools.repeat((LINE, "-"))
    for values, is_lost, name, (colour, dash) in zip(drawn, lost, names, looks, strict=False):
        axes.plot(epoch, values, linestyle=dash, color=LIMIT if is_lost and not few else colour, label=name if few else None, **style)
    if len(drawn) > 1 and few:
        axes.legend(frameon=False)
    if not few:
        axes.plot(epoch, median, color=DARK, linewidth=2, label="median")
        axes.legend(frameon=False)


def _line_names(result: Any) -> list[str]:
    """Labels such as 'fit 3', or 'fit 3, lr 0.1' where the fits have different rates."""
    rates = np.ravel(result.lr)
    places = [index[0] if len(index) == 1 else index for index in np.ndindex(np.shape(result.lr))]
    several = np.unique(rates).size > 1
    return [f"fit {place}, lr {rate:.4g}" if several else f"fit {place}" for place, rate in zip(places, rates, strict=True)]


def _draw_bands(axes: Any, epoch: np.ndarray, edges: np.ndarray, sampled: str | None) -> None:
    """Draw the median and the bands that hold half and nine tenths of the fits."""
    below, above = axes.get_ylim()
    low, lower, median, upper, high = edges
    for inner, outer, strength, label in ((low, high, 0.16, "90 % of the fits"), (lower, upper, 0.32, "50 % of the fits")):
        inner, outer = (
            np.where(np.isnan(inner) & ~np.isnan(outer), below, inner),
            np.where(np.isnan(outer) & ~np.isnan(inner), above, outer),
        )
        axes.fill_between(epoch, inner, outer, color=LINE, alpha=strength, linewidth=0, label=label)
    axes.plot(epoch, median, color=LINE, linewidth=2, label="median")
    axes.legend(title=sampled, title_fontsize="small", alignment="left", frameon=False)


def plot_fit(result: Any, X: Any, y: Any, fit: Any, ax: Any) -> Any:
    """Draw one fit with its data, for `FitResult.plot_fit`."""
    result = with_numpy_arrays(result)
    check_names(X, "X", result.features)
    place = _read_fit(fit, np.shape(result.loss))
    w = np.asarray(result.w)[place]
    intercept = 0.0 if result.intercept is None else np.asarray(result.intercept)[place]
    d = 1 if result._one_feature else w.shape[-1]
    X = _samples(read(X, "X").filled(), "X", place, np.shape(result.loss), 1 if result._one_feature else 2)
    y = _samples(read(y, "y").filled(), "y", place, np.shape(result.loss), 1)
    if not result._one_feature and X.shape[-1] != d:
        raise ValueError(f"X must have {counted(d, 'feature')} (its last axis), as in the fit; it has shape {X.shape}")
    if len(X) != len(y):
        raise ValueError(f"X has {counted(len(X), 'sample')}, but y has {len(y):,}")
    axes = axes_for(ax, "plot")
    chosen = spaced(len(y), _MOST_POINTS)
    label = "data" if len(chosen) == len(y) else f"{len(chosen):,} of {len(y):,} samples, evenly spaced"
    X, y = X.reshape(len(y), d)[chosen].astype(float), y[chosen].astype(float)
    w = np.atleast_1d(w).astype(float)
    with np.errstate(all="ignore"), lapack_lock():
        prediction = X @ w + intercept
    finite = bool(np.isfinite(w).all() and np.isfinite(intercept))
    name = "Fit" if not place else f"Fit {place[0] if len(place) == 1 else place}"
    title(axes, f"{name}: {_line_text(w, intercept, result.intercept is not None)}" if finite else f"{name}: w is not finite")
    dots = {"color": POINT, "markersize": 5 if len(y) <= 200 else 2.5, "alpha": 0.85 if len(y) <= 200 else 0.35, "markeredgewidth": 0}
    if d == 1:
        _draw_line(axes, X[:, 0], y, w[0], intercept, finite, dots | {"label": label})
    else:
        _draw_predicted(axes, prediction, y, finite, dots | {"label": label})
    return axes


def _line_text(w: np.ndarray, intercept: Any, has_intercept: bool) -> str:
    """The equation 'y = 2.1 x − 0.4' of one feature, else the number of features."""
    if len(w) > 1:
        return f"{len(w):,} features"
    sign = "−" if intercept < 0 else "+"
    return f"y = {w[0]:.4g} x".replace("-", "−") + (f" {sign} {abs(float(intercept)):.4g}" if has_intercept else "")


def _draw_line(axes: Any, x: np.ndarray, y: np.ndarray, w: Any, intercept: Any, finite: bool, dots: dict[str, Any]) -> None:
    """Draw the data, the fitted line, and up to 60 residuals."""
    axes.plot(x, y, "o", **dots)
    finite_x = x[np.isfinite(x)]
    if finite and finite_x.size:
        ends = np.array([finite_x.min(), finite_x.max()])
        if len(x) <= 60:
            axes.vlines(x, w * x + intercept, y, color=LINE, linewidth=1, alpha=0.4, zorder=1)
        axes.plot(ends, w * ends + intercept, color=LINE, linewidth=2, label="fit")
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend(frameon=False)


def _draw_predicted(axes: Any, prediction: np.ndarray, y: np.ndarray, finite: bool, dots: dict[str, Any]) -> None:
    """Draw predicted against observed values, and the diagonal where they are equal."""
    both = np.concatenate([prediction, y])
    both = both[np.isfinite(both)]
    if finite:
        axes.plot(prediction, y, "o", **dots)
    if both.size:
        ends = [both.min(), both.max()]
        axes.plot(ends, ends, color=LINE, linewidth=1.6, label="observed = predicted")
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")
    axes.legend(frameon=False)


def _read_fit(fit: Any, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The index of one fit along each leading axis; an int is a position in the flat axes."""
    count = math.prod(leading)
    try:
        given = fit if isinstance(fit, tuple) else (fit,)
        if any(isinstance(i, bool | np.bool_) for i in given):
            raise TypeError
        index = tuple(operator.index(i) for i in given)
    except Exception:  # whatever an __index__ may raise
        raise TypeError(f"fit must be a whole number or a tuple of them, not {shown(fit)}") from None
    if isinstance(fit, tuple):
        if len(index) == len(leading) and all(-length <= i < length for i, length in zip(index, leading, strict=True)):
            return tuple(i % length for i, length in zip(index, leading, strict=True))
    elif -count <= index[0] < count:
        return tuple(int(i) for i in np.unravel_index(index[0] % count, leading))
    raise IndexError(f"there is no fit {shown(fit)}: the result has {counted(count, 'fit')}, of shape {leading}")


def _samples(array: np.ndarray, name: str, place: tuple[int, ...], leading: tuple[int, ...], n_last: int) -> np.ndarray:
    """X or y of one fit, from an array whose leading axes broadcast to those of the fits.

    n_last: how many last axes are not leading axes. place: index of the fit.
    """
    axes = array.ndim - n_last
    if axes < 0:
        raise ValueError(f"{name} must have at least {counted(n_last, 'axis').replace('axiss', 'axes')}; it has shape {array.shape}")
    if axes > len(leading) or any(
        length not in (1, fits) for length, fits in zip(array.shape[:axes], leading[len(leading) - axes :], strict=True)
    ):
        raise ValueError(f"{name} has shape {array.shape}; its leading axes do not broadcast to those of the fits, {leading}")
    return np.asarray(array[tuple(0 if array.shape[k] == 1 else place[len(leading) - axes + k] for k in range(axes))])
