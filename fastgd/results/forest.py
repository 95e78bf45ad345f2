"""The forest plot of a result: estimates with their confidence intervals, a row for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import counted
from .figure import LINE, SOFT, axes_for, title
from .plotting import spaced
from .raster_map import place_of_term

_MOST = 60  # rows


def draw_estimates(result: Any, term: Any, names: Any, level: Any, ax: Any) -> Any:
    """Draw estimates and intervals, for `FitResult.plot_estimates`."""
    result = with_numpy_arrays(result)
    stats = result.stats
    if stats is None:
        raise ValueError("the result has no statistics: fit(..., stats=True) and solve(..., stats=True) find them")
    single = np.shape(result.loss) == ()
    intervals = stats.confidence_interval(level)
    of_all = single and term is None
    place, word = (0, "estimates") if of_all else place_of_term(result, 0 if term is None else term)
    numbers = np.concatenate([stats.estimate[..., None], intervals], axis=-1)  # (…, D, 3)
    rows = numbers.reshape(-1, 3) if of_all else numbers[..., place, :].reshape(-1, 3)
    labels = _names(result, names, len(rows), of_all)
    there = np.flatnonzero(np.isfinite(rows).all(axis=-1))
    order = there if of_all else there[np.argsort(rows[there, 0], kind="stable")]
    chosen = order[::-1] if of_all else order
    chosen = chosen[spaced(len(chosen), _MOST)]
    axes = axes_for(ax, "plot", height=1.6 + 0.21 * max(len(chosen), 8))
    _draw(axes, rows[chosen], [labels[k] for k in chosen], f"{100 * level:g} %")
    axes.set_xlabel(f"{word}, with {100 * level:g} % intervals")
    what = counted(len(rows), "parameter" if of_all else "group" if hasattr(result, "keys") else "fit")
    said = [f"{word} of {what}"]
    said += [f"{len(chosen)} drawn, evenly spaced"] if len(chosen) < len(order) else []
    said += [f"{len(rows) - len(there):,} without an interval"] if len(there) < len(rows) else []
    title(axes, "; ".join(said))
    return axes


def _draw(axes: Any, rows: np.ndarray, labels: list[str], words: str) -> None:
    """Rows from the bottom up: (estimate, low, high) each."""
    places = np.arange(len(rows))
    sure = (rows[:, 1] > 0) | (rows[:, 2] < 0)
    axes.hlines(places, rows[:, 1], rows[:, 2], color=LINE, linewidth=1.6, zorder=2)
    for chosen, face, label in ((sure, LINE, f"{words} interval without 0"), (~sure, "white", f"{words} interval with 0")):
        if chosen.any():
            style = {"color": LINE, "markerfacecolor": face, "markersize": 6, "markeredgewidth": 1.4}
            axes.plot(rows[chosen, 0], places[chosen], "o", label=label, zorder=3, **style)
    if len(rows) and rows[:, 1].min() <= 0 <= rows[:, 2].max():
        axes.axvline(0, color=SOFT, linewidth=1, zorder=1)
    axes.set_yticks(places, labels, fontsize=8 if len(rows) > 25 else 9)
    axes.set_ylim(-0.8, max(len(rows), 1) - 0.2)
    axes.grid(axis="y", visible=False)
    if len(rows):
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16 if len(rows) < 20 else -0.09), ncols=2)


def _names(result: Any, names: Any, count: int, of_all: bool) -> list[str]:
    """The names of the rows."""
    if names is not None:
        found = [str(name) for name in names]
        if len(found) != count:
            raise ValueError(f"names has {len(found):,} names, for {counted(count, 'row')}")
        return found
    if of_all:
        d = count - (result.intercept is not None)
        known = [str(name) for name in result.features or [f"w[{k}]" for k in range(d)]]
        return [*known, *(["intercept"] if result.intercept is not None else [])]
    leading = np.shape(result.loss)
    keys = getattr(result, "keys", None)
    own = (
        [", ".join(map(str, label)) for label in zip(*keys.values(), strict=True)]
        if keys
        else [str(k) for k in range(leading[-1] if leading else 1)]
    )
    if not leading:
        return ["the fit"]
    before = list(np.ndindex(leading[:-1]))
    return [", ".join([*map(str, index), name]) for index in before for name in own]
