"""Standard errors that do not trust σ²: a second pass over the samples, once w is known.

1. With z_i = (XᵀΩX)⁻¹ x_i and residual r_i the covariance of w is Σ g_i² z_i z_iᵀ, g_i = ω_i r_i:
   White (1980), HC0. HC1 multiplies it by n/(n − rank); HC2 divides g_i² by 1 − h_i, HC3 by its
   square, with the leverage h_i = ω_i x_iᵀ z_i (MacKinnon & White 1985). Weights that are
   frequencies: ω_i samples like this one, so g_i² = ω_i r_i² and h_i = x_iᵀ z_i.
2. Clusters: Σ over clusters of s sᵀ, s = Σ g_i z_i over its samples, times G/(G−1) ·
   (n − 1)/(n − rank) with G clusters (Liang & Zeger 1986; Stata's and statsmodels' factor).
3. With an intercept x_i is taken from the mean of the features: z_i = V (x_i − m) for these, and
   1/Σω − mᵀz_i for the intercept. So columns far from zero cost no digits.
4. Fits are read in stacks of equally many samples, long ones block after block.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..data.double_double import DoubleDouble
from ..kernels.chunk import Samples
from ..kernels.forks import lapack_lock
from ..planning.plan import STACK_NUMBERS
from ..planning.statistics_job import StatisticsJob
from .elimination import invert
from .moments import read_group
from .pool import Control, Run, cut
from .samples import read_samples


def add_sandwiches(job: StatisticsJob, control: Control, go: Run) -> None:
    """Add the facts covariance (*shape, D, D), wald, t_dof of all fits of a job."""
    order, size = job.of.order, job.problem.n_parameters
    facts = {name: np.full((order.n_fits, *last), np.nan) for name, last in (("covariance", (size, size)), ("wald", ()), ("t_dof", ()))}
    pairs = max(1, job.of.plan.fits_per_task // order.n_cells)
    go(cut(order.n_pairs, pairs, partial(_of_pairs, job, facts, control)))
    if not control.cancel[0]:
        job.facts |= {name: order.restore(values) for name, values in facts.items()}


def _of_pairs(job: StatisticsJob, facts: dict[str, np.ndarray], control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: the fits of pairs first … stop-1, in the order of computation of the fits."""
    order, problem = job.of.order, job.problem
    group = read_group(problem, order, first, stop, control, compress=False)
    if control.cancel[0]:
        return
    fits = np.arange(first * order.n_cells, stop * order.n_cells, dtype=np.int64)
    pairs = fits // order.n_cells - first
    lengths = np.where(group.invalid[pairs], 0, group.samples.n_used[pairs])
    for n in np.unique(lengths[lengths > 0]).tolist():
        alike = np.flatnonzero(lengths == n)
        rows = max(min(n, STACK_NUMBERS // problem.n_parameters), job.options.n_clusters)
        step = max(1, STACK_NUMBERS // (rows * problem.n_parameters))
        for begin in range(0, len(alike), step):
            if control.cancel[0]:
                return
            some = alike[begin : begin + step]
            with np.errstate(all="ignore"):
                _of_stack(job, facts, group.samples, pairs[some], fits[some], n)


def _of_stack(job: StatisticsJob, facts: dict[str, np.ndarray], samples: Samples, pairs: np.ndarray, fits: np.ndarray, n: int) -> None:
    """Some fits of n samples each; pairs (m,): their numbers in the samples."""
    order, options, size = job.of.order, job.options, job.problem.n_parameters
    pick = {name: order.pick(job.facts[name], fits) for name in ("rank", "total")}
    inverse, mean, w = order.pick(job.facts["inverse"], fits, 2), order.pick(job.facts["mean"], fits, 1), order.pick(_w(job), fits, 1)
    covariance = np.zeros((len(fits), size, size))
    sums = np.zeros((len(fits), options.n_clusters, size)) if options.clusters is not None else None
    labels = None if options.clusters is None else order.pick(options.clusters, fits, 1)
    step = max(1, STACK_NUMBERS // size)  # whatever the company is: the order of the sums
    for start in range(0, n, step):
        end = min(start + step, n)
        z, g = _scores(job, samples, pairs, (start, end), inverse, mean, w, pick["total"])
        if sums is None:
            scaled = z * g[..., None]
            with lapack_lock():
                covariance += np.matmul(scaled.transpose(0, 2, 1), scaled)
        else:
            places = _places(samples, pairs, start, end)
            np.add.at(sums, (np.arange(len(fits))[:, None], np.take_along_axis(labels, places, axis=1)), z * g[..., None])
    counts = pick["total"] if options.weights_are == "frequency" else np.full(len(fits), float(n))
    t_dof = left = counts - pick["rank"]
    if sums is not None:
        groups = _of_clusters(sums, np.take_along_axis(labels, _places(samples, pairs, 0, n), axis=1), covariance)
        covariance *= (groups / (groups - 1.0) * (counts - 1.0) / left)[:, None, None]
        t_dof = groups - 1.0
    elif options.covariance == "HC1":
        covariance *= (counts / left)[:, None, None]
    covariance[~((left > 0.0) & (t_dof > 0.0))] = np.nan
    facts["covariance"][fits], facts["t_dof"][fits] = covariance, t_dof
    facts["wald"][fits] = _wald(covariance, w, job.problem.n_features)


def _w(job: StatisticsJob) -> np.ndarray:
    assert job.w is not None
    return job.w


def _places(samples: Samples, pairs: np.ndarray, start: int, stop: int) -> np.ndarray:
    """(m, stop − start): which of the caller's samples these are."""
    kept = samples.kept_index[pairs]
    if (kept < 0).all():
        return np.broadcast_to(np.arange(start, stop), (len(pairs), stop - start))
    return np.where(kept[:, None] < 0, np.arange(start, stop), samples.kept[np.maximum(kept, 0), start:stop])


def _scores(
    job: StatisticsJob, samples: Samples, pairs: np.ndarray, block: tuple[int, int], inverse: np.ndarray, mean: np.ndarray, w: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """z (m, b, D) and g (m, b) of the samples of a block, as point 1 above defines them."""
    problem, options, d = job.problem, job.options, job.problem.n_features
    X, y = read_samples(samples, "X", pairs, *block), read_samples(samples, "y", pairs, *block)
    weights = read_samples(samples, "weights", pairs, *block) if len(samples.weights) else np.ones_like(y)
    centred = X - mean[:, None, :d]
    with lapack_lock():
        residual = y - np.matmul(X, w[:, :d, None])[..., 0]
        z = np.matmul(centred, inverse[:, :d, :d])
    leverage = (z * centred).sum(axis=2)
    if problem.intercept:
        residual = residual - w[:, d:]
        of_intercept = 1.0 / total[:, None] - (z * mean[:, None, :d]).sum(axis=2)
        z = np.concatenate([z, of_intercept[..., None]], axis=2)
        leverage = leverage + 1.0 / total[:, None]
    frequency = options.weights_are == "frequency"
    root = np.sqrt(weights) if frequency and options.clusters is None else weights
    left = 1.0 - (leverage if frequency else weights * leverage)
    g = root * residual
    if options.covariance == "HC2":
        g = g / np.sqrt(left)
    elif options.covariance == "HC3":
        g = g / left
    return z, g


def _of_clusters(sums: np.ndarray, labels: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Fill the covariances from the sums of clusters; returns (m,), how many clusters there are."""
    seen = np.zeros(sums.shape[:2], bool)
    np.put_along_axis(seen, labels, True, axis=1)
    with lapack_lock():
        covariance[:] = np.matmul(sums.transpose(0, 2, 1), sums)
    return seen.sum(axis=1).astype(np.float64)


def _wald(covariance: np.ndarray, w: np.ndarray, n_features: int) -> np.ndarray:
    """(m,): F of the hypothesis that all features have w = 0, by this covariance."""
    block = covariance[:, :n_features, :n_features]
    found = invert(DoubleDouble(block.copy(), np.zeros_like(block)), False, False)
    slopes = w[:, :n_features]
    value = ((slopes[:, :, None] * found.inverse).sum(axis=1) * slopes).sum(axis=1) / n_features
    return np.where(found.estimable.all(axis=1), value, np.nan)
