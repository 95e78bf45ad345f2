"""Defects of the statistics of fits."""

from __future__ import annotations

from tests.mutants.defect import Defect

STATISTICS = "fastgd/results/statistics.py"
TESTS = "tests/fit/test_statistics.py"
STATSMODELS = f"{TESTS}::test_the_values_of_statsmodels"

STATISTICS_DEFECTS = (
    Defect(
        "statistics: degrees of freedom n - d without the intercept",
        STATISTICS,
        "dof, model_dof = n - rank,",
        "dof, model_dof = n - rank + float(intercept),",
        (f"{STATSMODELS}[plain]",),
    ),
    Defect(
        "statistics: weights ignored in R2",
        STATISTICS,
        "residual_squares = loss * total",
        'residual_squares = loss * full["n_used"]',
        (f"{STATSMODELS}[weights]",),
    ),
    Defect(
        "statistics: frequencies counted as samples",
        STATISTICS,
        'full["n_used"] if precise else total, np.nan)',
        'full["n_used"], np.nan)',
        (f"{STATSMODELS}[frequencies]",),
    ),
    Defect(
        "statistics: a parameter that the data do not determine has an error",
        "fastgd/running/elimination.py",
        "swept & ~involved, swept.sum(axis=1)",
        "swept, swept.sum(axis=1)",
        (f"{TESTS}::test_columns_that_are_combinations_have_nan_and_are_told",),
    ),
    Defect(
        "statistics: always eliminated in float64",
        "fastgd/running/elimination.py",
        "again = np.flatnonzero(~fine)",
        "again = np.flatnonzero(~fine)[:0]",
        (f"{TESTS}::test_exact_rationals[nearly a combination]",),
    ),
    Defect(
        "statistics: blocks of the second pass depend on the company",
        "fastgd/running/sandwich.py",
        "step = max(1, STACK_NUMBERS // size)  #",
        "step = max(1, 64 // (size * len(fits)))  #",
        (f"{TESTS}::test_a_fit_has_the_same_bits_alone_and_in_company",),
    ),
    Defect(
        "statistics: leverage without the intercept",
        "fastgd/running/sandwich.py",
        "leverage = leverage + 1.0 / total[:, None]",
        "leverage = leverage + 0.0 / total[:, None]",
        (f"{STATSMODELS}[HC3]",),
    ),
    Defect(
        "statistics: clusters of the samples that are left, by their places among them",
        "fastgd/running/sandwich.py",
        "    if (kept < 0).all():\n        return np.broadcast_to",
        "    if True:\n        return np.broadcast_to",
        (f"{STATSMODELS}[clusters, gaps]",),
    ),
)
