"""Other libraries on the cases of fastgd/speed/cases.py: one table, a row for each.

1. Each is written as its own users would: compiled where it can be, called once before it is timed,
   data in its own format (converting them is told apart), as many threads as fastgd.
2. Nothing is timed before it agrees. A peer gives the whole history, w and loss of every epoch, and
   is judged by the error bound for anybody's program (τ ≤ 8) on three of its fits; coefficients of
   closed forms by what rounding may do to normal equations (fastgd/speed/agreeing.py). Where a case
   keeps w alone, the history of the same function is judged, and its last row must be that w.
3. The slow ones get as many fits as they get through in about MOST_SECONDS, a power of ten of them,
   and the row says how many; fastgd runs on just these beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from benchmarks import closed_forms
from benchmarks.problems import History, Problem, rounded
from fastgd.kernels.batch_order import batches_of, order_of_epoch

Run = Callable[[], Any]
MOST_SECONDS = 1.0  # of one call


@dataclass(frozen=True)
class Peer:
    """One way of other people to the same results."""

    library: str  # that must be installed
    kinds: tuple[str, ...]  # of problems
    make: Callable[[Problem], Run]  # converts the data
    trial: int = 100  # it is tried on this part of the fits first
    only_w: bool = False  # can leave the history out, with the same bits


# -- gradient descent: a history (fits, epochs + 1, d), (fits, epochs + 1) -------------------------


def numpy_batched(problem: Problem) -> Run:
    """The textbook loop, all fits at once; float32 data stay float32."""
    X, y, lr = problem.X, problem.y, rounded(problem)

    def run() -> History:
        w, history, losses = problem.zeros(), *problem.history()
        kept, n = problem.weights()
        for epoch in range(problem.epochs + 1):
            residual = np.matmul(X, w[..., None])[..., 0] - y
            if kept is not None:
                residual *= kept
            history[:, epoch], losses[:, epoch] = w, (residual * residual).sum(axis=1) / n
            w = w - lr * (2 / n)[:, None].astype(X.dtype) * np.matmul(residual[:, None, :], X)[:, 0]
        return history, losses

    return run


def numpy_moments(problem: Problem, converted: bool = False) -> Run:
    """Gram matrices once, then a loop over epochs in float64: a dozen lines.

    The sums are in the dtype of the data, or (converted) in float64, of data that were float64
    before: of one fit that is BLAS's dsyrk.
    """
    kept, n = problem.weights()
    number = np.float64 if converted else problem.X.dtype
    X, y, lr = problem.X.astype(number, copy=False), problem.y.astype(number, copy=False), problem.rates()[:, None] * (2 / n[:, None])

    def run() -> History:
        own = X if kept is None else X * kept[..., None].astype(number)
        turned = own.swapaxes(1, 2)
        gram, cross = np.matmul(turned, X).astype(np.float64), np.matmul(turned, y[..., None])[..., 0].astype(np.float64)
        square = np.einsum("fi,fi->f", y if kept is None else y * kept.astype(number), y)
        w, (history, losses) = problem.zeros(np.float64), problem.history() if problem.keep else (None, None)
        for epoch in range(problem.epochs + 1):
            half = (gram @ w[..., None])[..., 0] - cross
            if history is not None:
                history[:, epoch], losses[:, epoch] = w, (square + np.einsum("fj,fj->f", w, half - cross)) / n
            if epoch < problem.epochs:
                w -= lr * half
        return (w.astype(problem.X.dtype), None) if history is None else (history, losses)

    return run


@numba.njit(parallel=True, cache=True)
def _descend_naively(X, y, lr, epochs, history, losses):
    m, n, d = X.shape
    for f in numba.prange(m):
        w, gradient = np.zeros(d, X.dtype), np.zeros(d, X.dtype)
        for epoch in range(epochs + 1):
            gradient[:] = 0
            loss, used = X.dtype.type(0), 0
            for i in range(n):
                residual = -y[f, i]
                for j in range(d):
                    residual += X[f, i, j] * w[j]
                if residual == residual:  # a sample with a gap is left out
                    used += 1
                    loss += residual * residual
                    for j in range(d):
                        gradient[j] += X[f, i, j] * residual
            losses[f, epoch] = loss / used
            for j in range(d):
                history[f, epoch, j] = w[j]
                w[j] -= lr * (X.dtype.type(2) / X.dtype.type(used)) * gradient[j]


def naive_numba(problem: Problem) -> Run:
    """Plain loops under prange."""

    def run() -> History:
        history, losses = problem.history()
        _descend_naively(problem.X_with_gaps, problem.y, rounded(problem)[0, 0], problem.epochs, history, losses)
        return history, losses

    return run


def _torch_rule(problem: Problem, w: Any) -> Any:
    """The torch optimizer of a problem."""
    import torch

    made = torch.optim.Adam if problem.rule == "adam" else torch.optim.SGD
    options = {"momentum": 0.9, "nesterov": True} if problem.rule == "nesterov" else {}
    return made([w], lr=float(problem.lr), **options)


def torch_loop(problem: Problem) -> Run:
    """One fit after another: backward() and torch.optim."""
    import torch

    tensors = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(problem.X, problem.y, strict=True)]

    def run() -> History:
        history, losses = problem.history()
        for f, (features, targets) in enumerate(tensors):
            w = torch.zeros(features.shape[1], dtype=features.dtype, requires_grad=True)
            optimizer = _torch_rule(problem, w)
            for epoch in range(problem.epochs + 1):
                optimizer.zero_grad()
                residual = features @ w - targets
                loss = (residual * residual).mean()
                history[f, epoch], losses[f, epoch] = w.detach().numpy(), loss.detach()
                loss.backward()
                optimizer.step()
        return history, losses

    return run


def torch_batch(problem: Problem) -> Run:
    """All fits in one tensor: the gradient of the sum of their losses is each fit's own."""
    import torch

    features, targets = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    kept, n = (None if each is None else torch.from_numpy(np.asarray(each)) for each in problem.weights())

    def run() -> History:
        w = torch.zeros(problem.n_fits, features.shape[-1], dtype=features.dtype, requires_grad=True)
        optimizer = _torch_rule(problem, w)
        history, losses = (torch.from_numpy(each) for each in problem.history())
        for epoch in range(problem.epochs + 1):
            optimizer.zero_grad()
            residual = torch.bmm(features, w[..., None])[..., 0] - targets
            if kept is not None:
                residual = residual * kept
            loss = (residual * residual).sum(dim=1) / n
            history[:, epoch], losses[:, epoch] = w.detach(), loss.detach()
            loss.sum().backward()
            optimizer.step()
        return history.numpy(), losses.numpy()

    return run


