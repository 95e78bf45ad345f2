"""How time grows with fits, samples, features, epochs and threads.

`python benchmarks/scaling.py [--out FOLDER] [--quick]`.

1. One quantity at a time, over three decades, the others as in BASE; threads from 1 to as many as
   there are. Times are of `fit`, w only, medians of interleaved repetitions: all points of a
   quantity in turn.
2. scaling.jsonl has a row for each point. scaling.png shows the time per fit. Above 256 features
   `fit` takes `stream`, which goes through the samples at every epoch: those points are hollow.
3. A fit of every point is judged by the rounding-error bound before it is timed.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

import fastgd
from benchmarks.cases import make_data, worst_tau
from benchmarks.measuring import Journal, Row, conditions, interleaved, percentiles
from fastgd.planning.plan import available_threads

BASE = {"n_fits": 10_000, "n_samples": 100, "n_features": 1, "epochs": 100}
POINTS = {  # quantity: (its values, what else differs from BASE, the label of its axis)
    "n_fits": ((1, 10, 100, 1_000, 10_000, 100_000, 1_000_000), {}, "fits"),
    "n_samples": ((100, 1_000, 10_000, 100_000), {"n_fits": 300}, "samples"),
    "n_features": ((1, 3, 10, 30, 100, 300, 1_000), {"n_fits": 20, "n_samples": 3_000}, "features"),
    "epochs": ((10, 100, 1_000, 10_000), {"n_fits": 1_000}, "epochs"),
}
REPEATS = 7


def safe_rate(X: np.ndarray) -> float:
    """A rate at which standard normal features converge: below 1/λ_max, λ_max ≤ 2 (1 + √(d/n))²."""
    return 0.4 / (1 + float(np.sqrt(X.shape[2] / X.shape[1]))) ** 2


def measure(quantity: str, values: tuple[int, ...], other: dict[str, int], dtype: str, repeats: int) -> list[Row]:
    """The points of one quantity, in turn."""
    rows, functions = [], {}
    for value in values:
        sizes = BASE | other | ({} if quantity == "threads" else {quantity: value})
        X, y = make_data(sizes["n_fits"], sizes["n_samples"], sizes["n_features"], dtype)
        threads = value if quantity == "threads" else available_threads()
        fit = functools.partial(fastgd.fit, X, y, lr=safe_rate(X), epochs=sizes["epochs"], threads=threads, progress=False)
        tau = worst_tau(X[:1], y[:1], min(10, sizes["epochs"]), rate=safe_rate(X))
        rows.append({"case": quantity, **sizes, "threads": threads, "dtype": dtype, "rule": "sgd", "backend": "cpu",
                     "algorithm": fit().algorithm, "history": False, "worst_tau": tau})  # fmt: skip
        functions[str(value)] = fit
    seconds = interleaved(functions, repeats)
    for row, spent in zip(rows, seconds.values(), strict=True):
        row |= percentiles(spent)
        row |= {"per_fit_s": row["median"] / row["n_fits"], "fits_per_s": row["n_fits"] / row["median"], "repeats": repeats}
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Time per fit against each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    labels = {quantity: label for quantity, (_, _, label) in POINTS.items()} | {"threads": "threads"}
    figure, all_axes = pyplot.subplots(1, len(labels), figsize=(3.1 * len(labels), 3.4), layout="constrained")
    for axes, (quantity, label) in zip(all_axes, labels.items(), strict=True):
        for dtype, colour in (("float32", "tab:blue"), ("float64", "tab:orange")):
            points = [row for row in rows if row["case"] == quantity and row["dtype"] == dtype]
            at, times = [row[quantity] for row in points], [1e6 * row["per_fit_s"] for row in points]
            axes.plot(at, times, "-", color=colour, label=dtype)
            for row, x, time in zip(points, at, times, strict=True):
                low, high = 1e6 * row["p20"] / row["n_fits"], 1e6 * row["p80"] / row["n_fits"]
                face = colour if row["algorithm"] == "moments" else "white"
                axes.errorbar(x, time, [[time - low], [high - time]], fmt="o", color=colour, markerfacecolor=face, markersize=5)
        axes.set_xlabel(label)
        axes.set_title(title_of(points, quantity), fontsize=8)
        if quantity == "threads":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(bottom=0)
        else:
            axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3, which="major")
    all_axes[0].set_ylabel("µs per fit")
    all_axes[0].legend(frameon=False)
    figure.suptitle("time per fit, w only; hollow: stream", fontsize=9)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def title_of(points: list[Row], quantity: str) -> str:
    """What the other sizes were."""
    words = {"n_fits": "fits", "n_samples": "samples", "n_features": "features", "epochs": "epochs"}
    same = [f"{points[0][name]:,} {word}" for name, word in words.items() if name != quantity]
    return f"{', '.join(same[:2])},\n{', '.join(same[2:])}".replace(" 1 features", " 1 feature").replace("\n1 features", "\n1 feature")


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out", help="folder for scaling.jsonl and scaling.png (default: out)")
    parser.add_argument("--quick", action="store_true", help="without the largest point of each quantity, two repetitions")
    options = parser.parse_args()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(str(folder / "scaling.jsonl"), conditions(available_threads()))
    threads = available_threads()
    numbers = tuple(sorted({1, threads} | {2**k for k in range(1, 12) if 2**k < threads}))
    quantities = {name: (values[:-1] if options.quick else values, other) for name, (values, other, _) in POINTS.items()}
    for quantity, (values, other) in (quantities | {"threads": (numbers, {"n_fits": 100_000})}).items():
        for dtype in ("float32", "float64"):
            for row in measure(quantity, values, other, dtype, 2 if options.quick else REPEATS):
                journal.write(row)
                print(
                    f"{quantity:11}{row[quantity]:>9,}  {dtype}  {row['algorithm']:8}{1e6 * row['per_fit_s']:>12.3f} µs per fit", flush=True
                )
    journal.close()
    draw(journal.rows, folder / "scaling.png")
    print(f"written: {folder / 'scaling.jsonl'}, {folder / 'scaling.png'}")


if __name__ == "__main__":
    main()
