"""Moments in place of X and y: which options go with them, and the problem that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.problem import Problem
from ..input.messages import shown
from ..input.options import read_count
from ..kernels.chunk import DIVERGED, STREAM
from ..results.moments import Moments, misfit
from ..results.result import State
from .backends import BACKENDS, Backend
from .start import codes_of

# options that `compress` was told already: {name: default}
_TOLD = {"y": None, "sample_weight": None, "nodata": None, "dtype": None, "nan_policy": "raise", "intercept": False}


def is_compressed(X: Any) -> bool:
    """Whether these are Moments."""
    return isinstance(X, Moments)


def read_moments(arguments: Mapping[str, Any]) -> Problem:
    """The problem of Moments; raise where the arguments of `fit` or `solve` do not go with them."""
    moments = arguments["X"]
    for name, default in _TOLD.items():
        given = arguments[name]
        own = getattr(moments, name, None)
        if given is default or (isinstance(given, str | bool) and given == own):
            continue
        had = "" if own is None else f" (these have {name}={own!r})"
        raise ValueError(f"X is Moments, so {name} must be given to fastgd.compress, not here: leave {name}={shown(given)} out{had}")
    if wrong := misfit(moments):
        raise ValueError(f"X is Moments that fastgd.compress did not make: {wrong}")
    default_least = moments.n_parameters if moments.nan_policy == "omit" else 1
    least = default_least if arguments["min_samples"] is None else read_count(arguments["min_samples"], "min_samples", 1)
    return Problem.of_moments(moments, least)


def algorithm_on_moments(asked: Any, backend: Backend, state: State | None) -> Any:
    """The option `algorithm` where there are only moments; raise where samples are needed."""
    if not backend.takes_moments:
        takers = " or ".join(repr(row.name) for row in BACKENDS.values() if row.takes_moments)
        raise ValueError(f"X is Moments, and backend {backend.name!r} descends on samples: give backend={takers}, or X and y")
    if isinstance(asked, str) and asked == "stream":
        raise ValueError("X is Moments, whose samples are gone: algorithm='stream' needs X and y")
    codes, statuses = (STREAM, DIVERGED) if state is None else codes_of(state)
    if np.any((codes == STREAM) & (statuses != DIVERGED)):
        raise ValueError("X is Moments, whose samples are gone, and fits of state go on by algorithm 'stream': give X and y")
    return "moments" if isinstance(asked, str) and asked == "auto" else asked
