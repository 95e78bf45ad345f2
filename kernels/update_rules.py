"""THE table of update rules: one row says everything about a rule but its bit-exact kernels.

1. Optimizer classes, range checks, help texts, pages, NumPy's descent, the error bounds and the
   tests read a row. docs/contributing/add-a-rule.md says how to add one; where a part is missing, a
   test names the file to open.
2. `step` is the rule on any kind of number that NumPy's sqrt takes (float, NumPy array of any float
   type, mpmath; Fraction for sgd). NumPy's descent, the error bounds and the oracles apply it. The
   kernels of cpu and cuda are written for bits (docs/arithmetic.md, section 8).
3. `roundings` is k of the bound in fastgd/verification/bound/: all the roundings that
   docs/arithmetic.md, section 8 writes for the rule are counted, those of its hyperparameters
   included and the last one, which gives w, left out; where two options exclude each other, the
   longer one. They were not tuned: the sums stand beside the rows.
4. There is no pow in kernels. What depends on the step count is a running product in float64, one
   multiplication per step, carried in the state beside the slots. Products begin at 1. `advance`
   makes the next ones; `step` is given the products after that, by name.
5. A derived value is one per fit, computed once on the host, and follows the hyperparameters in the
   kernels' table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np


class Range(NamedTuple):
    """The values that a hyperparameter may have: numbers between two ends, or a switch."""

    at_least: float | None = None  # closed: the end itself is allowed
    at_most: float | None = None  # closed
    below: float | None = None  # open: the end itself is not allowed
    switch: bool = False  # True or False

    def faults(self, values: Any) -> dict[str, Any]:
        """{what a value must be: where the values are not}, one entry for each end."""
        found = {}
        if self.at_least is not None:
            found[f"at least {self.at_least:g}"] = values < self.at_least
        if self.at_most is not None:
            found[f"at most {self.at_most:g}"] = values > self.at_most
        if self.below is not None:
            found[f"below {self.below:g}"] = values >= self.below
        return found

    def __str__(self) -> str:
        if self.switch:
            return "True or False"
        low = "(−∞" if self.at_least is None else f"[{self.at_least:g}"
        high = f"{self.at_most:g}]" if self.at_most is not None else "∞)" if self.below is None else f"{self.below:g})"
        return f"{low}, {high}"


ANY, NOT_NEGATIVE, DECAY_RATE, SWITCH = Range(), Range(at_least=0), Range(at_least=0, below=1), Range(switch=True)
LR = NOT_NEGATIVE  # of every rule
HANDS = frozenset({"reference", "cpu", "cuda"})  # reference: torch and NumPy


def _no_products(**values: Any) -> tuple[Any, ...]:
    return ()


@dataclass(frozen=True)
class UpdateRule:
    """One row of the table: how a gradient becomes a step."""

    class_name: str  # in fastgd and in torch.optim
    code: int  # what the compiled kernels switch on
    slots: tuple[str, ...]  # what the rule remembers between steps, one value per parameter each
    # {name: torch's default}, in the order of the kernels' table; lr stands apart
    hyperparameters: Mapping[str, float | bool]
    ranges: Mapping[str, Range]  # of the hyperparameters that are numbers; the others are switches
    formula: str
    source: str
    roundings: int
    # (w, slots, gradient, lr, steps, **all values, **products): the next w and slots
    step: Callable[..., tuple[Any, tuple[Any, ...]]] = field(repr=False)
    default_lr: float | None = None  # torch's; None: the safe rate
    products: tuple[str, ...] = ()  # what it remembers between steps, one float64 per fit each
    # (**all values, **products): the next products
    advance: Callable[..., tuple[Any, ...]] = field(default=_no_products, repr=False)
    # {derived value: (its hyperparameter, function of it)}
    derived: Mapping[str, tuple[str, Callable[[float], float]]] = field(default_factory=dict, repr=False)
    hands: frozenset[str] = HANDS  # who can run the rule; the backends of the others refuse it
    # whether weight_decay shrinks w instead of adding to the gradient; or the switch that says so
    decoupled: bool | str = False

    def __post_init__(self) -> None:
        for name, default in self.hyperparameters.items():
            if not isinstance(default, bool) and (name not in self.ranges or any(self.ranges[name].faults(default).values())):
                raise ValueError(f"kernels/update_rules.py: the row of {self.class_name} needs a range for {name}, with its default in it")

    def range_of(self, name: str) -> Range:
        """The range of a hyperparameter."""
        return SWITCH if isinstance(self.hyperparameters[name], bool) else self.ranges[name]

    @property
    def name(self) -> str:
        """The class's name in lower case."""
        return self.class_name.lower()

    @property
    def moving(self) -> str | None:
        """The hyperparameter that a schedule of momentum moves, momentum or beta1; None: none."""
        return next((name for name in ("momentum", "beta1") if name in self.hyperparameters), None)

    @property
    def power(self) -> str | None:
        """The running product that is β₁ᵗ; where β₁ moves, of its value in step t. None: none."""
        return "beta1_product" if "beta1_product" in self.products else None

    def coupled_decay(self, hyper: np.ndarray) -> np.ndarray:
        """(m,) weight_decay where it is part of the gradient, else 0. hyper: as in a Chunk."""
        names = list(self.hyperparameters)
        if "weight_decay" not in names or self.decoupled is True:
            return np.zeros(len(hyper))
        decay = hyper[:, names.index("weight_decay")]
        return np.where(hyper[:, names.index(self.decoupled)] != 0.0, 0.0, decay) if self.decoupled else decay.copy()

    def maximizes(self, hyper: np.ndarray) -> np.ndarray:
        """(m,) bool: where the rule goes up the gradient. hyper: as in a Chunk."""
        names = list(self.hyperparameters)
        return hyper[:, names.index("maximize")] != 0.0 if "maximize" in names else np.zeros(len(hyper), bool)

    def all_values(self, hyper: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Hyperparameters and derived values by name; those not given: the defaults."""
        values = {**self.hyperparameters, **(hyper or {})}
        return {name: function(values[of]) for name, (of, function) in self.derived.items() if name not in values} | values


def power_of(beta: float, exponent: int) -> float:
    """beta^exponent in float64, by repeated squaring (docs/arithmetic.md, section 8)."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result = result * beta
        beta = beta * beta
        exponent >>= 1
    return result


def _root(x: Any) -> Any:
    """√x; a Python float for a Python float: np.sqrt's float64 would widen a float32 beside it."""
    return math.sqrt(x) if type(x) is float else np.sqrt(x)


def _sgd(w, slots, gradient, lr, steps, *, momentum, dampening, weight_decay, nesterov, maximize):
    (velocity,) = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    if momentum:
        velocity = gradient if steps == 0 else momentum * velocity + (1 - dampening) * gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    return w - lr * gradient, (velocity,)


def _adam(
    w, slots, gradient, lr, steps, *, beta1, beta2, eps, weight_decay, amsgrad, maximize, beta1_product, beta2_product, decoupled=False
):  # fmt: skip
    average, square, largest = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        if decoupled:
            w = w * (1 - lr * weight_decay)
        else:
            gradient = gradient + weight_decay * w
    average = beta1 * average + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient * gradient
    largest = np.maximum(largest, square) if amsgrad else largest
    root = np.sqrt(largest if amsgrad else square) / _root(1 - beta2_product)
    return w - lr / (1 - beta1_product) * average / (root + eps), (average, square, largest)


def _adamw(w, slots, gradient, lr, steps, **values):
    return _adam(w, slots, gradient, lr, steps, decoupled=True, **values)


def _advance_adam(*, beta1, beta2, beta1_product, beta2_product, **others):
    return beta1_product * beta1, beta2_product * beta2


def _rmsprop(w, slots, gradient, lr, steps, *, alpha, eps, weight_decay, momentum, centered, maximize):
    square, average, buffer = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    square = alpha * square + (1 - alpha) * gradient * gradient
    average = average + (1 - alpha) * (gradient - average) if centered else average
    root = np.sqrt(square - average * average if centered else square) + eps
    move = gradient / root
    if momentum > 0:
        buffer = move = momentum * buffer + move
    return w - lr * move, (square, average, buffer)


def _adagrad(w, slots, gradient, lr, steps, *, lr_decay, weight_decay, initial_accumulator_value, eps, maximize):
    (total,) = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    total = (total if steps else initial_accumulator_value) + gradient * gradient
    return w - lr / (1 + steps * lr_decay) * gradient / (np.sqrt(total) + eps), (total,)


def _adadelta(w, slots, gradient, lr, steps, *, rho, eps, weight_decay, maximize):
    square, moves = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    square = rho * square + (1 - rho) * gradient * gradient
    move = np.sqrt(moves + eps) / np.sqrt(square + eps) * gradient
    return w - lr * move, (square, rho * moves + (1 - rho) * move * move)


def _nadam(
    w, slots, gradient, lr, steps, *, beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize, decay,
    beta2_product, mu_product, decay_product,
):  # fmt: skip
    average, square = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        if decoupled_weight_decay:
            w = w * (1 - lr * weight_decay)
        else:
            gradient = gradient + weight_decay * w
    mu, next_mu = beta1 * (1 - decay_product / 2), beta1 * (1 - decay_product * decay / 2)
    average = beta1 * average + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient * gradient
    root = np.sqrt(square / (1 - beta2_product)) + eps
    w = w - lr * (1 - mu) / (1 - mu_product) * gradient / root
    return w - lr * next_mu / (1 - mu_product * next_mu) * average / root, (average, square)


def _advance_nadam(*, beta1, beta2, decay, beta2_product, mu_product, decay_product, **others):
    decay_product = decay_product * decay
    return beta2_product * beta2, mu_product * (beta1 * (1 - decay_product / 2)), decay_product


def _adamax(w, slots, gradient, lr, steps, *, beta1, beta2, eps, weight_decay, maximize, beta1_product):
    average, size = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    average = beta1 * average + (1 - beta1) * gradient
    size = np.maximum(beta2 * size, abs(gradient) + eps)
    return w - lr / (1 - beta1_product) * average / size, (average, size)


def _advance_adamax(*, beta1, beta1_product, **others):
    return (beta1_product * beta1,)


def _decay_of_nadam(momentum_decay: float) -> float:
    """The float64 nearest to 0.96^momentum_decay; 50 digits depend on no machine's pow."""
    with localcontext(prec=50):
        return float(Decimal.from_float(0.96) ** Decimal(float(momentum_decay)))


_ADAM_RANGES = {"beta1": DECAY_RATE, "beta2": DECAY_RATE, "eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE}

UPDATE_RULES: Mapping[str, UpdateRule] = {
    rule.name: rule
    for rule in (
        UpdateRule(
            class_name="SGD",
            code=0,
            slots=("momentum_buffer",),
            hyperparameters={"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False},
            ranges={"momentum": NOT_NEGATIVE, "dampening": ANY, "weight_decay": NOT_NEGATIVE},
            formula="g ← g + λ w;  v ← μ v + (1−τ) g  (v ← g at first);  w ← w − lr v,  or w − lr (g + μ v) for nesterov",
            source="torch.optim.SGD; Polyak 1964; Sutskever et al. 2013 in torch's form",
            roundings=8,
            step=_sgd,
        ),
        UpdateRule(
            class_name="Adam",
            code=1,
            slots=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
            hyperparameters={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False},
            ranges=_ADAM_RANGES,
            formula="g ← g + λ w;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  w ← w − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)",
            source="Kingma & Ba 2015, algorithm 1; amsgrad: Reddi et al. 2018; torch.optim.Adam",
            roundings=24,  # decay 2, m 4, v 6, denominator 7, step size 3, product and quotient 2
            step=_adam,
            default_lr=1e-3,
            products=("beta1_product", "beta2_product"),
            advance=_advance_adam,
        ),
        UpdateRule(
            class_name="AdamW",
            code=2,
            slots=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
            hyperparameters={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False, "maximize": False},
            ranges=_ADAM_RANGES,
            formula="w ← w − lr λ w;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  w ← w − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)",
            source="Loshchilov & Hutter 2019; torch.optim.AdamW",
            roundings=26,  # as adam, but the decay is 4
            step=_adamw,
            decoupled=True,
            default_lr=1e-3,
            products=("beta1_product", "beta2_product"),
            advance=_advance_adam,
        ),
        UpdateRule(
            class_name="RMSprop",
            code=3,
            slots=("square_avg", "grad_avg", "momentum_buffer"),
            hyperparameters={"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False, "maximize": False},
            ranges={"alpha": NOT_NEGATIVE, "eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "momentum": NOT_NEGATIVE},
            formula="g ← g + λ w;  v ← α v + (1−α) g²;  a ← α a + (1−α) g;  b ← μ b + g / (√(v − a²) + ε), or without a²;  w ← w − lr b",
            source="Tieleman & Hinton 2012; centered: Graves 2013; torch.optim.RMSprop",
            roundings=22,  # decay 2, v 6, average 4, difference 1, root 1, ε 2, quotient 1, buffer 3, lr and its product 2
            step=_rmsprop,
            default_lr=1e-2,
        ),
        UpdateRule(
            class_name="Adagrad",
            code=4,
            slots=("sum",),
            hyperparameters={"lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10, "maximize": False},
            ranges={"lr_decay": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "initial_accumulator_value": NOT_NEGATIVE, "eps": NOT_NEGATIVE},
            formula="g ← g + λ w;  s ← s + g²;  w ← w − lr/(1 + (t−1) η) · g / (√s + ε)",
            source="Duchi, Hazan & Singer 2011; torch.optim.Adagrad",
            roundings=13,  # decay 2, sum 2, root 1, ε 2, step size 4, product and quotient 2
            step=_adagrad,
            default_lr=1e-2,
        ),
        UpdateRule(
            class_name="NAdam",
            code=5,
            slots=("exp_avg", "exp_avg_sq"),
            hyperparameters={
                "beta1": 0.9,
                "beta2": 0.999,
                "eps": 1e-8,
                "weight_decay": 0.0,
                "momentum_decay": 4e-3,
                "decoupled_weight_decay": False,
                "maximize": False,
            },
            ranges={
                "beta1": DECAY_RATE,
                "beta2": DECAY_RATE,
                "eps": NOT_NEGATIVE,
                "weight_decay": NOT_NEGATIVE,
                "momentum_decay": NOT_NEGATIVE,
            },
            formula="μₜ = β₁(1 − ½ 0.96^(t ψ));  m, v as in adam;  d = √(v/(1−β₂ᵗ)) + ε;  "
            "w ← w − lr (1−μₜ)/(1−Πμ) · g/d − lr μₜ₊₁/(1 − μₜ₊₁ Πμ) · m/d",
            source="Dozat 2016; torch.optim.NAdam",
            roundings=43,  # decay 4, m 4, v 6, denominator 7; of the gradient 7 + 3, of the average 9 + 2, μ once more 1
            step=_nadam,
            default_lr=2e-3,
            products=("beta2_product", "mu_product", "decay_product"),
            advance=_advance_nadam,
            derived={"decay": ("momentum_decay", _decay_of_nadam)},
            decoupled="decoupled_weight_decay",
        ),
        UpdateRule(
            class_name="Adadelta",
            code=6,
            slots=("square_avg", "acc_delta"),
            hyperparameters={"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0, "maximize": False},
            ranges={"rho": Range(at_least=0, at_most=1), "eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE},
            formula="g ← g + λ w;  v ← ρ v + (1−ρ) g²;  d = √(u + ε)/√(v + ε) · g;  u ← ρ u + (1−ρ) d²;  w ← w − lr d",
            source="Zeiler 2012; torch.optim.Adadelta",
            roundings=23,  # decay 2, v 6, root of v 3, root of u 3, quotient 1, its product 1, u 6, lr 1
            step=_adadelta,
            default_lr=1.0,
        ),
        UpdateRule(
            class_name="Adamax",
            code=7,
            slots=("exp_avg", "exp_inf"),
            hyperparameters={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "maximize": False},
            ranges=_ADAM_RANGES,
            formula="g ← g + λ w;  m ← β₁ m + (1−β₁) g;  u ← max(β₂ u, |g| + ε);  w ← w − lr/(1−β₁ᵗ) · m / u",
            source="Kingma & Ba 2015, algorithm 2; torch.optim.Adamax",
            roundings=15,  # decay 2, m 4, u 4, step size 3, product and quotient 2
            step=_adamax,
            default_lr=2e-3,
            products=("beta1_product",),
            advance=_advance_adamax,
        ),
    )
}
