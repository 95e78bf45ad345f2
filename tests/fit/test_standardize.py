"""standardize=True: the arbiter's bits, center and scale, torch on scaled features by τ, results in
the caller's units. Company, going on and bad fits are in test_standardize_company.py."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_lockstep, propagated_bound
from tests import grids
from tests.kernels.cpu.test_bits import KINDS, make_data
from tests.specification import arbiter
from tests.support.against_arbiter import same_bits
from tests.support.fit_results import batch
from tests.support.rule_options import assert_refused, rules_of

OURS, OTHERS = 2.0, 8.0
NAMES = ("float32", "float64")
HALF_ULP = {"float32": 2.0**-24, "float64": 2.0**-53}
OF_SCALE = {"float32": 1, "float64": 2.5}  # roundings: √ of a quotient of a sum in float64, which is exact enough for float32
OFFSETS = ("years", "julian days", "near overflow", "subnormal")  # beside the kinds of data of the bits


def data_of(kind: str, n: int, d: int, name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_data(n, d, name, kind if kind in KINDS else "normal")
    steps = np.random.default_rng([seed, n, d]).integers(0, 4, d)
    if kind == "years":
        X = 2000 + np.arange(n)[:, None] + steps
    elif kind == "julian days":  # in float32 some columns have too little left beside their mean
        X = 2451545 + np.arange(n)[:, None] * steps
    elif kind == "near overflow":
        X = X * (1e37 if name == "float32" else 1e307)
    elif kind == "subnormal":
        X = X * (1e-44 if name == "float32" else 1e-318)
    return X.astype(name), y


def rows_of(result, history=True):
    """w with the intercept as the last parameter: of the history, or of the result."""
    part = result.history if history else result
    return part.w if part.intercept is None else np.concatenate([part.w, part.intercept[..., None]], axis=-1)


# -- the specification -----------------------------------------------------------------------------

SIZES = ((1, 1), (3, 1), (33, 1), (100, 3), (513, 2), (40, 8), (12, 8), (5000, 2), (9000, 1))
BITS = list(product(SIZES, NAMES, KINDS + OFFSETS, (False, True), ("auto", "moments", "stream")))


@pytest.mark.parametrize(("size", "name", "kind", "intercept", "algorithm"), grids.thin("standardize, bits", BITS, 18))
def test_the_kernels_give_the_arbiters_bits(size, name, kind, intercept, algorithm):
    (n, d), k = size, BITS.index((size, name, kind, intercept, algorithm))
    rng = np.random.default_rng(k)
    X, y = data_of(kind, n, d, name)
    weights = None if k % 3 else rng.uniform(0.1, 3, n).astype(name) * (rng.random(n) < 0.9)
    if weights is not None:
        weights[0] = 1
    w0, start = rng.standard_normal(d), float(rng.standard_normal())
    settings = {"reduction": ("mean", "sum")[k % 2], "algorithm": algorithm, "intercept": intercept, "epochs": 6}
    result = fastgd.fit(X, y, standardize=True, history=True, sample_weight=weights, w0=w0, intercept0=start if intercept else None,
                        **settings)  # fmt: skip
    run = arbiter.run(X, y, lr=None, standardized=True, weights=weights, w0=[*w0, start], **settings)
    standard = run.state.standard
    assert same_bits(result.state.center, np.array(standard.center))
    assert same_bits(result.state.scale, np.array(standard.scale))
    assert same_bits(result.lr, np.float64(run.lr))
    assert same_bits(result.history.loss, run.loss)
    assert same_bits(rows_of(result), run.w)
    assert same_bits(result.state.w, run.state.w)
    assert fastgd.State.algorithm_names[int(result.state.algorithm)] == run.state.algorithm


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_past_overflow_too(name, algorithm):
    X, y = data_of("years", 30, 2, name)
    lr, epochs = 40.0, 220
    result = fastgd.fit(X, y, lr=lr, epochs=epochs, intercept=True, standardize=True, algorithm=algorithm, history=True)
    run = arbiter.run(X, y, lr=lr, epochs=epochs, intercept=True, standardized=True, algorithm=algorithm)
    assert run.first_bad is not None
    assert run.handover is not None or algorithm == "stream"
    assert same_bits(rows_of(result), run.w)
    assert same_bits(result.history.loss, run.loss)
    assert result.status == fastgd.Status.DIVERGED
    assert result.epochs == run.first_bad


@pytest.mark.parametrize("name", NAMES)
def test_wide_data_and_long_data(name):
    """More features than moments are used for; samples in many chunks and parts."""
    for n, d in ((300, 260), (70_000, 2)):
        X, y = batch(n=n, d=d)
        X = (X + 7).astype(name)
        y = y.astype(name)
        options = {"intercept": True, "standardize": True, "lr": 0.1}
        result = fastgd.fit(X, y, epochs=2, **options)
        if d > 256:
            assert result.algorithm == "stream"
        exact = X.astype(np.longdouble)
        for found, expected, roundings in ((result.center, exact.mean(0), 1), (result.scale, exact.std(0), OF_SCALE[name])):
            assert (np.abs(found - expected) <= 1.001 * roundings * HALF_ULP[name] * np.abs(expected)).all()
        check = next_step(X, y, "sgd", result, fastgd.fit(X, y, epochs=1, state=result.state, history=True, **options), lr=0.1)
        assert max(check.tau_w, check.tau_loss) <= OURS, check


# -- center and scale ------------------------------------------------------------------------------


def exact_standard(x, weights, intercept):
    """(mean, variance) as fractions: about the mean, or without an intercept about 0."""
    x, weights = [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in weights]
    total = sum(weights)
    mean = sum(o * v for o, v in zip(weights, x, strict=True)) / total if intercept else Fraction(0)
    return mean, sum(o * (v - mean) ** 2 for o, v in zip(weights, x, strict=True)) / total


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("kind", ["normal", "years", "mixed columns", "mixed rows"])
def test_center_and_scale_are_the_weighted_mean_and_the_population_deviation(kind, intercept, name, backend):
    """Of the samples that are used; without an intercept 0 and the root mean square."""
    X, y = data_of(kind, 60, 3, name)
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.5, 2, 60).astype(name)
    weights[5] = 0
    X[5], X[9, 1] = 1e9, np.nan
    options = {"nan_policy": "omit", "epochs": 0, "standardize": True, "intercept": intercept, "backend": backend}
    result = fastgd.fit(X, y, sample_weight=weights, **options)
    used = (weights != 0) & np.isfinite(X).all(1)
    assert result.center.dtype == result.scale.dtype == np.dtype(name)
    assert result.center.shape == (3,)
    for j in range(3):
        mean, variance = exact_standard(X[used, j], weights[used], intercept)
        # the moments are exact to 2^-24 of T's last digit here: what remains is one rounding
        assert abs(Fraction(float(result.center[j])) - mean) <= abs(mean) * Fraction(1.01 * HALF_ULP[name])
        scale = Fraction(float(result.scale[j]))
        assert abs(scale**2 - variance) <= variance * Fraction(2.01 * OF_SCALE[name] * HALF_ULP[name])


def test_columns_that_do_not_vary_have_scale_1(backend):
    """Constants, also such as no sum holds exactly, and columns of zeros: they do nothing."""
    X, y = batch(n=5000 if backend == "cpu" else 50, d=4)
    X[:, 1], X[:, 2] = 0.1, 0.0
    for name, weights in product(NAMES, (None, np.linspace(0.1, 1, len(y)))):
        own = X.astype(name)
        result = fastgd.fit(own, y, intercept=True, standardize=True, sample_weight=weights, dtype=name, w0=[0, 3, 4, 0], backend=backend)
        assert result.scale[1] == result.scale[2] == 1
        assert result.center[1] == own[0, 1]
        assert result.center[2] == 0
        assert result.w[1:3].tolist() == [3, 4]
        if backend == "cpu":  # torch and NumPy add in an order that depends on the number of columns
            options = {"intercept": True, "standardize": True, "sample_weight": weights, "dtype": name}
            without = fastgd.fit(own[:, [0, 3]], y, **options)
            assert fastgd.fit(own, y, **options).w[[0, 3]].tolist() == without.w.tolist()


def test_a_constant_column_without_an_intercept_is_a_feature():
    X = np.stack([np.full(6, 4.0), np.arange(6.0)], axis=1)
    result = fastgd.fit(X, 3 + X[:, 1], standardize=True, epochs=400)
    assert result.scale[0] == 4
    assert result.center.tolist() == [0, 0]
    # the eigenvalues are 0.174 and 1.826: an epoch leaves q = 0.905 of the error, and q^400 is
    # below u = 2^-53; roundings of u |w'| an epoch add up to u |w'| / (1 - q), and |w'| is 1.42
    # times its least entry
    assert (np.abs(result.w - [0.75, 1]) <= 17 * 2.0**-53).all()


def test_shapes_follow_x():
    X, y = batch(3, n=12)
    assert fastgd.fit(X, y, standardize=True, lr=[[0.1], [0.2]]).center.shape == (2, 3, 2)
    line = fastgd.fit(np.arange(5), [1, 2, 3, 4, 6], intercept=True, standardize=True)  # integers, 1-D
    assert (line.center, line.scale) == (2.0, np.sqrt(2.0))
    assert np.ndim(line.center) == 0
    assert fastgd.fit(X, y).center is None


# -- as torch does it ------------------------------------------------------------------------------


def scaled(X, result):
    """The features as a torch user would make them, in the dtype of the data."""
    return (X - result.center) / result.scale


def next_step(X, y, rule, before, after, lr, products_dtype="float64"):
    """The bound's verdict on one epoch, from the state of one result to that of the next."""
    name = X.dtype.name
    algorithm = before.state.algorithm_names[int(before.state.algorithm)]
    states = [(*(np.asarray(part, name) for part in (each.state.w, each.state.slots)), each.state.products) for each in (before, after)]
    return check_lockstep(
        scaled(X, after), y, (*states[0][:2], int(before.state.epoch), states[0][2]), states[1], after.history.loss[0],
        rule=UPDATE_RULES[rule], lr=lr, dtype=name, intercept=True, held_higher=algorithm == "moments", products_dtype=products_dtype,
    )  # fmt: skip


