"""A sweep in words: its axes, statuses and best cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..input.messages import counted
from .cells import find_best, losses_that_count, read_by
from .coordinate import short
from .status import STATUS_NAMES
from .summary import counts_of, span


def sweep_facts(result: Any) -> tuple[str, list[tuple[str, str]]]:
    """A heading, and rows (what, text)."""
    shape, n_data = np.shape(result.loss), len(result.data_dims)
    grid, data = shape[: len(shape) - n_data], shape[len(shape) - n_data :]
    size = 1 if result._one_feature else np.shape(result.w)[-1]
    features = counted(size, "feature") + ("" if result.intercept is None else " + intercept")
    of_each = f" for each of {counted(math.prod(data), 'fit')}" if data else ""
    heading = f"Sweep of {counted(math.prod(grid), 'cell')}{of_each} of {features}"
    rows = [(name, str(one)) for name, one in result.coordinates.items() if name not in result.data_dims]
    rows.append(("status", counts_of(result.status, STATUS_NAMES)))
    rows += _rates(result)
    rows.append(_best(result))
    if result.val_loss is not None:
        rows.append(("loss", span(losses_that_count(result, "loss"))))
    rows.append(("computed", result.explanation))
    return heading, rows


def _rates(result: Any) -> list[tuple[str, str]]:
    """A row that counts the rates above their stability limits, where there are any."""
    if result.stability_limit is None:
        return []
    limits = np.asarray(result.stability_limit)
    above = int((np.asarray(result.lr) > limits).sum())
    return [("rates", f"{above:,} of {int(np.isfinite(limits).sum()):,} above the stability limit")] if above else []


def _best(result: Any) -> tuple[str, str]:
    """The row of the best cell, or of the best cells of many fits."""
    by = read_by(result, None)
    losses = losses_that_count(result, by)
    what = "best " + ("loss" if by == "loss" else "val_loss")
    if np.isnan(losses).all():
        return what, "none: no cell counts"
    best: dict[str, Any] = find_best(result, by, True)
    if result.data_dims:
        return what, span(best[by])
    varying = {name: one for name, one in result.coordinates.items() if one.dim and name != "point" and name in best}
    return what, f"{best[by]:.6g}" + (" at " if varying else "") + ", ".join(f"{name} {short(best[name])}" for name in varying)
