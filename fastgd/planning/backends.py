"""The table of backends, and which one and which algorithm a fit takes."""

from __future__ import annotations

import importlib.util

from ..input.messages import shown
from ..kernels.chunk import ALGORITHMS, AUTOGRAD, MANUAL, MOMENTS, STREAM
from ..kernels.update_rules import UpdateRule

MOST_FEATURES = 256  # of the moments; beyond, D² per epoch is more than reading the data
BACKENDS = ("cpu", "cuda", "torch", "torch-cuda", "numpy")


class BackendUnavailable(ImportError):
    """A backend that was asked for by name cannot run here: its library or its device is missing."""


def choose_backend(backend: str, device: int | None = None) -> tuple[str, str]:
    """(backend, reason); raises where the one asked for cannot run. device: the GPU that the data are on."""
    if not isinstance(backend, str) or (backend not in ("auto", *BACKENDS) and not on_device(backend)):
        raise ValueError(f"backend {shown(backend)} is unknown; there are: auto, {', '.join(BACKENDS)}")
    if backend == "auto" and device is None:
        return "cpu", "cpu: the data are in the computer's memory"
    if device is not None and backend not in ("auto", "cuda"):
        raise ValueError(
            f"backend {backend!r} takes data in the computer's memory, and X and y are on cuda:{device}: give copies of them there"
        )
    chosen_for = f"cuda: the data are on cuda:{device}" if backend == "auto" else f"{backend}: asked for"
    backend = "cuda" if backend == "auto" else backend
    reason = why_unavailable(backend)
    if reason:
        raise BackendUnavailable(f"backend {backend!r} is not available: {reason}")
    return backend, chosen_for


def refuse_rule(backend: str, rule: UpdateRule, asked: str) -> None:
    """Raise where the backend, for which the user asked by `asked`, cannot run the update rule."""
    if _hand_of(backend) not in rule.hands:
        taken = f"backend {backend!r} does" if asked == backend else f"backend {asked!r} takes {backend!r}, which does"
        others = ", ".join(name for name in BACKENDS if _hand_of(name) in rule.hands)
        raise ValueError(f"{taken} not have the update rule {rule.name!r}; these backends have it: {others}")
    if backend.startswith("torch"):
        from ..kernels.reference.torch_autograd import optimizer_class

        optimizer_class(rule)


def _hand_of(backend: str) -> str:
    """Which of the hands of an update rule is the backend's."""
    return backend if backend == "cpu" else "cuda" if on_device(backend) else "reference"


def on_device(backend: str) -> bool:
    """Whether the backend is the CUDA kernels, on whatever device."""
    from ..kernels import cuda

    return backend in cuda.DEVICES


def why_unavailable(backend: str) -> str | None:
    """None if the backend can run here, else one sentence."""
    if backend == "cuda":
        from ..kernels import cuda

        return cuda.why_unavailable()
    if backend.startswith("torch"):
        if importlib.util.find_spec("torch") is None:
            return "PyTorch is not installed: install fastgd[torch] (a CPU-only build is enough)"
        if backend == "torch-cuda":
            from ..kernels.reference.torch_autograd import unavailable

            if unavailable("cuda"):
                return "PyTorch finds no CUDA device; backend='torch' runs on the CPU"
    return None


def choose_algorithm(algorithm: str, backend: str, n_samples: int, n_features: int) -> tuple[int, str]:
    """(code, reason) for fits with finite data."""
    choices = ("auto", "moments", "stream") if backend == "cpu" or on_device(backend) else ("auto",)
    if not isinstance(algorithm, str) or algorithm not in ("auto", "moments", "stream"):
        raise ValueError(f"algorithm {shown(algorithm)} is unknown; there are: auto, moments, stream")
    if algorithm not in choices:
        raise ValueError(f"backend {backend!r} has one algorithm of its own; algorithm={algorithm!r} is for backends 'cpu' and 'cuda'")
    if backend.startswith("torch"):
        return AUTOGRAD, "autograd: torch.autograd and torch.optim"
    if backend == "numpy":
        return MANUAL, "manual: the hand-written NumPy descent"
    if algorithm != "auto":
        return ALGORITHMS.index(algorithm), f"{algorithm}: asked for"
    if n_samples <= 2 * n_features:
        return STREAM, f"stream: n_samples {n_samples} ≤ 2 · n_features {n_features}, compression does not pay"
    if n_features > MOST_FEATURES:
        return STREAM, f"stream: n_features {n_features} > {MOST_FEATURES}"
    return MOMENTS, f"moments: n_samples {n_samples} > 2 · n_features {n_features}; the data are read once, for any number of epochs"
