"""The CUDA kernels, executed on the host, give the CPU kernels' bits: everything that a fit hands
out, by `==`.

1. The sources are the ones that a GPU gets; only the machine is another (tests/cuda_on_host). A
   case is one call with several fits.
2. With --backends=…,cuda the same tests run on the GPU; what is about the host's device alone stays
   there.
"""

from __future__ import annotations

import copy
import dataclasses
import random
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.cuda.splitting import descend
from tests import grids
from tests.cuda_on_host import DEVICES, HostDevice
from tests.kernels.cpu.test_bits import check, number_cases
from tests.specification import arbiter
from tests.support.against_arbiter import bits, compare
from tests.support.reference_chunks import chunk_of, noisy
from tests.support.rule_options import OPTIONS, optimizer, rules_with

NAMES = ("float32", "float64")
SIZES = ((40, 1), (4, 2), (100, 3), (4099, 2), (9, 4), (33, 8), (90, 12))  # (n, d); more than 4,096: chunks
SAMPLES = ("all", "weights", "omit", "poisoned")
GRID = [
    (rule, name, size, algorithm, intercept, samples, k)
    for k, (rule, name, size, algorithm, intercept, samples) in enumerate(
        product(rules_with("cuda"), NAMES, SIZES, ("moments", "stream", "auto"), (False, True), SAMPLES)
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
    found |= {name: getattr(result, name) for name in ("excess_loss", "center", "scale")}
    found |= {f"state.{name}": getattr(result.state, name) for name in ("initial_excess", "center", "scale")}
    if result.history is not None:
        found |= {f"history.{name}": getattr(result.history, name) for name in ("w", "loss", "intercept")}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


def assert_same(ours, theirs, told="") -> None:
    for (name, a), b in zip(results(ours).items(), results(theirs).values(), strict=True):
        same = np.array_equal(bits(a), bits(b)) if a.dtype.kind == "f" else np.array_equal(a, b)
        assert a.dtype == b.dtype, name
        assert same, f"{name} {told}:\n{a}\n{b}"


@pytest.mark.parametrize("case", grids.thin("cuda-host == cpu", GRID, 30), ids=lambda case: "-".join(map(str, case)))
def test_every_bit_is_the_cpus(case, device, on_both):
    """Rates from good to overflowing at the first step, history whole, thinned or none, tol or
    none; launches cut every few epochs."""
    rule, name, size, algorithm, intercept, samples, k = case
    X, y, weights = data_of(size, name, samples, k)
    drawn = random.Random(k)  # so that no option goes hand in hand with another
    hyper = drawn.choice(list(OPTIONS[rule].values()))
    rate = 1e-4 if rule == "sgd" else 0.1
    rates = np.array([rate, 30 * rate, 1e9, arbiter.FORMATS[name].omega])
    device(epochs_per_launch=drawn.choice((None, 1, 4)), order=drawn.choice(("forwards", "backwards", "random")), seed=k)
    on_both(
        X, y, lr=drawn.choice((None, rates, rates)), optimizer=optimizer(rule, hyper), epochs=drawn.choice((0, 13, 30)),
        intercept=intercept, sample_weight=weights, nan_policy="omit" if samples == "omit" else "propagate",
        min_samples=5 if samples == "omit" else 1, reduction=drawn.choice(("mean", "sum")), algorithm=algorithm,
        history=drawn.choice((True, 4, False)), tol=drawn.choice((None, None if hyper.get("maximize") else 0.05)),
    )  # fmt: skip


@pytest.mark.parametrize("case", grids.thin("cuda-host == arbiter", number_cases([(1, 1), (31, 2), (33, 3), (100, 1), (513, 2)]), 8),
                         ids=lambda case: "-".join(map(str, case)))  # fmt: skip
def test_the_kernels_give_the_arbiters_bits(case, cuda_backend):
    check(*case, backend=cuda_backend)


@pytest.mark.parametrize("name", NAMES)
def test_overflow_to_the_end(name, device, cuda_backend):
    """Every row until all is NaN, and after, against the arbiter; the hand-over with a row and with
    an update."""
    device(epochs_per_launch=7)
    X, y, _ = data_of((40, 2), name, "all", 21, m=1)
    omega, safe = arbiter.FORMATS[name].omega, arbiter.safe_rate(arbiter.compress(X[0], y[0]))
    cells = [{"lr": rate, "hyper": hyper} for rate in (safe * 9, 1e6, 1e20, omega / 64, omega, omega * 200)
             for hyper in ({}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1})]  # fmt: skip
    runs = compare(X[0], y[0], cells, epochs=60, algorithm="moments", backend=cuda_backend)
    assert {run.handover[1] for run in runs if run.handover} == {"row", "update"}


@pytest.mark.share(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 8])
def test_plain_descents_hurry(name, d, device, on_both):
    """Blocks of epochs without questions: limits are passed at once, within a block, or never; one
    fit has a momentum; launches are cut."""
    X, y, _ = data_of((40, d), name, "all", 31, m=40)
    safe = fastgd.fit(X, y, epochs=0).lr
    rates = safe * np.concatenate([np.full(30, 1.0), np.linspace(3, 90, 10)])
    omega = arbiter.FORMATS[name].omega
    options = {"lr": np.stack([rates, np.where(np.arange(40) == 7, omega, safe)]), "epochs": 75, "intercept": False}
    for cut in (None, 23, 16):
        device(epochs_per_launch=cut)
        for history in (True, False):
            handed = on_both(X, y, history=history, **options)
        on_both(X, y, history=True, optimizer=fastgd.SGD(momentum=np.where(np.arange(40) == 33, 0.5, 0.0)), **options)
    assert 0 < (handed.state.algorithm == ALGORITHMS.index("stream")).sum() < 40


