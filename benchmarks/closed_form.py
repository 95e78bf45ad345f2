"""`solve` against NumPy's ways to the same answers, in one process, in turn.

1. An ordinary batch is compared with a batched `numpy.linalg.solve` on Gram matrices, which NumPy
   makes of the data in float64 first; both are asked for all fits. A batched pseudo-inverse stands
   beside it where the Gram matrix is singular, `numpy.linalg.lstsq` beside a single fit.
2. NumPy's Gram matrices are float64: of float64 data `solve` makes them in double-double.
3. Nothing is timed before it agrees: some fits with `lstsq` in float64, to half of the digits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fastgd
from benchmarks.cases import make_data
from benchmarks.limits import Machine, fastest
from benchmarks.measuring import Row, interleaved, percentiles, timed

SHAPES = ((1, 100_000, 100), (2, 50_000, 100), (8, 10_000, 256), (32, 1_000, 500))  # features, fits, samples
KINDS = ("dead column", "constant column", "equal columns", "time axis", "n < D")
SMALL_SECONDS = 150e-6  # the aim for one small call


def with_ones(X: np.ndarray) -> np.ndarray:
    """X in float64, with a column of ones."""
    return np.concatenate([X, np.ones((*X.shape[:-1], 1))], axis=-1)


def by_normal_equations(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gram matrices in float64, then numpy.linalg.solve."""
    wide, target = X.astype(np.float64, copy=False), y.astype(np.float64, copy=False)[..., None]
    turned = wide.swapaxes(-1, -2)
    return np.linalg.solve(turned @ wide, turned @ target)[..., 0]


