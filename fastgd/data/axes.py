"""The axes of X, y and the weights: which one is the samples, and whether all shapes match.

The samples are the last axis of y and of the weights, and the last but one of X (the only one of a
1-D X). Where the axes of X and y have names, as in xarray or netCDF4, the names decide: the axis is
brought there, as a view.
"""

from __future__ import annotations

import math

import numpy as np

from ..input.messages import counted
from ..input.missing import Numbers
from ..input.shapes import broadcast

_TIMES = ("t", "year", "month", "week", "day", "hour", "season")


def _is_time(name: str) -> bool:
    lower = name.lower()
    return "time" in lower or "date" in lower or lower.rstrip("s") in _TIMES


def bring_samples_into_place(X: Numbers, y: Numbers, weights: Numbers | None) -> None:
    """Move the axis of the samples to its place, where X and y have names for their axes.

    Raise where names show that an axis of samples would be guessed.
    """
    if y.dims is None and X.dims is None:
        return
    samples = _name_of_samples(X, y)
    given = [("X", X, -1 if X.array.ndim == 1 else -2), ("y", y, -1)]
    given += [] if weights is None else [("sample_weight", weights, -1)]
    for name, numbers, place in given:
        if samples is not None and numbers.dims is not None and samples in numbers.dims:
            _move(numbers, numbers.dims.index(samples), place)
        elif name != "X" and samples is None:
            _refuse_to_guess(name, numbers, X)
    _refuse_other_order(X, y)


def _name_of_samples(X: Numbers, y: Numbers) -> str | None:
    """The name that the axis of the samples has in X and y; None where the names do not tell it."""
    if X.dims is None or y.dims is None:
        return None
    shared = [name for name in X.dims if name in y.dims]
    if len(X.dims) <= 2 and len(shared) == 1:
        return shared[0]
    if len(X.dims) > 1 and X.dims[-2] in shared and X.dims[-1] not in shared:
        found = X.dims[-2]
    elif y.dims[-1] in shared and len(shared) < len(X.dims):
        found = y.dims[-1]
    else:
        return None
    time = next((name for name in shared if _is_time(name)), found)
    if not _is_time(found) and time != found:
        raise ValueError(
            f"X has axes {X.dims}, y has {y.dims}, and both {time!r} and {found!r} may be the samples: give X with {time!r} last but one "
            f"and y with {time!r} as its last axis, or numpy.asarray of both"
        )
    return found


def _move(numbers: Numbers, axis: int, place: int) -> None:
    order = [k for k in range(numbers.array.ndim) if k != axis]
    order.insert(len(order) + 1 + place, axis)
    numbers.array = numbers.array.transpose(order)
    numbers.mask = None if numbers.mask is None else numbers.mask.transpose(order)
    numbers.dims = None if numbers.dims is None else tuple(numbers.dims[k] for k in order)


def _refuse_to_guess(name: str, numbers: Numbers, X: Numbers) -> None:
    """Raise where the last axis is as long as another one, which is a time by its name."""
    dims, shape = numbers.dims, numbers.array.shape
    if dims is None or _is_time(dims[-1]):
        return
    n_samples = X.array.shape[0] if X.array.ndim == 1 else X.array.shape[-2]
    times = [dim for dim, length in zip(dims, shape, strict=True) if _is_time(dim) and length == n_samples == shape[-1]]
    if times:
        time = times[0]
        raise ValueError(
            f"{name} has axes {dims}, and both {time!r} and {dims[-1]!r} have length {n_samples}: give "
            f"{name}.transpose(..., {time!r}) if {time!r} is the samples, numpy.asarray({name}) if {dims[-1]!r} is"
        )


def _refuse_other_order(X: Numbers, y: Numbers) -> None:
    """Raise where X and y have the same named leading axes in different orders."""
    if X.dims is None or y.dims is None or len(X.dims) < 3:
        return
    pairs = list(zip(reversed(X.dims[:-2]), reversed(y.dims[:-1]), strict=False))
    if any(one != other and (one in y.dims[:-1] or other in X.dims[:-2]) for one, other in pairs):
        raise ValueError(f"X has axes {X.dims}, y has {y.dims}: give both with their leading axes in one order, X with features last")


def check_shapes(X: np.ndarray, y: np.ndarray) -> None:
    """Raise if the shapes of X and y do not match; the message says what to give instead."""
    for name, given in (("X", X), ("y", y)):
        if given.ndim == 0:
            raise ValueError(f"{name} must have at least one axis, the samples; it is the single number {given[()]}")
        if given.size == 0:
            raise ValueError(f"{name} is empty, it has shape {given.shape}; at least one sample, one feature and one fit are needed")
    n_samples = X.shape[0] if X.ndim == 1 else X.shape[-2]
    if X.ndim == 2 and X.shape == y.shape:
        raise ValueError(
            f"X and y both have shape {X.shape}, and a 2-D X is always (n_samples, n_features). "
            f"For {counted(X.shape[0], 'fit')} of one feature give X[..., None]; for {_one_X_in_words(X.shape)}"
        )
    if y.shape[-1] != n_samples:
        hint = _advice(X.shape, y.shape)
        raise ValueError(f"X has {counted(n_samples, 'sample')} (shape {X.shape}) but y has {y.shape[-1]:,} (shape {y.shape}){hint}")


