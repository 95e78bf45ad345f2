"""The named problems have the properties that their names promise."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from fastgd.testing import NamedProblem, problems, rates
from tests.support.paths import ROOT

STRD = json.loads((ROOT / "fastgd" / "testing" / "nist_strd.json").read_text("utf-8"))["datasets"]
EVERY, SHARE = ({problem.name: problem for problem in problems(full)} for full in (True, False))


def test_the_default_set_is_a_share_of_the_full_one():
    assert len(EVERY) == len(problems(full=True))  # no name twice
    assert SHARE.keys() < EVERY.keys()
    for name, problem in SHARE.items():
        again = EVERY[name]
        assert np.array_equal(problem.X, again.X)  # made twice, the same bits
        assert np.array_equal(problem.y, again.y)
        assert np.array_equal(problem.w0, again.w0)


@pytest.mark.parametrize("name", EVERY)
def test_every_problem_is_well_formed(name):
    problem = EVERY[name]
    assert problem.description
    assert problem.X.shape == (problem.n_samples, problem.n_features)
    assert problem.y.shape == (problem.n_samples,)
    assert problem.w0.shape == (problem.n_features + problem.intercept,)
    assert set(problem.dtypes) <= {"float32", "float64"}
    for dtype in problem.dtypes:
        data = problem.astype(dtype)
        assert {data.X.dtype, data.y.dtype, data.w0.dtype} == {np.dtype(dtype)}
        assert (data.name, data.intercept) == (name, problem.intercept)
        assert all(np.isfinite(array).all() for array in (data.X, data.y, data.w0))
        assert name == "zero_X" or data.X.any()
        assert name == "zero_y" or data.y.any()
        for reduction in ("mean", "sum"):
            assert all(0 < lr < np.inf and float(np.dtype(dtype).type(lr)) == lr for lr in rates(data, reduction).values())


def test_the_set_has_every_size_that_was_asked_for():
    sizes = {(problem.n_samples, problem.n_features) for problem in SHARE.values()}
    samples, features = ({size[i] for size in sizes} for i in (0, 1))
    assert {1, 31, 32, 33, 63, 65, 4095, 4096, 4097, 8193} <= samples
    assert {1, 2, 3, 8, 16, 17, 32, 33} <= features
    assert {problem.n_features for name, problem in EVERY.items() if name.startswith("d_")} == set(range(1, 34))
    assert {(1, 1), (1, 3), (5, 9), (8, 4), (9, 4)} <= sizes  # one sample, fewer than features, on both sides of n = 2d
    assert sum(problem.intercept for problem in SHARE.values()) >= 10
    assert {f"nist_{name}" for name in STRD} <= SHARE.keys()


def ranks(problem: NamedProblem) -> tuple[int, int]:
    """Return the rank over the rationals of the design (the ones of an intercept included), and its
    number of columns."""
    ones = [Fraction(1)] * problem.intercept
    rows = [[Fraction(float(x)) for x in row] + ones for row in problem.X]
    width, rank = len(rows[0]), 0
    for column in range(width):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is not None:
            rows[rank], rows[pivot] = rows[pivot], rows[rank]
            rows[rank + 1 :] = [
                [a - row[column] / rows[rank][column] * b for a, b in zip(row, rows[rank], strict=True)] for row in rows[rank + 1 :]
            ]
            rank += 1
    return rank, width


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        *(("noisy", 0), ("condition_1e7", 0), ("constant_column", 0), ("n_9_d_4", 0), ("nist_longley", 0)),
        *(("zero_column", 1), ("equal_columns", 1), ("constant_column_intercept", 1), ("zero_X", 3)),
        *(("n_1_d_3", 2), ("n_5_d_9", 4), ("n_1_d_1_intercept", 1)),
    ],
)
def test_ranks(name, missing):
    problem = SHARE[name]
    if problem.n_samples > 30 and missing == 0:  # full rank shows in few rows
        problem = NamedProblem(name, "", problem.X[:30], problem.y[:30], problem.w0, problem.intercept)
    rank, width = ranks(problem)
    assert width - rank == missing


def test_the_names_keep_their_promises():
    assert SHARE["tutorial"].X.ravel().tolist() == [1, 2, 3, 4]
    assert SHARE["tutorial"].y.tolist() == [2, 4, 6, 8]

    for dtype in ("float32", "float64"):
        free = SHARE["noise_free"].astype(dtype)
        assert np.array_equal(free.y, free.X.astype(float) @ [0.5, -1.25, 2.0])  # quarters of small integers: nothing is rounded
        assert np.array_equal(4 * free.y, np.rint(4 * free.y))

    for name in ("offset_1e6", "offset_1e6_intercept"):
        assert np.abs(np.append(SHARE[name].X.mean(0), SHARE[name].y.mean()) - 1e6).max() < 5
        assert 0.5 < SHARE[name].X.std(0).min() <= SHARE[name].X.std(0).max() < 2

    spread = np.linalg.svd(SHARE["condition_1e7"].X, compute_uv=False)
    assert 0.99e7 < spread[0] / spread[-1] < 1.01e7
    rows = np.abs(SHARE["mixed_rows"].X).max(1)
    assert np.median(rows[::3]) > 1e6 * np.median(rows[1::3])
    columns = np.abs(SHARE["mixed_columns"].X).max(0)
    assert columns[2] > 1e11 * columns[0]
    assert np.linalg.norm(SHARE["far_start"].w0) > 1e3

    assert not SHARE["zero_column"].X[:, 1].any()
    assert set(SHARE["constant_column"].X[:, 1]) == {7.5}
    assert len(set(SHARE["constant_y"].y)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_problems_are_subnormal_in_their_dtype(dtype):
    normal = np.finfo(dtype).smallest_normal
    seen = 0
    for name, problem in SHARE.items():
        if name.startswith(f"subnormal_{dtype}"):
            data = problem.astype(dtype)
            values = np.abs(data.X[:, 1] if name.endswith("_x") else data.y)
            assert problem.dtypes == (dtype,)
            assert values.max() < normal
            assert np.count_nonzero(values) > 0.9 * len(values)
            assert len(np.unique(values)) > 30
            seen += 1
    assert seen == 3


def test_extreme_problems_are_extreme():
    sizes = {name: (np.abs(problem.X).max(), np.abs(problem.y).max()) for name, problem in SHARE.items() if name.startswith("x_1e")}
    assert len(sizes) == 5
    for name, (of_x, of_y) in sizes.items():
        assert SHARE[name].dtypes == ("float64",)
        assert name == "x_1e+150_beside_1e-150" or {abs(np.log10(of_x)) > 148, abs(np.log10(of_y)) > 148} == {True}
    columns = np.abs(SHARE["x_1e+150_beside_1e-150"].X).max(0)
    assert columns[0] > 1e149
    assert columns[1] < 1e-149


U = 2.0**-53
SQUARED = (2 * 30 + 1) * U  # times n: LAPACK's own tests accept a singular value that is wrong by 30 n u; squared, and two more roundings


def test_learning_rates_are_multiples_of_one_over_lambda_max():
    tutorial = SHARE["tutorial"]  # XᵀX = 30: λ = 15 for the mean, 60 for the sum
    for reduction, largest in (("mean", 15.0), ("sum", 60.0)):
        assert abs(tutorial.lambda_max(reduction) - largest) <= SQUARED * 4 * largest
        for multiple, lr in rates(tutorial, reduction).items():
            assert abs(lr * largest - multiple) <= (SQUARED * 4 + 2 * U) * multiple  # the quotient, and the product here
        assert tutorial.lr_limit(reduction) == 2 / tutorial.lambda_max(reduction)
    assert list(rates(tutorial)) == [0.5, 1.0, 1.9, 2.2]
    assert SHARE["zero_X"].lr_limit() == np.inf
    assert rates(SHARE["zero_X"]) == {0.5: 0.5, 1.0: 1.0, 1.9: 1.9, 2.2: 2.2}


def test_lambda_max_counts_the_intercept():
    ones = NamedProblem("", "", np.zeros((8, 1)), np.ones(8), np.zeros(2), intercept=True)
    assert abs(ones.lambda_max() - 2) <= SQUARED * 8 * 2  # (2/8) · 8
    assert abs(ones.lambda_max("sum") - 16) <= SQUARED * 8 * 16


@pytest.mark.parametrize("name", ["noisy", "intercept", "x_1e+150_y_1e+150", "x_1e-150_y_1e-150", "subnormal_float64_x"])
def test_the_largest_multiple_diverges_and_the_others_do_not(name):
    problem = SHARE[name]
    for multiple, lr in rates(problem).items():
        w, sizes = problem.w0 + 0.1, []
        for _ in range(60):
            residual = problem.X @ w[: problem.n_features] + (w[-1] if problem.intercept else 0) - problem.y
            scaled = 2 / problem.n_samples * residual
            w = w - lr * np.append(problem.X.T @ scaled, [scaled.sum()] * problem.intercept)
            sizes.append(np.abs(residual).max())
        assert (sizes[-1] > 100 * sizes[0]) == (multiple == 2.2)
