"""The axes of X, y and the weights: which one is the samples, and whether all shapes match.

The samples are the last axis of y and of the weights, and the last but one of X (the only one of a
1-D X). Where the axes of X and y have names, as in xarray or netCDF4, the names decide: the axis is
brought there, as a view.
"""

from __future__ import annotations

import numpy as np

from ..input.messages import counted
from ..input.missing import Numbers
from ..input.shapes import broadcast

_TIMES = ("time", "t", "date", "datetime", "valid_time", "year")


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
    time = next((name for name in shared if name in _TIMES), found)
    if found not in _TIMES and time != found:
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
    if dims is None or dims[-1] in _TIMES:
        return
    n_samples = X.array.shape[0] if X.array.ndim == 1 else X.array.shape[-2]
    times = [k for k, dim in enumerate(dims) if dim in _TIMES and shape[k] == n_samples == shape[-1]]
    if times:
        time = dims[times[0]]
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
            f"For {counted(X.shape[0], 'fit')} of one feature give X[..., None]; for one X and many y give X[None]"
        )
    if y.shape[-1] != n_samples:
        hints = [_samples_are_elsewhere("y", y.shape, n_samples), _of_features(X.shape, y.shape[-1])]
        hint = next(filter(None, reversed(hints) if X.shape == y.shape else hints), "")
        raise ValueError(f"X has {counted(n_samples, 'sample')} (shape {X.shape}) but y has {y.shape[-1]:,} (shape {y.shape}){hint}")


def check_weights(weights: np.ndarray, X: np.ndarray, y: np.ndarray, n_samples: int, leading: tuple[int, ...]) -> tuple[int, ...]:
    """Check the shape of the weights; return `leading` broadcast with their leading axes."""
    if weights.ndim == 0 or weights.shape[-1] != n_samples:
        actual = f"it has shape {weights.shape}" if weights.ndim else f"it is the single number {weights[()]}"
        hint = _samples_are_elsewhere("sample_weight", weights.shape, n_samples)
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


def _samples_are_elsewhere(name: str, shape: tuple[int, ...], n_samples: int) -> str:
    """Words for an array of which another axis than the last is the samples; '' where none is."""
    if n_samples not in shape[:-1]:
        return ""
    if shape[-1] == 1 and shape[-2] == n_samples:
        instead = f"{name}[:, 0]" if len(shape) == 2 else f"{name}[..., 0]"
    elif len(shape) == 2:
        instead = f"{name}.T for many {'targets' if name == 'y' else 'fits'}"
    else:
        instead = f"np.moveaxis({name}, {shape.index(n_samples)}, -1)"
    return f"; the samples are the last axis of {name}: give {instead}"


def _of_features(shape: tuple[int, ...], n_samples: int) -> str:
    """Words for an X of which another axis than the last but one is the samples."""
    if len(shape) > 1 and shape[-1] == n_samples:
        which = "a 2-D X is always (n_samples, n_features)" if len(shape) == 2 else "the last axis of X is the features"
        return f"; {which}: for many fits of one feature give X[..., None]"
    if n_samples in shape[:-2]:
        return f"; the samples are the last axis but one of X: give np.moveaxis(X, {shape.index(n_samples)}, -2)"
    return ""
