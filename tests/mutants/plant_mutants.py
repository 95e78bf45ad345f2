"""Plant defects in a copy of the package, one at a time, and say which test finds each: `python -m tests.mutants.plant_mutants [name …]`.

1. A mutant is one changed piece of source. The copy is laid out as it installs (kernels/ becomes fastgd/kernels/) and comes first on the
   path; its kernels are compiled anew, so a mutant takes about a minute.
2. Exit status 0: every mutant was found. A mutant whose source no longer stands in the file is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Mutant:
    """One defect: in `file`, the text `right` becomes `wrong`; `tests` should notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


AGREEMENT = ("tests/promises/test_agreement.py",)
BITS = ("tests/kernels/cpu/test_bits.py", "tests/kernels/cpu/test_bits_extremes.py")
WEIGHTS = ("tests/fit/test_weights.py",)
OMIT = ("tests/fit/test_omit.py",)
MEMORY = ("tests/promises/test_memory.py",)
SOLVE = ("tests/fit/test_solve.py", "tests/fit/test_solve_company.py")
RULES = ("tests/fit/test_rules.py",)
LAYER = ("tests/kernels/cpu/test_lanes.py", "tests/kernels/cpu/test_masks.py", "tests/kernels/cpu/test_addresses.py")
TILES = ("tests/kernels/cpu/test_register_tiles.py", "tests/kernels/cpu/test_lane_sums.py")
BLOCKS, SINGLE = ("tests/kernels/cpu/test_epoch_blocks.py",), ("tests/kernels/cpu/test_single_feature.py",)
SINGLE_FEATURE = "kernels/cpu/moments/single_feature.py"
VERIFIER = ("tests/verification/test_diagnosis.py", "tests/verification/test_verify.py")
VERIFICATION = "fastgd/verification"
UPDATE, LIMITS = "kernels/cpu/descent/update.py", "kernels/cpu/descent/limits.py"
EVALUATE, FIT_BY_FIT = "kernels/cpu/descent/evaluate.py", "kernels/cpu/descent/fit_by_fit.py"
LANES_FILE, DESCEND_PACKS = "kernels/cpu/simd/lanes.py", "kernels/cpu/packs/descend_packs.py"
REGISTER_TILES, RUN_PACK = "kernels/cpu/moments/register_tiles.py", "kernels/cpu/packs/run_pack.py"
PLAIN_EPOCHS, STATE = "kernels/cpu/packs/plain_epochs.py", "kernels/cpu/packs/state.py"
OF_FRESH = "where.append(context.cast(builder, args[FRESH], signature.args[FRESH], types.boolean))"
MUTANTS = (
    Mutant(
        "verifier: the last explanation wins",
        f"{VERIFICATION}/causes/diagnosis.py",
        "best, best_tau = passing[0]\n        rivals",
        "best, best_tau = passing[-1]\n        rivals",
        VERIFIER,
    ),
    Mutant(
        "verifier: no rounding of w",
        f"{VERIFICATION}/causes/observation.py",
        "bound = step.error + self.u * np.abs(w - step.value)",
        "bound = step.error",
        VERIFIER,
    ),
    Mutant(
        "verifier: the first step has momentum",
        f"{VERIFICATION}/causes/recipes.py",
        ".but_first(damped if self.first_damped else pull)",
        "",
        VERIFIER,
    ),
    Mutant(
        "verifier: the bound is a hundred times as wide", f"{VERIFICATION}/bound/yardstick.py", "LIMIT = 8.0", "LIMIT = 800.0", VERIFIER
    ),
    Mutant(
        "verifier: a constant needs no evidence",
        f"{VERIFICATION}/causes/diagnosis.py",
        "hypothesis.step) > hypothesis.constants",
        "hypothesis.step) >= 0",
        VERIFIER,
    ),
    Mutant(
        "verifier: changed inputs pass",
        f"{VERIFICATION}/candidates/functions.py",
        "trial.altered = True",
        "trial.altered = False",
        VERIFIER,
    ),
    Mutant(
        "weights not normalised",
        "kernels/cpu/packs/state.py",
        "move(records.weighing, g * 4 + W_HIGH, constants, TOTAL * LANES + lane)",
        "move(records.weighing, g * 4 + W_LEAST, constants, TOTAL * LANES + lane)",
        WEIGHTS,
    ),
    Mutant("weights not normalised, stream", EVALUATE, "    return parts[0, 0]\n", "    return number(n)\n", WEIGHTS),
    Mutant(
        "weights squared",
        "kernels/cpu/moments/tiles.py",
        "product = multiply(weight, value)",
        "product = multiply(multiply(weight, weight), value)",
        WEIGHTS,
    ),
    Mutant(
        "gradient without weights",
        EVALUATE,
        "store(scratch, first, multiply(by, weighed))",
        "store(scratch, first, multiply(by, residual))",
        WEIGHTS,
    ),
    Mutant(
        "error of the weighted product dropped",
        "kernels/cpu/moments/tiles.py",
        "fma(weight, value, negate(product)))",
        "multiply(value, fma(weight, value, negate(product))))",
        WEIGHTS,
    ),
    Mutant("a NaN of weight zero counted", "kernels/cpu/moments/samples.py", "if weight == 0.0:", "if weight < 0.0:", OMIT),
    Mutant("infinite y counted", "kernels/cpu/moments/samples.py", "stays = math.isfinite(y[", "stays = not math.isnan(y[", OMIT),
    Mutant("auto by all samples", "fastgd/execute.py", "samples.n_used <= 2 *", "problem.n_samples + 0 * samples.n_used <= 2 *", OMIT),
    Mutant("a weight of -inf is negative", "kernels/cpu/moments/samples.py", "weight < 0.0 and weight > -math.inf", "weight < 0.0", OMIT),
    Mutant("a cancelled search is used", "kernels/cpu/__init__.py", "if lost.any() and not cancel[0]:", "if lost.any():", OMIT),
    Mutant("a group kept while the next is made", "fastgd/execute.py", "        del group, descend  #", "        #", MEMORY),
    Mutant("lists of samples not counted", "fastgd/memory.py", "lists = 16 *", "lists = 0 *", MEMORY),
    Mutant(
        "a quotient that a reciprocal does not give",
        "kernels/cpu/packs/run_pack.py",
        "multiply(multiply(divide(value, total), up), up)",
        "multiply(multiply(divide_by_reciprocal(value, total, load(constants, RECIPROCAL * LANES)), up), up)",
        BITS,
    ),
    Mutant("gaps of another fit", "fastgd/compressing.py", "places + n_rows)", "places)", OMIT),
    Mutant("gradient halved", LIMITS, "factor = 2.0 / total\n", "factor = 1.0 / total\n", AGREEMENT),
    Mutant(
        "gradient halved, stream",
        FIT_BY_FIT,
        "else number(2) / stream_weight",
        "else number(1) / stream_weight",
        AGREEMENT,
    ),
    Mutant(
        "mean over n - 1",
        "kernels/cpu/moments/compress.py",
        "else float(stop - start))",
        "else float(stop - start - 1))",
        AGREEMENT,
    ),
    Mutant(
        "loss after the update",
        "kernels/cpu/packs/results.py",
        "move(losses, i * LANES + lane + k, history_loss, to + k * n_rows + i)",
        "move(losses, i * LANES + lane + k, history_loss, to + k * n_rows + max(i - 1, 0))",
        AGREEMENT,
    ),
    Mutant(
        "last sample dropped",
        "kernels/cpu/__init__.py",
        "_index_of(samples), starts, samples.n_used, intercept",
        "_index_of(samples), starts, np.maximum(samples.n_used - 1, 1), intercept",
        AGREEMENT,
    ),
    Mutant(
        "momentum damped on the first step",
        "kernels/cpu/packs/run_pack.py",
        "choose(from_bits(first), direction, velocity)",
        "choose(from_bits(0), direction, velocity)",
        AGREEMENT,
    ),
    Mutant(
        "lanes added in another order",
        LANES_FILE,
        "list(range(first, first + width))",
        "list(range(first // width, 2 * width, 2))",
        BITS,
    ),
    Mutant(
        "gradient wrong by 1e-12",
        LIMITS,
        "factor = 2.0 / total\n",
        "factor = 2.0 / total * (1.0 + 1e-12)\n",
        AGREEMENT,
    ),
    Mutant(
        "low part of 2/n dropped",
        LIMITS,
        "return factor, fma(-factor, weighing[W_LOW], fma(-factor, total, 2.0)) / total",
        "return factor, 0.0",
        BITS,
    ),
    Mutant("loss may be negative", EVALUATE, "if result < 0.0:", "if result < -1.0:", BITS),
    Mutant(
        "slots lost at the hand-over",
        FIT_BY_FIT,
        "_copy_state(stream_state, stream_slot, product, state, slot, product)",
        "copy(state, stream_state)",
        BITS,
    ),
    Mutant("ridge of 1/n", "kernels/cpu/solving.py", "    power -= 1\n", "    power -= 2\n", SOLVE),
    Mutant(
        "ridge of 1/n by LAPACK", "fastgd/closed_form.py", "penalty = math.sqrt(0.5 * decay)", "penalty = math.sqrt(1.0 * decay)", SOLVE
    ),
    Mutant(
        "low part of the Gram matrix dropped", "kernels/cpu/solving.py", "low_gram = zeros if single", "low_gram = zeros if size", SOLVE
    ),
    Mutant("no refinement", "kernels/cpu/solving.py", "MOST_STEPS = 40", "MOST_STEPS = 1", SOLVE),
    Mutant(
        "low part of the solution dropped",
        "kernels/cpu/solving.py",
        "matrix[j, k], low_matrix[j, k], z[k], low_z[k]",
        "matrix[j, k], low_matrix[j, k], z[k], 0.0",
        SOLVE,
    ),
    Mutant("factor kept for another penalty", "kernels/cpu/solving.py", " or decay[f] != decay[f - 1]", "", SOLVE),
    Mutant("double-double root in float64", "kernels/cpu/solving.py", "(fma(-root, root, total) + low) / (2.0 * root)", "0.0", SOLVE),
    Mutant("rank by another tolerance", "fastgd/lapack.py", "2.0**-52", "2.0**-30", SOLVE),
    Mutant("minimum norm of scaled columns", "fastgd/lapack.py", "if (own != own.max()).any():", "common = own\n    if False:", SOLVE),
    Mutant("not said to be ill-conditioned", "fastgd/closed_form.py", "/ 2.0)) | deficient", "/ 2.0))", SOLVE),
    Mutant("condition in other units", "fastgd/lapack.py", "own = _exponents(X)", "own = _exponents(X) * 0", SOLVE),
    Mutant(
        "Nesterov in Sutskever's form",  # the step is the new velocity: w is not the look-ahead
        UPDATE,
        "fma(momentum, velocity, direction) if nesterov",
        "fma(momentum, slots[0, j], direction) if nesterov",
        AGREEMENT,
    ),
    Mutant(
        "ε inside the root", UPDATE, "math.sqrt(square) / correction + eps", "math.sqrt(square / (correction * correction) + eps)", RULES
    ),
    Mutant("bias correction missing", UPDATE, "rate = number(-(lr / (1.0 - new_products[0])))", "rate = number(-lr)", RULES),
    Mutant("decoupled decay in Adam", UPDATE, "hyper, rule == ADAMW, new_w", "hyper, rule >= ADAM, new_w", RULES),
    Mutant(
        "products lost between fits",
        "fastgd/execute.py",
        "pick(job.state.products, 1)",
        "1.0",
        RULES,
    ),
    Mutant("every block begins its sums anew", REGISTER_TILES, OF_FRESH, "where.append(ir.Constant(ir.IntType(1), 1))", TILES),
    Mutant("no block begins its sums anew", REGISTER_TILES, OF_FRESH, "where.append(ir.Constant(ir.IntType(1), 0))", TILES),
    Mutant(
        "a remaining row dropped",
        REGISTER_TILES,
        "            while i < j:\n                _add_row(",
        "            while i + 1 < j:\n                _add_row(",
        TILES,
    ),
    Mutant(
        "a remaining row dropped, weighted",
        REGISTER_TILES,
        "                while i < j:\n                    _add_row_weighted(",
        "                while i + 1 < j:\n                    _add_row_weighted(",
        TILES,
    ),
    Mutant("error of a product dropped", REGISTER_TILES, "builder.fadd(lost, error))", "lost)", TILES),
    Mutant("lanes of a pair of columns misplaced", REGISTER_TILES, "builder.sub(builder.add(before, i), offset)", "before", TILES),
    Mutant("columns exchanged", "kernels/cpu/simd/transpose.py", "[0, 8, 1, 9, 4, 12, 5, 13]", "[0, 8, 1, 9, 4, 12, 13, 5]", TILES),
    Mutant(
        "low parts of half of the lanes dropped",
        "kernels/cpu/moments/lane_sums.py",
        "dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))",
        "dd_add_lanes(first_half(high), first_half(low), second_half(high), first_half(low))",
        TILES,
    ),
    Mutant(
        "samples beyond the last one read",
        LANES_FILE,
        'builder.icmp_signed("<", ir',
        'builder.icmp_signed("<=", ir',
        LAYER,
    ),
    Mutant("no margin for rounding errors", STATE, "multiply(fill(0.9), ", "multiply(fill(1.0), ", BLOCKS),
    Mutant("any w below its limit is safe", STATE, "below(w_limit, fill(limit / 4.0))", "below(w_limit, fill(limit * 4.0))", BLOCKS),
    Mutant("the largest w never forgotten", RUN_PACK, "largest = fill(0.0)", "largest = load(constants, LARGEST * LANES)", BLOCKS),
    Mutant(
        "a block tested by its last w",
        PLAIN_EPOCHS,
        'fcmp_ordered("<", most, length), length, most',
        'fcmp_ordered("<", most, length), most, most',
        BLOCKS,
    ),
    Mutant(
        "all numbers are moderate",
        STATE,
        "load(targets, size * LANES), fill(2.0**80))",
        "load(targets, size * LANES), fill(2.0**1000))",
        BLOCKS,
    ),
    Mutant("columns of any size are moderate", STATE, "MODERATE_EXPONENT = 2.0**30, 100.0", "MODERATE_EXPONENT = 2.0**30, 5000.0", BLOCKS),
    Mutant("low parts forgotten in blocks", PLAIN_EPOCHS, "fma(low_grams[entry(j, k)], scaled[k], error)", "error", BLOCKS),
    Mutant(
        "any size is moderate",
        STATE,
        "MODERATE_W_SAFE, MODERATE_EXPONENT = 2.0**30,",
        "MODERATE_W_SAFE, MODERATE_EXPONENT = 2.0**140,",
        BLOCKS,
    ),
    Mutant(
        "few fits of a single feature are left without records",
        DESCEND_PACKS,
        "1 if unchecked or from_samples else",
        "1 if unchecked else",
        SINGLE,
    ),
    Mutant("y of a single feature may be infinite", SINGLE_FEATURE, "of_x & as_bits(", "of_x | as_bits(", SINGLE),
    Mutant(
        "the count of another fit",
        SINGLE_FEATURE,
        "float(count_at(n_used, first + lane))",
        "float(count_at(n_used, first + lane) + 1)",
        SINGLE,
    ),
    Mutant(
        "an exponent of another fit",
        SINGLE_FEATURE,
        "put(exponents, 2 * k + 1, np.int64(of_y))",
        "put(exponents, 2 * k + 1, np.int64(of_x))",
        SINGLE,
    ),
    Mutant(
        "the last samples of a single feature",
        "kernels/cpu/moments/lane_sums.py",
        "for i in range(begin, rows, LANES):",
        "for i in range(begin, rows - 1, LANES):",
        SINGLE,
    ),
    Mutant("a block that was not safe is kept", RUN_PACK, "load(scratch.before, j * LANES))", "load(scratch.w, j * LANES))", BLOCKS),
    Mutant(
        "fits that were handed over are tested",
        RUN_PACK,
        "load(scratch.w, j * LANES)), w_safe))\n    return (active & ~",
        "load(scratch.w, j * LANES)), w_safe))\n    return (ALL & ~",
        BLOCKS,
    ),
    Mutant("a block runs past a row", RUN_PACK, "min(number, every - epoch % every)", "number", BLOCKS),
    Mutant(
        "one rate for a whole block",
        PLAIN_EPOCHS,
        "load(RATES, builder.mul(loop.index, rate_step))",
        "load(RATES, ir.Constant(_INT, 0))",
        BLOCKS,
    ),
    Mutant(
        "rows at the wrong place",
        "kernels/cpu/packs/results.py",
        "count_at(fits, lane) * n_rows + first_row",
        "count_at(fits, lane) * n_rows",
        BLOCKS,
    ),
    Mutant(
        "kernels of read-only options",
        "kernels/cpu/__init__.py",
        "hyper = read_only(np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper))",
        "hyper = np.ascontiguousarray(chunk.hyper[:1] if one_row else chunk.hyper)",
        ("tests/house/test_warm.py",),
    ),
)


