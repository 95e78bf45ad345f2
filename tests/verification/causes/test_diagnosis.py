"""Causes by name: every planted defect, no false alarm, no sure answer where there is no name; what
cannot be told apart is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import fastgd
from fastgd.testing import problems, rates
from fastgd.verification.causes.table import CAUSES
from tests import grids
from tests.support import planted_descents as plants
from tests.support.nameless_defects import NAMELESS
from tests.support.planted_cases import KINDS, make_case
from tests.support.planted_verdicts import ALL_PLANTS, ask, draw, draw_named, judge
from tests.support.torch_histories import torch_history

SEED = 20260  # not one that was used while the hypotheses were written
DTYPES = ("float64", "float32")
EACH = 40
SLOW = {code for code in ALL_PLANTS if code.startswith(("adam", "rmsprop", "rule"))}  # seconds each
PLANTED = [
    *grids.thin("planted defects", [(code, k) for code in ALL_PLANTS for k in range(EACH) if code not in SLOW], 15),
    *grids.thin("planted defects of other rules", [(code, k) for k in range(EACH) for code in sorted(SLOW)], 2 * EACH),
]
X4 = np.array([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("code", ALL_PLANTS)
def test_planted_defects_are_named(code):
    """Never a wrong sure answer, nearly always the name. With one parameter some steps on parts of
    the samples are rightly unknown; they are not counted."""
    found = Counter()
    for k in (k for name, k in PLANTED if name == code):
        rng = np.random.default_rng([SEED, list(ALL_PLANTS).index(code), k])
        case = draw(rng, code, DTYPES[k % 2])
        planted = ALL_PLANTS[code](case, rng)
        diagnosis = ask(case, planted)
        verdict = judge(code, diagnosis, planted)
        found["unclear" if verdict == "unknown" and planted.w.shape[1] == 1 else verdict] += 1
        assert verdict != "WRONG", (k, case.name, str(diagnosis))
        assert all(CAUSES[one].sentence for one in diagnosis.codes)
    assert found["unknown"] <= 1 + sum(found.values()) // 5, found


@pytest.mark.parametrize("name", NAMELESS)
def test_a_defect_without_a_name_is_unknown(name):
    """With one parameter and no noise some are a scaled step, exactly: so two parameters at
    least."""
    for k in range(40 if grids.full else 10):
        rng = np.random.default_rng([SEED, 1000 + list(NAMELESS).index(name), k])
        case = make_case(rng, DTYPES[k % 2], kind=str(rng.choice(["normal", "scaled", "offset", "integers"])), least_d=2)
        diagnosis = ask(case, NAMELESS[name](case, rng))
        assert diagnosis.code in ("unknown", "ok"), (k, case.name, str(diagnosis))
        assert diagnosis.code == "unknown" or diagnosis.evidence["tau_asked"] <= 8


def test_two_defects_at_once():
    """One of the update and one of the loss are found independently of each other."""
    gradients = ("gradient_sum", "gradient_missing_two", "momentum", "gradient_sign", "l1")
    sizes = {"loss_sum": lambda n: n, "loss_half": lambda n: 0.5, "loss_n_minus_1": lambda n: n / (n - 1)}
    for k, (gradient, loss) in enumerate((g, size) for g in gradients for size in sizes):
        rng = np.random.default_rng([SEED, 2000, k])
        case = make_case(rng, DTYPES[k % 2], kind="normal", least_d=2)
        planted = plants.PLANTS[gradient](case, rng)
        n = len(case.y)
        both = replace(planted, loss=planted.loss * planted.loss.dtype.type(sizes[loss](n)))
        one = gradient == "gradient_missing_two" and loss == "loss_half"
        assert ask(case, both).codes == (("half_convention",) if one else (gradient, loss)), (k, str(ask(case, both)))


def test_no_false_alarm_on_correct_loops():
    worst = 0.0
    for k in range(500 if grids.full else 120):
        rng = np.random.default_rng([SEED, 3000, k])
        case = make_case(rng, DTYPES[k % 2], kind=str(rng.choice(KINDS)))
        diagnosis = ask(case, plants.correct(case))
        assert diagnosis.codes == ("ok",), (k, str(diagnosis))
        worst = max(worst, diagnosis.evidence["tau_asked"], diagnosis.evidence["tau_loss_asked"])
    print(f"\ncorrect NumPy loops: worst τ {worst:.2f}")


CORRECT = grids.thin(
    "correct torch histories",
    [(p.name, dtype, multiple) for p in problems() for dtype in p.dtypes for multiple in (0.5, 1.0, 1.9, 2.2)],
    4,
)


def test_no_false_alarm_on_torch():
    """Noisy, noise-free, ill-conditioned, unstable, subnormal, n = 1, d > n, huge: torch is right
    everywhere."""
    named = {problem.name: problem for problem in problems()}
    for name, dtype, multiple in CORRECT:
        problem = named[name].astype(dtype)
        lr = rates(problem)[multiple]
        history = torch_history(problem, lr, 30)
        diagnosis = fastgd.diagnose(
            problem.X, problem.y, history.w, history.loss, lr=lr, intercept=problem.intercept, w0=problem.w0, dtype=dtype
        )
        assert diagnosis.codes == ("ok",), (name, dtype, multiple, str(diagnosis))


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_no_false_alarm_on_our_algorithms(algorithm):
    named = {problem.name: problem for problem in problems()}
    for name, dtype, multiple in CORRECT:
        problem = named[name].astype(dtype)
        lr = rates(problem)[multiple]
        start = {"intercept": True, "intercept0": problem.w0[-1]} if problem.intercept else {}
        result = fastgd.fit(
            problem.X, problem.y, lr=lr, epochs=30, w0=problem.w0[: problem.n_features], algorithm=algorithm, history=True, **start
        )
        report = fastgd.verify(result, problem.X, problem.y, lr=lr, intercept=problem.intercept, w0=problem.w0)
        assert report.ok, (name, dtype, multiple, str(report))
        assert report.verdicts[0].limit == 2


def _tutorial(gradient, lr=0.01, epochs=20):
    w, losses = [0.0], []
    for _ in range(epochs):
        residual = w[-1] * X4 - 2 * X4
        losses.append(float((residual * residual).mean()))
        w.append(w[-1] - lr * gradient(residual))
    return np.array(w), np.array(losses)


def test_the_tutorial():
    w, losses = _tutorial(lambda residual: np.dot(2 * X4, residual).mean())
    diagnosis = fastgd.diagnose(X4, 2 * X4, w, losses, lr=0.01, w0=[0.0])
    assert (diagnosis.code, diagnosis.codes) == ("gradient_sum", ("gradient_sum",))
    assert "np.dot(...) is already the sum over the samples, so .mean() of it does nothing" in diagnosis.sentence
    assert "4 times too large" in diagnosis.sentence
    assert "lr_scaled" in diagnosis.also_possible
    assert diagnosis.evidence["first_epoch"] == 1
    assert diagnosis.evidence["tau"] <= 8 < diagnosis.evidence["tau_asked"]
    assert diagnosis.evidence["epochs_used"] == 20
    mended = diagnosis.fix
    assert mended == "gradient = 2 / len(y) * X.T @ residual"
    names = {"X": X4, "y": 2 * X4, "len": len}

    def fixed(residual):
        exec(mended, {}, names | {"residual": residual} | (scope := {}))
        return eval(mended.partition("=")[2], {"X": X4, "y": 2 * X4, "residual": residual, "scope": scope})

    again = fastgd.diagnose(X4, 2 * X4, _tutorial(fixed)[0], lr=0.01)
    assert again.ok


def test_what_is_equal_on_these_data_is_said():
    w, _ = _tutorial(lambda residual: np.dot(X4, residual))  # n = 4: the sum without the factor 2 is twice the mean's gradient
    diagnosis = fastgd.diagnose(X4, 2 * X4, w, lr=0.01)
    assert diagnosis.code == "gradient_sum_missing_two"
    assert {"gradient_double_two", "lr_scaled"} <= set(diagnosis.also_possible)
    w, _ = _tutorial(lambda residual: np.sign(np.dot(X4, residual)))
    diagnosis = fastgd.diagnose(X4, 2 * X4, w, lr=0.01)
    assert diagnosis.code == "sign_gradient"
    assert "normalized_gradient" in diagnosis.also_possible


def test_constants_are_estimated_and_told():
    rng = np.random.default_rng(1)
    case = make_case(rng, "float64", kind="normal", least_d=3)
    planted = plants.run(replace(case, epochs=40), rule=plants.heavy_ball(0.87))
    diagnosis = ask(case, planted)
    assert (diagnosis.code, diagnosis.evidence["value"]) == ("momentum", 0.87)
    planted = plants.run(replace(case, lr=case.lr * 0.3))
    diagnosis = ask(case, planted)
    assert (diagnosis.code, diagnosis.evidence["value"]) == ("lr_scaled", 0.3)


def test_an_unknown_cause_is_described():
    rng = np.random.default_rng(4)
    case = replace(make_case(rng, "float64", kind="normal", least_d=3), epochs=30)
    planted = plants.run(case)
    bent = planted.w.copy()
    bent[17:] += 0.01  # a jump of the record; the descent does not go on from it
    diagnosis = fastgd.diagnose(case.X, case.y, bent, lr=case.lr, intercept=case.intercept)
    assert diagnosis.code == "unknown"
    assert diagnosis.evidence["first_epoch"] == 17
    assert "the first wrong w is that of epoch 17" in diagnosis.sentence
    assert "not along the gradient" in diagnosis.sentence
    assert diagnosis.evidence["rivals"]


def _strange(rng):
    """Data and a record that have nothing to do with each other, anywhere in the range of the
    dtype."""
    n, d, rows, intercept = int(rng.integers(1, 9)), int(rng.integers(1, 5)), int(rng.integers(1, 12)), bool(rng.random() < 0.4)
    unit = 10.0 ** rng.choice([0, 3, -3, 37, -40, 150, -150, 300, -300])
    X, y = (rng.standard_normal(shape) * rng.choice([0, 1, 1e5, 1e-100, 1e100]) for shape in ((n, d), n))
    shape = (rows, d + intercept)
    kind = rng.integers(5)
    w = [
        rng.standard_normal(shape) * unit,
        np.zeros(shape),
        np.full(shape, unit),
        np.round(rng.standard_normal(shape)),
        rng.standard_normal(shape),
    ][kind]
    if kind == 4:
        w[rng.integers(rows) :] = rng.choice([np.nan, np.inf])
    loss = [None, rng.random(rows), np.zeros(rows), np.full(rows, np.nan)][rng.integers(4)]
    rules = ["sgd", "adam", fastgd.SGD(momentum=0.9), fastgd.SGD(momentum=0.9, nesterov=True, weight_decay=0.1), "rmsprop", "nadam"]
    asked = {
        "lr": float(rng.choice([0, 1e-3, 0.1, 1e5, 1e-30])), "optimizer": rules[rng.integers(len(rules))], "intercept": intercept,
        "reduction": str(rng.choice(["mean", "sum"])), "w0": [None, np.zeros(shape[1]), rng.standard_normal(shape[1])][rng.integers(3)],
    }  # fmt: skip
    with np.errstate(over="ignore"):
        return X, y, w.astype(rng.choice(["float32", "float64"])), loss, asked


def test_no_record_is_too_strange():
    """No error, no warning, and almost never a cause for what has none."""
    named = Counter()
    for k in grids.thin("strange records", range(500), 50):
        X, y, w, loss, asked = _strange(np.random.default_rng([SEED, 4000, k]))
        dtype = str(w.dtype)
        diagnosis = fastgd.diagnose(X, y, w, loss, dtype=dtype, **asked)
        report = fastgd.verify(w if loss is None else (w, loss), X, y, dtype=dtype, **asked)
        assert str(diagnosis)
        assert str(report)
        report.to_json()
        named[diagnosis.code] += 1
    honest = {"ok", "not_judged", "unknown", "initial_w", "not_finite", "loss_not_finite", "parameter_not_updated"}
    assert sum(named[code] for code in named.keys() - honest) <= 0.03 * sum(named.values()), named


def linear_maps():
    """With one parameter and no noise every gradient that is 0 at the best fit is a multiple."""
    x = X4
    yield "a power", lambda w: np.mean(np.abs(x) ** 0.5 * (w * x - 2 * x))
    yield "without x", lambda w: np.mean(2 * (w * x - 2 * x))
    yield "two samples", lambda w: np.mean((2 * x * (w * x - 2 * x))[[0, 3]])
    yield "a factor", lambda w: 3.31512 * np.mean(2 * x * (w * x - 2 * x))


@pytest.mark.parametrize(("name", "gradient"), list(linear_maps()))
def test_one_number_is_no_evidence_of_a_constant(name, gradient):
    w = [0.0]
    for _ in range(20):
        w.append(w[-1] - 0.01 * gradient(w[-1]))
    diagnosis = fastgd.diagnose(X4, 2 * X4, w, lr=0.01)
    assert diagnosis.code == "unknown"
    assert "lr_scaled" in diagnosis.also_possible
    assert diagnosis.fix == ""
    noise = np.array([0.3, -0.1, 0.2, 0.1])  # the same factor is evident where no other gradient is 0 at the best fit
    rows = [0.0]
    for _ in range(20):
        rows.append(rows[-1] - 0.01 * 3.31512 * np.mean(2 * X4 * (rows[-1] * X4 - 2 * X4 - noise)))
    evident = fastgd.diagnose(X4, 2 * X4 + noise, rows, lr=0.01)
    assert evident.code == "lr_scaled"
    assert evident.fix == "take the factor 3.31512 out of the step: w = w - lr * gradient"


def test_a_short_factor_is_evidence_of_itself():
    w = [0.0]
    for _ in range(20):
        w.append(w[-1] - 0.03 * np.mean(2 * X4 * (w[-1] * X4 - 2 * X4)))
    diagnosis = fastgd.diagnose(X4, 2 * X4, w, lr=0.01)
    assert diagnosis.code == "lr_scaled"
    assert diagnosis.evidence["rate"] == 0.03


def test_free_factors_are_no_schedule():
    rng = np.random.default_rng(8)
    X = rng.standard_normal((20, 4))
    y = X @ np.arange(4.0) + rng.standard_normal(20)
    w = [np.zeros(4)]
    for _ in range(15):
        w.append(w[-1] - 0.1 * rng.uniform(0.5, 1) * 2 / 20 * X.T @ (X @ w[-1] - y))
    diagnosis = fastgd.diagnose(X, y, w, lr=0.1)
    assert (diagnosis.code, diagnosis.fix) == ("unknown", "")
    assert "lr_schedule" in diagnosis.also_possible
    assert "along the gradient, times 0." in diagnosis.sentence


def test_clipping_takes_the_rounding_of_large_gradients_away():
    """Adam of which float32 shows few digits is not clipping to 1 beside gradients of 1e13."""
    rng = np.random.default_rng([9902040, 72, 7])
    case = draw_named(rng, "adam_correction_accumulates", "float32")
    planted = ALL_PLANTS["adam_correction_accumulates"](case, rng)
    assert ask(case, planted).code not in ("gradient_clipped", "gradient_clipped_values")
