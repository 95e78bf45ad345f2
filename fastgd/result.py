"""What a fit gives back: FitResult, History, State, Status."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from .arguments import broadcast, read_array
from .kernels.chunk import ALGORITHMS, COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES


class Status(IntEnum):
    """What became of one fit."""

    COMPLETED = COMPLETED  #: all epochs were run
    CONVERGED = CONVERGED  #: the loss fell by no more than its share `tol`; later rows of the history repeat
    DIVERGED = DIVERGED  #: w or the loss is no longer finite
    INVALID_DATA = INVALID_DATA  #: X or y is not finite (only under ``nan_policy="propagate"``)
    TOO_FEW_SAMPLES = TOO_FEW_SAMPLES  #: fewer samples than ``min_samples`` stayed


@dataclass(frozen=True, eq=False)
class History:
    """w and loss at recorded epochs.

    Row k of ``loss`` is the loss *at* row k of ``w``; row 0 is the start, the last row the result.

    Attributes
    ----------
    epoch : ndarray (m,)
        Which epoch each row is: 0, k, 2k, … and always the last.
    w : ndarray (…, m, n_features), or (…, m) when X was 1-D
    loss : ndarray (…, m)
    intercept : ndarray (…, m), or None without an intercept
    """

    epoch: np.ndarray
    w: np.ndarray
    loss: np.ndarray
    intercept: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a descent remembers, in its own precision: ``fit(..., state=s)`` continues bit for bit.

    Attributes
    ----------
    w : ndarray (…, n_parameters) of float64
        The parameters, the intercept last. A float32 state is exact in float64.
    slots : ndarray (…, n_slots, n_parameters) of float64
        What the update rule remembers of each parameter, for example the momentum buffer.
    products : ndarray (…, n_products) of float64
        The update rule's running products, for example beta1 to the number of updates. NaN where torch made the state and has none.
    epoch : ndarray (…) of int64
        Updates made so far.
    algorithm : ndarray (…) of int8
        Which algorithm each fit is computed by: indices into ``State.algorithm_names``.
    status : ndarray (…) of int8
        Status of each fit so far.
    optimizer : str
        Name of the update rule.
    intercept : bool
        Whether the last parameter is an intercept.
    dtype : str
        dtype of the data.
    """

    algorithm_names = ALGORITHMS

    w: np.ndarray
    slots: np.ndarray
    products: np.ndarray
    epoch: np.ndarray
    algorithm: np.ndarray
    status: np.ndarray
    optimizer: str
    intercept: bool
    dtype: str


@dataclass(frozen=True, repr=False, eq=False)
class FitResult:
    """The fits, their losses and what became of each.

    "…" are the leading axes: those of X, y and the hyperparameters, broadcast.

    Attributes
    ----------
    w : ndarray (…, n_features), or (…) when X was 1-D
    intercept : ndarray (…), or None without an intercept
    loss : ndarray (…)
        Mean of the squared residuals at w.
    epochs : ndarray (…) of int
        Epochs run by this call: until convergence, or the first row that is not finite.
    status : ndarray (…) of int8
        Values of `Status`.
    n_used : ndarray (…) of int
        Samples used.
    lr : ndarray (…) of float64
        The learning rate that was used.
    backend, algorithm : str
        What computed it. Single fits may have been computed otherwise: see ``state.algorithm``.
    explanation : str
        Why this backend and this algorithm.
    state : State
    history : History or None
    """

    w: Any
    loss: Any
    epochs: Any
    status: Any
    n_used: Any
    lr: Any
    backend: str
    algorithm: str
    explanation: str
    state: State = field(repr=False)
    intercept: Any = None
    history: History | None = None
    _one_feature: bool = False

    def predict(self, X: Any) -> np.ndarray:
        """X w + intercept of every fit.

        Parameters
        ----------
        X : array (…, n_samples, n_features); (n_samples,) where the fit had a 1-D X
            Its leading axes broadcast against those of the fits.

        Returns
        -------
        ndarray (…, n_samples)

        Raises
        ------
        ValueError
            If X has another number of features, or leading axes that do not broadcast against those of the fits.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8])
        >>> result.predict([5.0]).round(3)
        array([10.])
        """
        X = read_array(X, "X")
        w = np.asarray(self.w)
        n_last = 1 if self._one_feature else 2
        if X.ndim < n_last:
            needed = "(…, n_samples)" if self._one_feature else f"(…, n_samples, {w.shape[-1]})"
            raise ValueError(f"X must have shape {needed}, as in the fit; it has shape {X.shape}")
        if not self._one_feature and X.shape[-1] != w.shape[-1]:
            raise ValueError(f"X must have {w.shape[-1]} features (its last axis), as in the fit; it has shape {X.shape}")
        broadcast({"X": X.shape[:-n_last], "the fits": np.shape(self.loss)})
        prediction = X * w[..., None] if self._one_feature else np.matmul(X, w[..., None])[..., 0]
        return prediction if self.intercept is None else prediction + np.asarray(self.intercept)[..., None]

    def __repr__(self) -> str:
        status = np.atleast_1d(self.status).ravel()
        counts = np.bincount(status, minlength=len(Status))
        told = ", ".join(f"{count:,} {Status(code).name}" for code, count in enumerate(counts) if count)
        loss = np.asarray(self.loss, dtype=float)
        finite = loss[np.isfinite(loss)]
        losses = f"median loss {np.median(finite):.6g}" if finite.size else "no finite loss"
        return f"FitResult({status.size:,} fit{'s' * (status.size != 1)}: {told}; {losses}; {self.backend}, {self.algorithm})"
