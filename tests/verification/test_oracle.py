"""The oracles against rationals worked out by hand, against closed forms, and against each
other."""

import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastgd.verification.oracle import exact_descent, extended_descent
from tests.support.refusals import message
from tests.support.values_that_raise import VALUES

X, Y = [1, 2, 3, 4], [2, 4, 6, 8]  # the tutorial; XᵀX = 30, so the gradient is 60 (w − 2) for the sum and 15 (w − 2) for the mean


@pytest.mark.parametrize(
    ("lr", "reduction", "factor"),
    [("0.01", "sum", Fraction(2, 5)), ("0.1", "mean", Fraction(-1, 2)), ("0.01", "mean", Fraction(17, 20)), ("0.2", "mean", Fraction(-2))],
)
def test_the_tutorial(lr, reduction, factor):
    history = exact_descent(X, Y, [0], lr=lr, epochs=20, reduction=reduction)
    assert history.w == [[2 - 2 * factor**t] for t in range(21)]
    assert history.loss == [Fraction(30, 4) * (2 * factor**t) ** 2 for t in range(21)]


def test_a_float_is_taken_at_its_value():
    factor = 1 - 15 * Fraction(3602879701896397, 2**55)  # 0.1 in float64
    assert exact_descent(X, Y, [0], lr=0.1, epochs=5).w[5] == [2 - 2 * factor**5]
    factor = 1 - 15 * Fraction(13421773, 2**27)  # 0.1 in float32
    assert exact_descent(np.float32(X), np.float32(Y), np.float32([0]), lr=np.float32(0.1), epochs=5).w[5] == [2 - 2 * factor**5]
    longer = np.longdouble(1) / 3
    assert exact_descent([longer], [longer], [0], lr=Decimal("0.5"), epochs=1).w[1] == [Fraction(*longer.as_integer_ratio()) ** 2]


def test_two_features_and_an_intercept_by_hand():
    # samples (1, 0) and (0, 2), targets 1 and 1, from w = (0, 0), intercept 1: r = (0, 0) + 1 − 1 =
    # 0, so it stays
    still = exact_descent([[1, 0], [0, 2]], [1, 1], [0, 0, 1], lr=1, epochs=2, intercept=True)
    assert still.w == [[0, 0, 1]] * 3
    assert still.loss == [0] * 3
    # from intercept 0: r = (−1, −1), g = (2/2)(−1, −2, −2), w = (1, 2, 2)/2; r = (1/2 + 1 − 1, 2 +
    # 1 − 1) = (1/2, 2)
    moved = exact_descent([[1, 0], [0, 2]], [1, 1], [0, 0, 0], lr="1/2", epochs=1, intercept=True)
    assert moved.w[1] == [Fraction(1, 2), 1, 1]
    assert moved.loss == [1, Fraction(17, 8)]


def test_rows_or_one_feature():
    column = [[value] for value in X]
    assert exact_descent(column, Y, [0], lr="0.1", epochs=3) == exact_descent(np.array(X), np.array(Y), [0.0], lr="0.1", epochs=3)


def test_momentum_by_hand():
    # one sample x = 1, y = 1, lr = 1/4: g = 2 (w − 1). v₁ = −2, w₁ = 1/2; v₂ = v₁/2 + g = −1 − 1 =
    # −2, w₂ = 1; v₃ = −1 + 0 = −1, w₃ = 5/4
    history = exact_descent([1], [1], [0], lr="1/4", epochs=3, hyper={"momentum": 0.5})
    assert history.w == [[0], [Fraction(1, 2)], [1], [Fraction(5, 4)]]
    # dampening 1/2 acts from the second step on: v₂ = −1 − 1/2 = −3/2, w₂ = 7/8
    damped = exact_descent([1], [1], [0], lr="1/4", epochs=2, hyper={"momentum": 0.5, "dampening": 0.5})
    assert damped.w == [[0], [Fraction(1, 2)], [Fraction(7, 8)]]
    # nesterov: g + v/2. v₁ = −2, w₁ = 0 + (2 + 1)/4 = 3/4
    nesterov = exact_descent([1], [1], [0], lr="1/4", epochs=1, hyper={"momentum": 0.5, "nesterov": True})
    assert nesterov.w[1] == [Fraction(3, 4)]
    # weight decay 1 at w = 1: g = 0 + 1, w = 3/4; the loss has no penalty. Maximising goes the
    # other way: (g → −g) + 1
    decayed = exact_descent([1], [1], [1], lr="1/4", epochs=1, hyper={"weight_decay": 1})
    assert (decayed.w[1], decayed.loss) == ([Fraction(3, 4)], [0, Fraction(1, 16)])
    assert exact_descent([1], [1], [0], lr="1/4", epochs=1, hyper={"maximize": True}).w[1] == [Fraction(-1, 2)]


