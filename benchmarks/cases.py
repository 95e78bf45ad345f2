"""The cases with an aim: time, the machine's limit, their ratio, and whether the aim is met.

1. Cases of the same data are measured together: every repetition reads the data, writes as much as
   the results hold, runs the chains of multiply-adds and then each variant of the fit. A ratio is
   that of the medians; its percentiles are those of the repetitions' own.
2. `fit` keeps whole histories or none. Where an aim speaks of a history of the loss alone, both
   neighbours are measured: w only, and all.
3. Nothing is timed before it agrees: some fits of the very data, alone and with a history, are
   compared with the error bound at every epoch (of at most AGREED_EPOCHS, and of a long fit
   the first samples); the result of the call must then hold the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastgd
from benchmarks.counting import bytes_read, bytes_written, compress_operations, descend_operations, stream_operations
from benchmarks.limits import Machine, fastest
from benchmarks.measuring import Row, interleaved, percentiles, timed
from fastgd.verification.bound import check_history

LEARNING_RATE = 0.05
AGREED_EPOCHS, AGREED_SAMPLES = 50, 20_000
BOUND = 2.0  # τ of our own kernels, at most


@dataclass(frozen=True)
class Variant:
    """One way to ask for the fits of a case."""

    name: str
    history: bool
    out: bool  # results are written into memory that was touched before
    limit: str  # a sum or a maximum of read, write and fma
    most: float  # the aim: times the limit


@dataclass(frozen=True)
class Case:
    """Data, and what is asked of them."""

    name: str
    n_fits: int
    n_samples: int
    n_features: int
    epochs: int
    dtype: str
    variants: tuple[Variant, ...]
    repeats: int = 9

    def bytes_of_data(self) -> int:
        """X and y."""
        return bytes_read(self.n_fits, self.n_samples, self.n_features, np.dtype(self.dtype).itemsize)


READ, READ_WRITE, ROOF, COUNTED = "read", "read + write", "max(read, fma64)", "fma64"
TINY = (Variant("w only", False, False, READ, 1.3), Variant("history, out=", True, True, READ_WRITE, 2.0),
        Variant("history, fresh", True, False, READ_WRITE, 3.0))  # fmt: skip
SMALL = tuple(Variant(name, history, out, ROOF, 2.0) for name, history, out in
              (("w only", False, False), ("history, out=", True, True), ("history, fresh", True, False)))  # fmt: skip
ONLY_W = (Variant("w only", False, False, ROOF, 2.0),)
SHAPES = (  # name, fits, samples, features, epochs, variants of float32 data
    ("10⁵ × 100 × 1, 100 epochs", 100_000, 100, 1, 100, TINY),
    ("2·10⁴ × 256 × 8, 200 epochs", 20_000, 256, 8, 200, SMALL),
    ("1 × 10⁶ × 16, 100 epochs", 1, 1_000_000, 16, 100, ONLY_W),
    ("10³ × 10⁴ × 32, 100 epochs", 1_000, 10_000, 32, 100, ONLY_W),
)
LARGE = 500_000_000  # bytes of data: not in a quick run


def all_cases(quick: bool) -> list[Case]:
    """Float32 data and float64 data, whose aim counts the operations in double-double."""
    cases = []
    for dtype in ("float32", "float64"):
        for name, m, n, d, epochs, variants in SHAPES:
            if dtype == "float64":
                variants = tuple(Variant(v.name, v.history, v.out, COUNTED, 2.0) for v in variants)
            if quick:
                m, n = max(1, m // 20), min(n, 100_000)
                name = f"{m:,} × {n:,} × {d}, {epochs} epochs"
            case = Case(name, m, n, d, epochs, dtype, variants, 3 if quick else 9)
            if not (quick and case.n_samples == 10_000):
                cases.append(case)
    return cases


def make_data(n_fits: int, n_samples: int, n_features: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal features, y = X w + noise."""
    rng = np.random.default_rng(0)
    number = np.dtype(dtype).type
    X = rng.standard_normal((n_fits, n_samples, n_features), dtype=number)
    w = rng.standard_normal((n_fits, n_features), dtype=number)
    y = rng.standard_normal((n_fits, n_samples), dtype=number)
    y *= number(0.1)
    y += np.matmul(X, w[..., None])[..., 0]
    return X, y


