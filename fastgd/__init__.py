"""Fit linear models by gradient descent, millions at a time, with proof at every epoch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .fitting import fit
from .optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
from .planning.backends import BackendUnavailable
from .results.result import FitResult, History, State, Status

if TYPE_CHECKING:
    from . import testing as testing
    from . import verification as verification
    from .environment import info as info
    from .results.loading import load
    from .solving import solve
    from .verification.causes.diagnosing import diagnose as diagnose
    from .verification.causes.diagnosis import Diagnosis as Diagnosis
    from .verification.report.report import Report as Report
    from .verification.verifying import verify as verify

__version__ = "0.1.0"
__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "BackendUnavailable", "Diagnosis", "FitResult", "History", "NAdam",
    "RMSprop", "Report", "State", "Status", "diagnose", "fit", "info", "load", "solve", "verify",
]  # fmt: skip
_LATE = {  # names that `fit` does not need: the modules that define them
    "Diagnosis": ".verification.causes.diagnosis", "Report": ".verification.report.report", "diagnose": ".verification.causes.diagnosing",
    "info": ".environment", "load": ".results.loading", "solve": ".solving", "verify": ".verification.verifying",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import `fastgd.testing`, `fastgd.verification`, or a name in `_LATE`, at its first use."""
    if name in ("testing", "verification"):
        return import_module(f".{name}", __name__)
    if name in _LATE:
        return getattr(import_module(_LATE[name], __name__), name)
    raise AttributeError(f"module 'fastgd' has no attribute {name!a}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "testing", "verification"})
