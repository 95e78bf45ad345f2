"""Writes robust_values.json: the regressions of `robust_cases` by statsmodels' RLM.

    pip install --target /tmp/statsmodels statsmodels scipy patsy
    PYTHONPATH=/tmp/statsmodels python -m tests.fit.robust_values

Iterated until no parameter changes by more than 1e-13.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.support.regressions import features, target

PATH = Path(__file__).with_suffix(".json")
LOSSES = {"huber": ("HuberT", {}), "bisquare": ("TukeyBiweight", {}), "hampel": ("Hampel", {}), "huber 2": ("HuberT", {"t": 2.0})}


def robust_cases() -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """{name: (X, y, intercept)}."""
    X, line, wide = features(40, 3, 1), features(25, 1, 3), features(60, 5, 5)
    y, of_line, of_wide = target(X, 2), target(line, 4), target(wide, 6)
    far = y.copy()
    far[[3, 17, 30]] += [400.0, -900.0, 250.0]
    pulled = of_line.copy()
    pulled[np.argmax(line[:, 0])] -= 2000.0
    many = of_wide.copy()
    many[::7] += 300.0
    return {
        "plain": (X, y, True),
        "outliers": (X, far, True),
        "outliers, through zero": (X, far, False),
        "a line with leverage": (line, pulled, True),
        "many outliers": (wide, many, True),
    }


def main() -> None:
    import statsmodels
    import statsmodels.api as sm

    found: dict[str, dict] = {}
    for name, (X, y, intercept) in robust_cases().items():
        columns = np.column_stack([X, np.ones(len(y))]) if intercept else X
        for loss, (norm, tuning) in LOSSES.items():
            model = sm.RLM(y, columns, M=getattr(sm.robust.norms, norm)(**tuning))
            fitted = model.fit(conv="coefs", tol=1e-13, maxiter=1000)
            values = {"w": fitted.params, "scale": fitted.scale, "weights": fitted.weights}
            found[f"{name}, {loss}"] = {key: np.asarray(value).tolist() for key, value in values.items()}
    text = json.dumps({"made by": f"statsmodels {statsmodels.__version__}", "values": found}, indent=1)
    PATH.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
