"""Defects of packs of update rules (kernels/cpu/packs/)."""

from __future__ import annotations

from tests.mutants.defect import Defect

RUN_PACK, RULE_STATE = "kernels/cpu/packs/run_pack.py", "kernels/cpu/packs/rule_state.py"
UPDATE_LANES, RULE_EPOCHS = "kernels/cpu/packs/update_lanes.py", "kernels/cpu/packs/rule_epochs.py"
TESTS = ("tests/kernels/cpu/packs/test_update_lanes.py",)

RULE_PACK_DEFECTS = (
    Defect(
        "slots of a block that was not safe are kept",
        RULE_EPOCHS,
        "_copy_rows(of_slots, further(",
        "_copy_rows(0, further(",
        TESTS,
    ),
    Defect("each step of a block is its first", RULE_EPOCHS, "begin_step(rule, epoch + e,", "begin_step(rule, epoch,", TESTS),
    Defect(
        "a pack divides by the root of the epoch before",
        UPDATE_LANES,
        "variance = square",
        "variance = _row(slots, j, lane)",
        TESTS,
    ),
    Defect(
        "products of fits that have converged go on",
        RUN_PACK,
        "_take_over(going, options.n_products,",
        "_take_over(from_bits(ALL), options.n_products,",
        TESTS,
    ),
    Defect(
        "a decoupled decay acts on the gradient too",
        RULE_STATE,
        "coupled = 0.0 if decoupled else _value(",
        "coupled = _value(",
        TESTS,
    ),
)
