"""Defects of the CPU kernels."""

from __future__ import annotations

from tests.mutants.defect import Defect

AGREEMENT = ("tests/promises/test_agreement.py",)
BITS = ("tests/kernels/cpu/test_bits.py", "tests/kernels/cpu/test_bits_extremes.py")
WEIGHTS = ("tests/fit/test_weights.py",)
OMIT = ("tests/fit/test_omit.py",)
SOLVE = ("tests/fit/test_solving.py", "tests/fit/test_solving_company.py", "tests/planning/test_like_solutions.py")
OFFSETS = ("tests/fit/test_solving_offsets.py",)
ONE_FIT, SOLVE_PACK = "kernels/cpu/closed_form/one_fit.py", "kernels/cpu/closed_form/pack.py"
RULES = ("tests/fit/test_rules.py",)
ALIKE = ("tests/fit/test_solving_company.py",)
LAYER = ("tests/kernels/cpu/simd/test_lanes.py", "tests/kernels/cpu/simd/test_masks.py", "tests/kernels/cpu/simd/test_addresses.py")
TILES = ("tests/kernels/cpu/moments/test_register_tiles.py", "tests/kernels/cpu/moments/test_lane_sums.py")
BLOCKS, SINGLE = ("tests/kernels/cpu/packs/test_run_pack.py",), ("tests/kernels/cpu/moments/test_single_feature.py",)
SINGLE_FEATURE = "kernels/cpu/moments/single_feature.py"
UPDATE, LIMITS = "kernels/cpu/descent/update.py", "kernels/cpu/descent/limits.py"
EVALUATE, FIT_BY_FIT = "kernels/cpu/descent/evaluate.py", "kernels/cpu/descent/fit_by_fit.py"
TRANSPOSE, TRANSPOSED = "kernels/cpu/simd/transpose.py", "tests/kernels/cpu/simd/test_transpose.py"
LANES_FILE, DESCEND_PACKS = "kernels/cpu/simd/lanes.py", "kernels/cpu/packs/descend_packs.py"
REGISTER_TILES, RUN_PACK = "kernels/cpu/moments/register_tiles.py", "kernels/cpu/packs/run_pack.py"
UPDATE_LANES, RULE_EPOCHS = "kernels/cpu/packs/update_lanes.py", "kernels/cpu/packs/rule_epochs.py"
PLAIN_EPOCHS, STATE = "kernels/cpu/packs/plain_epochs.py", "kernels/cpu/packs/state.py"
OF_FRESH = "arrays.number(FRESH, types.boolean)"

STANDARDIZE = "tests/fit/test_standardize.py"
CENTER_AND_SCALE = (f"{STANDARDIZE}::test_center_and_scale_are_the_weighted_mean_and_the_population_deviation",)
MOMENTS_OF_SCALED = "kernels/cpu/moments/standardize.py"
DISK_CACHE = "tests/kernels/cpu/simd/test_disk_cache.py"

