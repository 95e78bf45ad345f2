"""Which fits there are: the leading axes of data, hyperparameters and starts, broadcast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.messages import counted, where_arrays
from ..input.options import MOST
from ..input.shapes import broadcast
from ..results.result import State
from .minibatches import MiniBatches


def order_fits(
    problem: Problem,
    shapes: dict[str, tuple[int, ...]],
    starts: dict[str, np.ndarray],
    state: State | None,
    given: Mapping[str, Any],
) -> FitOrder:
    """The order of the fits, whose leading axes are those of all these, broadcast.

    shapes: of hyperparameters, by name. starts: w0 (…, n_features) and perhaps intercept0 (…).
    given: arguments of the call, for the words of an error.
    """
    shapes = {"X and y": problem.leading, **shapes}
    shapes |= {name: values.shape[:-1] if name == "w0" else values.shape for name, values in starts.items()}
    if state is not None:
        shapes["state"] = state.epoch.shape
    try:
        shape = broadcast(shapes)
    except ValueError as error:
        given = {**getattr(given.get("optimizer"), "__dict__", {}), **given}
        raise ValueError(where_arrays(f"{error}{_advice_on_axes(shapes)}", given)) from None
    if math.prod(shape) * problem.n_parameters * 8 > MOST:
        fits, each = " x ".join(map(str, shape)), counted(problem.n_parameters, "parameter")
        raise ValueError(f"too many fits: {fits}, with {each} each, is more than 2^63 bytes")
    return FitOrder.of(shape, problem.gram_leading, problem.y.leading)


def _advice_on_axes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What to give where leading axes do not broadcast; '' where nothing is likely."""
    fits = shapes["X and y"]
    if len(fits) and shapes.get("state", fits) != fits:
        return f": the state is of {counted(math.prod(shapes['state']), 'fit')}, the data are of {math.prod(fits):,}"
    for name, shape in shapes.items():
        if name not in ("X and y", "state") and len(fits) and len(shape) == 1 and shape[0] not in (1, fits[-1]):
            return f": for each of these {name} with every fit give {name}[{', '.join([':'] + ['None'] * len(fits))}]"
    return ""


def samples_of_ridge(problem: Problem, reduction: str, batches: MiniBatches | None) -> float | None:
    """By what a ridge of the mean is multiplied; None where that differs between fits or steps."""
    if reduction == "mean":
        return 1.0
    whole = problem.given is None and not problem.may_lose_samples and not problem.is_weighted and batches is None
    return float(problem.n_samples) if whole else None
