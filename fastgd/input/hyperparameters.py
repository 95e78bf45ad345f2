"""hyperparameters: an optimizer's values, from the user's words to the rows of the kernels' table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.update_rules import UpdateRule
from .arrays import broadcast, check_all, read_array, read_numbers, without_repeats
from .messages import place, shown

_NOT_NEGATIVE = {
    "lr", "momentum", "weight_decay", "eps", "alpha", "lr_decay", "initial_accumulator_value", "momentum_decay", "betas[0]", "betas[1]"
}  # fmt: skip
_BELOW_ONE = {"betas[0]", "betas[1]"}
_SWITCHES = {"nesterov", "maximize", "amsgrad", "centered", "decoupled_weight_decay"}


def read_hyperparameter(value: Any, name: str, device: int | None = None) -> np.ndarray:
    """A hyperparameter as a float64 array, checked: real, finite, in range. One that lies on `device` is fetched."""
    plain = (value is True or value is False) if name in _SWITCHES else (type(value) is float and 0.0 <= value < 1.0)
    if plain:  # in range whatever it is, and quickly seen
        return np.array(float(value))
    if name in _SWITCHES:
        array = read_numbers(value, name, "True or False or an array of them", device)
        given = without_repeats(array, 0)
        check_all(given, (given == 0) | (given == 1), name, "True or False")
        return array
    array = read_numbers(value, name, device=device)
    if read_array(value, name, device=device).dtype == np.bool_:
        raise TypeError(f"{name} must be a real number or an array of them, not {shown(value)}")
    if name in _NOT_NEGATIVE:
        given = without_repeats(array, 0)
        check_all(given, given >= 0, name, "at least 0")
        if name in _BELOW_ONE:
            check_all(given, given < 1, name, "below 1")
    return array


def _read_betas(betas: Any) -> tuple[Any, Any]:
    """The pair, each a scalar or an array of its own."""
    try:
        first, second = betas
    except (TypeError, ValueError):
        raise ValueError(f"betas must be a pair (beta1, beta2), each a number or an array of one per fit, not {shown(betas)}") from None
    return first, second


def read_rates(lr: Any, optimizer: Any, device: int | None = None) -> np.ndarray | None:
    """The learning rates, given to `fit` or to the optimizer, else the rule's default; None for the safe rate."""
    if lr is not None and optimizer.lr is not None:
        twice = f"fit(lr={shown(lr)}) and {type(optimizer).__name__}(lr={shown(optimizer.lr)})"
        raise ValueError(f"lr was given twice: {twice}; give one of them")
    chosen = optimizer.lr if lr is None else lr
    chosen = optimizer.rule.default_lr if chosen is None else chosen
    return None if chosen is None else read_hyperparameter(chosen, "lr", device)


def read_hyperparameters(optimizer: Any, device: int | None = None) -> dict[str, np.ndarray]:
    """All of them but lr, in the order of the kernels' table, by the user's names."""
    given = {name: getattr(optimizer, name) for name in optimizer.rule.hyperparameters if name not in ("beta1", "beta2")}
    if "beta1" in optimizer.rule.hyperparameters:  # where there are betas, they come first in the table
        given = dict(zip(("betas[0]", "betas[1]"), _read_betas(optimizer.betas), strict=True)) | given
    values = {name: read_hyperparameter(value, name, device) for name, value in given.items()}
    if "nesterov" in values:
        broadcast({name: values[name].shape for name in ("nesterov", "momentum", "dampening")})
        _check_nesterov(*(without_repeats(values[name], 0) for name in ("nesterov", "momentum", "dampening")))
    return values


def kernel_values(rule: UpdateRule, hyper: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The rows of the kernels' table: the hyperparameters and what is derived from them."""
    by_name = dict(zip(rule.hyperparameters, hyper, strict=True))
    derived = []
    for of, function in rule.derived.values():
        different, where = np.unique(by_name[of], return_inverse=True)
        derived.append(np.array([function(value) for value in different.tolist()])[where].reshape(by_name[of].shape))
    return (*hyper, *derived)


def _check_nesterov(nesterov: np.ndarray, momentum: np.ndarray, dampening: np.ndarray) -> None:
    if not nesterov.any():
        return
    for name, values, fine in (("momentum", momentum, momentum > 0), ("dampening", dampening, dampening == 0)):
        wrong = (nesterov != 0) & ~fine
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            given = np.broadcast_to(values, wrong.shape)[where]
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0; {name} is {given:g}{place(where)}")
