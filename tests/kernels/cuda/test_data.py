"""The struct that a CUDA kernel is given: fields of eight bytes, and no number that nobody gave."""

from __future__ import annotations

import re

import pytest

from fastgd.kernels.cuda import header
from fastgd.kernels.cuda.data import OF_FITS, Arrays
from tests.cuda_on_host.building import SOURCES


def test_the_struct_of_the_kernels_has_eight_byte_fields():
    """Python fills it field by field, from the source itself."""
    source = (SOURCES / "work.cuh").read_text(encoding="utf-8")
    body = source[source.index("struct Work {") : source.index("\n};", source.index("struct Work {"))]
    fields = header.work_fields()
    assert {kind for kind, _ in fields} == {"pointer", "long long", "double"}
    declared = [line for line in body.splitlines()[1:] if line.strip() and not line.strip().startswith("//")]
    assert len(declared) == len(fields)


NUMBERS = [name for kind, name in header.work_fields() if kind != "pointer"]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_launch_without_a_number_is_an_error(name):
    """Else the kernel would read 0."""
    part = Arrays(device=None)
    part.values = dict.fromkeys(NUMBERS, 1)
    part._pack()
    del part.values[name]
    with pytest.raises(LookupError, match=f"^struct Work has the number {name}, and Arrays launches a kernel without it$"):
        part._pack()


def test_kernels_about_data_alone_read_no_number_of_fits():
    launched = re.findall(r'launch\("(\w+\.cu)"', (SOURCES / "data.py").read_text(encoding="utf-8"))
    assert set(launched) == {"compress.cu", "curvature.cu", "missing.cu", "standardize.cu"}
    read = {name for file in launched for name in re.findall(r"\bwork\.(\w+)", (SOURCES / file).read_text(encoding="utf-8"))}
    assert "n_samples" in read
    assert set(NUMBERS) > OF_FITS
    assert not read & OF_FITS
