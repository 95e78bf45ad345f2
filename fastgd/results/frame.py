"""A result as a data frame, through narwhals.

Every field of a result that has one value per fit becomes a column of its name, so that a new field
needs no change here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import shown, what_was_raised
from .special import has_scipy
from .status import STATUS_NAMES
from .summary import coefficients, feature_names

OF_A_FIT = ("r2", "adjusted_r2", "residual_variance", "dof", "f", "aic", "bic")  # columns of the statistics


def make_frame(result: Any, library: str, features: Sequence[str] | None) -> Any:
    """The data frame for `FitResult.to_frame`."""
    result = with_numpy_arrays(result)
    leading = np.shape(result.loss)
    several = {name: values for name, values in result.hyperparameters.items() if values.size > 1}
    places, columns = _rows_of(result, leading), columns_of_fits(result, features)
    if twice := places.keys() & columns.keys():
        raise ValueError(f"the groups have labels named {min(twice)!a}, as a column of results is: give groups other names")
    columns = places | columns
    return frame_of(columns | {name: np.broadcast_to(values, leading).ravel() for name, values in several.items()}, library)


def _rows_of(result: Any, leading: tuple[int, ...]) -> dict[str, Any]:
    """What tells one row from another: the labels of groups, and indices along the other axes."""
    keys = getattr(result, "keys", None)
    if keys is None:
        return places_of(leading)
    others = {axis: np.repeat(place, leading[-1]) for axis, place in places_of(leading[:-1]).items()}
    return others | {name: _listed(np.tile(labels, math.prod(leading[:-1]))) for name, labels in keys.items()}


def _listed(labels: np.ndarray) -> Any:
    """Labels as a column of any library: Python's objects as a list."""
    if labels.dtype.kind in "OU":
        return labels.tolist()
    if labels.dtype.kind in "mM" and (unit := np.datetime_data(labels.dtype)[0]) not in ("ms", "us", "ns"):
        return labels.astype(f"M8[{'D' if unit in 'YMWD' else 'us'}]" if labels.dtype.kind == "M" else "m8[us]")  # units that all have
    return labels


def frame_of(columns: dict[str, Any], library: str) -> Any:
    """A data frame of these columns, which have one length."""
    if not isinstance(library, str):
        raise TypeError(f"library must be a name such as 'pandas', not {shown(library)}")
    library = str.__str__(library)  # of a subclass of str, too, the text alone
    try:
        import narwhals
    except ImportError:
        raise ImportError("to_frame needs narwhals: pip install 'fastgd[frames]'") from None
    try:
        return narwhals.from_dict(columns, backend=library).to_native()
    except ImportError:
        raise ImportError(f"to_frame(library={shown(library)}) needs {library}: pip install {library}") from None
    except Exception as error:  # whatever narwhals or the library may raise
        why = what_was_raised(error).partition(". ")[0]
        raise ValueError(f"narwhals makes no frame of library={shown(library)}: give 'pandas', 'polars' or 'pyarrow' ({why})") from None


def places_of(leading: tuple[int, ...]) -> dict[str, np.ndarray]:
    """{axis: (n_fits,) index of each fit along it}: "fit" where there is one axis."""
    axes = ["fit"] if len(leading) == 1 else [f"axis_{k}" for k in range(len(leading))]
    places = np.indices(leading, sparse=True)
    return {axis: np.broadcast_to(place, leading).ravel() for axis, place in zip(axes, places, strict=True)}


def columns_of_fits(result: Any, features: Sequence[str] | None) -> dict[str, Any]:
    """{name: (n_fits,)}: w, intercept, and the other fields."""
    leading, labels = np.shape(result.loss), feature_names(result, features)
    w_names = labels if features is None and getattr(result, "features", None) is None else [f"w_{name}" for name in labels]
    columns: dict[str, Any] = {name: coefficients(result)[..., k].ravel() for k, name in enumerate(w_names)}
    if result.intercept is not None:
        columns["intercept"] = np.ravel(result.intercept)
    others = [each.name for each in fields(result) if each.name not in {"w", "intercept", "loss", "excess_loss"}]
    for name in ("loss", "excess_loss", *others):
        value = getattr(result, name)
        if name == "status":
            columns[name] = [STATUS_NAMES[code] for code in np.ravel(value).tolist()]
        elif isinstance(value, np.ndarray | np.generic) and np.shape(value) == leading:
            columns[name] = np.ravel(value)
    names = [*w_names, *([] if result.intercept is None else ["intercept"])]
    return columns | _columns_of_statistics(getattr(result, "stats", None), names)


def _columns_of_statistics(stats: Any, names: Sequence[str]) -> dict[str, Any]:
    """{name: (n_fits,)}; names: of the parameters."""
    if stats is None:
        return {}
    columns: dict[str, Any] = {}
    for what in ("std_error", "t", *(("p",) if has_scipy() else ())):
        values = getattr(stats, what)
        columns |= {f"{what}_{name}": values[..., k].ravel() for k, name in enumerate(names)}
    return columns | {name: np.ravel(getattr(stats, name)) for name in OF_A_FIT}