CPU_DEFECTS = (
    Defect(
        "Xᵀy is not centred",
        MOMENTS_OF_SCALED,
        "fma(-center[j], high[d], high[j]) if intercept else high[j]",
        "high[j]",
        (f"{STANDARDIZE}::test_raw_axes_reach_the_closed_form_in_100_epochs",),
    ),
    Defect(
        "samples are scaled, not centred",
        EVALUATE,
        "tile[i] = (tile[i] - center) / scale",
        "tile[i] = tile[i] / scale",
        (f"{STANDARDIZE}::test_every_epoch_agrees_with_torch_on_standardised_data",),
    ),
    Defect(
        "weights not normalised",
        "kernels/cpu/packs/state.py",
        "move(records.weighing, g * 4 + W_HIGH, constants, TOTAL * LANES + lane)",
        "move(records.weighing, g * 4 + W_LEAST, constants, TOTAL * LANES + lane)",
        WEIGHTS,
    ),
    Defect("weights not normalised, stream", EVALUATE, "    return parts[0, 0]\n", "    return number(n)\n", WEIGHTS),
    Defect(
        "weights squared",
        "kernels/cpu/moments/tiles.py",
        "product = multiply(weight, value)",
        "product = multiply(multiply(weight, weight), value)",
        WEIGHTS,
    ),
    Defect(
        "gradient without weights",
        EVALUATE,
        "store(scratch, first, multiply(by, weighed))",
        "store(scratch, first, multiply(by, residual))",
        WEIGHTS,
    ),
    Defect(
        "error of the weighted product dropped",
        "kernels/cpu/moments/tiles.py",
        "fma(weight, value, negate(product)))",
        "multiply(value, fma(weight, value, negate(product))))",
        WEIGHTS,
    ),
    Defect("a NaN of weight zero counted", "kernels/cpu/moments/samples.py", "if weight == 0.0:", "if weight < 0.0:", OMIT),
    Defect(
        "infinite y counted",
        "kernels/cpu/moments/samples.py",
        "stays = math.isfinite(get(y,",
        "stays = not math.isnan(get(y,",
        ("tests/kernels/cpu/moments/test_samples.py",),
    ),
    Defect(
        "a weight of -inf is negative",
        "kernels/cpu/moments/samples.py",
        "weight < 0.0 and weight > -math.inf",
        "weight < 0.0",
        ("tests/fit/test_omit.py::test_a_weight_that_is_not_finite",),
    ),
    Defect("a cancelled search is used", "kernels/cpu/__init__.py", "if not cancel[0]:  # a search", "if True:  # a search", OMIT),
    Defect(
        "a quotient that a reciprocal does not give",
        "kernels/cpu/packs/gradient.py",
        "multiply(multiply(divide(value, total), up), up)",
        "multiply(multiply(divide_by_reciprocal(value, total, load(constants, RECIPROCAL * LANES)), up), up)",
        ("tests/kernels/cpu/test_bits_extremes.py::test_losses_that_a_reciprocal_does_not_give",),
    ),
    Defect(
        "samples beside one that is missing are all kept",
        "kernels/cpu/moments/samples.py",
        "return bits == (1 << PART) - 1",
        "return bits != 0",
        ("tests/kernels/cpu/moments/test_samples.py::test_lists_of_kept_samples",),
    ),
    Defect("gradient halved", LIMITS, "factor = 2.0 / total\n", "factor = 1.0 / total\n", AGREEMENT),
    Defect(
        "gradient halved, stream",
        FIT_BY_FIT,
        "else number(2) / stream_weight",
        "else number(1) / stream_weight",
        AGREEMENT,
    ),
    Defect(
        "mean over n - 1",
        "kernels/cpu/moments/compress.py",
        "else float(stop - start))",
        "else float(stop - start - 1))",
        AGREEMENT,
    ),
    Defect(
        "loss after the update",
        "kernels/cpu/packs/results.py",
        "move(losses, i * LANES + lane + k, history_loss, to + k * n_rows + i)",
        "move(losses, i * LANES + lane + k, history_loss, to + k * n_rows + max(i - 1, 0))",
        AGREEMENT,
    ),
    Defect(
        "last sample dropped",
        "kernels/cpu/__init__.py",
        "samples, starts, samples.n_used, intercept",
        "samples, starts, np.maximum(samples.n_used - 1, 1), intercept",
        AGREEMENT,
    ),
    Defect(
        "momentum damped on the first step",
        UPDATE_LANES,
        "choose(_is_set(first), direction, fma(",
        "choose(below(first, zero), direction, fma(",
        ("tests/promises/test_agreement.py::test_every_sgd_option_in_lockstep",),
    ),
    Defect(
        "lanes added in another order",
        LANES_FILE,
        "list(range(first, first + width))",
        "list(range(first // width, 2 * width, 2))",
        BITS,
    ),
    Defect(
        "gradient wrong by 1e-12",
        LIMITS,
        "factor = 2.0 / total\n",
        "factor = 2.0 / total * (1.0 + 1e-12)\n",
        ("tests/promises/test_agreement.py::test_every_sgd_option_in_lockstep",),
    ),
    Defect(
        "low part of 2/n dropped",
        LIMITS,
        "return factor, fma(-factor, weighing[W_LOW], fma(-factor, total, 2.0)) / total",
        "return factor, 0.0",
        BITS,
    ),
    Defect(
        "loss may be negative",
        EVALUATE,
        "if result < 0.0:",
        "if result < -1.0:",
        ("tests/kernels/cpu/test_bits_extremes.py::test_where_nothing_is_left_but_rounding",),
    ),
    Defect(
        "slots lost at the hand-over",
        FIT_BY_FIT,
        "copy_state(stream_state, stream_slot, product, state, slot, product)",
        "copy(state, stream_state)",
        BITS,
    ),
    Defect("ridge of 1/n", ONE_FIT, "-penalty)), power - 1", "-penalty)), power - 2", SOLVE),
    Defect(
        "low part of the Gram matrix dropped", "kernels/cpu/solving.py", "low_gram = zeros if single", "low_gram = zeros if size", SOLVE
    ),
    Defect("no refinement", ONE_FIT, "MOST_STEPS = 40", "MOST_STEPS = 1", SOLVE),
    Defect(
        "low part of the solution dropped",
        ONE_FIT,
        "matrix[j, k], low_matrix[j, k], z[k], low_z[k]",
        "matrix[j, k], low_matrix[j, k], z[k], 0.0",
        OFFSETS,
    ),
    Defect("pack: low part of the solution dropped", SOLVE_PACK, "load(scratch.low_z, k * LANES), e)", "fill(0.0), e)", SOLVE),
    Defect(
        "pack: a lane is accepted by its neighbour", "kernels/cpu/solving.py", "solved >> lane & 1", "solved >> (lane ^ 1) & 1", OFFSETS
    ),
    Defect(
        "pack: the matrix of another X is kept", SOLVE_PACK, "    same = count_at(moments.gram_index, f) ==", "    same = 0 * f <=", ALIKE
    ),
    Defect(
        "pack: the matrix of another decay is kept",
        SOLVE_PACK,
        "return same and get(moments.decay, f) ==",
        "return same and 0.0 * f <=",
        ALIKE,
    ),
    Defect("pack: a pack of several matrices is taken for one", SOLVE_PACK, "again = alike and before", "again = before", ALIKE),
    Defect("solve: a fit of low rank is settled", "kernels/cpu/solving.py", "rank[place] == size and ", "", SOLVE),
    Defect("solve: an ill-conditioned fit is settled", "kernels/cpu/solving.py", "condition[place] <= most and ", "", SOLVE),
    Defect("solve: what no float32 holds is settled", "kernels/cpu/solving.py", "_are_at_most(LARGE, w[place])", "1", SOLVE),
    Defect("pack: a column of zeros counts in the rank", SOLVE_PACK, "rank += diagonal != 0.0 or penalty != 0.0", "rank += 1", OFFSETS),
    Defect("a column of zeros is not dropped", ONE_FIT, "                high = 1.0\n", "                high = 0.0\n", OFFSETS),
    Defect(
        "solve: the shift is not undone in the intercept",
        "kernels/cpu/closed_form/shifted.py",
        "minus_product(total, lost, w[j], low[j], shift[j], 0.0)",
        "minus_product(total, lost, w[j], low[j], 0.0, 0.0)",
        OFFSETS,
    ),
    Defect("y is shifted and not shifted back", "kernels/cpu/closed_form/shifted.py", "shift[size], 0.0)", "0.0, 0.0)", OFFSETS),
    Defect("a shift that is not exact", "kernels/cpu/moments/samples.py", "if lost != 0.0:", "if lost > math.inf:", OFFSETS),
    Defect("factor kept for another penalty", "kernels/cpu/solving.py", " or decay[f] != decay[before]", "", OFFSETS),
    Defect("double-double root in float64", ONE_FIT, "(fma(-root, root, total) + low) / (2.0 * root)", "0.0", SOLVE),
    Defect(
        "Nesterov in Sutskever's form",  # the step is the new velocity: w is not the look-ahead
        UPDATE,
        "fma(momentum, velocity, direction) if nesterov",
        "fma(momentum, slots[0, j], direction) if nesterov",
        ("tests/promises/test_agreement.py::test_every_sgd_option_in_lockstep",),
    ),
    Defect(
        "ε inside the root", UPDATE, "math.sqrt(square) / correction + eps", "math.sqrt(square / (correction * correction) + eps)", RULES
    ),
    Defect(
        "bias correction missing",
        UPDATE,
        "rate = number(-(lr / (1.0 - new_products[0])))\n    correction",
        "rate = number(-lr)\n    correction",
        RULES,
    ),
    Defect("decoupled decay in Adam", UPDATE, "n_decayed, rule == ADAMW, new_w", "n_decayed, rule >= ADAM, new_w", RULES),
    Defect("every block begins its sums anew", REGISTER_TILES, OF_FRESH, "ir.Constant(ir.IntType(1), 1)", TILES),
    Defect("no block begins its sums anew", REGISTER_TILES, OF_FRESH, "ir.Constant(ir.IntType(1), 0)", TILES),
    Defect("a remaining row dropped", REGISTER_TILES, "return min(left, 2)", "return min(left, 2) if left > 1 else 0", TILES),
    Defect(
        "low parts of weighted columns replaced",
        REGISTER_TILES,
        "    left, low_left, tile,",
        "    left, left, tile,",
        TILES,
    ),
    Defect("registers of lanes misplaced", REGISTER_TILES, "builder.add(places[r, c], number(v * REGISTER))", "places[r, c]", TILES),
    Defect("error of a product dropped", REGISTER_TILES, "builder.fadd(lost, error))", "lost)", TILES),
    Defect(
        "lanes of a pair of columns misplaced",
        REGISTER_TILES,
        "builder.sub(builder.add(above, i), arrays.number(BEFORE))",
        "above",
        TILES,
    ),
    Defect("columns of float64 exchanged", TRANSPOSE, "[0, 8, 2, 10, 4, 12, 6, 14]", "[0, 8, 2, 10, 4, 12, 14, 6]", TILES),
    Defect("columns of float32 exchanged", TRANSPOSE, "[0, 8, 1, 9, 4, 12, 5, 13]", "[0, 8, 1, 9, 4, 12, 13, 5]", (TRANSPOSED,)),
    Defect(
        "low parts of half of the lanes dropped",
        "kernels/cpu/moments/lane_sums.py",
        "other, low_other)\n    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))",
        "other, low_other)\n    return dd_add_lanes(first_half(high), first_half(low), second_half(high), first_half(low))",
        TILES,
    ),
    Defect(
        "samples beyond the last one read",
        LANES_FILE,
        'builder.icmp_signed("<", ir',
        'builder.icmp_signed("<=", ir',
        LAYER,
    ),
    Defect("no margin for rounding errors", STATE, "multiply(fill(0.9), ", "multiply(fill(1.0), ", BLOCKS),
    Defect("any w below its limit is safe", STATE, "below(w_limit, fill(limit / 4.0))", "below(w_limit, fill(limit * 4.0))", BLOCKS),
    Defect(
        "the largest w never forgotten",
        RUN_PACK,
        "largest = fill(0.0)",
        "largest = load(scratch.constants, LARGEST * LANES)",
        ("tests/kernels/cpu/packs/test_run_pack.py::test_only_the_first_blocks_of_a_w_that_shrinks_are_repeated",),
    ),
    Defect(
        "a block tested by its last w",
        PLAIN_EPOCHS,
        'fcmp_ordered("<", most, length), length, most',
        'fcmp_ordered("<", most, length), most, most',
        BLOCKS,
    ),
    Defect(
        "all numbers are moderate",
        STATE,
        "load(targets, size * LANES), fill(2.0**80))",
        "load(targets, size * LANES), fill(2.0**1000))",
        BLOCKS,
    ),
    Defect("columns of any size are moderate", STATE, "MODERATE_EXPONENT = 2.0**30, 100.0", "MODERATE_EXPONENT = 2.0**30, 5000.0", BLOCKS),
    Defect("low parts forgotten in blocks", PLAIN_EPOCHS, "fma(low_grams[entry(j, k)], scaled[k], error)", "error", BLOCKS),
    Defect(
        "any size is moderate",
        STATE,
        "MODERATE_W_SAFE, MODERATE_EXPONENT = 2.0**30,",
        "MODERATE_W_SAFE, MODERATE_EXPONENT = 2.0**140,",
        BLOCKS,
    ),
    Defect(
        "few fits of a single feature are left without records",
        DESCEND_PACKS,
        "smallest = 1 if from_samples else smallest",
        "smallest = smallest if from_samples else smallest",
        SINGLE,
    ),
    Defect("y of a single feature may be infinite", SINGLE_FEATURE, "of_x & as_bits(", "of_x | as_bits(", SINGLE),
    Defect(
        "the count of another fit",
        SINGLE_FEATURE,
        "float(count_at(n_used, first + lane))",
        "float(count_at(n_used, first + lane) + 1)",
        SINGLE,
    ),
    Defect(
        "an exponent of another fit",
        SINGLE_FEATURE,
        "put(exponents, 2 * k + 1, np.int64(of_y))",
        "put(exponents, 2 * k + 1, np.int64(of_x))",
        SINGLE,
    ),
    Defect(
        "the last samples of a single feature",
        "kernels/cpu/moments/lane_sums.py",
        "for i in range(begin, rows, LANES):",
        "for i in range(begin, rows - 1, LANES):",
        SINGLE,
    ),
    Defect(
        "a block that was not safe is kept",
        RULE_EPOCHS,
        "_copy_rows(size, scratch.before, scratch.w)",
        "_copy_rows(0, scratch.before, scratch.w)",
        BLOCKS,
    ),
    Defect(
        "fits that were handed over are tested",
        RUN_PACK,
        "load(scratch.w, j * LANES)), w_safe))\n    return (active & ~",
        "load(scratch.w, j * LANES)), w_safe))\n    return (ALL & ~",
        BLOCKS,
    ),
    Defect("a block runs past a row", RUN_PACK, "min(number, every - epoch % every)", "number", BLOCKS),
    Defect(
        "one rate for a whole block",
        PLAIN_EPOCHS,
        "load(RATES, builder.mul(loop.index, rate_step))",
        "load(RATES, ir.Constant(_INT, 0))",
        BLOCKS,
    ),
    Defect(
        "rows at the wrong place",
        "kernels/cpu/packs/results.py",
        "count_at(fits, lane) * n_rows + first_row",
        "count_at(fits, lane) * n_rows",
        BLOCKS,
    ),
    Defect(
        "kernels of read-only options",
        "kernels/cpu/__init__.py",
        "hyper = read_only(np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper))",
        "hyper = np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper)",
        ("tests/kernels/cpu/test_compile_ahead.py",),
    ),
    Defect(
        "a cache file of another digest is loaded",
        "kernels/cpu/simd/disk_cache.py",
        "if hashlib.sha256(rest).hexdigest().encode() != digest:",
        "if not digest:",
        (f"{DISK_CACHE}::test_a_damaged_file_is_compiled_anew_never_executed_and_said_once",),
    ),
    Defect(
        "a cache file of other sources is loaded",
        "kernels/cpu/simd/disk_cache.py",
        "if of != key.encode():",
        "if not of:",
        (f"{DISK_CACHE}::test_a_file_of_something_else_under_the_right_name_is_not_executed",),
    ),
    Defect(
        "kernels are loaded from where a group can write",
        "kernels/cpu/simd/disk_cache.py",
        "OTHERS = stat.S_IWGRP | stat.S_IWOTH",
        "OTHERS = stat.S_IWOTH",
        (f"{DISK_CACHE}::test_what_others_can_write_is_refused",),
    ),
    Defect(
        "what kernels say is not heard in the threads of a call",
        "kernels/apart.py",
        "run = copy_context().run",
        "run = lambda function, *given: function(*given)",
        ("tests/running/test_pool.py",),
    ),
)
