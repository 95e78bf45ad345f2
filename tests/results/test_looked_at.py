"""What is said of conditions and of rates above the stability limit, and of how many fits."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.results.test_summary import facts

x = np.array([1.0, 2, 3, 4])
ABOVE = "above the stability limit 2/lambda_max"


@pytest.mark.parametrize(("reduction", "limit"), [("mean", 2 / 15), ("sum", 2 / 60)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_of_the_tutorial(reduction, limit, dtype):
    """λ_max = 2 · 30/4 = 15 for the mean, 60 for the sum. After 2 epochs nothing else tells."""
    for share, above in ((0.99, False), (0.999999, False), (1.0, False), (1.000001, True), (1.01, True)):
        result = fastgd.fit(x, 2 * x, lr=share * limit, epochs=2, reduction=reduction, dtype=dtype)
        told = facts(result.summary())["note"]
        assert told == "more than 1 % above the least loss" + (
            f" (the rate is {ABOVE}): lower the rate" if above else ": give more epochs, or use solve"
        )


def test_how_many_of_the_rates_are_above_the_limit():
    result = fastgd.fit(x, 2 * x, lr=[0.1, 0.13, 0.134, 0.135, 0.2], epochs=9)
    told = facts(result.summary())
    assert told["note"] == (
        "4 of 5 fits are more than 1 % above the least loss "
        f"(2 of these 4 rates are {ABOVE}): lower these rates, give more epochs, or use solve"
    )
    assert told["warning"] == f"1 of 5 ended above the loss that they began with: its rate is {ABOVE}"


def test_the_range_of_conditions_by_numpy():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(40, 30, 3)) * 10 ** rng.uniform(0, 3, (40, 1, 3))
    y = rng.normal(size=(40, 30)) + X.sum(axis=-1)
    result = fastgd.fit(X, y, lr=1e-12, epochs=2)
    conditions = np.linalg.cond(X) ** 2
    ends = [f"{end:.0f}" if end < 999.5 else f"{end:.0e}".replace("e+0", "e") for end in (conditions.min(), conditions.max())]
    assert f"40 of 40 fits are more than 1 % above the least loss (condition {' to '.join(ends)}): " in result.summary()


def test_columns_that_depend_on_each_other():
    result = fastgd.fit(np.column_stack([x, 2 * x]), x, lr=1e-3, epochs=2, algorithm="moments")
    assert "(condition over 5e11)" in facts(result.summary())["note"]


def test_a_sample_is_called_one():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(1500, 8)), rng.normal(size=(1500, 8))
    result = fastgd.fit(X[..., None], y + 3 * X, lr=np.array([1e-3, 10.0])[:, None], intercept=True, epochs=4)
    told = facts(result.summary())
    n_far, n_worse = ((result._curvatures.index < 1500).sum(), (result._curvatures.index >= 1500).sum())
    assert n_far + n_worse == 512
    assert told["note"].startswith("1,500 of 3,000 fits are more than 1 % above the least loss (condition ")
    assert f" in {n_far} of them): centre" in told["note"]
    assert told["warning"] == f"1,500 of 3,000 ended above the loss that they began with: all of {n_worse} rates looked at are {ABOVE}"


def test_momentum_has_a_limit_of_its_own():
    """2 (1 + 0.5)/15 = 0.2."""
    for rate, above in ((0.199, False), (0.201, True)):
        result = fastgd.fit(x, 2 * x, optimizer=fastgd.SGD(lr=rate, momentum=0.5), epochs=2)
        limit = "above the stability limit 2 (1 + momentum)/lambda_max"
        assert (limit in result.summary()) is above
    nesterov = fastgd.fit(x, 2 * x, optimizer=fastgd.SGD(lr=0.3, momentum=0.5, nesterov=True), epochs=9)
    adam = fastgd.fit(x, 2 * x, optimizer=fastgd.Adam(lr=50.0), epochs=9)
    assert "stability limit" not in nesterov.summary() + adam.summary()


def test_of_a_state_that_diverged():
    """Its start may be that of other data, but the rate is that of this call."""
    state = fastgd.fit(x, x**2, epochs=3).state
    result = fastgd.fit(x, x**2, lr=0.3, epochs=4000, state=state)
    assert result.status == fastgd.Status.DIVERGED
    assert facts(result.summary())["warning"] == f"DIVERGED: the rate is {ABOVE}"


def test_rates_of_a_schedule_are_not_compared():
    """The rate falls below the limit after the first epoch; the condition is told all the same."""
    result = fastgd.fit(x, x**2, lr=0.14, schedule=fastgd.schedules.ExponentialLR(gamma=0.5), intercept=True, epochs=5)
    told = result.summary()
    assert "(condition 56)" in told
    assert "stability limit" not in told
    assert "stability limit" in fastgd.fit(x, x**2, lr=0.14, intercept=True, epochs=5).summary()


def note(X: np.ndarray, y: np.ndarray, **options: object) -> str:
    return facts(fastgd.fit(X, y, **options).summary())["note"].rpartition(": ")[2]


def test_more_epochs_are_not_advised_where_they_change_nothing():
    """A tol that was met ends the fit again, a rate of 0 moves nothing."""
    y = 2 * x + [0.1, -0.1, 0.1, -0.1]
    converged = {"lr": 0.01, "tol": 0.01, "epochs": 1000}
    assert note(x, y, **converged) == "give a smaller tol, or use solve"
    assert note(x, y, intercept=True, **converged) == "give a smaller tol, or use solve"  # scaling X changes nothing there
    assert "note" not in facts(fastgd.fit(x, y, **converged | {"tol": 1e-6}).summary())  # the advice works
    assert note(x, y, lr=[0.01, 1e-6], tol=0.01, epochs=1000) == "give more epochs or a smaller tol, or use solve"
    assert note(x, y, lr=0.0) == "give a rate above 0, or use solve"


def test_scaling_is_advised_where_it_may_help():
    """Columns of a condition near 1 are as good as scaled: their rate is what is wrong."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 3))
    y = X @ [1.0, 2, 3]
    assert note(X, y, lr=1e-3, epochs=5) == "give more epochs or another rate, or use solve"
    assert note(X * [1, 3, 9], y, lr=1e-3, epochs=5) == "centre and scale X (standardize=True), give more epochs, or use solve"
    both = [X, X * [1, 3, 9]]
    assert note(both, [y, y], lr=1e-3, epochs=5) == "centre and scale X (standardize=True), give more epochs, or use solve"


def test_other_rates_are_advised_where_more_epochs_may_not_do():
    """Of rules whose steps do not shrink, of mini-batches, of a decay that is not in the loss."""
    assert note(x, 2 * x, optimizer=fastgd.Adam(0.01), epochs=5) == "give more epochs or another rate, or use solve"
    assert note(x, 2 * x, lr=0.01, batch_size=2, epochs=2) == "give more epochs or another rate, or use solve"
    fading = fastgd.schedules.StepLR(step_size=1)
    assert note(x, 2 * x, lr=0.01, schedule=fading, epochs=50) == "give another schedule or more epochs, or use solve"
    held = fastgd.AdamW(0.01, weight_decay=5.0)
    assert note(x, 2 * x, optimizer=held, epochs=5000) == "give more epochs or another rate or a smaller weight_decay, or use solve"
    held = fastgd.NAdam(0.01, weight_decay=5.0, decoupled_weight_decay=True)
    assert "a smaller weight_decay" in note(x, 2 * x, optimizer=held, epochs=5000)