def torch_func(problem: Problem, compiled: bool) -> Run:
    """`torch.func.vmap` over `grad_and_value`; a step is compiled or not."""
    import torch

    features, targets = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    rates = torch.from_numpy(rounded(problem))
    shared = 0 if len(features) == problem.n_fits else None

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        residual = x @ w - target
        return (residual * residual).mean()

    def step_of(w: Any, x: Any, target: Any) -> Any:
        gradient, loss = torch.func.vmap(torch.func.grad_and_value(loss_of), in_dims=(0, shared, shared))(w, x, target)
        return w - rates * gradient, loss

    step = torch.compile(step_of, fullgraph=True) if compiled else step_of

    def run() -> History:
        w = torch.from_numpy(problem.zeros())
        history, losses = (torch.from_numpy(each) for each in problem.history())
        x, target = (features, targets) if shared == 0 else (features[0], targets[0])
        for epoch in range(problem.epochs + 1):
            history[:, epoch] = w
            w, losses[:, epoch] = step(w, x, target)
        return history.numpy(), losses.numpy()

    return run


def _optax_rule(problem: Problem, lr: Any) -> Any:
    import optax

    if problem.rule == "adam":
        return optax.adam(lr)
    return optax.sgd(lr, momentum=0.9, nesterov=True) if problem.rule == "nesterov" else None


