"""Robust: what `fastgd.robust` found beside w."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..input.float_mode import computes
from ..input.messages import shown
from .table import html_table, in_line


@dataclass(frozen=True, eq=False, repr=False)
class Robust:
    """How fits were reweighted. All arrays are NumPy's; "…" are the leading axes of the result.

    Attributes
    ----------
    scale : ndarray (…)
        median(|residual|) / 0.6745 at the last w; 0 where more than half of the residuals are 0.
    iterations : ndarray (…) of int
        How many least-squares problems were solved, the first included.
    deviance : ndarray (…)
        Σ ρ(|residual| / scale) at the last w.
    weights : ndarray (…, n_samples)
        The weights of the last problem, in the dtype of the data; 0 of a sample that is missing.
    """

    scale: Any
    iterations: Any
    deviance: Any
    weights: Any

    @computes
    def __repr__(self) -> str:
        return in_line(*self._facts())

    @computes
    def _repr_html_(self) -> str:
        return html_table(*self._facts())

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        """(title, rows) for `repr` and for notebooks."""
        from .summary import span

        few = np.count_nonzero(np.asarray(self.weights) < 0.5)
        rows = [("scale", span(self.scale)), ("iterations", span(self.iterations))]
        return "Robust", [*rows, ("weights below 1/2", f"{few:,} of {np.size(self.weights):,}")]


def misfit_of_robust(robust: Any, leading: tuple[int, ...]) -> str:
    """What is wrong with a loaded Robust; '' if nothing is."""
    if robust is None:
        return ""
    for name, kind in (("scale", "f"), ("iterations", "i"), ("deviance", "f"), ("weights", "f")):
        value = getattr(robust, name)
        if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind != kind:
            return f"robust.{name} is {shown(value)}"
        shape = np.shape(value)[:-1] if name == "weights" else np.shape(value)
        if shape != leading or (name == "weights" and np.ndim(value) != len(leading) + 1):
            return f"robust.{name} has shape {np.shape(value)}, but the fits have shape {leading}"
    return ""
