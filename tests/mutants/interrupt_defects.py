"""Defects of Ctrl-C, and of the compiled kernels on disk."""

from __future__ import annotations

from tests.mutants.defect import Defect

INTERRUPT_DEFECTS = (
    Defect(
        "Ctrl-C: a fit is searched to its end",
        "kernels/cpu/moments/samples.py",
        "            if raised(cancel):\n                return\n            if faults[f] == NEGATIVE:",
        "            if faults[f] == NEGATIVE:",
        ("tests/kernels/cpu/test_cancelling.py",),
    ),
    Defect(
        "Ctrl-C: a worker waits for LAPACK to its end",
        "kernels/apart.py",
        "            listener.check()",
        "            pass",
        ("tests/kernels/test_apart.py",),
    ),
    Defect(
        "a thread that died as it began is waited for",
        "kernels/apart.py",
        ' or "_token" in vars(self) or self._of_thread() is None',
        "",
        ("tests/kernels/test_apart.py",),
    ),
    Defect(
        "tasks that no thread lived to take are not run",
        "fastgd/running/pool.py",
        "            _run_inline(control.counter(0), remaining, watch)  # tasks",
        "            pass  # tasks",
        ("tests/running/test_threads.py",),
    ),
    Defect(
        "cache: a file is read however long it is",
        "kernels/cpu/simd/disk_cache.py",
        " or status.st_size > MOST_BYTES",
        "",
        ("tests/kernels/cpu/simd/test_disk_cache_faults.py",),
    ),
    Defect(
        "cache: somebody else can change the folder above",
        "kernels/cpu/simd/disk_cache.py",
        "for path in (*ours, *above):",
        "for path in ours:",
        ("tests/kernels/cpu/simd/test_disk_cache_faults.py",),
    ),
)
