"""Diagnosis: the hypothesis that explains a history, its evidence, and the others that do as well.

1. Update, start and loss are explained separately. A defect in one does not hide a defect in
   another, because every prediction is made from observed rows.
2. What was asked for is tried first. If it explains every step, no hypothesis is tried.
3. Arithmetic in float32 is tried for a float64 history only where no cause explains it in float64,
   and only where the recorded values are representable in float32. The size of an error alone is no
   evidence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ...input.float_mode import computes
from ...input.messages import in_ascii, repr_in_ascii
from ..bound.yardstick import LIMIT, Array
from .activations import about_activations
from .adaptive import about_adaptive_rules
from .batches import about_batches
from .broadcasting import about_broadcasting
from .evidence import SIZES, is_evidence, scored_by
from .gradient import about_clipping, about_gradient
from .hypotheses import Hypothesis, Scene
from .loss import LossHypothesis, about_loss
from .observation import Observation, Term
from .other_data import about_other_data
from .parts import about_parts, names_of
from .recipes import Recipe
from .recorded_rows import about_rounded_rows
from .ridge import about_ridge
from .rule import about_rule
from .samples import about_samples
from .schedule import about_schedule, factors_of_steps
from .several_steps import about_several_steps
from .sizes import named_factors
from .table import CAUSES
from .weights import about_weights
from .wording import worded

__all__ = ["Diagnosis", "Finding", "explain_by_rounding", "explain_loss", "explain_update"]

_RIVALS = 5  # how many other causes the evidence names
_LONGER = 3  # an explanation with so much more complexity can explain anything
_ORDER = {code: place for place, code in enumerate(CAUSES)}


@repr_in_ascii
@dataclass(frozen=True)
class Diagnosis:
    """Why a history is not what was asked for.

    Attributes
    ----------
    code : str
        The main cause; "ok" if there is none, "not_judged" if no step could be judged, "unknown" if
        nothing explains the history.
    codes : tuple of str
        All causes: of the update first, then of the start, then of the loss.
    sentence : str
        The causes in words.
    evidence : dict
        ``tau`` of the cause and ``tau_asked`` of what was asked for (the bound is 8; NaN where no
        step was judged),
        ``first_epoch`` beyond the bound, ``epochs_used``, ``value`` and other estimated constants,
        ``constants`` (how many were estimated), ``rivals`` (τ of other causes), and of the loss
        ``tau_loss`` and ``loss_first_epoch``.
    fix : str
        A line of code that mends it; empty where there is none.
    also_possible : tuple of str
        Other causes that explain these data as well; two causes at once are joined by " + ".
    notes : tuple of str
        What was assumed, and what was left out.

    Examples
    --------
    Two epochs with half the gradient:

    >>> import fastgd
    >>> diagnosis = fastgd.diagnose([1.0, 2.0], [2.0, 4.0], [0.0, 0.5, 0.875], lr=0.1)
    >>> diagnosis.code, diagnosis.evidence["first_epoch"], diagnosis.fix
    ('gradient_missing_two', 1, 'gradient = 2 / len(y) * X.T @ residual')
    """

    code: str
    codes: tuple[str, ...]
    sentence: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    also_possible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the history is what was asked for at every step that was judged, one at least."""
        return self.code == "ok"

    @computes
    def __str__(self) -> str:
        lines = [f"{' + '.join(self.codes)}: {self.sentence}"]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        if self.also_possible:
            lines.append(f"  {'possible' if self.code == 'unknown' else 'on these data the same as'}: {', '.join(self.also_possible)}")
        if not self.ok and self.evidence.get("epochs_used"):
            of = "tau_loss" if self.evidence["tau_asked"] <= LIMIT < self.evidence.get("tau_loss_asked", 0) else "tau"  # what is wrong
            tau, asked = self.evidence[of], self.evidence[f"{of}_asked"]
            judged = f"{self.evidence['epochs_used']} {self.evidence.get('unit', 'epoch')}s"
            lines.append(f"  evidence: {of} = {tau:.2g} with it, {asked:.2g} without (bound {LIMIT:g}), {judged}")
        return in_ascii("\n".join([*lines, *(f"  note: {note}" for note in self.notes)]))


class Finding(NamedTuple):
    """What explains the update, or the loss, of a history."""

    codes: tuple[str, ...]  # empty: nothing is wrong
    words: dict[str, Any]
    tau: float
    tau_asked: float
    first: int | None  # first epoch that is beyond the bound of what was asked for
    also: tuple[str, ...]
    rivals: dict[str, float]
    hypothesis: Hypothesis | LossHypothesis | None


