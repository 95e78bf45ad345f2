"""The error bound: correct arithmetic stays below it, every planted defect is above it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgd.testing import NamedProblem, problems, rates
from fastgd.verification.bound import NonFinite, check_history, check_step, propagated_bound, yardstick
from fastgd.verification.oracle import exact_descent
from tests import grids
from tests.support.drawn_problems import draw_problem, draw_rate
from tests.support.refusals import message as message_of
from tests.support.torch_histories import DTYPES, SOMEBODY_ELSES, History, judge, torch_history
from tests.support.values_that_raise import VALUES

OURS = 2.0
NAMED = {problem.name: problem for problem in problems()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_stays_below_the_bound_on_every_problem(dtype, full, record_tau):
    for problem in problems(full):
        if dtype not in problem.dtypes:
            continue
        data = problem.astype(dtype)
        for reduction in ("mean", "sum"):
            for multiple, lr in rates(data, reduction).items():
                if not full and multiple not in ((1.9,) if reduction == "sum" else (0.5, 2.2)):
                    continue
                agreement = judge(data, torch_history(data, lr, 100 if full else 15, reduction), lr, reduction=reduction)
                assert agreement.steps_compared >= 10, (problem.name, multiple)
                case = f"{problem.name}, {reduction}, lr·λ = {multiple}"
                record_tau("torch.autograd", dtype, case, agreement.tau_w, agreement.tau_loss)
                assert agreement.tau_w <= SOMEBODY_ELSES, case
                assert agreement.tau_loss <= SOMEBODY_ELSES, case


@settings(max_examples=300 if grids.full else 100, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_torch_stays_below_the_bound_on_any_numbers(data):
    problem, _, reduction = draw_problem(data)
    lr = draw_rate(data, problem)
    history = torch_history(problem, lr, 1, reduction)
    agreement = judge(problem, history, lr, reduction=reduction)
    assert agreement.tau_w <= SOMEBODY_ELSES
    assert agreement.tau_loss <= SOMEBODY_ELSES


@pytest.mark.parametrize(
    ("X", "y", "w", "judged"),
    [
        (2.0**106, -(2.0**12), 0.0, True),  # the gradient is 2^119
        (2.0**108, -(2.0**12), 0.0, False),  # 2^121 > Ω = 2^120
        (2.0**21, 2.0**119, 2.0**98, True),  # X w = 2^119, the residual 0
        (2.0**21, 2.0**121, 2.0**100, False),
        (1.0, 2.0**59, 0.0, True),  # the loss is 2^118
        (1.0, 2.0**61, 0.0, False),
    ],
)
def test_every_limit_before_overflow(X, y, w, judged):
    loss = (X * w - y) ** 2
    step = check_step([X], [y], [w], [w], loss, lr=0.0, dtype="float32")
    assert (step.tau_w, step.tau_loss) == (0.0, 0.0) if judged else np.isnan([step.tau_w, step.tau_loss]).all()


@pytest.mark.parametrize(("lr", "judged"), [(2.0**119, True), (2.0**121, False)])
def test_the_limit_of_an_update(lr, judged):
    step = check_step([1.0], [-0.5], [0.0], [-lr], 0.25, lr=lr, dtype="float32")  # the gradient is 1
    assert step.tau_loss == 0
    assert step.tau_w == 0 if judged else np.isnan(step.tau_w)


@pytest.mark.parametrize("name", ["tutorial", "noisy", "intercept", "offset_1e6", "mixed_rows", "d_33", "n_4097"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_classic_defects_are_found(name, dtype):
    data = NAMED[name].astype(dtype)
    lr = rates(data)[1.0]
    assert judge(data, torch_history(data, lr, 10), lr).tau_w <= SOMEBODY_ELSES
    n = data.n_samples
    for factor in (0.5, n / (n - 1)):  # half the gradient; the mean over n - 1
        if dtype == "float64" or factor == 0.5 or n < 1000:  # 1/4096 is below the bound of a float32 sum of 4,097 products that cancel
            assert judge(data, torch_history(data, lr, 10, gradient_factor=factor), lr).tau_w > SOMEBODY_ELSES, factor
    if not data.intercept:
        late = judge(data, torch_history(data, lr, 10, loss_after=True), lr)
        assert late.tau_loss > SOMEBODY_ELSES
        assert late.tau_w <= SOMEBODY_ELSES


TINY = [("tutorial", 1e-13), ("noisy", 1e-13), ("intercept", 1e-13), ("d_33", 2e-13), ("n_4097", 1e-12)]


@pytest.mark.parametrize(("name", "error"), TINY)
def test_a_tiny_error_in_a_float64_gradient_is_found(name, error):
    lr = rates(NAMED[name])[1.0]
    for planted in (1e-6, error):
        agreement = judge(NAMED[name], torch_history(NAMED[name], lr, 10, gradient_factor=1 + planted), lr)
        assert agreement.tau_w > SOMEBODY_ELSES
        assert agreement.tau_loss <= SOMEBODY_ELSES


def test_a_sum_declared_as_a_mean_is_found():
    lr = rates(NAMED["tutorial"], "sum")[1.0]
    history = torch_history(NAMED["tutorial"], lr, 10, "sum")
    assert judge(NAMED["tutorial"], history, lr, reduction="sum").tau_w <= SOMEBODY_ELSES
    assert judge(NAMED["tutorial"], history, lr, reduction="mean").tau_w > SOMEBODY_ELSES


def test_the_epoch_of_the_worst_row_is_named():
    data = NAMED["noisy"]
    lr = rates(data)[1.0]
    history = torch_history(data, lr, 20)
    history.w[13:] += 1e-3 * np.arange(20 - 12)[:, None] ** 0  # a jump between the epochs 12 and 13, lost to nothing afterwards
    history.loss[5] *= 1.001
    agreement = judge(data, history, lr)
    assert (agreement.tau_w_epoch, agreement.tau_loss_epoch) == (13, 5)
    assert agreement.w_share[12] <= SOMEBODY_ELSES < agreement.w_share[13]
    assert np.isnan(agreement.w_share[0])  # no step leads to the start


@pytest.mark.parametrize("name", ["tutorial", "noisy", "intercept", "n_4097", "mixed_rows", "nist_longley"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_torch_is_judged_correct_until_it_overflows(name, dtype, reduction):
    data = NAMED[name].astype(dtype)
    lr = 40 * rates(data, reduction)[1.0]
    history = torch_history(data, lr, 260, reduction)
    bad = ~np.isfinite(history.w).all(1)
    first = int(np.argmax(bad))
    agreement = judge(data, history, lr, reduction=reduction)
    assert agreement.tau_w <= SOMEBODY_ELSES
    assert agreement.tau_loss <= SOMEBODY_ELSES
    assert bad[first]
    assert 0 < agreement.first_excluded <= agreement.nonfinite_loss.epoch <= first
    assert agreement.nonfinite_w == NonFinite(first, "nan" if np.isnan(history.w[first]).any() else "inf")
    assert agreement.steps_compared == agreement.first_excluded
    # at 39 times per epoch a fair share of the range must have been judged
    assert agreement.first_excluded > 0.4 * agreement.nonfinite_loss.epoch


def test_a_non_finite_value_that_comes_too_early_is_an_error():
    data = NAMED["noisy"]
    lr = rates(data)[1.0]
    history = torch_history(data, lr, 20)
    history.w[7, 1] = np.nan
    agreement = judge(data, history, lr)
    assert agreement.tau_w == np.inf
    assert (agreement.tau_w_epoch, agreement.nonfinite_w, agreement.nonfinite_loss) == (7, NonFinite(7, "nan"), None)
    history = torch_history(data, lr, 20)
    history.loss[3] = np.inf
    agreement = judge(data, history, lr)
    assert agreement.tau_loss == np.inf
    assert (agreement.tau_loss_epoch, agreement.nonfinite_w, agreement.nonfinite_loss) == (3, None, NonFinite(3, "inf"))


def test_non_finite_data_are_not_judged():
    X = np.array([[1.0], [np.inf]])
    agreement = check_history(X, [1.0, 2.0], np.full((3, 1), np.nan), np.full(3, np.nan), lr=0.1, dtype="float64")
    assert (agreement.steps_compared, agreement.losses_compared, agreement.first_excluded) == (0, 0, 0)
    assert (agreement.tau_w, agreement.tau_w_epoch) == (0.0, None)
    step = check_step(X, [1.0, 2.0], [0.0], [0.0], 1.0, lr=0.1, dtype="float64")
    assert np.isnan(step.tau_w)
    assert np.isnan(step.tau_loss)


def test_rows_that_are_not_neighbours_have_their_losses_judged_only():
    data = NAMED["noisy"]
    lr = rates(data)[0.5]
    whole, rows = torch_history(data, lr, 12), np.array([0, 1, 2, 5, 6, 9, 12])
    part = History(whole.w[rows], whole.loss[rows])
    agreement, every = judge(data, part, lr, epochs=rows), judge(data, whole, lr)
    assert (agreement.steps_compared, agreement.losses_compared) == (3, 7)
    assert np.array_equal(np.isnan(agreement.w_share), [True, False, False, True, False, True, True])
    assert np.array_equal(agreement.w_share[[1, 2, 4]], every.w_share[[1, 2, 6]])
    assert np.array_equal(agreement.loss_share, every.loss_share[rows])
    part.w[4] += 1e-6
    assert judge(data, part, lr, epochs=rows).tau_w_epoch == 6


def test_a_learning_rate_for_every_step():
    data = NAMED["noisy"]
    schedule = rates(data)[1.0] * 0.9 ** np.arange(10)
    w, parts = data.w0, []
    for lr in schedule:
        parts.append(torch_history(data_from(data, w), lr, 1))
        w = parts[-1].w[1]
    history = History(np.array([part.w[0] for part in parts] + [w]), np.array([part.loss[0] for part in parts] + [parts[-1].loss[1]]))
    assert judge(data, history, schedule).tau_w <= SOMEBODY_ELSES
    assert judge(data, history, schedule[::-1].copy()).tau_w > SOMEBODY_ELSES


def data_from(problem: NamedProblem, w0) -> NamedProblem:
    return NamedProblem(problem.name, "", problem.X, problem.y, w0, problem.intercept)


def test_history_step_and_blocks_give_the_same_shares(monkeypatch):
    data = NAMED["intercept"]
    lr = rates(data)[1.9]
    history = torch_history(data, lr, 25)
    whole, varied = judge(data, history, lr), judge(data, history, lr * np.linspace(0.9, 1.1, 25))
    rows = zip(history.w, history.w[1:], history.loss, strict=False)
    steps = [check_step(data.X, data.y, *row, lr=lr, dtype="float64", intercept=True) for row in rows]
    assert len(steps) == 25
    assert np.array_equal([step.tau_w for step in steps], whole.w_share[1:])
    assert np.array_equal([step.tau_loss for step in steps], whole.loss_share[:-1])
    for rows in (1, 2, 7, 25, 26):
        monkeypatch.setattr(yardstick, "BLOCK", rows * data.n_samples)
        parts = judge(data, history, lr)
        assert parts == whole
        assert np.array_equal(parts.w_share, whole.w_share, equal_nan=True)
        assert np.array_equal(parts.loss_share, whole.loss_share)
        assert np.array_equal(judge(data, history, lr * np.linspace(0.9, 1.1, 25)).w_share, varied.w_share, equal_nan=True)
        late = History(history.w.copy(), history.loss)
        late.w[20] = np.nan
        assert judge(data, late, lr).tau_w_epoch == 20


def test_an_intercept_is_a_column_of_ones():
    rng = np.random.default_rng(10)  # small integers and eighths: extended precision rounds nothing, so the order of the sums is nothing
    X, y, w = rng.integers(-8, 9, (8, 2)), rng.integers(-8, 9, 8), rng.integers(-64, 65, (6, 3)) / 8
    loss, ones = rng.integers(0, 99, 6) / 8, np.column_stack([X, np.ones(8)])
    for dtype in DTYPES:
        inside = check_history(X, y, w, loss, lr=0.125, dtype=dtype, intercept=True)
        outside = check_history(ones, y, w, loss, lr=0.125, dtype=dtype)
        assert inside == outside
        assert np.array_equal(inside.w_share, outside.w_share, equal_nan=True)
        assert np.array_equal(inside.loss_share, outside.loss_share)
        bounds = [propagated_bound(ones, y, w, lr=0.125, dtype=dtype), propagated_bound(X, y, w, lr=0.125, dtype=dtype, intercept=True)]
        assert np.array_equal(bounds[0][0], bounds[1][0])
        assert np.array_equal(bounds[0][1], bounds[1][1])


def test_a_wrong_intercept_is_found():
    data = NAMED["intercept"]
    lr = rates(data)[1.0]
    history = torch_history(data, lr, 10)
    history.w[1:, -1] += 1e-12 * np.arange(1, 11)
    assert judge(data, history, lr).tau_w > SOMEBODY_ELSES


@pytest.mark.parametrize("name", ["noisy", "offset_1e6", "mixed_rows", "condition_1e7", "intercept"])
def test_a_state_held_in_higher_precision(name):
    data = NAMED[name].astype("float32")
    worst = 0.0
    for lr in rates(data).values():
        history = torch_history(data.astype("float64"), lr, 30)
        observed = History(history.w.astype(np.float32), history.loss.astype(np.float32))
        agreement = judge(data, observed, lr, held_higher=True)
        worst = max(worst, agreement.tau_w, agreement.tau_loss)
    print(f"\n{name}: float64 state observed in float32: worst τ {worst:.2f}")
    assert worst <= OURS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64', not 'float16'"),
        ({"reduction": "total"}, "reduction must be 'mean' or 'sum', not 'total'"),
        ({"y": [1.0]}, r"y must have shape \(2,\), not \(1,\)"),
        ({"X": np.zeros((0, 1)), "y": []}, "at least one sample"),
        ({"w_history": np.zeros((3, 2))}, r"w_history must have shape \(m, 1\) for 1 features; it has \(3, 2\)"),
        ({"w_history": np.zeros(3)}, r"w_history must have shape \(m, 1\)"),
        ({"intercept": True}, r"\(m, 2\) for 1 features and an intercept, which is last"),
        ({"loss_history": np.zeros(4)}, r"loss_history must have shape \(3,\), not \(4,\)"),
        ({"epochs": [0, 1]}, r"epochs must have shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    right = {"X": [[1.0], [2.0]], "y": [1.0, 2.0], "w_history": np.zeros((3, 1)), "loss_history": np.zeros(3)}
    check_history(**right, lr=0.1, dtype="float64")
    with pytest.raises(ValueError, match=message):
        check_history(**(right | {"lr": 0.1, "dtype": "float64"} | change))


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_raise_are_refused_in_words(kind):
    value = VALUES[kind]()
    step = {"X": [[1.0], [2.0]], "y": [1.0, 2.0], "w": [0.0], "w_next": [1.0], "loss": 2.5, "lr": 0.1, "dtype": "float64"}
    rows = {"X": [[1.0], [2.0]], "y": [1.0, 2.0], "w_history": [[0.0]] * 3, "loss_history": [0.0] * 3, "lr": 0.1, "dtype": "float64"}
    for check, right, more in ((check_step, step, ()), (check_history, rows, ("epochs",))):
        for name in (*right, "reduction", "sample_weight", "intercept", "held_higher", *more):
            if kind == "repr of a number" and name in ("loss", "lr"):
                continue  # it is a number all the same
            with pytest.raises((ValueError, TypeError)) as caught:
                check(**(right | {name: value}))
            message_of(caught)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": None}, "dtype must be 'float32' or 'float64', not None"),
        ({"lr": [0.1, 0.1, 0.1]}, r"lr must be one number or one for each of the 2 steps; it has shape \(3,\)"),
        ({"lr": "0.1"}, "lr must be an array of real numbers"),
        ({"w_history": [[0j], [0], [0]]}, r"w_history\[0\] must be an array of real numbers"),
        ({"y": [1.0, None]}, "y must be an array of real numbers; a number is missing at index 1"),
        ({"w_history": np.zeros((0, 1)), "loss_history": []}, "w_history must have at least one row"),
        ({"epochs": [0, 2, 1]}, "epochs must be whole numbers that increase"),
        ({"epochs": [0, 0.5, 1]}, "epochs must be whole numbers that increase"),
        ({"intercept": 1}, "intercept must be True or False, not 1"),
        ({"held_higher": "no"}, "held_higher must be True or False, not 'no'"),
    ],
)
def test_what_is_of_a_wrong_kind_is_refused_in_words(options, said):
    right = {
        "X": [[1.0], [2.0]],
        "y": [1.0, 2.0],
        "w_history": np.zeros((3, 1)),
        "loss_history": np.zeros(3),
        "lr": 0.1,
        "dtype": "float64",
    }
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        check_history(**(right | options))
    message_of(caught)


def test_inputs_are_not_modified_and_may_be_read_only():
    data = NAMED["noisy"]
    lr = rates(data)[1.0]
    history = torch_history(data, lr, 5)
    copies = [array.copy() for array in (data.X, data.y, history.w, history.loss)]
    arrays = [array.copy() for array in copies]
    for array in arrays:
        array.flags.writeable = False
    check_history(*arrays, lr=lr, dtype="float64")
    propagated_bound(*arrays[:3], lr=lr, dtype="float64")
    assert all(np.array_equal(a, b) for a, b in zip(arrays, copies, strict=True))


def test_the_exact_history_of_the_tutorial_uses_nothing_of_the_bound():
    x = [1.0, 2.0, 3.0, 4.0]
    history = exact_descent(x, [2.0, 4.0, 6.0, 8.0], [0.0], lr=Fraction(1, 8), epochs=8)  # 1 - 15/8: exact in float64 for 8 epochs
    w, loss = np.array(history.w, float), np.array(history.loss, float)
    agreement = check_history(x, np.array(x) * 2, w, loss, lr=0.125, dtype="float64")
    assert (agreement.tau_w, agreement.tau_loss, agreement.steps_compared) == (0.0, 0.0, 8)
