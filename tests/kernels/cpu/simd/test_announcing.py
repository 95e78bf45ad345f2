"""How long compiling takes, and what is said of it: one line for all that is compiled together."""

from __future__ import annotations

import pytest

from fastgd.kernels import telling
from fastgd.kernels.cpu.simd import announcing


class Heard(telling.Listener):
    def __init__(self):
        self.told = []

    def say(self, line):
        self.told.append(line)

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
        f"fastgd: compiling CPU kernels, once: about {seconds} s of one core (docs/guide.md, Compiling)",
        f"begin compiling kernels, about {seconds} s",
        "end",
    ]
    announcing.announce_lazily("solve")  # later, alone
    assert len(heard) == 6


def test_nothing_to_compile_is_not_said(heard):
    with announcing.announced([]):
        pass
    assert heard == []


def test_an_error_ends_it(heard):
    with pytest.raises(ZeroDivisionError), announcing.announced(["solve"]):
        raise ZeroDivisionError
    assert heard[-1] == "end"
    announcing.announce_lazily("solve")
    assert len(heard) == 6


def test_the_speed_of_this_machine_is_measured():
    assert 0.3 <= announcing.slowness() <= 10
    assert announcing.seconds(["solve"]) == announcing.slowness() * announcing.SECONDS["solve"]
    assert announcing.in_words([]) == "1 s"
