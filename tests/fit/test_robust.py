"""`robust`: statsmodels' RLM, a fit in any company, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastgd
from fastgd.reweighting import LOSSES, NORMAL
from tests.fit.robust_values import PATH, robust_cases
from tests.support.refusals import refused_call

CASES = robust_cases()
BY_STATSMODELS = json.loads(PATH.read_text("utf-8"))["values"]
X, Y, _ = CASES["outliers"]


@pytest.mark.parametrize("name", BY_STATSMODELS)
def test_the_answers_of_statsmodels(name):
    """Both are at a fixed point of the same steps. Here Σ ρ no longer changes by more than 1e-12:
    near the minimum it grows with the square of the distance, whose root is 1e-6."""
    case, loss = name.rsplit(", ", 1)
    case_x, y, intercept = CASES[case]
    wanted = BY_STATSMODELS[name]
    options = {"loss": loss.split()[0], "tuning": 2.0 if loss == "huber 2" else None, "intercept": intercept}
    result = fastgd.robust(case_x, y, **options, tol=1e-12, max_iterations=1000)
    assert result.status == fastgd.Status.CONVERGED
    w = np.append(result.w, result.intercept) if intercept else result.w
    largest = np.abs(wanted["w"]).max()
    np.testing.assert_allclose(w, wanted["w"], rtol=0.0, atol=1e-5 * largest)
    np.testing.assert_allclose(result.robust.scale, wanted["scale"], rtol=1e-5)
    np.testing.assert_allclose(result.robust.weights, wanted["weights"], atol=1e-5)
    by_default = fastgd.robust(case_x, y, **options)
    assert by_default.status == fastgd.Status.CONVERGED
    np.testing.assert_allclose(by_default.w, result.w, rtol=0.0, atol=1e-4 * largest)  # √1e-8


@pytest.mark.parametrize("loss", LOSSES)
def test_the_weights_are_those_of_the_loss(loss):
    """ψ = ρ′, so weight(z) = ρ′(z)/z: by differences, away from the corners of ρ."""
    kind = LOSSES[loss]
    z = np.linspace(0.01, 12.0, 601)
    z = z[np.abs(z[:, None] - np.array(kind.tuning)).min(axis=1) > 1e-3]
    step = 2.0**-20
    slope = (kind.rho(z + step, *kind.tuning) - kind.rho(z - step, *kind.tuning)) / (2.0 * step)
    np.testing.assert_allclose(kind.weight(z, *kind.tuning), slope / z, atol=2.0**-27 / 0.01)


def test_the_result_is_what_it_says():
    result = fastgd.robust(X, Y, intercept=True)
    residual = Y - X @ result.w - result.intercept
    assert result.robust.scale == pytest.approx(np.median(np.abs(residual)) / NORMAL, rel=1e-12)
    again = fastgd.solve(X, Y, intercept=True, sample_weight=result.robust.weights)
    assert (result.w == again.w).all()
    assert result.loss == again.loss
    short = fastgd.robust(X, Y, intercept=True, max_iterations=3)
    assert (short.status, short.robust.iterations) == (fastgd.Status.COMPLETED, 3)
    once = fastgd.robust(X, Y, intercept=True, max_iterations=1)
    assert (once.w == fastgd.solve(X, Y, intercept=True).w).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shared", [False, True])
def test_a_fit_is_the_same_alone_and_in_company(loss, shared):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(30, 3)) if shared else rng.normal(size=(5, 4, 30, 3))
    y = data.sum(axis=-1) + rng.standard_t(2.0, size=(5, 4, 30))
    y[rng.random(y.shape) < 0.1] = np.nan
    whole = fastgd.robust(data, y, loss=loss, intercept=True, nan_policy="omit")
    assert len(np.unique(whole.robust.iterations)) > 1  # each ends on its own
    for place in ((0, 0), (2, 3), (4, 1)):
        alone = fastgd.robust(data if shared else data[place], y[place], loss=loss, intercept=True, nan_policy="omit")
        for name in ("w", "intercept", "loss", "n_used", "status"):
            assert np.array_equal(getattr(alone, name), getattr(whole, name)[place]), name
        for name in ("scale", "iterations", "deviance", "weights"):
            assert np.array_equal(getattr(alone.robust, name), getattr(whole.robust, name)[place]), name
    there = np.isfinite(y[2, 3])
    deleted = fastgd.robust(data[there] if shared else data[2, 3][there], y[2, 3][there], loss=loss, intercept=True)
    np.testing.assert_allclose(deleted.w, whole.w[2, 3], rtol=1e-6)


def test_float32_and_other_libraries(torch):
    result = fastgd.robust(torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32), intercept=True)
    assert result.w.dtype == torch.float32
    other = fastgd.robust(X, Y, intercept=True)
    np.testing.assert_allclose(result.w.numpy(), other.w, rtol=1e-4)  # Σ ρ of float32 w stops changing sooner


def test_fits_that_cannot_be_made():
    y = np.stack([Y, Y, np.where(np.arange(40) < 3, Y, np.nan)])
    y[1, 5] = np.inf
    propagated = fastgd.robust(X, y[:2], intercept=True, nan_policy="propagate")
    assert propagated.status.tolist() == [fastgd.Status.CONVERGED, fastgd.Status.INVALID_DATA]
    few = fastgd.robust(X, y[[0, 2]], intercept=True, nan_policy="omit")
    assert few.status.tolist() == [fastgd.Status.CONVERGED, fastgd.Status.TOO_FEW_SAMPLES]
    assert few.n_used.tolist()[1] == 3
    assert np.isnan(few.w[1]).all()
    assert np.isnan(few.robust.scale[1])
    refused_call(ValueError, "y", lambda: fastgd.robust(X, y[1], intercept=True))


def test_more_than_half_of_the_samples_on_the_line():
    x = np.arange(10.0)
    y = 2.0 * x
    exact = fastgd.robust(x, y)
    assert (exact.status, exact.robust.scale, exact.robust.iterations) == (fastgd.Status.CONVERGED, 0.0, 1)
    assert exact.w == 2.0


def test_it_is_saved(tmp_path):
    for name, result in (("one", fastgd.robust(X, Y)), ("two", fastgd.robust(X, np.stack([Y, 2.0 * Y])))):
        result.save(tmp_path / name)
        again = fastgd.load(tmp_path / name)
        assert np.array_equal(again.robust.weights, result.robust.weights)
        assert repr(again.robust) == repr(result.robust)


def test_bad_options_are_refused():
    for error, words, options in (
        (ValueError, "loss must be", {"loss": "l1"}),
        (ValueError, "tuning must be a number above 0", {"tuning": 0.0}),
        (TypeError, "tuning must be a number above 0", {"tuning": (1.0, 2.0)}),
        (TypeError, "tuning must be a number above 0", {"tuning": np.complex128(1.0)}),
        (TypeError, "tuning must be a number above 0", {"tuning": np.ma.masked}),
        (TypeError, r"tuning must be \(a, b, c\)", {"loss": "hampel", "tuning": (2.0, 4.0, "8")}),
        (ValueError, r"tuning must be \(a, b, c\)", {"loss": "hampel", "tuning": (2.0, 8.0, 4.0)}),
        (TypeError, "tol must be a number", {"tol": None}),
        (ValueError, "max_iterations must be", {"max_iterations": 0}),
    ):
        refused_call(error, words, lambda options=options: fastgd.robust(X, Y, **options))
