"""Optimizers: frozen dataclasses with torch.optim's names. Every value may be an array, one per fit, that broadcasts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

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
_BOOLEAN = {"nesterov", "maximize"}


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
            f"optimizer must be one of the names {sorted(_CLASSES)} or an object such as fastgd.SGD(momentum=0.9), not {type(optimizer).__name__}"
        )
    return optimizer


def read_hyperparameter(value: Any, name: str) -> np.ndarray:
    """A hyperparameter as a float64 array, checked: real, finite, in range."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number or an array of them, not {_shown(value)}") from None
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    _check(array, np.isfinite(array), name, "finite")
    if name in _NOT_NEGATIVE:
        _check(array, array >= 0, name, "at least 0")
    if name in _BOOLEAN:
        _check(array, (array == 0) | (array == 1), name, "True or False")
    return array


def read_hyperparameters(optimizer: Any) -> dict[str, np.ndarray]:
    """All of them but lr, in the order of the kernels' table."""
    names = [f.name for f in fields(optimizer) if f.name != "lr"]
    values = {name: read_hyperparameter(getattr(optimizer, name), name) for name in names}
    if "nesterov" in values:
        values_at = np.broadcast_arrays(*(values[name] for name in ("nesterov", "momentum", "dampening")))
        wrong = (values_at[0] != 0) & ((values_at[1] <= 0) | (values_at[2] != 0))
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                "nesterov needs momentum > 0 and dampening = 0"
                f"{_at(where)}: momentum = {values_at[1][where]:g}, dampening = {values_at[2][where]:g}"
            )
    return {name: values[name] for name in optimizer.rule.hyperparameters}


def _check(array: np.ndarray, fine: np.ndarray, name: str, needed: str) -> None:
    if not fine.all():
        where = tuple(int(i) for i in np.argwhere(~fine)[0])
        raise ValueError(f"{name} must be {needed}; it is {array[where]:g}{_at(where)}")


def _at(index: tuple[int, ...]) -> str:
    return f" at index {index[0] if len(index) == 1 else index}" if index else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 60 else type(value).__name__
