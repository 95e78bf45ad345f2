"""Hyperparameters: read from an optimizer, checked, and derived values computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..kernels.update_rules import LR, NOT_NEGATIVE, Range, UpdateRule
from .messages import place, shown
from .options import name_among
from .reading import check_all, read_array, read_numbers
from .shapes import broadcast, without_repeats
from .sharing import beside


def read_hyperparameter(value: Any, name: str, allowed: Range) -> np.ndarray:
    """A hyperparameter as a float64 array; raise unless it is real, finite and in its range."""
    if (value is True or value is False) if allowed.switch else _is_fine_float(value, allowed):
        return np.array(float(value))  # fast path for a plain number
    if allowed.switch:
        array = read_numbers(value, name, "True or False or an array of them")
        given = without_repeats(array, 0)
        check_all(given, (given == 0) | (given == 1), name, str(allowed))
        return array
    array = read_numbers(value, name)
    if read_array(value, name).dtype == np.bool_:
        raise TypeError(f"{name} must be a real number or an array of them, not {shown(value)}")
    given = without_repeats(array, 0)
    for words, wrong in allowed.faults(given).items():
        check_all(given, ~wrong, name, words)
    return array


def _is_fine_float(value: Any, allowed: Range) -> bool:
    return type(value) is float and math.isfinite(value) and not any(allowed.faults(value).values())


_BETAS = {"beta1": 0, "beta2": 1}  # names in the rule's row: position in the pair `betas`


def _read_betas(betas: Any) -> tuple[Any, Any]:
    """(beta1, beta2), each a number or an array."""
    try:
        first, second = betas
    except (TypeError, ValueError):
        raise ValueError(f"betas must be a pair (beta1, beta2), each a number or an array of one per fit, not {shown(betas)}") from None
    return first, second


def read_rates(lr: Any, optimizer: Any) -> np.ndarray | None:
    """The learning rates of `fit`, the optimizer or the rule's default; None: the safe rate."""
    if lr is not None and optimizer.lr is not None:
        twice = f"fit(lr={shown(lr)}) and {type(optimizer).__name__}(lr={shown(optimizer.lr)})"
        raise ValueError(f"lr was given twice: {twice}; give one of them")
    chosen = optimizer.lr if lr is None else lr
    chosen = optimizer.rule.default_lr if chosen is None else chosen
    return None if chosen is None else read_hyperparameter(chosen, "lr", LR)


def read_hyperparameters(optimizer: Any) -> dict[str, np.ndarray]:
    """{user's name: float64 array} of all hyperparameters but lr, in the order of the row."""
    rule = optimizer.rule
    betas = _read_betas(optimizer.betas) if "beta1" in rule.hyperparameters else ()
    values = {}
    for name in rule.hyperparameters:
        which = _BETAS.get(name)
        given_as, value = (name, getattr(optimizer, name)) if which is None else (f"betas[{which}]", betas[which])
        values[given_as] = read_hyperparameter(value, given_as, rule.range_of(name))
    if "nesterov" in values:
        broadcast({name: values[name].shape for name in ("nesterov", "momentum", "dampening")})
        _check_nesterov(*(without_repeats(values[name], 0) for name in ("nesterov", "momentum", "dampening")))
    return values


def check_names(rule: UpdateRule, hyper: Mapping[str, Any] | None) -> None:
    """Raise where `hyper` names something that the rule does not have, derived values counted."""
    if hyper is not None and not isinstance(hyper, Mapping):
        raise TypeError(f"hyper must be a mapping of hyperparameters by name, or None, not {shown(hyper)}")
    unknown = [name for name in dict(hyper or {}) if name_among(name, (*rule.hyperparameters, *rule.derived)) is None]
    if unknown:
        raise ValueError(f"the update rule {rule.name!r} has no {shown(unknown)}: it has {sorted(rule.hyperparameters)}")


def values_beside(optimizer: Any, device: int) -> Any:
    """A copy of the optimizer whose values on the GPU `device` are in the computer's memory."""

    def here(value: Any, name: str) -> Any:
        return tuple(beside(v, name, device) for v in value) if isinstance(value, tuple | list) else beside(value, name, device)

    return replace(optimizer, **{field.name: here(getattr(optimizer, field.name), field.name) for field in fields(optimizer)})


