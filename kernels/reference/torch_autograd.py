"""The reference: torch.autograd makes the gradient, torch.optim the step; no formula of ours.

1. The loss is `(residual * residual).mean()`, not `residual ** 2`: where values overflow, torch's
   `** 2` has other epochs. With weights it is `(weights * residual * residual).sum() /
   weights.sum()`.
2. X, y and the weights are copied into torch's own memory: torch warns of read-only arrays, and its
   matrix products may depend on where in memory the data begin, which in a batch is another place
   than alone.
3. The parameters of a fit are one tensor, of which w and the intercept are two leaves: on the CPU a
   NumPy view of it shows every epoch's values without asking torch.
4. A rule's state enters and leaves through `optimizer.state`: the slots, the step count, and those
   products that torch carries under the same name: NAdam's mu_product, in float32, as torch makes
   it where nobody has set another default dtype. The other products torch makes anew from the step
   count: NaN in our state. Where a state has no slot in torch (an option is off) our slot stays as
   it was.
5. An epoch on large data takes seconds: forward and backward run apart (kernels/apart.py).
6. torch refuses a scalar beyond the dtype of the data, and NAdam divides by zero where a running
   product is 1. Other backends go on, and what overflows is DIVERGED; here it is an error in words.
7. A schedule is torch's own scheduler. A descent that goes on in mid-schedule repeats its steps
   from the beginning.
8. Nothing global is changed. Grad mode, inference mode and autocast of the caller's thread are set
   aside for the call.
"""

from __future__ import annotations

import importlib.util
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..apart import LARGE, run_apart_if
from ..chunk import AUTOGRAD, TOO_FEW_SAMPLES, Chunk
from ..update_rules import UpdateRule
from .batching import Batching
from .record import Record

if TYPE_CHECKING:
    import torch


TORCHS_PRODUCTS = frozenset({"mu_product"})  # those of the table's products that optimizer.state has


def unavailable(device: str = "cpu") -> str | None:
    """Tell in a sentence why this cannot run on the device, and what would help; None if it can."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: pip install 'fastgd[torch]' (a CPU-only build of torch is enough)"
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            return f"torch {torch.__version__} finds no CUDA device for device={device!r}: device='cpu' works without one"
    return None


def optimizer_class(rule: UpdateRule) -> type[torch.optim.Optimizer]:
    """Find the class of torch.optim that has the name of the rule's class."""
    import torch

    found: type[torch.optim.Optimizer] | None = getattr(torch.optim, rule.class_name, None)
    if found is None:
        raise ValueError(f"torch.optim has no class {rule.class_name}, so backend='torch' cannot run this update rule; backend='numpy' can")
    return found


def hyperparameters(chunk: Chunk, fit: int) -> dict[str, Any]:
    """Return the optimizer's keyword arguments, by torch's names, with the types of the table."""
    defaults = chunk.rule.hyperparameters
    given = chunk.hyper[fit, : len(defaults)].tolist()  # torch derives for itself what follows in the table
    values: dict[str, Any] = {name: type(default)(value) for (name, default), value in zip(defaults.items(), given, strict=True)}
    if "beta1" in values:
        values["betas"] = (values.pop("beta1"), values.pop("beta2"))
    return values


class CannotStepError(Exception):
    """torch.optim cannot make a step that other backends can; the text says why."""


class _in_words:  # a context manager, each epoch: one of contextlib takes 2 µs
    """What torch raises of a number that it cannot use becomes a CannotStepError."""

    __slots__ = ("chunk",)

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, ZeroDivisionError):
            why = "it divides Python numbers there, and a running product is 1"
        elif isinstance(error, RuntimeError) and "without overflow" in str(error):
            why = f"lr or a hyperparameter, or what torch makes of them, is beyond {self.chunk.w_out.dtype}"
        else:
            return
        raise CannotStepError(
            f"torch.optim.{self.chunk.rule.class_name} cannot make a step: {why}; the backends 'cpu' and 'numpy' can"
        ) from None


# the first rate of a fit, and its schedule: (class of torch.optim.lr_scheduler, its parameters)
Scheduler = tuple[float, tuple[str, dict[str, Any]] | None]


def make_scheduler(optimizer: torch.optim.Optimizer, name: str, parameters: dict[str, Any]) -> Any:
    """Construct a scheduler of torch. Others that it takes are pairs of a name and parameters."""
    import torch

    values = dict(parameters)
    if "schedulers" in values:
        values["schedulers"] = [make_scheduler(optimizer, *one) for one in values["schedulers"]]
    return getattr(torch.optim.lr_scheduler, name)(optimizer=optimizer, **values)


def descend(chunk: Chunk, cancel: np.ndarray, progress: np.ndarray, device: str = "cpu", schedulers: list[Scheduler] | None = None) -> None:
    """Run the fits of a chunk, one after the other.

    cancel: (1,) int32, not 0: return. progress: (1,) int64, counts epochs done. schedulers: of each
    fit; None, for all or for one: the rates are those of the chunk.
    """
    import torch

    device_type = torch.device(device).type
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device_type, enabled=False):
        places: list[tuple[Any, ...]]
        copies: list[Any] = [None, None, None]  # of X, y and the weights of the fit before this one
        sources: list[Any] = [None, None, None]  # what they are copies of
        for fit in range(len(chunk.x_index)):
            if chunk.status[fit] == TOO_FEW_SAMPLES:
                progress[0] += chunk.epochs
                continue
            weight_index = chunk.weight_index[fit] if len(chunk.weights) else None
            places = [(index, chunk.kept_index[fit]) for index in (chunk.x_index[fit], chunk.y_index[fit], weight_index)]
            places[0] = (*places[0], chunk.center[fit : fit + 1].tobytes(), chunk.scale[fit : fit + 1].tobytes())
            if places != sources:
                for i, part in enumerate(run_apart_if(chunk.X[0].size > LARGE, chunk.samples, fit)):
                    if places[i] != sources[i]:  # data that neighbours share are copied once
                        copies[i] = None if part is None else run_apart_if(part.size > LARGE, partial(torch.tensor, part, device=device))
                sources = places
            record = Record(chunk, fit, AUTOGRAD, cancel, progress)
            X, y, weights = copies
            descend_fit(chunk, fit, X, y, weights, record, (0.0, None) if schedulers is None else schedulers[fit])
            if record.cancelled:
                return