@pytest.mark.share(4)
@pytest.mark.parametrize("rule", UPDATE_RULES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["years", "mixed columns"])
def test_every_rule_in_lockstep_on_scaled_features(kind, rule, name, backend, record_tau):
    """One epoch at a time from the backend's own state, which is that of the scaled features."""
    if rule not in rules_of(backend):
        assert_refused(rule, backend)
        return
    X, y = data_of(kind, 50, 2, name)
    for algorithm in ("moments", "stream") if backend in ("cpu", "cuda") else ("auto",):
        options = {"optimizer": rule, "lr": 0.01, "backend": backend, "intercept": True, "standardize": True}
        result = fastgd.fit(X, y, epochs=0, algorithm=algorithm, w0=[0.01, -0.02], **options)
        own, nadams = backend in ("cpu", "cuda"), rule == "nadam" and backend == "torch"
        for _ in range(10):
            before = result
            result = fastgd.fit(X, y, epochs=1, state=before.state, history=True, **options)
            check = next_step(X, y, rule, before, result, lr=0.01, products_dtype="float32" if nadams else "float64")
            record_tau(f"{backend} {algorithm}, standardised", name, f"{kind} {rule}", check.tau_w, check.tau_loss)
            assert max(check.tau_w, check.tau_slots, check.tau_loss) <= (OURS if own else OTHERS), check


