"""How long compiling takes, and what is said of it: one line for all that is compiled together."""

from __future__ import annotations

import itertools
import types

import numpy as np
import pytest

from fastgd.kernels import telling
from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.cpu.simd import announcing, compiling, disk_cache


class Heard(telling.Listener):
    def __init__(self):
        self.told = []

    def say(self, line):
        self.told.append(line)
        return True

    def begin(self, note):
        self.told.append(f"begin {note}")

    def end(self):
        self.told.append("end")


@pytest.fixture
def heard(monkeypatch):
    monkeypatch.setattr(announcing, "slowness", lambda: 2.0)
    listener = Heard()
    token = telling.LISTENER.set(listener)
    yield listener.told
    telling.LISTENER.reset(token)


def test_one_line_for_all(heard):
    with announcing.announced(["descend", "solve"]):
        announcing.announce_lazily("descend")
        announcing.announce_lazily("solve")
    seconds = round(2 * (announcing.SECONDS["descend"] + announcing.SECONDS["solve"]))
    assert heard == [
        f"fastgd: compiling CPU kernels, once: about {seconds} s of one core (docs/how-to/kernels.md, Compiling)",
        f"begin compiling kernels, about {seconds} s",
        "end",
    ]
    announcing.announce_lazily("solve")  # later, alone
    assert len(heard) == 5


def test_a_kernel_alone_is_named_while_it_is_compiled(heard, monkeypatch, tmp_path):
    """From the moment when nothing is found on disk until the compiled version is handed over."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    @compiling.kernel
    def alone(array):
        array[0] += 1

    real = type(alone._compiler).compile

    def compile_and_tell(self, *given):
        heard.append("compiled")
        return real(self, *given)

    monkeypatch.setattr(type(alone._compiler), "compile", compile_and_tell)
    alone(np.zeros(1))
    assert [line.split()[0] for line in heard] == ["fastgd:", "begin", "compiled", "end"]
    monkeypatch.setattr(disk_cache, "folder_to_write", lambda: None)
    alone(np.zeros(1, np.float32))  # where nothing can be kept
    assert [line.split()[0] for line in heard[4:]] == ["fastgd:", "begin", "compiled", "end"]


def test_once_is_said_only_where_kernels_are_kept(heard, monkeypatch, tmp_path):
    @compiling.kernel
    def alone(array):
        array[0] += 1

    def said() -> str:
        """The beginning of both lines: of a kernel alone, and of those that are compiled ahead."""
        heard.clear()
        alone._cache.load_overload("types", None)
        with monkeypatch.context() as patched:
            patched.setattr(compile_ahead, "_done", set())
            patched.setattr(compile_ahead, "_to_compile", lambda *given: ["solve"])
            patched.setattr(compile_ahead, "compile_solve", lambda dtype: None)
            compile_ahead.compile_parts(np.dtype("float64"), {"solve"})
        one, other = (line.partition(": about")[0] for line in heard if ": about" in line)
        assert one == other
        return one

    a_file, of_all = tmp_path / "a file", tmp_path / "of all"
    a_file.touch()
    of_all.mkdir()
    of_all.chmod(0o777)
    for folder, words in ((tmp_path / "mine", ", once"), (a_file, ""), (of_all, ""), ("/proc/nope", "")):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
        assert said() == f"fastgd: compiling CPU kernels{words}", folder
    monkeypatch.setattr(disk_cache, "folder_to_write", lambda: None)
    assert said() == "fastgd: compiling CPU kernels"


def test_what_one_line_announced_ends_once(heard):
    with announcing.announced(["solve"]):
        announcing.end_lazily()
        assert heard[-1].startswith("begin")
    assert heard[-1] == "end"


def test_nothing_to_compile_is_not_said(heard):
    with announcing.announced([]):
        pass
    assert heard == []


def test_an_error_ends_it(heard):
    with pytest.raises(ZeroDivisionError), announcing.announced(["solve"]):
        raise ZeroDivisionError
    assert heard[-1] == "end"
    announcing.announce_lazily("solve")
    assert len(heard) == 5


@pytest.fixture
def measured_anew():
    """The speed of the machine is measured in this test, and again after it."""
    announcing.slowness.cache_clear()
    yield
    announcing.slowness.cache_clear()


@pytest.mark.parametrize(("times", "slowness"), [(2, 2.0), (0, 0.3), (1000, 10.0)])
def test_the_speed_of_this_machine_is_measured(times, slowness, measured_anew, monkeypatch):
    """In times of the reference, within limits."""
    clock = itertools.cycle([0.0, times * announcing.PIECE_SECONDS])
    monkeypatch.setattr(announcing, "time", types.SimpleNamespace(process_time=lambda: next(clock)))
    assert announcing.slowness() == slowness


def test_seconds_follow_the_speed_of_this_machine():
    assert announcing.seconds(["solve"]) == announcing.slowness() * announcing.SECONDS["solve"]
    assert announcing.in_words([]) == "1 s"
