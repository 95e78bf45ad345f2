"""Optimizers: frozen dataclasses with torch.optim's names. Each value may be an array over fits.

Fields and defaults repeat the rule's row in kernels/update_rules.py, so that editors and `help`
show them; a test compares both. Only the row has the ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, get_args

from .input.annotations import NumberOrArray
from .input.messages import shown
from .input.options import name_among
from .input.wrong_names import helps_with_keywords
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
        Learning rate, ≥ 0. None (here and in `fit`): the safe rate 1/(λ_max + weight_decay), λ_max
        of the Hessian of the loss.
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
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.SGD(lr=0.02, momentum=0.5)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=50)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.SGD; Polyak 1964; Sutskever et al. 2013.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["sgd"]

    lr: NumberOrArray | None = None
    momentum: NumberOrArray = 0.0
    dampening: NumberOrArray = 0.0
    weight_decay: NumberOrArray = 0.0
    nesterov: NumberOrArray = False
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class Adam:
    """Adam, with torch.optim.Adam's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        m ← β₁ m + (1 − β₁) g;      v ← β₂ v + (1 − β₂) g²
        w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)          t = 1, 2, … counts the updates

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.001.
    betas : pair of float or array, default (0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, each ≥ 0 and < 1.
    eps : float or array, default 1e-8
        Added to the root in the denominator, outside of the root; ≥ 0.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    amsgrad : bool or array, default False
        Divide by the largest v so far instead of v.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.Adam(lr=0.1)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=500)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.Adam; Kingma & Ba 2015; amsgrad: Reddi, Kale & Kumar 2018.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["adam"]

    lr: NumberOrArray | None = None
    betas: Sequence[NumberOrArray] = (0.9, 0.999)
    eps: NumberOrArray = 1e-8
    weight_decay: NumberOrArray = 0.0
    amsgrad: NumberOrArray = False
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, with torch.optim.AdamW's options and order of operations.

    ::

        g ← gradient (negated if maximize);      w ← w − lr · weight_decay · w
        m ← β₁ m + (1 − β₁) g;      v ← β₂ v + (1 − β₂) g²
        w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)          t = 1, 2, … counts the updates

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.001.
    betas : pair of float or array, default (0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, each ≥ 0 and < 1.
    eps : float or array, default 1e-8
        Added to the root in the denominator, outside of the root; ≥ 0.
    weight_decay : float or array, default 0.01
        Decoupled decay, ≥ 0: w shrinks by the factor 1 − lr · weight_decay before the step, the
        intercept too.
    amsgrad : bool or array, default False
        Divide by the largest v so far instead of v.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.AdamW(lr=0.1, weight_decay=0.0)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=500)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.AdamW; Loshchilov & Hutter 2019.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["adamw"]

    lr: NumberOrArray | None = None
    betas: Sequence[NumberOrArray] = (0.9, 0.999)
    eps: NumberOrArray = 1e-8
    weight_decay: NumberOrArray = 0.01
    amsgrad: NumberOrArray = False
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class RMSprop:
    """RMSprop, with torch.optim.RMSprop's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        v ← α v + (1 − α) g²;       if centered: a ← α a + (1 − α) g
        q ← g / (√v + eps),         if centered: g / (√(v − a²) + eps)
        w ← w − lr · q,             if momentum > 0: b ← momentum · b + q;  w ← w − lr · b

    Where a centered v − a² comes out negative by rounding, the result is NaN, as in torch.

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.01.
    alpha : float or array, default 0.99
        Decay rate of the averages, ≥ 0.
    eps : float or array, default 1e-8
        Added to the root in the denominator, outside of the root; ≥ 0.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    momentum : float or array, default 0
        Momentum factor, ≥ 0.
    centered : bool or array, default False
        Divide by the root of an estimate of the gradient's variance.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.RMSprop(lr=0.001)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=3000)
    >>> abs(float(result.w) - 2) < 0.001
    True

    References
    ----------
    torch.optim.RMSprop; Tieleman & Hinton 2012; centered: Graves 2013.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["rmsprop"]

    lr: NumberOrArray | None = None
    alpha: NumberOrArray = 0.99
    eps: NumberOrArray = 1e-8
    weight_decay: NumberOrArray = 0.0
    momentum: NumberOrArray = 0.0
    centered: NumberOrArray = False
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class Adagrad:
    """Adagrad, with torch.optim.Adagrad's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        s ← s + g²                           s = initial_accumulator_value before the first update
        w ← w − lr/(1 + (t − 1) · lr_decay) · g / (√s + eps)        t = 1, 2, … counts the updates

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.01.
    lr_decay : float or array, default 0
        Decay of the learning rate, ≥ 0.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    initial_accumulator_value : float or array, default 0
        Start of the sum of squares, ≥ 0.
    eps : float or array, default 1e-10
        Added to the root in the denominator, outside of the root; ≥ 0.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.Adagrad(lr=1.0)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=100)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.Adagrad; Duchi, Hazan & Singer 2011.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["adagrad"]

    lr: NumberOrArray | None = None
    lr_decay: NumberOrArray = 0.0
    weight_decay: NumberOrArray = 0.0
    initial_accumulator_value: NumberOrArray = 0.0
    eps: NumberOrArray = 1e-10
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class NAdam:
    """Adam with Nesterov momentum, with torch.optim.NAdam's options and order of operations.

    ::

        g ← gradient (negated if maximize)                          t = 1, 2, … counts the updates
        g ← g + weight_decay · w,  or w ← w − lr · weight_decay · w  if decoupled_weight_decay
        μₜ = β₁ (1 − ½ · 0.96^(t · momentum_decay));  Πₜ = μ₁ ⋯ μₜ
        m ← β₁ m + (1 − β₁) g;      v ← β₂ v + (1 − β₂) g²;      d = √(v / (1 − β₂ᵗ)) + eps
        w ← w − lr (1 − μₜ)/(1 − Πₜ) · g / d − lr μₜ₊₁/(1 − Πₜ₊₁) · m / d

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.002.
    betas : pair of float or array, default (0.9, 0.999)
        Decay rates of the averages of the gradient and of its square, each ≥ 0 and < 1.
    eps : float or array, default 1e-8
        Added to the root in the denominator, outside of the root; ≥ 0.
    weight_decay : float or array, default 0
        Decay, ≥ 0, decoupled or not (see decoupled_weight_decay); on the intercept too.
    momentum_decay : float or array, default 0.004
        How fast the momentum approaches β₁, ≥ 0.
    decoupled_weight_decay : bool or array, default False
        Whether weight_decay shrinks w, as in AdamW, instead of adding to the gradient.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.NAdam(lr=0.1)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=500)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.NAdam; Dozat 2016.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["nadam"]

    lr: NumberOrArray | None = None
    betas: Sequence[NumberOrArray] = (0.9, 0.999)
    eps: NumberOrArray = 1e-8
    weight_decay: NumberOrArray = 0.0
    momentum_decay: NumberOrArray = 0.004
    decoupled_weight_decay: NumberOrArray = False
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class Adadelta:
    """Adadelta, with torch.optim.Adadelta's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        v ← ρ v + (1 − ρ) g²;       d = √(u + eps) / √(v + eps) · g
        u ← ρ u + (1 − ρ) d²;       w ← w − lr · d

    Parameters
    ----------
    lr : float or array, optional
        Factor on the step, ≥ 0. None (here and in `fit`): torch's default, 1.
    rho : float or array, default 0.9
        Decay rate of the averages of the squared gradient and of the squared step, from 0 to 1.
    eps : float or array, default 1e-6
        Added to both averages, inside of the roots; ≥ 0.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.Adadelta(eps=1e-2)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=200)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.Adadelta; Zeiler 2012.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["adadelta"]

    lr: NumberOrArray | None = None
    rho: NumberOrArray = 0.9
    eps: NumberOrArray = 1e-6
    weight_decay: NumberOrArray = 0.0
    maximize: NumberOrArray = False


