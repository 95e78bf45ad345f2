"""Tables and pictures of the runs in benchmarks/results: `make report`.

    python -P benchmarks/report.py [FOLDER …]

1. A run is a folder with bench.jsonl and peers.jsonl, made by `make bench bench-peers`. All numbers
   of a page are from these files: benchmarks/RESULTS.md is written whole, README.md's table is
   replaced, the pictures roofline, peers and scaling are drawn in docs.
2. Numbers of several runs stand beside each other, in the order of the folders. An aim is met when
   it is met in all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

from benchmarks.scaling import POINTS, WORDS
from fastgd.speed.cases import CASES
from fastgd.speed.measuring import Row, read_rows, shown

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
AUTOGRAD = ("torch", "JAX")  # what the names of peers that differentiate begin with
README_CASES = {  # case: what the README calls it
    "fit 100x1 fresh": "10⁵ fits × 100 × 1, 100 epochs",
    "fit 256x8 fresh": "2·10⁴ fits × 256 × 8, 200 epochs",
    "rates fresh": "4,096 rates on 10⁴ × 16, 200 epochs",
}
HEADER = "| float32, every epoch kept |"  # of the README's table


@dataclass(frozen=True)
class Run:
    """The rows of a folder."""

    bench: list[Row]
    peers: list[Row]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read both files; one that is not there has no rows."""
        files = (folder / "bench.jsonl", folder / "peers.jsonl")
        return cls(*(read_rows(file) if file.exists() else [] for file in files))


def rows_of(runs: list[Run], **wanted: Any) -> list[Row]:
    """The rows with these values, one for each run that has it."""
    found = []
    for run in runs:
        rows = [row for row in (*run.bench, *run.peers) if all(row.get(name) == value for name, value in wanted.items())]
        found += [row for row in rows if "peer" in wanted or "peer" not in row][:1]
    return found


def beside(values: list[str]) -> str:
    """Values of the runs, one after the other."""
    return " / ".join(values) if values else "–"


# -- tables ----------------------------------------------------------------------------------------


def lines_of_conditions(runs: list[Run]) -> Iterator[str]:
    """Where the runs were made."""
    for number, run in enumerate(runs, 1):
        row = (run.bench or run.peers)[0]
        commits = ", ".join(dict.fromkeys(each["commit"] for each in (*run.bench, *run.peers)))  # several: some cases were measured anew
        machine = next((each for each in run.bench if "machine" in each), None)
        yield f"* Run {number}: {row['date']}, commit {commits}, {row['cpu']}, {row['threads']} threads,"
        yield f"  {row['simd_bits']}-bit vectors, load {row['load']:.1f} as it began; Python {row['python']},"
        yield f"  NumPy {row['numpy']}, Numba {row['numba']}, torch {row['torch']}."
        if shares := {row["share"] for row in run.bench if row.get("share", 1.0) < 1.0}:
            yield f"  Only a share of the fits was measured, to see that it runs: {min(shares):g}."
        if machine is not None:
            yield f"  It reads {machine['read_gb_per_s']:.1f} GB/s, writes {machine['write_gb_per_s']:.1f} GB/s, and does"
            yield f"  {machine['fma32_g_per_s']:.0f} float32 and {machine['fma64_g_per_s']:.0f} float64 multiply-adds a ns."


def lines_of_cases(runs: list[Run]) -> Iterator[str]:
    """Each case beside its limit."""
    yield "| case | | median | limit | ratio (20 to 80 %) | aim | |"
    yield "|---|---|---|---|---|---|---|"
    for name, case in CASES.items():
        rows = rows_of(runs, case=name)
        if not rows:
            continue
        if any("disagrees" in row for row in rows):
            yield f"| `{name}` | {case.words} | does not agree | | | | |"
            continue
        times = beside([shown(row["median"]) for row in rows])
        rows = [row for row in rows if "ratio" in row]
        if not rows:
            yield f"| `{name}` | {case.words} | {times} | | | | |"
            continue
        limit = beside([shown(row["limit_s"]) for row in rows]) + ("" if isinstance(case.limit, float) else f", {rows[0]['limit']}")
        ratio = beside([f"{row['ratio']:.2f} ({row['ratio_p20']:.2f} to {row['ratio_p80']:.2f})" for row in rows])
        met = [row["most"] is None or row["ratio"] <= row["most"] for row in rows]
        told = "" if rows[0]["most"] is None else "met" if all(met) else "missed" if not any(met) else "met in some"
        aim = "" if rows[0]["most"] is None else f"{rows[0]['most']:g}"
        yield f"| `{name}` | {case.words} | {times} | {limit} | {ratio} | {aim} | {told} |"


