"""Hypotheses about the rows themselves: rounded before they are stored, or all one array.

1. A w that is rounded to k decimals is off by 10⁻ᵏ/2, one that is cut off by 10⁻ᵏ to one side. If
   only what is recorded is rounded, the step from a row is off by as much at both of its ends; what
   is off at its beginning passes through I − lr H. These are no bounds of rounding errors but the
   most that there can be, so they are divided by LIMIT.
2. Rows that are all equal, and not the start that was asked for, are references to one array that
   the descent changes in place. Evidence is that they are where the descent ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import LIMIT, Array
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term

__all__ = ["about_rounded_rows", "decimals_of"]

_MOST_DECIMALS = 8


def decimals_of(values: Array) -> int | None:
    """Return how many decimals all of the values have at most; None: more than are looked for.

    None as well where it may be chance. A number whose unit in the last place is s is within 4 s of
    one with k decimals with probability 9 s / 10⁻ᵏ; of all numbers together that is below 1e-8.
    """
    values = np.unique(values[np.isfinite(values)])
    with np.errstate(all="ignore"):
        last = np.spacing(np.abs(values))
        for k in range(_MOST_DECIMALS + 1):
            if (np.abs(values - np.round(values, k)) <= 4 * last).all():
                chance = np.log10(np.minimum(1, 9 * last * 10.0**k)).sum()
                return k if chance < -8 else None
    return None


@lapack
def about_rounded_rows(scene: Scene) -> Iterator[Hypothesis]:
    """Yield the hypothesis that every row of w is rounded to whole numbers or few decimals."""
    seen = scene.seen
    rows = np.asarray(seen.w, seen.dtype)
    if seen.n_steps < 2 or scene.asked.options is None:
        return
    k = decimals_of(rows)
    if k is None:
        return
    unit = 10.0**-k
    asked = scene.step
    what = "whole numbers" if k == 0 else f"{k} decimal{'s' if k > 1 else ''}"

    def loss(seen: Observation) -> tuple[Array, Array]:
        """Return the loss, and what it is off by where it is that of w before it was rounded."""
        m = len(seen.true_loss)
        slope = np.abs(seen.yardstick.measure_all(seen.w[:m]).gradient).sum(1)
        bend = np.abs(seen.yardstick.second_moments()).sum() / seen.n
        return seen.true_loss, seen.loss_error + (slope * (0.5 * unit) + bend * (0.5 * unit) ** 2) / LIMIT

    ways = [(f"rounded to {what}", 2.0, 0.5 * unit)]
    lost = seen.moved - asked.value  # by how much the right next w is larger
    if any((part >= -1e-3 * unit).all() for part in (lost, np.sign(seen.w[1:]) * lost)):
        ways.append((f"cut off to {what}", 2.5, unit))
    if scene.asked.plain:
        H = seen.yardstick.second_moments() * (2 * scene.asked.factor / seen.n)
        passed = np.abs(np.eye(len(H)) - seen.lr[:, :, None] * H).sum(2)  # (T, D)
        ways.append((f"recorded with {what}", 2.75, 0.5 * unit * (1 + passed)))
    for told, complexity, off in ways:
        step = Term(asked.value, asked.error + off / LIMIT)
        yield Hypothesis(("w_rounded",), complexity, step, {"variant": told, "value": k}, loss=loss, sure=True)
