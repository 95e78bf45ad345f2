"""Free-running trajectories against the exact one, and the bound that errors propagate within."""

import numpy as np
import pytest

from fastgd.testing import problems, rates
from fastgd.verification.bound import propagated_bound
from fastgd.verification.oracle import extended_descent
from tests.support.torch_histories import DTYPES, judge, torch_history

NAMED = {problem.name: problem for problem in problems()}

FREE_RUNNING = ["tutorial", "noise_free", "n_2_d_1_intercept", "n_5_d_9", "condition_1e7", "constant_column_intercept", "nist_longley"]


@pytest.mark.parametrize("name", FREE_RUNNING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_free_running_history_stays_within_the_propagated_bound(name, dtype):
    data = NAMED[name].astype(dtype)
    used = 0.0
    for reduction in ("mean", "sum"):
        for lr in rates(data, reduction).values():
            history = torch_history(data, lr, 40, reduction)
            w_bound, loss_bound = propagated_bound(
                data.X, data.y, history.w, lr=lr, reduction=reduction, dtype=dtype, intercept=data.intercept
            )
            truth = extended_descent(data.X, data.y, data.w0, lr=lr, epochs=40, reduction=reduction, intercept=data.intercept)
            w_error = np.abs(np.array(truth.w) - history.w.astype(float)).astype(float)
            loss_error = np.abs(np.array(truth.loss) - history.loss).astype(float)
            assert np.isfinite(w_bound).all()
            assert (w_bound[0] == 0).all()
            used = max(used, (w_error[1:] / w_bound[1:]).max(), (loss_error / loss_bound).max())
    print(f"\n{name} {dtype}: {used:.2f} of the propagated bound")
    assert used <= 1


def test_a_defect_leaves_the_propagated_bound():
    data = NAMED["noisy"]
    lr = rates(data)[0.5]
    right, wrong = torch_history(data, lr, 20), torch_history(data, lr, 20, gradient_factor=1 + 1e-10)
    w_bound, _ = propagated_bound(data.X, data.y, right.w, lr=lr, dtype="float64")
    assert (np.abs(wrong.w - right.w) > 2 * w_bound).any()


def test_a_weight_decay_makes_errors_grow():
    """Rows in float32 of a decay whose own factor, 1 - lr·c = -1.5, makes every error grow."""
    rng = np.random.default_rng(3)
    X, y = (part.astype(np.float32) for part in (rng.standard_normal((20, 2)), rng.standard_normal(20)))
    rows = [np.zeros(2, np.float32), np.zeros(2)]
    history = [[], []]
    for _ in range(31):
        for k, w in enumerate(rows):
            history[k].append(w)
            c, lr = w.dtype.type(25), w.dtype.type(np.float32(0.1))
            rows[k] = w - lr * (w.dtype.type(2 / 20) * (X.T.astype(w.dtype) @ (X.astype(w.dtype) @ w - y)) + c * w)
    narrow, wide = map(np.array, history)
    asked = {"lr": np.float32(0.1), "dtype": "float32"}
    w_bound, _ = propagated_bound(X, y, narrow, **asked, weight_decay=25.0)
    assert (np.abs(narrow - wide)[1:] <= w_bound[1:]).all()
    without, _ = propagated_bound(X, y, narrow, **asked)
    assert w_bound[-1].max() > 5 * without[-1].max()  # each step's own error grows with w, those before it do too


def test_the_propagated_bound_is_infinite_from_the_overflow_on():
    data = NAMED["tutorial"].astype("float32")
    lr = 40 * rates(data)[1.0]
    history = torch_history(data, lr, 60)
    first = judge(data, history, lr).first_excluded
    w_bound, loss_bound = propagated_bound(data.X, data.y, history.w, lr=lr, dtype="float32")
    assert np.isfinite(w_bound[:first]).all()
    assert np.isinf(w_bound[first + 1 :]).all()
    assert np.isinf(loss_bound[first + 1 :]).all()
