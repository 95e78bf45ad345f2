"""Optuna: a study whose trials are fitted a batch at a time, each batch by one `fastgd.sweep`.

1. optuna is imported when `optimize` is called, so this module can be imported without it.
2. A trial whose fit diverged is told as PRUNED, without a value, not as FAIL: samplers do not see
   failed trials, but TPE counts a pruned trial without values among the worst. Measured with TPE
   on a formula in place of fits, lr from 1e-4 to 1e4, five times 256 trials in batches of 16: 153
   trials were above the stability limit where those are PRUNED, 348 where they are FAIL. No value
   is made up for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .input.annotations import AnyArray, OptimizerName
from .input.messages import kind_of, shown
from .input.options import read_choice, read_count, read_progress
from .input.wrong_names import helps_with_keywords
from .optimizers import Optimizer, find_optimizer
from .planning.grid import CALLS, has_hyperparameter
from .results.cells import LOSSES, losses_that_count, read_by
from .results.moments import Moments
from .results.sweep_result import SweepResult
from .sweeping import sweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

__all__ = ["optimize"]

_BETAS = ("beta1", "beta2")
_NOT_HERE = {
    "grid": "the values come from the trials",
    "points": "the values come from the trials",
    "history": "a study keeps one value of each trial",
    "checkpoint": "the study's storage keeps what is done",
}


@helps_with_keywords
def optimize(
    study: Study,
    space: Mapping[str, BaseDistribution],
    X: AnyArray | Moments,
    y: AnyArray | None = None,
    *,
    n_trials: int,
    batch_size: int = 64,
    optimizer: OptimizerName | Optimizer | type[Optimizer] = "sgd",
    epochs: int = 100,
    X_val: AnyArray | Moments | None = None,
    y_val: AnyArray | None = None,
    by: str | None = None,
    **sweep_options: Any,
) -> Study:
    """Run trials of an Optuna study, a batch of them in each sweep.

    ::

        trials = [study.ask(space) for _ in range(batch_size)]
        found = fastgd.sweep(X, y, points=[trial.params for trial in trials], …)
        for trial, val_loss in zip(trials, found.val_loss): study.tell(trial, val_loss)

    The value of a trial has the bits of the single fit with its hyperparameters. With a seeded
    sampler the study is the same in each run. Before a trial is asked, a sweep of no epochs at the
    ends of the space checks the arguments.

    Parameters
    ----------
    study : optuna.Study
        The study, with one objective, which is minimised. Any sampler but GridSampler and
        BruteForceSampler: a grid is fitted by ``fastgd.sweep(X, y, grid=...)``.
    space : mapping of str to distribution
        Distributions of ``optuna.distributions`` by the name of the hyperparameter: "lr",
        "momentum", "optimizer" (a CategoricalDistribution of names), and the others that
        `fastgd.sweep` takes in ``points``. "beta1" and "beta2" together are Adam's ``betas``.
        With several optimizers a hyperparameter counts for those that have it.
    X : array (n_samples, n_features) or (n_samples,), or Moments
        Features of one data set. Each batch reads the data anew, and so does the check; Moments of
        `fastgd.compress` in place of X and y are read once for the whole study.
    y : array (n_samples,)
        Targets. None where X is Moments.
    n_trials : int
        How many trials are asked and told, ≥ 0.
    batch_size : int, default 64
        Trials in one sweep, ≥ 1. The sampler knows no value of a batch before all of it is fitted:
        a larger batch is faster, a smaller one learns sooner.
    optimizer : str or optimizer object, default "sgd"
        The update rule, with values that all trials share, where ``space`` has none.
    epochs : int, default 100
        Passes over the data, ≥ 0.
    X_val, y_val : array, optional
        Validation data, as in `fastgd.sweep`.
    by : {"val_loss", "loss", "excess_loss"}, optional
        The value of a trial. None: "val_loss" where there are validation data, else "loss".
    **sweep_options
        Further options of `fastgd.sweep` for all trials, such as ``intercept=True``, ``tol`` or
        ``sample_weight``; without ``grid``, ``points`` and ``history``. A ``progress`` counts the
        fits of each batch anew.

    Returns
    -------
    optuna.Study
        The same study. Each trial has the user attributes "status" (a name of `fastgd.Status`) and
        "epochs" (those that were run). A trial that DIVERGED, or whose value is not finite, is in
        the state PRUNED and has no value.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong. The study has no new trial then.
    ImportError
        When optuna is not installed: ``pip install 'fastgd[optuna]'``.

    Notes
    -----
    An error or Ctrl-C ends the study; the trials of the unfinished batch are told as FAIL. A trial
    that Optuna is drawing at that moment stays RUNNING, as in ``Study.optimize``.

    Source: the ask-and-tell interface of Optuna (T. Akiba et al., "Optuna: A Next-generation
    Hyperparameter Optimization Framework", 2019).

    Examples
    --------
    >>> import numpy as np, optuna, fastgd.optuna
    >>> from optuna.distributions import CategoricalDistribution, FloatDistribution
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=200)
    >>> space = {
    ...     "lr": FloatDistribution(1e-4, 1, log=True),
    ...     "optimizer": CategoricalDistribution(["sgd", "adam"]),
    ... }
    >>> study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    >>> options = {"batch_size": 10, "X_val": X[150:], "y_val": y[150:]}
    >>> study = fastgd.optuna.optimize(study, space, X[:150], y[:150], n_trials=40, **options)
    >>> len(study.trials), study.best_value < 0.02
    (40, True)
    >>> study.best_trial.user_attrs
    {'status': 'COMPLETED', 'epochs': 100}
    """
    optuna = _import_optuna()
    _check_study(study, optuna)
    space = _read_space(space, optuna)
    for name in _NOT_HERE:
        if name in sweep_options:
            raise ValueError(f"optimize takes no {name} ({_NOT_HERE[name]}); it was given as {shown(sweep_options[name])}")
    left, size = read_count(n_trials, "n_trials", 0), read_count(batch_size, "batch_size", 1)
    read_count(epochs, "epochs", 0)
    read_progress(sweep_options.get("progress"))
    if by is not None:
        read_choice(by, "by", LOSSES)
    options = {"X": X, "y": y, "optimizer": optimizer, "epochs": epochs, "X_val": X_val, "y_val": y_val} | sweep_options
    by = _check_fits(space, options, by)
    while left:
        _run_batch(study, space, options, by, min(size, left), optuna.trial.TrialState)
        left -= min(size, left)
    return study


# -- a batch -----------------------------------------------------------------------------------


def _run_batch(study: Study, space: Mapping[str, Any], options: Mapping[str, Any], by: str, size: int, states: Any) -> None:
    """Ask trials, fit them in one sweep, tell them. states: optuna's TrialState."""
    asked: list[Any] = []
    try:
        for _ in range(size):
            asked.append(study.ask(dict(space)))
        found = _sweep_of({name: [trial.params[name] for trial in asked] for name in space}, options)
        for trial, value, status, epochs in zip(asked, losses_that_count(found, by), found.status, found.epochs, strict=True):
            trial.set_user_attr("status", status.name)
            trial.set_user_attr("epochs", int(epochs))
            if np.isnan(value):
                study.tell(trial, state=states.PRUNED)
            else:
                study.tell(trial, float(value))
    except BaseException:  # Ctrl-C is none of Exception
        for trial in asked:
            study.tell(trial, state=states.FAIL, skip_if_finished=True)
        raise


