"""The runner of `compress`: the moments of all pairs, in the caller's order."""

from __future__ import annotations

import numpy as np

from ..kernels.cpu import compile_ahead
from ..planning.compress_job import CompressJob
from ..results.moments import Moments
from .long_fits import parts_of_moments
from .moments import compress_groups
from .pool import Control, Run


def run(job: CompressJob, control: Control, go: Run) -> None:
    """Compress the data of a job into `job.moments`."""
    problem, order = job.problem, job.order
    compile_ahead.compile_parts(problem.dtype, parts_of_moments(problem) | ({"find_kept"} if problem.may_lose_samples else set()))
    grams, others, n_grams = [], [], 0
    for group in compress_groups(problem, order, job.plan, control, go):
        if control.cancel[0]:
            return
        # of the records of Gram matrices only those that are used: missing samples made some anew
        numbers, index = np.unique(group.gram_index, return_inverse=True)
        records = group.moments
        grams.append([array[numbers] for array in (records.gram, records.gram_exponents, records.weighing)])
        others.append((index.reshape(-1) + n_grams, records.target, records.exponents, group.samples.n_used, group.invalid))
        n_grams += len(numbers)
        del group, records
    gram, gram_exponents, weighing = (np.concatenate(parts) for parts in zip(*grams, strict=True))
    gram_index, target, exponents, n_used, invalid = (order.restore(np.concatenate(parts)) for parts in zip(*others, strict=True))
    job.moments = Moments(
        gram=gram,
        gram_exponents=gram_exponents,
        weighing=weighing,
        gram_index=gram_index,
        target=target,
        exponents=exponents,
        n_used=n_used,
        invalid=invalid,
        leading=problem.leading,
        n_features=problem.n_features,
        one_feature=problem.one_feature,
        intercept=problem.intercept,
        weighted=problem.weights is not None,
        dtype=str(problem.dtype),
        nan_policy=problem.nan_policy,
    )
