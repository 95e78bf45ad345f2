"""Measure this machine and the kernels, and say which aims are met.

`make bench`, or `python benchmarks/run.py [--quick] [--out FILE]`.

1. Nothing is timed before it agrees: each case is checked by τ against the error bound on some of
   its fits first.
2. The machine's limits are measured in the same process, in turn with the cases: limits.py. What is
   counted: counting.py.
3. `--peers` measures other libraries too (peers.py), on fewer fits where they would take minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

from benchmarks.cases import LARGE, all_cases, measure, measure_stream
from benchmarks.closed_form import measure_solve
from benchmarks.first_call import measure_first_calls, measure_imports
from benchmarks.limits import Machine
from benchmarks.measuring import Journal, conditions, table_of_aims
from benchmarks.small_calls import measure_small_calls
from benchmarks.sweeps import measure_sweeps
from fastgd.input.room import free_memory
from fastgd.planning.plan import available_threads


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the fits, none of the largest data: to see that it runs")
    parser.add_argument("--peers", action="store_true", help="measure other people's ways to the same results, too")
    parser.add_argument("--only", default="", help="only cases whose names hold this text")
    parser.add_argument("--out", help="file for the JSON lines; without it they are printed")
    options = parser.parse_args()
    machine = Machine(available_threads())
    journal = Journal(options.out, conditions(machine.threads))

    def tell(rows: list) -> None:
        for row in rows:
            journal.write(row)

    for case in all_cases(options.quick):
        needed, free = 2 * case.bytes_of_data(), free_memory()
        if options.only not in case.name:
            continue
        if case.bytes_of_data() > LARGE and free is not None and needed > free:
            print(f"left out: {case.name}, {case.dtype}: needs {needed / 2**30:.1f} GiB of memory", file=sys.stderr)
            continue
        tell(measure(case, machine))
    for name, rows in (
        ("stream", lambda: measure_stream(machine, options.quick)),
        ("solve", lambda: measure_solve(machine, options.quick)),
        ("sweeps", lambda: measure_sweeps(machine, options.quick)),
        ("a small call", lambda: measure_small_calls(options.quick)),
        ("first fit", lambda: measure_first_calls(3 if options.quick else 9)),
        ("import", lambda: measure_imports(3 if options.quick else 9)),
    ):
        if options.only in name:
            tell(rows())
    print(table_of_aims(journal.rows))
    if options.peers:
        from benchmarks.peers import measure_peers, table_of_peers

        rows = []
        for row in measure_peers(options.quick):
            rows.append(row)
            tell([row])
        print(table_of_peers(rows))
    journal.close()


if __name__ == "__main__":
    main()