@dataclass(frozen=True)
class Adamax:
    """Adamax, with torch.optim.Adamax's options and order of operations.

    ::

        g ← gradient (negated if maximize);  g ← g + weight_decay · w
        m ← β₁ m + (1 − β₁) g;      u ← max(β₂ u, |g| + eps)
        w ← w − lr/(1 − β₁ᵗ) · m / u                                t = 1, 2, … counts the updates

    Parameters
    ----------
    lr : float or array, optional
        Learning rate, ≥ 0. None (here and in `fit`): torch's default, 0.002.
    betas : pair of float or array, default (0.9, 0.999)
        Decay rates of the average of the gradient and of its largest size, each ≥ 0 and < 1.
    eps : float or array, default 1e-8
        Added to the size of each gradient; ≥ 0.
    weight_decay : float or array, default 0
        L2 penalty, ≥ 0: added to the gradient as weight_decay · w, on the intercept too.
    maximize : bool or array, default False
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        Raised by `fit`, when a value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> optimizer = fastgd.Adamax(lr=0.1)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], optimizer=optimizer, epochs=500)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.Adamax; Kingma & Ba 2015, algorithm 2.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["adamax"]

    lr: NumberOrArray | None = None
    betas: Sequence[NumberOrArray] = (0.9, 0.999)
    eps: NumberOrArray = 1e-8
    weight_decay: NumberOrArray = 0.0
    maximize: NumberOrArray = False


Optimizer: TypeAlias = SGD | Adam | AdamW | RMSprop | Adagrad | NAdam | Adadelta | Adamax
_CLASSES = {cls.rule.name: cls for cls in get_args(Optimizer)}
for _optimizer in _CLASSES.values():
    _optimizer.__init__ = helps_with_keywords(_optimizer.__init__)


def optimizer_classes() -> tuple[type, ...]:
    """All optimizer classes, one for each update rule that has a class."""
    return tuple(_CLASSES.values())


def find_optimizer(optimizer: Any) -> Any:
    """The optimizer object for a name, a class or an object; an error lists the names."""
    if isinstance(optimizer, str):
        name = name_among(str.lower(optimizer), _CLASSES)
        if name is None:
            raise ValueError(f"optimizer {shown(optimizer)} is unknown; there are: {', '.join(sorted(_CLASSES))}")
        return _CLASSES[name]()
    if isinstance(optimizer, type) and issubclass(optimizer, tuple(_CLASSES.values())):
        return optimizer()
    if not isinstance(optimizer, tuple(_CLASSES.values())):
        kind = optimizer if isinstance(optimizer, type) else type(optimizer)
        same = name_among(kind.__name__.lower(), _CLASSES)  # such as torch.optim.Adam
        raise TypeError(
            f"optimizer must be one of the names ({', '.join(sorted(_CLASSES))}) or an object such as fastgd.SGD(momentum=0.9), "
            f"not {shown(optimizer)}" + (f": give fastgd.{_CLASSES[same].__name__}(lr=...)" if same else "")
        )
    return optimizer
