"""Where a fit starts: `w0`, `intercept0` or a state; what is refused and in which words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastgd
from tests.support.refusals import X2, X5, Y2, Y5, refused, x, y

STARTS = {
    "w0 too long": ({"w0": np.zeros(3)}, r"^w0 must have shape \(\.\.\., 2\), since X has 2 features; it has shape \(3,\)$"),
    "w0 too short": ({"w0": [1.0]}, r"^w0 must have shape \(\.\.\., 2\), .* it has shape \(1,\)$"),
    "w0 a number": ({"w0": 0.0}, r"^w0 must have shape \(\.\.\., 2\), .* it has shape \(\)$"),
    "w0 with the intercept": ({"w0": np.zeros(3), "intercept": True}, r"^w0 must have shape \(\.\.\., 2\)"),
    "w0 nan": ({"w0": [0, np.nan]}, "^w0 must be finite; it is nan at index 1$"),
    "w0 empty": ({"w0": np.zeros((0, 2))}, r"^w0 is empty: it has shape \(0, 2\)$"),
    "w0 too large": ({"w0": [1.0, -1e300], "dtype": "float32"}, r"^w0 is too large for float32: its largest value is 1e\+300$"),
    "intercept0 inf": ({"intercept": True, "intercept0": [0, np.inf]}, "^intercept0 must be finite; it is inf at index 1$"),
    "intercept0 too large": ({"intercept": True, "intercept0": 1e300, "dtype": "float32"}, "^intercept0 is too large for float32"),
    "intercept0 alone": ({"intercept0": 1.0}, r"^intercept0 was given \(1\.0\), but there is no intercept: give intercept=True too$"),
}


@pytest.mark.parametrize(("options", "pattern"), STARTS.values(), ids=STARTS)
def test_start(no_work, options, pattern):
    refused(ValueError, pattern, X2, Y2, **options)


def test_w0_of_a_1d_X_has_no_feature_axis():
    assert fastgd.fit(x, y, w0=1.0, epochs=0).w.shape == ()
    assert fastgd.fit(x, y, w0=[1.0, 2.0, 3.0], epochs=0).w.tolist() == [1, 2, 3]
    refused(ValueError, r"do not broadcast against each other: X and y \(2,\), w0 \(3,\)", x, np.stack([y, y]), w0=[1.0, 2.0, 3.0])


STATES = {
    "a result": ({"state": "result"}, TypeError, "^state must be the state of a FitResult, not a FitResult: give result.state$"),
    "not a state": ({"state": {"w": 1}}, TypeError, "^state must be the state of a FitResult, not a dict$"),
    "with w0": ({"w0": [0, 0]}, ValueError, "^state holds where to start: leave w0 out$"),
    "with intercept0": ({"intercept": True, "intercept0": 0.0}, ValueError, "^state holds where to start: leave intercept0 out$"),
    "with an algorithm": (
        {"algorithm": "stream"},
        ValueError,
        "^state continues with its own algorithm, 'moments': leave algorithm='stream' out$",
    ),
    "intercept": ({"intercept": True}, ValueError, "^state was made with intercept False, but this fit has True$"),
    "dtype": ({"dtype": "float32"}, ValueError, "^state was made with dtype 'float64', but this fit has 'float32'$"),
    "n_features": ({"X": X2[:, :1]}, ValueError, "^state was made with n_features 2, but this fit has 1$"),
    "1-D X": ({"X": X2[:, 0]}, ValueError, "^state was made with n_features 2, but this fit has 1$"),
    "backend numpy": (
        {"backend": "numpy"},
        ValueError,
        "^state was made by algorithm 'moments', .*'numpy' does not have: give backend='cpu'$",
    ),
}


@pytest.mark.parametrize(("options", "error", "pattern"), STATES.values(), ids=STATES)
def test_state(options, error, pattern):
    result = fastgd.fit(X2, Y2, epochs=1)
    options = {"X": X2, "y": Y2, "state": result.state} | options
    refused(error, pattern, **(options | {"state": result} if options["state"] == "result" else options))


def test_state_of_another_optimizer_or_shape(no_work, monkeypatch):
    monkeypatch.undo()
    state = fastgd.fit(X5[:4], Y5[:4], epochs=1).state
    refused(
        ValueError,
        r"do not broadcast against each other: X and y \(5,\), state \(4,\): the state is of 4 fits, the data are of 5$",
        X5,
        Y5,
        state=state,
    )
    part = dataclasses.replace(state, w=state.w[:2])
    refused(
        ValueError, r"^state\.w has shape \(2, 2\); it must be \(4, 2\), since state\.epoch has shape \(4,\)$", X5[:4], Y5[:4], state=part
    )
    adam = dataclasses.replace(state, optimizer="adam")
    refused(ValueError, "^state was made with optimizer 'adam', but this fit has 'sgd'$", X5[:4], Y5[:4], state=adam)


def test_a_state_of_a_reference():
    state = fastgd.fit(X2, Y2, epochs=1, backend="numpy").state
    refused(ValueError, "by algorithm 'manual', which backend 'cpu' does not have: give backend='numpy'", X2, Y2, state=state)


def test_a_state_and_torch(torch):
    ours = fastgd.fit(X2, Y2, epochs=1).state
    pattern = "^state was made by algorithm 'moments', .*'torch' does not have: give backend='cpu'$"
    refused(ValueError, pattern, X2, Y2, state=ours, backend="torch")
    state = fastgd.fit(X2, Y2, epochs=1, backend="torch").state
    refused(ValueError, "by algorithm 'autograd', which backend 'cpu' does not have: give backend='torch'", X2, Y2, state=state)


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ("cpu", {"algorithm": "moments"}), ("cpu", {"algorithm": "stream"}), ("cpu", {"algorithm": "auto"}),
        ("cpu", {"algorithm": "moments", "lr": [0.01, 1e200, 0.01, 0.01, 0.01]}),  # one overflows, and ends in `stream`
        ("cpu", {"algorithm": "moments", "lr": 1e200}), ("numpy", {}),
    ],
    ids=str,
)  # fmt: skip
def test_a_state_and_its_own_algorithm(by, options):
    """What the first call was given may be given again, and the algorithm that the result names."""
    options = {"backend": by, "lr": 0.01, "seed": 3, **options}
    first = fastgd.fit(X5, Y5, epochs=4, **options)
    want = fastgd.fit(X5, Y5, epochs=6, state=first.state, **options | {"algorithm": "auto"})
    for algorithm in (options.get("algorithm", "auto"), first.algorithm):
        result = fastgd.fit(X5, Y5, epochs=6, state=first.state, **options | {"algorithm": algorithm})
        assert np.array_equal(result.w, want.w, equal_nan=True)
        assert result.state.algorithm.tolist() == want.state.algorithm.tolist()
    assert np.array_equal(want.w, fastgd.fit(X5, Y5, epochs=10, **options).w, equal_nan=True)


def test_a_state_of_fits_with_and_without_many_samples():
    y = Y5.copy()
    y[0, 3:] = np.nan  # 3 samples of 2 features: it streams
    options = {"nan_policy": "omit", "epochs": 3}
    first = fastgd.fit(X5, y, **options)
    assert set(first.state.algorithm.tolist()) == {0, 1}
    assert np.array_equal(
        fastgd.fit(X5, y, state=first.state, algorithm="moments", **options).w, fastgd.fit(X5, y, **options | {"epochs": 6}).w
    )
    refused(ValueError, "^state continues with its own algorithm, 'moments': ", X5, y, state=first.state, algorithm="stream", **options)


@pytest.mark.parametrize("algorithm", ["lstsq", "foo", 3, None, ["moments"]], ids=str)
def test_a_state_and_what_is_no_algorithm(algorithm):
    for lr in (0.01, 1e200):
        state = fastgd.fit(X5, Y5, lr=lr, epochs=2).state
        refused(ValueError, "^state continues with its own algorithm, 'moments'", X5, Y5, state=state, algorithm=algorithm)


def test_other_options_beside_a_state_change_nothing():
    first = fastgd.fit(X5, Y5, epochs=4)
    want = fastgd.fit(X5, Y5, epochs=3, state=first.state)
    for options in ({"seed": 5}, {"shuffle": False, "seed": 5}, {"min_samples": 2}, {"threads": 1}, {"nan_policy": "omit"}):
        assert np.array_equal(fastgd.fit(X5, Y5, epochs=3, state=first.state, **options).w, want.w)
    still = fastgd.fit(X5, Y5, epochs=0, state=first.state)
    assert np.array_equal(still.w, first.w)
    assert np.array_equal(still.state.w, first.state.w)
