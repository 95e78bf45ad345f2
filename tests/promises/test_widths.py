"""The same bits for every width of registers that this machine has: processes that compile for less
than the machine offers.

1. Numba compiles for the processor that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name, and keeps its
   files apart by both. `REGISTER` says how many float64 the kernels were then made for: it is
   asserted, so no width runs twice under two names.
2. The vector layer's own tests take 15 seconds at each width, the fits 40 for each type, nearly all
   of it compiling: `make test` runs the first at the narrowest width, `make test-all` everything. A
   machine without AVX-512 has fewer widths; how many cases ran is printed.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import llvmlite.binding
import pytest

from fastgd.kernels import cpu
from tests.support.paths import TESTS

# name: (numbers in a register, what the processor must have; None: what it has)
ALL_WIDTHS = {
    "AVX-512": (8, None),
    "AVX2 with FMA": (4, ("avx", "avx2", "fma")),
    "AVX": (4, ("avx",)),  # an fma is a call of the C library
    "SSE2": (2, ("sse2",)),
}
LAYER = ("simd/test_lanes", "simd/test_masks", "simd/test_addresses", "moments/test_register_tiles", "moments/test_lane_sums")
HOST = llvmlite.binding.get_host_cpu_features()
WIDTHS = [name for name, (_, wanted) in ALL_WIDTHS.items() if all(HOST.get(feature) for feature in wanted or ("avx512f",))]
OTHERS = [name for name in WIDTHS if ALL_WIDTHS[name][1] is not None]


def environment(width: str) -> dict[str, str]:
    """Imports as here, compiles for this width."""
    wanted = ALL_WIDTHS[width][1]
    own = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")}
    own["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if wanted is not None:
        own |= {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in wanted)}
    return own


def run(width: str, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", *command], env=environment(width), capture_output=True, text=True, timeout=1200, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{width}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def register_of(width: str) -> int:
    script = "import fastgd.kernels.cpu as cpu, fastgd.kernels.cpu.simd.lanes as v, fastgd.speed.measuring as measuring; "
    script += "print(v.REGISTER, measuring.conditions(1)['simd_bits'], v.__file__)"
    register, bits, file = run(width, "-c", script).split(maxsplit=2)
    assert int(bits) == 64 * int(register)
    assert os.path.dirname(os.path.dirname(file.strip())) == os.path.dirname(cpu.__file__)
    return int(register)


def test_this_machine_has_widths():
    """Each is the width that it says; a process for less than the machine has is possible."""
    print(f"widths of this machine: {', '.join(WIDTHS) or 'none that is known'}")
    if not HOST.get("sse2"):
        return  # not x86-64: only this machine's own code can run here
    assert WIDTHS[-1] == "SSE2"
    assert {width: register_of(width) for width in WIDTHS} == {width: ALL_WIDTHS[width][0] for width in WIDTHS}


@functools.cache
def hashes_at(width: str, name: str) -> dict[str, str]:
    found = json.loads(run(width, "-m", "tests.support.hashes_of_fits", name))
    assert found["register"] == ALL_WIDTHS[width][0]
    assert found["kernels"] == cpu.__file__
    return found["hashes"]


if WIDTHS:  # other processors have one width, and a test without cases would be a skip

    @pytest.mark.full
    @pytest.mark.parametrize("width", OTHERS)
    def test_the_vector_layer(width, request):
        """The tests of the vector layer, compiled for less than this machine has."""
        config = request.config
        files = [str(TESTS / "kernels" / "cpu" / f"{name}.py") for name in LAYER]
        imports = "pythonpath=" + " ".join(map(str, config.getini("pythonpath")))
        options = ("--full", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", imports, "-c", str(config.inipath))
        told = run(width, "-m", "pytest", *options, *files)
        last = told.splitlines()[-1]
        assert " passed" in last, told
        assert not any(word in last for word in ("failed", "error", "skipped")), told

    @pytest.mark.full
    @pytest.mark.parametrize("name", ["float32", "float64"])
    @pytest.mark.parametrize("width", WIDTHS)
    def test_fits_have_the_same_bits(width, name):
        """All numbers of fits of every kind are those of the first width; the hashes tell the fits
        apart."""
        hashes = hashes_at(width, name)
        assert hashes == hashes_at(WIDTHS[0], name)
        assert len(set(hashes.values())) == len(hashes) == 27
