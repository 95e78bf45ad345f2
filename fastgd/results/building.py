"""Results from the arrays that the kernels wrote."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem


def split_parameters(problem: Problem, order: FitOrder, parameters: np.ndarray) -> tuple[Any, Any]:
    """(fits, …, D) in the order of computation -> w and intercept (or None) in the user's shapes and library."""
    restored, wrap = order.restore(parameters), problem.library.wrap
    w = restored[..., 0] if problem.one_feature else restored[..., : problem.n_features]
    return wrap(w[()]), wrap(restored[..., problem.n_features][()]) if problem.intercept else None
