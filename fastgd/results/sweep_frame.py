"""The cells of a sweep as columns of a data frame, as an xarray.Dataset, and by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .cells import applies_at, swept
from .coordinate import Coordinate, short
from .frame import columns_of_fits
from .status import STATUS_NAMES


def _numbered(name: str, coordinate: Coordinate) -> dict[str, np.ndarray]:
    """{column: (k,) values}: pairs and rows of numbers are several columns."""
    if coordinate.is_text or coordinate.values.ndim == 1:
        return {name: coordinate.labels}
    names = ("beta1", "beta2") if name == "betas" else [f"{name}_{k}" for k in range(coordinate.values.shape[1])]
    return {column: coordinate.values[:, k] for k, column in enumerate(names)}


def columns_of_cells(result: Any, features: Sequence[str] | None) -> dict[str, Any]:
    """{name: (n_cells,)}: the coordinates, then w and what else there is of each cell."""
    leading, dims = np.shape(result.loss), result.dims
    columns: dict[str, Any] = {}

    def along(coordinate: Coordinate, values: np.ndarray) -> np.ndarray:
        shape = [len(values) if dim == coordinate.dim else 1 for dim in dims]
        return np.broadcast_to(values.reshape(shape), leading).ravel()

    for name, coordinate in result.coordinates.items():
        applied = along(result.coordinates["optimizer"], applies_at(result, name))
        for column, values in _numbered(name, coordinate).items():
            cells = along(coordinate, values)
            columns[column] = cells if applied.all() else np.where(applied, cells.astype(np.float64), np.nan)
    of_cells = columns_of_fits(result, features)
    return columns | {name: values for name, values in of_cells.items() if name not in columns}


def make_dataset(result: Any) -> Any:
    """The dataset for `SweepResult.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise ImportError("to_xarray needs xarray: pip install xarray") from None
    dims = result.dims
    coordinates: dict[str, Any] = {}
    for name, coordinate in result.coordinates.items():
        dim = (coordinate.dim,) if coordinate.dim else ()
        for column, values in _numbered(name, coordinate).items():
            coordinates[column] = (dim, values if dim else values[0])
    last = () if result._one_feature else ("feature",)
    variables: dict[str, Any] = {"w": ((*dims, *last), result.w), "status": (dims, np.array(STATUS_NAMES)[np.asarray(result.status)])}
    for name in ("loss", "val_loss", "excess_loss", "intercept", "epochs", "best_epoch", "n_used", "lr", "stability_limit"):
        value = getattr(result, name)
        if value is not None:
            variables["lr_used" if name == "lr" else name] = (dims, value)
    if result.history is not None:
        coordinates["epoch"] = (("epoch",), result.history.epoch)
        variables["history_loss"] = ((*dims, "epoch"), result.history.loss)
        variables["history_w"] = ((*dims, "epoch", *last), result.history.w)
        for name in ("intercept", "val_loss"):
            value = getattr(result.history, name)
            if value is not None:
                variables[f"history_{name}"] = ((*dims, "epoch"), value)
    attributes = {"backend": result.backend, "algorithm": result.algorithm}
    return xarray.Dataset(variables, coords=coordinates, attrs=attributes)


def cell_names(result: Any) -> list[str]:
    """A name for each cell, such as 'lr 0.1, momentum 0.9': what differs between the cells."""
    shape, dims = np.shape(result.loss), result.dims
    varying = {name: coordinate for name, coordinate in result.coordinates.items() if coordinate.dim and len(coordinate.values) > 1}
    if "point" in varying and len([one for one in varying.values() if one.dim == "point"]) > 1:
        del varying["point"]
    names = []
    for index in np.ndindex(shape):
        at = dict(zip(dims, index, strict=True))
        parts = []
        for name, coordinate in varying.items():
            value = short(coordinate.value(at[coordinate.dim]))
            parts.append(value if name in ("optimizer", "reduction", "schedule") else f"{name} {value}")
        names.append(", ".join(parts))
    return names


def swept_names(result: Any) -> list[str]:
    """The names of what was swept, in order."""
    return [name for name, coordinate in swept(result).items() if coordinate.dim]
