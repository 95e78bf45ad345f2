"""Mini-batches in the CUDA kernels give the CPU's bits: every row, loss, state and status."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cuda import part
from tests import grids
from tests.support.against_arbiter import same_bits
from tests.support.rule_options import OPTIONS, optimizer, rules_with


def data(m, n, d, dtype):
    rng = np.random.default_rng([m, n, d])
    X = rng.normal(size=(m, n, d)).astype(dtype)
    return X, (X @ np.arange(1.0, d + 1) + rng.normal(size=(m, n))).astype(dtype)


def assert_same(X, y, cuda_backend, **options):
    """Fit on both, go on from the states, and assert that all is the same. Returns the CPU's."""
    given = {"lr": 0.03125, "epochs": 3, "batch_size": 16, "seed": 3, "history": True} | options
    first = fastgd.fit(X, y, **given)
    found = fastgd.fit(X, y, backend=cuda_backend, **given)
    for one, other in ((first, found), (fastgd.fit(X, y, state=first.state, **given),
                                        fastgd.fit(X, y, state=found.state, backend=cuda_backend, **given))):  # fmt: skip
        pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("w", "loss", "epochs", "status", "n_used", "lr")}
        pairs |= {name: (getattr(one.history, name), getattr(other.history, name)) for name in ("w", "loss", "batch_loss")}
        pairs |= {
            f"state.{name}": (getattr(one.state, name), getattr(other.state, name))
            for name in ("w", "slots", "products", "epoch", "passes", "seed", "algorithm", "initial_excess")
        }
        if given.get("excess_loss") is not False:
            pairs["excess_loss"] = one.excess_loss, other.excess_loss
        wrong = [name for name, (ours, theirs) in pairs.items() if not same_bits(ours, theirs)]
        assert not wrong, (wrong, options)
    return first


WAYS = {
    "plain": {},
    "in order": {"shuffle": False, "drop_last": True},
    "stream": {"algorithm": "stream", "intercept": True},
    "weights": {"weighted": True, "intercept": True, "reduction": "sum", "lr": 0.001},
    "gaps": {"missing": True, "nan_policy": "omit"},
    "bad data": {"missing": True, "nan_policy": "propagate"},
    "tol": {"tol": 0.2, "epochs": 12},
    "overflow": {"lr": 1e25, "epochs": 8},
    "scaled features": {"standardize": True, "intercept": True},
    "seeds": {"seed": [1, 2, 1], "history": 2},
    "schedule": {"schedule": fastgd.schedules.StepLR(2), "schedule_every": "epoch"},
    "schedule of steps": {"schedule": [fastgd.schedules.StepLR(2), None, lambda t: 0.9**t], "schedule_every": "step"},
    "one batch": {"batch_size": 1000},
}


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way(way, dtype, cuda_backend):
    options = dict(WAYS[way])
    X, y = data(3, 50, 3, dtype)
    if options.pop("missing", False):
        y[1, 7], X[1, 30, 2] = np.nan, np.inf
    if options.pop("weighted", False):
        options["sample_weight"] = np.random.default_rng(1).integers(0, 5, (3, 50)) / 4
    result = assert_same(X, y, cuda_backend, **options)
    if way == "tol":
        assert (result.status == fastgd.Status.CONVERGED).any()
    if way == "overflow":
        assert (result.status == fastgd.Status.DIVERGED).all()


CASES = [(rule, option, dtype) for rule in rules_with("cuda") for option in OPTIONS[rule] for dtype in ("float32", "float64")]


@pytest.mark.parametrize(("rule", "option", "dtype"), grids.thin("rules on mini-batches, CUDA", CASES, 7))
def test_every_rule(rule, option, dtype, cuda_backend):
    assert_same(*data(2, 40, 5, dtype), cuda_backend, optimizer=optimizer(rule, OPTIONS[rule][option]))


def test_batches_of_several_chunks(cuda_backend):
    X, y = data(1, 9100, 2, "float32")
    assert_same(X[0], y[0], cuda_backend, batch_size=5000, epochs=1)
    assert_same(X[0], y[0], cuda_backend, batch_size=4500, epochs=1, sample_weight=np.ones(9100), algorithm="stream")


def test_pieces_change_no_bit(cuda_backend, monkeypatch):
    """Orders of one epoch at a time, scratch for one fit at a time."""
    monkeypatch.setattr(part, "ORDERED", 1)
    monkeypatch.setattr(part, "SCRATCH_BYTES", 1)
    assert_same(*data(5, 40, 3, "float64"), cuda_backend, seed=[1, 2, 1, 2, 1])


def test_data_on_a_device(cupy):
    """Data and state stay there; the seeds are the host's."""
    X, y = data(3, 40, 2, "float64")
    options = {"lr": 0.03125, "epochs": 3, "batch_size": 16, "seed": [4, 5, 4], "history": True}
    ours, there = fastgd.fit(X, y, **options), fastgd.fit(cupy.asarray(X), cupy.asarray(y), **options)
    assert same_bits(there.w.get(), ours.w)
    assert same_bits(there.history.batch_loss.get(), ours.history.batch_loss)
    further = fastgd.fit(cupy.asarray(X), cupy.asarray(y), state=there.state, **options)
    assert same_bits(further.w.get(), fastgd.fit(X, y, state=ours.state, **options).w)
    assert further.state.passes.get().tolist() == [6, 6, 6]
