"""`to_frame`: one row per fit, of pandas or polars."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import numpy as np
import pytest

import fastgd
from fastgd import FitResult

x = np.array([1.0, 2, 3, 4])
rng = np.random.default_rng(11)
X, Y = rng.normal(size=(6, 20, 3)), rng.normal(size=(6, 20))


def grid() -> FitResult:
    return fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frame_has_one_row_per_fit(library):
    result = grid()
    frame = result.to_frame(library, features=["a", "b", "c"])
    assert type(frame).__module__.split(".")[0] == library
    columns = ["axis_0", "axis_1", "w_a", "w_b", "w_c", "intercept", "loss", "excess_loss", "epochs", "status", "n_used", "lr"]
    assert list(frame.columns) == columns
    assert frame.shape == (12, 12)
    for row, index in enumerate(np.ndindex(2, 6)):
        values = {name: frame[name][row] for name in columns}
        assert (values["axis_0"], values["axis_1"]) == index
        assert [values["w_a"], values["w_b"], values["w_c"]] == result.w[index].tolist()
        assert [values[name] for name in ("intercept", "loss", "excess_loss", "lr")] == [
            getattr(result, name)[index] for name in ("intercept", "loss", "excess_loss", "lr")
        ]
        assert (values["status"], values["epochs"], values["n_used"]) == ("COMPLETED", 7, 20)


def test_frames_of_every_shape():
    assert list(grid().to_frame().columns)[2:5] == ["w_0", "w_1", "w_2"]
    one = fastgd.fit(x, 2 * x, lr=0.1, epochs=1)
    assert one.to_frame("polars").to_dicts() == [
        {"w": 3.0, "loss": 7.5, "excess_loss": 7.5, "epochs": 1, "status": "COMPLETED", "n_used": 4, "lr": 0.1},
    ]
    many = fastgd.fit(x, 2 * x, lr=[0.1, 1e9], epochs=400)
    assert list(many.to_frame().columns) == ["fit", "w", "loss", "excess_loss", "epochs", "status", "n_used", "lr"]
    assert many.to_frame("polars")["status"].to_list() == ["COMPLETED", "DIVERGED"]
    single = fastgd.fit(X.astype("f"), Y.astype("f"), epochs=1)
    assert single.to_frame()["w_0"].dtype == np.float32


def test_a_field_that_comes_later_is_a_column():
    @dataclasses.dataclass(frozen=True, repr=False, eq=False)
    class Later(FitResult):
        leverage: object = None

    result = grid()
    later = Later(**{each.name: getattr(result, each.name) for each in dataclasses.fields(result)}, leverage=np.arange(12).reshape(2, 6))
    assert list(later.to_frame()["leverage"]) == list(range(12))


def test_what_a_frame_needs(monkeypatch):
    result = grid()
    with pytest.raises(ValueError, match=r"narwhals makes no frame of library='excel': give 'pandas', 'polars' or 'pyarrow'"):
        result.to_frame("excel")
    with pytest.raises(TypeError, match="library must be a name such as 'pandas'"):
        result.to_frame(3)

    def missing(columns, backend):
        raise ModuleNotFoundError(f"No module named {backend!r}")

    monkeypatch.setattr(importlib.import_module("narwhals"), "from_dict", missing)
    with pytest.raises(ImportError, match=r"to_frame\(library='polars'\) needs polars: pip install polars"):
        result.to_frame("polars")
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r"to_frame needs narwhals: pip install 'fastgd\[frames\]'"):
        result.to_frame()
