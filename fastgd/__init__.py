"""Fit linear models by gradient descent, millions at a time, with proof at every epoch."""

import os as _os
from importlib import import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING, Any

if _find_spec(f"{__name__}.kernels") is None:  # Python was started in a clone, where they stand beside this folder
    __path__.append(_os.path.dirname(__path__[0]))

from .kernels import forks as _forks

_forks.refuse_subinterpreter()  # from here on forks wait for what is imported below

if TYPE_CHECKING:
    from . import dask as dask
    from . import designs as designs
    from . import optuna as optuna
    from . import schedules as schedules
    from . import sklearn as sklearn
    from . import testing as testing
    from . import torch as torch
    from . import verification as verification
    from . import xarray as xarray
    from .compressing import compress as compress
    from .environment import info as info
    from .fitting import fit as fit
    from .grouping import compress_groups as compress_groups
    from .grouping import fit_groups as fit_groups
    from .grouping import solve_groups as solve_groups
    from .integrations.frames import fit_frame as fit_frame
    from .integrations.frames import predict_frame as predict_frame
    from .integrations.tables import fit_table as fit_table
    from .optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RMSprop
    from .planning.backends import BackendUnavailable
    from .results.group_result import GroupResult
    from .results.loading import load
    from .results.moments import Moments
    from .results.result import FitResult, History, State
    from .results.stability import Stability
    from .results.status import Status
    from .results.sweep_result import SweepResult
    from .results.table_result import TableResult
    from .reweighting import robust as robust
    from .rolling import fit_rolling as fit_rolling
    from .solving import solve
    from .stabilizing import stability as stability
    from .sweeping import sweep as sweep
    from .verification.candidates.recorder import Recorder as Recorder
    from .verification.causes.diagnosing import diagnose as diagnose
    from .verification.causes.diagnosis import Diagnosis as Diagnosis
    from .verification.report.report import Report as Report
    from .verification.verifying import verify as verify

__version__ = "0.1.0"
__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "BackendUnavailable", "Diagnosis", "FitResult", "GroupResult",
    "History", "Moments", "NAdam", "RMSprop", "Recorder", "Report", "Stability", "State", "Status", "SweepResult",
    "TableResult", "compress", "compress_groups", "diagnose", "fit", "fit_frame", "fit_groups", "fit_rolling", "fit_table", "info",
    "load", "predict_frame", "robust", "solve", "solve_groups", "stability", "sweep", "verify",
]  # fmt: skip
# Modules and the public names that they define. They are imported when a name is first used, since
# pytest imports this package at every start (integrations/pytest_plugin.py).
_LATE = {
    ".compressing": ("compress",),
    ".environment": ("info",),
    ".fitting": ("fit",),
    ".grouping": ("compress_groups", "fit_groups", "solve_groups"),
    ".integrations.frames": ("fit_frame", "predict_frame"),
    ".integrations.tables": ("fit_table",),
    ".optimizers": ("SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RMSprop"),
    ".planning.backends": ("BackendUnavailable",),
    ".results.group_result": ("GroupResult",),
    ".results.loading": ("load",),
    ".results.moments": ("Moments",),
    ".results.result": ("FitResult", "History", "State"),
    ".results.stability": ("Stability",),
    ".results.status": ("Status",),
    ".results.sweep_result": ("SweepResult",),
    ".results.table_result": ("TableResult",),
    ".reweighting": ("robust",),
    ".rolling": ("fit_rolling",),
    ".solving": ("solve",),
    ".stabilizing": ("stability",),
    ".sweeping": ("sweep",),
    ".verification.candidates.recorder": ("Recorder",),
    ".verification.causes.diagnosing": ("diagnose",),
    ".verification.causes.diagnosis": ("Diagnosis",),
    ".verification.report.report": ("Report",),
    ".verification.verifying": ("verify",),
}

_MODULES = ("dask", "designs", "optuna", "schedules", "sklearn", "testing", "torch", "verification", "xarray")

_HERE = {  # what is here: what others call it
    "models are fitted by fastgd.fit(X, y), or in closed form by fastgd.solve(X, y)": (
        "descend", "elasticnet", "gd", "gradient_descent", "gradientdescent", "lasso", "least_squares", "linear_model", "linear_regression",
        "linearmodel", "linearregression", "linregress", "lstsq", "minimise", "minimize", "model", "ols", "optimise", "optimize", "polyfit",
        "regress", "ridge", "sgdregressor", "train",
    ),
    "update rules are classes of fastgd itself, such as fastgd.SGD(momentum=0.9)": (
        "momentum", "nesterov", "optim", "optimizer", "optimizers", "rules", "sgd", "update_rules",
        *(name.lower() for name in __all__ if name.startswith("Ada")), "nadam", "rmsprop",
    ),
    "schedules are classes of fastgd.schedules, such as fastgd.schedules.StepLR(30)": (
        "chainedscheduler", "constantlr", "cosineannealinglr", "cosineannealingwarmrestarts", "cycliclr", "exponentiallr", "lambdalr",
        "linearlr", "lr_scheduler", "multisteplr", "multiplicativelr", "onecyclelr", "polynomiallr", "reducelronplateau", "schedule",
        "scheduler", "schedulers", "sequentiallr", "steplr",
    ),
    "many hyperparameters are fitted by fastgd.sweep(X, y, grid={\"lr\": [...]})": (
        "grid", "grid_search", "gridsearch", "gridsearchcv", "parametergrid", "random_search", "search", "tune",
    ),
    "distributions of hyperparameters are in fastgd.designs": ("log_uniform", "loguniform", "parametersampler", "sample", "uniform"),
    "a loop is recorded by fastgd.Recorder()": ("callback", "callbacks", "hook", "log", "logger", "record", "recorder", "tape", "watch"),
    "it is in fastgd.testing": ("assert_agrees", "disagreement", "nist", "problems"),
    "it is in fastgd.info()": ("backends", "devices", "environment", "threads", "versions"),
}  # fmt: skip


if not TYPE_CHECKING:  # or else every name would pass a type checker

    def __getattr__(name: str) -> Any:
        """Import one of `_MODULES`, or a name in `_LATE`, when it is first used."""
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        for module, names in _LATE.items():
            if name in names:
                found = globals()[name] = getattr(import_module(module, __name__), name)
                return found
        from .input.wrong_names import why_no_attribute

        raise AttributeError(why_no_attribute("module 'fastgd'", name, _HERE))


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", *_MODULES])