def plant(mutant: Mutant, folder: Path) -> None:
    """Lay the package out in `folder` as it installs, with the defect in it."""
    shutil.copytree(ROOT / "fastgd", folder / "fastgd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "kernels", folder / "fastgd" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    target = folder / (f"fastgd/{mutant.file}" if mutant.file.startswith("kernels/") else mutant.file)
    source = target.read_text()
    if source.count(mutant.right) != 1:
        raise SystemExit(f"{mutant.name}: {mutant.right!r} stands {source.count(mutant.right)} times in {mutant.file}, not once")
    target.write_text(source.replace(mutant.right, mutant.wrong))


def find(mutant: Mutant) -> str | None:
    """The first test that fails with the defect planted, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant(mutant, folder)
        environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *mutant.tests],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    if ran.returncode < 0:  # killed by the system: memory that must not be touched
        failed = re.search(r"in (test_\w+)$", ran.stderr, re.MULTILINE)
        return f"{failed.group(1) if failed else mutant.tests}, by signal {-ran.returncode}"
    if ran.returncode not in (0, 1) or (ran.returncode == 1 and failed is None):
        raise SystemExit(f"{mutant.name}: the tests did not run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return failed.group(1) if failed else None


def main() -> int:
    """Plant those that were named, or all."""
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant.name in sys.argv[1:]]
    survivors = 0
    for mutant in chosen:
        found = find(mutant)
        survivors += found is None
        print(f"{mutant.name:36} {found or 'NOT FOUND'}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
