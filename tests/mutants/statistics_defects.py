"""Defects of the statistics of fits and of their pictures, of ridge, of robust fits, of windows."""

from __future__ import annotations

from tests.mutants.defect import Defect

STATISTICS = "fastgd/results/statistics.py"
TESTS = "tests/fit/test_statistics.py"
STATSMODELS = f"{TESTS}::test_the_values_of_statsmodels"

ROLLING = "tests/fit/test_rolling.py"
ROBUST = "tests/fit/test_robust.py"
RIDGE = "tests/fit/test_ridge.py"

FOREST = "tests/results/test_forest.py::test_groups_are_rows_the_largest_on_top"
MAP = "tests/results/test_raster_map.py"

STATISTICS_DEFECTS = (
    Defect(
        "picture: an interval below 0 drawn as if it contained 0",
        "fastgd/results/forest.py",
        "(rows[:, 1] > 0) | (rows[:, 2] < 0)",
        "(rows[:, 1] > 0)",
        (FOREST,),
    ),
    Defect(
        "picture: the rows of a map upside down",
        "fastgd/results/raster_map.py",
        "(left, right, top, bottom) if from_top",
        "(left, right, bottom, top) if from_top",
        (f"{MAP}::test_each_number_stands_at_its_place",),
    ),
    Defect(
        "picture: a map shows what its mask leaves out",
        "fastgd/results/raster_map.py",
        "mask=~np.isfinite(table) | ~kept",
        "mask=~np.isfinite(table)",
        (f"{MAP}::test_what_is_left_out_and_what_is_lost",),
    ),
    Defect(
        "rolling: the two stacks swapped",
        "fastgd/data/window_sums.py",
        "running_sums(ends[::-1])",
        "running_sums(ends)",
        (f"{ROLLING}::test_every_window_is_solved_as_if_alone",),
    ),
    Defect(
        "rolling: a window one sample too long",
        "fastgd/data/window_sums.py",
        "begins[np.maximum(offset - 1, 0), block + 1]",
        "begins[offset, block + 1]",
        (f"{ROLLING}::test_every_window_is_solved_as_if_alone",),
    ),
    Defect(
        "rolling: sums in float64",
        "fastgd/data/window_sums.py",
        "            running_sums(begins)",
        "            running_sums(begins)\n            begins.low[:] = 0.0",
        (f"{ROLLING}::test_every_window_is_solved_as_if_alone",),
    ),
    Defect(
        "robust: the scale is that of centred residuals",
        "fastgd/reweighting.py",
        "np.nanmedian(size, axis=1) / NORMAL",
        "np.nanmedian(np.abs(size - np.nanmedian(size, axis=1)[:, None]), axis=1) / NORMAL",
        (f"{ROBUST}::test_the_result_is_what_it_says",),
    ),
    Defect(
        "robust: all fits go on until the last has ended",
        "fastgd/reweighting.py",
        "self.going[fits[ended]] = False",
        "self.going[fits[ended]] = bool(not ended.all())",
        (f"{ROBUST}::test_a_fit_is_the_same_alone_and_in_company",),
    ),
    Defect(
        "ridge: the intercept is penalised",
        "fastgd/running/least_squares.py",
        "if job.ridge is not None and job.problem.intercept else None",
        "if False else None",
        (f"{RIDGE}::test_the_exact_solution[plain-0.125]",),
    ),
    Defect(
        "ridge: half of the penalty",
        "fastgd/input/hyperparameters.py",
        "return 2.0 * values, values",
        "return 1.0 * values, values",
        (f"{RIDGE}::test_the_exact_solution[plain-0.125]",),
    ),
    Defect(
        "ridge: y is not centred as it is read",
        "fastgd/running/samples.py",
        "values.astype(samples.precision, copy=False) - samples.middle",
        "values.astype(samples.precision, copy=False) - 0.0 * samples.middle",
        (f"{RIDGE}::test_more_parameters_than_samples[None]",),
    ),
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
        "statistics: the kernel takes the intercept out in float64",
        "kernels/cpu/closed_form/inverse.py",
        "high, _ = dd_add_lanes(load(matrix, at), load(low, at), negate(p), negate(p_low))",
        "high = subtract(load(matrix, at), p)",
        ("tests/running/test_elimination.py",),
    ),
    Defect(
        "statistics: the kernel leaves nothing to double-double",
        "kernels/cpu/closed_form/inverse.py",
        "fine = _accept(size, d, accurate, least, scratch) & normal",
        "fine = np.int64(ALL) & normal",
        ("tests/running/test_elimination.py",),
    ),
    Defect(
        "statistics: of standardised moments",
        "fastgd/running/least_squares.py",
        "    if _notes(job):\n        note_group(job.statistics, group, control, at_once)\n    if job.standardize:\n"
        "        standardize_group(job, group, control, at_once)\n",
        "    if job.standardize:\n        standardize_group(job, group, control, at_once)\n"
        "    if _notes(job):\n        note_group(job.statistics, group, control, at_once)\n",
        (f"{TESTS}::test_they_are_those_of_features_as_they_are",),
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
