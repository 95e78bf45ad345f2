"""fastgd.torch.fit_linear: a torch.nn.Linear that is trained, beside a loop of torch."""

from __future__ import annotations

import pytest
import torch

import fastgd
import fastgd.torch
from fastgd.torch import fit_linear

GENERATOR = torch.Generator().manual_seed(20)
X = torch.randn(60, 3, generator=GENERATOR, dtype=torch.float64)
Y = X @ torch.randn(3, 2, generator=GENERATOR, dtype=torch.float64) + 4


def layer(outputs=2, dtype=torch.float64, **options):
    torch.manual_seed(7)
    return torch.nn.Linear(3, outputs, dtype=dtype, **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_ends_where_a_loop_of_torch_does(bias, momentum):
    """From the layer's own start; each output is a fit of its own."""
    linear, looped = layer(bias=bias), layer(bias=bias)
    optimizer = torch.optim.SGD(looped.parameters(), lr=0.05, momentum=momentum)
    for _ in range(30):
        optimizer.zero_grad()
        ((looped(X) - Y) ** 2).mean(0).sum().backward()
        optimizer.step()
    result = fit_linear(linear, X, Y, optimizer=fastgd.SGD(lr=0.05, momentum=momentum), epochs=30)
    assert torch.allclose(linear.weight, looped.weight, rtol=1e-12, atol=1e-14)  # 30 steps of some 60 roundings of 2^-53
    assert torch.equal(linear.weight, result.w)
    assert (linear.bias is None) is not bias
    if bias:
        assert torch.allclose(linear.bias, looped.bias, rtol=1e-12, atol=1e-14)
        assert torch.equal(linear.bias, result.intercept)
    assert linear.weight.requires_grad
    assert isinstance(linear.weight, torch.nn.Parameter)


def test_one_output_and_its_dtype():
    linear = layer(1, torch.float32)
    result = fit_linear(linear, X.float(), Y[:, 0].float(), lr=0.1, epochs=200)
    assert result.w.dtype == torch.float32
    assert linear.bias.item() == pytest.approx(4, abs=1e-4)
    other = layer(1, torch.float32)
    fit_linear(other, X.float(), Y[:, :1].float(), lr=0.1, epochs=200)
    assert torch.equal(other.weight, linear.weight)
    numbers = layer(1, torch.float32)
    fit_linear(numbers, X.float().numpy(), Y[:, 0].float().tolist(), lr=0.1, epochs=200)
    assert torch.equal(numbers.weight, linear.weight)


@pytest.mark.parametrize("bias", [True, False])
def test_an_output_that_overflows_keeps_its_weights(bias):
    linear, before = layer(bias=bias), layer(bias=bias)
    result = fit_linear(linear, X, Y, lr=[0.1, 1e3], epochs=400)
    assert [fastgd.Status(code).name for code in result.status.tolist()] == ["COMPLETED", "DIVERGED"]
    assert torch.equal(linear.weight[1], before.weight[1])
    assert not bias or linear.bias[1] == before.bias[1]
    assert torch.equal(linear.weight[0], result.w[0])


def test_validation_data_and_a_state():
    linear = layer()
    options = {"lr": 0.01, "X_val": X[:20], "y_val": Y[:20]}
    half = fit_linear(linear, X, Y, epochs=10, **options)
    whole = fit_linear(linear, X, Y, epochs=15, state=half.state, **options)
    assert whole.val_loss.shape == (2,)
    alone = layer()
    assert torch.equal(fit_linear(alone, X, Y, epochs=25, **options).w, whole.w)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fit_linear(torch.nn.Sequential(layer()), X, Y), TypeError, "must be a torch.nn.Linear, not .*give the one to train"),
        (lambda: fit_linear(torch.nn.LazyLinear(2), X, Y), ValueError, "call it once"),
        (lambda: fit_linear(layer(dtype=torch.float16), X, Y), TypeError, r"parameters of torch.float16.*linear.float\(\)"),
        (lambda: fit_linear(torch.nn.utils.parametrizations.weight_norm(layer()), X, Y), ValueError, "computed from other parameters"),
        (lambda: fit_linear(layer(), X, Y[:, 0]), ValueError, r"2 outputs, so y must be \(n_samples, 2\), not \(60,\)"),
        (lambda: fit_linear(layer(1), X, Y), ValueError, r"1 output, so y must be \(n_samples, 1\) or \(n_samples,\), not \(60, 2\)"),
        (lambda: fit_linear(layer(), X, Y, w0=0), TypeError, "takes no w0: the descent begins at the weights of the layer"),
        (lambda: fit_linear(layer(), X[:, :2], Y, lr=0.1), ValueError, "w0"),
        (lambda: fit_linear(layer(), X, Y, epoch=3), TypeError, "epochs"),
    ],
)
def test_what_does_not_fit_is_told_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()
