"""fastgd: fit linear models by gradient descent, millions at a time, with proof at every epoch that the result is right."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .closed_form import solve
from .environment import info
from .fitting import fit
from .loading import load
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from .plan import BackendUnavailable
from .result import FitResult, History, State, Status

if TYPE_CHECKING:
    from . import testing as testing
    from . import verification as verification

__version__ = "0.1.0"
__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "BackendUnavailable", "FitResult", "History", "NAdam", "RMSprop", "State", "Status",
    "fit", "info", "load", "solve",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`fastgd.testing` and `fastgd.verification`, imported when they are first asked for."""
    if name in ("testing", "verification"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'fastgd' has no attribute {name!r}")