def by_pseudo_inverse(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """numpy.linalg.pinv of the batch."""
    return (np.linalg.pinv(X.astype(np.float64)) @ y[..., None])[..., 0]


def check(name: str, w: np.ndarray, X: np.ndarray, y: np.ndarray) -> None:
    """End the process where some of the fits (m, D) do not agree with lstsq."""
    room = 1e-3 if y.dtype == np.float32 else 1e-7
    for f in {0, len(w) // 2, len(w) - 1}:
        own = X[f] if X.ndim == 3 else X
        expected = np.linalg.lstsq(own.astype(np.float64), y[f].astype(np.float64), rcond=None)[0]
        if not np.abs(w[f] - expected).max() <= room * np.abs(expected).max():
            raise SystemExit(f"{name}: fit {f} has {w[f]}, not {expected}: nothing is timed before it agrees")


def parameters(result: fastgd.FitResult) -> np.ndarray:
    """(m, D) float64."""
    return np.asarray(result.state.w)


def compare(
    name: str, X: np.ndarray, y: np.ndarray, rivals: dict[str, Callable[[], object]], full: np.ndarray, repeats: int, *, most: float = 1.0,
    machine: Machine | None = None, **settings: object,
) -> Row:  # fmt: skip
    """One row: `solve` beside its rivals, and beside reading the data where `machine` is given."""

    def solve() -> fastgd.FitResult:
        return fastgd.solve(X, y, progress=False, **settings)

    check(name, parameters(solve()), full, y)
    functions = {"solve": solve, **rivals} | (machine.ways_to_read((X, y)) if machine else {})
    first, seconds = timed(solve), interleaved({"solve": solve, **functions}, repeats)
    spent, limit = np.array(seconds["solve"]), np.array(seconds[next(iter(rivals))])
    if machine is not None:
        limit = np.array(fastest(seconds, "read")[1])
    ratios, median = percentiles(spent / limit), float(np.median(spent))
    return {
        "case": f"solve, {name}", "n_fits": len(y), "n_samples": y.shape[1], "n_features": X.shape[-1], "dtype": y.dtype.name,
        "backend": "cpu", **percentiles(spent), "first_call": first, "ns_per_fit": median / len(y) * 1e9,
        **{f"{rival}_s": float(np.median(seconds[rival])) for rival in rivals},
        "aim": f"≤ {most:g} × {'read' if machine else next(iter(rivals))}", "limit": "read" if machine else next(iter(rivals)),
        "limit_s": float(np.median(limit)), "most": most, "ratio": median / float(np.median(limit)), "ratio_p20": ratios["p20"],
        "ratio_p80": ratios["p80"], "met": median <= most * float(np.median(limit)), "repeats": repeats,
    }  # fmt: skip


def hard_case(kind: str, m: int, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, object]]:
    """(X, y, the matrices with the intercept's ones, settings) of a kind that was a cliff."""
    X, y = make_data(m, 100, 3, dtype)
    if kind == "n < D":
        return X[:, :2], y[:, :2], X[:, :2], {}
    if kind == "time axis":
        X = (1.7e9 + 3600.0 * 24 * 30 * np.arange(100)).astype(dtype)[:, None]
        return X, y, with_ones(X), {"intercept": True}
    X[..., 1] = X[..., 0] if kind == "equal columns" else 7.5 if kind == "constant column" else 0.0
    return (X, y, with_ones(X), {"intercept": True}) if kind == "constant column" else (X, y, X, {})


def measure_solve(machine: Machine, quick: bool) -> list[Row]:
    """Ordinary batches, hard ones, one X for all, one small call; both dtypes."""
    rows, repeats = [], 3 if quick else 7
    for dtype in ("float32", "float64"):
        for d, m, n in SHAPES:
            m = max(1, m // 20) if quick else m
            X, y = make_data(m, n, d, dtype)
            rivals = {"numpy solve": lambda X=X, y=y: by_normal_equations(X, y)}
            rows.append(
                compare(f"{m:,} × {n} × {d}", X, y, rivals, X, repeats, most=2.0 if d <= 2 else 1.0, machine=machine if d <= 2 else None)
            )
            if d == 8:
                rows.append(compare(
                    f"{m:,} × {n} × {d}, one X", X[0], y, {"numpy solve": lambda X=X, y=y: by_normal_equations(X[:1], y)}, X[0], repeats,
                ))  # fmt: skip
        for kind in KINDS:
            X, y, full, settings = hard_case(kind, 500 if quick else 10_000, dtype)
            of_all = np.broadcast_to(full, (len(y), *full.shape[-2:]))
            name = f"{len(y):,} × {y.shape[1]} × {X.shape[-1]}, {kind}"
            rivals = {"numpy pinv": lambda X=of_all, y=y: by_pseudo_inverse(X, y)}
            rows.append(compare(name, X, y, rivals, full, repeats, most=20.0, **settings))
        rows.append(measure_small_call(dtype, 50 if quick else 500))
    return rows


def measure_small_call(dtype: str, repeats: int) -> Row:
    """One line through 1,000 points, Python included."""
    X, y = make_data(1, 1_000, 1, dtype)
    full = with_ones(X)[0]
    functions = {
        "solve": lambda: fastgd.solve(X[0], y[0], intercept=True),
        "numpy lstsq": lambda: np.linalg.lstsq(full, y[0].astype(np.float64), rcond=None),
    }
    check("one small call", parameters(functions["solve"]())[None], full, y)
    seconds = interleaved(functions, repeats)
    spent = np.array(seconds["solve"])
    ratios, median = percentiles(spent / SMALL_SECONDS), float(np.median(spent))
    return {
        "case": "solve, one small call, 1,000 × 1, intercept", "n_fits": 1, "n_samples": 1_000, "n_features": 1, "dtype": dtype,
        "backend": "cpu",
        **percentiles(spent), "numpy lstsq_s": float(np.median(seconds["numpy lstsq"])), "aim": "≤ 150 µs", "limit": "150 µs",
        "limit_s": SMALL_SECONDS, "most": 1.0, "ratio": median / SMALL_SECONDS, "ratio_p20": ratios["p20"], "ratio_p80": ratios["p80"],
        "met": median <= SMALL_SECONDS, "repeats": repeats,
    }  # fmt: skip