def lines_of_peers(runs: list[Run]) -> Iterator[str]:
    """Each peer beside fastgd on the same fits."""
    yield "| case | peer | fits | peer | fastgd | times | τ, or share of its bound |"
    yield "|---|---|---|---|---|---|---|"
    for case in CASES:
        names = dict.fromkeys(row["peer"] for run in runs for row in run.peers if row["case"] == case)
        for name in names:
            rows = rows_of(runs, case=case, peer=name)
            if "left_out" in rows[0]:
                yield f"| `{case}` | {name} | left out: {rows[0]['left_out'].replace('|', ' ')} | | | | |"
                continue
            rows = [row for row in rows if "median" in row]
            fits = f"{rows[0]['n_fits']:,}" + ("" if rows[0]["n_fits"] == rows[0]["of_n_fits"] else f" of {rows[0]['of_n_fits']:,}")
            times = [[shown(row[key]) for row in rows] for key in ("median", "fastgd_median")]
            factor, tau = beside([f"{row['times_fastgd']:.3g}" for row in rows]), max(row["worst_tau"] for row in rows)
            yield f"| `{case}` | {name} | {fits} | {beside(times[0])} | {beside(times[1])} | {factor} | {tau:.2g} |"


def lines_of_starts(runs: list[Run]) -> Iterator[str]:
    """A row for what a new process pays, and one for memory."""
    yield "| a new process | dtype | seconds | besides |"
    yield "|---|---|---|---|"
    first = [row for row in runs[0].bench if "cold" in row]
    for row in first:
        rows = rows_of(runs, cold=row["cold"], dtype=row["dtype"])
        more = f"an empty kernel of Numba's {shown(row['empty_kernel_s'])}" if "empty_kernel_s" in row else ""
        if "cache_bytes" in row:
            more = f"gaps {row['gaps_s']:.1f} s, `solve` {row['solve_s']:.1f} s more; {row['cache_bytes'] / 2**20:.1f} MiB on disk so far"
        yield f"| {row['cold']} | {row['dtype']} | {beside([shown(each['median']) for each in rows])} | {more} |"
    yield ""
    yield "| memory of | data, MiB | what the call takes beyond them at its peak, results among it, MiB |"
    yield "|---|---|---|"
    for row in (row for row in runs[0].bench if "memory" in row):
        taken = beside([f"{each['taken'] / 2**20:,.0f}" for each in rows_of(runs, memory=row["memory"])])
        yield f"| {row['memory']} | {row['data'] / 2**20:,.0f} | {taken} |"


ABOUT = """# What was measured

Made by `make report` from the files in benchmarks/results; `make bench bench-peers` makes them.
How, and what was learnt: [NOTES.md](NOTES.md). Figures of several runs stand beside each other.
"""
NO_RUN = """
**No run of this version is in benchmarks/results yet.** Those of an earlier one are in NOTES.md,
and so is what they are measured beside. `make bench bench-peers OUT=benchmarks/results/1` is a run.

![time per fit against fits, samples, features, of an earlier version](../docs/scaling.png)
"""


