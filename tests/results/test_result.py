"""FitResult: comparing, pickling, status, `predict` and `repr`."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

import fastgd
from fastgd import Status
from tests.support.fit_results import X2, Y2, batch, same, same_result, x, y
from tests.support.refusals import X5, Y5, message
from tests.support.values_that_raise import VALUES, OfText


def test_results_can_be_compared_and_pickled():
    result = fastgd.fit(X2, [Y2, Y2], epochs=3, history=True, intercept=True)
    assert result == result  # by identity: comparing arrays would raise
    assert result != fastgd.fit(X2, [Y2, Y2], epochs=3)
    copy = pickle.loads(pickle.dumps(result))
    assert same_result(copy, result)
    assert repr(copy) == repr(result)
    assert same(copy.predict(X2), result.predict(X2))


def test_status_compares():
    one, many = fastgd.fit(x, y), fastgd.fit(x, [y, y])
    assert one.status == Status.COMPLETED
    assert one.status is Status.COMPLETED
    assert one.status == 0
    assert (many.status == Status.COMPLETED).all()
    assert not (many.status == Status.DIVERGED).any()
    assert [Status(code).name for code in many.status] == ["COMPLETED", "COMPLETED"]
    assert {status.name: int(status) for status in Status} == {
        "COMPLETED": 0,
        "CONVERGED": 1,
        "DIVERGED": 2,
        "INVALID_DATA": 3,
        "TOO_FEW_SAMPLES": 4,
        "STOPPED_EARLY": 5,
    }


def test_predict():
    one = fastgd.fit(x, y, lr=1 / 16, w0=2.0, epochs=3)  # y = 2 x holds from the start
    assert one.predict([5.0, 0.5]).tolist() == [10, 1]
    assert one.predict([[5], [6], [7]]).tolist() == [[10], [12], [14]]
    sweep = fastgd.fit(x, y, w0=[0.0, 2.0, 3.0], epochs=0)
    assert sweep.predict([1.0, 2.0]).tolist() == [[0, 0], [2, 4], [3, 6]]
    X = np.arange(30.0).reshape(5, 3, 2)
    many = fastgd.fit(np.tile(X2, (5, 1, 1)), np.tile(Y2, (5, 1)), w0=[1.0, 2.0], intercept=True, intercept0=np.arange(5.0), epochs=0)
    assert many.predict(X).tolist() == [[a + 2 * b + k for a, b in X[k].tolist()] for k in range(5)]
    assert many.predict(X[0]).shape == (5, 3)
    assert many.predict(X[:, None]).shape == (5, 5, 3)
    assert fastgd.fit(x.astype("f"), y.astype("f")).predict(x.astype("f")).dtype == np.float32


def test_predict_of_fits_that_diverged_does_not_warn():
    X, target = batch(2)
    result = fastgd.fit(X, target, lr=[0.01, 1e300], epochs=20, intercept=True)
    assert np.isfinite(result.predict(X)).all(axis=1).tolist() == [True, False]
    assert not np.isfinite(fastgd.fit(x, y, lr=1e300, epochs=20).predict([0.0, 1e300])).any()


def test_repr():
    assert repr(fastgd.fit(x, y, w0=1.0, epochs=0)) == "FitResult(COMPLETED: w = 1, loss 7.5 (7.5 above the least), 0 epochs; cpu, moments)"
    many = fastgd.fit(x, y, w0=[1.0, 2.0, 4.0], epochs=0, algorithm="stream")
    assert repr(many) == "FitResult(3 fits: 3 COMPLETED; median loss 7.5; cpu, stream)"
    lost = fastgd.fit(x, y, lr=1e300, epochs=9, backend="numpy")
    assert repr(lost) == "FitResult(DIVERGED: w = nan, loss nan, 1 epoch; numpy, manual)"


def test_predict_for_a_sparse_tensor(torch):
    with pytest.raises(TypeError, match=r"^X, a torch tensor, cannot be read as an array"):
        fastgd.fit(X5, Y5, epochs=1).predict(torch.ones(3, 2).to_sparse())


def test_predict_of_one_number():
    with pytest.raises(ValueError, match=r"^X must have shape \(\.\.\., n_samples\), as in the fit; it has shape \(\)$"):
        fastgd.fit(x, y).predict(5.0)


@pytest.mark.parametrize(
    ("X", "error", "pattern"),
    [
        (np.ones((3, 4)), ValueError, r"^X must have 2 features \(its last axis\), as in the fit; it has shape \(3, 4\)$"),
        ([1.0, 2.0], ValueError, r"^X must have shape \(\.\.\., n_samples, 2\), as in the fit; it has shape \(2,\)$"),
        (np.ones((4, 3, 2)), ValueError, r"do not broadcast against each other: X \(4,\), the fits \(5,\)$"),
        ("a", TypeError, "^X must be an array of real numbers; it is 'a'$"),
    ],
)
def test_predict_refuses(X, error, pattern):
    with pytest.raises(error) as caught:
        fastgd.fit(X5, Y5, epochs=1).predict(X)
    assert re.search(pattern, message(caught)), str(caught.value)


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_raise_are_refused_in_words(kind):
    """In every argument of the methods, and within what an argument may hold."""
    value, X, y = VALUES[kind](), np.arange(12.0).reshape(6, 2), np.arange(6.0)
    result = fastgd.fit(X, y, epochs=2, history=True)
    calls = [
        lambda: result.summary(value), lambda: result.to_frame(value), lambda: result.to_frame("pandas", value),
        lambda: result.plot_loss(value), lambda: result.plot_fit(value, y), lambda: result.plot_fit(X, value),
        lambda: result.plot_fit(X, y, value), lambda: result.plot_fit(X, y, (value,)), lambda: result.plot_fit(X, y, 0, value),
        lambda: result.predict(value), lambda: result.save(value),
    ]  # fmt: skip
    if kind != "repr of a text":  # a name all the same
        calls += [lambda: result.summary([value, "b"]), lambda: result.to_frame("pandas", [value, "b"])]
    for number, call in enumerate(calls):
        if kind == "repr of a text" and number == len(calls) - 1:
            continue  # the name of a file
        with pytest.raises((ValueError, TypeError, ImportError)) as caught:
            call()
        message(caught)


@pytest.mark.parametrize("fit", [10**400, -(10**400), 1, -2, (0,), (0, 0)])
def test_a_fit_that_is_not_there(fit):
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    with pytest.raises(IndexError, match="there is no fit") as caught:
        fastgd.fit(X, y, epochs=2).plot_fit(X, y, fit)
    message(caught)


def test_a_name_of_a_feature_of_a_class_of_its_own():
    result = fastgd.fit([1.0, 2, 3], [2.0, 4, 6], epochs=2)
    assert "neither a name" in result.summary([OfText("neither a name")])