def test_weights_by_hand():
    # weights 1, 3 on (x, y) = (1, 1), (2, 0): Σωx² = 13, Σωxy = 1, Σωy² = 1, Σω = 4. From w = 1:
    # the loss is (0 + 3·4)/4 = 3, g = (2/4)(13 − 1) = 6; lr = 1/12: w = 1/2, where the loss is
    # (1·1/4 + 3·1)/4
    moved = exact_descent([1, 2], [1, 0], [1], lr=Fraction(1, 12), epochs=1, sample_weight=[1, 3])
    assert (moved.w, moved.loss) == ([[1], [Fraction(1, 2)]], [3, Fraction(13, 16)])
    # the sum: four times the gradient; the loss stays the mean
    of_sum = exact_descent([1, 2], [1, 0], [1], lr=Fraction(1, 48), epochs=1, sample_weight=[1, 3], reduction="sum")
    assert of_sum == moved
    # with an intercept, from (0, 0): r = (−1, 0), g = (2/4)(−1, −1)
    moved = exact_descent([1, 2], [1, 0], [0, 0], lr=1, epochs=1, sample_weight=["1", "3"], intercept=True)
    assert moved.w[1] == [Fraction(1, 2), Fraction(1, 2)]


@pytest.mark.parametrize("descent", [exact_descent, extended_descent])
def test_weights_that_are_all_one_or_zero(descent):
    given = {"w0": [0, 0], "lr": 0.05, "epochs": 4, "intercept": True}
    plain = descent(X, Y, **given)
    assert descent(X, Y, sample_weight=np.ones(4), **given) == plain
    assert descent(X, Y, sample_weight=[Fraction(1, 3)] * 4, **given) == plain or descent is extended_descent
    holed = descent([1, float("nan"), 2, 3, 4], [2, 1, 4, 6, 8], sample_weight=[1, 0, 1, 1, 1], **given)
    assert holed == plain
    twice = descent([1, 1, 2, 3, 4], [2, 2, 4, 6, 8], **given)  # a weight of 2 is a sample that is there twice
    assert descent(X, Y, sample_weight=[2, 1, 1, 1], **given) == twice


OPTIONS = [{}, {"momentum": 0.9, "dampening": 0.1}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}]


@pytest.mark.parametrize("hyper", OPTIONS)
@pytest.mark.parametrize("intercept", [False, True])
def test_extended_equals_exact_to_its_digits(hyper, intercept):
    rng = np.random.default_rng(1)
    features, targets, start = rng.standard_normal((20, 3)), rng.standard_normal(20), rng.standard_normal(3 + intercept)
    given = {"lr": 0.05, "epochs": 30, "intercept": intercept, "hyper": hyper}
    exact, digits = exact_descent(features, targets, start, **given), 40
    history = extended_descent(features, targets, start, **given, digits=digits)
    finer = extended_descent(features, targets, start, **given, digits=digits + 10)
    for rows in ("w", "loss"):
        worst, worst_finer = (
            max(abs(a - Fraction(int(b.man) * (-1) ** (b < 0)) * Fraction(2) ** int(b.exp)) for a, b in zip(*pair, strict=True))
            for pair in ((flat(getattr(exact, rows)), flat(getattr(other, rows))) for other in (history, finer))
        )
        # nothing in these descents exceeds 2^7, and none of their epochs makes more than 100
        # roundings; stable rates carry no error further than momentum does: by 1 / (1 − 0.9)
        assert worst <= 30 * 100 * 10 * 2**7 * Fraction(10) ** -(digits - 1)
        assert worst_finer <= 30 * 100 * 10 * 2**7 * Fraction(10) ** -(digits + 9)
        assert worst > 0  # it is really rounded


