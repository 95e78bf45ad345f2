"""Mini-batches: how the epochs of a call are cut into steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.problem import Problem
from ..input.messages import shown
from ..input.options import MOST, read_choice, read_count, read_seed, read_switch
from ..input.shapes import without_repeats
from ..input.sharing import device_of, fetch
from ..kernels.batch_order import ORDERED, steps_per_epoch
from ..kernels.update_rules import UpdateRule
from ..results.result import State
from .backends import BACKENDS, Backend
from .start import Begin

MOST_SAMPLES = 2**31 - 1  # the places of a shuffled epoch are int32
MOST_RATES = 10**8  # of a schedule that goes on with every step, which is followed to its end before the first epoch
_UNITS = ("epoch", "step")


@dataclass(frozen=True)
class MiniBatches:
    """The options of mini-batches, checked."""

    size: int  # samples of a batch
    shuffle: bool
    drop_last: bool
    per_step: bool  # a schedule goes on with every step, not with every epoch
    seed: np.ndarray  # (…) int64, to be broadcast

    def steps(self, n_samples: int) -> int:
        """How many steps an epoch of a fit of n_samples has."""
        return steps_per_epoch(n_samples, self.size, self.drop_last)

    @property
    def words(self) -> str:
        """The first half of an explanation."""
        return f"mini-batches of {self.size:,}{', shuffled' if self.shuffle else ''}; losses of all samples by"


def read_minibatches(
    problem: Problem, backend: Backend, *, batch_size: Any, shuffle: Any, seed: Any, drop_last: Any, schedule_every: Any
) -> MiniBatches | None:
    """The options of mini-batches; None without a batch_size, where they change nothing."""
    size = None if batch_size is None else read_count(batch_size, "batch_size", 1)
    shuffle, drop_last = read_switch(shuffle, "shuffle"), read_switch(drop_last, "drop_last")
    per_step = read_choice(schedule_every, "schedule_every", _UNITS) == "step"
    seed = read_seed(seed, several=size is not None)
    if size is None:
        return None
    if problem.given is not None:
        raise ValueError("X is Moments, whose samples are gone: batch_size needs X and y")
    if not backend.takes_batches:
        others = ", ".join(row.name for row in BACKENDS.values() if row.takes_batches)
        raise ValueError(f"backend {backend.name!r} does not have mini-batches (batch_size) yet; these backends have them: {others}")
    if drop_last and problem.n_samples < size:
        raise ValueError(
            f"drop_last=True leaves no batch: batch_size is {size:,} and there are {problem.n_samples:,} samples; give a smaller batch_size"
        )
    if problem.n_samples > MOST_SAMPLES:
        raise ValueError(f"mini-batches are of fits with less than 2^31 samples; X has {problem.n_samples:,}")
    return MiniBatches(min(size, MOST), shuffle, drop_last, per_step, seed)


def refuse_with_batches(batches: MiniBatches | None, rule: UpdateRule, rates: np.ndarray | None) -> None:
    """Raise where mini-batches would need what they do not have: a safe rate."""
    if batches is not None and rates is None:
        raise ValueError(
            f"lr is needed with batch_size: the safe rate of {rule.name!r} is that of all samples, and a batch may need a smaller one; "
            "fastgd.stability(X, y) tells that of all"
        )


def rates_per_epoch(batches: MiniBatches | None, n_samples: int) -> int:
    """How many rates a schedule has for an epoch of n_samples."""
    return batches.steps(n_samples) if batches is not None and batches.per_step else 1


def refuse_endless_schedule(count: int, of_an_epoch: int) -> None:
    """Raise where following a schedule for epochs=None, `count` rates, would take minutes."""
    if of_an_epoch > 1 and count >= MOST_RATES:
        raise ValueError(
            f"epochs=None may go on for {count // of_an_epoch:,} epochs of {of_an_epoch:,} steps, and a schedule with "
            "schedule_every='step' is followed through all of them first: give epochs, or schedule_every='epoch'"
        )


def check_state(state: State | None, batches: MiniBatches | None) -> None:
    """Raise where a state is not continued with mini-batches as it was made."""
    if state is None:
        return
    if state.passes is None and batches is not None:
        raise ValueError("state was made without mini-batches: leave batch_size out, or begin anew with w0=result.w")
    if state.passes is not None and batches is None:
        raise ValueError("state was made with mini-batches: give batch_size, as before, or begin anew with w0=result.w")
    if batches is None:
        return
    seed = np.asarray(state.seed) if device_of(state.seed) is None else fetch(state.seed, "state.seed")
    given, own = without_repeats(batches.seed, 0), without_repeats(seed, 0)
    try:
        same = bool((given == own).all())
    except ValueError:
        same = False
    if not same:
        was = shown(int(own.flat[0])) if own.size == 1 else "an array"
        raise ValueError(f"state was made with seed {was}: give the same seed, so that the epochs go on in its order")


def begin_batches(batches: MiniBatches | None, state: State | None) -> Begin:
    """What a fit of mini-batches has besides before its first epoch; nothing for others."""
    if batches is None:
        return {}
    done = np.zeros((), np.int64) if state is None else state.passes
    return {"passes": (done, 0), "seed": (batches.seed, 0)}


def bytes_of_batches(problem: Problem, batches: MiniBatches | None) -> int:
    """Bytes that a thread needs for orders, and for the samples of a batch."""
    if batches is None:
        return 0
    n, rows = problem.n_samples, min(batches.size, problem.n_samples)
    orders = 4 * max(ORDERED, n) + 16 * n + 4 if batches.shuffle else 0  # with random numbers and counts
    return orders + rows * 4 + (rows + 16) * (problem.n_features + 2) * problem.dtype.itemsize  # a line more for each column
