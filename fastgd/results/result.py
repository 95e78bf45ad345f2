"""What a fit gives back: FitResult, History, State, Status."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from ..input.arrays import arrive, broadcast, to_cupy
from ..kernels.chunk import ALGORITHMS, COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES


class Status(IntEnum):
    """What became of one fit."""

    COMPLETED = COMPLETED  #: all epochs were run
    CONVERGED = CONVERGED  #: the loss fell by at most tol · loss; later history rows repeat
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
    """Everything that a descent remembers, in its own precision.

    ``fit(..., state=s)`` continues it bit for bit.

    Attributes
    ----------
    w : ndarray (…, n_parameters) of float64
        The parameters, the intercept last. A float32 state is exact in float64.
    slots : ndarray (…, n_slots, n_parameters) of float64
        What the update rule remembers of each parameter, for example the momentum buffer.
    products : ndarray (…, n_products) of float64
        The update rule's running products, for example beta1 to the number of updates. NaN where
        torch made the state and has none.
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


_PYTHON = platform.python_version()


def _versions() -> dict[str, str]:
    """Versions of fastgd, Python, and the libraries that are loaded."""
    versions = {"python": _PYTHON}
    for name in ("fastgd", "numpy", "numba", "torch", "cupy"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            versions[name] = str(version)
    return versions


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
        Values of `Status`; a `Status` itself for a single fit.
    n_used : ndarray (…) of int
        Samples used.
    lr : ndarray (…) of float64
        The learning rate that was used; NaN from `solve`.
    backend, algorithm : str
        What computed it. Single fits may have been computed otherwise: see ``state.algorithm``.
    explanation : str
        Why this backend and this algorithm.
    state : State
    history : History or None
    rank : ndarray (…) of int, or None
        Only from `solve`: rank of the system that was solved; 0 where the data are invalid.
    condition : ndarray (…) of float64, or None
        Only from `solve`: how much a relative change of the data may be enlarged in w; see there.
    ill_conditioned : ndarray (…) of bool, or None
        Only from `solve`: whether the data determine fewer than half of their own digits of w; see
        there.
    versions : dict
        Versions of fastgd, Python and the libraries that were loaded when the fit was made.
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
    rank: Any = None
    condition: Any = None
    ill_conditioned: Any = None
    versions: dict[str, str] = field(default_factory=_versions)
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
            If X has another number of features, or leading axes that do not broadcast against those
            of the fits.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8])
        >>> result.predict([5.0]).round(3)
        array([10.])
        """
        arrived = arrive(X=X, w=self.w)
        X, w, intercept = arrived.read("X"), self.w, self.intercept
        if arrived.device is None:
            w, intercept = np.asarray(w), None if intercept is None else np.asarray(intercept)
        else:
            w, intercept = to_cupy(w, "w"), None if intercept is None else to_cupy(intercept, "intercept")
        n_last = 1 if self._one_feature else 2
        if X.ndim < n_last:
            needed = "(…, n_samples)" if self._one_feature else f"(…, n_samples, {w.shape[-1]})"
            raise ValueError(f"X must have shape {needed}, as in the fit; it has shape {X.shape}")
        if not self._one_feature and X.shape[-1] != w.shape[-1]:
            raise ValueError(f"X must have {w.shape[-1]} features (its last axis), as in the fit; it has shape {X.shape}")
        broadcast({"X": X.shape[:-n_last], "the fits": np.shape(self.loss)})
        with np.errstate(over="ignore", invalid="ignore"):  # a fit may have diverged
            prediction = X * w[..., None] if self._one_feature else (X @ w[..., None])[..., 0]
            return arrived.library.wrap(prediction if intercept is None else prediction + intercept[..., None])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file; `fastgd.load` makes the same result of it, bit for bit.

        The file is an uncompressed ``.npz``: ``numpy.load`` reads its arrays (``w``, ``loss``,
        ``state.w``, ``history.loss``, …). It holds no pickles, and a checksum of every byte. It
        appears whole or not at all: when the process is killed, an older file of that name stays as
        it was. Arrays of another library are saved, and loaded, as NumPy's.

        Parameters
        ----------
        path : str or path
            Where to, exactly: no ending is added. ``.npz`` is a good one.

        Raises
        ------
        OSError
            When the file cannot be written; an older one of that name stays.
        ValueError
            When there is something of that name that is not an ordinary file.

        Examples
        --------
        >>> import fastgd, numpy, os, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = os.path.join(folder.name, "line.npz")
        >>> X, y = [1.0, 2, 3, 4], [2.0, 4, 6, 8]
        >>> result = fastgd.fit(X, y, lr=0.1, epochs=20)
        >>> result.save(path)
        >>> again = fastgd.load(path)
        >>> bool(again.w == result.w)
        True
        >>> further = fastgd.fit(X, y, lr=0.1, epochs=20, state=again.state)
        >>> with numpy.load(path) as arrays:
        ...     round(float(arrays["w"]), 3)
        2.0
        >>> folder.cleanup()
        """
        from .file_format import write_file

        write_file(path, self)

    def summary(self, features: Sequence[str] | None = None) -> str:
        """What became of the fits, in a few lines.

        Parameters
        ----------
        features : sequence of str, optional
            Names of the features; default w_0, w_1, …

        Returns
        -------
        str
            Number of fits, statuses, losses, epochs, learning rates, and what computed it and why;
            w and the intercept of a single fit.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([[1.0], [2], [3], [4]], [2.0, 4, 6, 8], lr=0.1, epochs=5)
        >>> print(result.summary(["dose"]))  # doctest: +ELLIPSIS
        1 fit of 1 feature by sgd
          status     COMPLETED
          dose       2.0625
          loss       0.0292969
          epochs     5
          lr         0.1
          samples    4
          computed   cpu: the data are in the computer's memory; moments: n_samples 4 > ...
        """
        from .summary import summarize

        return summarize(self, _STATUS_NAMES, features)

    def to_frame(self, library: str = "pandas", features: Sequence[str] | None = None) -> Any:
        """A data frame with one row per fit, through narwhals (``pip install 'fastgd[frames]'``).

        Parameters
        ----------
        library : str, default "pandas"
            Which kind: "pandas", "polars", "pyarrow", or another one that narwhals makes from
            columns.
        features : sequence of str, optional
            Names of the features, for the columns ``w_<name>``; default w_0, w_1, …

        Returns
        -------
        data frame of that library
            Columns: the place among the leading axes (``fit``, or ``axis_0``, ``axis_1``, …; none
            for a single fit), ``w_0`` … (``w`` when X was 1-D), ``intercept``, and ``loss``,
            ``epochs``, ``status`` (its name), ``n_used``, ``lr``.

        Raises
        ------
        ImportError
            When narwhals or the library is not installed.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=[0.1, 0.5], epochs=100)
        >>> result.to_frame("polars").columns
        ['fit', 'w', 'loss', 'epochs', 'status', 'n_used', 'lr']
        >>> list(result.to_frame()["status"])
        ['COMPLETED', 'COMPLETED']
        """
        from .frame import make_frame

        return make_frame(self, _STATUS_NAMES, library, features)

    def plot_loss(self, ax: Any = None) -> Any:
        """Draw the loss of every recorded epoch on a log scale (``pip install 'fastgd[plot]'``).

        Up to 100 fits are drawn as lines; of more, the median and the bands that hold 50 % and 90 %
        of them. A loss of zero or that is not finite has no place on a log scale: its line ends
        there, and it counts as above all others in the bands.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), made without pyplot.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            When the fit kept no history.
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> X, y, rates = [1.0, 2, 3, 4], [2.0, 4, 6, 8], [0.01, 0.1]
        >>> axes = fastgd.fit(X, y, lr=rates, epochs=20, history=True).plot_loss()
        >>> axes.get_ylabel()
        'loss (mean squared residual)'
        """
        from .plotting import plot_loss

        return plot_loss(self, ax)

    def plot_fit(self, X: Any, y: Any, fit: int | tuple[int, ...] = 0, ax: Any = None) -> Any:
        """Draw one fit beside its data.

        For one feature the data and the line, for several predicted against observed values.

        Parameters
        ----------
        X, y : array
            The data, as they were given to `fit`, or those of this one fit alone.
        fit : int or tuple of int, default 0
            Which fit: its place in the flattened leading axes, or its index along each.
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), made without pyplot.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError, IndexError
            When X or y are not of the fit's shape, or there is no such fit.
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> X, y = [1.0, 2, 3, 4], [2.1, 3.9, 6.2, 7.8]
        >>> axes = fastgd.fit(X, y, intercept=True, epochs=500).plot_fit(X, y)
        >>> len(axes.lines)
        2
        """
        from .plotting import plot_fit

        return plot_fit(self, X, y, fit, ax)

    def __repr__(self) -> str:
        from .summary import short

        return short(self, _STATUS_NAMES)

    def _repr_html_(self) -> str:
        from .summary import html_table

        return html_table(self, _STATUS_NAMES)


_STATUS_NAMES = tuple(status.name for status in Status)
