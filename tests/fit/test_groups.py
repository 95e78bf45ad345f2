"""Fits of groups of rows: each group has the bits of the same fit done alone, whatever its size,
its place and its company; one that fails harms no other."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd import Status, schedules
from tests.support.fit_results import same
from tests.support.refusals import refused_call

RNG = np.random.default_rng(11)
SIZES = np.array([1, 7, 3, 40, 7, 2, 12, 33, 1, 64, 7, 12])
G, N = len(SIZES), int(SIZES.sum())
SORTED = np.repeat(np.arange(G) * 3, SIZES)
X, Y = RNG.normal(size=(N, 3)), RNG.normal(size=N)
W = RNG.uniform(0.5, 2, N) * (RNG.random(N) < 0.9)
MIXED = RNG.permutation(SORTED)
FIELDS = (
    "w",
    "intercept",
    "loss",
    "epochs",
    "status",
    "n_used",
    "lr",
    "excess_loss",
    "rank",
    "condition",
    "ill_conditioned",
    "center",
    "scale",
)
OF_STATE = ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess", "center", "scale")


def same_as_alone(result, labels, alone, n_leading=0):
    """Whether every group equals alone(its rows, its number), bit for bit."""
    keys = result.keys["group"]
    assert sorted(set(labels.tolist())) == sorted(keys.tolist())
    for g, key in enumerate(keys.tolist()):
        one, here = alone(np.flatnonzero(labels == key), g), (slice(None),) * n_leading + (g,)
        pairs = [(name, getattr(result, name), getattr(one, name)) for name in FIELDS]
        pairs += [(f"state.{name}", getattr(result.state, name), getattr(one.state, name)) for name in OF_STATE]
        if one.history is not None:
            pairs += [
                (f"history.{name}", getattr(result.history, name), getattr(one.history, name))
                for name in ("w", "intercept", "loss", "batch_loss")
            ]
        for name, ours, single in pairs:
            assert (ours is None) == (single is None), name
            if ours is None:
                continue
            here_ours = np.asarray(ours)[here]
            assert np.array_equal(here_ours, single, equal_nan=here_ours.dtype.kind == "f"), (name, key)
            assert here_ours.dtype == np.asarray(single).dtype or isinstance(single, Status), (name, key)


OPTIONS = {
    "a rate": {"lr": 0.1, "epochs": 30},
    "safe rates": {"epochs": 20, "intercept": True},
    "adam": {"optimizer": "adam", "epochs": 7, "intercept": True, "history": 3},
    "standardize": {"standardize": True, "intercept": True, "epochs": 10},
    "a tol": {"tol": 1e-3, "epochs": 200, "intercept": True},
    "stream": {"algorithm": "stream", "epochs": 5, "lr": 0.05},
    "float32": {"dtype": "float32", "epochs": 10, "lr": 0.1},
    "a schedule": {"schedule": schedules.StepLR(2), "epochs": 6, "lr": 0.2},
    "mini-batches": {"batch_size": 4, "seed": 3, "epochs": 4, "lr": 0.01, "history": True, "intercept": True},
    "the sum": {"reduction": "sum", "epochs": 5},
}


@pytest.mark.parametrize("labels", [SORTED, MIXED], ids=["sorted", "apart"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_group_is_the_fit_alone(options, labels):
    result = fastgd.fit_groups(X, Y, labels, **options)
    same_as_alone(result, labels, lambda rows, g: fastgd.fit(X[rows], Y[rows], **options))


@pytest.mark.parametrize(
    "options", [{}, {"intercept": True}, {"standardize": True, "intercept": True, "weight_decay": 0.1}, {"ridge": 0.5, "intercept": True}]
)
def test_a_group_is_solved_as_alone(options):
    result = fastgd.solve_groups(X, Y, MIXED, **options)
    same_as_alone(result, MIXED, lambda rows, g: fastgd.solve(X[rows], Y[rows], **options))


def test_backends(backend):
    result = fastgd.fit_groups(X, Y, MIXED, epochs=4, lr=0.1, backend=backend)
    same_as_alone(result, MIXED, lambda rows, g: fastgd.fit(X[rows], Y[rows], epochs=4, lr=0.1, backend=backend))
    assert result.backend == backend


def test_cuda(cuda_backend):
    import tests.cuda_on_host  # noqa: F401  registers cuda-host

    options = {"epochs": 4, "intercept": True, "sample_weight": W, "nan_policy": "omit"}
    few = SORTED < 12
    ours, host = (
        fastgd.fit_groups(X[few], Y[few], MIXED[few], **{**options, "sample_weight": W[few]}, backend=name)
        for name in (cuda_backend, "cpu")
    )
    assert all(same(getattr(ours, name), getattr(host, name)) for name in ("w", "intercept", "loss", "status", "n_used", "lr"))


GAPS = X.copy()
GAPS[RNG.random(X.shape) < 0.1] = np.nan
Y_GAPS = np.where(RNG.random(N) < 0.1, -999.0, Y)


@pytest.mark.parametrize("run", [(fastgd.fit_groups, fastgd.fit, {"epochs": 8}), (fastgd.solve_groups, fastgd.solve, {})])
@pytest.mark.parametrize("policy", ["omit", "propagate"])
def test_gaps_weights_and_too_few(run, policy):
    of_groups, alone, options = run
    options = {**options, "nan_policy": policy, "nodata": {"y": -999.0}, "min_samples": 5, "intercept": True}
    result = of_groups(GAPS, Y_GAPS, MIXED, sample_weight=W, **options)
    same_as_alone(result, MIXED, lambda rows, g: alone(GAPS[rows], Y_GAPS[rows], sample_weight=W[rows], **options))
    assert {Status.TOO_FEW_SAMPLES, Status.COMPLETED if policy == "omit" else Status.INVALID_DATA} <= set(result.status.tolist())
    kept = (W > 0) & (np.isfinite(GAPS).all(axis=1) & (Y_GAPS != -999) if policy == "omit" else True)
    assert result.n_used.tolist() == [int(kept[key == MIXED].sum()) for key in result.keys["group"]]


def test_masks_lists_and_what_arrow_gives():
    """A null of Arrow arrives as None in a list, as NaN beside floats, as a mask in NumPy."""
    holes = RNG.random(N) < 0.2
    expected = fastgd.fit_groups(X[~holes], Y[~holes], SORTED[~holes], epochs=5, lr=0.1, nan_policy="omit", min_samples=1)
    for y in (
        np.ma.array(Y, mask=holes),
        np.where(holes, np.nan, Y),
        [None if hole else value for hole, value in zip(holes, Y, strict=True)],
    ):
        found = fastgd.fit_groups(X, y, SORTED, epochs=5, lr=0.1, nan_policy="omit", min_samples=1)
        there = [found.find(key) for key in expected.keys["group"].tolist()]
        assert same(found.w[there], expected.w)
        assert same(found.n_used[there], expected.n_used)


def test_several_targets_and_a_grid_of_rates():
    targets, rates = np.stack([Y, 2 * Y, -Y]), np.array([0.01, 0.1])[:, None, None]
    result = fastgd.fit_groups(X, targets, MIXED, lr=rates, epochs=6)
    assert result.w.shape == (2, 3, G, 3)
    same_as_alone(result, MIXED, lambda rows, g: fastgd.fit(X[None, rows], targets[:, rows], lr=rates[..., 0], epochs=6), n_leading=2)
    solved = fastgd.solve_groups(np.stack([X, X + 1, X * X]), targets, MIXED, intercept=True)
    assert solved.w.shape == (3, G, 3)
    for g, key in enumerate(solved.keys["group"].tolist()):
        rows = key == MIXED
        assert same(solved.w[2, g], fastgd.solve((X * X)[rows], targets[2, rows], intercept=True).w)


def test_values_of_each_group():
    rates, decay, starts, betas = (RNG.uniform(0.01, 0.1, shape) for shape in (G, G, (G, 3), G))
    of_each = [None if g % 2 else schedules.StepLR(1 + g) for g in range(G)]

    def options(g):
        optimizer = fastgd.Adam(betas=(betas[g], 0.99), weight_decay=decay[g])
        return {"lr": rates[g], "w0": starts[g], "optimizer": optimizer, "schedule": of_each[g] if isinstance(g, slice) else [of_each[g]]}

    result = fastgd.fit_groups(X, Y, MIXED, epochs=5, **options(slice(None)))

    def alone(rows, g):
        return fastgd.fit(X[rows], Y[rows], epochs=5, **{**options(g), "schedule": of_each[g]})

    same_as_alone(result, MIXED, alone)
    assert same(result.hyperparameters["weight_decay"], decay)
    penalty = fastgd.solve_groups(X, Y, MIXED, weight_decay=decay)
    same_as_alone(penalty, MIXED, lambda rows, g: fastgd.solve(X[rows], Y[rows], weight_decay=decay[g]))
    ridge = fastgd.solve_groups(X, Y, MIXED, ridge=decay, intercept=True)
    same_as_alone(ridge, MIXED, lambda rows, g: fastgd.solve(X[rows], Y[rows], ridge=decay[g], intercept=True))
    assert same(ridge.hyperparameters["ridge"], decay)


STATISTICS = ("std_error", "t", "r2", "adjusted_r2", "dof", "f", "aic", "rank", "covariance", "ill_conditioned")


@pytest.mark.parametrize("stats", [True, "HC3", "cluster"])
@pytest.mark.parametrize("run", [(fastgd.solve_groups, fastgd.solve), (fastgd.fit_groups, fastgd.fit)])
def test_statistics_are_those_of_the_fit_alone(run, stats):
    of_groups, alone = run
    clusters = np.arange(N) % 5

    def asked(rows):
        return {"covariance": "cluster", "clusters": clusters[rows]} if stats == "cluster" else stats

    options = {"intercept": True, "nan_policy": "omit", "min_samples": 3, "sample_weight": W}
    result = of_groups(GAPS, Y, MIXED, stats=asked(slice(None)), **options)
    for g, key in enumerate(result.keys["group"].tolist()):
        rows = np.flatnonzero(key == MIXED)
        one = alone(GAPS[rows], Y[rows], stats=asked(rows), **{**options, "sample_weight": W[rows]}).stats
        for name in STATISTICS:
            assert np.array_equal(getattr(result.stats, name)[g], getattr(one, name), equal_nan=name != "ill_conditioned"), (name, key)
    targets = (
        of_groups(X, np.stack([Y, -2 * Y]), SORTED, stats=stats == "HC3" or "HC1", epochs=2) if of_groups is fastgd.fit_groups else None
    )
    assert targets is None or targets.stats.std_error.shape == (2, G, 3)


def test_a_state_goes_on():
    options = {"lr": 0.05, "optimizer": fastgd.SGD(momentum=0.9), "intercept": True}
    whole = fastgd.fit_groups(X, Y, MIXED, epochs=9, **options)
    first = fastgd.fit_groups(X, Y, MIXED, epochs=4, **options)
    second = fastgd.fit_groups(X, Y, MIXED, epochs=5, state=first.state, **options)
    assert same(second.w, whole.w)
    assert same(second.state.slots, whole.state.slots)
    options = {"lr": 0.01, "batch_size": 5}
    whole = fastgd.fit_groups(X, Y, MIXED, epochs=5, seed=np.arange(G), **options)
    first = fastgd.fit_groups(X, Y, MIXED, epochs=2, seed=np.arange(G), **options)
    assert same(fastgd.fit_groups(X, Y, MIXED, epochs=3, seed=np.arange(G), state=first.state, **options).w, whole.w)
    assert not same(fastgd.fit_groups(X, Y, MIXED, epochs=5, **options).w, whole.w)


def test_pieces_change_no_bit():
    expected = fastgd.fit_groups(X, Y, MIXED, epochs=5, intercept=True)
    for options in ({"threads": 1}, {"threads": 3}, {"memory_limit": 250_000}, {"progress": False}):
        found = fastgd.fit_groups(X, Y, MIXED, epochs=5, intercept=True, **options)
        assert same(found.w, expected.w)
        assert same(found.loss, expected.loss)


def test_closed_form():
    """Slopes and intercepts of lines, by exact rationals."""
    x, y = np.round(X[:, 0] * 64) / 64, np.round(Y * 64) / 64
    result = fastgd.solve_groups(x, y, SORTED, intercept=True)
    for g, key in enumerate(result.keys["group"].tolist()):
        xs, ys = ([Fraction(float(v)) for v in values[key == SORTED]] for values in (x, y))
        n, mean_x, mean_y = len(xs), sum(xs) / len(xs), sum(ys) / len(ys)
        variance = sum((v - mean_x) ** 2 for v in xs)
        if n < 3 or not variance:
            continue
        slope = sum((v - mean_x) * (u - mean_y) for v, u in zip(xs, ys, strict=True)) / variance
        # rounded once (2^-53) from moments in twice the precision, whose own error is below that
        offset = mean_y - slope * mean_x
        for found, exact in ((result.w[g], slope), (result.intercept[g], offset)):
            assert abs(Fraction(float(found)) - exact) <= abs(exact) * Fraction(1, 2**52)


def test_a_bad_group_harms_only_itself():
    bad, y = X.copy(), Y.copy()
    bad[SORTED == 9, 1] = np.inf
    y[SORTED == 21] = 1e300
    good = ~np.isin(np.arange(G) * 3, (9, 21))
    expected = fastgd.fit_groups(X, Y, SORTED, epochs=5, lr=1.0)
    found = fastgd.fit_groups(bad, y, SORTED, epochs=5, lr=1.0, nan_policy="propagate")
    assert same(found.w[good], expected.w[good])
    assert found.status[3] == Status.INVALID_DATA
    assert found.status[7] == Status.DIVERGED


def test_groups_without_rows():
    result = fastgd.fit_groups(X, Y, offsets=[0, 0, 5, 5, N], epochs=3, lr=0.1)
    assert result.n_used.tolist() == [0, 5, 0, N - 5]
    assert [status.name for status in map(Status, result.status.tolist())] == ["TOO_FEW_SAMPLES", "COMPLETED"] * 2
    assert np.isnan(result.w[[0, 2]]).all()
    assert same(result.w[3], fastgd.fit(X[5:], Y[5:], epochs=3, lr=0.1).w)
    assert result.keys["group"].tolist() == [0, 1, 2, 3]
    solved = fastgd.solve_groups(X, Y, offsets=[0, 0, N])
    assert solved.status.tolist() == [Status.TOO_FEW_SAMPLES, Status.COMPLETED]
    assert solved.rank.tolist() == [0, 3]


def test_missing_labels_are_a_group():
    labels = np.array(["a", None, "b", None], object)[np.arange(N) % 4]
    result = fastgd.fit_groups(X, Y, labels, epochs=3, lr=0.1)
    assert result.keys["group"].tolist() == ["a", None, "b"]
    assert int(result.n_used.sum()) == N
    assert same(result.w[1], fastgd.fit(X[1::2], Y[1::2], epochs=3, lr=0.1).w)


def test_several_keys():
    labels = {"tail": MIXED % 4, "day": np.arange(N) % 3}
    result = fastgd.fit_groups(X, Y, labels, epochs=3, lr=0.1)
    for g, (tail, day) in enumerate(zip(result.keys["tail"], result.keys["day"], strict=True)):
        rows = (labels["tail"] == tail) & (labels["day"] == day)
        assert same(result.w[g], fastgd.fit(X[rows], Y[rows], epochs=3, lr=0.1).w)
        assert result.find(tail, day) == g
    assert int(result.n_used.sum()) == N


def test_a_large_group_beside_small_ones():
    """The large one is compressed in parts."""
    sizes = [3, 70_000, 5, 3]
    x, y = RNG.normal(size=(sum(sizes), 2)), RNG.normal(size=sum(sizes))
    result = fastgd.fit_groups(x, y, offsets=np.cumsum([0, *sizes]), epochs=3, lr=0.1)
    assert same(result.w[1], fastgd.fit(x[3:70_003], y[3:70_003], epochs=3, lr=0.1).w)
    assert same(result.w[3], fastgd.fit(x[-3:], y[-3:], epochs=3, lr=0.1).w)


def test_what_it_says():
    result = fastgd.fit_groups(X, Y, SORTED, epochs=3, lr=3.0)
    assert repr(result).startswith(f"GroupResult({G} fits: ")
    assert f"moments: of 1 to {SIZES.max()} rows, each group computed as alone" in result.summary()
    assert "above the stability limit 2/lambda_max" in result.summary()  # of groups whose Hessians are kept from every batch
    assert result._curvatures.index.max() == G - 1


def test_progress_counts_all_groups():
    seen = []
    fastgd.fit_groups(X, Y, SORTED, epochs=7, lr=0.1, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (7 * G, 7 * G)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_ctrl_c_ends_it():
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastgd.fit_groups(X, Y, SORTED, epochs=7, lr=0.1, progress=interrupt)


def test_the_row_of_the_table_is_named():
    bad = X.copy()
    bad[N - 3, 1] = np.nan
    refused_call(
        ValueError, re.escape(f"X is not finite: nan in row {N - 3}, feature 1."), lambda: fastgd.fit_groups(bad, Y, MIXED, epochs=1)
    )
    refused_call(
        ValueError,
        re.escape("sample_weight must be at least 0; it is -1 in row 4"),
        lambda: fastgd.solve_groups(X, Y, MIXED, sample_weight=np.where(np.arange(N) == 4, -1.0, 1.0)),
    )


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({}, TypeError, "give groups, a label for each row, or offsets, where each group begins; neither was given"),
        ({"groups": SORTED, "offsets": [0, N]}, TypeError, "both were given"),
        ({"groups": SORTED, "lr": [0.1, 0.2]}, ValueError, "lr has shape (2,), but there are 12 groups"),
        ({"groups": SORTED, "w0": np.zeros((5, 3))}, ValueError, "w0 has shape (5, 3), but there are 12 groups"),
        ({"groups": SORTED, "w0": [[1.0], [2.0, 3.0]]}, TypeError, "w0 must be an array of real numbers; it is ragged"),
        ({"groups": SORTED, "out": {}}, ValueError, "fit_groups takes no out"),
        ({"groups": SORTED, "X_val": X}, ValueError, "fit_groups takes no X_val (groups have no validation data yet)"),
        ({"groups": SORTED, "epoch": 3}, TypeError, "fit_groups() has no option 'epoch': give epochs="),
        ({"groups": SORTED, "state": fastgd.fit(X, Y, epochs=0).state}, ValueError, "the state is of fits of shape ()"),
        ({"groups": SORTED, "lr": -1.0}, ValueError, "lr must be at least 0"),
        ({"groups": SORTED, "memory_limit": 1000}, MemoryError, "the results of 12 fits of 3 parameters need 1.5 KiB"),
        ({"groups": SORTED, "stats": "HC9"}, ValueError, "the covariance of stats must be"),
        ({"groups": SORTED, "stats": {"clusters": SORTED[:5]}}, ValueError, "clusters of stats must have a label for each of 189 rows"),
        ({"groups": SORTED, "stats": True, "optimizer": fastgd.SGD(weight_decay=0.1)}, ValueError, "stats are those of least squares"),
        ({"groups": SORTED[:-1]}, ValueError, f"a label for each of the {N} rows"),
    ],
)
def test_refusals(given, kind, words):
    refused_call(kind, re.escape(words), lambda: fastgd.fit_groups(X, Y, **given))
