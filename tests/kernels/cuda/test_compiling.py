"""NVRTC compiles the CUDA kernels, all of them with --full, without a driver and without register
spills; what is compiled is kept on disk.

The architecture is that of the H100 and H200. No test here needs a GPU.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastgd.kernels.cuda import compiling, instantiations
from fastgd.kernels.cuda.cubin import read_resources
from tests import grids
from tests.cuda_on_host.building import SOURCES
from tests.support.paths import ROOT

ARCHITECTURE = "sm_90"
ALL = [(file, name) for file, names in instantiations().items() for name in names]
GROUPS: dict[tuple[str, str], list[str]] = {}  # {(file, kernel, type and rule): names}: small enough for the workers to share them evenly
for _file, _name in ALL:
    _parts = re.split(r"<|, |>", _name)
    GROUPS.setdefault((_file, f"{_parts[0]}-{_parts[1]}-{_parts[-2]}" if _file.startswith("descend") else "-".join(_parts[:2])), []).append(
        _name
    )

OTHER_RULES = "Adamw", "Rmsprop", "Adagrad", "Nadam", "Adadelta", "Adamax"  # take their parts from the kernels of Sgd and Adam
FEW = [group for group in GROUPS if not group[1].endswith((*OTHER_RULES, "minibatch-double"))]

PAGE = (ROOT / "docs" / "cuda.md").read_text(encoding="utf-8")

DOCUMENTED = {  # {kernel: (registers, shared bytes, warps)}: the table of docs/cuda.md, for NVRTC 13.0
    name: tuple(int(number.replace(",", "")) for number in numbers)
    for name, *numbers in re.findall(r"^\| `([^`]+)` \| (\d+) \| ([\d,]+) \| (\d+) \|$", PAGE, re.MULTILINE)
}


def test_the_documented_kernels_are_there():
    assert len(DOCUMENTED) >= 15
    assert set(DOCUMENTED) <= {name for _, name in ALL}


def test_the_groups_hold_every_instantiation():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(name for _, name in ALL)


@pytest.mark.share(2)
@pytest.mark.parametrize(("file", "group"), grids.share("instantiations compiled for a GPU", list(GROUPS), FEW))
def test_every_instantiation_compiles_without_spills(file, group, record_property):
    """A spill is an error to ptxas; nothing lies in local memory; every kernel can be launched with
    its block."""
    names = GROUPS[file, group]
    cubin, symbols, log = compiling.compiler().compile(file, names, ARCHITECTURE, compiling.NO_SPILLS)
    assert "warning" not in log, log
    resources = read_resources(cubin)
    for name in names:
        taken = resources[symbols[name]]
        assert 0 < taken.registers <= 255, name
        assert taken.frame == 0, f"{name} keeps {taken.frame} bytes in local memory"
        assert taken.shared <= 48 * 1024, name
        threads = 256 if name.startswith(("compress_any", "join", "stream", "minibatch")) else 128
        assert taken.warps_per_sm(threads) >= 8, name
        if compiling.compiler().version == (13, 0) and name in DOCUMENTED:
            assert DOCUMENTED[name] == (taken.registers, taken.shared, taken.warps_per_sm(threads)), f"docs/cuda.md, {name}"
    record_property("kernels", len(names))


# -- the disk
@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


KERNEL = ("curvature.cu", "largest_eigenvalues<float>", ARCHITECTURE)


def test_what_was_compiled_is_kept(folder, monkeypatch):
    first = compiling.compiled(*KERNEL)
    assert first.path.parent == folder
    assert first.path.read_bytes()[:4] == b"\x7fELF"
    assert first.symbol in read_resources(first.path.read_bytes())
    monkeypatch.setattr(compiling.Compiler, "compile", None)  # it is not called again
    assert compiling.compiled(*KERNEL) == first


def test_the_key_holds_every_byte_that_matters(folder, monkeypatch):
    """Sources, name, options, architecture, version of NVRTC."""
    monkeypatch.setattr(compiling.Compiler, "compile", lambda self, file, names, architecture, extra=(): (b"cubin", {names[0]: "s"}, ""))
    paths = {compiling.compiled(*KERNEL).path, compiling.compiled(KERNEL[0], KERNEL[1], "sm_100").path}
    paths.add(compiling.compiled(KERNEL[0], "largest_eigenvalues<double>", ARCHITECTURE).path)
    monkeypatch.setattr(compiling, "OPTIONS", (*compiling.OPTIONS, "--device-debug"))
    paths.add(compiling.compiled(*KERNEL).path)
    monkeypatch.setattr(compiling, "digest_of_sources", lambda: "another")
    paths.add(compiling.compiled(*KERNEL).path)
    monkeypatch.setattr(compiling.compiler(), "version", (99, 9))
    paths.add(compiling.compiled(*KERNEL).path)
    assert len(paths) == 6


def test_a_change_of_any_source_changes_the_digest(tmp_path, monkeypatch):
    before = compiling.digest_of_sources()
    for path in SOURCES.glob("*.cu*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(compiling, "SOURCES", tmp_path)
    assert compiling.digest_of_sources.__wrapped__() == before
    for path in sorted(tmp_path.glob("*.cu*")):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert compiling.digest_of_sources.__wrapped__() != before, path.name
        path.write_bytes(content)


@pytest.mark.parametrize("damage", ["cut", "no notes", "notes that are none"])
def test_a_damaged_file_is_made_anew(folder, damage):
    first = compiling.compiled(*KERNEL)
    whole, notes = first.path.read_bytes(), first.path.with_suffix(".json")
    if damage == "cut":
        first.path.write_bytes(whole[:100])
    elif damage == "no notes":
        notes.unlink()
    else:
        notes.write_text("{")
    assert compiling.compiled(*KERNEL).path.read_bytes() == whole
    assert json.loads(notes.read_text())["symbol"] == first.symbol


def test_many_processes_share_the_folder(folder):
    """They write at once, and every one ends with a whole cubin; nothing half-written stays
    behind."""
    code = f"from fastgd.kernels.cuda.compiling import compiled; print(len(compiled(*{KERNEL!r}).path.read_bytes()))"
    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda _: subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False),
                            range(4)))  # fmt: skip
    assert {process.returncode for process in ran} == {0}, ran
    assert len({process.stdout for process in ran}) == 1
    assert sorted(path.suffix for path in folder.iterdir()) == [".cubin", ".json"]


def test_nowhere_to_write(monkeypatch, tmp_path):
    """Then a folder of the process's own."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    assert compiling.compiled(*KERNEL).path.exists()


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(compiling, "candidates", lambda: iter([str(Path("/nowhere/libnvrtc.so"))]))
    with pytest.raises(compiling.CompilerUnavailable, match="pip install nvidia-cuda-nvrtc"):
        compiling.compiler.__wrapped__()


def test_a_kernel_that_does_not_compile_says_why():
    with pytest.raises(RuntimeError, match=r"could not compile curvature.cu, largest_eigenvalues<Nobody>"):
        compiling.compiler().compile("curvature.cu", ["largest_eigenvalues<Nobody>"], ARCHITECTURE)
