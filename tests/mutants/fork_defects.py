"""Defects of forks beside threads."""

from __future__ import annotations

from tests.mutants.defect import Defect

FORKS, TESTS = "kernels/forks.py", ("tests/kernels/test_forks.py",)

FORK_DEFECTS = (
    Defect("a fork does not wait for imports", FORKS, "if _others_import():", "if _module_locks is None:", TESTS),
    Defect(
        "a fork does not wait for compilers",
        FORKS,
        "for lock in (_gate, *_locks()):\n        if",
        "for lock in (_gate,):\n        if",
        TESTS,
    ),
    Defect("a fork does not wait for LAPACK", FORKS, "while lock is _gate and", "while lock is None and", TESTS),
    Defect("Ctrl-C during the wait of a fork is lost", FORKS, "_interrupted.add(me)", "pass", TESTS),
)
