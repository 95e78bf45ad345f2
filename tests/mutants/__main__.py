"""Plants defects, one at a time, and says which test finds each: `python -m tests.mutants [words]`.

With words only the defects run whose name or file holds one of them. Exit status 0: every defect
was planted and found. A defect whose text is gone, or stands more than once, fails the run.
"""

from __future__ import annotations

import argparse
import functools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from tests.cuda_on_host.sanitized import write_expected
from tests.mutants.batch_defects import BATCH_DEFECTS
from tests.mutants.candidates_defects import CANDIDATES_DEFECTS
from tests.mutants.checkpoint_defects import CHECKPOINT_DEFECTS
from tests.mutants.copies import environment, make_base, spoiled_copy
from tests.mutants.cpu_defects import CPU_DEFECTS
from tests.mutants.cuda_defects import CUDA_DEFECTS, find_in_host_run
from tests.mutants.defect import CudaDefect, Defect, chosen, why_not
from tests.mutants.door_defects import DOOR_DEFECTS
from tests.mutants.fastgd_defects import FASTGD_DEFECTS
from tests.mutants.fork_defects import FORK_DEFECTS
from tests.mutants.interrupt_defects import INTERRUPT_DEFECTS
from tests.mutants.moments_defects import MOMENTS_DEFECTS
from tests.mutants.rule_pack_defects import RULE_PACK_DEFECTS
from tests.mutants.speed_defects import SPEED_DEFECTS
from tests.mutants.statistics_defects import STATISTICS_DEFECTS
from tests.mutants.stopping_defects import STOPPING_DEFECTS
from tests.mutants.sweep_defects import SWEEP_DEFECTS
from tests.mutants.table_defects import TABLE_DEFECTS
from tests.mutants.target_defects import TARGET_DEFECTS
from tests.mutants.verifier_defects import VERIFIER_DEFECTS
from tests.support.paths import ROOT

DEFECTS = (
    *FASTGD_DEFECTS, *VERIFIER_DEFECTS, *CPU_DEFECTS, *RULE_PACK_DEFECTS, *STOPPING_DEFECTS, *MOMENTS_DEFECTS, *BATCH_DEFECTS,
    *FORK_DEFECTS, *INTERRUPT_DEFECTS, *SWEEP_DEFECTS, *STATISTICS_DEFECTS, *TABLE_DEFECTS, *CHECKPOINT_DEFECTS,
    *CANDIDATES_DEFECTS, *DOOR_DEFECTS, *SPEED_DEFECTS, *TARGET_DEFECTS, *CUDA_DEFECTS,
)  # fmt: skip
NOT_PYTHON = re.compile(r"\S*(NameError|SyntaxError|ImportError|TypingError|LoweringError)\b")  # of a name that is gone
TIMEOUT = 1200  # seconds for one defect; then its tests have not ended, which is no proof


def find_by_tests(defect: Defect, base: Path, stamp: str) -> str | None:
    """The first test that fails with the defect planted, or None.

    The tests of `make test` are tried first, then those of `make test-all`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        spoiled_copy(defect, base, stamp, folder)
        found = _first_failure(defect, folder, ())
        if found is None and (found := _first_failure(defect, folder, ("--full",))):
            found += ", with --full alone"
    return found


def _first_failure(defect: Defect, folder: Path, more: tuple[str, ...]) -> str | None:
    """The first test of a defect that fails in this copy; None: all pass, or none is chosen."""
    options = ("-x", "-q", "--tb=no", "-n", "0", "-p", "no:cacheprovider", "--backends=cpu", *more)
    ran = subprocess.run([sys.executable, "-P", "-m", "pytest", *options, *defect.tests], cwd=folder, env=environment(folder),
                         capture_output=True, text=True, check=False, timeout=TIMEOUT)  # fmt: skip
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", ran.stdout, re.MULTILINE)
    if ran.returncode < 0:  # killed by the system: memory that must not be touched
        failed = re.search(r"in (test_\w+)$", ran.stderr, re.MULTILINE)
        return f"{failed.group(1) if failed else defect.tests}, by signal {-ran.returncode}"
    if ran.returncode == pytest.ExitCode.NO_TESTS_COLLECTED and not more:
        return None  # they are marked `full`
    if ran.returncode not in (0, 1) or (ran.returncode == 1 and failed is None):
        raise RuntimeError(f"the tests did not run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    if failed and NOT_PYTHON.match(failed.group(2) or ""):
        raise RuntimeError(f"the wrong text does not even run: {failed.group(2)}")
    return failed.group(1) if failed else None


def row(find: Callable[[Defect | CudaDefect], str | None], defect: Defect | CudaDefect) -> tuple[bool, str]:
    """(whether the defect was found, the row of the table: its name, seconds, what found it)."""
    began = time.perf_counter()
    try:
        found = find(defect)
        told = found or "NOT FOUND"
    except Exception as error:
        found, told = None, f"DID NOT RUN: {error}"
    return found is not None, f"{defect.name:44} {time.perf_counter() - began:5.0f} s  {told}"


def run_all(defects: list[Defect | CudaDefect], jobs: int, folder: Path) -> int:
    """Plant the defects, `jobs` at a time, print a row for each; return how many were not found."""
    began = time.perf_counter()
    finders: dict[type, Callable] = {}
    if any(isinstance(defect, Defect) for defect in defects):
        stamp = make_base(folder / "base")
        finders[Defect] = functools.partial(find_by_tests, base=folder / "base", stamp=stamp)
    if any(isinstance(defect, CudaDefect) for defect in defects):
        write_expected(folder / "expected")
        finders[CudaDefect] = functools.partial(find_in_host_run, expected=folder / "expected")
    print(f"prepared in {time.perf_counter() - began:.0f} s; {len(defects)} defects, {jobs} at a time", flush=True)
    missed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(row, finders[type(defect)], defect) for defect in defects]):
            found, line = future.result()
            missed += not found
            print(line, flush=True)
    print(f"{len(defects) - missed} of {len(defects)} found, {time.perf_counter() - began:.0f} s in all")
    return missed


def main() -> int:
    """Run the defects that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Plant defects and say which test finds each.")
    parser.add_argument("words", nargs="*", help="run only defects whose name or file holds one of these")
    parser.add_argument("--jobs", type=int, default=1, help="how many defects run at a time")
    parser.add_argument("--check", action="store_true", help="only say which defects cannot be planted")
    asked = parser.parse_args()
    defects = chosen(DEFECTS, asked.words)
    if not defects:
        parser.error(f"no defect has one of {asked.words} in its name or file")
    gone = {defect.name: problem for defect in defects if (problem := why_not(defect, ROOT))}
    for problem in gone.values():
        print(f"CANNOT BE PLANTED {problem}", flush=True)
    missed = 0
    if asked.check:
        print(f"{len(defects) - len(gone)} of {len(defects)} can be planted")
    else:
        with tempfile.TemporaryDirectory() as folder:
            missed = run_all([defect for defect in defects if defect.name not in gone], max(asked.jobs, 1), Path(folder))
        if gone:
            print(f"{len(gone)} of {len(defects)} could not be planted: bring their texts up to date in tests/mutants/")
    return 1 if missed or gone else 0


if __name__ == "__main__":
    sys.exit(main())