def flat(values):
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def test_extended_follows_the_closed_form_for_long():
    history = extended_descent(X, Y, [0], lr="0.1", epochs=300, digits=150)
    for t in (100, 200, 300):
        assert float(history.w[t][0] - 2) == -2 * (-0.5) ** t


def test_mpmath_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpmath", None)
    with pytest.raises(ImportError, match="pip install mpmath"):
        extended_descent(X, Y, [0], lr="0.1", epochs=1)
    assert len(exact_descent(X, Y, [0], lr="0.1", epochs=1).w) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reduction": "total"}, "reduction must be 'mean' or 'sum'"),
        ({"rule": "sdg"}, "no update rule 'sdg': choose one of sgd"),
        ({"y": [1, 2]}, "X has 4 samples"),
        ({"w0": [0, 0]}, "w0 has 2 entries"),
        ({"intercept": True}, r"X has 4 samples of \[2\] parameters \(the intercept counted\); y has 4, w0 has 1"),
        ({"X": [1, 2, float("nan"), 4]}, "finite numbers, not nan"),
        ({"y": np.float32([1, 2, np.inf, 4])}, "finite numbers, not inf"),
        ({"X": [], "y": []}, "X has 0 samples"),
        ({"sample_weight": [1, 2, 3]}, "X has 4 samples, y has 4, sample_weight has 3"),
        ({"sample_weight": [1, 2, 3, -1]}, "not be negative"),
        ({"sample_weight": [0, 0, 0, 0]}, "not 0 everywhere"),
        ({"sample_weight": [1, 2, 3, float("inf")]}, "finite numbers, not inf"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    given = {"X": X, "y": Y, "w0": [0], "lr": "0.1", "epochs": 1}
    with pytest.raises(ValueError, match=said):
        exact_descent(**(given | change))


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_raise_are_refused_in_words(kind):
    """In every argument, and within what an argument may hold."""
    value, right = VALUES[kind](), {"X": X, "y": Y, "w0": [0], "lr": "0.1", "epochs": 1}
    given = [{name: value} for name in (*right, "reduction", "sample_weight", "intercept", "rule", "digits")]
    given += [{"X": [1, value, 3, 4]}, {"w0": [value]}, {"hyper": {"momentum": value}}, {"hyper": {value: 1}}]
    for options in given:
        if kind == "repr of a number" and ("lr" in options or isinstance(next(iter(options.values())), list | dict)):
            continue  # it is a number all the same
        with pytest.raises((ValueError, TypeError)) as caught:
            extended_descent(**(right | options))
        message(caught)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"digits": 0}, "digits must be a whole number, at least 1; it is 0"),
        ({"digits": 10**400}, "digits must be a whole number, at most 1,000,000"),
        ({"digits": "100"}, "digits must be a whole number, not '100'"),
        ({"digits": 2.5}, "digits must be a whole number"),
        ({"epochs": -1}, "epochs must be a whole number, at least 0"),
        ({"reduction": 3}, "reduction must be 'mean' or 'sum', not 3"),
        ({"rule": ["sgd"]}, r"there is no update rule \['sgd'\]"),
        ({"intercept": 1}, "intercept must be True or False"),
        ({"X": "1234"}, "X must be a sequence of numbers, not '1234'"),
        ({"X": ["1", "2", "three", "4"]}, "a number in digits, such as '0.1' or '1/3', not 'three'"),
        ({"lr": "1/0"}, "a number in digits, such as '0.1' or '1/3', not '1/0'"),
        ({"lr": "nan"}, "a number in digits"),
        ({"y": [1, 2, None, 4]}, "needs numbers, not None"),
        ({"w0": 0}, "w0 must be a sequence of numbers, not 0"),
        ({"hyper": {"beta": 1}}, r"'sgd' has no \['beta'\]"),
        ({"hyper": 3}, "hyper must be a mapping"),
        ({"hyper": {"beta1": 1}, "rule": "adam"}, "divides by zero in step 1"),
    ],
)
def test_what_is_of_a_wrong_kind_is_refused_in_words(options, said):
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        extended_descent(**({"X": X, "y": Y, "w0": [0], "lr": "0.1", "epochs": 1} | options))
    message(caught)


def test_a_rule_with_a_root_is_no_rational_descent():
    with pytest.raises(ValueError, match=r"'adam' takes a square root.*use extended_descent"):
        exact_descent(X, Y, [0], lr="0.1", epochs=1, rule="adam")
