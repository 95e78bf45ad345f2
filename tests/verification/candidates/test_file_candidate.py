"""A function in a file, in a process of its own: whatever it does there, the verdict is of its
histories, and a history that is not complete is a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import fastgd
from fastgd.verification.candidates import file_candidate
from fastgd.verification.candidates.file_candidate import FileCandidate

FILE = """
import atexit, ctypes, os, signal, subprocess, sys, threading, time, warnings
import numpy as np

def right(X, y, lr, epochs, w0):
    rows = [w0]
    for _ in range(epochs):
        rows.append(rows[-1] - lr * (2 / len(y) * X.T @ (X @ rows[-1] - y)))
    return np.array(rows)

def wrong_and_hides_it(X, y, lr, epochs, w0):
    import fastgd.verification.bound.yardstick as yardstick
    import fastgd.verification.verifying as verifying
    yardstick.LIMIT = np.inf
    np.array_equal = np.allclose = lambda *given, **options: True
    verifying.verify = lambda *given, **options: None
    X[0, 0] += 1
    return right(X, y, lr, epochs, w0)

def right_and_changes_everything(X, y, lr, epochs, w0):
    sys.excepthook = sys.unraisablehook = lambda *given: os._exit(3)
    signal.signal(signal.SIGTERM, lambda *given: os._exit(3))
    warnings.simplefilter("error")
    np.seterr(all="raise")
    np.random.seed(0)
    os.environ.clear()
    os.chdir("/")
    print("noise" * 100_000)
    rows = right(X, y, lr, epochs, w0)
    sys.stdout, sys.stderr = None, None
    sys.setrecursionlimit(150)
    atexit.register(os._exit, 0)
    ctypes.CDLL("libm.so.6").fesetround(0x800)  # upwards
    return rows

def forks(X, y, lr, epochs, w0):
    os.fork()
    return right(X, y, lr, epochs, w0)

def exits(X, y, lr, epochs, w0):
    os._exit(0)

def dies(X, y, lr, epochs, w0):
    if X[0, 0] == 7:
        os.abort()
    return right(X, y, lr, epochs, w0)

def leaves_a_thread(X, y, lr, epochs, w0):
    threading.Thread(target=time.sleep, args=(3600,), name="mine").start()
    return right(X, y, lr, epochs, w0)

def leaves_a_process(X, y, lr, epochs, w0):
    subprocess.Popen(["sleep", "3600"], process_group=0)
    return right(X, y, lr, epochs, w0)

def fails_at_exit(X, y, lr, epochs, w0):
    atexit.register(os._exit, 5)
    return right(X, y, lr, epochs, w0)

def interrupts(X, y, lr, epochs, w0):
    raise KeyboardInterrupt

def never_returns(X, y, lr, epochs, w0):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pass
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("a folder: with words") / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def judged(path, name, X=None, **options):
    X = np.random.default_rng(1).standard_normal((20, 2)) if X is None else X
    y = X @ [1.0, 2.0] + 1
    return fastgd.verify(FileCandidate(path, name, **options), X, y, lr=0.1, epochs=5)


def processes_with(word):
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if word in line]


def test_nothing_that_it_does_reaches_the_judge(path, capfd):
    report = judged(path, "right_and_changes_everything")
    assert report.ok, str(report)
    out, err = capfd.readouterr()
    assert "noise" not in out  # the report stands there alone
    assert "noisenoise" in err
    report = judged(path, "wrong_and_hides_it")
    assert not report.ok
    assert report.first.epoch == 1


def test_a_copy_of_its_process_ends_without_a_word(path):
    assert judged(path, "forks").ok


def test_a_process_that_ends_early_is_a_failure(path):
    (verdict,) = judged(path, "exits").verdicts
    assert not verdict.ok
    assert verdict.failure == "did not finish:\nits process ended with status 0 before its history had come"
    assert str(verdict).splitlines()[0] == "exits: did not finish (its process ended with status 0 before its history had come)"
    X = np.random.default_rng(1).standard_normal((4, 20, 2))
    X[2, 0, 0] = 7
    verdicts = judged(path, "dies", X).verdicts
    assert [verdict.ok for verdict in verdicts] == [True, True, False, False]
    assert "was ended by signal 6" in verdicts[3].failure


def test_data_that_fits_share(path):
    X = np.random.default_rng(1).standard_normal((20, 2))
    report = fastgd.verify(FileCandidate(path, "right"), X, np.stack([X @ [1.0, 2.0], X @ [3.0, 4.0]]), lr=0.1, epochs=2)
    assert [verdict.ok for verdict in report.verdicts] == [True, True]
    assert report.question["n_fits"] == 2


