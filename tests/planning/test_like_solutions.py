"""Calls of `solve` like an earlier one: all of a result as the long way makes it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from functools import partial

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.planning import call_cache
from tests.support.against_arbiter import same_bits
from tests.support.like_calls import arrays_of, close_the_long_way, make_data, parts_of

OPTIONS = [
    {},
    {"intercept": True},
    {"weight_decay": 0.5, "reduction": "sum"},
    {"ridge": 0.1, "intercept": True},
    {"standardize": True, "intercept": True},
    {"nan_policy": "omit"},
    {"stats": True, "intercept": True, "threads": 1},
]


@pytest.fixture
def only_short(monkeypatch):
    """From when it is called on: the long way is closed."""
    return partial(close_the_long_way, monkeypatch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 2), (40,), (3, 25, 1), (2, 3, 20, 2)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_part_of_a_solution_is_as_the_long_way_makes_it(options, shape, dtype, only_short):
    X, y = make_data(0, shape if len(shape) > 1 else (*shape, 1), dtype)
    X = X.reshape(shape)
    want = fastgd.solve(X, y, **options)
    only_short()
    got = fastgd.solve(X, y, **options)
    assert list(parts_of(got)) == list(parts_of(want))
    assert repr(got) == repr(want)
    for again in (pickle.loads(pickle.dumps(got)), copy.deepcopy(got), copy.copy(got), dataclasses.replace(got)):
        assert numbers_of(again) == numbers_of(want)


def numbers_of(result):
    """{name: type, shape and bytes} of all arrays of a result; copies may have other strides."""
    found = {}
    for name, kind, what in parts_of(result):
        if issubclass(kind, np.ndarray):
            found[name] = kind, what[0], what[1], what[-1]
        elif not dataclasses.is_dataclass(kind):
            found[name] = kind, what
    return found


def _hard(name, X, y):
    """Data of which the moments, or a float32, do not hold the solution, or that have none."""
    X, y = X.copy(), y.copy()
    match name:
        case "two equal columns":
            X[:, 1] = X[:, 0]
        case "two columns nearly equal":
            X[:, 1] = X[:, 0] + X.dtype.type(1e-8 if X.dtype == np.float64 else 2e-4) * X[:, 1]
        case "far from 0":
            X += 1e7
        case "a column of zeros":
            X[:, 0] = 0.0
        case "too large for a float32":
            X, y = X * np.float32(1e-25), y * np.float32(1e18)  # w is, the loss is not
        case "too large in float64":
            X, y = X * X.dtype.type(1e-20), y * X.dtype.type(1e300)
        case "not finite":
            y[7] = np.inf
    return X, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name",
    [
        "two equal columns", "two columns nearly equal", "far from 0", "a column of zeros", "too large for a float32",
        "too large in float64", "not finite",
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"intercept": True}, {"standardize": True}, {"ridge": 1e-12, "intercept": True}], ids=str)
def test_hard_data_after_ordinary_ones(name, options, dtype, only_short):
    """Ranks, flags, statuses and the explanation are of these data; the next ones are as ever."""
    ordinary = make_data(1, (40, 2), dtype)
    with np.errstate(over="ignore"):
        hard = _hard(name, *ordinary)
    wanted = [fastgd.solve(*data, nan_policy="propagate", **options) for data in (hard, ordinary)]
    call_cache.forget()
    fastgd.solve(*make_data(2, (40, 2), dtype), nan_policy="propagate", **options)
    only_short()
    with np.errstate(all="raise"):
        found = [fastgd.solve(*data, nan_policy="propagate", **options) for data in (hard, ordinary)]
    for got, want in zip(found, wanted, strict=True):
        assert list(parts_of(got)) == list(parts_of(want))


def test_hard_data_are_hard():
    """Else the test above would show nothing."""
    told = {}
    for name, dtype in (("two equal columns", "float32"), ("two columns nearly equal", "float64"), ("too large for a float32", "float32")):
        result = fastgd.solve(*_hard(name, *make_data(1, (40, 2), dtype)))
        told[name] = int(result.rank), bool(result.ill_conditioned), str(result.status), "1 of 1" in result.explanation
    assert told == {
        "two equal columns": (1, True, "COMPLETED", True),
        "two columns nearly equal": (2, True, "COMPLETED", False),
        "too large for a float32": (2, False, "DIVERGED", False),
    }
    too_large = _hard("too large for a float32", *make_data(1, (40, 2)))
    assert fastgd.solve(*too_large, standardize=True).status is fastgd.Status.DIVERGED  # in the units of X alone


@pytest.mark.parametrize("shape", [(40, 2), (3, 25, 1)])
def test_solutions_share_no_memory(shape):
    X, y = make_data(0, shape)
    results = [fastgd.solve(X, y, intercept=True) for _ in range(4)]
    (known,) = call_cache.remembered.values()
    kept = list(known.buffers.begun.values())
    mine = [array for result in results for array in arrays_of(result).values()]
    for place, array in enumerate(mine):
        assert not any(np.shares_memory(array, other) for other in (*mine[:place], *kept, X, y))
        assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        results[0].hyperparameters["weight_decay"][...] = 1.0


def test_a_solution_within_one(monkeypatch):
    """Another call of the same key while the kernels of one are at work."""
    problems = [make_data(seed) for seed in range(3)]
    want = [list(parts_of(fastgd.solve(*problem))) for problem in problems]
    inner = []
    solve = cpu.solve

    def interrupted(*arguments):
        if len(inner) < 2:
            inner.append(None)
            place = len(inner)
            inner[place - 1] = list(parts_of(fastgd.solve(*problems[place])))
        return solve(*arguments)

    monkeypatch.setattr(cpu, "solve", interrupted)
    assert list(parts_of(fastgd.solve(*problems[0]))) == want[0]
    assert inner == want[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"intercept": True}, {"standardize": True}, {"weight_decay": 0}, {"weight_decay": -0.0}, {"weight_decay": 0.5}, {"ridge": 0.0},
        {"reduction": "sum"}, {"dtype": "float64"}, {"sample_weight": np.ones(40)}, {"nan_policy": "omit"}, {"nodata": -9}, {"threads": 1},
        {"min_samples": 2}, {"stats": True}, {"memory_limit": "1 GiB"}, {"progress": True}, {"checkpoint": ""}, {"intercept": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_solution_with_another_option_is_not_alike(change, monkeypatch, tmp_path):
    X, y = make_data(0)
    fastgd.solve(X, y)
    fastgd.fit(X, y, lr=None)
    taken = []
    read = fastgd.data.problem.Problem.read
    monkeypatch.setattr("fastgd.data.problem.Problem.read", lambda *args, **kinds: (taken.append(1), read(*args, **kinds))[1])
    for _ in range(2 if change.keys() & {"sample_weight", "nodata", "progress", "checkpoint"} else 1):  # such calls are never remembered
        taken.clear()
        try:
            fastgd.solve(X, y, **{name: tmp_path if name == "checkpoint" else value for name, value in change.items()})
        except TypeError:
            assert change == {"intercept": 1}
        assert taken


def test_all_fits_of_another_shape_are_solved():
    """The same numbers of samples and features, other leading axes."""
    X, y = make_data(0, (6, 20, 2))
    whole = fastgd.solve(X, y)
    for again in (fastgd.solve(X.reshape(2, 3, 20, 2), y.reshape(2, 3, 20)), fastgd.solve(X[:3], y[:3])):
        assert same_bits(again.w.reshape(-1, 2), whole.w[: again.w.size // 2])
