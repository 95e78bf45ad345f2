"""Defects of sweeps: the cells, their validation and their limits."""

from __future__ import annotations

from tests.mutants.defect import Defect

SWEEP_DEFECTS = (
    Defect(
        "sweep: a diverged cell is the best",
        "fastgd/results/cells.py",
        "(DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES))",
        "(INVALID_DATA, TOO_FEW_SAMPLES))",
        ("tests/results/test_cells.py::test_a_diverged_cell_is_never_best",),
    ),
    Defect(
        "sweep: the validation loss has the training weights",
        "fastgd/sweeping.py",
        "asked = given | {",
        'asked = given | {"sample_weight": options.get("sample_weight")} | {',
        ("tests/sweep/test_sweeping.py::test_validation_loss_is_exact_and_has_its_own_weights",),
    ),
    Defect(
        "sweep: the axes of a grid are turned round",
        "fastgd/planning/grid.py",
        "after = len(self.dims) - axis - 1 + n_data",
        "axis, after = len(self.dims) - axis - 1, axis + n_data",
        ("tests/sweep/test_sweeping.py::test_a_grid_equals_single_fits",),
    ),
    Defect(
        "sweep: cells that diverged have the validation loss of zeros",
        "fastgd/sweeping.py",
        "np.where(finite, found.loss, np.nan)",
        "found.loss",
        ("tests/sweep/test_sweeping.py::test_validation_loss_is_that_of_fit",),
    ),
    Defect(
        "sweep: Nesterov momentum has the limit of heavy balls",
        "fastgd/sweeping.py",
        "1.0 + 2.0 * momentum, np.where",
        "1.0, np.where",
        ("tests/sweep/test_sweeping.py::test_the_stability_limit_is_where_descent_turns",),
    ),
    Defect(
        "optuna: the trials of a batch are told in another order",
        "fastgd/optuna.py",
        "in zip(asked, losses_that_count",
        "in zip(asked[::-1], losses_that_count",
        ("tests/sweep/test_optuna.py::test_losses_are_those_of_single_fits",),
    ),
    Defect(
        "optuna: what diverged is told as failed",
        "fastgd/optuna.py",
        "study.tell(trial, state=states.PRUNED)",
        "study.tell(trial, state=states.FAIL)",
        ("tests/sweep/test_optuna.py::test_what_diverged_is_pruned_and_has_no_value",),
    ),
    Defect(
        "optuna: Ctrl-C leaves the trials of its batch running",
        "fastgd/optuna.py",
        "except BaseException:",
        "except Exception:",
        ("tests/sweep/test_optuna.py::test_trials_of_an_unfinished_batch_are_failed",),
    ),
    Defect(
        "optuna: a hyperparameter of no rule of the batch goes to the sweep",
        "fastgd/optuna.py",
        "        if of_none or (",
        "        if (",
        ("tests/sweep/test_optuna.py::test_validation_losses_of_two_rules_are_those_of_single_fits",),
    ),
)
