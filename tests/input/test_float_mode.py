"""The floating-point mode is set and restored; where that cannot be done, others are refused.

What it is for is in tests/promises/test_callers_settings.py.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import fastgd
from fastgd.input import float_mode
from tests.support.float_modes import MODES, mode, mode_set, set_mode
from tests.support.new_processes import run_python


@pytest.mark.parametrize("name", MODES)
def test_the_mode_within_and_after(name):
    default = mode()

    def fail():
        assert mode() == default
        raise LookupError

    with mode_set(name):
        before = mode()
        assert before != default
        assert float_mode.in_ieee_mode(mode) == float_mode.computes(mode)() == default
        assert mode() == before
        with pytest.raises(LookupError):
            float_mode.in_ieee_mode(fail)
        assert mode() == before
        float_mode.set_ieee_mode()
        assert mode() == default


def test_the_callers_mode_within_ours():
    with mode_set("flush"), np.errstate(under="call"):
        flush, callers = mode(), float_mode.CallersMode()

        @float_mode.computes
        def ours():
            default = mode()
            assert callers.run(lambda: (mode(), np.geterr()["under"])) == (flush, "call")
            assert (mode(), np.geterr()["under"]) == (default, "ignore")
            callers.run(set_mode, "upward")
            assert mode() == default
            return callers.run(mode)

        with mode_set("upward"):
            both = mode()
        assert ours() == both


@pytest.mark.parametrize(
    ("name", "words"), [("flush", "flushed to zero"), ("upward", "not rounded to nearest"), ("downward", "not rounded to nearest")]
)
def test_where_the_mode_cannot_be_set(monkeypatch, name, words):
    monkeypatch.setattr(float_mode, "_read", None)
    assert float(fastgd.fit([1.0, 2.0], [2.0, 4.0], lr=0.1, epochs=1).w) == 1.0
    with mode_set(name):
        with pytest.raises(RuntimeError, match=f"{words}.*set it before the call"):
            fastgd.fit([1.0, 2.0], [2.0, 4.0], lr=0.1, epochs=1)
        with pytest.raises(RuntimeError, match=words):
            float_mode.set_ieee_mode()


BEFORE_NUMPY = """
import ctypes
c, words = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 16)()
c.fegetenv(words)
before = words[{word}]
words[{word}] |= {flush}
c.fesetenv(words)
import numpy as np
words[{word}] = before
c.fesetenv(words)
import fastgd
X, w = np.full((100_000, 30), 1e-310), fastgd.fit([[1.0] * 30] * 60, [30.0] * 60, lr=0.01, epochs=1).w
assert ((X @ w) == 0).any(), "no thread of the BLAS flushes"
result = fastgd.fit([[1.0] * 30] * 61, [30.0] * 61, lr=0.01, epochs=1)
assert (result.predict(X) != 0).all()
try:
    fastgd.fit(X, X[:, 0], lr=0.1, epochs=1, backend="numpy")
except fastgd.BackendUnavailable as error:
    print(error)
"""


def test_threads_of_numpys_blas_that_flush():
    """They have the mode NumPy was imported in: backend "numpy" says so, predict does without."""
    if "openblas" not in str(np.show_config("dicts")).lower():
        assert float_mode.why_blas_differs() is None
        return
    word, flush = next((word, put) for word, (_, put) in MODES["flush"].items())
    ran = run_python(BEFORE_NUMPY.format(word=word, flush=flush), OPENBLAS_NUM_THREADS="2")
    assert ran.returncode == 0, ran.stderr
    assert "import NumPy before what changes the mode" in ran.stdout
    assert float_mode.why_blas_differs() is None


def test_words_are_long_enough():
    """The environment of C is written into 64 bytes; no more than half of them are."""
    words = (ctypes.c_uint32 * 16)(*[0xA5A5A5A5] * 16)
    float_mode._read(words)
    assert list(words)[8:] == [0xA5A5A5A5] * 8
