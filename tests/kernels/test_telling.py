"""What kernels say: on stderr outside of a call, to the call within it, and once where it is the
same."""

from __future__ import annotations

import errno
import os
import sys
from types import SimpleNamespace

from fastgd.kernels import telling
from fastgd.running.pool import watched


def test_a_line_goes_to_stderr_and_needs_none(capsys, monkeypatch):
    listener = telling.LISTENER.get()
    assert listener.say("one line")
    listener.begin("note")
    listener.end()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "one line\n")
    monkeypatch.setattr(sys, "stderr", None)  # pythonw
    assert not listener.say("nowhere")


class FullDisk:
    """stderr is a file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_line_that_cannot_be_printed_does_no_harm(monkeypatch):
    monkeypatch.setattr(sys, "stderr", FullDisk())
    assert not telling.LISTENER.get().say("no space")
    with open(os.devnull, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
    assert not telling.LISTENER.get().say("closed")


def test_the_same_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(telling, "_said", set())
    for about in ("folder", "folder", "another"):
        telling.say_once(f"about the {about}", about)
    assert capsys.readouterr().err == "about the folder\nabout the another\n"


def test_what_a_quiet_call_did_not_print_is_said_by_the_next(capsys, monkeypatch):
    """`progress=False` keeps one call quiet, not the process."""
    monkeypatch.setattr(telling, "_said", set())
    plan = SimpleNamespace(threads=1, inline=True)
    for progress in (False, None, None):
        with watched(plan, progress, 1, "1 fit"):
            telling.say_once("about the folder", "folder")
    assert capsys.readouterr().err == "about the folder\n"
