"""Defects of Moments and Stability: sums of parts, selections, fits without samples, rates; and of
how samples that lie apart, and scaled features, become moments."""

from __future__ import annotations

from tests.mutants.defect import Defect

FIT_BY_FIT, GIVEN = "kernels/cpu/descent/fit_by_fit.py", "tests/fit/test_moments.py"
MOMENTS, OF_MOMENTS = "fastgd/results/moments.py", "tests/results/test_moments.py"
STABILITY, OF_STABILITY = "fastgd/results/stability.py", "tests/results/test_stability.py"
SHORT = "tests/kernels/cpu/moments/test_lane_sums.py::test_pairs_of_columns_of_few_samples"
DESCENTS = "tests/fit/test_stability.py"
SELECTED = (f"{OF_MOMENTS}::test_selected_features_have_the_bits_of_these_features",)
BEYOND = (f"{GIVEN}::test_beyond_the_limits_it_has_the_rows_of_the_arbiters_moments",)

STANDARDIZE = "tests/fit/test_standardize.py"
CENTER_AND_SCALE = (f"{STANDARDIZE}::test_center_and_scale_are_the_weighted_mean_and_the_population_deviation",)
MOMENTS_OF_SCALED = "kernels/cpu/moments/standardize.py"

MOMENTS_DEFECTS = (
    Defect(
        "sample deviation",
        MOMENTS_OF_SCALED,
        "np.float32(min(math.sqrt(spread / total)",
        "np.float32(min(math.sqrt(spread / (total - 1.0))",
        CENTER_AND_SCALE,
    ),
    Defect(
        "sample deviation, float64",
        MOMENTS_OF_SCALED,
        "_usable(min(scale(math.sqrt(spread / total)",
        "_usable(min(scale(math.sqrt(spread / (total - 1.0))",
        CENTER_AND_SCALE,
    ),
    Defect(
        "deviation about the rounded center",
        MOMENTS_OF_SCALED,
        "spread = fma(-moved[j], moved[j] / count, square) if intercept else square",
        "spread = square",
        (f"{STANDARDIZE}::test_the_kernels_give_the_arbiters_bits",),
    ),
    Defect(
        "constant columns are scaled",
        MOMENTS_OF_SCALED,
        "constant[j] = finite and not square > CONSTANT_DOUBLED * before",
        "constant[j] = finite and not square > 0.0",
        (f"{STANDARDIZE}::test_columns_that_do_not_vary_have_scale_1",),
    ),
    Defect(
        "stability: the limit of momentum is that of plain descent",
        STABILITY,
        "return 2.0 * (1.0 + values) / self.lambda_max",
        "return 2.0 * (1.0 + 0.0 * values) / self.lambda_max",
        (OF_STABILITY,),
    ),
    Defect(
        "stability: the loss falls as the distance does",
        STABILITY,
        "math.log(goal) / (2.0 * np.log(rho))",
        "math.log(goal) / np.log(rho)",
        (OF_STABILITY,),
    ),
    Defect("stability: the heavy ball has no transient", STABILITY, " + np.log1p(t * (1.0 + r)) > half", " > half", (OF_STABILITY,)),
    Defect(
        "stability: a hidden eigenvalue is told",
        "fastgd/running/hessians.py",
        "np.where(np.isinf(some.conditions(values)), 0.0, values[:, 0])",
        "values[:, 0]",
        (f"{DESCENTS}::test_a_least_eigenvalue_that_rounding_hides_is_zero",),
    ),
    Defect(
        "stability: weights are left out of a sum",
        "fastgd/running/hessians.py",
        "np.ones(count), of_the_sum)",
        "np.ones(count), False)",
        (f"{DESCENTS}::test_descents_are_stable_below_the_limit_alone",),
    ),
    Defect(
        "parts are added one after the other",
        MOMENTS,
        "while waiting and waiting[-1][0] == count:",
        "while waiting:",
        (f"{OF_MOMENTS}::test_parts_of_a_power_of_two_of_chunks_have_the_bits_of_the_whole",),
    ),
    Defect(
        "parts are added from the last one on",
        MOMENTS,
        "for number, part in enumerate(parts):",
        "for number, part in enumerate(list(parts)[::-1]):",
        (f"{OF_MOMENTS}::test_parts_of_a_power_of_two_of_chunks_have_the_bits_of_the_whole",),
    ),
    Defect(
        "the weights of a part are not made comparable",
        MOMENTS,
        "return np.ldexp((side.values * factors[..., i]) * factors[..., j], side.shift[..., None, None])",
        "return (side.values * factors[..., i]) * factors[..., j]",
        (f"{OF_MOMENTS}::test_other_cuts_have_the_same_value_but_for_rounding",),
    ),
    Defect(
        "select takes the row of another feature",
        MOMENTS,
        "_entry(columns[i], columns[j])",
        "_entry(i, columns[j])",
        SELECTED,
    ),
    Defect(
        "select takes an entry from below the diagonal",
        MOMENTS,
        "low, high = min(i, j), max(i, j)",
        "low, high = i, j",
        SELECTED,
    ),
    Defect(
        "select takes the last feature for y",
        MOMENTS,
        "with_y = [*columns, self.n_parameters]",
        "with_y = [*columns, self.n_features - 1]",
        SELECTED,
    ),
    Defect(
        "the penalty of a sum takes the number of samples for their weights",
        "fastgd/running/least_values.py",
        "        if not group.has_samples:\n            weighing",
        "        if False:\n            weighing",
        (f"{GIVEN}::test_a_penalty_of_a_weighted_sum_has_the_bits_of_the_samples",),
    ),
    Defect(
        "the limit of a fit without samples is that of one with",
        FIT_BY_FIT,
        "if has_samples and not (exact_loss <= loss_limit",
        "if not (exact_loss <= loss_limit",
        (f"{GIVEN}::test_a_fit_that_overflows_goes_on_by_its_moments",),
    ),
    Defect(
        "the update of a fit without samples has a limit",
        FIT_BY_FIT,
        "if has_samples and not good:",
        "if not good:",
        BEYOND,
    ),
    Defect(
        "a fit without samples has diverged where its float64 state has",
        FIT_BY_FIT,
        "all_finite_in(state, stream_state)",
        "all_finite(state)",
        (f"{GIVEN}::test_a_w_that_float32_cannot_hold_has_diverged",),
    ),
    Defect(
        "tiny fits: the ninth sample is left out",
        "kernels/cpu/moments/lane_sums.py",
        "    if rows <= SIDE:\n",
        "    if rows <= SIDE + 1:\n",
        (SHORT,),
    ),
    Defect(
        "tiny fits: lanes are added in another order",
        "kernels/cpu/moments/lane_sums.py",
        "    high, low = _lane_products(load_part(tile, a), load_part(tile, b), first_half(fill(0.0)))\n"
        "    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))\n",
        "    high, low = _lane_products(load_part(tile, a), load_part(tile, b), first_half(fill(0.0)))\n"
        "    return add(first_half(high), second_half(high)), add(first_half(low), second_half(low))\n",
        (SHORT,),
    ),
    Defect(
        "samples that lie apart: fits are taken for neighbours",
        "kernels/cpu/moments/single_feature.py",
        "and _start_of(sources, first + k, begin, of_x) == start + k",
        "",
        ("tests/kernels/cpu/moments/test_single_feature.py",),
    ),
    Defect(
        "samples that lie apart: the last ones are not copied",
        "kernels/cpu/moments/single_feature.py",
        "            for i in range(done, n):\n                move(array",
        "            for i in range(done, n - 1):\n                move(array",
        ("tests/kernels/cpu/moments/test_single_feature.py",),
    ),
    Defect(
        "an intercept in the units of the scaled features",
        "kernels/cpu/moments/standardize.py",
        "offset -= w * center[f, j]",
        "offset -= 0.0 * center[f, j]",
        ("tests/running/test_standardizing.py",),
    ),
)
