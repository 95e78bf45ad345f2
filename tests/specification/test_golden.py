"""Every backend that has our kernels gives the golden values: `cpu` here, `cuda` too where it is
asked for by --backends."""

from __future__ import annotations

import json

import pytest

from tests import grids
from tests.specification.golden_values import FOLDER, cases, run_case

GOLDEN = {name: content for path in sorted(FOLDER.glob("*.json")) for name, content in json.loads(path.read_text(encoding="utf-8")).items()}


def test_the_files_hold_every_case():
    assert {name: content["case"] for name, content in GOLDEN.items()} == cases()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name, request):
    """Bit for bit; the numbers in hexadecimal first, since they say more."""
    asked = request.config.getoption("--backends").split(",")
    for backend in [backend for backend in asked if backend in ("cpu", "cuda", "cuda-host")]:
        found = run_case(GOLDEN[name]["case"], backend)
        for part in ("loss", "w", "digests"):
            assert found[part] == GOLDEN[name][part], (backend, part)


@pytest.mark.parametrize("name", grids.thin("golden values, cuda-host", list(GOLDEN), 5))
def test_the_host_run_gives_them_too(name):
    found = run_case(GOLDEN[name]["case"], "cuda-host")
    assert found == {part: GOLDEN[name][part] for part in found}
