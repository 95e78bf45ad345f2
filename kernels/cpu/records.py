"""Moments: the records that `compress` makes and the descents read; their bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .moments.compress import CHUNK, MOST_PAIRS
from .moments.curvature import largest_eigenvalues
from .moments.many_targets import ROWS
from .moments.register_tiles import BLOCK, STRIDE
from .moments.stack import W_EXPONENT, W_HIGH, W_LEAST
from .moments.standardize import standardize
from .moments.target_tiles import TARGETS
from .simd.double_double import LOWEST_EXPONENT
from .simd.lanes import LANES, LINE
from .simd.transpose import SIDE

_NO_INDEX, _NOT_DOUBTFUL = np.zeros(0, np.int64), np.zeros(0, bool)


@dataclass(slots=True)
class Moments:
    """Second moments of fits, XᵀX and Xᵀy, packed and scaled (docs/arithmetic.md, 3 and 4).

    n_gram and n_target may differ: fits that share X share the records of its Gram matrix.
    """

    gram: np.ndarray  # (n_gram, planes, D(D+1)/2) float64; planes: 1 for float32 data, 2 (hi, lo) for float64 data
    gram_exponents: np.ndarray  # (n_gram, D+1) int64; the last is not used
    weighing: np.ndarray  # (n_gram, 4) float64: W, W′, k_ω, the least weight
    target: np.ndarray  # (n_target, planes, D+1) float64: Xᵀy and yᵀy
    exponents: np.ndarray  # (n_target, D+1) int64

    @classmethod
    def empty(cls, n_gram: int, n_target: int, n_parameters: int, dtype: np.dtype) -> Moments:
        """Records to be filled, of fits without weights."""
        planes = planes_of(dtype)
        return cls(
            np.empty((n_gram, planes, n_parameters * (n_parameters + 1) // 2)),
            np.empty((n_gram, n_parameters + 1), np.int64),
            no_weighing(n_gram),
            np.empty((n_target, planes, n_parameters + 1)),
            np.empty((n_target, n_parameters + 1), np.int64),
        )

    def of_first(self, count: int) -> Moments:
        """The first `count` records, in the same memory."""
        if count == len(self.gram) == len(self.target):
            return self
        return Moments(*(part[:count] for part in (self.gram, self.gram_exponents, self.weighing, self.target, self.exponents)))

    def set_weight_range(self, spread: np.ndarray) -> None:
        """Enter the least and largest weight of each Gram record before its moments are made."""
        self.weighing[:, W_LEAST] = spread[:, 0]
        if self.gram.shape[1] == 2:  # float64 data
            self.weighing[:, W_EXPONENT] = np.maximum(np.frexp(spread[:, 1])[1] - 1, LOWEST_EXPONENT)

    def finite_gram(self) -> np.ndarray:
        """(n_gram,) bool: whether the features of each record are finite."""
        size = self.gram_exponents.shape[1] - 1
        diagonal = [j * (j + 1) // 2 + j for j in range(size)]
        return np.isfinite(self.gram[:, 0, diagonal]).all(axis=1)

    def finite_target(self) -> np.ndarray:
        """(n_target,) bool: whether y of each record is finite."""
        return np.isfinite(self.target[:, 0, -1])

    def curvature(self, gram_index: np.ndarray, eigenvalues: np.ndarray, of_the_sum: bool) -> np.ndarray:
        """s·λ_max of fits with these records, the largest eigenvalue of the Hessian of their loss.

        docs/arithmetic.md, section 5. eigenvalues (n_gram,): λ_max of each record.
        """
        weighing = self.weighing[gram_index]
        with np.errstate(all="ignore"):  # W is 0 where no sample is used
            scales = np.ldexp(2.0, weighing[:, W_EXPONENT].astype(np.int64)) if of_the_sum else 2.0 / weighing[:, W_HIGH]
            return scales * eigenvalues[gram_index]

    def largest_eigenvalues(self, first: int, stop: int, cancel: np.ndarray) -> np.ndarray:
        """(stop - first,) float64: λ_max of XᵀX of Gram records first … stop-1."""
        result = np.empty(stop - first)
        records = slice(first, stop)
        largest_eigenvalues(self.gram[records], self.gram_exponents[records], self.exponents.shape[1] - 1, result, cancel)
        return result

    def standardize_gram(self, first: int, stop: int, center, scale, constant, doubtful, intercept: bool, cancel) -> None:
        """Make Gram records first … stop-1 those of features (x − center) / scale, in place.

        docs/arithmetic.md, section 12. center, scale (n_gram, d) float64: NaN where they are to be
        made; constant (n_gram, d) and doubtful (n_gram,) bool are filled.
        """
        own = slice(first, stop)
        standardize(
            self.gram[own], self.gram_exponents[own], self.weighing[own], center[own], scale[own], constant[own], doubtful[own],
            self.target[:0], self.exponents[:0], _NO_INDEX, intercept, cancel,
        )  # fmt: skip

    def standardize_target(self, first: int, stop: int, gram_index, center, scale, constant, intercept: bool, cancel) -> None:
        """Make the other records first … stop-1 fit their Gram records, which are standardised."""
        own = slice(first, stop)
        standardize(
            self.gram[:0], self.gram_exponents[:0], self.weighing[:0], center, scale, constant, _NOT_DOUBTFUL,
            self.target[own], self.exponents[own], gram_index[own], intercept, cancel,
        )  # fmt: skip


def planes_of(dtype: np.dtype) -> int:
    """How many float64 a moment of such data is made of."""
    return 1 if dtype == np.float32 else 2


def no_weighing(count: int) -> np.ndarray:
    """(count, 4): rows of `Moments.weighing` of fits without weights, to begin with."""
    weighing = np.zeros((count, 4))
    weighing[:, W_LEAST] = 1.0
    return weighing


def record_bytes(n_parameters: int, dtype: np.dtype, with_gram: bool = True) -> int:
    """Bytes of the moments of one fit; without a Gram matrix where fits share it."""
    gram = n_parameters * (n_parameters + 1) // 2 if with_gram else 0
    return 8 * (planes_of(dtype) * (gram + n_parameters + 1) + 2 * (n_parameters + 1) + 4)


def moments_scratch_bytes(n_samples: int, n_parameters: int, dtype: np.dtype, apart: bool) -> int:
    """Bytes that a thread needs at most to make moments and to descend on them.

    D² dominates where there are many features: the stack of sums of `compress`, the matrices of
    `descend`, the tiles of a block, the lanes of the pairs at hand. apart: also what
    moments/single_feature.py copies of samples that lie apart.
    """
    size, planes = n_parameters, planes_of(dtype)
    levels = (n_samples // CHUNK).bit_length() + 1
    pairs = (size + 1) * (size + 2) // 2
    blocks = 1 if pairs <= MOST_PAIRS else -(-min(n_samples, CHUNK) // BLOCK)
    tiles = blocks * STRIDE * (size + 2) * (1 + planes)
    copies = 2 * SIDE * (min(n_samples, CHUNK) + 2 * LANES) if apart else 0
    return 8 * (pairs * planes * levels + size * size * (planes + 1) + tiles + LANES * planes * min(pairs + 1, MOST_PAIRS + 1) + copies)


def targets_scratch_bytes(n_samples: int, n_parameters: int, dtype: np.dtype) -> int:
    """Bytes that a thread needs at most for the products of many targets with one X."""
    size, planes = n_parameters, planes_of(dtype)
    levels, blocks = (n_samples // CHUNK).bit_length() + 1, -(-min(n_samples, CHUNK) // BLOCK)
    tiles = blocks * STRIDE * (size + 2 + TARGETS + 1) * (1 + planes)
    return 8 * (tiles + TARGETS * planes * ((min(size, ROWS) + 1) * LANES + levels * (size + 1)) + (levels + 4) * (size + TARGETS))


def stream_scratch_bytes(n_samples: int, n_features: int, n_parameters: int, dtype: np.dtype) -> int:
    """Bytes that a thread needs at most to descend on samples: a tile of a chunk, and its sums."""
    rows = min(CHUNK, -(-n_samples // LANES) * LANES) + LINE
    return (rows * (n_features + 2) + LANES * n_parameters) * dtype.itemsize
