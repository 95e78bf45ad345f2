"""Arrays at the door of `fit` on the GPU that `import cupy` finds: `python -m
tests.kernels.cuda.arrays_on_gpu`.

On a GPU the arrays are CuPy's and torch's.

1. What a fit of NumPy's data gives by the same kernels is what a fit of the same data on the device
   must give, bit for bit; that those are the CPU's bits is shown elsewhere.
2. tests/kernels/cuda/test_arrays.py runs this with the stand-in for CuPy, so that it has no silly
   mistake when it first meets a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastgd
from tests.support.against_arbiter import bits

NAMES = ("w", "intercept", "loss", "epochs", "status", "n_used", "lr", "excess_loss")
STATE = ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess")


def data_of(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y with gaps, weights of 6 fits."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((6, 70, 3)).astype(dtype), rng.standard_normal((6, 70)).astype(dtype)
    y[rng.random((6, 70)) < 0.1] = np.nan
    return X, y, rng.integers(0, 4, (6, 70)).astype(dtype)


OPTIONS: dict[str, Any] = {"nan_policy": "omit", "intercept": True, "epochs": 9, "history": 2}


def assert_same(ours: Any, theirs: Any, fetch: Callable[[Any], np.ndarray]) -> None:
    """Every array of a result, its history and its state."""
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in NAMES]
    pairs += [(getattr(ours.history, name), getattr(theirs.history, name)) for name in ("w", "loss", "intercept")]
    for a, b in [(fetch(a), np.asarray(b)) for a, b in pairs] + [
        (getattr(ours.state, name).get(), getattr(theirs.state, name)) for name in STATE
    ]:
        assert a.dtype == b.dtype
        assert np.array_equal(bits(a), bits(b)) if a.dtype.kind == "f" else np.array_equal(a, b)


def check_cupy(dtype: str) -> None:
    """CuPy's arrays, in any layout, weights and missing numbers; a state goes on; predictions."""
    import cupy

    X, y, weights = data_of(dtype)
    there = [cupy.asarray(array) for array in (X, y, weights)]
    for lr in (None, 0.05):
        theirs = fastgd.fit(X, y, sample_weight=weights, lr=lr, backend="cuda", **OPTIONS)
        ours = fastgd.fit(there[0], there[1], sample_weight=there[2], lr=lr, **OPTIONS)
        assert ours.backend == "cuda"
        assert all(isinstance(getattr(ours, name), cupy.ndarray) for name in NAMES)
        assert_same(ours, theirs, lambda array: array.get())
    for more in ({"tol": 0.01}, {"excess_loss": True, "algorithm": "stream"}, {"standardize": True}, {"standardize": True, "tol": 0.01}):
        theirs = fastgd.fit(X, y, lr=0.05, backend="cuda", **OPTIONS, **more)
        ours = fastgd.fit(there[0], there[1], lr=0.05, **OPTIONS, **more)
        assert_same(ours, theirs, lambda array: array.get())
        if "standardize" in more:
            assert np.array_equal(ours.center.get(), theirs.center)
            assert np.array_equal(ours.state.scale.get(), theirs.state.scale)
    swapped = cupy.asarray(np.ascontiguousarray(X.transpose(1, 2, 0))).transpose(2, 0, 1)
    assert_same(fastgd.fit(swapped, there[1], lr=0.05, **OPTIONS), fastgd.fit(X, y, lr=0.05, backend="cuda", **OPTIONS), lambda a: a.get())
    first = fastgd.fit(there[0], there[1], lr=0.05, **{**OPTIONS, "epochs": 4})
    rest = fastgd.fit(there[0], there[1], lr=0.05, state=first.state, **{**OPTIONS, "epochs": 5})
    assert np.array_equal(rest.w.get(), fastgd.fit(X, y, lr=0.05, backend="cuda", **OPTIONS).w)
    assert rest.predict(there[0]).shape == y.shape
    out = cupy.empty((6, 3), np.dtype(dtype))
    assert fastgd.fit(there[0], there[1], lr=0.05, out=out, **OPTIONS).w is out


def check_streams() -> None:
    """Data that are still being made on the caller's stream."""
    import cupy

    X, y, _ = data_of()
    theirs = fastgd.fit(X, y, lr=0.05, backend="cuda", **OPTIONS)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        a, b = cupy.empty(X.shape, X.dtype), cupy.empty(y.shape, y.dtype)
        a[...], b[...] = cupy.asarray(X), cupy.asarray(y)
        ours = fastgd.fit(a, b, lr=0.05, **OPTIONS)
        stream.synchronize()
    assert_same(ours, theirs, lambda array: array.get())


def check_words() -> None:
    """What is refused."""
    import cupy

    X, y, _ = data_of()
    for call, told in (
        (lambda: fastgd.fit(cupy.asarray(X), y, **OPTIONS), "X is on cuda:0 but y is in the computer's memory"),
        (lambda: fastgd.fit(cupy.asarray(X), cupy.asarray(y), backend="cpu", **OPTIONS), "backend 'cpu' takes data in the computer's"),
        (lambda: fastgd.fit(cupy.asarray(X), cupy.asarray(y)), "y is not finite: nan in row"),
    ):
        said = "nothing"
        try:
            call()
        except ValueError as error:
            said = str(error)
        assert told in said, said


def check_torch() -> None:
    """torch's tensors, on a stream of torch's."""
    import torch

    X, y, _ = data_of()
    theirs = fastgd.fit(X, y, lr=0.05, backend="cuda", **OPTIONS)
    with torch.cuda.stream(torch.cuda.Stream()):
        a, b = torch.as_tensor(X, device="cuda").requires_grad_(), torch.as_tensor(y, device="cuda")
        ours = fastgd.fit(a, b, lr=torch.tensor(0.05, device="cuda", dtype=torch.float64), **OPTIONS)
        assert isinstance(ours.w, torch.Tensor)
        assert ours.w.is_cuda
        prediction = ours.predict(a)
        torch.cuda.synchronize()
    assert prediction.is_cuda
    assert_same(ours, theirs, lambda tensor: tensor.cpu().numpy())


def main() -> int:
    """Everything; torch where it has a GPU."""
    import torch

    checks: dict[str, Callable[[], None]] = {
        "CuPy, float32": lambda: check_cupy("float32"),
        "CuPy, float64": lambda: check_cupy("float64"),
        "streams": check_streams,
        "words": check_words,
    }
    if torch.cuda.is_available():
        checks["torch"] = check_torch
    else:
        print("torch: NOT CHECKED: it finds no GPU")
    for name, check in checks.items():
        check()
        print(f"{name}: fine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
