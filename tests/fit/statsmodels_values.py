"""Writes statsmodels_values.json: the statistics of tests/support/regressions.py by statsmodels.

    pip install --target /tmp/statsmodels statsmodels scipy patsy
    PYTHONPATH=/tmp/statsmodels python -m tests.fit.statsmodels_values

Rows with a gap or with weight 0 are left out; a row of frequency k is repeated k times, of float64
data in every case. Distributions are t and F for every kind of covariance (`use_t=True`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.support.regressions import Regression, regressions

PATH = Path(__file__).with_suffix(".json")


def by_statsmodels(case: Regression) -> dict:
    """The values of one regression; the intercept last."""
    import statsmodels.api as sm

    X, y = case.X.reshape(len(case.y), -1).astype(float), case.y.astype(float)
    stats = case.stats if isinstance(case.stats, dict) else {"covariance": case.stats} if isinstance(case.stats, str) else {}
    weights = np.ones(len(y)) if case.weights is None else case.weights
    there = np.isfinite(y) & (weights > 0.0)
    if stats.get("weights_are") == "frequency":
        places = np.repeat(np.arange(len(y)), weights.astype(int))
        X, y, weights = X[places], y[places], np.ones(len(places))
    else:
        X, y, weights = X[there], y[there], weights[there]
    if case.intercept:
        X = np.column_stack([X, np.ones(len(y))])
    kinds = {}
    if "clusters" in stats:
        kinds = {"cov_type": "cluster", "cov_kwds": {"groups": stats["clusters"][there], "use_correction": True}, "use_t": True}
    elif "covariance" in stats:
        kinds = {"cov_type": stats["covariance"], "use_t": True}
    weighted = case.weights is not None and stats.get("weights_are") != "frequency"
    fitted = (sm.WLS(y, X, weights=weights, hasconst=case.intercept) if weighted else sm.OLS(y, X, hasconst=case.intercept)).fit(**kinds)
    values = {
        "estimate": fitted.params, "std_error": fitted.bse, "t": fitted.tvalues, "p": fitted.pvalues, "interval": fitted.conf_int(0.1),
        "covariance": fitted.cov_params(), "residual_variance": fitted.mse_resid, "dof": fitted.df_resid, "r2": fitted.rsquared,
        "adjusted_r2": fitted.rsquared_adj, "f": fitted.fvalue, "f_p": fitted.f_pvalue, "log_likelihood": fitted.llf, "aic": fitted.aic,
        "bic": fitted.bic,
    }  # fmt: skip
    return {name: np.asarray(value, float).tolist() for name, value in values.items()}


def main() -> None:
    import statsmodels

    found = {name: by_statsmodels(case) for name, case in regressions().items()}
    text = json.dumps({"made by": f"statsmodels {statsmodels.__version__}", "values": found}, indent=1)
    PATH.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