def kernel_values(rule: UpdateRule, hyper: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The hyperparameters, then the rule's derived values, in the order that kernels take them.

    hyper: the hyperparameters in the order of the rule's row. A derived value has the shape
    of the hyperparameter that it is computed from.
    """
    by_name = dict(zip(rule.hyperparameters, hyper, strict=True))
    derived = []
    for of, function in rule.derived.values():
        different, where = np.unique(by_name[of], return_inverse=True)
        derived.append(np.array([function(value) for value in different.tolist()])[where].reshape(by_name[of].shape))
    return (*hyper, *derived)


def _first_of_both(a: np.ndarray, b: np.ndarray) -> tuple[int, ...] | None:
    """The first index at which both are True, broadcast; None: nowhere.

    The product of their axes, which may be far larger than both, is not made.
    """
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = (each.reshape((1,) * (len(shape) - each.ndim) + each.shape) for each in (a, b))
    index: tuple[int, ...] = ()
    for _ in shape:
        # along the first axis that is left: where the rest of both has a place in common
        rest = tuple(range(1, a.ndim))
        apart = [tuple(axis for axis in rest if other.shape[axis] == 1) for other in (b, a)]
        found = [np.logical_or.reduce(each, axis=axes, keepdims=True) for each, axes in zip((a, b), apart, strict=True)]
        both = found[0] & found[1]
        if not both.any():
            return None
        here = int(np.logical_or.reduce(both, axis=rest).argmax())
        index += (here,)
        a, b = (each[min(here, len(each) - 1)] for each in (a, b))
    return index if a & b else None


def _check_nesterov(nesterov: np.ndarray, momentum: np.ndarray, dampening: np.ndarray) -> None:
    if not nesterov.any():
        return
    for name, values, fine in (("momentum", momentum, momentum > 0), ("dampening", dampening, dampening == 0)):
        where = _first_of_both(nesterov != 0, ~fine)
        if where is not None:
            given = np.broadcast_to(values, np.broadcast_shapes(nesterov.shape, values.shape))[where]
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0; {name} is {given:g}{place(where)}")


def read_penalty(weight_decay: Any, ridge: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(weight_decay, ridge or None) of `solve`; of ridge the weight_decay of the mean loss."""
    decay = read_hyperparameter(weight_decay, "weight_decay", NOT_NEGATIVE)
    if ridge is None:
        return decay, None
    if decay.any():
        raise ValueError("give ridge, which leaves the intercept alone, or weight_decay, which penalises it too, not both")
    values = read_hyperparameter(ridge, "ridge", NOT_NEGATIVE)
    most = np.finfo(np.float64).max / 2.0
    if values.max(initial=0.0) > most:
        raise ValueError(f"ridge must be at most {most:.4g}; it has {values.max():g}")
    return 2.0 * values, values


def read_ridge(
    ridge: Any, rule: UpdateRule, hyper: dict[str, np.ndarray], samples: float | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """(hyper with the weight_decay of a ridge, the ridge) of `fit`; None without one.

    hyper: by the names of the rule. samples: 1, or of the sum the number of samples that each fit
    uses; None: it is not known.
    """
    if ridge is None:
        return hyper, None
    if rule.decoupled is True or (rule.decoupled and without_repeats(hyper[rule.decoupled], 0).any()):
        raise ValueError(
            f"ridge is part of the loss, and the weight decay of {rule.class_name} is not: give optimizer='adam', whose steps are "
            "AdamW's where there is no weight_decay"
        )
    if without_repeats(hyper["maximize"], 0).any():
        raise ValueError("ridge is a penalty on a loss that is minimised, and maximize=True leads up: leave one of them out")
    _, values = read_penalty(hyper["weight_decay"], ridge)
    assert values is not None
    if samples is None:
        raise ValueError(
            "ridge goes with reduction='sum' where every fit uses all samples, without weights, Moments and mini-batches: give "
            "reduction='mean' and a learning rate n_samples times as large, which makes the same steps"
        )
    with np.errstate(over="ignore"):
        decay = 2.0 * samples * values
    check_all(values, np.isfinite(decay), "ridge", "so small that its gradient is finite")
    return {**hyper, "weight_decay": decay}, values
