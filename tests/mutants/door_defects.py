"""Defects of the doors to other libraries: xarray, Dask, scikit-learn."""

from __future__ import annotations

from tests.mutants.defect import Defect

DOOR_DEFECTS = (
    Defect(
        "xarray: times are not counted from the earliest",
        "fastgd/xarray/times.py",
        "first = known.min() if known.size",
        'first = np.datetime64("1970-01-01") if known.size',
        ("tests/xarray/test_times.py",),
    ),
    Defect(
        "xarray: coefficients do not tell from when a time counts",
        "fastgd/xarray/building.py",
        '{"long_name": f"coefficients of {task.name}"} | origin',
        '{"long_name": f"coefficients of {task.name}"}',
        ("tests/xarray/test_fitting.py::test_the_result_is_labelled",),
    ),
    Defect(
        "dask: blocks of fits stand at each other's places",
        "fastgd/dask/blocks.py",
        "function, (*fits, sample), *arrays",
        "function, (*fits[::-1], sample), *arrays",
        ("tests/integrations/test_dask.py::test_blocks_of_fits_have_the_bits_of_one_call",),
    ),
    Defect(
        "dask: chunks of samples are merged in another order each time",
        "fastgd/dask/blocks.py",
        "for number in range(parts.shape[-1]):",
        "for number in np.random.default_rng().permutation(parts.shape[-1]):",
        ("tests/integrations/test_dask.py::test_moments",),
    ),
    Defect(
        "dask: leading axes are counted from the first",
        "fastgd/dask/blocks.py",
        "(*fits[len(fits) - n_fits :], *ends)",
        "(*fits[:n_fits], *ends)",
        ("tests/integrations/test_dask.py::test_leading_axes_broadcast",),
    ),
    Defect(
        "dask: moments are added one after the other, as they come",
        "fastgd/dask/blocks.py",
        "while waiting and waiting[-1][0] == count:",
        "while waiting:",
        ("tests/integrations/test_dask.py::test_moments",),
    ),
    Defect(
        "dask: blocks of cells stand at each other's places",
        "fastgd/dask/sweeping.py",
        "zip(made, blocks, strict=True)",
        "zip(made, blocks[::-1], strict=True)",
        ("tests/integrations/test_dask.py::test_blocks_of_cells_have_the_bits_of_one_sweep",),
    ),
    Defect(
        "sweep: a part of a grid has the schedules of its first cells",
        "fastgd/planning/grid.py",
        'self.schedules[of("schedule")]',
        "self.schedules",
        ("tests/integrations/test_dask.py::test_blocks_of_cells_have_the_bits_of_one_sweep",),
    ),
    Defect(
        "dask frames: rows keep the order that a shuffle gave them",
        "fastgd/integrations/dask_frames.py",
        "rows.sort_values(_ROW).drop(columns=_ROW)",
        "rows.drop(columns=_ROW)",
        ("tests/integrations/test_dask_frames.py::test_rows_that_a_shuffle_puts_into_another_order_have_their_own_again",),
    ),
    Defect(
        "dask frames: an index without divisions has whole groups",
        "fastgd/integrations/dask_frames.py",
        "not (of_index and df.known_divisions)",
        "not of_index",
        ("tests/integrations/test_dask_frames.py::test_an_index_without_divisions_is_shuffled",),
    ),
    Defect(
        "search: the training moments hold the validation fold",
        "fastgd/sklearn/folds.py",
        "for i, part in enumerate(tests) if i != k]",
        "for i, part in enumerate(tests)]",
        ("tests/sklearn/test_search.py::test_training_moments_hold_no_sample_of_the_validation_fold",),
    ),
    Defect(
        "search: a candidate that diverges is a warning",
        "fastgd/sklearn/search.py",
        '"One or more of the (test|train) scores are non-finite"',
        '"never"',
        ("tests/sklearn/test_search.py::test_what_diverges_has_the_error_score",),
    ),
)