def worst_tau(X: np.ndarray, y: np.ndarray, epochs: int, rate: float = LEARNING_RATE, **options: Any) -> float:
    """The worst τ of the first, the middle and the last fit; ends the process above BOUND."""
    worst = 0.0
    for f in {0, len(X) // 2, len(X) - 1}:
        some_X, some_y = X[f][:AGREED_SAMPLES], y[f][:AGREED_SAMPLES]
        result = fastgd.fit(some_X, some_y, lr=rate, epochs=min(epochs, AGREED_EPOCHS), history=True, **options)
        lr = float(X.dtype.type(rate)) if result.algorithm == "stream" else rate
        higher = result.algorithm == "moments" and X.dtype == np.float32
        verdict = check_history(some_X, some_y, result.history.w, result.history.loss, lr=lr, dtype=X.dtype, held_higher=higher)
        worst = max(worst, verdict.tau_w, verdict.tau_loss)
    if not worst <= BOUND:
        raise SystemExit(f"τ = {worst:.3g} on {X.shape} {X.dtype}: nothing is timed before it agrees")
    return worst


def assert_same_bits(result: fastgd.FitResult, X: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """Some fits alone have the bits that they have in company."""
    for f in {0, len(X) // 2, len(X) - 1}:
        alone = fastgd.fit(X[f], y[f], lr=LEARNING_RATE, epochs=epochs)
        if not (np.array_equal(alone.w, result.w[f]) and np.array_equal(alone.loss, result.loss[f])):
            raise SystemExit(f"fit {f} of {X.shape} has other bits alone: nothing is timed before it agrees")


def results_of(case: Case, rows: int) -> dict[str, np.ndarray]:
    """Arrays for `out=`, touched."""
    m, d = case.n_fits, case.n_features
    arrays = {"w": np.zeros((m, d), case.dtype), "loss": np.zeros(m, case.dtype)}
    if rows:
        arrays |= {"history.w": np.zeros((m, rows, d), case.dtype), "history.loss": np.zeros((m, rows), case.dtype)}
    for array in arrays.values():
        array.fill(1)
    return arrays


def measure(case: Case, machine: Machine) -> list[Row]:
    """The rows of one case."""
    X, y = make_data(case.n_fits, case.n_samples, case.n_features, case.dtype)
    tau = worst_tau(X, y, case.epochs)
    rows_kept = case.epochs + 1
    functions: dict[str, Callable[[], object]] = dict(machine.ways_to_read((X, y)))
    out = results_of(case, rows_kept if any(variant.history for variant in case.variants) else 0)
    functions |= machine.ways_to_write(tuple(out.values()))
    functions |= machine.ways_to_multiply("float64", machine.threads)
    first: dict[str, float] = {}
    for variant in case.variants:
        into = {"out": out} if variant.out else {}

        def fit(variant: Variant = variant, into: dict[str, Any] = into) -> fastgd.FitResult:
            return fastgd.fit(X, y, lr=LEARNING_RATE, epochs=case.epochs, history=variant.history, progress=False, **into)

        functions[f"fit {variant.name}"] = fit
        if not first:
            assert_same_bits(fit(), X, y, case.epochs)
        first[variant.name] = timed(fit)
    seconds = interleaved(functions, case.repeats)
    return [make_row(case, variant, seconds, first[variant.name], tau, machine) for variant in case.variants]


def make_row(case: Case, variant: Variant, seconds: dict[str, list[float]], first: float, tau: float, machine: Machine) -> Row:
    """Time, limits, ratio."""
    double, itemsize = case.dtype == "float64", np.dtype(case.dtype).itemsize
    rows = case.epochs + 1 if variant.history else 0
    operations = case.n_fits * (
        compress_operations(case.n_samples, case.n_features, double)
        + descend_operations(case.n_features, case.epochs, max(1, rows), double)
    )
    read, written = case.bytes_of_data(), bytes_written(case.n_fits, case.n_features, rows, itemsize)
    ways = {kind: fastest(seconds, kind) for kind in ("read", "write", "fresh", "fma64")}
    of_kind = {kind: np.array(values) for kind, (_, values) in ways.items()}
    rate = machine.operations(machine.threads) / of_kind["fma64"]
    of_kind["fma64"] = operations / rate
    for kind in ("write", "fresh"):
        of_kind[kind] = of_kind[kind] * bool(rows)  # w and loss alone are next to nothing
    limit = limit_of(variant.limit, of_kind)
    fit_seconds = np.array(seconds[f"fit {variant.name}"])
    ratios, median = percentiles(fit_seconds / limit), float(np.median(fit_seconds))
    at_median = float(limit_of(variant.limit, {kind: np.median(values) for kind, values in of_kind.items()}))
    return {
        "case": f"{case.name}, {variant.name}", "n_fits": case.n_fits, "n_samples": case.n_samples, "n_features": case.n_features,
        "epochs": case.epochs, "dtype": case.dtype, "rule": "sgd", "backend": "cpu", "algorithm": "moments", "history": variant.history,
        "out": variant.out, **percentiles(fit_seconds), "first_call": first, "bytes_read": read, "bytes_written": written,
        "gb_per_s": (read + written) / median / 1e9, "operations": operations, "gop_per_s": operations / median / 1e9,
        "share_of_fma_peak": float(np.median(of_kind["fma64"])) / median, "fits_per_s": case.n_fits / median,
        "limits_s": {kind: float(np.median(values)) for kind, values in of_kind.items()},
        "limits_by": {kind: name for kind, (name, _) in ways.items()},
        "peak_gop_per_s": float(np.median(rate)) / 1e9, "worst_tau": tau,
        "aim": f"≤ {variant.most:g} × {variant.limit}", "limit": variant.limit, "limit_s": at_median, "most": variant.most,
        "ratio": median / at_median, "ratio_p20": ratios["p20"], "ratio_p80": ratios["p80"], "met": median / at_median <= variant.most,
        "repeats": case.repeats,
    }  # fmt: skip


def limit_of(formula: str, of_kind: dict[str, Any]) -> Any:
    """The limit that an aim names."""
    if formula == ROOF:
        return np.maximum(of_kind["read"], of_kind["fma64"])
    if formula == READ_WRITE:
        return of_kind["read"] + of_kind["write"]
    return of_kind[formula]


STREAM_SHARES = {1: 0.7, 8: 0.5}  # features: the aim, as a share of the peak
STREAM_SAMPLES, STREAM_EPOCHS = 1_024, {1: 100_000, 8: 40_000}


def measure_stream(machine: Machine, quick: bool) -> list[Row]:
    """`stream` on data in the cache, by one thread: the share of the peak of one thread."""
    rows = []
    for n_features, share in STREAM_SHARES.items():
        epochs = STREAM_EPOCHS[n_features] // (20 if quick else 1)
        X, y = make_data(1, STREAM_SAMPLES, n_features, "float32")
        tau = worst_tau(X, y, epochs, algorithm="stream")

        def fit(X: np.ndarray = X, y: np.ndarray = y, epochs: int = epochs) -> fastgd.FitResult:
            return fastgd.fit(X[0], y[0], lr=LEARNING_RATE, epochs=epochs, algorithm="stream", threads=1, progress=False)

        first = timed(fit)
        repeats = 5 if quick else 15
        seconds = interleaved(machine.ways_to_multiply("float32", 1) | {"fit": fit}, repeats)
        name, peak = fastest(seconds, "fma32")
        operations = stream_operations(STREAM_SAMPLES, n_features, epochs)
        limit, spent = np.array(peak) * operations / machine.operations(1), np.array(seconds["fit"])
        ratios, median, limit_s = percentiles(spent / limit), float(np.median(spent)), float(np.median(limit))
        rows.append({
            "case": f"stream, 1,024 × {n_features}, {epochs:,} epochs", "n_fits": 1, "n_samples": STREAM_SAMPLES, "n_features": n_features,
            "epochs": epochs, "dtype": "float32", "rule": "sgd", "backend": "cpu", "algorithm": "stream", "history": False,
            **percentiles(spent), "first_call": first, "ns_per_epoch": median / (epochs + 1) * 1e9, "operations": operations,
            "gop_per_s": operations / median / 1e9, "share_of_fma_peak": limit_s / median, "limits_by": {"fma32": name},
            "worst_tau": tau, "aim": f"≥ {share:.0%} of the fma32 peak of one thread", "limit": "fma32, one thread", "limit_s": limit_s,
            "most": 1 / share, "ratio": median / limit_s, "ratio_p20": ratios["p20"], "ratio_p80": ratios["p80"],
            "met": limit_s / median >= share, "repeats": repeats,
        })  # fmt: skip
    return rows