def test_what_is_left_running_is_a_failure(path, monkeypatch):
    for name, grace, message in (
        ("leaves_a_thread", 0.3, "did not end:\nits process was still running 0.3 s after its last history: a thread, or"),
        ("leaves_a_process", 1.0, "did not end:\nit leaves processes running: sleep, sleep"),
        ("fails_at_exit", 60.0, "did not end well:\nits process ended with status 5 after its last history"),
    ):
        monkeypatch.setattr(file_candidate, "_GRACE", grace)
        (verdict,) = judged(path, name).verdicts
        assert not verdict.ok
        assert verdict.failure.startswith(message)
        assert (verdict.epochs_judged, verdict.first) == (5, None)  # its history is right
        assert ("it leaves threads running: mine, mine" in verdict.notes) == (name == "leaves_a_thread")
    assert not processes_with("sleep 3600")


def test_its_own_interrupt_and_the_limit_of_time(path):
    with pytest.raises(ValueError, match=r"mine.py: interrupts raised KeyboardInterrupt$"):
        judged(path, "interrupts")
    (verdict,) = judged(path, "never_returns", time_limit=0.2).verdicts
    assert verdict.failure == "did not finish:\nits process was ended at the time limit of 0.2 s"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_process_ends_with_the_judge(path, how, tmp_path):
    """Ctrl-C, and a judge that is killed; the candidate itself ignores SIGINT."""
    started = tmp_path / "started"
    (tmp_path / "loop.py").write_text(
        f"import pathlib, signal\ndef step(w, X, y, lr):\n signal.signal(2, signal.SIG_IGN)\n pathlib.Path({str(started)!r}).touch()\n"
        " while True: pass\n",
        encoding="utf-8",
    )
    code = """
        import signal, sys
        from fastgd.cli import main
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    """
    (tmp_path / "data.csv").write_text("a,y\n1,2\n2,4\n", encoding="utf-8")
    words = ["verify", str(tmp_path / "loop.py:step"), "--data", str(tmp_path / "data.csv"), "--y", "y", "--lr", "0.1", "--epochs", "2"]
    judge = subprocess.Popen([sys.executable, "-P", "-c", textwrap.dedent(code), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait(started.exists)
        os.kill(judge.pid, how)
        assert judge.wait(60) == (130 if how == signal.SIGINT else -signal.SIGKILL)
        _wait(lambda: not processes_with(str(tmp_path / "loop.py")))
    finally:
        judge.kill()
        judge.communicate()


def _wait(until):
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_file_gets_whole_numbers_as_they_are(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def step(w, X, y, lr):\n    return w - lr * 2 / len(y) * (X.T @ X @ w - X.T @ y)\n")
    X = np.array([[200, 30], [100, 20], [250, 90], [10, 5]], np.uint8)
    fits = np.stack([X, X])
    y = np.arange(4.0)
    assert not fastgd.verify(FileCandidate(file, "step"), X, y, lr=1e-5, epochs=5).ok
    assert len(fastgd.verify(FileCandidate(file, "step"), fits, y, lr=1e-5, epochs=5).failed) == 2
    assert fastgd.verify(FileCandidate(file, "step"), X.astype(float), y, lr=1e-5, epochs=5).ok


def test_a_table_with_one_feature_is_tried_as_one_axis_too(tmp_path):
    """A table gives X as (n, 1), with which a correct w * x - y is n by n."""
    file = tmp_path / "mine.py"
    file.write_text(
        "def plain(w, x, y, lr):\n    return w - lr * (2 * x * (w * x - y)).mean()\n"
        "def line(w, x, y, lr):\n    r = w[0] * x + w[1] - y\n    return w[0] - lr * 2 * (r * x).mean(), w[1] - lr * 2 * r.mean()\n"
        "def total(w, x, y, lr):\n    return w - lr * (2 * x * (w * x - y)).sum()\n"
        "def matrix(w, X, y, lr):\n    return w - lr * 2 / len(y) * X.T @ (X @ w - y)\n"
        "def fails(w, X, y, lr):\n    raise ValueError\n"
    )
    X, y = np.arange(1.0, 5.0)[:, None], np.array([2.0, 4.5, 6.0, 8.0])

    def report(name, **others):
        return fastgd.verify(FileCandidate(file, name), X, y, lr=0.01, epochs=9, **others)

    for name, others in (("plain", {}), ("line", {"intercept": True})):
        assert report(name, **others).ok
        assert "X was handed over as (n,)" in str(report(name, **others))
    assert report("total").diagnosis.code == "gradient_sum"
    assert "handed over" not in str(report("matrix"))
    assert report("matrix").ok
    assert "ValueError" in str(report("fails"))
