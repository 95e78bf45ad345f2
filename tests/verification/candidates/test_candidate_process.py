"""The process of a candidate's file: how the file becomes a function, and what is said where it
does not. The process itself runs in test_file_candidate.py."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastgd.verification.candidates.candidate_process import Unusable, load_function, packed, unpacked


@pytest.fixture(autouse=True)
def own_modules(monkeypatch):
    """What a test imports is gone after it, and so is the folder on Python's path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_dataclass_in_a_file_with_annotations_of_the_future(tmp_path):
    text = """
from __future__ import annotations
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

@dataclass
class Descent:
    rate: float = 0.1
    name: ClassVar[str] = "mine"
    _: KW_ONLY
    seen: int = 0

def step(w, X, y, lr):
    return Descent(lr).rate
"""
    assert load_function(written(tmp_path, text), "step")(0, 0, 0, 0.5) == 0.5


@pytest.mark.parametrize(
    "name", ["random.py", "numpy.py", "json.py", "fastgd.py", "my-descent v1.2.py", "class.py", "\u00fcber.py", "__main__.py"]
)
def test_any_name_of_a_file(name, tmp_path):
    """A file with the name of a module of Python does not take its place."""
    before = {key: sys.modules.get(key) for key in ("random", "numpy", "json", "fastgd", "__main__")}
    written(tmp_path, "RATE = 2\n", "neighbour_of_mine.py")
    text = "import pickle, random, numpy as np\ndef step(w, X, y, lr):\n    import neighbour_of_mine\n    return neighbour_of_mine.RATE\n"
    step = load_function(written(tmp_path, text, name), "step")
    assert step(0, 0, 0, 0) == 2  # a late import too
    assert {key: sys.modules.get(key) for key in before} == before
    assert vars(sys.modules[step.__module__])["step"] is step


def test_a_file_that_its_neighbour_imports_is_run_once(tmp_path):
    written(tmp_path, "import of_two\n", "neighbour_of_two.py")
    text = "import pathlib, neighbour_of_two\nfile = pathlib.Path(__file__).with_name('runs')\n"
    text += "file.write_text((file.read_text() if file.exists() else '') + 'x')\ndef step(w, X, y, lr): pass\n"
    load_function(written(tmp_path, text, "of_two.py"), "step")
    assert (tmp_path / "runs").read_text("utf-8") == "x"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("def f(:\n", "f", r"mine.py cannot be loaded: SyntaxError: .* \(line 1\)"),
        ("\n\nimport no_such_thing\n", "f", r"cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing' \(line 3\)"),
        ("from .neighbour import x\n", "f", r"cannot be loaded: ImportError: attempted relative .*\. Its folder"),
        ("import sys\nsys.exit(0)\n", "f", r"cannot be loaded: SystemExit: 0 \(line 2\)"),
        ("raise KeyboardInterrupt\n", "f", r"cannot be loaded: KeyboardInterrupt \(line 1\)"),
        ("raise GeneratorExit('no')\n", "f", r"cannot be loaded: GeneratorExit: no \(line 1\)"),
        ("class E(Exception):\n def __str__(self): raise SystemExit(0)\nraise E\n", "f", r"loaded: mine.E: <exception str\(\) failed>"),
        ("def __getattr__(name): raise AttributeError(name)\ndef g(): pass\n", "f", "mine.py: there is no function 'f'; it has g"),
        ("x = 1\n", "f", "there is no function 'f'; it has none"),
        ("import math\nf = 3\ndef g(): pass\n", "f", "mine.py: f is of type int, and no function; it has g"),
        ("class f: pass\n", "f", r"mine.py: f is a class without fit; needed is a function step\(w, X, y, lr\) or train"),
        ("f = None\n", "f", "f is of type NoneType, and no function"),
        ("\0", "f", r"cannot be loaded: (SyntaxError|ValueError): source code (string )?cannot contain null bytes"),
        ("def f(): pass\n", "f()", r"there is no function 'f\(\)'; it has f"),
    ],
)  # fmt: skip
def test_a_file_without_the_function(text, name, message, tmp_path):
    with pytest.raises(Unusable, match=message):
        load_function(written(tmp_path, text), name)


def test_a_message_holds_no_objects():
    arrays = {"w": np.arange(6.0).reshape(3, 2), "loss": np.float32([1, np.nan])}
    words, found = unpacked(packed({"notes": ["\u03c4"], "failure": None}, arrays))
    assert words == {"notes": ["\u03c4"], "failure": None}
    assert {name: array.tobytes() for name, array in found.items()} == {name: array.tobytes() for name, array in arrays.items()}
    with pytest.raises(ValueError, match="allow_pickle=False"):
        unpacked(packed({}, {"w": np.array([print], object)}))