def test_limits_that_only_one_question_asks_for(on_both):
    """float32: an update too large at the last epoch of a block or near it, after losses that were
    fine; a w too large at a loss of 0."""
    X, y = np.ones((4, 1), np.float32), np.zeros(4, np.float32)
    rate = 1.1 * 2.0**61  # a step multiplies by 1 − 2 rate
    m = 12  # numbers of which some are rounded otherwise in float32
    state = fastgd.fit(X, y, lr=np.zeros(m), epochs=0).state
    for epoch in (14, 15, 16):  # blocks have 16
        start = 2.0**58.9 * np.linspace(0.97, 1, m) / (1 - 2 * rate) ** epoch
        ends = on_both(X, y, lr=np.full(m, rate), epochs=60, history=True, state=dataclasses.replace(state, w=start[:, None]))
        assert (ends.state.algorithm == ALGORITHMS.index("stream")).all()
        assert np.isfinite(ends.history.loss[:, epoch]).all()
    large = dataclasses.replace(state, w=np.full((m, 1), 2.0**119))
    ends = on_both(2 * X, y + np.float32(2.0**120), lr=np.full(m, 0.1), epochs=20, history=True, state=large)
    assert (ends.state.algorithm == ALGORITHMS.index("stream")).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [3, 11])
def test_continuing_and_holding(name, d, device, on_both, cuda_backend):
    """fit(9) = fit(4), then fit(5); a fit that converged stays, one that diverged goes on."""
    device(epochs_per_launch=2)
    X, y, _ = data_of((40, d), name, "all", 5)
    options = {"lr": np.array([1e-4, 1e-3, 1e3, 1e30]), "optimizer": fastgd.SGD(momentum=0.5)}
    first = on_both(X, y, epochs=4, tol=0.2, **options)
    for tol in (None, 0.2):
        on_both(X, y, epochs=5, state=first.state, tol=tol, history=True, **options)
    half = fastgd.fit(X, y, epochs=4, backend=cuda_backend, **options)
    rest, whole = on_both(X, y, epochs=5, state=half.state, **options), on_both(X, y, epochs=9, **options)
    assert np.array_equal(bits(rest.w), bits(whole.w))


