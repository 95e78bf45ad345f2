"""Hypotheses about the update rule: learning rate, momentum, decay, penalties.

All are linear in their constants, given the observed rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .hypotheses import USUAL_MOMENTA, Hypothesis, Scene, estimate, shortest
from .observation import Term
from .recipes import Momentum
from .sizes import named_factors

__all__ = ["about_rule"]

_NEAR = 1e-9  # closer estimates of a constant count as equal to what was asked for


def about_rule(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the update rule."""
    if not scene.asked.plain:
        plain = scene.pull()
        yield Hypothesis(("plain_descent",), 0.75, plain)
    yield from _scaled(scene)
    if scene.seen.n_steps > 1:
        yield from _momentum(scene)
        yield from _nesterov(scene)
        yield from _momentum_and_decay(scene)
    yield from _penalties(scene)


def _unusual(momentum: Any) -> float:
    """Return the added complexity of a momentum below 0.05 or above 1, which is unusual."""
    return 0.0 if 0.05 <= momentum <= 1 else 2.0


def _options(scene: Scene) -> Momentum:
    """Return SGD's options that were asked for; plain ones for another rule."""
    return scene.asked.options or Momentum()


def _scaled(scene: Scene) -> Iterator[Hypothesis]:
    """A factor on every step."""
    seen = scene.seen
    still, column = scene.fixed_and_column()
    found = estimate(seen, seen.moved - still.value, [column.value])
    if found is None:
        return

    def predict(factor: Any) -> Term:
        return Term(still.value + factor * column.value, still.error + np.abs(factor) * column.error)

    rates = np.unique(seen.lr.astype(np.float64))
    rate = float(rates[0]) if len(rates) == 1 else 1.0
    value, step, more = shortest(seen, found[0], predict, unit=rate)
    if abs(float(value) - 1) > _NEAR:
        yield Hypothesis(
            ("lr_scaled",), 2 + 0.75 * more, step, {"value": float(value), "rate": float(value) * float(seen.lr[0, 0])}, constants=1
        )


def _momentum(scene: Scene) -> Iterator[Hypothesis]:
    """Momentum alone, with a named factor on the gradient, and with dampening."""
    seen, asked = scene.seen, scene.asked
    options = replace(_options(scene), momentum=0.0, dampening=0.0, nesterov=False)
    gradient = asked.gradient(seen)
    pull, memory = options.step(seen, gradient), seen.memory

    found = estimate(seen, seen.moved - pull.value, [memory.value], skip=1)
    if found is not None:
        usual = (*USUAL_MOMENTA, _options(scene).momentum)
        value, step, more = shortest(seen, found[0], lambda mu: replace(options, momentum=mu).step(seen, gradient), usual)
        if abs(value) > _NEAR:
            of = _options(scene)
            told = f", without the dampening {of.dampening:g} that was asked for" if of.dampening else ""
            told = ", plain, where Nesterov's was asked for" if of.nesterov else told
            yield Hypothesis(("momentum",), 2 + more + _unusual(value), step, {"value": float(value), "variant": told}, constants=1)
    found = estimate(seen, seen.moved, [memory.value, pull.value], skip=1)
    if found is None:
        return
    mu, factor = found
    for codes, of_mean in named_factors(seen.size, asked.factor):
        relative = of_mean / asked.factor
        if abs(relative - factor) <= 1e-3 * abs(relative):
            scaled = seen.at.times(of_mean, seen.u)

            def with_factor(mu: Any, scaled: Term = scaled) -> Term:
                return replace(options, momentum=mu).step(seen, scaled)

            value, step, more = shortest(seen, mu, with_factor, also=USUAL_MOMENTA)
            if abs(value) > _NEAR:
                length = 2.5 + 0.5 * len(codes) + more + _unusual(value)
                yield Hypothesis((*codes, "momentum"), length, step, {"value": float(value)}, constants=2)
    yield from _dampened(scene, options, mu, factor)


