"""The map of a result: one number of each fit, where the fits lie on two axes.

1. Rows and columns at equal distances are an image, others a mesh of quadrilaterals. The number of
   cells drawn does not grow with that of the fits.
2. What is not finite is a layer of grey; what is left out is transparent, on a hatched ground. Both
   differ from every colour of a value, on grey paper too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import counted, shown
from ..input.reading import read
from .figure import LOST, NUMBERS, SERIES, SIGNED, SOFT, axes_for, title
from .status import Status

_MOST = 1_000  # rows, and columns
_OF_FITS = ("w", "intercept", "loss", "excess_loss", "epochs", "lr", "n_used", "status")
_OF_STATISTICS = ("std_error", "t", "p", "r2")
_OF_PARAMETERS = ("w", "std_error", "t", "p")


def place_of_term(result: Any, term: Any) -> tuple[int, str]:
    """(which of the parameters, the intercept last; its name)."""
    d = 1 if result._one_feature else np.shape(result.w)[-1]
    known = result.features or ()
    names = [str(name) for name in known] or [f"w[{k}]" for k in range(d)] if d > 1 or known else ["w"]
    if isinstance(term, str):
        if term in known:
            return known.index(term), term
        if term == "intercept" and result.intercept is not None:
            return d, "intercept"
    elif isinstance(term, int | np.integer) and not isinstance(term, bool) and -d <= term < d:
        return int(term) % d, names[int(term)]
    else:
        if not isinstance(term, int | np.integer) or isinstance(term, bool):
            raise TypeError(f"term must be the number or the name of a feature, or 'intercept', not {shown(term)}")
    there = [*([f"0 to {d - 1}"] if d > 1 else ["0"]), *map(repr, known), *(["'intercept'"] if result.intercept is not None else [])]
    raise ValueError(f"there is no term {shown(term)}; there are {', '.join(there)}")


def draw_map(result: Any, values: Any, term: Any, where: Any, x: Any, y: Any, ax: Any) -> Any:
    """Draw a number of each fit, for `FitResult.plot_map`."""
    result = with_numpy_arrays(result)
    table, label = _numbers(result, values, term)
    kept = _kept(where, table.shape)
    across, up = _coordinate(x, "x", table.shape[1]), _coordinate(y, "y", table.shape[0])
    axes = axes_for(ax, "plot")
    steps = [-(-n // _MOST) for n in table.shape]
    words = _words(label, where is not None, kept, ~np.isfinite(table) & kept, steps)
    table, kept = (array[:: steps[0], :: steps[1]] for array in (table, kept))
    across, up = across[:: steps[1]], up[:: steps[0]]
    lost = ~np.isfinite(table) & kept
    seen = np.ma.array(table, mask=~np.isfinite(table) | ~kept)
    if not kept.all():
        axes.patch.set(hatch="////", edgecolor=LOST, facecolor="white", linewidth=0)
    axes.grid(False)
    draw = _painter(axes, across, up, y is None, plain=x is None and y is None)
    of_status = isinstance(values, str) and values == "status"
    if of_status:
        _draw_codes(axes, draw, seen)
    else:
        _draw_numbers(axes, draw, seen, label, isinstance(values, str) and values not in ("w", "intercept", "t"))
    if lost.any():
        draw(np.ma.array(np.zeros(table.shape), mask=~lost), cmap=_one_colour(LOST))
    axes.set_xlabel("column" if x is None else getattr(x, "name", None) or "x")
    axes.set_ylabel("row" if y is None else getattr(y, "name", None) or "y")
    title(axes, words)
    return axes


def _words(label: str, chosen: bool, kept: np.ndarray, lost: np.ndarray, steps: list[int]) -> str:
    said = [f"{label} of {np.count_nonzero(kept):,} of {kept.size:,} fits" if chosen else f"{label} of {counted(kept.size, 'fit')}"]
    said += [f"{np.count_nonzero(lost):,} not finite (grey)"] if lost.any() else []
    said += [f"1 {name} in {step} drawn" for name, step in zip(("row", "column"), steps, strict=True) if step > 1]
    return "; ".join(said)


def _numbers(result: Any, values: Any, term: Any) -> tuple[np.ndarray, str]:
    """(n_rows, n_columns) of numbers, and what they are called."""
    leading = np.shape(result.loss)
    if not isinstance(values, str):
        table = np.asarray(read(values, "values").filled())
        if table.ndim != 2 or table.shape != leading[-2:]:
            raise ValueError(f"values must have shape (n_rows, n_columns), the last two axes of the fits, {leading}; it has {table.shape}")
        return table.astype(float), "values"
    known = [*_OF_FITS, *(_OF_STATISTICS if result.stats is not None else ())]
    if values in _OF_STATISTICS and result.stats is None:
        raise ValueError(f"the result has no {values}: fit(..., stats=True) and solve(..., stats=True) find it")
    if values not in known:
        raise ValueError(f"there is no {values!r} to draw; there are {', '.join(known)}, or give an array")
    if len(leading) != 2:
        example = "np.reshape(result.loss, (n_rows, n_columns))" if len(leading) < 2 else "result.loss[0]"
        how = "reshape X and y before the fit" if len(leading) < 2 else f"give an array of two of them, such as {example}"
        raise ValueError(f"a map needs fits on two axes; they have shape {leading}: {how}")
    if values not in _OF_PARAMETERS:
        found = getattr(result.stats if values in _OF_STATISTICS else result, values)
        if found is None:
            raise ValueError(f"the result has no {values}" + (": fit(..., intercept=True) has one" if values == "intercept" else ""))
        return np.broadcast_to(np.asarray(found, float), leading), values
    place, name = place_of_term(result, term)
    if values == "w" and name == "intercept":
        return np.asarray(result.intercept, float), name
    found = np.asarray(result.w if values == "w" else getattr(result.stats, values), float)
    found = found if values == "w" and result._one_feature else found[..., place]
    return found, name if values == "w" else f"{values} of {name}"


def _kept(where: Any, shape: tuple[int, ...]) -> np.ndarray:
    if where is None:
        return np.ones(shape, bool)
    kept = np.asarray(read(where, "where").filled())
    if kept.dtype != bool:
        raise TypeError(f"where must be True or False for each fit, not of dtype {kept.dtype}")
    if kept.shape != shape:
        raise ValueError(f"where must have the shape of the map, {shape}; it has {kept.shape}")
    return kept


def _coordinate(given: Any, name: str, length: int) -> np.ndarray:
    """(length,): where the columns or rows lie."""
    if given is None:
        return np.arange(length, dtype=float)
    found = np.asarray(read(given, name).filled(), float)
    if found.shape != (length,):
        raise ValueError(f"{name} must have a number for each {'column' if name == 'x' else 'row'}, {length:,}; it has shape {found.shape}")
    steps = np.diff(found)
    if not np.isfinite(found).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(f"{name} must increase or decrease from each {'column' if name == 'x' else 'row'} to the next")
    return found


def _painter(axes: Any, across: np.ndarray, up: np.ndarray, from_top: bool, plain: bool) -> Any:
    """A function that draws a table of numbers at its place, and returns what it has drawn."""
    edges = [_edges(across), _edges(up)]
    steps = [np.diff(places) for places in (across, up) if len(places) > 1]
    even = all(np.ptp(each) <= 1e-6 * np.abs(each[0]) for each in steps)  # of a million cells the last is a cell off, at most
    (left, right), (bottom, top) = [(places[0], places[-1]) for places in edges]

    def draw(table: Any, **options: Any) -> Any:
        if even:
            extent = (left, right, top, bottom) if from_top else (left, right, bottom, top)
            origin = "upper" if from_top else "lower"
            drawn = axes.imshow(
                table, extent=extent, origin=origin, interpolation="nearest", aspect="equal" if plain else "auto", **options
            )
        else:
            drawn = axes.pcolormesh(edges[0], edges[1], table, **options)
        axes.set_xlim(min(left, right), max(left, right))
        axes.set_ylim(*((max(bottom, top), min(bottom, top)) if from_top else (min(bottom, top), max(bottom, top))))
        return drawn

    return draw


def _edges(places: np.ndarray) -> np.ndarray:
    """Where cells end: half way to the next."""
    if len(places) < 2:
        return np.concatenate([places - 0.5, places + 0.5])
    middle = (places[:-1] + places[1:]) / 2
    return np.concatenate([[2 * places[0] - middle[0]], middle, [2 * places[-1] - middle[-1]]])


def _draw_numbers(axes: Any, draw: Any, seen: Any, label: str, never_signed: bool) -> None:
    numbers = seen.compressed()
    low, high = np.quantile(numbers, [0.01, 0.99], method="nearest") if numbers.size else (0.0, 1.0)
    least, most = (numbers.min(), numbers.max()) if numbers.size else (low, high)
    signed = least < 0 < most and not never_signed
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
        bool(least < low), bool(most > high)
    ]
    picture = draw(seen, vmin=low, vmax=high, cmap=SIGNED if signed else NUMBERS)
    bar = axes.figure.colorbar(picture, ax=axes, label=label, extend=extend, pad=0.02)
    bar.outline.set_visible(False)


def _draw_codes(axes: Any, draw: Any, seen: Any) -> None:
    """Statuses, each in a colour of its own, with their numbers of fits."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    codes, counts = np.unique(seen.compressed().astype(int), return_counts=True)
    colours = dict(zip(Status, (SERIES[3], SERIES[0], SERIES[4], SERIES[2], SERIES[1], SOFT), strict=True))
    draw(np.ma.array(np.searchsorted(codes, seen.filled(0)), mask=seen.mask), vmin=-0.5, vmax=max(len(codes), 1) - 0.5,
         cmap=ListedColormap([colours[Status(code)] for code in codes] or ["white"]))  # fmt: skip
    entries = [Patch(facecolor=colours[Status(code)], label=f"{Status(code).name}: {n:,}") for code, n in zip(codes, counts, strict=True)]
    axes.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False, fontsize=9)


def _one_colour(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])
