"""Named least-squares problems, each hard in one way, and learning rates for them.

1. The problems have fixed seeds and are in float64, so they do not depend on the machine. They need
   NumPy only.
2. Learning rates are multiples of 1/λ_max; the limit of stability is 2/λ_max. 0.5, 1 and 1.9
   converge (1.9 oscillates), 2.2 diverges. λ_max is the largest eigenvalue of the Hessian s·XᵀX of
   the mean or the sum of the squared residuals, where an intercept is a column of ones in X.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..input.annotations import Reduction
from ..input.float_mode import computes
from ..kernels.forks import lapack
from .nist_strd import nist

__all__ = ["NamedProblem", "problems", "rates"]

Array = NDArray[Any]

RATES = (0.5, 1.0, 1.9, 2.2)  # lr · λ_max


@dataclass(frozen=True, eq=False)
class NamedProblem:
    """A least-squares problem, and a start for gradient descent on it.

    Attributes
    ----------
    name, description : str
        What is hard about the problem, in a word and in a line.
    X : ndarray, shape (n_samples, n_features)
        The features, without a column of ones.
    y : ndarray, shape (n_samples,)
        The targets.
    w0 : ndarray, shape (D,)
        The start; D = n_features, or n_features + 1 with the intercept last.
    intercept : bool, default False
        Whether the model has an intercept.
    dtypes : tuple of str, default ("float32", "float64")
        The dtypes in which the problem is what its name says.
    """

    name: str
    description: str
    X: Array = field(repr=False)
    y: Array = field(repr=False)
    w0: Array = field(repr=False)
    intercept: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features, the intercept not counted."""
        return int(self.X.shape[1])

    @computes
    def astype(self, dtype: DTypeLike) -> NamedProblem:
        """Return the problem with X, y and w0 rounded to `dtype`."""
        return replace(self, X=self.X.astype(dtype), y=self.y.astype(dtype), w0=self.w0.astype(dtype))

    @computes
    @lapack
    def lambda_max(self, reduction: Reduction = "mean") -> float:
        """Return the largest eigenvalue of the Hessian s·XᵀX, from singular values in float64.

        s is 2/n_samples for the reduction "mean" and 2 for "sum".
        """
        design = self.X.astype(np.float64)
        if self.intercept:
            design = np.column_stack([design, np.ones(self.n_samples)])
        exponent = int(np.frexp(np.abs(design).max())[1])
        largest = float(np.linalg.svd(np.ldexp(design, -exponent), compute_uv=False)[0])
        scale = 2.0 if reduction == "sum" else 2.0 / self.n_samples
        return float(np.ldexp(scale * largest * largest, 2 * exponent))

    def lr_limit(self, reduction: Reduction = "mean") -> float:
        """Return the limit of stability 2/λ_max; larger rates diverge. It is inf for λ_max = 0."""
        largest = self.lambda_max(reduction)
        return 2.0 / largest if largest else np.inf


@computes
def rates(problem: NamedProblem, reduction: Reduction = "mean") -> dict[float, float]:
    """Return learning rates at 0.5, 1, 1.9 and 2.2 times 1/λ_max; the last one diverges.

    They are 0.25, 0.5, 0.95 and 1.1 times the limit of stability 2/λ_max: two are safe, one
    oscillates, one is unstable.

    Parameters
    ----------
    problem : NamedProblem
        The problem, in the dtype it will be fitted in.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum.

    Returns
    -------
    dict of float to float
        {lr·λ_max: lr}. Each lr is representable in the problem's dtype, so all programs use the
        same number. Where λ_max is 0 (X is all zeros) every rate is stable, and lr is the multiple.

    Examples
    --------
    >>> tutorial = problems()[0]
    >>> {multiple: round(lr, 4) for multiple, lr in rates(tutorial).items()}
    {0.5: 0.0333, 1.0: 0.0667, 1.9: 0.1267, 2.2: 0.1467}
    """
    unit = problem.lr_limit(reduction) / 2
    if not np.isfinite(unit):
        unit = 1.0
    return {multiple: float(problem.X.dtype.type(multiple * unit)) for multiple in RATES}


