"""torch: a linear layer that `fastgd.fit` trains.

torch is imported when a layer comes in, so this module can be imported without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .fitting import fit
from .input.annotations import AnyArray
from .input.messages import counted, shown
from .input.wrong_names import helps_with_keywords
from .results.result import FitResult

if TYPE_CHECKING:
    from torch.nn import Linear

__all__ = ["fit_linear"]

_NOT_HERE = {
    "w0": "the descent begins at the weights of the layer",
    "intercept0": "the descent begins at the bias of the layer",
    "intercept": "the layer has a bias or it has none",
    "dtype": "the computation is in that of the layer",
    "out": "results are written to the layer",
}


@helps_with_keywords
def fit_linear(linear: Linear, X: AnyArray, y: AnyArray, **fit_options: Any) -> FitResult:
    """Train a `torch.nn.Linear` by `fastgd.fit`, and write what was found into it.

    It is full-batch training on the mean squared error of each output::

        for _ in range(epochs):
            optimizer.zero_grad()
            ((linear(X) - y) ** 2).mean(0).sum().backward()
            optimizer.step()

    The outputs of a linear layer do not depend on each other: each is a fit of its own. So
    torch.nn.MSELoss, which also takes the mean over the outputs, is this with the rate lr /
    out_features, for SGD.

    Parameters
    ----------
    linear : torch.nn.Linear
        The layer, of float32 or float64 parameters. The descent begins at its weights and bias.
    X : array (n_samples, in_features)
        The features, a tensor or any other array that `fastgd.fit` takes.
    y : array (n_samples, out_features), or (n_samples,) where out_features is 1
        The targets.
    **fit_options
        Options of `fastgd.fit`, such as ``lr``, ``optimizer``, ``epochs``, ``batch_size``,
        ``tol``, ``X_val`` and ``y_val`` (shaped as X and y), ``progress``. Hyperparameters may be
        arrays (out_features,).

    Returns
    -------
    FitResult
        With one axis, (out_features,): w is (out_features, in_features). An output whose w is not
        finite in the end keeps its old weights in the layer; `status` says so.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong. The layer is as it was then.
    ImportError
        When torch is not installed.

    Notes
    -----
    Source: torch.nn.Linear computes x Aᵀ + b with A (out_features, in_features) and b
    (out_features,), as PyTorch's documentation says.

    Examples
    --------
    >>> import torch, fastgd.torch
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(200, 3)
    >>> y = X @ torch.tensor([[1.0, 0.0], [-2.0, 1.0], [0.5, 3.0]]) + 4
    >>> linear = torch.nn.Linear(3, 2)
    >>> result = fastgd.torch.fit_linear(linear, X, y, lr=0.1, epochs=200)
    >>> [round(value, 3) for value in linear.bias.tolist()]
    [4.0, 4.0]
    >>> torch.equal(linear.weight, result.w)
    True
    """
    for option, why in _NOT_HERE.items():
        if option in fit_options:
            raise TypeError(f"fit_linear takes no {option}: {why}")
    weight, bias = _parameters_of(linear)
    outputs = len(weight)
    given = {**fit_options, "dtype": str(weight.dtype).removeprefix("torch.")}
    if given.get("y_val") is not None:
        given["y_val"] = _by_outputs(given["y_val"], outputs, "y_val")
    if given.get("state") is None:  # a state has its own start
        given["w0"] = weight.detach().cpu().numpy()
        given |= {} if bias is None else {"intercept0": bias.detach().cpu().numpy()}
    result = fit(X, _by_outputs(y, outputs, "y"), intercept=bias is not None, **given)
    _write(result, weight, bias)
    return result


def _parameters_of(linear: Any) -> tuple[Any, Any]:
    """The weight and the bias of a layer, checked; None for a bias that it does not have."""
    import torch

    if not isinstance(linear, torch.nn.Linear):
        raise TypeError(f"linear must be a torch.nn.Linear, not {shown(linear)}; of a module with several layers give the one to train")
    if isinstance(linear.weight, torch.nn.parameter.UninitializedParameter):
        raise ValueError("linear has no weights yet: call it once, linear(X), so that it gets the size of X")
    if "weight" not in linear._parameters or "bias" not in linear._parameters:
        raise ValueError("the weights of linear are computed from other parameters (torch.nn.utils.parametrize), and cannot be written")
    if linear.weight.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"linear has parameters of {linear.weight.dtype}, and float32 or float64 is needed: linear.float()")
    return linear.weight, linear.bias


def _by_outputs(y: Any, outputs: int, name: str) -> Any:
    """Targets (outputs, n_samples) of those given as a layer gives them."""
    array = y if hasattr(y, "ndim") and hasattr(y, "shape") else np.asarray(y)
    if array.ndim == 1 and outputs == 1:
        return array[None]
    if array.ndim != 2 or array.shape[1] != outputs:
        needed = f"(n_samples, {outputs})" + (" or (n_samples,)" if outputs == 1 else "")
        raise ValueError(f"linear has {counted(outputs, 'output')}, so {name} must be {needed}, not {tuple(array.shape)}")
    return array.T if isinstance(array, np.ndarray) else array.transpose(0, 1) if hasattr(array, "detach") else np.asarray(array).T


def _write(result: FitResult, weight: Any, bias: Any) -> None:
    """Write w and the intercept of the fits that are finite into the parameters."""
    import torch

    w = torch.as_tensor(result.w, dtype=weight.dtype, device=weight.device)
    finite = torch.isfinite(w).all(1)
    with torch.no_grad():
        if bias is not None:
            b = torch.as_tensor(result.intercept, dtype=bias.dtype, device=bias.device)
            finite &= torch.isfinite(b)
            bias.copy_(torch.where(finite, b, bias))
        weight.copy_(torch.where(finite[:, None], w, weight))


def __dir__() -> list[str]:
    return __all__
