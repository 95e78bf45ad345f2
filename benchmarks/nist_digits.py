"""Digits of `solve`, numpy.linalg.lstsq and statsmodels on the NIST StRD regressions.

`python benchmarks/nist_digits.py`.

Prints the table of docs/closed-form.md. LRE = −log10 |w − exact| / |exact| of the worst parameter,
at most 17: against the solution of the data as NIST gives them (decimal x, exact powers), and
against that of X and y as they are in float64, the best that a program that is given float64 can be
asked for. statsmodels is left out where it is not installed.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from decimal import Decimal

import numpy as np

import fastgd
from fastgd.testing import NistRegression, nist


def digits(w: np.ndarray, exact: tuple[Decimal, ...]) -> float:
    """Of the worst parameter; an exact 0 is compared absolutely."""
    wrong = [abs(Decimal(float(a)) - b) / (abs(b) or 1) for a, b in zip(w, exact, strict=True)]
    return 17.0 if not max(wrong) else min(17.0, max(0.0, -float(max(wrong).log10())))


def design(regression: NistRegression) -> np.ndarray:
    return np.column_stack([regression.X, np.ones(len(regression.y))]) if regression.intercept else regression.X


def by_solve(regression: NistRegression) -> np.ndarray:
    return fastgd.solve(regression.X, regression.y, intercept=regression.intercept).state.w


def by_numpy(regression: NistRegression) -> np.ndarray:
    return np.linalg.lstsq(design(regression), regression.y, rcond=None)[0]


def by_statsmodels(method: str) -> Callable[[NistRegression], np.ndarray]:
    from statsmodels.regression.linear_model import OLS

    return lambda regression: np.asarray(OLS(regression.y, design(regression)).fit(method=method).params)


def main() -> None:
    programs: dict[str, Callable[[NistRegression], np.ndarray]] = {"solve": by_solve, "numpy lstsq": by_numpy}
    versions = [f"fastgd {fastgd.__version__}", f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    try:
        import statsmodels

        warnings.filterwarnings("ignore", message="The design matrix is rank-deficient")  # it means Filip
        programs |= {"OLS pinv": by_statsmodels("pinv"), "OLS qr": by_statsmodels("qr")}
        versions.append(f"statsmodels {statsmodels.__version__}")
    except ImportError:
        print("statsmodels is not installed: its columns are left out")
    print(f"| set | level | n × D | condition | ill_conditioned | {' | '.join(programs)} |")
    print(f"|---|---|---|---|---|{'---|' * len(programs)}")
    for regression in nist():
        result = fastgd.solve(regression.X, regression.y, intercept=regression.intercept)
        cells = []
        for run in programs.values():
            w = run(regression)
            cells.append(f"{digits(w, regression.exact.beta):.1f} / {digits(w, regression.exact.beta_of_float64):.1f}")
        n, size = design(regression).shape
        told = f"{regression.name} | {regression.level} | {n} × {size} | {float(result.condition):.1e}"
        print(f"| {told} | {'**yes**' if result.ill_conditioned else 'no'} | {' | '.join(cells)} |")
    print(f"\n{', '.join(versions)}; {platform.machine()}, {platform.system()}")


if __name__ == "__main__":
    main()
