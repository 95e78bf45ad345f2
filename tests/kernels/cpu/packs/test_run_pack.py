"""Unchecked blocks of epochs (kernels/cpu/packs/): fits that pass a limit anywhere in a block, by
`==`."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cpu.packs.plain_epochs import MOST_UNROLLED
from fastgd.kernels.cpu.packs.run_pack import POLL
from fastgd.kernels.cpu.packs.state import EPOCHS
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.specification import arbiter
from tests.support.against_arbiter import same_bits
from tests.support.epoch_blocks import Blocks, arbiters_runs, assert_same_as, blocks_of, compressed, run_kernels

OMEGA = 2.0**120
EVERY = (0, 1, 3, 16, 20)


def data(m, n, d, seed, name="float32"):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n, d)).astype(name), rng.standard_normal((m, n)).astype(name)


def safe_rates(X, y, weights=None, reduction="mean"):
    own = [None] * len(X) if weights is None else weights
    return np.array([arbiter.safe_rate(arbiter.compress(*fit[:2], weights=fit[2]), reduction) for fit in zip(X, y, own, strict=True)])


def check(X, y, *, every=EVERY, **options) -> tuple[list[arbiter.Run], list[Blocks]]:
    """All fits against the arbiter, without a history and with several; and, of up to 32 float32
    fits, the blocks of each run."""
    options = {"w0": np.zeros((len(X), X.shape[2])), **options}
    runs, blocks = arbiters_runs(X, y, **options), []
    for rows in every:
        chunk, moments = compressed(X, y, every=rows, **options)
        if len(X) <= LANES and X.dtype == np.float32:
            blocks.append(blocks_of(chunk, moments))
            assert blocks[-1].at == [run.handover[0] for run in runs if run.handover]
        run_kernels(chunk, moments)
        assert_same_as(runs, chunk)
    return runs, blocks


def growing(rates, epochs):
    """Rates with which w grows to 2^60, where the loss of ordinary data passes its limit, in so
    many epochs."""
    return rates * (1 + 2.0 ** (60 / np.asarray(epochs)))


@pytest.mark.parametrize("d", [1, 2, 3, MOST_UNROLLED])
def test_fits_that_leave_at_every_epoch_of_a_block(d):
    """Two batches and some more: growth of every speed, from w0 = 0 or not; one in seven
    converges."""
    m = 75
    X, y = data(m, 6 + d, d, d)
    rates = safe_rates(X, y)
    lr = np.where(np.arange(m) % 7 == 5, rates, growing(rates, 1 + np.arange(m) * 0.7))
    w0 = np.random.default_rng(d).standard_normal((m, d)).astype(np.float32) * (np.arange(m) % 3 == 1)[:, None]
    runs, _ = check(X, y, lr=lr, w0=w0, epochs=60)
    left = {run.handover[0] for run in runs if run.handover}
    assert len(left) > 30
    assert {epoch % EPOCHS for epoch in left} == set(range(EPOCHS))
    assert any(run.handover is None for run in runs)


@pytest.mark.parametrize(("weights", "reduction"), [(None, "sum"), ("small", "mean"), ("large", "sum")])
def test_fits_that_leave_with_weights_and_of_a_sum(weights, reduction):
    """The least weight and their sum move the limits."""
    X, y = data(32, 9, 2, 7)
    if weights is not None:
        spread = np.random.default_rng(7).uniform(-20, 20, (32, 9)) + (-60 if weights == "small" else 60)
        weights = (2.0**spread).astype(np.float32)
    rates = safe_rates(X, y, weights, reduction)
    runs, _ = check(X, y, lr=growing(rates, 1 + np.arange(32)), epochs=40, weights=weights, reduction=reduction)
    assert len({run.handover[0] for run in runs if run.handover}) > 10


@pytest.mark.parametrize("epoch", [1, 2, 8, 14, 15, 16, 17, 18, 31, 32, 33])
def test_one_lane_leaves_and_the_others_go_on(epoch):
    X, y = data(32, 8, 2, 11)
    lr, lane = safe_rates(X, y), 3 * epoch % 32
    lr[lane] = growing(lr[lane], epoch)
    runs, blocks = check(X, y, lr=lr, epochs=80, every=(1, 0, 20))
    assert [f for f, run in enumerate(runs) if run.handover] == [lane]
    assert abs(runs[lane].handover[0] - epoch) <= 3
    assert blocks[0].left == [lane]
    assert blocks[0].repeated in (1, 2)  # the block in which it leaves; the one before where it ends above the safe size
    assert blocks[0].taken + blocks[0].repeated == 80 // EPOCHS
    assert all(some.taken for some in blocks)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("power", [50, 110, 160, 300])
def test_rates_that_are_huge_for_one_epoch(d, power):
    """Of fit f at epoch f: the update passes Ω, or the next row its loss limit, or w becomes
    infinite and then NaN within the block."""
    X, y = data(32, 8, d, d)
    lr = np.tile(safe_rates(X, y) * 0.5, (36, 1))
    lr[np.arange(32), np.arange(32)] *= 2.0**power
    runs, blocks = check(X, y, lr=lr, epochs=36, every=(0, 1, 3))
    assert {run.handover[1] for run in runs if run.handover} == {50: set(), 110: {"row"}, 160: {"update"}, 300: {"update"}}[power]
    assert sum(run.handover is not None for run in runs) == (0 if power == 50 else 32)
    assert [some.taken for some in blocks[:2]] == ([3, 3] if power == 50 else [0, 0])
    alone = slice(19, 20)  # in the second block
    _, blocks = check(X[alone], y[alone], lr=lr[:, alone], epochs=36, every=(0, 1, 3, 20))
    assert all(some.taken for some in blocks)
    assert all(bool(some.repeated) == (power != 50) for some in blocks)


def test_growth_without_end_within_a_block():
    """By 2^200 or so an epoch: infinite after five epochs, NaN after six, in a block of 16 or
    64."""
    X, y = data(32, 5, 2, 21)
    lr = safe_rates(X, y)
    lr[::4] *= 2.0 ** np.linspace(100, 250, 8)
    lr[1], lr[2] = math.inf, -math.inf
    runs, blocks = check(X, y, lr=lr, epochs=40)
    assert [f for f, run in enumerate(runs) if run.handover] == sorted([*range(0, 32, 4), 1, 2])
    assert all(np.isnan(runs[f].w[-1]).all() for f in range(0, 32, 4))
    assert blocks[1].taken == 2


def test_starts_that_are_not_finite():
    X, y = data(32, 5, 2, 22)
    w0 = np.ones((32, 2), np.float32)
    w0[3], w0[4], w0[20, 1] = math.nan, math.inf, math.nan
    runs, blocks = check(X, y, lr=safe_rates(X, y), w0=w0, epochs=100)
    assert [run.handover for run in runs if run.handover] == [(0, "row")] * 3
    assert all(some.taken for some in blocks)


# ------------------------------------------------------------------------------------ at the limits


def safe_size(X, y, share=0.9):
    """What `set_limits` calls SAFE, of one fit without weights: as its docstring says."""
    moments = arbiter.compress(X, y)
    w_limit, loss_limit = arbiter.overflow_limits(moments)
    reach = moments.D * max(math.sqrt(moments.hi[j][j]) for j in range(moments.D))
    by_loss = share * (math.sqrt(loss_limit) * math.sqrt(len(y))) - math.sqrt(moments.hi[-1][-1])
    return min(w_limit, OMEGA / 4, by_loss / reach)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 2.0**-70, 2.0**40])
def test_starts_around_the_safe_size_and_the_limits(d, scale):
    """A rate of 0: w stays where it is, just within or just beyond."""
    X, y = data(1, 4, d, 23)
    X = X * np.float32(scale)
    around = [np.float32(safe_size(X[0], y[0]) * factor) for factor in (0.5, 1, 1.1, 1.2, 2)]
    w_limit = arbiter.overflow_limits(arbiter.compress(X[0], y[0]))[0]
    around += [np.float32(w_limit * factor) for factor in (0.5, 1, 2)]
    sizes = [np.nextafter(size, np.float32(end)) for size in around for end in (0, np.inf)] + around
    verdicts, handovers = set(), set()
    for size in sizes:
        for sign in (1, -1):
            runs, blocks = check(X, y, lr=np.zeros(1), w0=np.full((1, d), sign * size), epochs=20, every=(0, 1))
            verdicts |= {(some.taken > 0, some.repeated > 0) for some in blocks if d == 1}
            handovers.add(runs[0].handover)
    assert handovers == {None, (0, "row")}
    assert d > 1 or verdicts == {(True, False), (False, True)}


def test_only_the_first_blocks_of_a_w_that_shrinks_are_repeated():
    """w begins beyond the safe size and halves: the largest |w| of a block is not that of the
    next."""
    X, y = data(1, 4, 1, 23)
    w0 = np.full((1, 1), np.float32(1.05 * safe_size(X[0], y[0])))
    runs, blocks = check(X, y, lr=safe_rates(X, y) * 0.5, w0=w0, epochs=80, every=(0, 1))
    assert runs[0].handover is None
    assert [(some.repeated, some.taken) for some in blocks] == [(1, 1), (1, 80 // EPOCHS - 1)]


@pytest.mark.parametrize("slower", [0.0, 0.7, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("start", [-0.999, -0.5, 0.3])
def test_w_that_passes_omega_step_by_step(slower, start):
    """x so small that the loss stays small: w goes on by 2^116 an epoch, or by less, until its
    update passes Ω."""
    X, y = np.full((1, 1, 1), 2.0**-70, np.float32), np.full((1, 1), 2.0**58, np.float32)
    w0 = np.full((1, 1), start * 2.0**118)
    runs, blocks = check(X, y, lr=np.full(1, 2.0 ** (127 - slower)), w0=w0, epochs=90)
    epoch, kind = runs[0].handover
    assert kind == "update"
    assert runs[0].w[epoch, 0] > 2.0**119
    assert all(some.repeated for some in blocks)
    assert blocks[1].taken == sum(abs(runs[0].w[last, 0]) <= 2.0**118 for last in range(EPOCHS, 90, EPOCHS))


@pytest.mark.parametrize("share", [0.2, 0.3, 0.45, 0.55, 0.7, 0.95])
def test_w_that_jumps_across_zero(share):
    """By a rate of 2/λ from w to -w and back: |w| never passes Ω, but lr · gradient does where |w|
    is more than half of it."""
    X, y, w0 = np.full((1, 1, 1), 2.0**-62, np.float32), np.zeros((1, 1), np.float32), np.full((1, 1), share * OMEGA)
    runs, blocks = check(X, y, lr=np.full(1, 2.0**124), w0=w0, epochs=40)
    assert runs[0].handover == ((0, "update") if share > 0.5 else None)
    assert all(bool(some.taken) == (share < 0.25) for some in blocks)
    assert all(bool(some.repeated) == (share > 0.25) for some in blocks)


def test_losses_that_pass_their_limit_by_a_rounding_error():
    """w_1 as large as √(n·loss) ≤ √yy + M·|w| allows and not larger, and a loss that its rounding
    errors lift above; then w comes back."""
    rng, found = np.random.default_rng(24), 0
    X, y, lr = np.empty((200, 1, 1), np.float32), np.empty((200, 1), np.float32), np.zeros((6, 200))
    for f in range(200):
        X[f], y[f] = rng.uniform(1, 2), rng.uniform(1, 2) * 2.0**50
        product = float(X[f, 0, 0]) * float(y[f, 0])
        lr[0, f] = -safe_size(X[f], y[f], share=1.0) / (2 * product)  # from 0 to there, against the sign of y
        lr[1:, f] = 0.4 / float(X[f, 0, 0]) ** 2  # back, to a fifth
    runs, _ = check(X, y, lr=lr, epochs=6, every=(0, 1))
    for f, run in enumerate(runs):
        w = arbiter.fma64(-lr[0, f], -2 * float(X[f, 0, 0]) * float(y[f, 0]), 0.0)
        found += run.handover == (1, "row") and abs(w) <= safe_size(X[f], y[f], share=1.0)
    assert found > 10


# -------------------------------------------------------------------------------------- all is well


@pytest.mark.parametrize("d", range(1, MOST_UNROLLED + 2))
def test_fits_that_stay(d):
    """Every number of parameters, epochs around the lengths of blocks: all blocks are taken."""
    m = 9 + d
    X, y = data(m, 6 + d, d, 30 + d)
    rates = safe_rates(X, y)
    for epochs in {1: (0, 1, 2, 15, 16, 17, 63, 64, 65, 130), 2: (31, 32, 33, 70)}.get(d, (37,)):
        _, blocks = check(X, y, lr=rates, epochs=epochs)
        lengths = [POLL, EPOCHS]  # without a history, with all rows
        assert [some.taken for some in blocks[:2]] == [-(-epochs // length) for length in lengths]
        assert [some.repeated for some in blocks] == [0] * len(EVERY)
    varying = rates * np.random.default_rng(d).uniform(0, 1.5, (40, 1))
    _, blocks = check(X, y, lr=varying, epochs=40)
    assert [some.taken for some in blocks[:2]] == [3, 3]


def test_of_more_parameters_blocks_are_repeated_too():
    X, y = data(5, 30, MOST_UNROLLED + 1, 40)
    rates = safe_rates(X, y)
    rates[2] = growing(rates[2], 9)
    runs, blocks = check(X, y, lr=rates, epochs=40, every=(0, 1))
    assert runs[2].handover
    assert [some.repeated for some in blocks] == [1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("d", "rule"), [(9, "sgd"), (12, "adam"), (16, "sgd"), (18, "nesterov")])
def test_fits_that_share_a_gram_matrix(d, rule, dtype):
    """Alone a fit runs one by one, without lanes. Two data sets in a call: packs of the one, of the
    other, and of both."""
    rng = np.random.default_rng(d)
    X = rng.normal(size=(2, 1, 1, 40, d)).astype(dtype)
    y = (X.sum(axis=-1) + rng.normal(size=(2, 2, 1, 40))).astype(dtype)
    lr = np.geomspace(1e-4, 0.2, 20)
    lr[7] = 1e30 if dtype == "float32" else 1e300
    optimizer = {"sgd": fastgd.SGD(), "adam": fastgd.Adam(), "nesterov": fastgd.SGD(momentum=0.9, nesterov=True)}[rule]
    options = {"optimizer": optimizer, "epochs": 21, "history": 2, "tol": 1e-3 if d == 16 else None}
    together = fastgd.fit(X, y, lr=lr, **options)
    for i, j, k in [(0, 0, 7), (1, 1, 7), *rng.integers([2, 2, 20], size=(14, 3)).tolist()]:
        alone = fastgd.fit(X[i, 0, 0], y[i, j, 0], lr=lr[k], **options)
        for name in ("w", "loss", "excess_loss", "status", "epochs"):
            assert same_bits(getattr(together, name)[i, j, k], getattr(alone, name)), name
        assert same_bits(together.history.w[i, j, k], alone.history.w)
        assert same_bits(together.history.loss[i, j, k], alone.history.loss)
    assert (together.status[:, :, 7] == fastgd.Status.DIVERGED).all()


@pytest.mark.parametrize("d", [1, 2, 5])
def test_float64_with_extreme_exponents_side_by_side(d):
    """Double-double has no blocks, but the lanes are of unlike scale: columns and y by 2^±500, fits
    that leave at many epochs."""
    m = 32
    X, y = data(m, 8, d, 50 + d, "float64")
    rng = np.random.default_rng(d)
    X, y = X * 2.0 ** rng.integers(-250, 251, (m, 1, 1)), y * 2.0 ** rng.integers(-250, 251, (m, 1))
    X[::5] *= 2.0 ** rng.integers(-100, 101, X[::5, :1].shape)
    rates = safe_rates(X, y)
    rates[::2] = rates[::2] * (1 + 2.0 ** (500 / (1 + np.arange(0, m, 2))))
    runs, _ = check(X, y, lr=rates, epochs=45, every=(0, 1, 3))
    left = {run.handover[0] for run in runs if run.handover}
    assert len(left) > 6
    assert sum(run.handover is None for run in runs) > 8


@pytest.mark.parametrize("d", [1, 2, 3, 4, 9])
def test_float64_in_blocks(d):
    """Epochs around the lengths of blocks, a rate for all epochs or for each, an odd batch of 33
    fits."""
    m = 33
    X, y = data(m, 3 * d + 6, d, 60 + d, "float64")
    rates = safe_rates(X, y)
    for epochs in {1: (0, 1, 15, 16, 17, 63, 64, 65, 130), 2: (31, 65)}.get(d, (37,)):
        check(X, y, lr=rates, epochs=epochs, every=(0, 1, 3))
    check(X, y, lr=rates * np.linspace(0, 1, 40)[:, None], epochs=40, every=(0, 3))


@pytest.mark.share(3)
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("power", [0, 99, 100, 101, -101, 480])
def test_float64_around_what_is_ordinary(d, power):
    """Columns, or y, of unlike sizes, starts around the size that is easy, and fits that grow
    beyond it within a block and leave later."""
    m = 32
    X, y = data(m, 7, d, 70 + d, "float64")
    for some_X, some_y in ((X * 2.0**power, y), (X, y * 2.0**power), (X * 2.0**-power, y * 2.0**power)):
        rates = safe_rates(some_X, some_y)
        easy = 2.0**30 * np.array([0.5, 1 - 2.0**-53, 1, 1 + 2.0**-52, 2, 2.0**60, 2.0**400, 2.0**900])
        w0 = np.zeros((m, d))
        w0[:8, 0], w0[8:16, -1] = easy, -easy
        rates[:16] *= np.arange(16) % 3
        with np.errstate(over="ignore"):
            rates[20:] *= 1 + 2.0 ** (1000 / (3 * np.arange(1, 13)))
        runs, _ = check(some_X, some_y, lr=rates, w0=w0, epochs=70, every=(0, 1))
        assert any(run.handover for run in runs[20:])
        assert abs(power) > 101 or sum(run.handover is None for run in runs) > 8
        check(some_X[16:17], some_y[16:17], lr=rates[16:17], w0=w0[16:17], epochs=70, every=(0, 1))
        check(some_X[:3], some_y[:3], lr=np.zeros(3), w0=w0[:3], epochs=70, every=(0, 1))  # every w is easy, whatever the columns are


@pytest.mark.parametrize("d", [1, 2, 8])
def test_y_alone_passes_the_limit_of_the_loss(d):
    """Every w is small, and the sizes of y from ordinary to beyond the limit."""
    m = 32
    X, y = data(m, 9 + d, d, 80 + d)
    y = (y * 2.0 ** np.linspace(36, 63, m)[:, None]).astype(np.float32)
    for w0 in (np.zeros((m, d)), np.ones((m, d))):
        runs, blocks = check(X, y, lr=safe_rates(X, y) * 2.0**-40, w0=w0, epochs=20)
        left = [f for f, run in enumerate(runs) if run.handover]
        assert 3 <= len(left) <= 8
        assert left == list(range(left[0], m))
        assert {runs[f].handover for f in left} == {(0, "row")}
        assert blocks[0].left == left
