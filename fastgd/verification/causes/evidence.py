"""What is evidence for a hypothesis.

1. An explanation has a bound that is narrower than what it explains: than what is wrong with w, and
   than w moves. A wider one explains anything (`scored_by`): it names nothing, but is possible.
2. More equations support it than constants were estimated. A short decimal is no free constant:
   that it is one is evidence.
3. What is wrong is so much larger than the bound that another of the many hypotheses would hardly
   explain it by chance (`Observation.strength`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastgd.kernels.update_rules import UPDATE_RULES

from ..bound.yardstick import LIMIT
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .sizes import named_factors

__all__ = ["SIZES", "is_evidence", "scored_by"]

SIZES = {code for asked in (1.0, 0.5, 3.0, 1.5) for codes, _ in named_factors(3, asked) for code in codes}
_LEAST_STRENGTH = 10.0  # note 3
_STANDS_STILL = 2.0**-10  # of the step that was asked for: a bound within it says that w stands still
_ROUNDINGS = 2 + max(rule.roundings for rule in UPDATE_RULES.values())  # of w, that a rule may have where w stands still


def scored_by(
    scene: Scene, asked: Term, hypotheses: Iterable[Hypothesis], wide: list[Hypothesis] | None = None
) -> list[tuple[Hypothesis, float]]:
    """Return hypotheses with their τ; it is inf where the bound is too wide (note 1).

    That is looked at where w is first wrong, and where it is furthest from what was asked for.
    wide: takes those whose bound is too wide, and which are within it.
    """
    seen = scene.seen
    shares = seen.shares_by_parameter(asked)
    at = [(t, int(np.argmax(shares[t]))) for t in (int(np.argmax(shares.max(1) > LIMIT)), int(np.argmax(shares.max(1))))]
    with np.errstate(all="ignore"):
        wrong = np.abs(seen.moved - asked.value)
        rounding = LIMIT * (_ROUNDINGS * (seen.u * np.abs(seen.w[:-1]) + seen.eta) + seen.yardstick.hidden(seen.w[:-1]))
        most = [
            min(
                wrong[t, j], max(np.abs(seen.moved[max(t - 1, 0) : t + 2, j]).max(), rounding[t, j], _STANDS_STILL * abs(asked.value[t, j]))
            )
            for t, j in at
        ]
        scored = []
        for one in hypotheses:
            narrow = one.sure or any(LIMIT * one.step.error[t, j] <= width for (t, j), width in zip(at, most, strict=True))
            tau = seen.tau(one.step)
            scored.append((one, tau if narrow else np.inf))
            if wide is not None and not narrow and tau <= LIMIT:
                wide.append(one)
    return scored


def is_evidence(scene: Scene, asked: Term, hypothesis: Hypothesis) -> bool:
    """Return whether more equations support the hypothesis than constants were estimated."""
    if hypothesis.free or hypothesis.sure:
        return hypothesis.sure
    if scene.seen.has_one_number and (hypothesis.constants or not scene.seen.hides_steps) and _is_multiple(scene, hypothesis.step, asked):
        if hypothesis.codes == ("lr_scaled",):
            return _is_no_chance(hypothesis, scene.seen)
        if not set(hypothesis.codes) <= SIZES:
            return False
    difference = hypothesis.step.value - asked.value if hypothesis.telling is None else hypothesis.telling
    if not scene.seen.strength(difference, hypothesis.step) >= _LEAST_STRENGTH:
        return False
    return scene.seen.informative(difference, hypothesis.step) > hypothesis.constants


def _is_multiple(scene: Scene, step: Term, asked: Term) -> bool:
    """Return whether the gradient is a multiple of the one asked for, the same in all steps."""
    seen, still = scene.seen, 0 if scene.shown is None else scene.shown.still.value
    a, b = (step.value - still) / seen.scale(), (asked.value - still) / seen.scale()
    with np.errstate(all="ignore"):
        factor = (a * b).sum() / (b * b).sum()
        off = LIMIT * (step.error + np.abs(factor) * asked.error + seen.u * (np.abs(seen.w[:-1]) + np.abs(seen.w[1:])))
        return bool((np.abs(step.value - still - factor * (asked.value - still)) <= off).all())


def _is_no_chance(hypothesis: Hypothesis, seen: Observation) -> bool:
    """Return whether the factor of lr_scaled is shorter than any number so well known would be."""
    value, rate = abs(hypothesis.words["value"]), abs(hypothesis.words["rate"])
    with np.errstate(all="ignore"):
        bound, size = hypothesis.step.error + seen.u * np.abs(seen.w[1:]), np.abs(hypothesis.step.value)
        known = LIMIT * float(np.where(size > 0, bound / size, np.inf).min())
    for digits in (1, 2, 3, 4):
        for number in (value, rate):
            short = float(f"{number:.{digits - 1}e}")
            if abs(short - number) <= 4 * np.spacing(number):
                return known * number < 1e-3 * 10.0 ** (np.floor(np.log10(number)) - digits + 1)
    return False