def _dampened(scene: Scene, options: Momentum, mu: Any, factor: Any) -> Iterator[Hypothesis]:
    """Momentum with dampening, or as an exponential average."""
    seen, gradient = scene.seen, scene.asked.gradient(scene.seen)
    for first_damped, variant in ((False, ""), (True, ", from the first step on (an exponential average)")):
        for momentum in dict.fromkeys((*(m for m in USUAL_MOMENTA if abs(m - mu) < 1e-2 * abs(mu)), float(f"{float(mu):.4g}"), mu)):
            damped = replace(options, momentum=momentum, first_damped=first_damped)
            also = (float(_options(scene).dampening), float(momentum))

            def with_damping(damping: Any, damped: Momentum = damped) -> Term:
                return replace(damped, dampening=damping).step(seen, gradient)

            value, step, more = shortest(seen, 1 - factor, with_damping, also)
            if abs(value) > _NEAR and seen.tau(step) <= LIMIT:
                none = replace(damped, momentum=float(np.finfo(np.float64).tiny), dampening=value)
                if seen.tau(none.step(seen, gradient)) <= LIMIT:
                    break  # the momentum is of the size of rounding
                average = first_damped and value == momentum  # one constant, not two
                named = average and momentum == _options(scene).momentum  # none: it is 1 - momentum times what was asked for
                yield Hypothesis(
                    ("dampening",), 3 - 0.5 * average - 0.75 * named + more + (momentum is mu) + _unusual(momentum), step,
                    {"value": float(momentum), "damping": float(value), "variant": variant}, constants=2 - average - named,
                )  # fmt: skip
                break


def _nesterov(scene: Scene) -> Iterator[Hypothesis]:
    """Nesterov momentum, in torch's form and in Sutskever's."""
    seen, asked = scene.seen, scene.asked
    gradient = asked.gradient(seen)
    options = replace(_options(scene), momentum=0.0, dampening=0.0, nesterov=False)
    pull = options.step(seen, gradient)
    column = seen.memory.value + pull.value - pull.one_later().value
    for code, first_plain in (("nesterov_torch", False), ("nesterov_sutskever", True)):
        column[0] = 0 if first_plain else pull.value[0]
        found = estimate(seen, seen.moved - pull.value, [column])
        if found is None:
            continue

        def ahead(mu: Any, first_plain: bool = first_plain) -> Term:
            return replace(options, momentum=mu, nesterov=True, first_plain=first_plain).step(seen, gradient)

        value, step, more = shortest(seen, found[0], ahead, also=USUAL_MOMENTA)
        if abs(value) > _NEAR:
            of = _options(scene)
            told = ", where plain momentum was asked for" if of.momentum and not of.nesterov else ""
            yield Hypothesis((code,), 2 + more + _unusual(value), step, {"value": float(value), "variant": told}, constants=1)


def _weights_alone(scene: Scene, column: Array) -> Iterator[tuple[str, Array]]:
    """Yield (variant, column) of a penalty; where there is an intercept also without it."""
    yield "", column
    X, intercept = scene.seen.yardstick.X, scene.seen.intercept
    constant = np.append(np.ptp(X, axis=0) == 0, np.ones(int(intercept), bool))
    if constant.sum() == 1 and len(constant) > 1:
        alone = column.copy()
        alone[:, constant] = 0
        yield f", not on {'the intercept' if intercept else 'the column of ones'}", alone


