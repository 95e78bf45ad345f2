"""Names that are not here, as other libraries have them: an error says what is here instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from ..kernels.update_rules import UPDATE_RULES
from .unreadable import is_refusal, why_not_inspected

Given = ParamSpec("Given")
Made = TypeVar("Made")

_OPTIONS = {  # ours: what others call it
    "algorithm": ("method", "solver"),
    "backend": ("device", "engine"),
    "batch_size": ("batch", "minibatch_size"),
    "betas": ("beta", "beta1", "beta2"),
    "checkpoint": ("checkpoint_path", "resume"),
    "dtype": ("precision", "type"),
    "epochs": ("epoch", "iterations", "iters", "max_epochs", "max_iter", "max_iters", "maxiter", "n_epochs", "n_iter", "n_iters", "niter",
               "nepochs", "num_epochs", "num_iterations", "num_steps", "steps"),
    "history": ("log", "record", "record_history", "return_history", "save_history", "trace", "trajectory"),
    "intercept": ("add_constant", "add_intercept", "bias", "constant", "fit_intercept", "use_bias"),
    "intercept0": ("b0", "bias0", "bias_init", "intercept_init"),
    "lr": ("eta", "eta0", "learn_rate", "learning_rate", "learning_rate_init", "rate", "step", "step_size", "stepsize"),
    "memory_limit": ("max_bytes", "max_memory", "memory", "memory_budget"),
    "min_delta": ("threshold", "min_improvement"),
    "min_samples": ("min_count", "min_obs", "min_periods"),
    "momentum": ("mu",),
    "nan_policy": ("missing", "nan", "nans", "on_nan", "skipna"),
    "nodata": ("fill_value", "missing_value", "na_value", "no_data"),
    "optimizer": ("opt", "optim", "optimiser", "rule", "update_rule"),
    "out": ("output",),
    "patience": ("early_stopping", "early_stopping_rounds", "n_iter_no_change", "stop_after"),
    "progress": ("callback", "progress_bar", "show_progress", "tqdm", "verbose"),
    "reduction": ("loss_reduction",),
    "restore_best": ("load_best", "restore_best_weights", "use_best_model"),
    "sample_weight": ("sample_weights", "sw", "w", "weight", "weights"),
    "schedule": ("lr_schedule", "lr_scheduler", "scheduler"),
    "seed": ("random_seed", "random_state", "rng"),
    "standardize": ("center", "normalise", "normalize", "scale", "standardise"),
    "state": ("resume_from", "warm_start"),
    "threads": ("jobs", "n_jobs", "n_threads", "nthreads", "num_threads", "num_workers", "workers"),
    "tol": ("abstol", "atol", "ftol", "gtol", "reltol", "rtol", "tolerance"),
    "w0": ("coef_init", "init", "initial_w", "p0", "start", "theta0", "w_init", "weights0", "x0"),
    "X_val": ("eval_set", "validation_data", "x_val"),
    "weight_decay": ("alpha", "decay", "l2", "l2_penalty", "l2_reg", "lam", "lambda_", "penalty", "reg_lambda", "wd"),
}  # fmt: skip
_OURS = {theirs: ours for ours, others in _OPTIONS.items() for theirs in others}


def helps_with_keywords(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorator: errors of a call that begin before its arguments can be read, in words.

    Where a keyword is unknown, the TypeError says which one is meant; where a value raises whatever
    it is asked, which one it is.
    """

    @functools.wraps(function)
    def call(*args: Given.args, **options: Given.kwargs) -> Made:
        try:
            return function(*args, **options)
        except Exception as error:
            signature = inspect.signature(function).parameters
            every = list(signature)
            parameters = [name for name in every if name != "self"]
            others = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.values())  # the function checks them
            unknown = [name for name in options if name not in parameters and not others]
            if unknown and isinstance(error, TypeError):
                called = function.__qualname__.removesuffix(".__init__")
                raise TypeError(f"{called}() has no option {unknown[0]!a}: {right_option(unknown[0], parameters)}") from None
            if not is_refusal(error):
                for name, value in (*zip(every, args, strict=False), *options.items()):
                    if name != "self" and (why := why_not_inspected(value)):
                        raise TypeError(f"{name} cannot be read: {why}") from None
            raise

    return call


def right_name(name: str) -> str:
    """Our name of an option that other libraries call by this one; itself where there is none."""
    return _OURS.get(name.lower(), name)


def right_option(name: str, known: list[str]) -> str:
    """What to write instead of an unknown keyword, in words."""
    ours = right_name(name)
    if ours in known:
        return f"give {ours}="
    asked = "beta1" if ours == "betas" else ours
    rule = next((rule for rule in UPDATE_RULES.values() if asked in rule.hyperparameters), None)
    if "optimizer" in known and rule is not None:
        return f"it is one of the optimizer: give optimizer=fastgd.{rule.class_name}({ours}=...)"
    from difflib import get_close_matches  # of an error only: a millisecond of `import fastgd`

    near = get_close_matches(name.lower(), known, 1)
    return f"give {near[0]}=" if near else f"it has {', '.join(known)}"


def why_no_attribute(owner: str, name: str, here: Mapping[str, Iterable[str]]) -> str:
    """The text of the AttributeError for a name that `owner` lacks.

    here: {what is here instead, in words: what others call it}. Python itself adds similar names.
    """
    plain = name.lower() if name.startswith("__") else name.lower().strip("_")
    found = next((ours for ours, theirs in here.items() if plain in theirs), None)
    return f"{owner} has no attribute {name!a}" + (f": {found}" if found else "")
