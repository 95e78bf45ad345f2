"""docs/arithmetic.md, section 13, in plain Python: mini-batches. It shares no code with the
kernels; the Philox numbers are made here from the integers of the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.specification import arbiter

_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157  # Salmon et al. 2011, Philox4x64
_WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_MASK = 2**64 - 1


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """The four 64-bit numbers of Philox4x64-10 at a counter."""
    x = [counter >> 64 * k & _MASK for k in range(4)]
    k0, k1 = key
    for _ in range(10):
        first, second = _MULTIPLIERS[0] * x[0], _MULTIPLIERS[1] * x[2]
        x = [second >> 64 ^ x[1] ^ k0, second & _MASK, first >> 64 ^ x[3] ^ k1, first & _MASK]
        k0, k1 = k0 + _WEYL[0] & _MASK, k1 + _WEYL[1] & _MASK
    return x


def order_of(n: int, epoch: int, seed: int) -> list[int]:
    """The samples of a shuffled epoch."""
    numbers = [number for block in range((n + 3) // 4) for number in philox(block + 1, (seed, epoch))]
    return sorted(range(n), key=lambda i: (numbers[i], i))


@dataclass(frozen=True)
class Batches:
    """The options of mini-batches."""

    size: int
    shuffle: bool = True
    seed: int = 0
    drop_last: bool = False
    per_step: bool = False

    def of_epoch(self, n: int, epoch: int) -> list[list[int]]:
        order = order_of(n, epoch, self.seed) if self.shuffle else list(range(n))
        cut = [order[first : first + self.size] for first in range(0, n, self.size)]
        return [batch for batch in cut if len(batch) == self.size] if self.drop_last else cut


@dataclass
class Run:
    """What a fit gave: rows of w (epochs + 1, D) and loss in T; the rest as in arbiter.Run."""

    w: np.ndarray
    loss: np.ndarray
    batch_loss: np.ndarray  # (epochs,) T
    state: arbiter.State
    passes: int
    converged: int | None
    first_bad: int | None


def run(
    X: np.ndarray, y: np.ndarray, batches: Batches, *, w0: Sequence[float], rates: Sequence[float], rule: str, hyper: Mapping[str, Any],
    epochs: int, n_slots: int, n_products: int, reduction: str = "mean", intercept: bool = False, algorithm: str = "auto",
    weights: np.ndarray | None = None, omit: bool = False, tol: float | None = None, state: arbiter.State | None = None, passes: int = 0,
    standardized: bool = False, momenta: Sequence[float] | None = None,
) -> Run:  # fmt: skip
    """One fit. rates: one, or one for each epoch or step of the call; so are momenta. state,
    passes: its start."""
    T = arbiter.format_of(np.asarray(X))
    X, y, weights = arbiter.data_of(X, y, weights, omit, T)
    n = len(y)
    columns, targets = arbiter.columns_of(X, intercept), arbiter.floats(y)
    omega = None if weights is None else arbiter.floats(weights)
    moments = arbiter.compress(X, y, intercept, weights=weights)
    standard = None
    if standardized:
        moments, standard = arbiter.standardize(moments, intercept)
        columns = arbiter.scaled_features(T, columns, standard)
    source = arbiter.choose_algorithm(algorithm, n, X.shape[1], lambda: moments)
    w_limit, loss_limit = arbiter.overflow_limits(moments) if source == "moments" else (-1.0, -1.0)
    if state is None:
        w, steps = [T.round(float(value)) for value in w0], 0
        slots, products, initial = [[0.0] * len(w) for _ in range(n_slots)], [1.0] * n_products, math.nan
        w = w if standard is None else arbiter.scaled_start(w, standard)
    else:
        w, steps, slots = [float(v) for v in state.w], state.steps, [[float(v) for v in slot] for slot in state.slots]
        products, initial = list(state.products), state.initial_excess
    w = [T.round(value) for value in w]
    decay = 0.0 if rule == "adamw" or hyper.get("decoupled_weight_decay") else hyper.get("weight_decay", 0.0)
    kappa = arbiter.penalty_of(moments.total.sigma, decay, reduction)
    least = arbiter.least_value(moments, decay, reduction) if source == "moments" else arbiter.Least()
    rows, losses, of_batches, converged, first_bad, done = [], [], [], None, None, 0
    for t in range(epochs + 1):
        loss = math.nan
        if source == "moments" and arbiter.all_within(w, w_limit):
            loss, _ = arbiter.moments_epoch(moments, w, reduction)
        if not loss <= loss_limit:
            loss, _ = arbiter.stream_epoch(T, columns, targets, w, reduction, omega)
        rows.append(list(w))
        losses.append(T.round(loss))
        if first_bad is None and not all(map(math.isfinite, [*w, losses[-1]])):
            first_bad = t
        F = arbiter.objective(loss, w, kappa)
        initial = F - least.value if t == 0 and initial != initial else initial
        if t > 0 and first_bad is None and arbiter.target_of(least, initial, tol) >= F:
            converged = t
            break
        if t == epochs:
            break
        total, size = 0.0, 0.0
        for batch in batches.of_epoch(n, passes + t):
            own = None if omega is None else [omega[i] for i in batch]
            of_batch, g = arbiter.stream_epoch(T, [[c[i] for i in batch] for c in columns], [targets[i] for i in batch], w, reduction, own)
            W = T.round(float(len(batch))) if own is None else arbiter.plain_sum(own, T.round)
            total, size = total + W * of_batch, size + W
            place = 0 if len(rates) == 1 else done if batches.per_step else t
            rate = rates[place]
            if momenta is not None:
                hyper, products = arbiter.moved(rule, hyper, momenta[place], products, steps)
            w, slots, products, _ = arbiter.RULES[rule](T, w, slots, products, g, steps, rate, hyper)
            steps, done = steps + 1, done + 1
        of_batches.append(T.round(arbiter.divide(total, size)))
    if all(x != x for x in w):
        products = [math.nan] * n_products
    own_rows = rows if standard is None else [arbiter.in_own_units(T, row, standard) for row in rows]
    repeats = epochs + 1 - len(rows)
    return Run(
        w=np.array(own_rows + own_rows[-1:] * repeats, T.name).reshape(epochs + 1, len(w)),
        loss=np.array(losses + losses[-1:] * repeats, T.name),
        batch_loss=np.array(of_batches + [math.nan] * (epochs - len(of_batches)), T.name),
        state=arbiter.State(np.array(w), np.array(slots), steps, source, tuple(products), initial),
        passes=passes + (len(rows) - 1),
        converged=converged,
        first_bad=first_bad,
    )
