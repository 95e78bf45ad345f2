"""Names that a result does not have: what is here instead is said, and it is true."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import fastgd
from fastgd.results.lookups import INSTEAD

X, y = np.array([[1.0, 0], [2, -1], [3, 1], [4, 0]]), np.array([2.0, 4, 6, 9])


def what_is_said(name: str) -> str:
    with pytest.raises(AttributeError) as caught:
        getattr(fastgd.fit(X, y, epochs=3), name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coef_", "it is result.w"),
        ("intercept_", "it is result.intercept"),
        ("stderr", "it is in result.stats, with stats=True"),
        ("score", "it is result.stats.r2, with stats=True"),
        ("n_iter_", "it is result.epochs"),
        ("converged", "it is result.status == fastgd.Status.CONVERGED"),
        ("Weights", "it is result.w"),
    ],
)
def test_names_of_other_libraries(name, said):
    assert what_is_said(name).startswith(f"FitResult has no attribute '{name}': {said}")


def test_other_names_are_only_missing():
    assert what_is_said("foo") == "FitResult has no attribute 'foo'"
    assert what_is_said("größe") == r"FitResult has no attribute 'gr\xf6\xdfe'"
    assert what_is_said("__shape__") == "FitResult has no attribute '__shape__'"


@pytest.mark.parametrize("words", INSTEAD)
def test_what_is_said_is_there(words, tmp_path):
    """Every expression in the table runs."""
    result = fastgd.fit(X, y, epochs=3, history=True, intercept=True, stats=True)
    if "fastgd.solve" in words:
        result = fastgd.solve(X, y)
    names = {"result": result, "fastgd": fastgd, "np": np, "X": X, "y": y, "path": tmp_path / "saved"}
    said = re.fullmatch(r"it is (?:in )?((?:[^,(]|\([^)]*\))+)(?:, .*)?", words)
    assert said is not None
    if ".save(" in words:
        assert eval(said[1], names) is None
        assert fastgd.load(names["path"]).loss == result.loss
    else:
        assert eval(said[1], names) is not None


def test_no_name_stands_for_two():
    names = [name for others in INSTEAD.values() for name in others]
    assert len(names) == len(set(names))
    assert all(name == name.lower().strip("_") for name in names)


def test_hasattr_copy_and_pickle_are_not_disturbed():
    result = fastgd.fit(X, y, epochs=3)
    assert not any(hasattr(result, name) for name in ("coef_", "stderr", "__array__", "__len__", "_repr_latex_", "shape"))
    for again in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert repr(again) == repr(result)
    assert np.asarray(result, dtype=object).item() is result
    assert getattr(object.__new__(fastgd.FitResult), "coef_", None) is None  # not made yet, as in unpickling