@computes
def problems(full: bool = False) -> list[NamedProblem]:
    """Return the named set of problems on which every backend is tested against the error bound.

    Each is hard in one way: noise and no noise, offsets of 1e6, condition 1e7, rows of mixed
    magnitude, one sample, fewer samples than features, 1 to 33 features, numbers of samples around
    multiples of 32 and of 4,096, zero and constant columns, subnormal and huge values, an
    intercept, a far start, the NIST sets.

    Parameters
    ----------
    full : bool, default False
        Whether all numbers of features and samples are in the set, not only some of them.

    Returns
    -------
    list of NamedProblem
        The problems in float64, new arrays at every call, always of the same values.
        `problem.dtypes` names the dtypes that suit a problem; `problem.astype` converts it.

    Examples
    --------
    >>> [problem.name for problem in problems()][:3]
    ['tutorial', 'noisy', 'noise_free']
    """
    return [*_one_difficulty_each(), *_degenerate(), *_sizes(full), *_extreme_exponents(), *_nist_problems()]


@lapack
def _noisy(name: str, description: str, seed: int, n: int, d: int, intercept: bool = False) -> NamedProblem:
    """Return a problem of standard normal features and coefficients, with noise of size 0.5."""
    rng = np.random.default_rng(seed)
    X, w_true = rng.standard_normal((n, d)), rng.standard_normal(d)
    y = X @ w_true + 0.5 * rng.standard_normal(n) + (3.0 if intercept else 0.0)
    return NamedProblem(name, description, X, y, np.zeros(d + intercept), intercept)


@lapack
def _one_difficulty_each() -> Iterator[NamedProblem]:
    """Yield problems with one ordinary difficulty each."""
    x = np.array([1.0, 2.0, 3.0, 4.0])
    yield NamedProblem("tutorial", "y = 2x with x = 1, 2, 3, 4", x[:, None], 2 * x, np.zeros(1))

    noisy = _noisy("noisy", "100 samples, 3 features, noise", 1, 100, 3)
    yield noisy

    rng = np.random.default_rng(2)
    X = rng.integers(-8, 9, (80, 3)).astype(np.float64)
    yield NamedProblem("noise_free", "y = Xw exactly, in float32 too: the loss tends to 0", X, X @ np.array([0.5, -1.25, 2.0]), np.zeros(3))

    for intercept in (False, True):
        name = "offset_1e6_intercept" if intercept else "offset_1e6"
        plain = _noisy(name, "every feature and y are 1e6 plus values of size 1", 3, 100, 2, intercept)
        yield replace(plain, X=plain.X + 1e6, y=plain.y + 1e6)

    rng = np.random.default_rng(4)
    left, right = np.linalg.qr(rng.standard_normal((60, 5)))[0], np.linalg.qr(rng.standard_normal((5, 5)))[0]
    X = left * np.logspace(0, -7, 5) @ right.T
    y = X @ rng.standard_normal(5) + 1e-3 * rng.standard_normal(60)
    yield NamedProblem("condition_1e7", "singular values from 1 to 1e-7", X, y, np.zeros(5))

    unit = np.where(np.arange(100) % 3 == 0, 1e7, 1.0)
    rows = "one sample in three is in units of 1e7"
    yield replace(noisy, name="mixed_rows", description=rows, X=noisy.X * unit[:, None], y=noisy.y * unit)
    unit = np.array([1e-6, 1.0, 1e6])
    yield replace(noisy, name="mixed_columns", description="features in units of 1e-6, 1 and 1e6", X=noisy.X * unit)

    yield _noisy("intercept", "50 samples, 2 features, an intercept", 5, 50, 2, intercept=True)
    far = np.array([1e3, -1e3, 1e-3])
    yield replace(noisy, name="far_start", description="the descent starts a thousand away from the solution", w0=far)


