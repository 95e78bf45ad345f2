"""The CPU backend: Numba kernels. This module allocates, launches and returns; the arithmetic is in its neighbours.

Importing it imports Numba: `fastgd` does so when the first fit runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..chunk import MOMENTS, Chunk
from ..update_rules import UPDATE_RULES
from .curvature import largest_eigenvalues
from .descent import descend as _descend
from .moments import RANGE, compress, join
from .solving import solve

_prepared: set[tuple[str, np.dtype]] = set()


@dataclass(slots=True)
class Moments:
    """Second moments of fits. packing and scaling: moments.py, docs/arithmetic.md sections 3 and 4."""

    gram: np.ndarray  # (n_gram, planes, D(D+1)/2) float64; planes: 1 for float32 data, 2 (hi, lo) for float64 data
    gram_exponents: np.ndarray  # (n_gram, D+1) int64; the last is not used
    target: np.ndarray  # (n_target, planes, D+1) float64: XᵀY and yᵀy
    exponents: np.ndarray  # (n_target, D+1) int64

    @classmethod
    def empty(cls, n_gram: int, n_target: int, n_parameters: int, dtype: np.dtype) -> Moments:
        """Room for so many records."""
        planes = 1 if dtype == np.float32 else 2
        return cls(
            np.empty((n_gram, planes, n_parameters * (n_parameters + 1) // 2)),
            np.empty((n_gram, n_parameters + 1), np.int64),
            np.empty((n_target, planes, n_parameters + 1)),
            np.empty((n_target, n_parameters + 1), np.int64),
        )

    def finite_gram(self) -> np.ndarray:
        """(n_gram,) bool: whether the features of each record are finite."""
        size = self.exponents.shape[1] - 1
        diagonal = [j * (j + 1) // 2 + j for j in range(size)]
        return np.isfinite(self.gram[:, 0, diagonal]).all(axis=1)

    def finite_target(self) -> np.ndarray:
        """(n_target,) bool: whether y of each record is finite."""
        return np.isfinite(self.target[:, 0, -1])

    def largest_eigenvalues(self, first: int, stop: int, cancel: np.ndarray) -> np.ndarray:
        """(stop - first,) float64: λ_max of XᵀX of Gram records first … stop-1."""
        result = np.empty(stop - first)
        records = slice(first, stop)
        largest_eigenvalues(self.gram[records], self.gram_exponents[records], self.exponents.shape[1] - 1, result, cancel)
        return result


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that says so: the kernels are compiled once, for read-only inputs."""
    view = array.view()
    view.flags.writeable = False
    return view


def compress_fits(X, y, x_index, y_index, intercept, moments: Moments, cancel) -> None:
    """Moments of whole fits, each with its own X and y, into the first records."""
    starts, stops = np.zeros(len(x_index), np.int64), np.full(len(x_index), X.shape[1], np.int64)
    compress(X, y, x_index, y_index, starts, stops, intercept, moments.gram, moments.target, moments.exponents, cancel)
    moments.gram_exponents[:] = moments.exponents


def compress_range(X, y, x_index, y_index, start, stop, intercept, gram, target, exponents, cancel) -> None:
    """Moments of ranges of samples, each a power of two times RANGE long: see moments.py.

    A range starts at a multiple of its length. Pass a `gram` or a `target` of length 0 to leave it out.
    """
    compress(X, y, x_index, y_index, start, stop, intercept, gram, target, exponents, cancel)


def descend(chunk: Chunk, moments: Moments, gram_index: np.ndarray, target_index: np.ndarray, cancel, progress) -> None:
    """All epochs of a chunk. gram_index, target_index (m,) int64: the records of each fit, not read where its algorithm is STREAM."""
    _descend(
        chunk.X, chunk.y, chunk.x_index, chunk.y_index, chunk.intercept, chunk.reduction == "sum", chunk.rule.code, chunk.lr, chunk.hyper,
        chunk.epochs, chunk.tol, chunk.every, moments.gram, gram_index, moments.target, target_index, moments.exponents,
        chunk.w, chunk.slots, chunk.products, chunk.steps, chunk.algorithm, chunk.status,
        chunk.w_out, chunk.loss, chunk.epochs_run, chunk.history_w, chunk.history_loss, cancel, progress,
    )  # fmt: skip


def prepare(dtype: np.dtype) -> None:
    """Load the kernels for a dtype from the disk cache, or compile them: once per process, by running one sample."""
    if ("descend", dtype) in _prepared:
        return
    X, y, moments, cancel, counter = _compress_one(dtype)
    one, m = np.zeros(1, np.int64), np.ones((1, 1))
    moments.largest_eigenvalues(0, 1, cancel)
    rule = UPDATE_RULES["sgd"]
    chunk = Chunk(
        X, y, one, one, False, rule, m, np.zeros((1, len(rule.hyperparameters))), 1, "mean", -1.0, 1,
        np.zeros((1, 1)), np.zeros((1, len(rule.slots), 1)), np.ones((1, 0)), one.copy(),
        np.full(1, MOMENTS, np.int8), np.zeros(1, np.int8),
        np.empty((1, 1), dtype), np.empty(1, dtype), one.copy(), np.empty((1, 2, 1), dtype), np.empty((1, 2), dtype),
    )  # fmt: skip
    descend(chunk, moments, one, one, cancel, counter)
    _prepared.add(("descend", dtype))


def prepare_solve(dtype: np.dtype) -> None:
    """The same for `solve`."""
    if ("solve", dtype) in _prepared:
        return
    _, _, moments, cancel, counter = _compress_one(dtype)
    one, m = np.zeros(1, np.int64), np.zeros(1)
    code = np.zeros(1, np.int8)
    solve(
        moments.gram, moments.gram_exponents, one, moments.target, moments.exponents, one, m, one, 1, False,
        m[:, None], m, m, code, cancel, counter,
    )  # fmt: skip
    _prepared.add(("solve", dtype))


def _compress_one(dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, Moments, np.ndarray, np.ndarray]:
    """The moments of one sample, X, y = 1: (X, y, moments, cancel, counter)."""
    one = np.zeros(1, np.int64)
    X, y = read_only(np.ones((1, 1, 1), dtype)), read_only(np.ones((1, 1), dtype))
    moments, cancel, counter = Moments.empty(1, 1, 1, dtype), np.zeros(1, np.int32), np.zeros(1, np.int64)
    compress_fits(X, y, one, one, False, moments, cancel)
    join(moments.gram, moments.target, moments.exponents)
    return X, y, moments, cancel, counter


__all__ = ["RANGE", "Moments", "compress_fits", "compress_range", "descend", "join", "prepare", "prepare_solve", "read_only", "solve"]