@pytest.mark.parametrize("name", NAMES)
def test_shared_data_are_compressed_once(name, device, on_both, cuda_backend):
    """A sweep: every rate of every y of one X; as many units as there are pairs of an X and a y."""
    machine = device()
    X, y, _ = data_of((50, 2), name, "all", 8, m=3)
    on_both(X[0], y, lr=np.logspace(-5, 0, 40)[:, None], epochs=3)
    if cuda_backend == "cuda-host":
        check_one_block(machine)
    on_both(X[0], y[0], lr=np.logspace(-5, 0, 5), epochs=3, w0=[1.0, 2.0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("intercept", [False, True])
def test_data_that_need_no_looking_up_and_such_that_do(name, intercept, on_both):
    """Whole warps of neighbouring rows; one y of many X, weights of which none is 0, one sample of
    one fit that is missing."""
    X, y, _ = data_of((50, 2), name, "all", 12, m=5)
    missing = y.copy()
    missing[3, 7] = np.nan
    for targets, weights in ((y, None), (y[0], None), (y, np.full(y.shape, 3, name)), (missing, None)):
        on_both(X, targets, sample_weight=weights, nan_policy="omit", intercept=intercept, epochs=3, lr=None)


def check_one_block(machine):
    (blocks,) = [grid[0] for launched, grid, _ in machine.launches if launched.startswith("compress")]
    assert blocks == 1  # 3 units of 32 lanes


@pytest.mark.parametrize("name", NAMES)
def test_long_fits_and_their_chunks(name, on_both):
    """Three and eleven chunks, the last one short; weights and missing samples move the chunks."""
    for n, samples in ((8193, "weights"), (10 * 4096 + 77, "omit")):
        X, y, weights = data_of((n, 1), name, samples, n, m=2)
        for algorithm in ("moments", "stream"):
            on_both(X, y, sample_weight=weights, nan_policy="omit", epochs=2, algorithm=algorithm, intercept=algorithm == "moments",
                    lr=None)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_many_features(name, on_both):
    """More than 16 columns: several tiles of pairs; more than 64 parameters: the row sum instead of
    Jacobi."""
    for d in (17, 66):
        X, y, _ = data_of((2 * d + 9, d), name, "all", d, m=1)
        on_both(X, y, epochs=2, lr=None)


@pytest.mark.parametrize("name", NAMES)
def test_small_fits_share_a_warp(name, on_both):
    """n = 1 … 17 samples: groups of 1, 2, 4, 8, 16 and 32 lanes."""
    for n in (1, 2, 3, 5, 9, 17):
        X, y, _ = data_of((n, 1), name, "all", n, m=37)
        on_both(X, y, epochs=3, lr=None, algorithm="moments", history=True)


def test_a_device_that_runs_out_of_memory(monkeypatch, caplog):
    """The part is halved until it fits, and the log says so; one fit that does not fit is an error
    with its size."""
    X, y, _ = data_of((64, 1), "float64", "all", 3, m=40)
    theirs = fastgd.fit(X, y, epochs=3, history=True, backend="cpu")
    for sizes, parts in (({"memory": 1500, "free": 10**9}, 2), ({"free": 50_000}, 2), ({"free": 20_000}, 4)):
        machine = HostDevice(**sizes)
        monkeypatch.setitem(DEVICES, "cuda-host", lambda machine=machine: machine)
        assert_same(fastgd.fit(X, y, epochs=3, history=True, backend="cuda-host"), theirs)
        assert len([name for name, _, _ in machine.launches if name.startswith("descend")]) >= parts
    assert "out of memory with 40 fits at a time; going on with 20" in caplog.text
    monkeypatch.setitem(DEVICES, "cuda-host", lambda: HostDevice(memory=8, free=10**9))
    with pytest.raises(MemoryError, match="one fit of 64 samples"):
        fastgd.fit(X, y, epochs=3, backend="cuda-host")


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("d", [2, 11])
def test_a_rate_of_its_own_for_every_epoch(algorithm, d):
    """lr (epochs, m), against the arbiter; the launches are cut."""
    rates = [0.05, 0.1, 0.0, 0.2, 0.01]
    work = chunk_of(*noisy(40, d, m=3), lr=np.tile(np.array(rates)[:, None], (1, 3)), epochs=5, momentum=0.5)
    work.algorithm[:] = ALGORITHMS.index(algorithm)
    descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice(epochs_per_launch=2))
    for f in range(3):
        run = arbiter.run(work.X[f], work.y[f], lr=rates, hyper={"momentum": 0.5}, epochs=5, algorithm=algorithm)
        assert np.array_equal(bits(work.history_w[f]), bits(run.w))
        assert np.array_equal(bits(work.history_loss[f]), bits(run.loss))


def test_cancelling_and_progress():
    """The flag is looked at between two launches; the progress adds up to all epochs of all
    fits."""
    work, progress, cancel = chunk_of(*noisy(40, 2, m=3), epochs=9), np.zeros(1, np.int64), np.zeros(1, np.int32)
    work.algorithm[:] = ALGORITHMS.index("moments")
    machine = HostDevice(epochs_per_launch=2)
    descend(work, cancel, progress, machine)
    assert progress[0] == 27
    assert len([name for name, _, _ in machine.launches if name.startswith("descend")]) == 5

    class Impatient(HostDevice):
        def launch(self, file, name, *others):
            super().launch(file, name, *others)
            cancel[0] = name.startswith("descend")

    work = chunk_of(*noisy(40, 2, m=3), epochs=9)
    work.algorithm[:] = ALGORITHMS.index("moments")
    machine = Impatient(epochs_per_launch=2)
    descend(work, cancel, progress, machine)
    assert len([name for name, _, _ in machine.launches if name.startswith("descend")]) == 1
    assert (work.w_out == 77).all()  # nothing half-done was handed out


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_places_beyond_2_31(algorithm):
    """Two fits at the ends of arrays of more than 2³¹ numbers each; what lies between is never
    touched, and takes no memory."""

    class Lending(HostDevice):
        def upload(self, array, dtype=None, alignment=8):
            return array if array.nbytes > 2**31 else super().upload(array)

    n_x, n = 2**31 // 100 + 7, 100
    work = chunk_of(*noisy(n, 1, m=2), dtype=np.float32, epochs=2, lr=0.1)
    work.algorithm[:] = ALGORITHMS.index(algorithm)
    theirs = copy.deepcopy(work)
    descend(theirs, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice())
    X, y = np.zeros((n_x, n, 1), np.float32), np.zeros((n_x, n), np.float32)  # the system gives pages as they are written
    X[0], X[-1], y[0], y[-1] = work.X[0], work.X[1], work.y[0], work.y[1]
    work.X, work.y, work.x_index, work.y_index = X, y, np.array([0, n_x - 1]), np.array([0, n_x - 1])
    assert X.size > 2**31
    descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), Lending())
    assert np.array_equal(bits(work.history_w), bits(theirs.history_w))
    assert np.array_equal(bits(work.w), bits(theirs.w))