def _penalties(scene: Scene) -> Iterator[Hypothesis]:
    """Weight decay, coupled and decoupled, and an L1 penalty."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    w = seen.w[:-1]
    base = asked.with_values(weight_decay=0.0).step(seen) if np.any(asked.values.get("weight_decay", 0)) else scene.step
    options = asked.options
    columns = [("weight_decay_coupled", seen.lr * w), ("weight_decay_decoupled", seen.lr * w), ("l1", seen.lr * np.sign(w))]
    if options is not None and options.momentum:
        bare = replace(options, weight_decay=0.0)
        inside = replace(bare, weight_decay=1.0).step(seen, asked.gradient(seen))
        apart = replace(bare, weight_decay=1.0, decoupled=True).step(seen, asked.gradient(seen))
        signs = Term(asked.gradient(seen).value + np.sign(w), asked.gradient(seen).error)
        columns = [
            ("weight_decay_coupled", inside.value - base.value),
            ("weight_decay_decoupled", apart.value - base.value),
            ("l1", bare.step(seen, signs).value - base.value),
        ]
    elif options is None:
        columns = columns[1:2] if asked.rule.name in ("adam", "nadam") else columns[1:]
    for code, whole in columns:
        for variant, column in _weights_alone(scene, whole):
            found = estimate(seen, seen.moved - base.value, [column])
            if found is None:
                continue

            def predict(value: Any, column: Array = column) -> Term:
                added = value * column
                return Term(base.value + added, base.error + 4 * u * np.abs(added) + u * np.abs(w))

            value, step, more = shortest(seen, found[0], predict, unit=seen.size)  # lambda / n, too
            declared = float(np.max(asked.values.get("weight_decay", 0.0))) if code.startswith("weight_decay") else 0.0
            if (value < 0 and more) or (abs(value) <= _NEAR and code == "l1"):
                continue  # a negative decay of many digits is no cause
            if (variant and value != 0) or value != declared:
                words = {"value": float(value), "variant": variant}
                yield Hypothesis((code,), 2 + more + 0.5 * bool(variant) + 2 * (value < 0), step, words, constants=1)
    if asked.plain:
        yield from _factor_and_decay(scene)


def _factor_and_decay(scene: Scene) -> Iterator[Hypothesis]:
    """Two defects: a named factor on the gradient, and weight decay."""
    seen, u, w = scene.seen, scene.u, scene.seen.w[:-1]
    pull = scene.pull()
    for variant, column in _weights_alone(scene, seen.lr * w):
        found = estimate(seen, seen.moved, [pull.value, column])
        if found is None:
            continue
        for codes, of_mean in named_factors(seen.size, scene.asked.factor):
            relative = of_mean / scene.asked.factor
            if abs(relative - found[0]) <= 1e-3 * abs(relative):
                scaled = pull.times(relative, u)

                def predict(value: Any, scaled: Term = scaled, column: Array = column) -> Term:
                    return scaled.plus(Term(value * column, 3 * u * np.abs(value * column) + u * np.abs(w)), u)

                value, step, more = shortest(seen, found[1], predict, unit=seen.size)
                if seen.informative(value * column, step):
                    words = {"value": float(value), "variant": variant}
                    yield Hypothesis((*codes, "weight_decay_coupled"), 3 + more + 0.5 * bool(variant), step, words, constants=1)


def _momentum_and_decay(scene: Scene) -> Iterator[Hypothesis]:
    """Momentum and weight decay, where neither was asked for."""
    seen = scene.seen
    if not scene.asked.plain:
        return
    gradient, w = scene.asked.gradient(seen), seen.w[:-1]
    pull, decay = scene.pull(), seen.lr * w
    late = np.concatenate([np.zeros_like(decay[:1]), decay[:-1]])
    by_code = {"weight_decay_coupled": [seen.memory.value, decay], "weight_decay_decoupled": [seen.memory.value, decay, -late]}
    for code, columns in by_code.items():
        found = estimate(seen, seen.moved - pull.value, columns, skip=1)
        if found is None:
            continue
        mu = next((m for m in USUAL_MOMENTA if abs(m - found[0]) < 1e-2), float(f"{float(found[0]):.4g}"))
        known = Momentum(momentum=mu, decoupled=code == "weight_decay_decoupled")

        def with_decay(decay: Any, known: Momentum = known) -> Term:
            return replace(known, weight_decay=decay).step(seen, gradient)

        value, step, more = shortest(seen, found[1], with_decay)
        if value != 0 and abs(mu) > _NEAR:
            words = {"value": float(mu), "decay": float(value), "variant": ""}
            yield Hypothesis(("momentum", code), 4 + more, step, words, constants=2)
