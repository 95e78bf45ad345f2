"""Options, the backend fixture, and what the run says at its end: worst τ, the share of the large
grids, skips.

1. A backend that was asked for and cannot run fails. A skip that is not listed here fails the run.
2. Under pytest-xdist the tests run in workers: what they measured travels to the controller in
   `workeroutput`.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import defaultdict

import pytest

from tests import grids

EXPECTED_SKIPS: tuple[str, ...] = ()  # reasons, by their beginning

_worst: dict[tuple[str, str], list] = {}  # (what, dtype) -> [worst τ_w, its case, worst τ_loss, its case, comparisons]
_shares: dict[str, tuple[int, int]] = {}
_unexpected: list[str] = []


def pytest_addoption(parser):
    """Our options."""
    parser.addoption("--full", action="store_true", help="run the large grids whole")
    parser.addoption("--quick", action="store_true", help="leave out tests that need PyTorch or CUDA kernels, and forbid importing PyTorch")
    parser.addoption("--backends", help="backends for tests with the fixture `backend`; default cpu,torch,numpy, or cpu,numpy with --quick")


def pytest_configure(config):
    """Tell the grids before test modules are imported."""
    grids.full, quick = config.getoption("--full"), config.getoption("--quick")
    config.option.backends = config.option.backends or ("cpu,numpy" if quick else "cpu,torch,numpy")
    if "cuda-host" in config.option.backends.split(","):
        import tests.cuda_on_host  # noqa: F401  registers it
    if quick:
        sys.modules["torch"] = None  # type: ignore[assignment]  # an import of it is an error


def needs_torch_or_cuda(item):
    """Whether a test asks for PyTorch or for CUDA kernels: by a fixture, or by the name of a
    backend among its parameters."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {"torch", "cupy", "cuda_backend"} & set(item.fixturenames) or any(
        value in ("torch", "torch-cuda", "cuda", "cuda-host") for value in values if isinstance(value, str)
    )


def _long(items):
    """What runs with `--full` alone: tests that are marked so, and all but a share of the cases of
    a test that is marked with one."""
    long = {item for item in items if item.get_closest_marker("full")}
    if long:
        grids.shares["tests that take long"] = (len(long) if grids.full else 0, len(long))
    cases = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("share"):
            cases[item.nodeid.partition("[")[0], *mark.args].append(item)
    for (name, one_in), of in cases.items():
        long |= set(of) - set(grids.thin(name.rpartition("/")[2], of, one_in))
    return set() if grids.full else long


def pytest_collection_modifyitems(config, items):
    """`--quick` leaves tests out, and pytest says how many. So does a run without `--full`, but not
    where a test was asked for by its name. No name may hold an address: it differs from process to
    process, and pytest-xdist could not share the tests out."""
    if nameless := [item.nodeid for item in items if re.search(r"\b0x[0-9a-f]{8,}", item.nodeid)]:
        raise pytest.UsageError(f"names of tests hold addresses, give them ids: {nameless[:5]}")
    left_out = set() if any("::" in path for path in config.args) else _long(items)
    if config.getoption("--quick"):
        left_out |= {item for item in items if needs_torch_or_cuda(item)}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc):
    """One test body, N backends."""
    asked = metafunc.config.option.backends.split(",")
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked)
    if "cuda_backend" in metafunc.fixturenames:  # the CUDA kernels: on the GPU where that was asked for, else on the host
        metafunc.parametrize("cuda_backend", ["cuda" if "cuda" in asked else "cuda-host"])


@pytest.fixture
def full(request):
    """Whether the large grids are run whole."""
    return request.config.getoption("--full")


@pytest.fixture
def torch():
    """PyTorch. Tests that need it ask for it here, so that `--quick` can leave them out."""
    import torch

    return torch


@pytest.fixture
def no_work(monkeypatch):
    """From here on nothing is allocated for results and nothing runs: errors come before any
    work."""

    def began(*args, **options):
        raise AssertionError("work began")

    monkeypatch.setattr("fastgd.planning.job.FitJob", began)
    monkeypatch.setattr("fastgd.fitting.run_call", began)


@pytest.fixture
def cupy(monkeypatch):
    """Here `import cupy` gives the stand-in (tests/cuda_on_host/stand_in.py), and there is a
    GPU."""
    from fastgd.kernels.cuda import compiling, device, launching
    from tests.cuda_on_host import building, stand_in

    found = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: name == "cupy" or found(name))
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(building.LIBRARIES / "cubins"))  # not the user's
    monkeypatch.setattr(launching, "_kernels", {})
    device.why_no_device.cache_clear()
    stand_in.reset()
    yield stand_in
    device.why_no_device.cache_clear()


@pytest.fixture
def record_tau():
    """record_tau(what, dtype, case, tau_w, tau_loss): remember the worst share of the bound, for
    the summary."""

    def record(what: str, dtype: str, case: str, tau_w: float, tau_loss: float) -> None:
        _merge((what, dtype), [float(tau_w), case, float(tau_loss), case, 1])

    return record


def _merge(key: tuple[str, str], new: list) -> None:
    old = _worst.setdefault(key, [-1.0, "", -1.0, "", 0])
    if new[0] > old[0]:
        old[0:2] = new[0:2]
    if new[2] > old[2]:
        old[2:4] = new[2:4]
    old[4] += new[4]


def pytest_sessionfinish(session, exitstatus):
    """A worker hands over what it measured; unexpected skips fail the run."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["worst"] = [[list(key), value] for key, value in _worst.items()]
        session.config.workeroutput["shares"] = [[name, list(share)] for name, share in grids.shares.items()]
    elif _unexpected and exitstatus == 0:
        session.exitstatus = 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """The controller takes it."""
    for key, value in getattr(node, "workeroutput", {}).get("worst", []):
        _merge(tuple(key), value)
    for name, share in getattr(node, "workeroutput", {}).get("shares", []):
        _shares[name] = tuple(share)


def pytest_runtest_logreport(report):
    """Collect skips of tests."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(EXPECTED_SKIPS or ("\0",)):
            _unexpected.append(f"{report.nodeid}: {reason}")


pytest_collectreport = pytest_runtest_logreport  # and of whole files


def pytest_terminal_summary(terminalreporter):
    """Say it."""
    tell = terminalreporter.write_line
    for name, (run, of) in sorted({**_shares, **grids.shares}.items()):
        tell(f"large grid {name}: {run} of {of} cases" + ("" if run == of else " (make test-all runs all)"))
    if _worst:
        tell("worst share of the rounding-error bound (fastgd: at most 2; others: at most 8):")
        for (what, dtype), (tau_w, case_w, tau_loss, case_loss, count) in sorted(_worst.items()):
            tell(f"  {what:28} {dtype:8} τ_w {tau_w:6.3f} ({case_w})   τ_loss {tau_loss:6.3f} ({case_loss})   {count} cases")
    for skip in _unexpected:
        tell(f"UNEXPECTED SKIP {skip}")


@pytest.fixture(autouse=True)
def no_call_is_like_an_earlier_one():
    """Small calls like an earlier one go straight to the kernels (fastgd/planning/call_cache.py):
    each test begins with the long way."""
    if "fastgd.planning.call_cache" in sys.modules:
        sys.modules["fastgd.planning.call_cache"].forget()
