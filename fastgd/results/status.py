"""Status: what became of a fit. One status, and an array of them, print as names."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from ..kernels.chunk import COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, STOPPED_EARLY, TOO_FEW_SAMPLES


class Status(IntEnum):
    """What became of one fit; it prints as its name, and compares and counts as its code."""

    COMPLETED = COMPLETED  #: all epochs were run
    CONVERGED = CONVERGED  #: at most tol of the start's distance from the least loss was left; later history rows repeat
    DIVERGED = DIVERGED  #: w or the loss is no longer finite
    INVALID_DATA = INVALID_DATA  #: X or y is not finite (only under ``nan_policy="propagate"``)
    TOO_FEW_SAMPLES = TOO_FEW_SAMPLES  #: fewer kept samples than ``min_samples``
    STOPPED_EARLY = STOPPED_EARLY  #: for `patience` epochs the validation loss was not improved

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        """The name, or the code where the format is one of numbers, such as "d"."""
        return format(int(self) if spec[-1:] in tuple("bcdoxXneEfFgG%") else self.name, spec)


STATUS_NAMES = tuple(status.name for status in Status)


class StatusArray(np.ndarray):
    """An array of int8 codes that prints names, and whose elements are `Status`.

    What is computed from it is a plain array; what `numpy.unique` picks from it are statuses.
    """

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return Status(int(found)) if isinstance(found, np.int8) and 0 <= found < len(STATUS_NAMES) else found

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        if context is None and plain.dtype == np.int8 and not return_scalar:  # of no ufunc: codes were picked
            return named(plain)
        return plain[()] if return_scalar else plain

    def _in_words(self, write: Any) -> str:
        plain = np.asarray(self)
        if plain.dtype != np.int8:
            return str(write(plain))
        with np.printoptions(formatter={"int_kind": lambda code: STATUS_NAMES[code] if 0 <= code < len(STATUS_NAMES) else str(code)}):
            return str(write(plain))

    def __repr__(self) -> str:
        return self._in_words(np.array_repr)

    def __str__(self) -> str:
        return self._in_words(np.array_str)


def named(codes: Any) -> Any:
    """Status codes that print as names, where they are a NumPy array; others as they are."""
    return codes.view(StatusArray) if type(codes) is np.ndarray else codes