def page_of(runs: list[Run]) -> str:
    """benchmarks/RESULTS.md."""
    if not runs:
        return ABOUT + NO_RUN
    parts = [
        ABOUT, *lines_of_conditions(runs), "\n## Cases and aims\n",
        "A ratio is that of the median to the median of the limit in the same repetitions. A twin is another",
        "call there: the same without `excess_loss`, or `solve` of as many ordinary fits.\n", *lines_of_cases(runs),
        "\n![achieved and possible](../docs/roofline.png)", "\n## Other libraries\n",
        "Times is how many times as long as fastgd they take on the same fits; below 1 they are faster.",
        "All keep w and loss of every epoch but closed forms, batches, and cases that end in `w` of which",
        "NumPy's history was judged apart.\n", *lines_of_peers(runs),
        "\n![how many times as long others take](../docs/peers.png)", "\n## How time grows\n",
        "![time against fits, samples, features, epochs, threads, rates, groups](../docs/scaling.png)\n",
        "Lines: predicted from bytes and operations at the rates of the machine; points: measured.", "\n## A new process, and memory\n",
        *lines_of_starts(runs),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def best_of(runs: list[Run], case: str, begins: tuple[str, ...]) -> float | None:
    """How many times as long the best of these peers takes, in the run that flatters us least."""
    found = [row["times_fastgd"] for run in runs for row in run.peers
             if row["case"] == case and row["peer"].startswith(begins) and "median" in row]  # fmt: skip
    return min(found) if found else None


def table_of_readme(runs: list[Run]) -> list[str]:
    """The lines of the README's table: the slower of the runs."""
    lines = [f"{HEADER} time | beside the machine's limit | best of torch, JAX | NumPy on moments |", "|---|---|---|---|---|"]
    for case, words in README_CASES.items():
        rows = [row for row in rows_of(runs, case=case) if "ratio" in row]
        if rows:
            worst = max(rows, key=lambda row: row["ratio"])
            others = [best_of(runs, case, AUTOGRAD), best_of(runs, case, ("NumPy on moments",))]
            told = " | ".join("–" if times is None else f"{times:.2g} times" if times < 100 else f"{times:.0f} times" for times in others)
            lines.append(f"| {words} | {shown(max(row['median'] for row in rows))} | {worst['ratio']:.1f} | {told} |")
    return lines


def with_table(page: str, lines: list[str]) -> str:
    """The README with this table in place of the one that it has."""
    before, found, after = page.partition(HEADER)
    if not found:
        raise SystemExit(f"README.md has no table that begins with {HEADER!r}")
    rest = after.split("\n")
    end = next(number for number, line in enumerate(rest) if number and not line.startswith("|"))
    return before + "\n".join([*lines, *rest[end:]])


# -- pictures --------------------------------------------------------------------------------------


def draw_roofline(run: Run, path: Path) -> None:
    """Operations a second against operations a byte, below the limits of the machine."""
    from matplotlib.figure import Figure

    machine = next(row for row in run.bench if "machine" in row)
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    at = np.geomspace(0.05, 2000, 200)
    peak, bandwidth = machine["fma64_g_per_s"], machine["read_gb_per_s"]
    axes.plot(at, np.minimum(peak, bandwidth * at), color="black", label="what this machine can do (read, float64 multiply-adds)")
    for dtype, colour in (("float32", "tab:blue"), ("float64", "tab:orange")):
        rows = [row for row in run.bench if row.get("dtype") == dtype and row.get("operations") and row.get("bytes_read") and "case" in row]
        x = [row["operations"] / (row["bytes_read"] + row["bytes_written"]) for row in rows]
        y = [row["operations"] / row["median"] / 1e9 for row in rows]
        axes.plot(x, y, "o", color=colour, label=dtype, markersize=5)
        for row, a, b in zip(rows, x, y, strict=True):
            if not row["case"].endswith((" out", " fresh")):
                axes.annotate(row["case"].replace(" float64", ""), (a, b), fontsize=6, xytext=(4, -2), textcoords="offset points")
    axes.set(xscale="log", yscale="log", xlabel="counted operations for each byte of data and history", ylabel="operations a ns")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def draw_peers(runs: list[Run], path: Path) -> None:
    """How many times as long as fastgd others take, a line for each case."""
    from matplotlib.figure import Figure

    rows = [row for run in runs for row in run.peers if "median" in row]
    cases = [case for case in CASES if any(row["case"] == case for row in rows)]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    figure = Figure(figsize=(9.5, 1.6 + 0.27 * len(cases)), layout="constrained")
    axes = figure.subplots()
    markers, colours = "osD^vP*X", [f"C{k}" for k in range(10)]
    for number, peer in enumerate(peers):
        own = [row for row in rows if row["peer"] == peer]
        axes.plot([row["times_fastgd"] for row in own], [cases.index(row["case"]) for row in own], markers[number // 10 % len(markers)],
                  color=colours[number % 10], label=peer, markersize=6, alpha=0.8)  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as long as fastgd on the same fits")
    axes.set_yticks(range(len(cases)), cases, fontsize=8)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=100)


def draw_scaling(run: Run, path: Path) -> None:
    """Time of a call against each quantity, and the predicted line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 5.2), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    for axes, quantity in zip(panels, POINTS, strict=False):
        for dtype, colour in (("float32", "tab:blue"), ("float64", "tab:orange")):
            points = [row for row in run.bench if row.get("scaling") == quantity and row["dtype"] == dtype]
            at, times = [row["value"] for row in points], [1e3 * row["median"] for row in points]
            low, high = ([abs(1e3 * row[key] - 1e3 * row["median"]) for row in points] for key in ("p20", "p80"))
            axes.errorbar(at, times, [low, high], fmt="o", color=colour, markersize=4, label=dtype)
            axes.plot(at, [1e3 * row["predicted_s"] for row in points], "-", color=colour, linewidth=0.9)
        axes.set_xlabel(WORDS[quantity])
        axes.set(yscale="log", xscale="linear" if quantity == "threads" else "log")
        if quantity == "threads":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3, which="major")
    panels[0].set_ylabel("ms of a call")
    panels[4].set_ylabel("ms of a call")
    panels[0].legend(frameon=False, fontsize=8)
    for axes in panels[len(POINTS) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Write the page, the README's table and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="runs; default: all of benchmarks/results")
    parser.add_argument("--to", type=Path, default=ROOT, help="the checkout that is written to")
    asked = parser.parse_args()
    folders = asked.folders or sorted(path.parent for path in RESULTS.glob("*/bench.jsonl"))
    runs = [run for run in map(Run.read, folders) if run.bench]
    to, docs = asked.to, asked.to / "docs"
    (to / "benchmarks" / "RESULTS.md").write_text(page_of(runs), encoding="utf-8")
    if not runs:
        print("there is no run: make bench bench-peers OUT=benchmarks/results/1")
        return
    readme = to / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), table_of_readme(runs)), encoding="utf-8")
    draw_roofline(runs[-1], docs / "roofline.png")
    draw_scaling(runs[-1], docs / "scaling.png")
    if any(run.peers for run in runs):
        draw_peers(runs, docs / "peers.png")


if __name__ == "__main__":
    main()
