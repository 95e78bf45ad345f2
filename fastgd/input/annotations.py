"""The types of arguments, for editors and type checkers; the choices are those that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray


class HasDLPack(Protocol):
    """An array of a library that shares memory by DLPack."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...


class HasArray(Protocol):
    """A number or an array that NumPy reads."""

    def __array__(self, *args: Any, **options: Any) -> Any: ...


# One number or an array of them, not a text: a text is a sequence of texts, so how deep is written.
_Number: TypeAlias = float | HasArray | HasDLPack
_Lists: TypeAlias = Sequence[_Number] | Sequence[Sequence[_Number]] | Sequence[Sequence[Sequence[_Number]]]
NumberOrArray: TypeAlias = _Number | _Lists
# Data: also what users call ArrayLike, and lists with None where a number is missing.
_Gaps: TypeAlias = Sequence[_Number | None] | Sequence[Sequence[_Number | None]] | Sequence[Sequence[Sequence[_Number | None]]]
AnyArray: TypeAlias = ArrayLike | HasDLPack | _Gaps  # one number too; of NumPy, torch, pandas, …, or a list
Algorithm: TypeAlias = Literal["auto", "moments", "stream"]
BackendName: TypeAlias = Literal["auto", "cpu", "torch", "torch-cuda", "numpy", "cuda"]
DType: TypeAlias = Literal["float32", "float64"] | type[float] | type[np.float32] | type[np.float64] | np.dtype[Any]
NanPolicy: TypeAlias = Literal["raise", "omit", "propagate"]
OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", "adadelta", "adamax"]
_NoData: TypeAlias = float | np.number[Any] | Sequence[float | np.number[Any]] | AbstractSet[float | np.number[Any]] | NDArray[Any]
NoData: TypeAlias = _NoData | Mapping[Literal["X", "y", "sample_weight"], _NoData | None]
Progress: TypeAlias = bool | Callable[[int, int], object]
Reduction: TypeAlias = Literal["mean", "sum"]
JudgedReduction: TypeAlias = Literal["mean", "sum", "half_mean", "half_sum"]  # of other people's descents
ScheduleUnit: TypeAlias = Literal["epoch", "step"]
Covariance: TypeAlias = Literal["nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"]
WeightsAre: TypeAlias = Literal["precision", "frequency"]
RobustLoss: TypeAlias = Literal["huber", "bisquare", "hampel"]
Stats: TypeAlias = bool | Covariance | Mapping[Literal["covariance", "clusters", "weights_are"], Any]
