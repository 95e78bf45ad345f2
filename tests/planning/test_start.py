"""Where a fit starts: `w0`, `intercept0` or a state; what is refused and in which words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastgd
from tests.support.refusals import X2, X5, Y2, Y5, message, refused, x, y
from tests.support.values_that_raise import VALUES

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


OTHER_SHAPE = r"^state.* has shape|do not broadcast|^state was made with n_features"
WHOLE = "must be a whole number from 0 to"
CHANGED = {  # (array of the state, what it becomes, what is said)
    "another algorithm": ("algorithm", lambda a: a + 98, rf"^state.algorithm {WHOLE} 4; it is 99 at index 0$"),
    "negative algorithm": ("algorithm", lambda a: a - 2, rf"^state.algorithm {WHOLE} 4; it is -1 at index 0$"),
    "lstsq": ("algorithm", lambda a: a + 3, "^state was made by algorithm 'lstsq', which backend 'cpu' does not have$"),
    "another status": ("status", lambda a: a + 6, rf"^state.status {WHOLE} 5; it is 6"),
    "negative epochs": ("epoch", lambda a: a - 9, rf"^state.epoch {WHOLE} 4611686018427387904; it is -8"),
    "epochs and a half": ("epoch", lambda a: a + 0.5, rf"^state.epoch {WHOLE} \d+; it is 1.5"),
    "no number of epochs": ("epoch", lambda a: a * np.nan, rf"^state.epoch {WHOLE} \d+; it is nan"),
    "epochs beyond 2^62": ("epoch", lambda a: a + 2**62, rf"^state.epoch {WHOLE} \d+; it is 4.6"),
    **{
        f"{name}, {kind}": (name, change, said)
        for name in ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess", "center", "scale")
        for kind, change, said in (
            ("complex", lambda a: a + 1j, rf"^state.{name} must be an array of real numbers; it is complex"),
            ("text", lambda a: a.astype(str), rf"^state.{name} must be an array of real numbers; it is text"),
            ("object", lambda a: np.full(a.shape, {}, object), rf"^state.{name} must be an array of real numbers; it has dtype object"),
            ("None in a list", lambda a: [None], rf"^state.{name} must be an array of real numbers; a number is missing at index 0"),
            ("ragged", lambda a: [[1.0], [1.0, 2.0]], rf"^state.{name} must be an array of real numbers; it is ragged"),
            ("one axis more", lambda a: a[..., None], OTHER_SHAPE),
            ("20 axes", lambda a: np.zeros((1,) * 20), OTHER_SHAPE),
            ("none", lambda a: a[:0], OTHER_SHAPE),
        )
    },
    **{f"no {name}": (name, lambda a: None, rf"^state.{name} must be an array") for name in ("w", "slots", "products", "epoch", "status")},
}  # fmt: skip


@pytest.fixture(scope="module")
def continued():
    return fastgd.fit(X5, Y5, epochs=1, standardize=True, optimizer="adam").state


@pytest.mark.parametrize(("name", "change", "said"), CHANGED.values(), ids=CHANGED)
def test_states_that_were_changed(no_work, continued, name, change, said):
    state = dataclasses.replace(continued, **{name: change(np.asarray(getattr(continued, name)))})
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        fastgd.fit(X5, Y5, state=state, standardize=True, optimizer="adam")
    message(caught)


@pytest.mark.parametrize("name", ["optimizer", "intercept", "dtype", "tol"])
def test_states_whose_words_were_changed(no_work, continued, name):
    for value in (3.5, [], 1j, np.zeros(3), *(make() for make in VALUES.values())):
        if name == "tol" and type(value) is float:
            continue
        said = r"^state\.tol must be" if name == "tol" else f"^state was made with {name} "
        with pytest.raises((ValueError, TypeError), match=f"{said}|^state cannot be read") as caught:
            fastgd.fit(X5, Y5, state=dataclasses.replace(continued, **{name: value}), standardize=True, optimizer="adam")
        message(caught)


def test_states_of_other_kinds_with_the_same_numbers(continued):
    """Lists, whole numbers as floats, other orders and byte orders continue the same fits."""
    want = fastgd.fit(X5, Y5, state=continued, standardize=True, optimizer="adam", epochs=3)
    kinds = {
        "list": lambda a: a.tolist(),
        "float": lambda a: a.astype(float),
        "order": np.asfortranarray,
        "bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    }
    names = [each.name for each in dataclasses.fields(continued) if isinstance(getattr(continued, each.name), np.ndarray)]
    for change in kinds.values():
        state = dataclasses.replace(continued, **{name: change(np.array(getattr(continued, name))) for name in names})
        result = fastgd.fit(X5, Y5, state=state, standardize=True, optimizer="adam", epochs=3)
        assert np.array_equal(result.w, want.w)
        assert np.array_equal(result.state.w, want.state.w)
        assert result.state.epoch.tolist() == [4] * 5
