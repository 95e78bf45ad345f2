"""F*, `excess_loss` and `tol` of the CUDA kernels: the arbiter's bits and the CPU backend's, by
`==`.

That a fit has them too in any company, layout and launch is in test_bits.py.
"""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS, MOST_PACKED
from fastgd.kernels.cuda.data import Data, find_items
from fastgd.kernels.cuda.part import Part
from fastgd.kernels.cuda.splitting import Handling, descend
from fastgd.kernels.update_rules import UPDATE_RULES
from tests import grids
from tests.cuda_on_host import HostDevice
from tests.specification import arbiter
from tests.support.against_arbiter import bits, same_bits
from tests.support.paths import ROOT
from tests.support.reference_chunks import chunk_of
from tests.support.rule_options import OPTIONS, rules_with

NAMES = ("float32", "float64")
KINDS = ("normal", "dead", "twice", "nearly twice", "y is zero", "noise-free", "offset")
GIVEN = (0.0125, 2.0**-30)  # F* and ρ where the elimination leaves them open


def data_of(kind: str, n: int, d: int, name: str, seed: int, m: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """X, y of m fits; of some kinds columns depend on others, or all but for rounding."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n, d)) * 10.0 ** rng.integers(-2, 3, d)
    y = X.sum(axis=2) + 0.1 * rng.standard_normal((m, n))
    if kind == "dead":
        X[:, :, d // 2] = 0
    elif kind == "twice":
        X[:, :, -1] = 2 * X[:, :, 0]
    elif kind == "nearly twice":  # between the two thresholds of a pivot
        X[:, :, -1] = X[:, :, 0] * (1 + (2.0**-21 if name == "float32" else 2.0**-47) * rng.standard_normal((m, n)))
    elif kind == "y is zero":
        y[1] = 0
    elif kind == "noise-free":
        X = np.round(X * 8)
        y = 2 * X.sum(axis=2)
    elif kind == "offset":
        X = X + 1e4
    return X.astype(name), y.astype(name)


def measured(X, y, **options):
    """A chunk whose fits are asked how far they are from the minimum."""
    work = chunk_of(X, y, dtype=X.dtype, **options)
    work.initial_excess, work.excess = np.full(len(work.w), np.nan), np.full(len(work.w), 77, X.dtype)
    return work


def fill(apart) -> None:
    """What the runner does for fits of which the moments do not tell F*."""
    apart.least[:], apart.allowance[:] = GIVEN


def test_both_backends_eliminate_the_same_fits():
    source = (ROOT / "kernels" / "cuda" / "least.cu").read_text(encoding="utf-8")
    assert f"MOST = {MOST_PACKED};" in source


LEAST = list(product(NAMES, KINDS, (1, 2, 3, 5, 8, 12, 31), (0.0, 0.1, 1e3), ("mean", "sum"), (False, True)))


@pytest.mark.parametrize("case", grids.thin("F* of the CUDA kernels", LEAST, 24), ids=lambda case: "-".join(map(str, case)))
def test_the_least_value_is_the_arbiters(case):
    """κ, F*, ρ, or that F* is doubtful; with and without weights, of any size."""
    name, kind, d, decay, reduction, intercept = case
    k = LEAST.index(case)
    X, y = data_of(kind, 70, d, name, k)
    weights = None
    if k % 3 == 0:
        weights = np.random.default_rng(k).uniform(0.01, 5, y.shape) * np.array([[1e-20], [1.0], [1e15]])
        weights = weights.astype(name)
    work = measured(X, y, rule="adam", reduction=reduction, intercept=intercept, weights=weights, weight_decay=decay, tol=0.1)
    work.algorithm[:] = ALGORITHMS.index("moments")
    data = Data(HostDevice(), work, None)
    data.weigh()
    data.compress()
    part = Part(data, work, None)
    part.begin()
    part.find_least(None)
    for fit in range(3):
        moments = arbiter.compress(X[fit], y[fit], intercept, weights=None if weights is None else weights[fit])
        expected = arbiter.least_value(moments, decay, reduction)
        assert bool(part.arrays["doubtful"][fit]) == expected.doubtful
        assert same_bits(part.arrays["penalty"][fit], np.float64(arbiter.penalty_of(moments.total.sigma, decay, reduction)))
        assert same_bits(part.arrays["least"][fit], np.float64(expected.value))
        assert expected.doubtful or same_bits(part.arrays["allowance"][fit], np.float64(expected.allowance))


RUNS = [
    (rule, options, name, kind, d, algorithm)
    for rule in rules_with("cuda")
    for options in OPTIONS[rule]
    if not OPTIONS[rule][options].get("maximize")
    for name, kind, d, algorithm in product(NAMES, ("normal", "twice", "y is zero"), (1, 2, 11), ("moments", "stream"))
]


@pytest.mark.parametrize("case", grids.thin("tol of the CUDA kernels", RUNS, 24), ids=lambda case: "-".join(map(str, case)))
def test_every_run_is_the_arbiters(case):
    """Rows, the epoch of convergence, e₀, the excess and the state; launches cut anywhere, one fit
    that may overflow."""
    rule, options, name, kind, d, algorithm = case
    drawn = random.Random(RUNS.index(case))
    options, row = dict(OPTIONS[rule][options]), UPDATE_RULES[rule]
    if drawn.random() < 0.5:
        options["weight_decay"] = 0.01
    reduction, intercept, tol = drawn.choice(("mean", "sum")), drawn.random() < 0.5, drawn.choice((-1.0, 0.0, 1e-3, 0.1, 0.5))
    epochs, every = drawn.choice((0, 1, 25)), drawn.choice((0, 1, 4))
    X, y = data_of(kind, 40, d, name, RUNS.index(case))
    weights = np.random.default_rng(d).uniform(0.1, 5, y.shape).astype(name) if drawn.random() < 0.4 else None
    moments = [arbiter.compress(X[fit], y[fit], intercept, weights=None if weights is None else weights[fit]) for fit in range(3)]
    rate = arbiter.safe_rate(moments[0], reduction, options.get("weight_decay", 0.0)) if rule == "sgd" else 0.2
    rates = np.array([rate, drawn.choice((rate, arbiter.FORMATS[name].omega)), rate / 2])
    work = measured(X, y, epochs=epochs, rule=rule, reduction=reduction, intercept=intercept, weights=weights, tol=tol, lr=rates,
                    every=every, **options)  # fmt: skip
    work.algorithm[:] = ALGORITHMS.index(algorithm)
    handling = Handling(lambda part, n_used, *others: None, minimise=fill)
    descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice(epochs_per_launch=drawn.choice((None, 1, 3, 7))), handling)
    hyper = {key: float(value) for key, value in row.all_values(options).items()}
    for fit in range(3):
        run = arbiter.run(
            X[fit], y[fit], lr=float(rates[fit]), hyper=hyper, epochs=epochs, reduction=reduction, intercept=intercept, algorithm=algorithm,
            tol=tol, rule=rule, n_slots=len(row.slots), n_products=len(row.products), moments=moments[fit],
            weights=None if weights is None else weights[fit], measured=True, least=arbiter.Least(*GIVEN),
        )  # fmt: skip
        rows = [t for t in range(epochs + 1) if every and (t % every == 0 or t == epochs)]
        assert same_bits(work.history_w[fit], run.w[rows])
        assert same_bits(work.history_loss[fit], run.loss[rows])
        assert same_bits(work.w[fit], run.state.w)
        assert same_bits(work.initial_excess[fit], np.float64(run.state.initial_excess))
        assert same_bits(work.excess[fit], np.dtype(name).type(run.excess))
        assert (work.status[fit] == fastgd.Status.CONVERGED) == (run.converged is not None)
        assert run.converged in (None, work.epochs_run[fit])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [2, 11])
def test_overflow_tail_keeps_the_target(name, d):
    """A fit that passes from moments to its samples, with a row and with an update, at epoch 0 and
    later: e₀ and F* stay those of its moments where there was a row."""
    X, y = data_of("normal", 40, d, name, 3)
    omega = arbiter.FORMATS[name].omega
    for rate, start in product((arbiter.safe_rate(arbiter.compress(X[0], y[0])) * 40, omega / 64, omega), (0.0, 1e30)):
        work = measured(X, y, epochs=12, lr=rate, tol=0.5, w0=np.full(d, start), momentum=0.5)
        work.algorithm[:] = ALGORITHMS.index("moments")
        descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice(epochs_per_launch=5))
        for fit in range(3):
            run = arbiter.run(X[fit], y[fit], lr=rate, hyper={"momentum": 0.5}, epochs=12, tol=0.5, w0=[start] * d, algorithm="moments",
                              measured=True)  # fmt: skip
            assert same_bits(work.history_w[fit], run.w)
            assert same_bits(work.initial_excess[fit], np.float64(run.state.initial_excess))
            assert same_bits(work.excess[fit], np.dtype(name).type(run.excess))


def test_a_state_brings_its_start():
    """fit(9) = fit(4), then fit(5), cut where it may be; a fit that converged stays where it is."""
    X, y = data_of("normal", 40, 2, "float64", 9)
    rate = arbiter.safe_rate(arbiter.compress(X[0], y[0]))
    options = {"lr": rate, "tol": 0.05, "backend": "cuda-host", "excess_loss": True}
    whole = fastgd.fit(X, y, epochs=90, **options)
    for cut in (1, 4, 60):
        first = fastgd.fit(X, y, epochs=cut, **options)
        rest = fastgd.fit(X, y, epochs=90 - cut, state=first.state, **options)
        assert same_bits(rest.w, whole.w)
        assert same_bits(rest.excess_loss, whole.excess_loss)
        assert same_bits(rest.state.initial_excess, whole.state.initial_excess)
        assert (rest.status == whole.status).all()
    assert (whole.status == fastgd.Status.CONVERGED).any()


# -- F* from the computer's memory -----------------------------------------------------------------


@pytest.mark.share(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["nearly twice", "twice", "normal"])
@pytest.mark.parametrize("samples", ["all", "weights", "omit"])
def test_doubtful_fits_have_the_cpus_least_value(name, kind, samples, on_both):
    """Columns that are dependent but for rounding, fits on their samples, more than 32 parameters;
    fits that lose samples; with weights and without."""
    for n, d, algorithm in ((40, 3, "moments"), (40, 3, "stream"), (5, 4, "auto"), (90, 33, "auto")):
        X, y = data_of(kind, n, d, name, 5)
        rng, weights = np.random.default_rng(n), None
        if samples == "weights":
            weights = rng.integers(0, 5, y.shape).astype(name)
        elif samples == "omit":
            y[rng.random(y.shape) < 0.1] = np.nan
        decay = fastgd.SGD(weight_decay=[0.0, 0.1, 0.5])
        for reduction in ("mean", "sum"):
            options = {"algorithm": algorithm, "reduction": reduction, "optimizer": decay, "intercept": True, "tol": 0.2, "history": True}
            found = on_both(X, y, sample_weight=weights, nan_policy="omit", min_samples=1, epochs=20, **options)
            assert np.isfinite(found.excess_loss).all()
            assert np.isfinite(found.state.initial_excess).all()


def test_without_a_wish_nothing_is_fetched(monkeypatch, cuda_backend):
    """F* of fits on samples costs what `solve` costs: without tol or excess_loss=True it is not
    known, and no sample is copied."""
    fetched = []
    monkeypatch.setattr(Data, "samples_of", lambda self, items, real=Data.samples_of: fetched.append(len(items)) or real(self, items))
    X, y = data_of("normal", 40, 2, "float32", 1)
    options = {"epochs": 3, "algorithm": "stream", "backend": cuda_backend, "lr": 1e-3}
    assert np.isnan(fastgd.fit(X, y, **options).excess_loss).all()
    assert fastgd.fit(X, y, excess_loss=False, **options).excess_loss is None
    assert not fetched
    assert np.isfinite(fastgd.fit(X, y, excess_loss=True, **options).excess_loss).all()
    assert fetched == [3]


def test_a_sweep_shares_the_data_that_are_fetched(device):
    """Many rates of few fits: an X that all share is copied once, and those between two that are
    wanted are not."""
    machine = device()
    X, y = data_of("normal", 40, 2, "float64", 1, m=9)
    work = measured(X, y)
    data = Data(machine, work, find_items(work)[0])
    for items in (np.array([0, 0, 8, 8]), np.array([3, 4, 6]), np.array([5])):
        found = data.samples_of(items)
        assert (found["X"][found["x_index"]] == X[items]).all()
        assert (found["y"][found["y_index"]] == y[items]).all()
        assert len(found["X"]) <= 2 * len(set(items.tolist()))


def test_the_samples_come_some_at_a_time(monkeypatch, on_both):
    """Whatever the size of a piece, the bits are the same."""
    X, y = data_of("normal", 40, 2, "float32", 1, m=7)
    pieces = []
    monkeypatch.setattr("fastgd.kernels.cuda.part.FETCHED_BYTES", 2 * 40 * 4 * 4)
    monkeypatch.setattr(Data, "samples_of", lambda self, items, real=Data.samples_of: pieces.append(len(items)) or real(self, items))
    on_both(X, y, algorithm="stream", epochs=5, tol=0.1, lr=1e-3)
    assert pieces == [2, 2, 2, 1]


@pytest.mark.parametrize("threads", [1, 100, 140])
def test_more_fits_than_there_is_scratch_for(threads, monkeypatch, on_both):
    """A thread of `least_values` takes one fit after another."""
    X, y = data_of("normal", 40, 2, "float64", 1, m=300)
    monkeypatch.setattr("fastgd.kernels.cuda.part.SCRATCH_BYTES", threads * 2 * 6 * 8)
    on_both(X, y, epochs=5, tol=0.1)


def test_fits_that_are_not_run():
    """Too few samples: nothing is known; data that are not finite: neither."""
    X, y = data_of("normal", 12, 1, "float32", 1)
    y[1, :10], y[2, 3] = np.nan, np.nan
    for backend in ("cpu", "cuda-host"):
        few = fastgd.fit(X, y, nan_policy="omit", min_samples=5, epochs=5, tol=0.1, backend=backend)
        assert few.status[1] == fastgd.Status.TOO_FEW_SAMPLES
        bad = fastgd.fit(X, y, nan_policy="propagate", epochs=5, tol=0.1, backend=backend)
        assert [math.isnan(value) for value in few.excess_loss] == [False, True, False]
        assert [math.isnan(value) for value in bad.excess_loss] == [False, True, True]
        assert np.array_equal(bits(bad.state.initial_excess[1:]), bits(np.full(2, np.nan)))
