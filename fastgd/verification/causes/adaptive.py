"""Hypotheses about rules that divide by the size of the gradient: Adam and its family.

1. `_rows` is the table: a rule, or a defect of it, and the constants that people write. Another row
   is all that another defect needs.
2. The first steps of all rows are made in float64, with every constant at once. Only what comes
   near is replayed with its bounds. Entries whose gradient is hardly more than its rounding error
   are left out there: such a rule makes steps of any sign of them.
3. Of constants that explain the steps equally, those that differ least from the rule's own count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgd.kernels.update_rules import UPDATE_RULES

from ..bound.yardstick import LIMIT, Array
from .hypotheses import Hypothesis, Scene, estimate, shortest
from .observation import Term
from .recipes import replay

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["about_adaptive_rules"]

_FIRST = 6  # steps that are looked at first
_TRIED = 3  # constants of one row that are replayed
_EPS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-10, 1e-12, 1e-16)
_BETAS = {"beta1": (0.9, 0.8, 0.85, 0.95, 0.99, 0.5, 0.0), "beta2": (0.999, 0.99, 0.9, 0.95, 0.98, 0.995, 0.9999)}
_GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "adam": {**_BETAS, "eps": _EPS},
    "adamax": {**_BETAS, "eps": _EPS[:4]},
    "rmsprop": {"alpha": (0.99, 0.9, 0.95, 0.999, 0.8, 0.5), "eps": _EPS},
    "adagrad": {"initial_accumulator_value": (0.0, 0.1, 1.0, 1e-6, 0.01), "eps": _EPS},
    "adadelta": {"rho": (0.9, 0.95, 0.99, 0.8), "eps": _EPS},
}
# Whose default a constant is, where it is not torch's.
_LIBRARIES = {
    ("adam", "eps", 1e-7): "Keras", ("adamax", "eps", 1e-7): "Keras", ("rmsprop", "eps", 1e-7): "Keras", ("adadelta", "eps", 1e-7): "Keras",
    ("adagrad", "eps", 1e-7): "Keras and optax", ("adagrad", "initial_accumulator_value", 0.1): "Keras, TensorFlow and optax",
    ("rmsprop", "alpha", 0.9): "Keras, TensorFlow and optax", ("adadelta", "rho", 0.95): "Keras and TensorFlow",
}  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """A rule or a defect of it: the codes, how it steps, and the constants that are tried."""

    codes: tuple[str, ...]
    rule: UpdateRule
    step: Callable[..., Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)


def _adam_with(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
    """Return Adam's step with other values, such as products of beta."""

    def step(w: Any, slots: Any, gradient: Any, lr: Any, steps: int, **values: Any) -> Any:
        return UPDATE_RULES["adam"].step(w, slots, gradient, lr, steps, **{**values, **change(values)})

    return step


def _moments(slots: Any, gradient: Any, values: dict[str, Any]) -> tuple[Any, Any]:
    """Return m and v of Adam after a step."""
    average, square, _ = slots
    beta1, beta2 = values["beta1"], values["beta2"]
    return beta1 * average + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient * gradient


def _eps_inside(w: Any, slots: Any, gradient: Any, lr: Any, steps: int, **values: Any) -> Any:
    """Make a step of Adam with √(v̂ + eps) in place of √v̂ + eps."""
    average, square = _moments(slots, gradient, values)
    corrected = square / (1 - values["beta2_product"])
    return w - lr * (average / (1 - values["beta1_product"])) / np.sqrt(corrected + values["eps"]), (average, square, slots[2])


def _eps_before(w: Any, slots: Any, gradient: Any, lr: Any, steps: int, **values: Any) -> Any:
    """Make a step of Adam with eps added to √v before it is corrected."""
    average, square = _moments(slots, gradient, values)
    rate = lr * np.sqrt(1 - values["beta2_product"]) / (1 - values["beta1_product"])
    return w - rate * average / (np.sqrt(square) + values["eps"]), (average, square, slots[2])


def _accumulating(w: Any, slots: Any, gradient: Any, lr: Any, steps: int, **values: Any) -> Any:
    """Make a step of Adam that keeps the corrected moments in place of the moments."""
    average, square = _moments(slots, gradient, values)
    average, square = average / (1 - values["beta1_product"]), square / (1 - values["beta2_product"])
    return w - lr * average / (np.sqrt(square) + values["eps"]), (average, square, slots[2])


