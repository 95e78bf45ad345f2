"""Optimizers: frozen dataclasses with torch.optim's names. Every value may be an array, one per fit, that broadcasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .arguments import broadcast, check_all, place, read_numbers, shown, without_repeats
from .kernels.update_rules import UPDATE_RULES, UpdateRule


@dataclass(frozen=True)
class SGD:
    """Gradient descent, with torch.optim.SGD's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        v ← g at the first step, then momentum · v + (1 − dampening) · g
        w ← w − lr · v,  or  w − lr · (g + momentum · v)  if nesterov

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): the safe rate 1/(λ_max + weight_decay), λ_max of the Hessian of the loss.
    momentum : float or array, default 0
        Momentum factor, ≥ 0.
    dampening : float or array, default 0
        Dampening of the gradient in the momentum buffer.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    nesterov : bool or array, default False
        Nesterov momentum in torch's form; needs momentum > 0 and dampening = 0.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        By `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=fastgd.SGD(lr=0.02, momentum=0.5), epochs=50)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.SGD; Polyak 1964; Sutskever et al. 2013.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["sgd"]

    lr: Any = None
    momentum: Any = 0.0
    dampening: Any = 0.0
    weight_decay: Any = 0.0
    nesterov: Any = False
    maximize: Any = False


_CLASSES = {cls.rule.name: cls for cls in (SGD,)}
_NOT_NEGATIVE = {"lr", "momentum", "weight_decay"}
_SWITCHES = {"nesterov", "maximize"}


def find_optimizer(optimizer: Any) -> Any:
    """The optimizer object for a name or an object; lists the names if there is no such optimizer."""
    if isinstance(optimizer, str):
        if optimizer.lower() not in _CLASSES:
            raise ValueError(f"optimizer {optimizer!r} is unknown; there are: {', '.join(sorted(_CLASSES))}")
        return _CLASSES[optimizer.lower()]()
    if isinstance(optimizer, type) and issubclass(optimizer, tuple(_CLASSES.values())):
        return optimizer()
    if not isinstance(optimizer, tuple(_CLASSES.values())):
        raise TypeError(
            f"optimizer must be one of the names ({', '.join(sorted(_CLASSES))}) or an object such as fastgd.SGD(momentum=0.9), "
            f"not {shown(optimizer)}"
        )
    return optimizer


def read_hyperparameter(value: Any, name: str) -> np.ndarray:
    """A hyperparameter as a float64 array, checked: real, finite, in range."""
    if name in _SWITCHES:
        array = read_numbers(value, name, "True or False or an array of them")
        given = without_repeats(array, 0)
        check_all(given, (given == 0) | (given == 1), name, "True or False")
        return array
    array = read_numbers(value, name)
    if np.asarray(value).dtype == np.bool_:
        raise TypeError(f"{name} must be a real number or an array of them, not {shown(value)}")
    if name in _NOT_NEGATIVE:
        given = without_repeats(array, 0)
        check_all(given, given >= 0, name, "at least 0")
    return array


def read_rates(lr: Any, optimizer: Any) -> np.ndarray | None:
    """The learning rates, given to `fit` or to the optimizer; None for the safe rate."""
    if lr is not None and optimizer.lr is not None:
        twice = f"fit(lr={shown(lr)}) and {type(optimizer).__name__}(lr={shown(optimizer.lr)})"
        raise ValueError(f"lr was given twice: {twice}; give one of them")
    chosen = optimizer.lr if lr is None else lr
    return None if chosen is None else read_hyperparameter(chosen, "lr")


def read_hyperparameters(optimizer: Any) -> dict[str, np.ndarray]:
    """All of them but lr, in the order of the kernels' table."""
    values = {name: read_hyperparameter(getattr(optimizer, name), name) for name in optimizer.rule.hyperparameters}
    if "nesterov" in values:
        broadcast({name: values[name].shape for name in ("nesterov", "momentum", "dampening")})
        _check_nesterov(*(without_repeats(values[name], 0) for name in ("nesterov", "momentum", "dampening")))
    return values


def _check_nesterov(nesterov: np.ndarray, momentum: np.ndarray, dampening: np.ndarray) -> None:
    if not nesterov.any():
        return
    for name, values, fine in (("momentum", momentum, momentum > 0), ("dampening", dampening, dampening == 0)):
        wrong = (nesterov != 0) & ~fine
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            given = np.broadcast_to(values, wrong.shape)[where]
            raise ValueError(f"nesterov needs momentum > 0 and dampening = 0; {name} is {given:g}{place(where)}")
