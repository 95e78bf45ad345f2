"""Every module has a test file of its name, in the folder of its name.

`fastgd/planning/plan.py` is tested in `tests/planning/test_plan.py` or `test_plan_….py` beside it,
`kernels/cpu/simd/lanes.py` in `tests/kernels/cpu/simd/test_lanes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from tests.support.paths import ROOT

ELSEWHERE = {  # module or folder: where it is tested instead
    "fastgd/fitting.py": "tests/fit",
    "fastgd/optimizers.py": "tests/fit/test_rules.py",
    "fastgd/dask": "tests/integrations/test_dask.py",
    "fastgd/sklearn/folds.py": "tests/sklearn/test_search.py",
    "fastgd/designs.py": "tests/sweep/test_designs.py",
    "fastgd/xarray/accessor.py": "tests/xarray/test_fitting.py",
    "fastgd/xarray/building.py": "tests/xarray/test_fitting.py",
    "fastgd/xarray/predictors.py": "tests/xarray/test_fitting.py",
    "fastgd/xarray/task.py": "tests/xarray/test_fitting.py",
    "fastgd/optuna.py": "tests/sweep/test_optuna.py",
    "fastgd/torch.py": "tests/integrations/test_torch.py",
    "fastgd/sweeping.py": "tests/sweep/test_sweeping.py",
    "fastgd/results/sweep_building.py": "tests/sweep/test_sweeping.py",
    "fastgd/results/pictures.py": "tests/results/test_plotting.py",
    "fastgd/results/sweep_summary.py": "tests/results/test_sweep_result.py",
    "fastgd/schedules": "tests/schedules/test_rates.py",  # every schedule against torch; its table: tests/fit/test_schedules.py
    "fastgd/compressing.py": "tests/fit/test_moments.py",
    "fastgd/planning/minibatches.py": "tests/fit/test_minibatches.py",
    "fastgd/testing/mini_batches.py": "tests/fit/test_minibatches.py",
    "fastgd/planning/compress_job.py": "tests/running/test_compressing.py",
    "fastgd/solving.py": "tests/fit/test_solving.py",
    "fastgd/grouping.py": "tests/fit/test_groups.py",
    "fastgd/input/csv_header.py": "tests/cli/test_csv_file.py",
    "fastgd/integrations/frame_columns.py": "tests/integrations/test_frames.py",
    "fastgd/integrations/frame_fits.py": "tests/integrations/test_frames.py",
    "fastgd/integrations/table_checkpoint.py": "tests/integrations/test_table_output.py",
    "fastgd/integrations/table_files.py": "tests/integrations/test_tables.py",
    "fastgd/integrations/table_job.py": "tests/integrations/test_tables.py",
    "fastgd/integrations/table_plan.py": "tests/cli/test_fit.py",
    "fastgd/integrations/table_source.py": "tests/integrations/test_tables.py",
    "fastgd/results/table_result.py": "tests/integrations/test_tables.py",
    "fastgd/planning/grouped.py": "tests/fit/test_groups.py",
    "fastgd/running/grouped.py": "tests/fit/test_groups.py",
    "fastgd/running/compressing_groups.py": "tests/fit/test_unlike_sizes.py",
    "fastgd/stabilizing.py": "tests/fit/test_stability.py",
    "fastgd/input/statistics.py": "tests/fit/test_statistics.py",
    "fastgd/planning/solve_job.py": "tests/planning/test_like_solutions.py",
    "fastgd/planning/statistics_job.py": "tests/fit/test_statistics.py",
    "fastgd/results/special.py": "tests/fit/test_statistics.py",
    "fastgd/results/statistics.py": "tests/fit/test_statistics.py",
    "fastgd/running/adding_statistics.py": "tests/fit/test_statistics.py",
    "fastgd/rolling.py": "tests/fit/test_rolling.py",
    "fastgd/data/window_sums.py": "tests/fit/test_rolling.py",
    "fastgd/reweighting.py": "tests/fit/test_robust.py",
    "fastgd/results/robust.py": "tests/fit/test_robust.py",
    "fastgd/running/centring.py": "tests/fit/test_ridge.py",
    "fastgd/running/sandwich.py": "tests/fit/test_statistics.py",
    "fastgd/running/statistics.py": "tests/fit/test_statistics.py",
    "fastgd/running/hessians.py": "tests/fit/test_stability.py",
    "fastgd/running/least_squares.py": "tests/fit/test_solving.py",
    "fastgd/speed/making.py": "tests/speed/test_cases.py",  # one case of each maker
    "fastgd/environment.py": "tests/cli/test_commands.py",  # `fastgd info`
    "fastgd/cli/findings.py": "tests/cli/test_demo.py",
    "fastgd/cli/demo_distance.py": "tests/cli/test_demo.py",  # the countries
    "fastgd/results/device_buffers.py": "tests/kernels/cuda/test_arrays.py",  # it needs a GPU or the host run
    "fastgd/running/cuda.py": "tests/kernels/cuda/test_launching.py",
    "fastgd/running/reference.py": "tests/fit/test_backends.py",  # all that the fixture `backend` runs
    "fastgd/verification/candidates/tasks.py": "tests/verification/test_verifying.py",
    "fastgd/verification/trials.py": "tests/verification/test_verifying.py",
    "fastgd/verification/verdicts.py": "tests/verification/test_verifying.py",
    "fastgd/verification/candidates/named_answers.py": "tests/verification/candidates/test_hand_over.py",
    "fastgd/verification/bound/batches.py": "tests/verification/test_judging_batches.py",
    # every cause is planted, and must be named
    "fastgd/verification/causes": "tests/verification/causes/test_diagnosis.py",
    # the numbers and codes that kernels, references and running/ share
    "kernels/chunk.py": "tests/kernels/reference/test_record.py",
    # compiled into one function for each type: every bit is compared with the arbiter's
    "kernels/cpu/descent": "tests/kernels/cpu/test_bits.py",
    "kernels/cpu/moments": "tests/kernels/cpu/test_bits.py",
    "kernels/cpu/packs": "tests/kernels/cpu/test_bits.py",
    "kernels/cpu/records.py": "tests/planning/test_memory.py",  # bytes are those that a call takes
    "kernels/cpu/simd/double_double.py": "tests/kernels/cpu/moments/test_lane_sums.py",
    "kernels/cpu/closed_form": "tests/fit/test_solving_offsets.py",
    "kernels/cpu/solving.py": "tests/fit/test_solving.py",
    "kernels/cuda/cubin.py": "tests/kernels/cuda/test_compiling.py",
    "kernels/cuda/part.py": "tests/kernels/cuda/test_bits.py",
    "kernels/cuda/splitting.py": "tests/kernels/cuda/test_bits.py",
}


def modules() -> list[str]:
    """Paths of all modules, from the root. A package's `__init__.py` is tested with the package."""
    found = [path for folder in ("fastgd", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in found if not path.stem.startswith("__")]


def files_of_tests() -> set[str]:
    """Paths of all test files, from the root."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}


def own_tests(module: str, found: set[str]) -> list[str]:
    """The test files of a module's name."""
    path = PurePosixPath(module)
    folder = PurePosixPath("tests") / PurePosixPath(module.removeprefix("fastgd/")).parent
    prefix = f"{folder}/test_{path.stem}"
    return [test for test in found if test == f"{prefix}.py" or test.startswith(f"{prefix}_")]


def exception_for(module: str, elsewhere: Mapping[str, str]) -> str | None:
    """The entry that holds for a module: its own, or that of a folder."""
    return next((name for name in (module, *map(str, PurePosixPath(module).parents)) if name in elsewhere), None)


def untested(modules: list[str], found: set[str], elsewhere: Mapping[str, str]) -> list[str]:
    """Modules without a test file of their name, and entries of `elsewhere` that are not needed."""
    bare = [module for module in modules if not own_tests(module, found)]
    told = [
        f"{module}: write {PurePosixPath('tests') / PurePosixPath(module.removeprefix('fastgd/')).parent}/test_{PurePosixPath(module).name}"
        for module in bare
        if exception_for(module, elsewhere) is None
    ]
    used = {exception_for(module, elsewhere) for module in bare}
    return told + [f"{name}: in ELSEWHERE, but it is not there or has tests of its own" for name in elsewhere if name not in used]


def test_every_module_has_a_test_of_its_name():
    found = untested(modules(), files_of_tests(), ELSEWHERE)
    assert not found, "\n".join(["", *found])


def test_what_is_tested_elsewhere_is_tested_there():
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).exists()] == []


def test_a_module_without_a_test_is_told():
    found = {"tests/planning/test_plan.py", "tests/planning/test_memory_limit.py", "tests/kernels/cpu/test_bits.py"}
    here = ["fastgd/planning/plan.py", "fastgd/planning/memory.py", "kernels/cpu/packs/run_pack.py"]
    elsewhere = {"kernels/cpu/packs": "tests/kernels/cpu/test_bits.py"}
    assert untested(here, found, elsewhere) == []
    assert untested([*here, "fastgd/planning/start.py"], found, elsewhere) == [
        "fastgd/planning/start.py: write tests/planning/test_start.py"
    ]
    assert untested(here, found, elsewhere | {"fastgd/planning/plan.py": "tests/fit"}) == [
        "fastgd/planning/plan.py: in ELSEWHERE, but it is not there or has tests of its own"
    ]