def explain_update(seen: Observation, asked: Recipe) -> Finding:
    """Return what explains the steps of a history."""
    scene = Scene(seen, asked)
    step = scene.step
    shares = seen.shares(step)
    tau = float(shares.max(initial=0))
    if tau <= LIMIT:
        return Finding((), {}, tau, tau, None, (), {}, None)
    first = int(np.argmax(shares > LIMIT)) + 1
    wide: list[Hypothesis] = []
    scored = scored_by(scene, step, _all_hypotheses(scene), wide)
    possible = sorted((pair for pair in scored if pair[1] <= LIMIT), key=_rank)
    passing = [pair for pair in possible if is_evidence(scene, step, pair[0])]
    if _is_stored_in_float16(seen):  # in which two constants explain much
        passing = [pair for pair in passing if pair[0].constants < 2]
    stored = _is_stored_in_float32(seen) and _explained_by_storage(seen, step)
    if stored and not (passing and passing[0][0].complexity <= 1):
        others = (" + ".join(h.codes) for h, _ in possible if h.complexity <= 1 + _LONGER)
        also = ("float32_arithmetic", *dict.fromkeys(others))
        return Finding(("float32_storage",), {}, 0.0, tau, first, also, _rivals(scored, ()), None)
    if passing:
        best, best_tau = passing[0]
        rivals = [h for h, _ in possible if not set(best.codes) <= set(h.codes) and h.complexity <= best.complexity + _LONGER]
        rivals += [h for h in wide if h.complexity <= best.complexity and h.codes != best.codes]
        if best.codes == ("parameter_not_updated",):  # as a gradient of 0 at any size has it
            rivals = [h for h in rivals if len(h.codes) == 1]
        also = tuple(dict.fromkeys([*(" + ".join(h.codes) for h in rivals), *(["float32_storage"] if stored else [])]))
        words = worded(scene, best.words)
        return Finding(best.codes, words, best_tau, tau, first, also, _rivals(scored, best.codes), best)
    found = _in_float32(seen, asked, tau, first) if seen.dtype == np.float64 and seen.parts is None else None
    found = found or _at_other_sizes(scene, step, tau, first)
    if found is not None:
        return found
    nothing = "these epochs tell too little to name one cause" if possible else "no known cause explains it"
    text = f"{nothing}: {_what_is_known(scene, shares, first)}"
    also = tuple(dict.fromkeys(" + ".join(hypothesis.codes) for hypothesis, _ in possible))
    return Finding(("unknown",), {"variant": text}, tau, tau, first, also, _rivals(scored, ()), None)


def explain_by_rounding(seen: Observation, asked: Recipe, without: Finding) -> Finding | None:
    """Return what explains the steps if the rows are rounded; None: that does not.

    without: what explains them best where nothing is known of the start.
    """
    scene = Scene(seen, asked)
    with np.errstate(all="ignore"):
        scored = scored_by(scene, scene.step, about_rounded_rows(scene))
    best, tau = min(scored, key=_rank, default=(None, np.inf))
    if best is None or tau > LIMIT:
        return None
    also = () if without.codes == best.codes else (" + ".join(without.codes), *without.also)
    return without._replace(
        codes=best.codes, words=worded(scene, best.words), tau=tau, also=tuple(one for one in also if one != "w_rounded"), hypothesis=best
    )


def _all_hypotheses(scene: Scene) -> Iterator[Hypothesis]:
    """Yield every hypothesis about the update."""
    with np.errstate(all="ignore"):
        yield from about_batches(scene)
        yield from () if scene.seen.hides_steps else about_ridge(scene)
        if scene.seen.hides_steps:
            return
        if scene.seen.parts is not None:
            yield from chain(
                about_gradient(scene), about_weights(scene), about_parts(scene), about_rule(scene),
                about_adaptive_rules(scene), about_schedule(scene), about_rounded_rows(scene),
            )  # fmt: skip
            return
        yield from chain(
            about_gradient(scene), about_parts(scene), about_other_data(scene), about_activations(scene), about_broadcasting(scene),
            about_rule(scene),
            about_adaptive_rules(scene), about_samples(scene), about_several_steps(scene), about_schedule(scene), about_rounded_rows(scene),
        )  # fmt: skip


