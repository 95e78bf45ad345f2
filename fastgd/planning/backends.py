"""The table of backends: what can run a fit, and which one and which algorithm a fit takes.

A new backend is a row here, kernels in `kernels/`, and a runner in `running/`, new or existing.
docs/contributing/add-a-backend.md shows it step by step.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ..input.float_mode import why_blas_differs
from ..input.messages import shown
from ..input.options import name_among
from ..kernels.chunk import ALGORITHMS, MOMENTS, STREAM
from ..kernels.update_rules import UpdateRule

MOST_FEATURES = 256  # for moments; with more, D² operations per epoch cost more than the samples
CHOICES = ("auto", "moments", "stream")  # of the option `algorithm`


class BackendUnavailable(ImportError):
    """A backend that was asked for cannot run here: its library or its device is missing."""


@dataclass(frozen=True)
class Backend:
    """One row: a set of kernels, and what they can do."""

    name: str
    algorithms: tuple[str, ...]  # names in kernels/chunk.py; of several the caller may choose
    runner: str  # module in running/, imported when it runs; also its name in UpdateRule.hands
    why_unavailable: Callable[[], str | None]  # one sentence; None: it can run here
    takes_device_data: bool = False  # accepts data on a GPU
    has_threads: bool = False  # has the option `threads`
    takes_moments: bool = False  # accepts Moments in place of X and y
    takes_batches: bool = False  # has mini-batches
    makes_moments_on_host: bool = False  # running/moments.py compresses the data for it
    fits_at_a_time: str = "runs fits one after another"  # for the error about `threads`
    share_of_bound: float = 8.0  # the largest τ of a right result: 2 for our own kernels

    @property
    def codes(self) -> tuple[int, ...]:
        """The codes of its algorithms."""
        return tuple(ALGORITHMS.index(name) for name in self.algorithms)


_NOT_COMPILED = "NUMBA_DISABLE_JIT is set, and kernels must be compiled: unset it"


def _why_no_kernels() -> str | None:
    loaded = sys.modules.get("numba")
    off = loaded.config.DISABLE_JIT if loaded else os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")
    return f"{_NOT_COMPILED} (backend='numpy' with an lr, without standardize and tol, needs none)" if off else None


def _why_no_cuda() -> str | None:
    from ..kernels import cuda

    return cuda.why_unavailable()


def _why_no_torch() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: install fastgd[torch] (a CPU-only build is enough)"
    return None


def _why_no_torch_on_cuda() -> str | None:
    reason = _why_no_torch()
    if reason is None:
        from ..kernels.reference.torch_autograd import unavailable

        if unavailable("cuda"):
            reason = "PyTorch finds no CUDA device; backend='torch' runs on the CPU"
    return reason


BACKENDS: dict[str, Backend] = {
    row.name: row
    for row in (
        Backend(
            "cpu",
            ("moments", "stream"),
            "cpu",
            _why_no_kernels,
            has_threads=True,
            takes_moments=True,
            takes_batches=True,
            makes_moments_on_host=True,
            share_of_bound=2.0,
        ),
        Backend(
            "cuda",
            ("moments", "stream"),
            "cuda",
            _why_no_cuda,
            takes_device_data=True,
            takes_moments=True,
            takes_batches=True,
            fits_at_a_time="runs on the whole GPU",
            share_of_bound=2.0,
        ),
        Backend("torch", ("autograd",), "reference", _why_no_torch, takes_batches=True),
        Backend("torch-cuda", ("autograd",), "reference", _why_no_torch_on_cuda, takes_batches=True),
        Backend("numpy", ("manual",), "reference", why_blas_differs, takes_batches=True),
    )
}
FOR_TESTS: dict[str, Backend] = {}  # rows that tests add: chosen by name, never listed
_OF_DEVICE_DATA = next(row.name for row in BACKENDS.values() if row.takes_device_data)
_REASONS = {  # explanations for backends that have one algorithm
    "autograd": "autograd: torch.autograd and torch.optim",
    "manual": "manual: the hand-written NumPy descent",
}


def choose_backend(name: str, device: int | None = None) -> tuple[Backend, str]:
    """(backend, reason); raise where it cannot run. device: the GPU of the data, or None."""
    asked_for = name_among(name, ("auto", *BACKENDS, *FOR_TESTS))
    if asked_for is None:
        raise ValueError(f"backend {shown(name)} is unknown; there are: auto, {', '.join(BACKENDS)}")
    name = asked_for
    of_data = "cpu" if device is None else _OF_DEVICE_DATA
    backend = (BACKENDS | FOR_TESTS)[of_data if name == "auto" else name]
    if device is not None and not backend.takes_device_data:
        raise ValueError(
            f"backend {name!r} takes data in the computer's memory, and X and y are on cuda:{device}: give copies of them there"
        )
    reason = backend.why_unavailable()
    if reason:
        raise BackendUnavailable(f"backend {backend.name!r} is not available: {reason}")
    there = "in the computer's memory" if device is None else f"on cuda:{device}"
    asked = "asked for" if name != "auto" else f"the data are {there}"
    return backend, f"{backend.name}: {asked}"


def require_kernels(what: str) -> None:
    """Raise where what the caller asks for takes kernels of the CPU, and they cannot run here."""
    if _why_no_kernels():
        instead = ", or give an lr" if what == "lr=None" else ""
        raise BackendUnavailable(f"{what} takes the kernels of backend 'cpu', which is not available: {_NOT_COMPILED}{instead}")


def refuse_rule(backend: Backend, rule: UpdateRule, asked: str) -> None:
    """Raise if the backend lacks the update rule. asked: the caller's `backend`, such as "auto"."""
    if backend.runner not in rule.hands:
        name = backend.name
        does = f"backend {name!r} does" if asked == name else f"backend {asked!r} takes {name!r}, which does"
        others = ", ".join(row.name for row in BACKENDS.values() if row.runner in rule.hands)
        raise ValueError(f"{does} not have the update rule {rule.name!r}; these backends have it: {others}")
    if "autograd" in backend.algorithms:
        from ..kernels.reference.torch_autograd import optimizer_class

        optimizer_class(rule)


def choose_algorithm(algorithm: str, backend: Backend, n_samples: int, n_features: int) -> tuple[int, str]:
    """(code of the algorithm, reason) for fits with finite data."""
    asked_for = name_among(algorithm, CHOICES)
    if asked_for is None:
        raise ValueError(f"algorithm {shown(algorithm)} is unknown; there are: {', '.join(CHOICES)}")
    algorithm = asked_for
    if len(backend.algorithms) == 1:
        if algorithm != "auto":
            several = " and ".join(repr(row.name) for row in BACKENDS.values() if len(row.algorithms) > 1)
            raise ValueError(f"backend {backend.name!r} has one algorithm of its own; algorithm={algorithm!r} is for backends {several}")
        return backend.codes[0], _REASONS[backend.algorithms[0]]
    if algorithm != "auto":
        return ALGORITHMS.index(algorithm), f"{algorithm}: asked for"
    if n_samples <= 2 * n_features:
        return STREAM, f"stream: n_samples {n_samples} <= 2 * n_features {n_features}, compression does not pay"
    if n_features > MOST_FEATURES:
        return STREAM, f"stream: n_features {n_features} > {MOST_FEATURES}"
    return MOMENTS, (f"moments: n_samples {n_samples} > 2 * n_features {n_features}; the data are read once, for any number of epochs")