def _degenerate() -> Iterator[NamedProblem]:
    """Yield problems with few samples, constant columns or a deficient rank."""
    for n, d, intercept in ((1, 1, False), (1, 3, False), (1, 1, True), (2, 1, True), (5, 9, False), (8, 4, False), (9, 4, False)):
        name = f"n_{n}_d_{d}" + ("_intercept" if intercept else "")
        yield _noisy(name, f"{n} samples for {d + intercept} parameters", 100 + 10 * n + d, n, d, intercept)

    noisy = _noisy("", "", 6, 45, 3)
    X = noisy.X.copy()
    X[:, 1] = 0.0
    yield replace(noisy, name="zero_column", description="a feature that is always 0", X=X)
    start = np.array([1.0, 0.5, -2.0])
    yield replace(noisy, name="zero_X", description="every feature is always 0: the Hessian is 0", X=np.zeros_like(X), w0=start)
    yield replace(noisy, name="zero_y", description="every target is 0, the start is not", y=np.zeros(45), w0=start)
    X = noisy.X.copy()
    X[:, 1] = 7.5
    yield replace(noisy, name="constant_column", description="a feature that is always 7.5", X=X)
    collinear = "a constant feature beside an intercept: rank deficient"
    yield replace(noisy, name="constant_column_intercept", description=collinear, X=X, w0=np.zeros(4), intercept=True)
    yield replace(noisy, name="constant_y", description="every target is the same", y=np.full(45, 0.1), w0=np.zeros(4), intercept=True)
    X = noisy.X.copy()
    X[:, 2] = X[:, 0]
    yield replace(noisy, name="equal_columns", description="two features are equal: rank deficient", X=X)


def _sizes(full: bool) -> Iterator[NamedProblem]:
    """Yield problems of many numbers of features and samples."""
    for d in range(1, 34) if full else (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32, 33):
        yield _noisy(f"d_{d}", f"{3 * d + 10} samples, {d} features", 1000 + d, 3 * d + 10, d)
    around_32 = [32 * k + offset for k in range(1, 9) for offset in (-1, 0, 1)] if full else [31, 32, 33, 63, 65, 127, 129]
    around_4096 = [4096 * k + offset for k in range(1, 6) for offset in (-1, 0, 1)] if full else [4095, 4096, 4097, 8193]
    for n in around_32 + around_4096:
        yield _noisy(f"n_{n}", f"{n} samples, 2 features", 2000 + n, n, 2)
    yield _noisy("n_12289_intercept", "three chunks of 4,096 samples and one sample more, an intercept", 2, 12289, 1, intercept=True)


def _extreme_exponents() -> Iterator[NamedProblem]:
    """Yield problems with subnormal and huge values."""
    base, long, small = _noisy("", "", 7, 40, 2), _noisy("", "", 8, 4097, 1), _noisy("", "", 9, 7, 2)
    # At these sizes 10 of the 24 bits of float32, or of the 53 of float64, remain.
    for dtype, unit in (("float32", 2.0**-140), ("float64", np.ldexp(1.0, -1064))):
        X = base.X.copy()
        X[:, 1] *= unit
        name, only = f"subnormal_{dtype}", (dtype,)
        yield replace(base, name=f"{name}_y", description="subnormal targets", y=base.y * unit, dtypes=only)
        yield replace(base, name=f"{name}_x", description="a subnormal feature beside a normal one", X=X, dtypes=only)
        yield replace(long, name=f"{name}_long", description="4,097 subnormal targets", y=long.y * unit, dtypes=only)
    for of_x, of_y in ((1e150, 1e150), (1e-150, 1e-150), (1e150, 1e-150), (1e-150, 1e150)):
        name, description = f"x_{of_x:.0e}_y_{of_y:.0e}", f"X of {of_x:g}, y of {of_y:g}"
        yield replace(small, name=name, description=description, X=small.X * of_x / 8, y=small.y * of_y / 8, dtypes=("float64",))
    mixed = small.X * np.array([1e150, 1e-150]) / 8
    yield replace(small, name="x_1e+150_beside_1e-150", description="features of 1e150 and 1e-150", X=mixed, dtypes=("float64",))


def _nist_problems() -> Iterator[NamedProblem]:
    """Yield the NIST sets as problems."""
    for regression in nist():
        w0 = np.zeros(len(regression.beta))
        description = f"NIST StRD, {regression.level} level of difficulty"
        yield NamedProblem(f"nist_{regression.name}", description, regression.X, regression.y, w0, regression.intercept)