def jax_scan(problem: Problem, of_moments: bool = False) -> Run:
    """`vmap` over fits, `scan` over epochs, `jit` over both; other rules than SGD by optax."""
    import jax
    import jax.numpy as jnp

    number = np.dtype(np.float64) if of_moments else problem.X.dtype  # sums of 10,000 products in float32 are no moments to descend on
    if number == np.float64:
        jax.config.update("jax_enable_x64", True)
    shared, rates = (0 if len(problem.X) == problem.n_fits else None), rounded(problem)[:, 0].astype(number)
    features, targets = (jnp.asarray((each if shared == 0 else each[0]).astype(number)) for each in (problem.X, problem.y))
    kept, _ = problem.weights()
    weights = None if kept is None else jnp.asarray(kept)

    def loss_of(w: Any, x: Any, target: Any, weight: Any) -> Any:
        if of_moments:
            gram, cross, square, n = x
            return (square + w @ (gram @ w - 2 * cross)) / n
        residual = x @ w - target
        if weight is None:
            return (residual * residual).mean()
        return (weight * residual * residual).sum() / weight.sum()

    def descend(x: Any, target: Any, lr: Any, weight: Any) -> Any:
        if of_moments:
            x = (x.T @ x, x.T @ target, target @ target, len(target))
        rule = _optax_rule(problem, lr)

        def epoch(carry: Any, _: Any) -> Any:
            w, state = carry
            loss, gradient = jax.value_and_grad(loss_of)(w, x, target, weight)
            if rule is None:
                return (w - lr * gradient, state), (w, loss)
            updates, state = rule.update(gradient, state, w)
            return (w + updates, state), (w, loss)

        w = jnp.zeros(problem.X.shape[-1], number)
        return jax.lax.scan(epoch, (w, rule.init(w) if rule else ()), None, length=problem.epochs + 1)[1]

    run_all = jax.jit(jax.vmap(descend, in_axes=(shared, shared, 0, None if weights is None else 0)))
    given = (features, targets, jnp.asarray(rates), weights)
    jax.block_until_ready(given[:3])

    def run() -> History:
        history, losses = jax.block_until_ready(run_all(*given))
        return np.asarray(history).astype(problem.X.dtype, copy=False), np.asarray(losses).astype(problem.X.dtype, copy=False)

    return run


# -- one epoch of mini-batches: w (d,) ------------------------------------------------------------


def _batches(problem: Problem) -> list[np.ndarray]:
    n = len(problem.y[0])
    return list(batches_of(order_of_epoch(n, 0, 0) if problem.shuffle else np.arange(n), problem.batch, False))


def torch_batches(problem: Problem) -> Run:
    """What users of torch write; the order is made before."""
    import torch

    data, targets = torch.from_numpy(problem.X[0]), torch.from_numpy(problem.y[0])
    batches: list[Any] = [torch.from_numpy(rows) for rows in _batches(problem)]
    if not problem.shuffle:
        batches = [slice(int(rows[0]), int(rows[-1]) + 1) for rows in batches]

    def run() -> np.ndarray:
        w = torch.zeros(data.shape[1], requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=float(problem.lr))
        for rows in batches:
            optimizer.zero_grad()
            residual = data[rows] @ w - targets[rows]
            (residual * residual).mean().backward()
            optimizer.step()
        return w.detach().numpy()

    return run


def jax_batches(problem: Problem) -> Run:
    """A jitted scan over the full batches, then the short one; the order is given."""
    import jax
    import jax.numpy as jnp

    order = np.concatenate(_batches(problem))
    whole = len(order) // problem.batch * problem.batch
    data, targets = jnp.asarray(problem.X[0]), jnp.asarray(problem.y[0])
    places, rest = jnp.asarray(order[:whole].reshape(-1, problem.batch)), jnp.asarray(order[whole:])

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        residual = x @ w - target
        return (residual * residual).mean()

    def step(w: Any, rows: Any, data: Any, targets: Any) -> Any:
        return w - float(problem.lr) * jax.grad(loss_of)(w, data[rows], targets[rows])

    @jax.jit
    def descend(data: Any, targets: Any, places: Any, rest: Any) -> Any:
        w = jnp.zeros(data.shape[1], data.dtype)
        w = jax.lax.scan(lambda w, rows: (step(w, rows, data, targets), None), w, places)[0]
        return step(w, rest, data, targets) if len(rest) else w

    return lambda: np.asarray(jax.block_until_ready(descend(data, targets, places, rest)))


