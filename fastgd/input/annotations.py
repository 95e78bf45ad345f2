"""The types of arguments, for editors and type checkers; the choices are those that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike


class HasDLPack(Protocol):
    """An array of a library that shares memory by DLPack."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...


AnyArray: TypeAlias = ArrayLike | HasDLPack  # one number too; of NumPy, torch, pandas, …, or a list
Algorithm: TypeAlias = Literal["auto", "moments", "stream"]
BackendName: TypeAlias = Literal["auto", "cpu", "torch", "torch-cuda", "numpy", "cuda"]
DType: TypeAlias = Literal["float32", "float64"] | type[float] | type[np.float32] | type[np.float64] | np.dtype[Any]
NanPolicy: TypeAlias = Literal["raise", "omit", "propagate"]
OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", "adadelta", "adamax"]
NoData: TypeAlias = ArrayLike | Mapping[str, Any]  # numbers, or numbers by the names of arrays
Progress: TypeAlias = bool | Callable[[int, int], object]
Reduction: TypeAlias = Literal["mean", "sum"]