def _sweep_of(columns: Mapping[str, list[Any]], options: Mapping[str, Any]) -> SweepResult:
    """One sweep at points, without the names that say nothing of any of them."""
    points = dict(columns)
    if _BETAS[0] in points:
        points["betas"] = list(zip(*(points.pop(name) for name in _BETAS), strict=True))
    rules = [find_optimizer(one).rule for one in points.get("optimizer", ())]
    for name in list(points):
        of_none = rules and name not in CALLS and not any(has_hyperparameter(rule, name) for rule in rules)
        if of_none or (name == "schedule" and all(value is None for value in points[name])):
            del points[name]
    return sweep(**options, points=points)


# -- before any trial --------------------------------------------------------------------------


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ImportError("fastgd.optuna needs optuna: pip install 'fastgd[optuna]'") from None
    return optuna


def _check_study(study: Any, optuna: Any) -> None:
    """Raise unless the study minimises one value and can be asked and told."""
    if not isinstance(study, optuna.Study):
        raise TypeError(f"study must be a study of optuna, such as optuna.create_study(), not {shown(study)}")
    directions = [direction.name.lower() for direction in study.directions]
    if len(directions) > 1:
        raise ValueError(f"study has {len(directions)} objectives, but a fit has one loss: give a study with one")
    if directions != ["minimize"]:
        raise ValueError(f"study has the direction {directions[0]!r}, but a loss is minimised: give optuna.create_study()")
    if isinstance(study.sampler, optuna.samplers.GridSampler | optuna.samplers.BruteForceSampler):
        sampler = kind_of(study.sampler)
        raise ValueError(f"a {sampler} works inside Study.optimize alone: give another sampler, or fastgd.sweep(X, y, grid=...)")


def _read_space(space: Any, optuna: Any) -> dict[str, Any]:
    """The distributions by name."""
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f'space must be a mapping such as {{"lr": FloatDistribution(1e-4, 1, log=True)}}, not {shown(space)}')
    for name, distribution in space.items():
        if not isinstance(name, str):
            raise TypeError(f"space must have names of hyperparameters, not {shown(name)}")
        if not isinstance(distribution, optuna.distributions.BaseDistribution):
            raise TypeError(f"space[{name!r}] must be a distribution of optuna.distributions, not {shown(distribution)}")
    given = [name for name in (*_BETAS, "betas") if name in space]
    if given not in ([], [*_BETAS], ["betas"]):
        raise ValueError(f"space has {' and '.join(given)}: give beta1 and beta2")
    return dict(space)


def _check_fits(space: Mapping[str, Any], options: Mapping[str, Any], by: str | None) -> str:
    """The value of a trial, after a sweep of no epochs at the ends of the space."""
    ends = {name: _ends_of(name, distribution) for name, distribution in space.items()}
    n_points = max(map(len, ends.values()))
    columns = {name: [values[k % len(values)] for k in range(n_points)] for name, values in ends.items()}
    try:
        found = _sweep_of(columns, {**options, "epochs": 0, "progress": False})
    except (TypeError, ValueError) as error:
        if str(error).startswith("points"):
            raise type(error)(f"the ends of space, as points of fastgd.sweep: {error}") from None
        raise
    if found.loss.ndim > 1:
        raise ValueError(f"the data are {found.loss[0].size} fits, but a trial has one value: give one data set")
    by = read_by(found, by)
    if np.isnan(losses_that_count(found, by)).all():
        raise ValueError(f"no trial can have a value: the {by} at the start does not count ({found.status[0]})")
    return by


def _ends_of(name: str, distribution: Any) -> list[Any]:
    """Values of a distribution that are allowed where all others are."""
    if name == "nesterov":
        return [False]  # True is refused beside a momentum of 0, which may be an end
    return list(distribution.choices) if hasattr(distribution, "choices") else [distribution.low, distribution.high]


def __dir__() -> list[str]:
    return __all__