def _at_other_sizes(scene: Scene, asked: Term, tau: float, first: int) -> Finding | None:
    """Return what explains it at a named size of the gradient: the rules, which do not try them."""
    if scene.seen.hides_steps:  # they have been tried
        return None
    for codes, factor in named_factors(scene.seen.size, scene.asked.factor):
        if factor <= 0:
            continue
        other = Scene(scene.seen, replace(scene.asked, factor=factor))
        with np.errstate(all="ignore"):
            scored = scored_by(scene, asked, chain(about_rule(other), about_clipping(other)))
        # A constant that is not short, or two of them, may take the place of the size.
        passing = [(h, share) for h, share in scored if share <= LIMIT and h.constants <= 1 and h.complexity < 4]
        passing = [(h, share) for h, share in passing if not (SIZES | {"lr_scaled"}) & set(h.codes)]
        passing = sorted((pair for pair in passing if is_evidence(other, asked, pair[0])), key=_rank)
        if passing:
            best, best_tau = passing[0]
            also = (" + ".join((*h.codes, *codes)) for h, _ in passing[1:] if h.codes != best.codes)
            words = worded(scene, {"value": factor / scene.asked.factor, **best.words})
            return Finding(
                (*best.codes, *codes), words, best_tau, tau, first, tuple(dict.fromkeys(also)), _rivals(scored, best.codes), best
            )
    return None


def _rank(pair: tuple[Hypothesis, float]) -> tuple[float, int, float]:
    """Return what hypotheses are sorted by: complexity, place in the table of causes, τ."""
    hypothesis, tau = pair
    return hypothesis.complexity, _ORDER[hypothesis.codes[0]], tau


def _rivals(scored: list[tuple[Any, float]], winner: tuple[str, ...]) -> dict[str, float]:
    """Return τ of the other causes, the smallest first."""
    found: dict[str, float] = {}
    for hypothesis, tau in sorted(scored, key=lambda pair: pair[1]):
        name = " + ".join(hypothesis.codes)
        if hypothesis.codes != winner and name not in found and len(found) < _RIVALS:
            found[name] = float(tau)
    return found


def _is_stored_in_float16(seen: Observation) -> bool:
    """Return whether every w is representable in float16, and some are no short numbers."""
    w = seen.w.astype(np.float64)
    with np.errstate(over="ignore"):
        return bool((w == w.astype(np.float16)).all() and np.count_nonzero(64 * w != np.round(64 * w)) > 3)


def _is_stored_in_float32(seen: Observation) -> bool:
    """Return whether every w of a float64 history is representable in float32."""
    w = seen.w.astype(np.float64)
    return seen.dtype == np.float64 and bool((w == w.astype(np.float32)).all())


def _explained_by_storage(seen: Observation, step: Term) -> bool:
    """Return whether rounding every w to the nearest float32 explains the steps."""
    stored = np.abs(seen.w[1:]) * (2.0**-24 * (1 + 2.0**-20)) + 2.0**-150
    return bool((np.abs(seen.moved - step.value) <= LIMIT * (step.error + seen.u * np.abs(seen.w[1:])) + stored).all())


def _in_float32(seen: Observation, asked: Recipe, tau: float, first: int) -> Finding | None:
    """Return what explains a float64 history if the arithmetic was float32; None: nothing."""
    w, stored = seen.w.astype(np.float64), _is_stored_in_float32(seen)
    yardstick = seen.yardstick
    coarse = Observation(
        yardstick.X.astype(np.float64), yardstick.y.astype(np.float64), w, None,
        lr=_whole_rate(seen), dtype="float32", intercept=seen.intercept, factor=asked.factor, held_higher=not stored,
    )  # fmt: skip
    if coarse.n_steps < seen.n_steps:
        return None  # float32 would have overflowed
    found = explain_update(coarse, asked)
    if found.codes == ("unknown",) or not (stored or _gradient_is_float32(seen)):
        return None
    return found._replace(codes=(*found.codes, "float32_arithmetic"), tau_asked=tau, first=first)


def _whole_rate(seen: Observation) -> Any:
    """Return the learning rate of every step, in float64."""
    return seen.lr[:, 0].astype(np.float64) if seen.n_steps else 0.0


def _gradient_is_float32(seen: Observation) -> bool:
    """Return whether every step, or every step divided by lr, is representable in float32."""
    blur = 4 * seen.u * (np.abs(seen.w[:-1]) + np.abs(seen.w[1:]))
    for by in (np.ones_like(seen.lr), seen.lr):
        if (by == 0).any():
            continue
        made, doubt = seen.moved / by, blur / np.abs(by) + 4 * seen.u * np.abs(seen.moved / by)
        away = np.abs(made - made.astype(np.float32).astype(made.dtype))
        telling = doubt < 2.0**-30 * np.abs(made)  # here a float32 value cannot be chance
        if telling.sum() >= 3 and (away <= doubt)[telling].all():
            return True
    return False


