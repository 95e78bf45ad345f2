"""Standardised fits: the step between `compress` and the descent, and the way back.

1. A fit of `standardize=True` descends on the features (x − center) / scale. Its moments become
   those of these features (kernels/cpu/moments/standardize.py), once for each Gram record, so data
   that are shared stay shared; where samples are read, they are scaled as they are read.
2. The start is given, and results are reported, in the caller's units (docs/arithmetic.md, section
   12). What is converted are the rounded numbers of every row, so the w of a fit is the row of a
   longer one. The state stays as it is, and carries center and scale.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.chunk import COMPLETED, CONVERGED, DIVERGED, STANDARD, STREAM, Chunk
from ..planning.job import FitJob, ResultJob
from ..planning.plan import PIECE_NS
from .groups import Group, Standard
from .pool import Control, Run, cut

RECORD_NS = 5  # rough time to standardise a record, for each of its moments [ns]


def standardize_group(job: ResultJob, group: Group, control: Control, go: Run) -> None:
    """Standardise the moments of a group, in place.

    Center and scale are made from the moments, or are those of the state that is continued.
    """
    moments, gram_index, center, scale = _begin(job, group)
    in_other_groups = job.plan.staged and math.prod(job.problem.gram_leading) < job.order.n_pairs > job.plan.pairs_per_group
    if in_other_groups and moments.gram is group.moments.gram:
        moments = replace(moments, gram=moments.gram.copy(), gram_exponents=moments.gram_exponents.copy())
    doubtful = standardize_moments(job, moments, gram_index, center, scale, control, go)
    group.standard = Standard(center, scale, doubtful, apart=gram_index is not group.gram_index)
    group.moments, group.gram_index = moments, gram_index
    if not group.has_samples and doubtful.any():  # nothing else holds the scaled features
        lost = doubtful[gram_index]
        group.invalid |= lost
        moments.gram[doubtful], moments.target[lost] = np.nan, np.nan


def standardize_moments(
    job: ResultJob, moments: Any, gram_index: np.ndarray, center: np.ndarray, scale: np.ndarray, control: Control, go: Run
) -> np.ndarray:
    """Standardise moments in place; returns (n_gram,) bool, whether a Gram record is doubtful.

    gram_index: the Gram record of each other record. center, scale (n_gram, d): made where NaN.
    """
    intercept, cancel = job.problem.intercept, control.cancel
    constant, doubtful = np.zeros(center.shape, bool), np.zeros(len(center), bool)

    def of_grams(first: int, stop: int, counter: np.ndarray) -> None:
        moments.standardize_gram(first, stop, center, scale, constant, doubtful, intercept, cancel)

    def of_targets(first: int, stop: int, counter: np.ndarray) -> None:
        moments.standardize_target(first, stop, gram_index, center, scale, constant, intercept, cancel)

    per_task = max(1, int(PIECE_NS / (RECORD_NS * job.problem.n_parameters**2 + 50)))
    go(cut(len(moments.gram), per_task, of_grams))
    go(cut(len(moments.target), per_task, of_targets))
    return doubtful


def _begin(job: ResultJob, group: Group) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """(moments, gram_index, center, scale) of a group; center and scale are NaN unless given."""
    moments, gram_index = group.moments, group.gram_index
    state = job.state if isinstance(job, FitJob) else None
    if state is None:
        return moments, gram_index, *np.full((2, len(moments.gram), job.problem.n_features), np.nan)
    fits = (group.first + np.arange(len(gram_index), dtype=np.int64)) * job.order.n_cells
    given = [job.order.pick(values, fits, 1) for values in (getattr(state, name) for name in STANDARD)]
    pair_of_gram = np.zeros(len(moments.gram), np.int64)
    pair_of_gram[gram_index] = np.arange(len(gram_index))
    of_grams = [values[pair_of_gram] for values in given]
    if all(np.array_equal(own[gram_index], values, equal_nan=True) for own, values in zip(of_grams, given, strict=True)):
        return moments, gram_index, *of_grams
    # pairs that share a Gram record were fitted on other data before: each gets a record of its own
    own_records = {name: getattr(moments, name)[gram_index] for name in ("gram", "gram_exponents", "weighing")}
    return replace(moments, **own_records), np.arange(len(gram_index), dtype=np.int64), *given


def enter_standard(job: FitJob, chunk: Chunk, standard: Standard, gram_index: np.ndarray) -> None:
    """Write center, scale and the scaled start of a chunk; doubtful fits go to their samples."""
    chunk.center[:], chunk.scale[:] = standard.center[gram_index], standard.scale[gram_index]
    if STREAM in job.plan.backend.codes and job.problem.given is None:
        chunk.algorithm[standard.doubtful[gram_index]] = STREAM
    if job.state is None:
        scale_start(chunk)


def scale_start(chunk: Chunk) -> None:
    """Turn a start in the caller's units into that of the scaled features, in place."""
    w, center, scale = chunk.w, chunk.center, chunk.scale
    d = center.shape[1]
    with np.errstate(all="ignore"):
        for j in range(d):
            if chunk.intercept:
                w[:, d] += w[:, j] * center[:, j]
            w[:, j] *= scale[:, j]


def unscale_results(chunk: Chunk, cancel: np.ndarray) -> None:
    """Turn w and the history into the caller's units, in place.

    A fit whose w is not a finite number in these units counts as diverged.
    """
    from ..kernels import cpu

    for values in (chunk.w_out[:, None], chunk.history_w):
        cpu.unscale(values, chunk.center, chunk.scale, chunk.intercept, values, cancel)
    lost = ~np.isfinite(chunk.w_out).all(axis=1)
    chunk.status[lost & ((chunk.status == COMPLETED) | (chunk.status == CONVERGED))] = DIVERGED
