"""The CUDA kernels, executed on the host, give the CPU kernels' bits: everything that a fit hands out, by `==`.

The sources are the ones that a GPU gets; only the machine is another (tests/cuda_on_host). A case is one call with several fits.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests import arbiter, grids
from tests.against_arbiter import OPTIMIZERS, bits, compare
from tests.cuda_on_host import DEVICES, HostDevice
from tests.test_bits import check, number_cases

NAMES = ("float32", "float64")
SIZES = ((40, 1), (4, 2), (100, 3), (4099, 2), (9, 4), (33, 8), (90, 12))  # (n, d); more than 4,096: chunks
OPTIONS = {
    "sgd": ({}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.7, "nesterov": True, "weight_decay": 0.1}, {"maximize": True}),
    "adam": ({"lr": 0.05}, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}, {"lr": 0.1, "betas": (0.3, 0.6), "maximize": True}),
    "adamw": ({"lr": 0.05}, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.3}, {"lr": 0.1, "maximize": True}),
    "rmsprop": ({"lr": 0.05}, {"lr": 0.1, "centered": True}, {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.1}),
    "adagrad": ({"lr": 0.5}, {"lr": 0.5, "lr_decay": 0.1, "initial_accumulator_value": 0.3}, {"lr": 0.5, "weight_decay": 0.1}),
    "nadam": ({"lr": 0.05}, {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}, {"lr": 0.1, "momentum_decay": 0.3}),
}
SAMPLES = ("all", "weights", "omit", "poisoned")
GRID = [
    (rule, name, size, algorithm, intercept, samples, k)
    for k, (rule, name, size, algorithm, intercept, samples) in enumerate(
        product(UPDATE_RULES, NAMES, SIZES, ("moments", "stream", "auto"), (False, True), SAMPLES)
    )
]


def data_of(size, name, samples, seed, m=4):
    """X, y, weights of m fits; with missing numbers, weights of 0, or one fit spoiled."""
    (n, d), rng = size, np.random.default_rng(seed)
    X = (rng.standard_normal((m, n, d)) * 10.0 ** rng.integers(-2, 3, d)).astype(name)
    y = rng.standard_normal((m, n)).astype(name)
    weights = None
    if samples == "weights":
        weights = rng.uniform(0.01, 5, (m, n)).astype(name)
        weights[rng.random((m, n)) < 0.2] = 0
    elif samples == "omit":
        y[rng.random((m, n)) < 0.2] = np.nan
    elif samples == "poisoned":
        X[1, n // 2, 0], y[2, 0] = np.inf, np.nan
    return X, y, weights


def results(result) -> dict[str, np.ndarray]:
    """Every array of a result, its state and its history by name."""
    found = {name: getattr(result, name) for name in ("w", "intercept", "loss", "epochs", "status", "n_used", "lr")}
    found |= {f"state.{name}": getattr(result.state, name) for name in ("w", "slots", "products", "epoch", "algorithm", "status")}
    if result.history is not None:
        found |= {f"history.{name}": getattr(result.history, name) for name in ("w", "loss", "intercept")}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


def assert_same(ours, theirs, told="") -> None:
    for (name, a), b in zip(results(ours).items(), results(theirs).values(), strict=True):
        same = np.array_equal(bits(a), bits(b)) if a.dtype.kind == "f" else np.array_equal(a, b)
        assert a.dtype == b.dtype, name
        assert same, f"{name} {told}:\n{a}\n{b}"


def on_both(X, y, **options):
    """The same fit by both, equal bit for bit; the result."""
    ours, theirs = (fastgd.fit(X, y, backend=backend, **options) for backend in ("cuda-host", "cpu"))
    assert_same(ours, theirs, str(options))
    return ours


@pytest.fixture
def device(monkeypatch):
    """device(**options): what the backend runs on, in this test."""

    def use(**options) -> HostDevice:
        made = HostDevice(**options)
        monkeypatch.setitem(DEVICES, "cuda-host", lambda: made)
        return made

    return use


@pytest.mark.parametrize("case", grids.thin("cuda-host == cpu", GRID, 20), ids=lambda case: "-".join(map(str, case)))
def test_every_bit_is_the_cpus(case, device):
    """Rates from good to overflowing at the first step, history whole, thinned or none, tol or none; launches cut every few epochs."""
    rule, name, size, algorithm, intercept, samples, k = case
    X, y, weights = data_of(size, name, samples, k)
    options = dict(OPTIONS[rule][k % len(OPTIONS[rule])])
    rate = options.pop("lr", None)
    huge = arbiter.FORMATS[name].omega
    rates = np.array([rate or 1e-4, 30 * (rate or 1e-4), 1e9, huge])
    device(epochs_per_launch=(None, 1, 4)[k % 3], order=("forwards", "backwards", "random")[k % 3], seed=k)
    on_both(
        X, y, lr=None if k % 4 == 0 else rates, optimizer=OPTIMIZERS[rule](**options), epochs=(13, 0, 30)[k // 2 % 3], intercept=intercept,
        sample_weight=weights, nan_policy="omit" if samples == "omit" else "propagate", min_samples=5 if samples == "omit" else 1,
        reduction=("mean", "sum")[k // 3 % 2], algorithm=algorithm, history=(True, 4, False)[k // 5 % 3], tol=(None, 0.05)[k // 7 % 2],
    )  # fmt: skip


@pytest.mark.parametrize("case", grids.thin("cuda-host == arbiter", number_cases([(1, 1), (31, 2), (33, 3), (100, 1), (513, 2)]), 8),
                         ids=lambda case: "-".join(map(str, case)))  # fmt: skip
def test_the_kernels_give_the_arbiters_bits(case):
    check(*case, backend="cuda-host")


@pytest.mark.parametrize("name", NAMES)
def test_overflow_to_the_end(name, device):
    """Every row until all is NaN, and after, against the arbiter; the hand-over with a row and with an update."""
    device(epochs_per_launch=7)
    X, y, _ = data_of((40, 2), name, "all", 21, m=1)
    omega, safe = arbiter.FORMATS[name].omega, arbiter.safe_rate(arbiter.compress(X[0], y[0]))
    cells = [{"lr": rate, "hyper": hyper} for rate in (safe * 9, 1e6, 1e20, omega / 64, omega, omega * 200)
             for hyper in ({}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1})]  # fmt: skip
    runs = compare(X[0], y[0], cells, epochs=60, algorithm="moments", backend="cuda-host")
    assert {run.handover[1] for run in runs if run.handover} == {"row", "update"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [3, 11])
def test_continuing_and_holding(name, d, device):
    """fit(9) = fit(4), then fit(5); a fit that converged stays, one that diverged goes on."""
    device(epochs_per_launch=2)
    X, y, _ = data_of((40, d), name, "all", 5)
    options = {"lr": np.array([1e-4, 1e-3, 1e3, 1e30]), "optimizer": fastgd.SGD(momentum=0.5)}
    first = on_both(X, y, epochs=4, tol=0.2, **options)
    for tol in (None, 0.2):
        on_both(X, y, epochs=5, state=first.state, tol=tol, history=True, **options)
    whole, half = (fastgd.fit(X, y, epochs=epochs, backend="cuda-host", **options) for epochs in (9, 4))
    assert_same(fastgd.fit(X, y, epochs=5, state=half.state, backend="cuda-host", **options), fastgd.fit(X, y, epochs=5, state=half.state,
                backend="cpu", **options))  # fmt: skip
    assert np.array_equal(bits(fastgd.fit(X, y, epochs=5, state=half.state, backend="cuda-host", **options).w), bits(whole.w))


@pytest.mark.parametrize("name", NAMES)
def test_shared_data_are_compressed_once(name, device):
    """A sweep: every rate of every y of one X; as many units as there are pairs of an X and a y."""
    machine = device()
    X, y, _ = data_of((50, 2), name, "all", 8, m=3)
    on_both(X[0], y, lr=np.logspace(-5, 0, 40)[:, None], epochs=3)
    (blocks,) = [grid[0] for launched, grid, _ in machine.launches if launched.startswith("compress")]
    assert blocks == 1  # 3 units of 32 lanes
    on_both(X[0], y[0], lr=np.logspace(-5, 0, 5), epochs=3, w0=[1.0, 2.0])


@pytest.mark.parametrize("name", NAMES)
def test_long_fits_and_their_chunks(name):
    """Three and eleven chunks, the last one short; weights and missing samples move the chunks."""
    for n, samples in ((8193, "weights"), (10 * 4096 + 77, "omit")):
        X, y, weights = data_of((n, 1), name, samples, n, m=2)
        for algorithm in ("moments", "stream"):
            on_both(X, y, sample_weight=weights, nan_policy="omit", epochs=2, algorithm=algorithm, intercept=algorithm == "moments",
                    lr=None)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_many_features(name):
    """More than 16 columns: several tiles of pairs; more than 64 parameters: the row sum instead of Jacobi."""
    for d in (17, 66):
        X, y, _ = data_of((2 * d + 9, d), name, "all", d, m=1)
        on_both(X, y, epochs=2, lr=None)


@pytest.mark.parametrize("name", NAMES)
def test_small_fits_share_a_warp(name):
    """n = 1 … 17 samples: groups of 1, 2, 4, 8, 16 and 32 lanes."""
    for n in (1, 2, 3, 5, 9, 17):
        X, y, _ = data_of((n, 1), name, "all", n, m=37)
        on_both(X, y, epochs=3, lr=None, algorithm="moments", history=True)


def test_a_device_that_runs_out_of_memory(device, caplog):
    """The part is halved until it fits, and the log says so; one fit that does not fit is an error with its size."""
    X, y, _ = data_of((64, 1), "float64", "all", 3, m=40)
    device(memory=1500, free=10**9)
    on_both(X, y, epochs=3, history=True)
    assert "out of memory with 40 fits at a time; going on with 20" in caplog.text
    device(memory=8, free=10**9)
    with pytest.raises(MemoryError, match="one fit of 64 samples"):
        fastgd.fit(X, y, epochs=3, backend="cuda-host")
    device(free=20_000)  # planned: several parts
    on_both(X, y, epochs=3, history=True)