def _rmsprop_inside(w: Any, slots: Any, gradient: Any, lr: Any, steps: int, **values: Any) -> Any:
    """Make a step of RMSprop with √(v + eps) in place of √v + eps."""
    square = values["alpha"] * slots[0] + (1 - values["alpha"]) * gradient * gradient
    return w - lr * gradient / np.sqrt(square + values["eps"]), (square, *slots[1:])


def _rows(scene: Scene, values: Mapping[str, Any]) -> Iterator[_Row]:
    """Yield the table; values: those that were asked for."""
    asked, adam, rmsprop = scene.asked, UPDATE_RULES["adam"], UPDATE_RULES["rmsprop"]
    own = dict(values) if asked.rule.name == "adam" else {}
    grid = _GRIDS["adam"] if not own else {}
    yield _Row(("adam_no_bias_correction",), adam, _adam_with(lambda v: {"beta1_product": 0.0, "beta2_product": 0.0}), own)
    yield _Row(("adam_eps_inside",), adam, _eps_inside, own, {"eps": _EPS})
    yield _Row(("adam_eps_before_correction",), adam, _eps_before, own)
    yield _Row(("adam_correction_accumulates",), adam, _accumulating, own)
    for which, other in (("beta1", "m"), ("beta2", "v")):
        left_out = f"{which}_product"
        only = _adam_with(lambda v, left_out=left_out: {left_out: 0.0})  # type: ignore[misc]
        yield _Row(("adam_one_correction",), adam, only, own, words={"variant": other})
    for told, change in (
        ("2, 3, 4, ...", lambda v: {f"{b}_product": v[f"{b}_product"] * v[b] for b in ("beta1", "beta2")}),
        ("2, 4, 6, ...", lambda v: {f"{b}_product": v[f"{b}_product"] * v[f"{b}_product"] for b in ("beta1", "beta2")}),
    ):
        yield _Row(("adam_count",), adam, _adam_with(change), own, words={"variant": told})
    uses = bool(own.get("amsgrad"))
    told = "amsgrad was asked for, and is not used" if uses else "the root is that of the largest v so far, as in amsgrad"
    yield _Row(("adam_amsgrad",), adam, adam.step, {**own, "amsgrad": not uses}, words={"variant": told})
    yield _Row(("rmsprop_eps_inside",), rmsprop, _rmsprop_inside, {}, _GRIDS["rmsprop"])
    decay = float(np.max(values.get("weight_decay", 0.0)))
    for name, other, code in (("adam", "adamw", "weight_decay_decoupled"), ("adamw", "adam", "weight_decay_coupled")):
        if asked.rule.name == name and decay:
            yield _Row((code,), UPDATE_RULES[other], UPDATE_RULES[other].step, values, words={"value": decay, "variant": ""})
    for name, rule in UPDATE_RULES.items():
        if name == "sgd":
            continue
        words = {"value": float(rule.hyperparameters.get("weight_decay", 0.0)), "variant": ""}
        if name != asked.rule.name:
            yield _Row((name,), rule, rule.step, {}, words=words)
        if name in _GRIDS:
            given = values if name == asked.rule.name else {}
            codes = ("rule_constants",) if name == asked.rule.name else (name, "rule_constants")
            yield _Row(codes, rule, rule.step, given, grid if name == "adam" and grid else _GRIDS[name], words)


