"""The struct that a CUDA kernel is given has fields of eight bytes."""

from __future__ import annotations

from fastgd.kernels.cuda import header
from tests.cuda_on_host.building import SOURCES


def test_the_struct_of_the_kernels_has_eight_byte_fields():
    """Python fills it field by field, from the source itself."""
    source = (SOURCES / "work.cuh").read_text(encoding="utf-8")
    body = source[source.index("struct Work {") : source.index("\n};", source.index("struct Work {"))]
    fields = header.work_fields()
    assert {kind for kind, _ in fields} == {"pointer", "long long", "double"}
    declared = [line for line in body.splitlines()[1:] if line.strip() and not line.strip().startswith("//")]
    assert len(declared) == len(fields)