def _what_is_known(scene: Scene, shares: Array, first: int) -> str:
    """Return in words what is known of a defect without a name."""
    seen = scene.seen
    wrong = np.flatnonzero(shares > LIMIT)
    step = scene.step
    off = seen.moved - step.value
    t = first - 1
    size = float(np.abs(off[t]).max() / max(float(np.abs(step.value[t]).max()), float(np.finfo(np.float64).tiny)))
    told = [f"the first wrong w is that of epoch {first}, by {size:.2g} of a step"]
    if len(wrong) == 1:
        told.append("all other steps agree")
    elif len(wrong) < seen.n_steps:
        told.append(f"{len(wrong)} of {seen.n_steps} steps are wrong")
    else:
        told.append("every step is wrong")
    if seen.n_parameters > 1:
        right: Array = np.all(seen.shares_by_parameter(step) <= LIMIT, axis=0)
        if right.any():
            agree, others = "agrees" if right.sum() == 1 else "agree", "does not" if (~right).sum() == 1 else "do not"
            told.append(f"{names_of(scene, right)} {agree} in every step, {names_of(scene, ~right)} {others}")
    if seen.n_parameters > 1 and not seen.hides_steps:
        factor, _ = factors_of_steps(scene)
        along = step._replace(value=factor[:, None] * step.value, error=np.abs(factor)[:, None] * step.error)
        is_along = seen.tau(along) <= LIMIT
        told.append("along the gradient" if is_along else "not along the gradient")
        if is_along and len(wrong) > 1:
            shown = [f"{float(k):.4g}" for k in factor[first - 1 :]]
            begins = f" from epoch {first} on" if first > 1 else ""
            told.append(f"times {', '.join(shown[:4])}{', ...' if len(shown) > 4 else ''}{begins}")
    if _looks_like_parts(scene, step):
        parts = "several steps on parts of the samples in each epoch, as of mini-batches in another order"
        told.append(f"it looks like {parts}, or the gradients of parts that add up")
    if seen.plan is not None:
        told.append("the order of the samples, or their weights, may be others than those given")
    if _is_stored_in_float16(seen):
        told.append("every w is a number of float16: it may be kept in it")
    return ", ".join(told)


def _looks_like_parts(scene: Scene, step: Term) -> bool:
    """Return whether the steps are about k times as long as the right one, and about along it.

    k steps on parts of the samples, at the size of the mean, are it but for terms of second order.
    """
    seen = scene.seen
    if seen.parts is not None or not scene.asked.plain or seen.n_parameters < 2 or seen.n < 4:
        return False
    with np.errstate(all="ignore"):
        own, found = (part / np.sqrt((part * part).sum(1, keepdims=True)) for part in (step.value, seen.moved))
        ratio = np.sqrt((seen.moved * seen.moved).sum(1) / (step.value * step.value).sum(1))[:3]
        return bool(((own * found).sum(1)[:3] > 0.9).all() and (ratio > 1.5).all() and (ratio < 1.2 * seen.n).all())


def explain_loss(seen: Observation, update: Hypothesis | None = None) -> Finding:
    """Return what explains the losses of a history, up to the first that is not finite."""
    assert seen.loss is not None
    finite = np.isfinite(seen.loss)
    if not finite.all():
        until = int(np.argmin(finite))
        before = copy.copy(seen)
        before.loss = seen.loss[:until]
        found = explain_loss(before, update)
        return found._replace(
            codes=(*found.codes, "loss_not_finite"), words={**found.words, "epoch": until}, tau_asked=np.inf, first=found.first or until
        )
    scored: list[tuple[LossHypothesis, float]] = []
    for hypothesis in about_loss(seen, update):
        explains = not scored or hypothesis.explains(seen.loss, scored[0][0])
        scored.append((hypothesis, hypothesis.tau(seen.loss) if explains else np.inf))
        if len(scored) == 1 and (scored[0][1] <= LIMIT or not len(seen.loss)):
            return Finding((), {}, scored[0][1], scored[0][1], None, (), {}, hypothesis)
    right, tau = scored[0]
    first = int(np.argmax(right.shares(seen.loss) > LIMIT))
    passing = sorted((pair for pair in scored if pair[1] <= LIMIT), key=lambda pair: pair[0].complexity)
    if not passing:
        return Finding(("unknown",), _unknown_loss(seen, first), tau, tau, first, (), _rivals(scored[1:], ()), None)
    best, best_tau = passing[0]
    also = tuple(dict.fromkeys(" + ".join(h.codes) for h, _ in passing[1:] if h.codes != best.codes))
    return Finding(best.codes, best.words, best_tau, tau, first, also, _rivals(scored[1:], best.codes), best)


def _unknown_loss(seen: Observation, first: int) -> dict[str, Any]:
    """Return in words what is known of a wrong loss without a cause."""
    assert seen.loss is not None
    found, true = float(seen.loss[first]), float(seen.true_loss[first])
    digits = next((k for k in range(9, 17) if f"{found:.{k}g}" != f"{true:.{k}g}"), 17)  # enough to see a difference
    told = f"the loss of epoch {first} is {found:.{digits}g}; that of the recorded w is {true:.{digits}g}"
    return {"variant": f"no known cause explains it: {told}"}
