"""Options: what a call of `fit` asks for that no data have a part in, read once for all like calls.

1. To read and check them takes as long as a small fit. Where their values are plain (numbers,
   texts, None; optimizers of such values), what was read is remembered by these values, whatever
   the data are: then an option costs a call its place in the key, 0.1 µs.
2. So a new option that can be read without the data gets its name in `NAMES`, a field of `Options`
   and a line of `read_options`. One whose reading takes the data is read in planning/job.py, behind
   one comparison with the value that means "not used".
3. What is remembered is never changed: arrays are read-only, as results hold them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import itemgetter
from typing import Any, get_args

import numpy as np

from ..data.problem import Problem
from ..input.annotations import Reduction
from ..input.hyperparameters import kernel_values, read_hyperparameters, read_ridge
from ..input.options import read_choice, read_excess_loss, read_history, read_memory_limit, read_switch, read_threads, read_tol
from ..input.shapes import without_repeats
from ..input.statistics import StatsOptions, read_stats
from ..kernels.update_rules import UpdateRule
from ..optimizers import optimizer_classes
from .fits import samples_of_ridge
from .minibatches import MiniBatches

NAMES = (
    "optimizer", "reduction", "standardize", "tol", "patience", "min_delta", "restore_best", "excess_loss", "stats", "history",
    "threads", "memory_limit", "batch_size", "shuffle", "seed", "drop_last", "schedule_every",
)  # fmt: skip
REDUCTIONS = get_args(Reduction)
MOST_REMEMBERED = 64  # keys; before one more is added, all are forgotten
PLAIN = frozenset((type(None), bool, int, float, str))
_OPTIMIZERS = frozenset(optimizer_classes())  # a subclass is not among them
_values_of = itemgetter(*NAMES)

Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Options:
    """The options of a call, checked."""

    optimizer: Any  # an object
    rule: UpdateRule
    hyper: tuple[np.ndarray, ...]  # (…) hyperparameters, then derived values, in the kernels' order
    named: dict[str, np.ndarray]  # hyperparameters by the rule's names
    shapes: dict[str, tuple[int, ...]]  # of hyperparameters that are no single number, by the user's names
    hyper_row: np.ndarray | None  # (1, values) where all fits have the same
    every: int  # epochs between two rows of the history; 0: no history
    reduction: str
    standardize: bool
    stats: StatsOptions | None
    tol: float  # −1: none
    threads: int | None
    memory_limit: int | None  # bytes
    measured: bool  # F(w) − F* is asked for
    least_needed: bool  # of every fit
    penalised: bool  # a coupled weight_decay is part of the objective
    in_one_batch: bool  # no mini-batches, nor what needs them
    ends_by_data: bool  # an option of early stopping is given
    plain: list[bool] = field(default_factory=list)  # whether fits are plain SGD, as soon as the runner has asked


_remembered: dict[Key, Options] = {}


def forget() -> None:
    """Forget what was read."""
    _remembered.clear()


def key_of_options(arguments: Mapping[str, Any]) -> Key | None:
    """The values of the options; None where some are not plain."""
    values = _values_of(arguments)
    if type(values[0]) in _OPTIMIZERS:
        inside = _inside(values[0])
        if inside is None:
            return None
        values = (inside, *values[1:])
    return key_of_values(values)


def key_of_values(values: tuple[Any, ...]) -> Key | None:
    """Plain values as a key: 1, 1.0 and True differ, and so do 0.0 and -0.0; None: not plain."""
    kinds = tuple(map(type, values))
    if not PLAIN.issuperset(kinds):
        return None
    return values, kinds, tuple([math.copysign(1.0, value) for value in values if type(value) is float])


def options_of(arguments: Mapping[str, Any], key: Key | None, optimizer: Any) -> Options:
    """The options of a call, read now or before. key: as of `key_of_options`."""
    known = None if key is None else _remembered.get(key)
    if known is None:
        known = read_options(arguments, optimizer)
        if key is not None:
            if len(_remembered) >= MOST_REMEMBERED:
                _remembered.clear()
            _remembered[key] = known
    return known


def read_options(arguments: Mapping[str, Any], optimizer: Any) -> Options:
    """Read the options of a call. optimizer: an object, its values in the computer's memory."""
    rule, given = optimizer.rule, read_hyperparameters(optimizer)
    every = read_history(arguments["history"])
    reduction = read_choice(arguments["reduction"], "reduction", REDUCTIONS)
    standardize, stats = read_switch(arguments["standardize"], "standardize"), read_stats(arguments["stats"])
    tol, threads = read_tol(arguments["tol"]), read_threads(arguments["threads"])
    limit = read_memory_limit(arguments["memory_limit"])
    measured, least_needed = _read_measuring(arguments["excess_loss"], tol, rule, given)
    owned = [_read_only(np.asarray(without_repeats(values, 0), order="C")) for values in given.values()]  # results hold them
    hyper = kernel_values(rule, owned)
    one = all([values.size == 1 for values in hyper])
    batches = [arguments[name] for name in ("batch_size", "drop_last", "schedule_every", "shuffle", "seed")]
    stopping = [arguments[name] for name in ("patience", "restore_best", "min_delta")]
    return Options(
        optimizer=optimizer,
        rule=rule,
        hyper=hyper,
        named=dict(zip(rule.hyperparameters, owned, strict=True)),
        shapes={name: values.shape for name, values in given.items() if values.shape},
        hyper_row=_read_only(np.array([[values.flat[0] for values in hyper]])) if one else None,
        every=every,
        reduction=reduction,
        standardize=standardize,
        stats=stats,
        tol=tol,
        threads=threads,
        memory_limit=limit,
        measured=measured,
        least_needed=least_needed,
        penalised=_is_penalised(rule, given),
        in_one_batch=key_of_values(tuple(batches)) == key_of_values((None, False, "epoch", True, 0)),
        ends_by_data=key_of_values(tuple(stopping)) != key_of_values((None, False, 0.0)),
    )


