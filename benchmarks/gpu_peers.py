"""The peers of gpu.py: gradient descent as users of torch and CuPy write it, on the same GPU.

Each is checked before it is timed: steps of a few fits against the rounding-error bound of one step
(τ ≤ 8: what anybody's correct implementation keeps). One that cannot run, or does not agree, says
so, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import cupy
import numpy as np
import torch

from fastgd.kernels.cuda.launching import measured
from fastgd.verification.bound import check_step

ANYBODYS = 8.0  # τ
JUDGED = 4  # fits
PEER_BYTES = 2e9  # of data that peers are given
PEER_SECONDS = 1.5  # each
GRAPH_EPOCHS = 10

Epoch = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # X (b, n, d), y (b, n), w (b, d) -> the next w


def torch_epochs(n: int, rate: float) -> dict[str, Epoch]:
    """One epoch each."""

    def eager(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        residual = torch.einsum("bnd,bd->bn", X, w) - y
        return w - rate * (2 / n) * torch.einsum("bnd,bn->bd", X, residual)

    def autograd(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        w = w.detach().requires_grad_()
        residual = torch.einsum("bnd,bd->bn", X, w) - y
        (residual * residual).mean(dim=1).sum().backward()
        assert w.grad is not None
        return (w - rate * w.grad).detach()

    def loss_of_one(w: torch.Tensor, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        residual = X @ w - y
        return (residual * residual).mean()

    gradient = torch.func.vmap(torch.func.grad(loss_of_one))

    def vmapped(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return w - rate * gradient(w, X, y)

    return {"torch autograd": autograd, "torch eager": eager, "torch.func.vmap": vmapped, "torch.compile": torch.compile(eager)}


class Judge:
    """The data of a few fits, and the bound."""

    def __init__(self, X: torch.Tensor, y: torch.Tensor, rate: float) -> None:
        self._X, self._y = X[:JUDGED].cpu().numpy(), y[:JUDGED].cpu().numpy()
        self._rate = float(self._X.dtype.type(rate))

    def step(self, w: Any, w_next: Any) -> float:
        """The worst τ_w; an AssertionError where no correct implementation can have it."""
        worst = 0.0
        for k, (X, y) in enumerate(zip(self._X, self._y, strict=True)):
            loss = float(((X.astype(float) @ w[k].astype(float) - y) ** 2).mean())  # not what is judged
            worst = max(worst, check_step(X, y, w[k], w_next[k], loss, lr=self._rate, dtype=X.dtype).tau_w)
        assert worst <= ANYBODYS, f"τ is {worst:.3g} (at most {ANYBODYS:g})"
        return worst

    def solution(self, w: np.ndarray) -> float:
        """The residual of the normal equations over its bound.

        n products in XᵀX and in Xᵀy, 3 D more in the factors and two solves.
        """
        worst = 0.0
        for k, (X, y) in enumerate(zip(self._X.astype(np.float64), self._y.astype(np.float64), strict=True)):
            n, d = X.shape
            size = abs(X).T @ (abs(X) @ abs(w[k])) + abs(X).T @ abs(y)
            worst = max(worst, (abs(X.T @ (X @ w[k] - y)) / ((n + 3 * d) * np.finfo(w.dtype).eps / 2 * size)).max())
        assert worst <= ANYBODYS, f"{worst:.3g} times the bound"
        return float(worst)


def _host(w: torch.Tensor) -> np.ndarray:
    return w[:JUDGED].cpu().numpy()


def time_peers(case: dict[str, Any], rate: float, device: str) -> dict[str, dict[str, Any]]:
    """{peer: ns_per_fit_epoch, tau and first_call_s, or what failed}."""
    n, d, dtype = case["n_samples"], case["n_features"], getattr(torch, case["dtype"])
    b = max(JUDGED, min(case["n_fits"], int(PEER_BYTES / (n * (d + 1) * dtype.itemsize))))
    generator = torch.Generator(device).manual_seed(0)
    X = torch.randn((b, n, d), device=device, dtype=dtype, generator=generator)
    y, start = X.sum(dim=2), torch.zeros((b, d), device=device, dtype=dtype)
    judge, found = Judge(X, y, rate), {}
    for name, run in _peers(X, y, start, judge, rate, device):
        try:
            found[name] = run()
        except Exception as error:  # see above
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
    return found


def _peers(X: torch.Tensor, y: torch.Tensor, start: torch.Tensor, judge: Judge, rate: float, device: str) -> Iterator[tuple[str, Any]]:
    b, n, _ = X.shape

    def of_torch(epoch: Epoch) -> dict[str, Any]:
        began = time.perf_counter()
        first = epoch(X, y, start)
        second = epoch(X, y, first)
        tau = max(judge.step(_host(start), _host(first)), judge.step(_host(first), _host(second)))
        first_call = time.perf_counter() - began
        return {"tau": tau, "first_call_s": first_call, "ns_per_fit_epoch": 1e6 * torch_time(lambda: epoch(X, y, start), device) / b}

    epochs = torch_epochs(n, rate)
    for name, epoch in epochs.items():
        yield name, lambda epoch=epoch: of_torch(epoch)

    def replayed() -> dict[str, Any]:
        graph, rows = torch.cuda.CUDAGraph(), [start.clone()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # warm up, as torch's manual asks for
            epochs["torch eager"](X, y, rows[0])
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            for _ in range(GRAPH_EPOCHS):
                rows.append(epochs["torch eager"](X, y, rows[-1]))
        graph.replay()
        tau = max(judge.step(_host(before), _host(after)) for before, after in pairwise(rows))
        return {"tau": tau, "ns_per_fit_epoch": 1e6 * torch_time(graph.replay, device) / b / GRAPH_EPOCHS}

    yield "torch, replay of a CUDA graph", replayed
    A, t = _to_cupy(X), _to_cupy(y)

    def of_cupy(w: Any) -> Any:
        residual = (A * w[:, None, :]).sum(axis=2) - t
        return w - rate * (2 / n) * (A * residual[:, :, None]).sum(axis=1)

    def elementwise() -> dict[str, Any]:
        begun = _to_cupy(start)
        first = of_cupy(begun)
        tau = max(judge.step(_host(start), first[:JUDGED].get()), judge.step(first[:JUDGED].get(), of_cupy(first)[:JUDGED].get()))
        return {"tau": tau, "ns_per_fit_epoch": 1e6 * cupy_time(lambda: of_cupy(begun)) / b}

    def solve() -> Any:
        T = A.transpose(0, 2, 1)
        return cupy.linalg.solve(cupy.matmul(T, A), cupy.matmul(T, t[:, :, None]))[:, :, 0]

    yield "CuPy elementwise", elementwise
    yield (
        "cupy.linalg.solve, per fit",
        lambda: {"of_its_bound": judge.solution(solve()[:JUDGED].get()), "ns_per_fit_epoch": 1e6 * cupy_time(solve) / b},
    )


def _to_cupy(tensor: torch.Tensor) -> Any:
    return cupy.from_dlpack(tensor) if tensor.is_cuda else cupy.asarray(tensor.numpy())


def torch_time(function: Callable[[], object], device: str) -> float:
    """Median milliseconds: on the device by events, on the CPU by the clock."""
    function()
    times, began = [], time.perf_counter()
    while len(times) < 20 and (not times or time.perf_counter() - began < PEER_SECONDS):
        if device == "cpu":
            at = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - at))
            continue
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return float(np.median(times))


def cupy_time(function: Callable[[], object]) -> float:
    """The same for CuPy."""
    function()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 10 and (not times or time.perf_counter() - began < PEER_SECONDS):
        with measured(times):
            function()
    return float(np.median(times))
