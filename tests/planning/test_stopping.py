"""Options of early stopping that are wrong are refused before any work; the ceiling of epochs."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status

x = np.array([1.0, 2, 3, 4])


VAL = {"X_val": x, "y_val": x}
WRONG = [
    ({"patience": 3}, ValueError, "patience=3 looks at the loss of validation data: give X_val and y_val"),
    ({"min_delta": 0.1}, ValueError, "min_delta=0.1 looks at"),
    ({"restore_best": True}, ValueError, "restore_best=True looks at"),
    ({**VAL, "patience": -1}, ValueError, "patience must be a whole number, at least 0"),
    ({**VAL, "patience": 2.5}, TypeError, "patience must be a whole number, not 2.5"),
    ({**VAL, "patience": True}, TypeError, "patience must be a whole number"),
    ({**VAL, "min_delta": -0.1}, ValueError, "min_delta must be finite and at least 0; it is -0.1"),
    ({**VAL, "min_delta": None}, TypeError, "min_delta must be a number, not None"),
    ({**VAL, "restore_best": 1}, TypeError, "restore_best must be True or False"),
    ({"X_val": x, "patience": 3}, ValueError, "X_val was given without y_val"),
    ({"sample_weight_val": x}, ValueError, "sample_weight_val was given without X_val"),
    ({"X_val": x[:, None], "y_val": x}, ValueError, "give it the same columns"),
    ({"X_val": x, "y_val": np.ones((2, 4))}, ValueError, r"leading axes of X_val and y_val, \(2,\), do not broadcast"),
    ({"X_val": x, "y_val": x[:2]}, ValueError, r"of the validation data: X has 4 samples \(shape \(4,\)\) but y has 2"),
    ({"epochs": None}, ValueError, "epochs=None goes on until a fit ends by itself, up to 1,000,000 epochs: give tol or patience too"),
    ({"epochs": None, **VAL}, ValueError, "give tol or patience too"),
    ({"epochs": None, "tol": 0.1, "history": True}, ValueError, "history has a row for every epoch"),
    ({"state": True, **VAL, "patience": 3}, ValueError, "patience counts from the beginning of a descent, and state does not"),
    ({"state": True, **VAL, "restore_best": True}, ValueError, "restore_best counts from the beginning"),
    ({"X_val": fastgd.compress(x, x), "backend": "numpy"}, ValueError, "X_val is Moments, and backend 'numpy' computes losses of samples"),
    ({"early_stopping_rounds": 3}, TypeError, "give patience="),
    ({"restore_best_weights": True}, TypeError, "give restore_best="),
    ({"validation_data": (x, x)}, TypeError, "give X_val="),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "words"), WRONG, ids=[", ".join(options) for options, _, _ in WRONG])
def test_what_is_refused(options, kind, words, request):
    state = {"state": fastgd.fit(x, x, lr=0.01, epochs=3).state} if "state" in options else {}
    request.getfixturevalue("no_work")
    with pytest.raises(kind, match=words):
        fastgd.fit(x, 2 * x, lr=0.1, **options | state)


def test_data_on_a_gpu_are_refused(cupy):
    on_gpu = cupy.asarray(x)
    with pytest.raises(ValueError, match="validation data are looked at in the computer's memory, and X and y are on cuda:0"):
        fastgd.fit(on_gpu, 2 * on_gpu, lr=0.1, X_val=on_gpu, y_val=on_gpu, patience=3)


def test_epochs_none_has_a_ceiling(monkeypatch):
    monkeypatch.setattr("fastgd.planning.stopping.MOST_EPOCHS", 70)
    found = fastgd.fit(x, 2 * x, lr=1e-9, epochs=None, X_val=x, y_val=2 * x, patience=4)
    assert (found.status, found.epochs, found.best_epoch) == (Status.COMPLETED, 70, 70)