def check_weights(weights: np.ndarray, X: np.ndarray, y: np.ndarray, n_samples: int, leading: tuple[int, ...]) -> tuple[int, ...]:
    """Check the shape of the weights; return `leading` broadcast with their leading axes."""
    if weights.ndim == 0 or weights.shape[-1] != n_samples:
        actual = f"it has shape {weights.shape}" if weights.ndim else f"it is the single number {weights[()]}"
        orders = _orders("sample_weight", weights.shape, n_samples)
        hint = f"; the samples are the last axis of sample_weight: give {orders[0][0]}" if orders else ""
        raise ValueError(
            f"sample_weight must have shape (..., {n_samples}), a weight for each of the {n_samples:,} samples; {actual}{hint}"
        )
    if weights.size == 0:
        raise ValueError(f"sample_weight is empty, it has shape {weights.shape}")
    try:
        return broadcast({"": leading, "sample_weight": weights.shape[:-1]})
    except ValueError:
        raise ValueError(
            f"leading axes do not broadcast against each other: sample_weight has shape {weights.shape}, so {weights.shape[:-1]} fits, "
            f"X has shape {X.shape}, y has shape {y.shape}: {leading} fits"
        ) from None


def _one_X_in_words(shape: tuple[int, ...]) -> str:
    """What to give for one X where X and y have the same shape."""
    if shape[0] == shape[1]:
        return "one X and many y give X[None]"
    return "one fit give y[:, 0]" if shape[1] == 1 else f"one X and {shape[1]:,} targets give y.T"


def _advice(X: tuple[int, ...], y: tuple[int, ...]) -> str:
    """Where the samples are, and what to give instead of arrays of these shapes.

    Axes are advised only where the leading ones match then, too: else a fit would run on the wrong
    samples, or another error follow.
    """
    n_samples = X[0] if len(X) == 1 else X[-2]
    of_y = [(code, X[:-2], leading, n_samples, X[-1] if len(X) > 1 else 1) for code, leading in _orders("y", y, n_samples)]
    of_X = [(code, leading, y[:-1], y[-1], d) for code, leading, d in _orders_of_X(X, y[-1])]
    if X == y:  # noqa: SIM300 - X is no constant
        of_X.append(("np.moveaxis(X, 0, -1)[..., None] and np.moveaxis(y, 0, -1)", X[1:], X[1:], X[0], 1))
    ways = [way for way in of_y + of_X if way[1] == way[2] or not way[1] or not way[2]]
    rule = "the samples are the last axis of y"
    if not ways or not set(ways) <= set(of_y):
        rule = "a 2-D X is always (n_samples, n_features)" if len(X) == 2 else rule + ", and the last but one of X"
    if not ways:
        return f"; {rule}"
    if len(ways) == 1:
        return f"; {rule}: give {ways[0][0]}"
    words = (
        f"for {counted(math.prod(one or other), 'fit')} of {counted(n, 'sample')} and {counted(d, 'feature')} give {code}"
        for code, one, other, n, d in ways[:3]
    )
    return f"; {rule}: {'; '.join(words)}"


def _orders(name: str, shape: tuple[int, ...], n_samples: int) -> list[tuple[str, tuple[int, ...]]]:
    """[(code that makes the samples the last axis of y or the weights, the leading axes then)]."""
    if len(shape) > 1 and shape[-1] == 1 and shape[-2] == n_samples:
        return [(f"{name}[:, 0]" if len(shape) == 2 else f"{name}[..., 0]", shape[:-2])]
    found = []
    for k in (k for k, length in enumerate(shape[:-1]) if length == n_samples):
        code = f"{name}.T for many {'targets' if name == 'y' else 'fits'}" if len(shape) == 2 else f"np.moveaxis({name}, {k}, -1)"
        found.append((code, shape[:k] + shape[k + 1 :]))
    return found


def _orders_of_X(shape: tuple[int, ...], n_samples: int) -> list[tuple[str, tuple[int, ...], int]]:
    """[(code that makes the samples the last axis but one of X, its leading axes, features)]."""
    found = []
    if len(shape) > 1 and shape[-1] == n_samples:
        found.append(("X[..., None]", shape[:-1], 1))
        found.append(("X.T" if len(shape) == 2 else "np.swapaxes(X, -1, -2)", shape[:-2], shape[-2]))
    for k in (k for k, length in enumerate(shape[:-2]) if length == n_samples):
        others = shape[:k] + shape[k + 1 :]
        found.append((f"np.moveaxis(X, {k}, -2)", others[:-1], others[-1]))
        found.append((f"np.moveaxis(X, {k}, -1)[..., None]", others, 1))
    return found
