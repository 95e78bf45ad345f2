"""Defects of the least value, `tol` and `excess_loss` (docs/arithmetic.md, section 10), and of
patience."""

from __future__ import annotations

from tests.mutants.defect import Defect

FIT_BY_FIT, STREAM_EPOCHS = "kernels/cpu/descent/fit_by_fit.py", "kernels/cpu/descent/stream_epochs.py"
OBJECTIVE, MEASURING, LEAST = "kernels/cpu/descent/objective.py", "kernels/cpu/packs/measuring.py", "kernels/cpu/packs/least.py"
CONVERGED, LEAST_VALUES = ("tests/promises/test_converged.py",), ("tests/running/test_least_values.py",)
STOPPING = ("tests/kernels/cpu/test_bits_extremes.py",)
BLOCKS, EARLY = "fastgd/running/blocks.py", "tests/fit/test_stopping.py"

STOPPING_DEFECTS = (
    Defect(
        "tol: the target of another epoch, one fit",
        FIT_BY_FIT,
        "now = objective_of(exact_loss, state, kappa, n_decayed)\n                    if epoch == 0 and",
        "now = objective_of(exact_loss, state, kappa, n_decayed)\n                    if epoch == 1 and",
        STOPPING,
    ),
    Defect(
        "tol: the target of another epoch, loop of plain SGD",
        STREAM_EPOCHS,
        "if epoch == 0 and math.isnan(initial)",
        "if epoch == 1 and math.isnan(initial)",
        STOPPING,
    ),
    Defect(
        "tol: without the allowance for rounding",
        OBJECTIVE,
        "least + (allowance if share < allowance else share)",
        "least + share",
        STOPPING,
    ),
    Defect(
        "tol: without the allowance for rounding, packs",
        MEASURING,
        "add(least, choose(below(share, allowance), allowance, share))",
        "add(least, share)",
        STOPPING,
    ),
    Defect(
        "F*: without the penalty, float32",
        LEAST,
        "own = choose(below(fill(0.0), own), add(own, penalty), own)",
        "own = choose(below(fill(0.0), own), own, own)",
        CONVERGED,
    ),
    Defect(
        "F*: without the penalty, float64",
        LEAST,
        "            put(scratch.moments, entry, high)\n            put(scratch.low_moments, entry, low)",
        "            put(scratch.low_moments, entry, low)",
        CONVERGED,
    ),
    Defect("the objective without the penalty", OBJECTIVE, "if penalty != 0.0:", "if penalty < 0.0:", LEAST_VALUES),
    Defect(
        "F*: a column that others explain is not passed over",
        LEAST,
        "ALIASED, REGULAR = 2.0**-48, 2.0**-40",
        "ALIASED, REGULAR = -1.0, -1.0",
        LEAST_VALUES,
    ),
    Defect("F*: of the second column on, the moments as they were", LEAST, "        source = entries\n", "", LEAST_VALUES),
    Defect(
        "F*: of the second column on, the moments as they were, float64",
        LEAST,
        "        source, low_source = entries, low_entries\n",
        "",
        LEAST_VALUES,
    ),
    Defect(
        "tol: the target forgets the least value, references",
        "kernels/reference/record.py",
        "self.least + max(tol",
        "max(tol",
        ("tests/kernels/reference/test_record.py",),
    ),
    Defect(
        "tol: what met a larger one has converged",
        "fastgd/planning/start.py",
        '(tol >= max(0.0, read_tol(state.tol, "state.tol")))',
        "(tol >= 0.0)",
        ("tests/fit/test_resuming.py",),
    ),
    Defect(
        "rounding is called a rise",
        "fastgd/results/distances.py",
        " + eps * (64.0 * loss + (size + 1) * scale)",
        "",
        ("tests/results/test_summary.py",),
    ),
    Defect(
        "the loss is told of for the objective",
        "fastgd/planning/job.py",
        "penalised=options.penalised",
        "penalised=False",
        ("tests/results/test_summary.py",),
    ),
    Defect(
        "F*: of samples in float64 alone",
        "fastgd/running/least_values.py",
        "residual = high + low",
        "residual = high",
        ("tests/promises/test_converged.py",),
    ),
    Defect(
        "the stability limit without the momentum",
        "fastgd/results/curvatures.py",
        "2.0 * (1.0 + momentum), np.nan)",
        "2.0, np.nan)",
        ("tests/results/test_curvatures.py",),
    ),
    Defect(
        "the stability limit without weight_decay",
        "fastgd/results/curvatures.py",
        " + UPDATE_RULES[optimizer].coupled_decay(self.hyper)",
        "",
        ("tests/results/test_curvatures.py",),
    ),
    Defect(
        "the first fits of a call are looked at",
        "fastgd/planning/explained.py",
        "(found * _GOLDEN % 1.0 * n_fits)",
        "np.arange(most)",
        ("tests/planning/test_explained.py",),
    ),
    Defect("patience: an epoch late", BLOCKS, "(waited >= patience)", "(waited > patience)", (f"{EARLY}::test_by_hand",)),
    Defect("patience: no change is an improvement", BLOCKS, "min_delta < best)", "min_delta <= best)", (f"{EARLY}::test_by_hand",)),
    Defect(
        "patience: a fit ends where its block does",
        BLOCKS,
        "self._advance(going[back], ends[back])",
        "self._advance(going[back], ends[back] * 0 + length)",
        (f"{EARLY}::test_by_hand",),
    ),
    Defect(
        "restore_best: an epoch too far",
        BLOCKS,
        "self.best_epoch[fits] - self.kept_epoch[fits]",
        "self.best_epoch[fits] - self.kept_epoch[fits] + 1",
        (f"{EARLY}::test_by_hand",),
    ),
    Defect(
        "restore_best: from the end of a block as from its begin",
        BLOCKS,
        "self.done + (0 if rows is None else part.epochs)",
        "self.done",
        ("tests/running/test_blocks.py::test_best_and_last_epochs_at_the_ends_of_blocks",),
    ),
    Defect(
        "patience: fits that ended take part in the next block",
        BLOCKS,
        "self.going = going[ends < 0] if",
        "self.going = going if",
        ("tests/running/test_blocks.py::test_a_fit_that_stopped_costs_nothing",),
    ),
    Defect(
        "patience, mini-batches: the order of the epochs begins anew with each block",
        BLOCKS,
        "[] if chunk.batches is None else [chunk.batches.passes]",
        "[]",
        (f"{EARLY}::test_a_loop_of_single_epochs",),
    ),
    Defect(
        "patience, mini-batches: batches after the end of a fit are told",
        BLOCKS,
        "run = (ends < 0)[:, None] | (np.arange(width) < ends[:, None])",
        "run = (ends < 0)[:, None] | (np.arange(width) <= ends[:, None])",
        (f"{EARLY}::test_a_loop_of_single_epochs",),
    ),
    Defect(
        "patience, mini-batches: a schedule of epochs counts steps",
        BLOCKS,
        "lr[0], counted(chunk)[fits], count)",
        "lr[0], chunk.steps[fits], count)",
        (f"{EARLY}::test_a_loop_of_single_epochs",),
    ),
    Defect(
        "validation: with the weights of the training data",
        "fastgd/planning/job.py",
        '"sample_weight": arguments["sample_weight_val"]}',
        '"sample_weight": arguments["sample_weight"]}',
        (f"{EARLY}::test_a_loop_of_single_epochs",),
    ),
    Defect(
        "validation: what is not finite has the loss of zeros",
        "fastgd/running/validating.py",
        "np.where(finite & (chunk.status != TOO_FEW_SAMPLES), chunk.loss, np.nan)",
        "chunk.loss",
        (f"{EARLY}::test_a_loop_of_single_epochs", f"{EARLY}::test_each_status"),
    ),
    Defect(
        "validation: each fit has the data of the first pair",
        "fastgd/running/validating.py",
        "return number // order.n_cells",
        "return number * 0",
        ("tests/running/test_blocks.py::test_company_threads_and_blocks_change_no_bit",),
    ),
)