def with_ridge(options: Options, ridge: Any, problem: Problem, batches: MiniBatches | None) -> Options:
    """The options with the weight_decay of a ridge."""
    rule, given = options.rule, read_hyperparameters(options.optimizer)
    given, values = read_ridge(ridge, rule, given, samples_of_ridge(problem, options.reduction, batches))
    owned = {name: np.asarray(without_repeats(one, 0), order="C") for name, one in given.items()}
    hyper = kernel_values(rule, list(owned.values()))
    one = all([each.size == 1 for each in hyper])
    named = dict(zip(rule.hyperparameters, owned.values(), strict=True))
    return replace(
        options,
        hyper=hyper,
        named=named | {"weight_decay": np.zeros(()), "ridge": np.asarray(values, order="C")},
        shapes={"ridge" if name == "weight_decay" else name: each.shape for name, each in given.items() if each.shape},
        hyper_row=np.array([[each.flat[0] for each in hyper]]) if one else None,
        penalised=_is_penalised(rule, given),
        plain=[],
    )


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _inside(optimizer: Any) -> str | None:
    """The class and the values of an optimizer as a text; None where a value is not plain."""
    parts: list[Any] = [type(optimizer).__name__]
    for each in fields(optimizer):
        value = getattr(optimizer, each.name)
        several = value if type(value) is tuple else (value,)
        if not PLAIN.issuperset(map(type, several)):
            return None
        parts.append(value)
    return repr(parts)  # exact for plain values: 0.0 and -0.0 differ, and 1, True and 1.0


def _read_measuring(excess_loss: Any, tol: float, rule: UpdateRule, hyper: Mapping[str, np.ndarray]) -> tuple[bool, bool]:
    """(whether F* is asked for, whether of every fit); raise where there is none."""
    wanted = read_excess_loss(excess_loss)
    maximize = without_repeats(hyper["maximize"], 0) if "maximize" in rule.hyperparameters else np.zeros(1)
    for name, given in (("tol", tol >= 0.0), ("excess_loss=True", wanted is True)):
        if given and maximize.any():
            raise ValueError(f"{name} asks how near the loss is to its least value, but maximize=True leads away from it: leave one out")
    if maximize.all():
        return False, False
    return wanted is not False or tol >= 0.0, wanted is True or tol >= 0.0


def _is_penalised(rule: UpdateRule, hyper: Mapping[str, np.ndarray]) -> bool:
    """Whether a coupled weight_decay is part of the objective of some fit."""
    if rule.decoupled is True or "weight_decay" not in hyper or not without_repeats(hyper["weight_decay"], 0).any():
        return False
    return not (rule.decoupled and without_repeats(hyper[rule.decoupled], 0).all())
