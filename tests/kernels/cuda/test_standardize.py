"""standardize=True by the CUDA kernels: the arbiter's bits and the CPU backend's, by `==`."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.cuda.splitting import Handling, descend
from fastgd.kernels.update_rules import UPDATE_RULES
from tests import grids
from tests.cuda_on_host import HostDevice
from tests.specification import arbiter
from tests.support.against_arbiter import same_bits
from tests.support.reference_chunks import chunk_of
from tests.support.rule_options import OPTIONS

NAMES = ("float32", "float64")
KINDS = ("normal", "dead", "constant", "twice", "y is zero", "offset", "far")
SIZES = ((40, 1), (40, 3), (4100, 2), (50, 11), (5, 4), (90, 34))


def data_of(kind: str, size: tuple[int, int], name: str, seed: int, m: int = 3) -> tuple[np.ndarray, np.ndarray]:
    (n, d), rng = size, np.random.default_rng(seed)
    X = rng.standard_normal((m, n, d)) * 10.0 ** rng.integers(-2, 3, d)
    y = X.sum(axis=2) + 0.1 * rng.standard_normal((m, n))
    if kind == "dead":
        X[:, :, d // 2] = 0
    elif kind == "constant":
        X[:, :, d // 2] = 0.3
    elif kind == "twice":
        X[:, :, -1] = 2 * X[:, :, 0]
    elif kind == "y is zero":
        y[1] = 0
    elif kind == "offset":
        X = X + 1e3
    elif kind == "far":  # one fit whose moments do not hold its spread, one whose do
        X[1:] += np.array([3e4, 1e7])[:, None, None] * (1 if name == "float32" else 1e5)
    return X.astype(name), y.astype(name)


CASES = list(product(NAMES, KINDS, SIZES, (False, True), ("moments", "stream"), ("sgd", "nadam")))


@pytest.mark.parametrize("case", grids.thin("standardize by the CUDA kernels", CASES, 24), ids=lambda case: "-".join(map(str, case)))
def test_every_run_is_the_arbiters(case):
    """Center, scale, the safe rate, rows and w in the caller's units, the state in its own; weights
    of 0; launches cut anywhere."""
    name, kind, size, intercept, algorithm, rule = case
    k = CASES.index(case)
    drawn, rng, row = random.Random(k), np.random.default_rng(k), UPDATE_RULES[rule]
    d, m = size[1], 3
    X, y = data_of(kind, size, name, k)
    weights = None
    if drawn.random() < 0.4:
        weights = rng.uniform(0.01, 5, y.shape).astype(name)
        weights[:, ::5] = 0
    options = dict(drawn.choice(list(OPTIONS[rule].values())))
    w0, epochs, reduction = rng.standard_normal(d + intercept), drawn.choice((0, 1, 6)), drawn.choice(("mean", "sum"))
    work = chunk_of(X, y, dtype=name, epochs=epochs, rule=rule, reduction=reduction, intercept=intercept, weights=weights,
                    lr=np.full(m, 0.2), w0=w0, **options)  # fmt: skip
    work.lr, work.center, work.scale = work.lr.copy(), np.full((m, d), np.nan), np.full((m, d), np.nan)
    work.algorithm[:] = ALGORITHMS.index(algorithm)
    handling = Handling(take_note, safe_rates=rule == "sgd", converts_results=True, converts_start=True)
    descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice(epochs_per_launch=drawn.choice((None, 1, 3))), handling)
    hyper = {key: float(value) for key, value in row.all_values(options).items()}
    for fit in range(m):
        run = arbiter.run(
            X[fit], y[fit], lr=None if rule == "sgd" else 0.2, w0=w0, hyper=hyper, epochs=epochs, reduction=reduction, intercept=intercept,
            algorithm=algorithm, rule=rule, n_slots=len(row.slots), n_products=len(row.products),
            weights=None if weights is None else weights[fit], standardized=True,
        )  # fmt: skip
        standard = run.state.standard
        assert same_bits(work.center[fit], np.array(standard.center))
        assert same_bits(work.scale[fit], np.array(standard.scale))
        assert same_bits(work.lr[0, fit], np.float64(run.lr))
        assert same_bits(work.history_w[fit], run.w)
        assert same_bits(work.history_loss[fit], run.loss)
        assert same_bits(work.w_out[fit], run.w[-1])
        assert same_bits(work.w[fit], run.state.w)
        assert same_bits(work.slots[fit], run.state.slots)
        assert ALGORITHMS[work.algorithm[fit]] == run.state.algorithm


def take_note(part, n_used, *others) -> None:
    part.n_used[:] = n_used


FITS = list(product(NAMES, KINDS, SIZES, ("all", "weights", "omit", "poisoned"), (False, True), ("auto", "stream")))


@pytest.mark.parametrize("case", grids.thin("standardize, cuda-host == cpu", FITS, 16), ids=lambda case: "-".join(map(str, case)))
def test_every_bit_is_the_cpus(case, device, on_both):
    """Through `fit`, with tol and the excess, rates from good to bad, and going on from a state."""
    name, kind, size, samples, intercept, algorithm = case
    k = FITS.index(case)
    drawn, rng = random.Random(k), np.random.default_rng(k)
    X, y = data_of(kind, size, name, k)
    weights = None
    if samples == "weights":
        weights = rng.integers(0, 4, y.shape).astype(name)
    elif samples == "omit":
        y[rng.random(y.shape) < 0.1] = np.nan
    elif samples == "poisoned":
        X[1, size[0] // 2, 0], y[2, 0] = np.inf, np.nan
    device(epochs_per_launch=drawn.choice((None, 1, 3)))
    options = {
        "standardize": True, "intercept": intercept, "algorithm": algorithm, "sample_weight": weights, "min_samples": 3,
        "nan_policy": "omit" if samples == "omit" else "propagate", "reduction": drawn.choice(("mean", "sum")),
        "lr": drawn.choice((None, [0.01, 0.5, 1e9])), "optimizer": fastgd.SGD(momentum=drawn.choice((0.0, 0.5)), weight_decay=0.01),
        "tol": drawn.choice((None, 0.01)),
    }  # fmt: skip
    w0 = rng.standard_normal(size[1])
    first = on_both(X, y, epochs=5, history=drawn.choice((True, 2, False)), w0=w0, **options)
    options.pop("algorithm")  # the state's own
    rest = on_both(X, y, epochs=4, state=first.state, **options)
    assert same_bits(np.asarray(rest.state.center), np.asarray(first.state.center))


@pytest.mark.parametrize("name", NAMES)
def test_fits_that_share_their_data(name, on_both):
    """A sweep of rates over y of one X: center and scale of each fit, and a state for each."""
    X, y = data_of("offset", (40, 2), name, 1)
    options = {"standardize": True, "intercept": True, "lr": np.array([0.1, 0.4])[:, None]}
    first = on_both(X[0], y, epochs=3, w0=[1.0, 2.0], **options)
    assert first.center.shape == (2, 3, 2)
    on_both(X[0], y, epochs=3, state=first.state, **options)


def test_a_state_of_other_data_keeps_its_units(on_both):
    """m and s of the state are taken as they are, and the moments are made with them."""
    X, y = data_of("offset", (40, 2), "float32", 1)
    state = fastgd.fit(X, y, standardize=True, intercept=True, epochs=3).state
    rest = on_both(X + 7, y, standardize=True, intercept=True, epochs=3, state=state)
    assert same_bits(rest.state.center, state.center)
    alike = on_both(X[0], y, standardize=True, intercept=True, epochs=3, state=state)  # one X, and three centers
    assert same_bits(alike.state.center, state.center)


def test_a_result_that_is_finite_in_its_units_alone_has_diverged(on_both):
    """w / s overflows: the status says so."""
    X = np.array([[1.0], [2.0], [4.0]], np.float32)[None] * np.float32(1e-38) * np.ones((2, 1, 1), np.float32)
    y = np.array([[1.0, 2, 4], [1e4, 2e4, 4e4]], np.float32)
    found = on_both(X, y, standardize=True, epochs=60, history=True)
    assert found.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.DIVERGED]


def test_a_device_that_runs_out_of_memory_begins_again(monkeypatch):
    """The start is scaled on the device, so that a part that is begun anew scales it once."""
    from tests.cuda_on_host import DEVICES

    X, y = data_of("offset", (64, 1), "float64", 3, m=40)
    options = {"standardize": True, "intercept": True, "epochs": 3, "history": True, "w0": [2.0]}
    theirs = fastgd.fit(X, y, backend="cpu", **options)
    machine = HostDevice(memory=1500, free=10**9)
    monkeypatch.setitem(DEVICES, "cuda-host", lambda: machine)
    ours = fastgd.fit(X, y, backend="cuda-host", **options)
    assert same_bits(ours.w, theirs.w)
    assert same_bits(ours.history.intercept, theirs.history.intercept)
