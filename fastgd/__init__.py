"""fastgd: fit linear models by gradient descent, millions at a time, with proof at every epoch that the result is right."""

from .closed_form import solve
from .environment import info
from .fitting import fit
from .loading import load
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from .plan import BackendUnavailable
from .result import FitResult, History, State, Status

__version__ = "0.1.0"
__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "BackendUnavailable", "FitResult", "History", "NAdam", "RMSprop", "State", "Status",
    "fit", "info", "load", "solve",
]  # fmt: skip
