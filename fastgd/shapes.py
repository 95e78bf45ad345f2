"""shapes: whether X, y and the weights fit together, and which dtype they are computed in. Nobody looks at their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import broadcast, counted, shown


def choose_dtype(X: np.ndarray, y: np.ndarray, dtype: Any) -> np.dtype:
    """float32 or float64: the one asked for, or the one that NumPy's promotion gives (16-bit floats are computed as float32)."""
    if dtype is not None:
        try:
            asked = np.dtype(dtype)
        except (TypeError, ValueError):
            asked = np.dtype(object)
        if asked not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
        return asked
    kinds = [np.dtype(np.float64) if a.dtype.kind in "iub" else a.dtype for a in (X, y)]
    result = np.result_type(*kinds)
    return np.dtype(np.float32) if result.itemsize < 4 else np.dtype(result.type)


def check_weights(weights: np.ndarray, X: np.ndarray, y: np.ndarray, n_samples: int, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes, with those of the weights."""
    if weights.ndim == 0 or weights.shape[-1] != n_samples:
        told = f"it has shape {weights.shape}" if weights.ndim else f"it is the single number {weights[()]}"
        raise ValueError(f"sample_weight must have shape (…, {n_samples}), a weight for each of the {n_samples:,} samples; {told}")
    if weights.size == 0:
        raise ValueError(f"sample_weight is empty, it has shape {weights.shape}")
    try:
        return broadcast({"": leading, "sample_weight": weights.shape[:-1]})
    except ValueError:
        raise ValueError(
            f"leading axes do not broadcast against each other: sample_weight has shape {weights.shape}, so {weights.shape[:-1]} fits, "
            f"X has shape {X.shape}, y has shape {y.shape}: {leading} fits"
        ) from None


def check_shapes(X: np.ndarray, y: np.ndarray) -> None:
    """Refuse X and y that do not fit together, in words that say how to mend it."""
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
        hint = ""
        if y.ndim == 2 and y.shape[0] == n_samples:
            hint = "; the samples are the last axis of y: give " + ("y[:, 0]" if y.shape[1] == 1 else "y.T for many targets")
        elif X.ndim == 2 and y.shape[-1] == X.shape[1]:
            hint = "; a 2-D X is always (n_samples, n_features): for many fits of one feature give X[..., None]"
        raise ValueError(f"X has {counted(n_samples, 'sample')} (shape {X.shape}) but y has {y.shape[-1]:,} (shape {y.shape}){hint}")
