"""Digits of standard errors, σ and R² on the NIST StRD regressions.

`python benchmarks/nist_statistics.py`.

Prints the table of docs/statistics.md: −log10 |value − certified| / |certified| of the worst
parameter, at most 17, against the exact solution of the data as NIST gives them. statsmodels is
left out where it is not installed.
"""

from __future__ import annotations

import warnings

import numpy as np

import fastgd
from benchmarks.nist_digits import design, digits
from fastgd.testing import NistRegression, nist


def by_statsmodels(regression: NistRegression, method: str) -> float:
    """Digits of the standard errors of statsmodels' OLS."""
    from statsmodels.regression.linear_model import OLS

    found = OLS(regression.y, design(regression)).fit(method=method).bse
    return digits(found, regression.exact.std_error) if np.isfinite(found).all() else 0.0


def main() -> None:
    methods: tuple[str, ...] = ("pinv", "qr")
    try:
        import statsmodels

        warnings.simplefilter("ignore")  # Filip: that it is rank-deficient, and the root of a negative variance
        print(f"statsmodels {statsmodels.__version__}")
    except ImportError:
        methods = ()
    print(f"| set | condition | ill_conditioned | std_error | sigma | r2 |{''.join(f' std_error, OLS {name} |' for name in methods)}")
    print(f"|---|---|---|---|---|---|{'---|' * len(methods)}")
    for regression in nist():
        stats = fastgd.solve(regression.X, regression.y, intercept=regression.intercept, stats=True).stats
        exact = regression.exact
        found = [
            digits(stats.std_error, exact.std_error),
            digits(np.sqrt(np.atleast_1d(stats.residual_variance)), (exact.residual_sd,)),
            digits(np.atleast_1d(stats.r2), (exact.r2,)),
            *(by_statsmodels(regression, method) for method in methods),
        ]
        said = "**yes**" if stats.ill_conditioned else "no"
        print(f"| {regression.name} | {stats.condition:.1e} | {said} | {' | '.join(f'{each:.1f}' for each in found)} |")


if __name__ == "__main__":
    main()
