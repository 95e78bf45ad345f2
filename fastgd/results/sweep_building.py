"""Parts: makes a SweepResult of the results of its calls of `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..input.arrays import with_numpy_arrays
from .coordinate import Coordinate
from .result import FitResult, History
from .status import Status, named
from .sweep_result import SweepResult

_OF_CELLS = ("w", "loss", "epochs", "status", "n_used", "lr", "intercept", "excess_loss", "val_loss", "best_epoch")
_OF_HISTORY = ("w", "loss", "intercept", "val_loss", "batch_loss")


class Parts:
    """The results of the calls of one sweep, put into their cells one after the other.

    The state of a call, which is larger than what is kept, is let go as soon as it is put.
    """

    def __init__(self, grid: tuple[int, ...], leading: tuple[int, ...]) -> None:
        self._grid, self._leading = grid, leading
        self._arrays: dict[str, np.ndarray] = {}
        self.first: FitResult | SweepResult | None = None
        self.penalised = False
        self._epoch: Any = None

    def put(self, result: FitResult | SweepResult, where: tuple[Any, ...], limit: np.ndarray | None) -> None:
        """Put the result of a call, or of a sweep of some cells, into its cells.

        limit: as SweepResult.stability_limit.
        """
        result = with_numpy_arrays(result)
        found = {name: getattr(result, name) for name in _OF_CELLS}
        if result.history is not None:
            found |= {f"history.{name}": getattr(result.history, name) for name in _OF_HISTORY}
            self._epoch = result.history.epoch
        found["stability_limit"] = limit
        n_fits = np.ndim(result.loss)
        for name, array in found.items():
            if array is not None:
                n_leading = np.ndim(array) if name == "stability_limit" else n_fits
                self._put(name, np.asarray(array), n_leading, where)
        if self.first is None:
            self.first = result
        self.penalised |= result._penalised

    def _put(self, name: str, array: np.ndarray, n_leading: int, where: tuple[Any, ...]) -> None:
        """Put an array; its first n_leading axes broadcast to those of its cells."""
        full, last = (*self._grid, *self._leading), array.shape[n_leading:]
        array = array.reshape((1,) * (len(full) - n_leading) + array.shape)
        if all(isinstance(place, slice) and place == slice(None) for place in where) and name not in self._arrays:
            self._arrays[name] = np.broadcast_to(array, (*full, *last))  # of the one call
            return
        if name not in self._arrays:
            self._arrays[name] = np.full((*full, *last), np.nan if array.dtype.kind == "f" else 0, array.dtype)
        self._arrays[name][where] = array

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of all cells, by name."""
        return self._arrays

    def build(self, coordinates: Mapping[str, Coordinate], val_loss: np.ndarray | None, tol: float | None) -> SweepResult:
        """The result of the sweep, when all calls are put. val_loss: where the calls have none."""
        first = self.first
        arrays: dict[str, Any] = {"val_loss": val_loss} | {name: array[()] for name, array in self._arrays.items()}
        assert first is not None
        history = None
        if self._epoch is not None:
            history = History(self._epoch, *(arrays.pop(f"history.{name}", None) for name in _OF_HISTORY))
        status = arrays.pop("status")
        places = ["fit"] if len(self._leading) == 1 else [f"axis_{k}" for k in range(len(self._leading))]
        of_data = {name: Coordinate(name, np.arange(length)) for name, length in zip(places, self._leading, strict=True)}
        return SweepResult(
            coordinates={**coordinates, **of_data},
            status=named(status) if np.ndim(status) else Status(int(status)),
            backend=first.backend,
            algorithm=first.algorithm,
            explanation=first.explanation,
            history=history,
            tol=tol,
            versions=first.versions,
            _one_feature=first._one_feature,
            _penalised=self.penalised,
            **arrays,
        )
