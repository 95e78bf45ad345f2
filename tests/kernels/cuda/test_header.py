"""The constants of the CUDA headers are those of the CPU kernels and of kernels/chunk.py."""

from __future__ import annotations

from fastgd.kernels import chunk
from fastgd.kernels.cpu.moments import compress, samples
from fastgd.kernels.cpu.simd import lanes
from fastgd.kernels.cuda import header


def test_constants_are_those_of_the_other_kernels():
    here = {name: value for module in (lanes, compress, samples, chunk) for name, value in vars(module).items()}
    shared = {
        name: value for name, value in header.constants().items() if name not in ("ON_MOMENTS", "ON_SAMPLES", "FINISHED", "CANCELLED")
    }
    assert {"LANES", "CHUNK", "FINE", "NEGATIVE", "NOT_FINITE", "STREAM", "COMPLETED", "CONVERGED", "DIVERGED", "TOO_FEW_SAMPLES"} == set(
        shared
    )
    assert {name: here[name] for name in shared} == shared


def test_every_constant_of_a_kind_differs():
    phases = header.ON_MOMENTS, header.ON_SAMPLES, header.FINISHED
    faults = header.FINE, header.NEGATIVE, header.NOT_FINITE
    assert len(set(phases)) == len(set(faults)) == 3