def torch_descent(X, y, lr, epochs):
    """w (epochs + 1, D) and loss of torch.optim.SGD on X as it is, the intercept last."""
    import torch

    X, y = torch.from_numpy(X.copy()), torch.from_numpy(y.copy())
    w, b = torch.zeros(X.shape[1], dtype=X.dtype, requires_grad=True), torch.zeros((), dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.SGD([w, b], lr=lr)
    rows, losses = [], []
    for _ in range(epochs + 1):
        optimizer.zero_grad()
        residual = X @ w + b - y
        loss = (residual * residual).mean()
        loss.backward()
        rows.append(np.append(w.detach().numpy(), b.item()))
        losses.append(loss.item())
        optimizer.step()
    return np.array(rows, X.numpy().dtype), np.array(losses)


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["years", "julian days", "mixed columns", "normal"])
def test_every_epoch_agrees_with_torch_on_standardised_data(kind, name, algorithm, torch):
    """Free running: ours and torch's differ by no more than what rounding can do to each."""
    X, y = data_of(kind, 200, 2, name, seed=1)
    options = {"intercept": True, "standardize": True, "lr": 0.3}
    result = fastgd.fit(X, y, epochs=0, algorithm=algorithm, **options)
    rows, losses = [result.state.w], [result.loss]
    for _ in range(40):
        result = fastgd.fit(X, y, epochs=1, state=result.state, **options)
        rows.append(result.state.w)
        losses.append(result.loss)
    held, own = name == "float32" and algorithm == "moments", scaled(X, result)
    rows = np.array(rows).astype(name)
    torch_w, torch_loss = torch_descent(own, y, 0.3, 40)
    ours = propagated_bound(own, y, rows, lr=0.3, dtype=name, intercept=True, held_higher=held)
    theirs = propagated_bound(own, y, torch_w, lr=0.3, dtype=name, intercept=True)
    assert (np.abs(rows.astype(float) - torch_w) <= OURS * ours[0] + OTHERS * theirs[0]).all()
    assert (np.abs(np.array(losses, float) - torch_loss) <= OURS * ours[1] + OTHERS * theirs[1]).all()