def _begin_schedule(optimizer: torch.optim.Optimizer, scheduler: Scheduler, steps: int) -> Any:
    """Torch's scheduler after some steps; None where the rates are those of the chunk."""
    if scheduler[1] is None:
        return None
    schedule = make_scheduler(optimizer, *scheduler[1])
    optimizer.step()  # without gradients: it changes nothing, and torch wants it before the scheduler's first step
    for _ in range(steps):
        schedule.step()
    return schedule


def descend_fit(
    chunk: Chunk, fit: int, X: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, record: Record, scheduler: Scheduler
) -> None:
    """Run one fit: X (n, d), y (n,) and the weights (n,), if there are any, on the device."""
    import torch

    d = X.shape[1]
    parameters = torch.tensor(chunk.w[fit], dtype=X.dtype, device=X.device)  # (D,)
    w = parameters[:d].requires_grad_()
    b = parameters[d].requires_grad_() if chunk.intercept else None
    leaves = [w] if b is None else [w, b]
    places: list[Any] = [slice(0, d), d]  # of the leaves among the parameters
    with _in_words(chunk):
        groups: list[dict[str, Any]] = [{"params": [leaf]} for leaf in leaves] if chunk.free_intercept else [{"params": leaves}]
        for last in groups[1:]:
            last["weight_decay"] = 0.0
        optimizer = optimizer_class(chunk.rule)(groups, lr=scheduler[0], foreach=False, **hyperparameters(chunk, fit))
    batching = Batching(chunk, fit, X.shape[0])
    record.steps = batching.steps
    done = chunk.steps[fit] if batching.per_step or chunk.batches is None else batching.passes
    schedule = _begin_schedule(optimizer, scheduler, int(done))
    if chunk.steps[fit] > 0 or not TORCHS_PRODUCTS.isdisjoint(chunk.rule.products):
        for leaf, place in zip(leaves, places, strict=False):
            state = optimizer.state[leaf]
            for name, slot in zip(chunk.rule.slots, chunk.slots[fit], strict=True):
                state[name] = torch.tensor(slot[place], dtype=X.dtype, device=X.device)
            state["step"] = torch.tensor(float(chunk.steps[fit]), dtype=torch.float32)  # SGD does not look at it
            for name, product in zip(chunk.rule.products, chunk.products[fit].tolist(), strict=True):
                if name in TORCHS_PRODUCTS:
                    state[name] = torch.tensor(product, dtype=torch.float32)

    lr = chunk.lr[:, fit].tolist()  # one rate, or one per epoch: that of an epoch is lr[epoch % len(lr)]
    of_the_sum = chunk.reduction == "sum"
    on_cpu = parameters.device.type == "cpu"
    seen = parameters.cpu()  # on the CPU the parameters themselves
    seen_w = seen[:d].numpy()
    seen_b = 0.0 if b is None else seen[d].numpy()
    large = X.numel() > LARGE

    def forward(X: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        prediction = X @ w if b is None else X @ w + b
        residual = prediction - y
        if weights is None:
            squares = residual * residual
            return squares.mean(), squares
        squares = weights * residual * residual
        return squares.sum() / weights.sum(), squares

    for epoch in range(chunk.epochs + 1):
        loss, squares = run_apart_if(large, forward, X, y, weights)
        if not on_cpu:
            seen.copy_(parameters)
        if not record.goes_on(epoch, loss.item(), seen_w, seen_b):
            break
        for step, rows in enumerate(batching.of_epoch(epoch)):
            if rows is not None:
                chosen = torch.from_numpy(rows).to(X.device)
                own = None if weights is None else weights[chosen]
                loss, squares = forward(X[chosen], y[chosen], own)
                batching.add(loss.item(), len(rows) if own is None else own.sum().item())
            for leaf in leaves:
                leaf.grad = None
            run_apart_if(large, (squares.sum() if of_the_sum else loss).backward)
            begins = step == 0 or batching.per_step  # a time for which there is a rate
            place = epoch * batching.steps + step if batching.per_step else epoch
            if schedule is None:
                for group in optimizer.param_groups:
                    group["lr"] = lr[place % len(lr)]
            elif begins and place > 0:
                schedule.step()
            with _in_words(chunk):
                optimizer.step()

    if not record.cancelled:
        for leaf, place in zip(leaves, places, strict=False):
            state = optimizer.state[leaf]
            for name, slot in zip(chunk.rule.slots, chunk.slots[fit], strict=True):
                if name in state:
                    slot[place] = state[name].cpu().numpy()
        if chunk.steps[fit] > 0:
            for index, name in enumerate(chunk.rule.products):
                chunk.products[fit, index] = optimizer.state[leaves[0]][name].item() if name in TORCHS_PRODUCTS else math.nan
