"""Defects of packs of update rules (kernels/cpu/packs/)."""

from __future__ import annotations

from tests.mutants.defect import Defect

RUN_PACK, RULE_STATE = "kernels/cpu/packs/run_pack.py", "kernels/cpu/packs/rule_state.py"
UPDATE_LANES, RULE_EPOCHS = "kernels/cpu/packs/update_lanes.py", "kernels/cpu/packs/rule_epochs.py"
CYCLES = ("tests/fit/test_momentum_cycles.py::test_the_arbiters_bits",)
RIDGE = (
    "tests/fit/test_ridge_descent.py::test_the_intercept_is_left_alone",
    "tests/fit/test_ridge_descent.py::test_it_ends_at_the_minimum_that_solve_finds",
)
STATE, SHARED = "kernels/cpu/packs/state.py", ("tests/kernels/cpu/packs/test_run_pack.py::test_fits_that_share_a_gram_matrix",)
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
        "fits that share a Gram matrix compute on the first of the call",
        STATE,
        "move(records.gram, begin + entry, scratch.matrix,",
        "move(records.gram, entry, scratch.matrix,",
        SHARED,
    ),
    Defect(
        "a pack of several Gram matrices computes on its first",
        STATE,
        "for lane in range(1, count):\n        shared = shared and",
        "for lane in range(1, 2):\n        shared = shared and",
        SHARED,
    ),
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
    Defect(
        "a pack has the momentum of the epoch before",
        RUN_PACK,
        "begin = (epoch + e if varies else 0) * options.n_fits\n        for lane in range(LANES):\n            move(",
        "begin = (max(epoch + e - 1, 0) if varies else 0) * options.n_fits\n        for lane in range(LANES):\n            move(",
        CYCLES,
    ),
    Defect(
        "a beta1 that moves takes the place of beta2",
        "kernels/cpu/descent/update.py",
        "hyper[MOVING_AT[rule]] = momentum",
        "hyper[MOVING_AT[rule] + HAS_POWER[rule]] = momentum",
        CYCLES,
    ),
    Defect(
        "a beta1 that moves keeps its running product",
        "kernels/cpu/descent/update.py",
        "        if HAS_POWER[rule]:\n            products[0] = power_of(momentum, step)\n",
        "",
        CYCLES,
    ),
    Defect(
        "a ridge penalises the intercept in packs",
        UPDATE_LANES,
        "if switches.decay and j < switches.n_decayed:",
        "if switches.decay:",
        RIDGE,
    ),
    Defect(
        "a ridge penalises the intercept of one fit",
        "kernels/cpu/descent/update.py",
        "        if hyper[2] != 0.0 and j < n_decayed:\n            direction = fma(decay, w[j], direction)\n        if hyper[0] != 0.0:",
        "        if hyper[2] != 0.0:\n            direction = fma(decay, w[j], direction)\n        if hyper[0] != 0.0:",
        RIDGE,
    ),
    Defect(
        "a ridge is forgotten in F*",
        "kernels/cpu/packs/measuring.py",
        "half = multiply(fill(0.5), load(constants, DECAY * LANES))",
        "half = multiply(fill(0.0), load(constants, DECAY * LANES))",
        RIDGE,
    ),
    Defect(
        "the least value of other targets on one X",
        "kernels/cpu/packs/measuring.py",
        "get(last, 0) == gram and get(last, 1) == target",
        "get(last, 0) == gram",
        ("tests/kernels/cpu/packs/test_measuring.py",),
    ),
    Defect(
        "a fit that is handed over without its least value",
        "kernels/cpu/packs/results.py",
        "move(scratch.constants, MINIMUM * LANES + lane, results.least, f)",
        "pass",
        ("tests/kernels/cpu/packs/test_update_lanes.py::test_fits_that_leave_beside_others",),
    ),
    Defect(
        "Gram matrices of other lanes are noted",
        "kernels/cpu/packs/state.py",
        "lane = count_at(data.noted, number) - first\n",
        "lane = 0\n",
        ("tests/running/test_explaining.py::test_hessians_are_those_of_the_loss",),
    ),
)
