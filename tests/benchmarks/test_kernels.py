"""Instructions of a kernel are counted: the same twice, and more where there is more to do."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from benchmarks import kernels

COUNTED = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.mark.skipif(not COUNTED, reason="the trap flag of x86-64, as Linux handles it")
def test_two_counts_are_equal_and_more_parameters_take_more():
    numbers = {case.words: number for number, case in enumerate(kernels.CASES) if case.kernel == "_solve"}
    asked = [["count", numbers[words], "float32"] for words in ("d = 1", "d = 8", "d = 8")]
    done = subprocess.run(
        [sys.executable, "-P", kernels.__file__, "--serve"],
        input="".join(json.dumps(words) + "\n" for words in asked), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, eight, again = map(json.loads, done.stdout.splitlines())
    assert 1_000 < one < eight
    assert abs(eight - again) <= 0.02 * eight
