"""What `fit` and `solve` return: FitResult, with History and State."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..input.annotations import AnyArray
from ..input.arrays import arrive
from ..input.float_mode import computes, why_blas_differs
from ..input.reading import check_names
from ..input.shapes import broadcast
from ..input.sharing import to_cupy
from ..input.wrong_names import helps_with_keywords, why_no_attribute
from ..kernels.chunk import ALGORITHMS
from ..kernels.forks import lapack_lock
from .curvatures import Curvatures
from .lookups import INSTEAD
from .pictures import Pictures
from .robust import Robust
from .statistics import Statistics
from .table import html_table, in_line


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """w and loss of m recorded epochs.

    Row i of ``loss`` is the loss *at* row i of ``w``; row 0 is the start, the last row the result.

    Attributes
    ----------
    epoch : ndarray (m,) of int
        The epoch of each row: 0, k, 2k, … for ``history=k``, and always the last.
    w : ndarray (…, m, n_features), or (…, m) when X was 1-D
        Weights, in the dtype of the data.
    loss : ndarray (…, m)
        Mean of the squared residuals, in the dtype of the data.
    intercept : ndarray (…, m), or None without an intercept
        Intercept, in the dtype of the data.
    val_loss : ndarray (…, m), or None without validation data
        Loss of the validation data at the same row of ``w``.
    batch_loss : ndarray (…, epochs), or None without mini-batches
        Mean of the losses of the batches of each epoch, each before its step: of an epoch
        ``sum(loss * size) / sum(size)``, where the size of a batch is its number of samples, with
        weights their sum. NaN of epochs that were not run.
    """

    epoch: NDArray[np.int64]
    w: Any  # of the library of the data, like loss and intercept
    loss: Any
    intercept: Any = None
    val_loss: Any = None
    batch_loss: Any = None

    @computes
    def __repr__(self) -> str:
        from .summary import history_facts

        return in_line(*history_facts(self))

    @computes
    def _repr_html_(self) -> str:
        from .summary import history_facts

        return html_table(*history_facts(self))


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """Everything that gradient descent needs to go on, without rounding.

    ``fit(..., state=state)`` continues it bit for bit.

    Attributes
    ----------
    w : ndarray (…, n_parameters) of float64
        The parameters, the intercept last. A float32 state is exact in float64.
    slots : ndarray (…, n_slots, n_parameters) of float64
        What the update rule remembers of each parameter, for example the momentum buffer.
    products : ndarray (…, n_products) of float64
        The update rule's running products, for example beta1 to the power of the number of updates.
        NaN where backend "torch" made the state, and torch.optim does not have them.
    epoch : ndarray (…) of int64
        Number of updates made so far.
    algorithm : ndarray (…) of int8
        The algorithm of each fit, as an index into ``State.algorithm_names``.
    status : ndarray (…) of int8
        `Status` of each fit so far.
    optimizer : str
        Name of the update rule.
    intercept : bool
        Whether the last parameter is an intercept.
    dtype : str
        dtype of the data: "float32" or "float64".
    initial_excess : ndarray (…) of float64
        Where ``tol`` counts from: the objective at the start of the first call, less its least
        value, both on the data of that call. NaN where it was not computed.
    center, scale : ndarray (…, n_features) of float64, or None
        Of standardised fits, whose w here is that of the features (x − center) / scale.
    tol : float, or None
        The ``tol`` of the call that made the state: what fits that are CONVERGED have met. With a
        smaller one they go on. None without one, and where it is not known.
    passes, seed : ndarray (…) of int64, or None without mini-batches
        Number of epochs so far, and the seed of their orders.
    """

    algorithm_names: ClassVar[tuple[str, ...]] = ALGORITHMS

    w: NDArray[np.float64]
    slots: NDArray[np.float64]
    products: NDArray[np.float64]
    epoch: NDArray[np.int64]
    algorithm: NDArray[np.int8]
    status: NDArray[np.int8]
    optimizer: str
    intercept: bool
    dtype: str
    initial_excess: np.ndarray | None = None  # None in files of older versions
    center: np.ndarray | None = None
    scale: np.ndarray | None = None
    tol: float | None = None
    passes: np.ndarray | None = None
    seed: np.ndarray | None = None

    @computes
    def __repr__(self) -> str:
        from .summary import state_facts

        return in_line(*state_facts(self))

    @computes
    def _repr_html_(self) -> str:
        from .summary import state_facts

        return html_table(*state_facts(self))


_PYTHON = platform.python_version()


def versions_here() -> dict[str, str]:
    """Versions of Python, fastgd, and the libraries that are imported."""
    versions = {"python": _PYTHON}
    for name in ("fastgd", "numpy", "numba", "torch", "cupy"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            versions[name] = str(version)
    return versions


def _nothing() -> None:
    return None


@dataclass(frozen=True, repr=False, eq=False)
class FitResult(Pictures):
    """The fits of one call: w, loss and status of each, and how they were computed.

    "…" are the leading axes: those of X, y and the hyperparameters, broadcast. All arrays but
    those of ``state`` are of the library of the data.

    Attributes
    ----------
    w : ndarray (…, n_features), or (…) when X was 1-D
        Weights, in the dtype of the data.
    intercept : ndarray (…), or None without an intercept
        Intercept, in the dtype of the data.
    loss : ndarray (…)
        Mean of the squared residuals at w (with sample weights, their weighted mean).
    epochs : ndarray (…) of int
        Epochs run by this call: all, or those until convergence, the first number that is not
        finite, or an early stop.
    status : ndarray (…) of int8
        Values of `Status`; a `Status` itself for a single fit. Both print as names.
    excess_loss : ndarray (…), or None
        By how much the loss at w, with the penalty of a coupled ``weight_decay``, is above its
        least value, in the dtype of the data. None with excess_loss=False and no tol, or with
        maximize; NaN where it was not computed.
    n_used : ndarray (…) of int
        Number of kept samples.
    lr : ndarray (…) of float64
        The learning rate that was used, with a schedule the one that it begins with (torch's
        initial_lr); NaN from `solve`.
    backend, algorithm : str
        What computed the fits. A fit may have another algorithm: see ``state.algorithm``.
    explanation : str
        Why this backend and this algorithm were chosen.
    state : State
        Continues the fits: ``fit(..., state=result.state)``.
    history : History or None
        w and loss of recorded epochs; None without the option ``history``.
    val_loss : ndarray (…), or None without validation data
        Mean of the squared residuals of the validation data at w; NaN where w is not finite.
    best_epoch : ndarray (…) of int, or None without validation data
        The last epoch that improved val_loss, which w is of with ``restore_best``; 0 where none
        did.
    center, scale : ndarray (…, n_features), or None without ``standardize``
        The descent was made on the features (x − center) / scale, in the dtype of the data; without
        a feature axis when X was 1-D.
    rank : ndarray (…) of int, or None
        Only from `solve`: rank of the matrix that was solved; 0 where the data are invalid.
    condition : ndarray (…) of float64, or None
        Only from `solve`: collinearity of the columns of X, ≥ 1. A relative change of the data may
        change w by up to about this factor more. NaN where the data are invalid.
    ill_conditioned : ndarray (…) of bool, or None
        Only from `solve`: whether a change of the data in their last digit may change more than
        half of the digits of w, or the rank is below the number of parameters.
    stats : Statistics or None
        Standard errors, t, p, R² and the rest: with the option ``stats``.
    robust : Robust or None
        Only from `robust`: scale, iterations and weights.
    hyperparameters : dict of str to ndarray of float64
        The values of the update rule by name, without lr, which broadcast to "…"; a switch is 0
        or 1. Read-only. Empty in files of older versions.
    features : tuple of str, or None
        Names of the features: of the columns of X, where it was a data frame with text for names.
    versions : dict of str to str
        Versions of Python, fastgd and the libraries that were imported when the fits were made.
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
    center: Any = None
    scale: Any = None
    rank: Any = None
    condition: Any = None
    ill_conditioned: Any = None
    excess_loss: Any = None
    val_loss: Any = None
    best_epoch: Any = None
    stats: Statistics | None = None
    robust: Robust | None = None
    hyperparameters: dict[str, np.ndarray] = field(default_factory=dict)
    features: tuple[str, ...] | None = None
    versions: dict[str, str] = field(default_factory=versions_here)
    _one_feature: bool = False
    _start: str = ""  # where the descent began: "zero", "given", "state"; "": not known
    _penalised: bool = True  # the objective may be more than the loss
    _scheduled: bool = False  # a schedule moved the rate
    # of some fits whose end is to be explained; no attribute of the class: `__getattr__` makes them
    _curvatures: Curvatures | None = field(default_factory=_nothing)

    @helps_with_keywords
    @computes
    def predict(self, X: AnyArray) -> Any:
        """Predict y of new samples: X w + intercept, for every fit.

        Parameters
        ----------
        X : array (…, n_samples, n_features); (…, n_samples) where the fit had a 1-D X
            Features of the new samples; leading axes broadcast against those of the fits.

        Returns
        -------
        ndarray (…, n_samples)
            Predictions, in the library of X and w.

        Raises
        ------
        ValueError
            When X has another number of features, is a data frame with other columns than that of
            the fit, or in another order, or has leading axes that do not broadcast against those of
            the fits.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8])
        >>> result.predict([5.0]).round(3)
        array([10.])
        """
        check_names(X, "X", self.features)
        arrived = arrive(X=X, w=self.w)
        samples, w, intercept = arrived.read("X").filled(), self.w, self.intercept
        if arrived.device is None:
            w, intercept = np.asarray(w), None if intercept is None else np.asarray(intercept)
        else:
            w, intercept = to_cupy(w, "w"), None if intercept is None else to_cupy(intercept, "intercept")
        n_last = 1 if self._one_feature else 2
        if samples.ndim < n_last:
            needed = "(..., n_samples)" if self._one_feature else f"(..., n_samples, {w.shape[-1]})"
            raise ValueError(f"X must have shape {needed}, as in the fit; it has shape {samples.shape}")
        if not self._one_feature and samples.shape[-1] != w.shape[-1]:
            raise ValueError(f"X must have {w.shape[-1]} features (its last axis), as in the fit; it has shape {samples.shape}")
        broadcast({"X": samples.shape[:-n_last], "the fits": np.shape(self.loss)})
        if self._one_feature:
            prediction = samples * w[..., None]
        elif arrived.device is None and why_blas_differs():  # NumPy's own loops do without it
            prediction = np.einsum("...nd,...d->...n", samples, w)
        else:
            with lapack_lock():
                prediction = (samples @ w[..., None])[..., 0]
        return arrived.library.wrap(prediction if intercept is None else prediction + intercept[..., None])

    @helps_with_keywords
    @computes
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to one file, which `fastgd.load` reads bit for bit.

        The file is an uncompressed ``.npz``: ``numpy.load`` reads its arrays (``w``, ``loss``,
        ``state.w``, ``history.loss``, …). It holds no pickles, and a checksum of every byte. It
        appears whole or not at all: when the process is killed, an older file of that name stays as
        it was. Arrays of other libraries are saved as NumPy arrays.

        Parameters
        ----------
        path : str or path
            Name of the file. ``.npz`` is added where it does not end so, as by ``numpy.savez``.

        Raises
        ------
        OSError
            When the file cannot be written; an older one of that name stays.
        ValueError
            When the name belongs to something that is not an ordinary file.

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
        from .file_format import with_ending, write_file

        write_file(with_ending(path), self)

    @helps_with_keywords
    @computes
    def summary(self, features: Sequence[str] | None = None) -> str:
        """Describe the fits in a few lines of text.

        Parameters
        ----------
        features : sequence of str, optional
            Names of the features; default ``features``, or w_0, w_1, … (w when X was 1-D).

        Returns
        -------
        str
            Number of fits, statuses, losses, epochs, learning rates, number of samples, backend and
            algorithm with the reason; of a single fit w and the intercept, too, with ``stats`` each
            with its standard error, t and, where SciPy is installed, p. Where the excess
            loss is known: how large it is, how many fits are more than 1 % above the least loss
            (excess more than 1 % of the loss, and above what the dtype resolves of the excess that
            the fit began with), and how many ended above the loss that they began with. Of those
            of them that are among the up to 512 fits that are looked at, spread evenly over the
            call, and ran on moments on the CPU: the condition λ_max/λ_min of the Hessian of the
            loss, and how many rates of SGD are above the stability limit 2/λ_max (2 (1 +
            momentum)/λ_max; a coupled ``weight_decay`` adds to λ_max).

        Raises
        ------
        TypeError, ValueError
            When ``features`` are not as many different names as there are features.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([[1.0], [2], [3], [4]], [2.0, 4, 6, 8], lr=0.1, epochs=5)
        >>> print(result.summary(["dose"]))  # doctest: +ELLIPSIS
        1 fit of 1 feature by sgd
          status     COMPLETED
          dose       2.0625
          loss       0.0292969
          excess     0.0292969
          note       more than 1 % above the least loss: give more epochs, or use solve
          epochs     5
          lr         0.1
          samples    4
          computed   cpu: the data are in the computer's memory; moments: n_samples 4 > ...
        """
        from .summary import summarize

        return summarize(self, features)

    @helps_with_keywords
    @computes
    def to_frame(self, library: str = "pandas", features: Sequence[str] | None = None) -> Any:
        """A data frame with one row per fit, through narwhals (``pip install 'fastgd[frames]'``).

        Parameters
        ----------
        library : str, default "pandas"
            Library of the data frame: "pandas", "polars", "pyarrow", or another one that narwhals
            can make from columns.
        features : sequence of str, optional
            Names of the features, for the columns ``w_<name>``; default those of the attribute
            ``features``, or else w_0, w_1, … (w when X was 1-D).

        Returns
        -------
        data frame of that library
            Columns: the index along the leading axes (``fit``, or ``axis_0``, ``axis_1``, …; none
            for a single fit), ``w_0`` … (``w`` when X was 1-D), ``intercept``, and ``loss``,
            ``excess_loss``, ``epochs``, ``status`` (its name), ``n_used``, ``lr``, and every other
            hyperparameter that was given as an array of several values. With the option ``stats``
            also ``std_error_<name>``, ``t_<name>`` and, where SciPy is installed, ``p_<name>`` of
            every w and the intercept, and ``r2``, ``adjusted_r2``, ``residual_variance``, ``dof``,
            ``f``, ``aic``, ``bic``.

        Raises
        ------
        ImportError
            When narwhals or the library is not installed.
        TypeError, ValueError
            When narwhals cannot make a frame of that library, or ``features`` are not as many
            different names as there are features.

        Examples
        --------
        >>> import fastgd
        >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=[0.1, 0.5], epochs=100)
        >>> result.to_frame("polars").columns
        ['fit', 'w', 'loss', 'excess_loss', 'epochs', 'status', 'n_used', 'lr']
        >>> list(result.to_frame()["status"])
        ['COMPLETED', 'COMPLETED']
        """
        from .frame import make_frame

        return make_frame(self, library, features)

    def _explain(self) -> Curvatures | None:
        """Make the curvatures of what the call noted, once."""
        values = vars(self)
        explains = values.get("_explains")
        if explains is not None:
            values.setdefault("_curvatures", explains(self))
            values.pop("_explains", None)
        return values.setdefault("_curvatures", None)

    def __getstate__(self) -> dict[str, Any]:
        """Everything is in a copy, what is made when it is asked for, too."""
        self._explain()
        return vars(self)

    if not TYPE_CHECKING:  # or else every name would pass a type checker

        def __getattr__(self, name: str) -> Any:
            """Say what there is in place of a name that other libraries have."""
            if name == "_curvatures":
                return self._explain()
            raise AttributeError(why_no_attribute("FitResult", name, INSTEAD))

    @computes
    def __repr__(self) -> str:
        from .summary import short

        return short(self)

    @computes
    def _repr_html_(self) -> str:
        from .summary import in_html

        return in_html(self)
