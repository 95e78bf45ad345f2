"""What kernels say: on stderr outside of a call, to the call within it, and once where it is the
same."""

from __future__ import annotations

import sys

from fastgd.kernels import telling


def test_a_line_goes_to_stderr_and_needs_none(capsys, monkeypatch):
    listener = telling.LISTENER.get()
    listener.say("one line")
    listener.begin("note")
    listener.end()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "one line\n")
    monkeypatch.setattr(sys, "stderr", None)  # pythonw
    listener.say("nowhere")


def test_the_same_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(telling, "_said", set())
    for about in ("folder", "folder", "another"):
        telling.say_once(f"about the {about}", about)
    assert capsys.readouterr().err == "about the folder\nabout the another\n"