DESCENT = ("descent", "rates", "gaps", "rules")  # kinds whose answer is a history
PEERS: dict[str, Peer] = {
    "torch autograd, loop over fits": Peer("torch", ("descent", "rules"), torch_loop, trial=10_000),
    "torch autograd, whole batch": Peer("torch", ("descent", "gaps", "rules"), torch_batch),
    "torch.func.vmap": Peer("torch", ("descent", "rates"), functools.partial(torch_func, compiled=False)),
    "torch.compile": Peer("torch", ("descent", "rates"), functools.partial(torch_func, compiled=True)),
    "JAX vmap + scan": Peer("jax", ("descent", "rates", "gaps"), jax_scan),
    "JAX vmap + scan, on moments": Peer("jax", ("rates",), functools.partial(jax_scan, of_moments=True)),
    "JAX vmap + scan, optax": Peer("optax", ("rules",), jax_scan),
    "NumPy, batched": Peer("numpy", ("descent", "gaps"), numpy_batched),
    "NumPy on moments": Peer("numpy", ("descent", "rates", "gaps"), numpy_moments, only_w=True),
    "NumPy on moments, converted before": Peer(
        "numpy", ("descent", "rates"), functools.partial(numpy_moments, converted=True), only_w=True
    ),
    "naive Numba prange": Peer("numba", ("descent", "gaps"), naive_numba),
    "torch, an index for each batch": Peer("torch", ("batches",), torch_batches),
    "JAX, a jitted scan over batches": Peer("jax", ("batches",), jax_batches),
    "NumPy, batched solve": Peer("numpy", ("closed form",), closed_forms.batched_solve),
    "NumPy, batched pinv": Peer("numpy", ("deficient",), closed_forms.batched_pinv),
    "NumPy, pinv of Gram matrices": Peer("numpy", ("deficient",), closed_forms.gram_pinv),
    "numpy.linalg.lstsq, loop": Peer("numpy", ("closed form", "deficient"), closed_forms.lstsq_loop, trial=10_000),
    "torch.linalg.lstsq, batched": Peer("torch", ("closed form",), closed_forms.torch_lstsq),
    "scikit-learn LinearRegression, loop": Peer("sklearn", ("closed form",), closed_forms.sklearn_loop, trial=10_000),
    "polars, sums of products": Peer("polars", ("groups",), closed_forms.polars_sums),
    "polars-ds lin_reg": Peer("polars_ds", ("groups",), closed_forms.polars_ds),
    "DuckDB regr_slope": Peer("duckdb", ("groups",), closed_forms.duckdb_slope),
    "pandas groupby.apply(lstsq)": Peer("pandas", ("groups",), closed_forms.pandas_apply, trial=10_000),
    "xarray.polyfit": Peer("xarray", ("raster",), closed_forms.xarray_polyfit),
    "numpy.linalg.lstsq, many right sides": Peer("numpy", ("one X", "raster"), closed_forms.lstsq_of_all),
    "numpy.linalg.pinv, many right sides": Peer("numpy", ("one X", "raster"), closed_forms.pinv_of_all),
    "numpy.linalg.solve, many right sides": Peer("numpy", ("one X", "raster"), closed_forms.solve_of_all),
    "numpy.linalg.solve, many right sides, in float64": Peer("numpy", ("one X", "raster"), closed_forms.solve_of_all_in_float64),
    "scikit-learn LinearRegression, many targets": Peer("sklearn", ("one X", "raster"), closed_forms.sklearn_of_all),
}
