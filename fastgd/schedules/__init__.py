"""Schedules of the learning rate: frozen dataclasses, with the names and values of torch.optim.

An epoch is a step of a schedule. The rate of epoch 0 is the one that torch's scheduler leaves in
the optimizer when it is constructed.
"""

from ..input.messages import repr_in_ascii as _repr_in_ascii
from ..input.wrong_names import helps_with_keywords as _helps_with_keywords
from .cosines import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cycles import CyclicLR, OneCycleLR
from .decays import ConstantLR, ExponentialLR, LambdaLR, LinearLR, MultiplicativeLR, MultiStepLR, PolynomialLR, StepLR
from .several import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from .walks import Schedule

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LambdaLR",
    "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "Schedule", "SequentialLR", "StepLR",
]  # fmt: skip

for _name in __all__:
    _class = globals()[_name]
    if issubclass(_class, Schedule) and _class is not Schedule:
        _class.__init__ = _helps_with_keywords(_class.__init__)
        _repr_in_ascii(_class)


def __dir__() -> list[str]:
    return __all__
