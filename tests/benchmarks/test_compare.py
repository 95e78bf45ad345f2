"""The guard of speed without a clock: instructions of loops, and functions of Python."""

from __future__ import annotations

import json
import sys

import llvmlite.binding
import pytest

from benchmarks import compare
from fastgd.planning import call_cache, options

WRITTEN = json.loads(compare.WRITTEN.read_text(encoding="utf-8"))
TOLERANCE = 0.05  # a few functions more are a feature; `benchmarks/compare.py --write` where they are meant
CODE = """
	.text
	vmovupd	(%rdi), %zmm0
.LBB0_1:
	vfmadd231pd	(%rsi,%rax), %zmm0, %zmm1
	vmovupd	%zmm1, 64(%rsp)
	addq	$64, %rax
	jne	.LBB0_1
	retq
.LBB0_2:
	addq	$1, %rcx
	jne	.LBB0_2
.LBB0_3:
	vfmadd231pd	%zmm0, %zmm1, %zmm1
	vfmadd231pd	%zmm0, %zmm1, %zmm1
	jmp	.LBB0_3
"""


def test_loops_are_found_in_assembly():
    """Those that multiply and add, the most first; what follows the jump back is not in them."""
    assert compare.count_code(CODE) == {"instructions": 11, "loops": [[3, 2, 0], [4, 1, 1]]}


def test_what_grows_is_told_and_what_shrinks_is_no_error():
    written = {"AVX2": {"sums": {"instructions": 100, "loops": [[50, 20, 0]]}}}
    assert compare.differences(written, written) == ([], [])
    assert compare.differences(written, {}) == ([], ["AVX2, sums: not written down yet"])
    grown, other = compare.differences({"AVX2": {"sums": {"instructions": 102, "loops": [[50, 20, 1]]}}}, written)
    assert grown == ["AVX2, sums, loop 1: on the stack: 1, 0 are written down"]
    assert other == ["AVX2, sums, instructions: 102, 100 are written down"]
    grown, other = compare.differences({"AVX2": {"sums": {"instructions": 90, "loops": [[52, 26, 0]]}}}, written)
    assert [words.split(": ")[1] for words in grown] == ["instructions"]
    assert len(other) == 2


def test_the_loops_have_no_more_instructions_than_are_written_down():
    """Parts of the kernels alone, for AVX-512 and AVX2; all kernels: make bench-compare."""
    if not llvmlite.binding.get_host_cpu_features().get("sse2") or WRITTEN["versions"] != compare.versions():
        print(f"not compared: the numbers hold for x86-64 and {WRITTEN['versions']}")
        return
    found = compare.count_instructions()
    assert {processor: sorted(parts) for processor, parts in found.items()} == {
        name: sorted(WRITTEN["parts"][name]) for name in compare.PROCESSORS
    }
    assert all(parts[name]["loops"] for parts in found.values() for name in ("sums of pairs of columns", "epochs of plain SGD"))
    grown, _ = compare.differences(found, WRITTEN["parts"])
    assert not grown, "\n".join(["", *grown, "where that is meant: python -P benchmarks/compare.py --write"])


@pytest.mark.parametrize("name", compare.small_calls())
def test_no_more_functions_than_are_written_down(name):
    call_cache.forget()
    found, most = compare.count_functions(compare.small_calls()[name]), WRITTEN["python"][name]
    assert found <= most * (1 + TOLERANCE), f"{found} functions, {most} are written down"
    if sys.version_info < (3, 12):  # where a comprehension is a function, as where they were counted
        assert found >= most * (1 - TOLERANCE), f"{found} functions, {most} are written down: python -P benchmarks/compare.py --write"


def test_functions_are_counted():
    def one():
        options.forget()

    assert compare.count_functions(one) == 1  # `one` itself is no function of fastgd
    assert compare.count_functions(lambda: None) == 0
