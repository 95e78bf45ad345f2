"""`make mutants`: what cannot be planted is told, and what is compiled anew for a defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import DEFECTS
from tests.mutants.copies import spoiled_kernels
from tests.mutants.defect import Defect, chosen, plant, why_not
from tests.support.paths import ROOT

HALVED = Defect("gradient halved", "fastgd/descent.py", "2 *", "1 *", ("test_descent.py",))


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ({"descent": "return 2 * r"}, None),
        ({"descent": "return r + r"}, "the text to replace stands 0 times, not once; '2 *' is in no file"),
        ({"descent": "2 * r + 2 * s"}, "the text to replace stands 2 times, not once; '2 *' is in ['fastgd/descent.py']"),
        ({"other": "return 2 * r"}, "there is no such file; '2 *' is in ['fastgd/other.py']"),
    ],
)
def test_a_defect_whose_text_is_gone_is_told(tmp_path, sources, problem):
    (tmp_path / "fastgd").mkdir()
    for name, source in sources.items():
        (tmp_path / "fastgd" / f"{name}.py").write_text(source)
    if problem is None:
        plant(HALVED, tmp_path)
        assert (tmp_path / "fastgd" / "descent.py").read_text() == "return 1 * r"
    else:
        assert why_not(HALVED, tmp_path) == f"gradient halved, fastgd/descent.py: {problem}"
        with pytest.raises(LookupError, match="gradient halved"):
            plant(HALVED, tmp_path)


def test_defects_are_chosen_by_words_of_their_name_or_file():
    other = Defect("any", "kernels/cuda/stream.cu", "a", "b", ())
    assert chosen([HALVED, other], []) == [HALVED, other]
    assert chosen([HALVED, other], ["halved"]) == [HALVED]
    assert chosen([HALVED, other], ["kernels/cuda"]) == [other]


def test_names_are_unique():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)


def write(folder: Path, **modules: str) -> None:
    for name, source in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def test_kernels_that_import_the_spoiled_module_are_compiled_anew(tmp_path):
    """Over any number of imports, of a module or of names in it; functions that are only parts of
    kernels are not kept."""
    write(
        tmp_path,
        update_rules="",
        cpu__simd__lanes="@part\ndef add(): pass",
        cpu__simd__masks="from .lanes import add",
        cpu__moments__sums="from ..simd import masks\n@kernel\ndef compress(): pass",
        cpu__descent__update="from ...update_rules import RULES\n@kernel\ndef descend(): pass",
    )
    cpu = tmp_path / "cpu"
    found = {
        name: [path.stem for path in spoiled_kernels(tmp_path, cpu / name)] for name in ("simd/lanes.py", "descent/update.py", "solving.py")
    }
    assert found == {"simd/lanes.py": ["sums"], "descent/update.py": ["update"], "solving.py": []}
    assert [path.stem for path in spoiled_kernels(tmp_path, tmp_path / "update_rules.py")] == ["update"]


def test_the_kernels_of_this_repository_are_found():
    """As many modules hold a kernel as `fastgd.kernels.cpu` lists; a spoiled `lanes.py` reaches
    those that sum."""
    from fastgd.kernels.cpu import compile_ahead

    modules = {kernel.py_func.__module__ for kernel in compile_ahead.KERNELS.values()}
    everywhere = spoiled_kernels(ROOT / "kernels", ROOT / "kernels" / "cpu" / "simd" / "compiling.py")
    assert {f"fastgd.{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}" for path in everywhere} == modules
