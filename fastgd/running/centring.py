"""Fits of `ridge` with an intercept: the same fits without one, of centred features and y.

1. The penalty leaves the intercept alone, so at the minimum it is mean(y) − w · mean(x), and w is
   that of (x − mean(x)) and (y − mean(y)) without an intercept, with a penalty on every parameter.
2. The moments of these are A − a aᵀ / Σω, in double-double: the intercept is eliminated. A column
   of which that leaves nothing but rounding is constant: zeros. Where it leaves too little, fits go
   to their samples, which are centred as they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data.double_double import DoubleDouble
from ..data.problem import Problem
from ..kernels.cpu import Moments
from .elimination import MARGIN
from .groups import Group, Standard, select
from .samples import blocks_of, distinct_rows, read_samples, scale_samples, weights_of

MOST_CANCELLED = {1: 2.0**28, 2: 2.0**50}  # Σx² / Σ(x − mean)², by planes: beyond, moments hold too little (standardize.py)


@dataclass
class Centred:
    """A group without its intercept, and what was subtracted."""

    problem: Problem
    group: Group
    mean: np.ndarray  # (pairs, d): of the features, in the units in which they are fitted
    middle: np.ndarray  # (pairs,): of y


def center_group(problem: Problem, group: Group, compressed: bool) -> Centred:
    """Take the intercept out of a group. compressed: its fits are solved from moments, if possible.

    The group stays as it is.
    """
    d, count = problem.n_features, len(group.samples.n_used)
    inner = replace(problem, intercept=False)
    if group.moments is None:
        index, doubtful, read = np.arange(count, dtype=np.int64), np.zeros(count, bool), group
        if group.standard is not None:  # a row for each pair
            samples = scale_samples(group.samples, group.standard.center, group.standard.scale, index, np.dtype(np.float64))
            read = replace(group, samples=samples)
        mean, middle = _means_of_samples(read, problem)
        return Centred(inner, _with_center(group, index, mean, doubtful, middle, None), mean, middle)
    with np.errstate(all="ignore"):  # of invalid fits
        moments, mean, middle, doubtful = _center_moments(group.moments, group.gram_index, d)
    few = np.flatnonzero(group.samples.n_used < problem.n_parameters)  # solved by their samples, as a fit of as few alone
    if len(few) and group.has_samples and group.standard is None:
        of_few = replace(group, samples=select(group.samples, few))
        mean[group.gram_index[few]], middle[few] = _means_of_samples(of_few, problem)
    mean_of_pairs = mean[group.gram_index]
    if not compressed:
        moments = None
    return Centred(inner, _with_center(group, group.gram_index, mean, doubtful, middle, moments), mean_of_pairs, middle)


def _with_center(
    group: Group, index: np.ndarray, mean: np.ndarray, doubtful: np.ndarray, middle: np.ndarray, moments: Moments | None
) -> Group:
    """The group whose samples are read from these means.

    index (pairs,): which row of mean and doubtful each pair has.
    """
    center, scale, apart = mean, np.ones_like(mean), False
    if group.standard is not None:
        own = group.standard
        center, scale = own.center + own.scale * mean, own.scale
        doubtful, apart = doubtful | own.doubtful, own.apart
    standard = Standard(center, scale, doubtful, apart)
    return replace(group, moments=moments, gram_index=index, standard=standard, middle=middle, in_order=False)


def _center_moments(moments: Moments, gram_index: np.ndarray, d: int) -> tuple[Moments, np.ndarray, np.ndarray, np.ndarray]:
    """(moments of d columns, mean (n_gram, d), middle (pairs,), doubtful (n_gram,))."""
    planes = moments.gram.shape[1]
    i, j = np.array([(i, j) for j in range(d) for i in range(j + 1)]).T
    last = d * (d + 1) // 2
    gram, target = _of_planes(moments.gram), _of_planes(moments.target)
    inverse = 1.0 / gram[:, last + d]
    share = gram[:, last : last + d] * inverse[:, None]  # the mean of each scaled column
    centred = gram[:, :last] - share[:, i] * gram[:, last : last + d][:, j]
    squares, before = centred.high[:, i == j], gram.high[:, :last][:, i == j]
    constant = squares <= MARGIN * (d + 1) * (2.0**-104 if planes == 2 else 2.0**-53) * before
    centred[constant[:, i] | constant[:, j]] = 0.0
    doubtful = np.asarray((~constant & (squares * MOST_CANCELLED[planes] < before)).any(axis=1))
    # columns of the two kinds of records may have other exponents
    own, of_y = (moments.gram_exponents, moments.exponents) if planes == 2 else (0 * moments.gram_exponents, 0 * moments.exponents)
    own = own[gram_index]
    ones = target[:, d]
    moved = own[:, :d] - own[:, d : d + 1] - of_y[:, :d] + of_y[:, d : d + 1] if planes == 2 else np.zeros((len(of_y), d), np.int64)
    right = target[:, :d] - _ldexp(share[gram_index], moved) * ones[:, None]
    right[constant[gram_index]] = 0.0
    ratio = _ldexp(inverse[gram_index], 2 * (of_y[:, d] - own[:, d]))
    total = target[:, d + 1] - ones * ones * ratio
    total[total.high < 0.0] = 0.0
    columns = [*range(d), d + 1]
    found = Moments(
        _to_planes(centred, planes),
        np.ascontiguousarray(moments.gram_exponents[:, columns]),
        moments.weighing,
        np.concatenate([_to_planes(right, planes), _to_planes(total[:, None], planes)], axis=2),
        np.ascontiguousarray(moments.exponents[:, columns]),
    )
    powers = moments.gram_exponents if planes == 2 else 0 * moments.gram_exponents
    mean = np.ldexp(share.high, powers[:, :d] - powers[:, d : d + 1])
    middle = np.ldexp((ones * inverse[gram_index]).high, of_y[:, d] + of_y[:, d + 1] - 2 * own[:, d])
    return found, mean, middle, doubtful


def _of_planes(records: np.ndarray) -> DoubleDouble:
    """(m, entries) of records (m, planes, entries)."""
    return DoubleDouble(records[:, 0], records[:, 1] if records.shape[1] == 2 else np.zeros_like(records[:, 0]))


def _to_planes(values: DoubleDouble, planes: int) -> np.ndarray:
    return np.stack([values.high, values.low][:planes], axis=1)


def _ldexp(values: DoubleDouble, powers: np.ndarray) -> DoubleDouble:
    return DoubleDouble(np.ldexp(values.high, powers), np.ldexp(values.low, powers))


def _means_of_samples(group: Group, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """(mean (pairs, d), middle (pairs,)) of a group without moments, fit after fit."""
    samples, d = group.samples, problem.n_features
    keys = (samples.n_used, samples.x_index, samples.weight_index, samples.kept_index, samples.y_index)
    first, place = distinct_rows(np.stack(keys, axis=1))
    mean, middle = np.zeros((len(first), d)), np.zeros(len(first))
    for number in range(len(first)):
        pair = first[number : number + 1]
        if samples.n_used[pair[0]] == 0:
            continue
        blocks = blocks_of(samples, pair, problem.n_parameters)
        read_weights, total, _ = weights_of(samples, pair, blocks)
        for block in blocks:
            share = read_weights(block) / total
            mean[number] += (share[:, None] * read_samples(samples, "X", pair, *block)[0]).sum(axis=0)
            middle[number] += (share * read_samples(samples, "y", pair, *block)[0]).sum()
    return mean[place], middle[place]
