"""Hypotheses about some parameters: the gradient of the others is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .hypotheses import USUAL_MOMENTA, Hypothesis, Scene, estimate, shortest
from .observation import Term
from .recipes import Momentum
from .sizes import named_factors

__all__ = ["about_parts", "names_of"]

_NEAR = 1e-9  # closer factors to 1 count as 1

_WORDS = {
    "gradient_sum": "the sum over the samples, not their mean",
    "gradient_sum_missing_two": "the sum over the samples, without the factor 2",
    "gradient_missing_two": "without the factor 2",
    "gradient_divided_twice": "divided by n twice",
    "gradient_n_minus_1": "divided by n - 1",
    "gradient_double_two": "twice",
    "gradient_not_halved": "twice",
    "gradient_mean": "the mean over the samples, not their sum",
    "gradient_sign": "the other sign",
}


def names_of(scene: Scene, which: Array) -> str:
    """Return the names of the parameters in `which` (D,) bool."""
    last = len(which) - 1
    return ", ".join("the intercept" if scene.seen.intercept and j == last else f"w[{j}]" for j in np.flatnonzero(which))


def about_parts(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a gradient of which some entries are wrong."""
    seen, asked, shown = scene.seen, scene.asked, scene.shown
    if seen.n_parameters > 1 and seen.n_steps > 1:
        yield from _of_own_rule(scene)
    if seen.n_parameters < 2 or shown is None or scene.telling_step is None:
        return
    sizes: list[tuple[tuple[str, ...], float]] = [((), asked.factor), *named_factors(seen.size, asked.factor)]
    for codes, factor in sizes:
        whole = seen.at if factor == 1 else seen.at.times(factor, seen.u)
        step = asked.step(seen, whole)
        wrong: Array = np.any(seen.shares_by_parameter(step) > LIMIT, axis=0)
        moves = (np.abs(step.value - shown.still.value) > LIMIT * (step.error + seen.u * np.abs(seen.w[:-1]))).any(0)
        if not wrong.any() or wrong.all():
            continue
        yield from _of_own_size(scene, whole, wrong, codes, told=bool((moves & ~wrong).any()))
        if wrong.sum() > 1 and seen.n_steps > 1:
            yield from _of_own_rates(scene, whole, wrong, codes)
        if wrong.sum() == 1:
            yield from _of_another_column(scene, whole, int(np.argmax(wrong)), codes)


def _of_own_rule(scene: Scene) -> Iterator[Hypothesis]:
    """The wrong parameters make plain steps beside a rule, or have momentum beside plain steps."""
    seen, asked, pull = scene.seen, scene.asked, scene.pull()
    step = scene.step
    wrong: Array = np.any(seen.shares_by_parameter(step) > LIMIT, axis=0)
    if not wrong.any() or wrong.all():
        return
    who, others = names_of(scene, wrong), names_of(scene, ~wrong)

    def mixed(own: Term) -> Term:
        return Term(*(np.where(wrong, *parts) for parts in zip(own, step, strict=True)))

    if not asked.plain:
        told = f"{asked.rule.class_name} steps {others}, and plain gradient descent {who}"
        yield Hypothesis(("rule_part",), 0.75, mixed(pull), {"variant": told})
        return
    found = estimate(seen, (seen.moved - pull.value) * wrong, [seen.memory.value * wrong], skip=1)
    if found is None:
        return
    value, made, more = shortest(seen, found[0], lambda mu: mixed(Momentum(momentum=mu).step(seen, asked.gradient(seen))), USUAL_MOMENTA)
    if abs(value) > _NEAR:
        told = f"there is momentum {float(value):.6g} for {who}, and none for {others}"
        yield Hypothesis(("rule_part",), 2 + more, made, {"variant": told, "value": float(value)}, constants=1)


