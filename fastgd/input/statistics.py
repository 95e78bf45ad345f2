"""The option `stats` of `fit` and `solve`: which standard errors, and what the weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from .annotations import Covariance, WeightsAre
from .messages import shown
from .options import name_among, read_choice

PLAIN, CLUSTER = "nonrobust", "cluster"
COVARIANCES, WEIGHTS = get_args(Covariance), get_args(WeightsAre)
_OPTIONS = ("covariance", "clusters", "weights_are")
_NEEDED = "True, False, the name of a covariance such as 'HC3', or a mapping such as {'covariance': 'HC3'}"


@dataclass(frozen=True)
class StatsOptions:
    """What `stats` asks for, checked as far as that can be done without the data."""

    covariance: str = PLAIN
    clusters: np.ndarray | None = None  # (…, n_samples) int64: numbers of the clusters
    n_clusters: int = 0
    weights_are: str = WEIGHTS[0]

    @property
    def needs_samples(self) -> bool:
        """Whether the samples are read again, for standard errors that do not trust σ²."""
        return self.covariance != PLAIN


def read_stats(value: Any) -> StatsOptions | None:
    """The option `stats`; None where no statistics are asked for."""
    if isinstance(value, bool | np.bool_):
        return StatsOptions() if value else None
    if isinstance(value, str):
        value = {"covariance": value}
    if not isinstance(value, Mapping):
        raise TypeError(f"stats must be {_NEEDED}, not {shown(value)}")
    for name in value:
        if name_among(name, _OPTIONS) is None:
            raise ValueError(f"stats has no option {shown(name)}; it may have {', '.join(_OPTIONS)}")
    clusters = value.get("clusters")
    covariance = read_choice(value.get("covariance", PLAIN if clusters is None else CLUSTER), "the covariance of stats", COVARIANCES)
    weights_are = read_choice(value.get("weights_are", WEIGHTS[0]), "weights_are of stats", WEIGHTS)
    if (covariance == CLUSTER) != (clusters is not None):
        raise ValueError(
            "stats with covariance='cluster' needs clusters, a label for each sample"
            if clusters is None
            else f"stats has clusters, which go with covariance='cluster', not {covariance!r}"
        )
    if clusters is None:
        return StatsOptions(covariance, weights_are=weights_are)
    numbers, count = _read_clusters(clusters)
    return StatsOptions(covariance, numbers, count, weights_are)


def _read_clusters(labels: Any) -> tuple[np.ndarray, int]:
    """(numbers 0, 1, … in place of labels, how many there are)."""
    needed = "clusters of stats must be an array of whole numbers or texts, (..., n_samples), such as a column of a data frame"
    try:
        array = np.asarray(labels)
        if array.dtype.kind == "O":
            if not all(isinstance(label, str) for label in array.ravel().tolist()):
                raise TypeError
            array = array.astype(str)
    except Exception:  # whatever an __array__ may raise
        raise TypeError(f"{needed}, not {shown(labels)}") from None
    if array.dtype.kind not in "iubUSM" or array.ndim == 0 or (array.dtype.kind == "M" and np.isnat(array).any()):
        raise TypeError(f"{needed}; it has dtype {array.dtype} and shape {array.shape}")
    if isinstance(labels, np.ma.MaskedArray) and np.ma.getmaskarray(labels).any():
        raise ValueError("clusters of stats are masked in places: each sample needs a cluster")
    found, numbers = np.unique(array, return_inverse=True)
    return numbers.reshape(array.shape).astype(np.int64), len(found)
