"""Defects of forks beside threads."""

from __future__ import annotations

from tests.mutants.defect import Defect

FORKS, TESTS = "kernels/forks.py", ("tests/kernels/test_forks.py",)

FORK_DEFECTS = (
    Defect("a fork does not wait for imports", FORKS, "not _others_import() or", "not None or", TESTS),
    Defect(
        "a fork does not wait for compilers",
        FORKS,
        "if not all(_take(lock, held) for lock in _locks()):",
        "if False:",
        TESTS,
    ),
    Defect("a fork does not wait for LAPACK", FORKS, "for lock in _lapack.values():", "for lock in ():", TESTS),
    Defect("Ctrl-C during the wait of a fork is lost", FORKS, "lambda *_: _pressed.append(1)", "lambda *_: None", TESTS),
    Defect(
        "Ctrl-C leaves a lock of LAPACK held",
        FORKS,
        "        with lapack_lock():\n            return function(*args, **options)",
        "        lock = lapack_lock()\n        lock.acquire()\n        try:\n            return function(*args, **options)\n"
        "        finally:\n            lock.release()",
        TESTS,
    ),
    Defect("a fork in a signal's handler waits for the fork around it", FORKS, "if len(forks) > 1:", "if len(forks) > 9:", TESTS),
)
