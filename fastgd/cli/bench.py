"""`fastgd bench`: how fast this machine is, and how near the most usual calls come to its limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..planning.plan import available_threads
from ..speed.cases import CASES, USERS, measure
from ..speed.limits import Machine, fastest
from ..speed.measuring import Journal, cells_of, conditions, interleaved, percentiles

FEWEST_SECONDS = 0.2  # of a case
NUMBERS = 2**25  # float32 that are read and written: 128 MiB, beyond the cache


def run_bench(seconds: float, out: Path | None, share: float = 1.0) -> None:
    """Print the machine, then a line for each case; rows go to `out` as JSON lines."""
    console = Console(soft_wrap=True)
    machine = Machine(available_threads())
    about = conditions(machine.threads)
    if out is not None:
        out.unlink(missing_ok=True)
    journal = Journal(out, about)
    console.out(f"{about['cpu']}, {machine.threads} threads, {about['simd_bits']}-bit vectors; fastgd {about['fastgd']}", highlight=False)
    row = measure_machine(machine, share)
    journal.write(row)
    console.out(
        f"reads {row['read_gb_per_s']:.1f} GB/s, writes {row['write_gb_per_s']:.1f} GB/s, {row['fma32_g_per_s']:.0f} float32 and "
        f"{row['fma64_g_per_s']:.0f} float64 multiply-adds a ns", highlight=False,
    )  # fmt: skip
    table = Table(box=None, pad_edge=False)
    for title in ("case", "time", "a second", "the machine's limit for it", "times the limit"):
        table.add_column(title, justify="left" if title == "case" else "right")
    each = max(FEWEST_SECONDS, seconds / len(USERS) / 2)  # the other half goes into making data and checking
    with console.status("") as status:
        for name in USERS:
            status.update(CASES[name].words)
            row = measure(CASES[name], machine, share, each)
            journal.write(row)
            time_of_call, limit, ratio, _, _ = cells_of(row)
            table.add_row(row["words"], time_of_call, f"{row['fits_per_s']:,.0f} fits", limit, ratio)
    console.print(table)
    console.out("Every case was checked before it was timed: against exact arithmetic, within a derived bound.", highlight=False)


def measure_machine(machine: Machine, share: float = 1.0) -> dict[str, Any]:
    """Rates of the machine, by all threads."""
    numbers = np.ones(max(1024, int(NUMBERS * share)), np.float32)
    ways = machine.ways_to_read((numbers,)) | machine.ways_to_write((numbers,))
    for dtype in ("float32", "float64"):
        ways |= machine.ways_to_multiply(dtype, machine.threads)
    seconds = interleaved(ways, 9, 3.0)
    median = {kind: percentiles(fastest(seconds, kind)[1])["median"] for kind in ("read", "write", "fma32", "fma64")}
    rates = {f"{kind}_gb_per_s": numbers.nbytes / median[kind] / 1e9 for kind in ("read", "write")}
    rates |= {f"{kind}_g_per_s": machine.operations(machine.threads) / median[kind] / 1e9 for kind in ("fma32", "fma64")}
    return {"machine": "limits", **rates}