# -- the caller's units ----------------------------------------------------------------------------


def test_the_start_is_given_in_the_callers_units(backend):
    """At epoch 0 the loss is that of w0 and intercept0, and they come back."""
    x, y = np.repeat([20.0, 28.0], 4), np.repeat([1.0, 2.0], 4)  # mean 24, deviation 4; every number below is exact
    result = fastgd.fit(x, y, intercept=True, standardize=True, w0=0.25, intercept0=-3.0, epochs=0, history=True, backend=backend)
    assert (result.center, result.scale) == (24, 4)
    assert result.state.w.tolist() == [1.0, 3.0]
    assert (result.w, result.intercept) == (0.25, -3.0)
    assert result.loss == np.mean((0.25 * x - 3 - y) ** 2)
    assert result.history.w.tolist() == [0.25]
    assert result.history.intercept.tolist() == [-3.0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_every_row_is_reported_in_the_callers_units(name, algorithm):
    """By hand from the state of a shorter fit; the last row is w; rows after convergence stay."""
    X, y = data_of("years", 40, 2, name)
    options = {"intercept": True, "standardize": True, "algorithm": algorithm, "lr": 0.2, "w0": [0.5, -0.25], "intercept0": 2.0}
    whole = fastgd.fit(X, y, epochs=9, history=True, **options)
    for t in (0, 1, 4, 9):
        state = fastgd.fit(X, y, epochs=t, **options).state
        own = state.w.astype(name).astype(float)
        w = own[:2] / state.scale
        b = own[2] - w[0] * state.center[0] - w[1] * state.center[1]
        assert whole.history.w[t].tolist() == w.astype(name).tolist()
        assert whole.history.intercept[t] == np.dtype(name).type(b)
    assert whole.w.tolist() == whole.history.w[-1].tolist()
    assert whole.intercept == whole.history.intercept[-1]
    stopped = fastgd.fit(X, y, epochs=60, history=7, tol=0.9, **options)
    assert stopped.status == fastgd.Status.CONVERGED
    rows = rows_of(stopped)[-(-int(stopped.epochs) // 7) :]
    assert len(rows) > 1
    assert (rows == rows_of(stopped, history=False)).all()


def test_lr_and_weight_decay_act_on_the_scaled_features(backend):
    """A fit of features that were scaled by hand, exactly."""
    x = np.tile([20.0, 28.0], 4)
    y = np.arange(8.0)
    options = {"optimizer": fastgd.SGD(lr=0.125, weight_decay=0.5), "intercept": True, "epochs": 7, "backend": backend}
    by_hand = fastgd.fit((x - 24) / 4, y, **options)
    result = fastgd.fit(x, y, standardize=True, **options)
    assert result.state.w.tolist() == by_hand.state.w.tolist()
    assert result.w == by_hand.w / 4
    assert result.loss == by_hand.loss


AXES = {  # time axes as users have them: {name: (x, dtypes in which its spread is there)}
    "years": (np.arange(1990, 2021.0), NAMES),
    "days since 1900": (43830.0 + np.arange(365), NAMES),
    "seconds since 1970": (1.6e9 + 3600.0 * np.arange(500), NAMES),
    "milliseconds": (1.6e12 + 1000.0 * np.arange(500), ("float64",)),
    "miles": (np.random.default_rng(5).choice([187.0, 200, 529, 719, 1089, 1400, 2475, 4983], 400), NAMES),
}


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis, (_, names) in AXES.items() for name in names])
def test_raw_axes_reach_the_closed_form_in_100_epochs(axis, name, backend):
    """w, and the prediction at the mean, to a few roundings of the exact least squares."""
    x = AXES[axis][0].astype(name)
    y = (0.02 * np.linspace(-1, 1, len(x)) + np.sin(np.arange(len(x)))).astype(name)
    result = fastgd.fit(x, y, intercept=True, standardize=True, backend=backend)
    n, X, Y = len(x), [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in y]
    mean, mean_y = sum(X) / n, sum(Y) / n
    slope = sum((a - mean) * b for a, b in zip(X, Y, strict=True)) / sum((a - mean) ** 2 for a in X)
    u, spread = HALF_ULP[name], float(np.std(y.astype(float)))
    # one step of the safe rate is all that it takes; its sums and what is reported are rounded
    few = (n + 10 if backend != "cpu" else 10) * u
    scale = float(result.scale)
    assert abs(Fraction(float(result.w)) - slope) * Fraction(scale) <= Fraction(few * (spread + abs(float(mean_y))))
    there = Fraction(float(result.intercept)) + Fraction(float(result.w)) * Fraction(float(result.center))
    most = Fraction(few) * (Fraction(spread) + abs(mean_y)) + Fraction(2 * u) * abs(Fraction(float(result.w))) * abs(mean)
    assert abs(there - mean_y - slope * (Fraction(float(result.center)) - mean)) <= most
    if axis != "miles":
        plain = fastgd.fit(x, y, intercept=True, backend=backend)
        assert abs(float(plain.w) - float(slope)) > abs(float(slope)) / 2, "the axis as it is hides the trend"


# -- how near the minimum --------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["years", "mixed columns", "constant column"])
@pytest.mark.parametrize("name", NAMES)
def test_tol_and_excess_are_those_of_the_scaled_features(name, kind, decay):
    """The arbiter's epoch and bits: the penalty, and with it F*, is that of the scaled w."""
    X, y = data_of(kind, 50, 2, name)
    rule, hyper = fastgd.SGD(lr=0.05, weight_decay=decay), {"weight_decay": decay}
    result = fastgd.fit(X, y, intercept=True, standardize=True, optimizer=rule, epochs=300, tol=1e-4, history=True)
    run = arbiter.run(X, y, lr=0.05, hyper=hyper, intercept=True, standardized=True, epochs=300, tol=1e-4)
    assert result.status == fastgd.Status.CONVERGED
    assert result.epochs == run.converged
    assert same_bits(rows_of(result), run.w)
    assert same_bits(result.excess_loss, np.asarray(run.excess, name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["years", "julian days"])
def test_a_fit_on_samples_stops_near_its_minimum_too(kind, name, backend):
    """Within tol of the objective at the minimiser that solve gives."""
    X, y = data_of(kind, 50, 2, name)
    decay, options = 0.3, {"intercept": True, "standardize": True}
    algorithm = "stream" if backend in ("cpu", "cuda") else "auto"
    result = fastgd.fit(X, y, optimizer=fastgd.SGD(lr=0.05, weight_decay=decay), epochs=500, tol=1e-3, algorithm=algorithm,
                        backend=backend, **options)  # fmt: skip
    least = fastgd.solve(X.astype(float), y.astype(float), weight_decay=decay, **options)
    before = fastgd.fit(X.astype(float), y.astype(float), lr=0.05, epochs=0, **options)

    def objective(fit):
        return float(fit.loss) + decay / 2 * float((fit.state.w**2).sum())

    assert result.status == fastgd.Status.CONVERGED
    assert 1 < result.epochs < 500
    assert objective(result) - objective(least) <= 1.01e-3 * (objective(before) - objective(least))
    assert objective(result) - objective(least) > 5e-4 * (objective(before) - objective(least))
