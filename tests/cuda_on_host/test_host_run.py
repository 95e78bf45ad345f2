"""The host run of the CUDA kernels finds what is wrong with a kernel, and finds nothing wrong with
ours."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from tests.cuda_on_host import building
from tests.cuda_on_host.building import KernelError, build, launch
from tests.cuda_on_host.device import HostDevice
from tests.cuda_on_host.sanitized import run, run_cases, write_expected
from tests.support.paths import TESTS


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The numbers of the small cases, by the plain build."""
    path = tmp_path_factory.mktemp("expected") / "numbers"
    write_expected(path)
    return path


@pytest.mark.full
@pytest.mark.parametrize("order", ["backwards", "random"])
def test_the_order_in_which_threads_take_turns_changes_nothing(order):
    forwards, other = run_cases(HostDevice()), run_cases(HostDevice(order=order, seed=5))
    for case, results in forwards.items():
        for name, values in results.items():
            assert np.array_equal(values, other[case][name], equal_nan=values.dtype.kind == "f"), (case, name)


@pytest.mark.full
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_the_sanitizers_are_silent(sanitizer, expected):
    """No race, with and between blocks; no access out of bounds or out of line; the numbers are the
    same."""
    ran = run(sanitizer, expected)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Sanitizer" not in ran.stderr


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """The folder of wrong.cu."""
    folder = tmp_path_factory.mktemp("wrong")
    for path in (TESTS / "cuda_on_host" / "wrong.cu", building.SOURCES / "arithmetic.cuh"):
        shutil.copy(path, folder)
    return folder


WRONG = {  # forwards; at random it may be another thread
    "two_barriers": "divergent barrier: threads 0 and 32 wait at different ones",
    "leaves_before_the_barrier": "divergent barrier: 63 threads wait, 1 have left the kernel",
    "a_lane_does_not_come": "deadlock: 0 threads wait at a barrier, 31 at a warp operation .mask ffffffff, of which ffffff7f came",
    "not_in_its_mask": "lane 16 .thread 16. is not in its own mask 0000ffff",
    "reads_outside_the_mask": "a shuffle reads lane 20, which is not in the mask 0000ffff",
    "two_shuffles": "lanes of warp 0 meet at different instructions",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_kernel_must_not_do_is_reported(name, wrong):
    kernel, threads = build("wrong.cu", name, sources=wrong), 32 if name == "a_lane_does_not_come" else 64
    with pytest.raises(KernelError, match=WRONG[name]):
        launch(kernel, (2, 1), threads, (np.zeros(64),))
    with pytest.raises(KernelError, match=re.sub(r"\b\d{1,2}\b", r"\\d+", WRONG[name])):
        launch(kernel, (2, 1), threads, (np.zeros(64),), "random", 1)


def test_what_is_right_is_run(wrong):
    out = np.zeros(64)
    launch(build("wrong.cu", "fine", sources=wrong), (1, 1), 64, (out,))
    assert out.tolist() == [1520.0] * 32 + [496.0] * 32


def test_shared_memory_is_fresh_in_every_block(wrong):
    out = np.zeros(64)
    launch(build("wrong.cu", "reads_what_nobody_wrote", sources=wrong), (3, 1), 64, (out,))
    assert np.isnan(out).all()


def test_no_compiler_is_a_clear_failure(monkeypatch, wrong):
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    with pytest.raises(KernelError, match=r"g\+\+ is needed to run the CUDA kernels on the host: install it"):
        build.__wrapped__("wrong.cu", "fine", sources=wrong)