def about_adaptive_rules(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about Adam and its family."""
    if scene.asked.momenta is not None:
        return  # beta1 moves, theirs stays
    seen = scene.seen
    gradient, own = scene.asked.apart(seen, scene.asked.gradient(seen))
    certain = np.abs(gradient.value) > (1e8 if seen.dtype == np.float64 else 1e4) * gradient.error
    certain = np.logical_and.accumulate(certain, axis=0)  # the moments remember the others
    for row in _rows(scene, own):
        for changed in islice(_near(scene, row, gradient, certain), _TRIED):
            if row.codes[-1] == "rule_constants" and not changed:
                continue  # the rule as it is has a row of its own
            step = replay(seen, row.step, gradient, row.rule, {**row.values, **changed}, give_up=True)
            words = {"rule": row.rule.class_name, **row.words}
            if changed:
                words |= {
                    "constants": ", ".join(f"{name} = {value:g}{_default_of(row.rule, name, value)}" for name, value in changed.items())
                }
            yield Hypothesis(row.codes, 1 + 0.25 * len(changed) + 0.25 * (len(row.codes) - 1), step, words, constants=len(changed))
            if seen.tau(step) <= LIMIT:
                break
    yield from _decayed_adam(scene)


def _default_of(rule: UpdateRule, name: str, value: float) -> str:
    library = _LIBRARIES.get((rule.name, name, value))
    return f" (the default of {library})" if library else ""


def _near(scene: Scene, row: _Row, gradient: Term, certain: Array) -> Iterator[dict[str, float]]:
    """Yield the constants with which the first steps come near, those that change least first."""
    seen = scene.seen
    own = row.rule.all_values(row.values)
    names = list(row.grid)
    combinations = [tuple(own[name] for name in names)]
    combinations += [one for one in product(*row.grid.values()) if one != combinations[0]]
    columns = {name: np.array([one[k] for one in combinations])[:, None] for k, name in enumerate(names)}
    values = {**own, **columns}
    running: dict[str, Any] = dict.fromkeys(row.rule.products, 1.0)
    slots: tuple[Any, ...] = tuple(np.zeros((len(combinations), seen.n_parameters)) for _ in row.rule.slots)
    miss = np.zeros(len(combinations))
    with np.errstate(all="ignore"):
        for t in range(min(_FIRST, seen.n_steps)):
            running = dict(zip(running, row.rule.advance(**values, **running), strict=True))
            w = seen.w[t].astype(np.float64)
            made, slots = row.step(w, slots, gradient.value[t].astype(np.float64), float(seen.rule_lr[t, 0]), t, **values, **running)
            moved = seen.moved[t].astype(np.float64)
            blur = 64 * float(seen.u) * (np.abs(w) + np.abs(moved))
            made = np.broadcast_to(made, miss.shape + w.shape)
            off = np.maximum(np.abs(made - (w - moved)) - blur, 0) / np.maximum(np.abs(moved), np.finfo(np.float64).tiny)
            miss = np.maximum(miss, np.where(certain[t], np.nan_to_num(off, nan=np.inf), 0).max(1))
    near = np.flatnonzero(miss <= (1e-6 if seen.dtype == np.float64 else 1e-2))
    changed = []
    for i in near:
        pairs = zip(names, combinations[i], combinations[0], strict=True)
        changed.append(({name: value for name, value, before in pairs if value != before}, float(miss[i])))
    yield from (one for one, _ in sorted(changed, key=lambda pair: (len(pair[0]), pair[1])))


def _decayed_adam(scene: Scene) -> Iterator[Hypothesis]:
    """AdamW with another decay than torch's default: steps of Adam and lr · decay · w."""
    seen, adam = scene.seen, UPDATE_RULES["adam"]
    if scene.asked.rule.name in ("adam", "adamw") or seen.n_steps < 2 or not (seen.w[:-1] != 0).any():
        return
    gradient, _ = scene.asked.apart(seen, scene.asked.gradient(seen))
    few = 3  # The slots of Adam do not depend on the decay, so its first steps are tested first.
    base = replay(seen, adam.step, gradient, adam, {}, most=few)
    column = seen.lr * seen.w[:-1]
    found = estimate(seen, seen.moved - base.value, [column], until=few)
    if found is None:
        return

    def predict(base: Term, value: Any) -> Term:
        added = value * column
        return Term(base.value + added, base.error + 4 * seen.u * np.abs(added) + seen.u * np.abs(seen.w[:-1]))

    if seen.shares(predict(base, found[0]))[:few].max() > LIMIT:
        return
    base = replay(seen, adam.step, gradient, adam, {})
    found = estimate(seen, seen.moved - base.value, [column])
    if found is not None:
        value, step, more = shortest(seen, found[0], lambda value: predict(base, value), also=(0.01,))
        if seen.informative(value * column, step):
            yield Hypothesis(("adamw",), 2 + more, step, {"value": float(value), "variant": ""}, constants=1)
