"""Validation losses: the loss of a descent of no epochs that begins at each w.

1. Validation data that all fits share are read once, before any task. Those of each pair are read
   by the task whose fits need them, as its training data are.
2. They are computed by the kernels of the CPU, by the reference backends as these compute a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.faults import where_negative, where_not_finite
from ..kernels.chunk import MOMENTS, TOO_FEW_SAMPLES, Chunk
from ..kernels.reference.kept import find_kept
from ..kernels.update_rules import UPDATE_RULES
from ..planning.job import FitJob
from ..planning.stopping import Validation
from .chunks import set_fates
from .groups import Group, given_group
from .moments import NegativeWeightError, NonFiniteDataError, compress_groups, read_group
from .pool import Control, Run

_RULE = UPDATE_RULES["sgd"]
_HYPER = np.array([[float(value) for value in _RULE.hyperparameters.values()]])

Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (k,) places in a chunk, (k, rows, D) w: (k, rows)


class Validator:
    """Computes validation losses for the tasks of a job."""

    def __init__(self, job: FitJob, control: Control, go: Run) -> None:
        assert job.stopping is not None
        self._job, self._control, self._data = job, control, job.stopping.validation
        self._of_reference = self._data.plan.backend.runner == "reference"
        self._shared = self._read(0, 1, go) if self._data.order.n_pairs == 1 else None

    def of_fits(self, first: int, stop: int) -> Losses:
        """What computes the losses of fits first … stop-1."""
        data, job = self._data, self._job
        assert job.stopping is not None
        at_a_time = max(1, job.stopping.block_bytes // (8 * (4 * job.problem.n_parameters + 24)))
        pairs = self._pairs_of(np.arange(first, stop, dtype=np.int64))
        begin = int(pairs.min())
        group = self._shared or self._read(begin, int(pairs.max()) + 1, None)
        pairs = pairs - (0 if self._shared else begin)

        def losses(places: np.ndarray, w: np.ndarray) -> np.ndarray:
            k, rows, size = w.shape
            found = np.empty(k * rows, data.problem.dtype)
            of_row, w = np.repeat(pairs[places], rows), w.reshape(k * rows, size)
            for start in range(0, len(w), at_a_time):
                here = slice(start, start + at_a_time)
                found[here] = self._losses(group, of_row[here], w[here])
            return found.reshape(k, rows)

        return losses

    def _pairs_of(self, fits: np.ndarray) -> np.ndarray:
        """(m,): the number of the validation pair of each fit, in the order of these pairs."""
        order, leading = self._data.order, self._data.problem.leading
        number = self._job.order.index(leading, fits)
        if not order.natural:
            places = np.unravel_index(number, leading)
            number = np.ravel_multi_index([places[axis] for axis in order.axes], tuple(leading[axis] for axis in order.axes))
        return number // order.n_cells

    def _read(self, first: int, stop: int, go: Run | None) -> Group:
        """Validation pairs first … stop-1; go: runs the work in parallel."""
        data = self._data
        problem, order = data.problem, data.order
        try:
            if problem.given is not None:
                return given_group(problem, order, first, stop, own=False)
            if go is not None and data.plan.needs_moments:
                (group,) = compress_groups(problem, order, data.plan, self._control, go)
                return group
            kept = find_kept if self._of_reference else None
            return read_group(
                problem, order, first, stop, self._control, compress=data.plan.needs_moments, contiguous=self._of_reference, find_kept=kept
            )
        except NonFiniteDataError:
            find = where_not_finite
        except NegativeWeightError:
            find = where_negative
        raise ValueError(f"of the validation data: {find(problem, data.limit)}")

    def _losses(self, group: Group, pairs: np.ndarray, w: np.ndarray) -> np.ndarray:
        """(m,): the losses of m pairs at w (m, D); NaN where w is not finite."""
        finite = np.isfinite(w).all(axis=1)
        chunk = _chunk_at(self._data, group, pairs, np.where(finite[:, None], w, 0.0).astype(np.float64))
        set_fates(self._data, chunk, group.invalid[pairs])
        self._evaluate(chunk, group, pairs)
        return np.where(finite & (chunk.status != TOO_FEW_SAMPLES), chunk.loss, np.nan)

    def _evaluate(self, chunk: Chunk, group: Group, pairs: np.ndarray) -> None:
        """Run the descent of no epochs."""
        cancel, counter = self._control.cancel, np.zeros(1, np.int64)
        if not self._of_reference:
            from ..kernels import cpu

            moments = group.moments or cpu.no_records(chunk.w.shape[1], chunk.X.dtype)
            gram_index = pairs if group.gram_index is None else group.gram_index[pairs]
            cpu.descend(chunk, moments, gram_index, pairs, cancel, counter)
            return
        if self._data.plan.backend.algorithms == ("autograd",):
            from ..kernels.reference import torch_autograd

            torch_autograd.descend(chunk, cancel, counter, "cuda" if self._data.plan.backend.name == "torch-cuda" else "cpu")
            return
        from ..kernels.reference import numpy_manual

        numpy_manual.descend(chunk, cancel, counter)


def _chunk_at(data: Validation, group: Group, pairs: np.ndarray, w: np.ndarray) -> Chunk:
    """The chunk of m fits of no epochs that begin at w (m, D)."""
    s, (m, size), dtype = group.samples, w.shape, data.problem.dtype
    samples: dict[str, Any] = {name: getattr(s, name) for name in ("X", "y", "weights", "kept")}
    samples |= {name: getattr(s, name)[pairs] for name in ("x_index", "y_index", "weight_index", "kept_index", "n_used")}
    chunk = Chunk(
        **samples,
        intercept=data.problem.intercept,
        rule=_RULE,
        lr=np.zeros((1, m)),
        hyper=np.broadcast_to(_HYPER, (m, _HYPER.shape[1])),
        epochs=0,
        reduction="mean",
        tol=-1.0,
        every=0,
        w=w,
        slots=np.zeros((m, len(_RULE.slots), size)),
        products=np.ones((m, len(_RULE.products))),
        steps=np.zeros(m, np.int64),
        algorithm=np.full(m, data.plan.algorithm, np.int8),
        status=np.zeros(m, np.int8),
        w_out=np.empty((m, size), dtype),
        loss=np.empty(m, dtype),
        epochs_run=np.empty(m, np.int64),
        history_w=np.empty((m, 0, size), dtype),
        history_loss=np.empty((m, 0), dtype),
    )
    chunk.flat = s.flat
    return chunk


def compiled_parts(data: Validation) -> set[str]:
    """The parts of the CPU kernels that the losses need, as compile_ahead names them."""
    on_moments = data.plan.algorithm == MOMENTS
    looks = data.problem.may_lose_samples or not data.plan.needs_moments
    return {"fit_by_fit"} | ({"moments", "packs"} if on_moments else set()) | ({"find_kept"} if looks else set())