def _of_own_size(scene: Scene, whole: Term, wrong: Array, codes: tuple[str, ...], told: bool) -> Iterator[Hypothesis]:
    """The wrong parameters have a factor of their own.

    told: whether the others show that theirs is another one. If not, it is possible, and not sure.
    """
    seen, asked, shown = scene.seen, scene.asked, scene.shown
    assert shown is not None
    scale = seen.scale()[:, wrong]
    a, b = (shown.rate * whole.value)[:, wrong] / scale, (seen.moved - shown.still.value)[:, wrong] / scale
    with np.errstate(all="ignore"):
        found = (a * b).sum() / (a * a).sum()
    if not np.isfinite(found) or found == 0 or abs(found - 1) <= _NEAR:
        return

    told = told and seen.tau(asked.step(seen, whole.times(found, seen.u))) > LIMIT

    def predict(factor: Any) -> Term:
        part = whole.times(np.where(wrong, factor, 1)[None], seen.u)
        return asked.step(seen, part)

    who = names_of(scene, wrong)
    mean = asked.factor in (1, 0.5)
    of_intercept = f"{'' if asked.factor in (0.5, seen.size / 2) else '2 * '}residual.{'mean' if mean else 'sum'}()"
    fix = {"gradient": of_intercept} if who == "the intercept" else {}
    length = 1 + 0.5 * len(codes)
    for reason, relative in named_factors(seen.size, 1.0):
        if abs(relative - found) <= 1e-3 * abs(relative):
            words = {**fix, "who": who, "value": relative, "variant": f" ({', '.join(_WORDS[code] for code in reason)})"}
            yield Hypothesis(
                ("gradient_part", *codes), length + 0.1 * len(reason), predict(seen.yardstick.extended(relative)[()]), words, free=not told
            )
    value, made, more = shortest(seen, found, predict)
    yield Hypothesis(
        ("gradient_part", *codes),
        length + 1 + more,
        made,
        {**fix, "who": who, "value": float(value), "variant": ""},
        constants=1,
        free=not told,
    )


def _of_own_rates(scene: Scene, whole: Term, wrong: Array, codes: tuple[str, ...]) -> Iterator[Hypothesis]:
    """Each of the wrong parameters has a factor of its own, the same in all epochs."""
    seen, asked, shown = scene.seen, scene.asked, scene.shown
    assert shown is not None
    scale = seen.scale()
    a, b = shown.rate * whole.value / scale, (seen.moved - shown.still.value) / scale
    with np.errstate(all="ignore"):
        found = np.where(wrong, (a * b).sum(0) / (a * a).sum(0), 1)
    if not np.isfinite(found).all():
        return
    short = np.array([float(f"{float(factor):.3g}") for factor in found])
    for factors, more in ((seen.yardstick.extended(short), 0.0), (found, 2.0)):
        step = asked.step(seen, whole.times(factors[None], seen.u))
        if seen.tau(step) <= LIMIT or more:
            told = ", ".join(f"{float(factors[j]):.6g} for {names_of(scene, np.arange(len(wrong)) == j)}" for j in np.flatnonzero(wrong))
            yield Hypothesis(
                ("rates_of_parameters", *codes),
                2.5 + more + 0.5 * len(codes),
                step,
                {"variant": told},
                constants=int(wrong.sum()),
                free=more > 0,  # on one line, as Newton's from anywhere, all steps have such factors
            )
            return


def _of_another_column(scene: Scene, whole: Term, j: int, codes: tuple[str, ...]) -> Iterator[Hypothesis]:
    """One entry is computed from the column of another one."""
    seen, t = scene.seen, scene.telling_step
    shown = scene.shown
    assert shown is not None
    assert t is not None
    found = shown.gradient(seen)[t, j]
    near = np.argsort(np.abs(whole.value[t] - found))[:3]
    for k in near[near != j]:
        value, error = np.array(whole.value), np.array(whole.error)
        value[:, j], error[:, j] = whole.value[:, k], whole.error[:, k]
        one = np.arange(seen.n_parameters)
        words = {"who": names_of(scene, one == j), "other": names_of(scene, one == k)}
        step = scene.asked.step(seen, Term(value, error))
        yield Hypothesis(("column_repeated", *codes), 1 + 0.5 * len(codes), step, words)
