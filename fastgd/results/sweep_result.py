"""What `sweep` returns: SweepResult, the losses of all cells with their axes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..input.float_mode import computes
from ..input.wrong_names import helps_with_keywords
from .coordinate import Coordinate
from .result import History
from .table import html_table, in_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult:
    """The cells of one sweep: what each was given, and what became of it.

    "…" are the axes `dims`: those of the grid in its order (or "point"), then the leading axes of
    the data. Each fit of a cell has the bits of `fit` with its values alone. Arrays are NumPy's.

    Attributes
    ----------
    coordinates : dict of str to Coordinate
        The values along the axes, by name; those that all cells share have the axis "".
    w : ndarray (…, n_features), or (…) when X was 1-D
        Weights, in the dtype of the data.
    loss : ndarray (…)
        Mean of the squared residuals at w (with sample weights, their weighted mean).
    status : ndarray (…) of int8
        Values of `Status`. A cell that diverged is a result like others.
    epochs : ndarray (…) of int
        Epochs that were run, as in `FitResult`.
    n_used : ndarray (…) of int
        Number of kept samples.
    lr : ndarray (…) of float64
        The learning rate that was used.
    backend, algorithm, explanation : str
        What computed the first cell, and why.
    val_loss : ndarray (…), or None without validation data
        Mean of the squared residuals of the validation data at w; NaN where there is no finite w.
    best_epoch : ndarray (…) of int, or None without ``patience`` and ``restore_best``
        The last epoch that improved val_loss, as in `FitResult`.
    excess_loss : ndarray (…), or None
        By how much the loss is above its least value, as in `FitResult`.
    intercept : ndarray (…), or None without an intercept
        Intercept, in the dtype of the data.
    history : History or None
        w and loss of recorded epochs, with the option ``history``.
    stability_limit : ndarray (…) of float64, or None
        The learning rate from which on some direction of w grows, from the eigenvalues of the
        Hessian of the data: 2(1 + momentum) / ((1 − dampening)(λ_max + weight_decay)), and with
        Nesterov momentum 2(1 + momentum) / ((1 + 2 momentum)(λ_max + weight_decay)). NaN for other
        rules than SGD, with a schedule, for ``maximize`` and for momentum ≥ 1. None above 64
        parameters.
    tol : float, or None
        The ``tol`` that cells that are CONVERGED have met.
    versions : dict of str to str
        Versions of Python, fastgd and the libraries that were imported.
    """

    coordinates: dict[str, Coordinate]
    w: Any
    loss: Any
    status: Any
    epochs: Any
    n_used: Any
    lr: Any
    backend: str
    algorithm: str
    explanation: str
    val_loss: Any = None
    best_epoch: Any = None
    excess_loss: Any = None
    intercept: Any = None
    history: History | None = None
    stability_limit: Any = None
    tol: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    _one_feature: bool = False
    _penalised: bool = True  # the objective may be more than the loss

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes: of the grid, or "point"; then "fit", or "axis_0", …, of the data."""
        return tuple(name for name, coordinate in self.coordinates.items() if coordinate.dim == name)

    @property
    def data_dims(self) -> tuple[str, ...]:
        """The names of the axes that the data have."""
        return tuple(name for name in self.dims if name == "fit" or name.startswith("axis_"))

    @helps_with_keywords
    @computes
    def sel(self, *, method: str | None = None, **values: Any) -> SweepResult:
        """Select cells by their values: ``sel(lr=0.1, momentum=0.9)``.

        Parameters
        ----------
        method : {None, "nearest"}, default None
            None: only a value that is there. "nearest": the number that is nearest to each.
        **values
            By name: one value, whose axis goes, or a list of values, which keeps it. Names are
            those of ``coordinates``, so also "fit" or "axis_0", … of the data. Of points a value
            other than "point" itself keeps the axis, as several points may have it.

        Returns
        -------
        SweepResult
            The cells that have all these values.

        Raises
        ------
        KeyError
            When there is no such name or value; the message lists those that there are.
        ValueError
            When ``method`` is another word, or "nearest" is asked of texts or rows of numbers.

        Examples
        --------
        >>> import fastgd
        >>> X, y, grid = [1.0, 2, 3, 4], [2.0, 4, 6, 8], {"lr": [0.01, 0.1], "momentum": [0.0, 0.9]}
        >>> found = fastgd.sweep(X, y, grid=grid, epochs=50)
        >>> found.sel(momentum=0.9).loss.shape, found.sel(lr=0.1, momentum=0.9).loss.shape
        ((2,), ())
        """
        from .cells import select

        return select(self, values, method)

    @helps_with_keywords
    @computes
    def best(self, by: str | None = None, per_fit: bool = True) -> dict[str, Any]:
        """Find the cell of the least loss, and its values by name.

        Cells that are ``DIVERGED``, ``INVALID_DATA`` or ``TOO_FEW_SAMPLES``, and losses that are
        not finite, do not count. Of equal cells the first in the order of the grid is taken.

        Parameters
        ----------
        by : {"val_loss", "loss", "excess_loss"}, optional
            Which loss. None: "val_loss" where there are validation data, else "loss".
        per_fit : bool, default True
            Where the data have leading axes: True finds the best cell of each fit. False finds the
            one cell whose mean over the fits is least; fits that no cell counts for are left out,
            and a cell that any other fit does not count for is, too.

        Returns
        -------
        dict
            The hyperparameters that were swept and apply, the optimizer, then loss, val_loss,
            excess_loss, epochs, best_epoch, status, w and intercept, as far as they are there. For
            many fits arrays over them; where no cell counts for a fit, NaN or an empty text.

        Raises
        ------
        ValueError
            When no cell counts, or there is no such loss.

        Examples
        --------
        >>> import fastgd
        >>> grid = {"lr": [0.01, 0.1, 10.0]}
        >>> best = fastgd.sweep([1.0, 2, 3, 4], [2.0, 4, 6, 8], grid=grid, epochs=200).best()
        >>> best["lr"], best["optimizer"], str(best["status"])
        (0.1, 'sgd', 'COMPLETED')
        """
        from .cells import find_best

        return find_best(self, by, per_fit)

    @helps_with_keywords
    @computes
    def epochs_to(self, tol: float) -> NDArray[np.float64]:
        """Tell how many epochs each cell took to leave at most ``tol`` of its start's excess loss.

        The first epoch t with F(w_t) − F* ≤ tol · (F(w_0) − F*), F* the least loss. Where the sweep
        was made with this ``tol``, it is the epoch at which the cell is CONVERGED. Else it is found
        in the history: the first recorded epoch whose loss shows it; that losses are rounded to the
        dtype of the data counts against it.

        Parameters
        ----------
        tol : float
            Share of the start's excess loss, ≥ 0.

        Returns
        -------
        ndarray (…) of float64
            Epochs; NaN where that was not reached, or is not known.

        Raises
        ------
        ValueError
            When the sweep has neither this ``tol`` nor a history, or has a history where the
            objective has a penalty (a coupled ``weight_decay``) or ``excess_loss`` is not known.

        Examples
        --------
        >>> import fastgd
        >>> X, y = [1.0, 2, 3, 4], [2.0, 4, 6, 8]
        >>> found = fastgd.sweep(X, y, grid={"lr": [0.01, 0.1, 1.0]}, epochs=100, tol=0.01)
        >>> found.epochs_to(0.01)
        array([15.,  4., nan])
        """
        from .cells import epochs_to

        return epochs_to(self, tol)

    @helps_with_keywords
    @computes
    def to_frame(self, library: str = "pandas", features: Sequence[str] | None = None) -> Any:
        """A data frame with a row per fit, through narwhals (``pip install 'fastgd[frames]'``).

        Parameters
        ----------
        library : str, default "pandas"
            Library of the data frame: "pandas", "polars", "pyarrow", or another one that narwhals
            can make from columns.
        features : sequence of str, optional
            Names of the features, for the columns ``w_<name>``; default w_0, w_1, … (w when X was
            1-D).

        Returns
        -------
        data frame of that library
            Columns: all coordinates (betas as beta1 and beta2, w0 as w0_0, w0_1, …), w, intercept,
            loss, val_loss, excess_loss, status (its name), epochs, n_used, lr, stability_limit. A
            hyperparameter that the rule of a cell does not have is NaN there.

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
        >>> found = fastgd.sweep([1.0, 2], [2.0, 4], grid={"lr": [0.01, 0.1]}, epochs=9)
        >>> list(found.to_frame()["lr"])
        [0.01, 0.1]
        """
        from .frame import frame_of
        from .sweep_frame import columns_of_cells

        return frame_of(columns_of_cells(self, features), library)

    @helps_with_keywords
    def to_xarray(self) -> Any:
        """An ``xarray.Dataset`` of the cells (``pip install xarray``).

        Returns
        -------
        xarray.Dataset
            The losses, status (its name), epochs, w, intercept and the history as variables, the
            values of the axes as coordinates. Axes of betas and w0 are numbered; their numbers are
            coordinates beta1 and beta2, w0_0, w0_1, ….

        Raises
        ------
        ImportError
            When xarray is not installed.
        """
        from .sweep_frame import make_dataset

        return make_dataset(self)

    @helps_with_keywords
    @computes
    def plot(self, x: str | None = None, y: str | None = None, by: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw a heat map of the losses over two axes (``pip install 'fastgd[plot]'``).

        Cells that are not finite or diverged are grey, the least loss has a star, and the
        stability limit of the learning rate is a line. Over other axes of the grid the least loss
        is shown. Points are drawn as dots.

        Parameters
        ----------
        x, y : str, optional
            The axes. None: the learning rate, and the next axis of the grid.
        by : {"val_loss", "loss", "excess_loss"}, optional
            Which loss. None: "val_loss" where there are validation data, else "loss".
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ValueError
            When there is no such axis or loss, or the data have leading axes: select a fit first.
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> grid = {"lr": [0.01, 0.02, 0.05, 0.1, 0.2], "momentum": [0.0, 0.9]}
        >>> axes = fastgd.sweep([1.0, 2, 3, 4], [2.0, 4, 6, 8], grid=grid, epochs=50).plot()
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('lr', 'momentum')
        """
        from .heat_map import draw_heat_map

        return draw_heat_map(self, x, y, by, ax)

    @helps_with_keywords
    @computes
    def plot_loss(self, ax: Axes | None = None) -> Axes:
        """Draw the loss of every recorded epoch, as `FitResult.plot_loss` does.

        Cells are chosen before: ``result.sel(momentum=0.9).plot_loss()``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ValueError
            When the sweep was made without ``history``.
        TypeError
            When ``ax`` is not matplotlib axes.
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd
        >>> grid = {"lr": [0.01, 0.1]}
        >>> found = fastgd.sweep([1.0, 2], [2.0, 4], grid=grid, epochs=50, history=True)
        >>> len(found.plot_loss().lines)
        2
        """
        from .plotting import plot_loss
        from .sweep_frame import cell_names

        return plot_loss(self, ax, cell_names)

    @helps_with_keywords
    @computes
    def summary(self) -> str:
        """Describe the sweep in a few lines of text.

        Returns
        -------
        str
            The axes with their values, statuses, the best cell, and what computed it.

        Examples
        --------
        >>> import fastgd
        >>> grid = {"lr": [0.01, 0.1, 10.0]}
        >>> found = fastgd.sweep([1.0, 2, 3, 4], [2.0, 4, 6, 8], grid=grid, epochs=200)
        >>> print(found.summary())  # doctest: +ELLIPSIS
        Sweep of 3 cells of 1 feature
          lr         0.01, 0.1, 10
          optimizer  sgd
          status     2 COMPLETED, 1 DIVERGED
          rates      1 of 3 above the stability limit
          best loss  0 at lr 0.1
          computed   cpu: ...
        """
        from .sweep_summary import sweep_facts
        from .table import text_table

        return text_table(*sweep_facts(self))

    @helps_with_keywords
    @computes
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sweep to one file, which `fastgd.load` reads bit for bit.

        The file is an uncompressed ``.npz`` without pickles, with a checksum of every byte, as that
        of `FitResult.save`. It appears whole or not at all.

        Parameters
        ----------
        path : str or path
            Name of the file. ``.npz`` is added where it does not end so.

        Raises
        ------
        OSError
            When the file cannot be written; an older one of that name stays.
        ValueError
            When the name belongs to something that is not an ordinary file.

        Examples
        --------
        >>> import fastgd, os, tempfile
        >>> found = fastgd.sweep([1.0, 2], [2.0, 4], grid={"lr": [0.01, 0.1]}, epochs=9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(os.path.join(folder, "rates.npz"))
        ...     again = fastgd.load(os.path.join(folder, "rates.npz"))
        >>> bool((again.sel(lr=0.1).loss == found.sel(lr=0.1).loss).all())
        True
        """
        from .file_format import with_ending, write_file

        write_file(with_ending(path), self)

    @computes
    def __repr__(self) -> str:
        from .sweep_summary import sweep_facts

        return in_line(*sweep_facts(self))

    @computes
    def _repr_html_(self) -> str:
        from .sweep_summary import sweep_facts

        return html_table(*sweep_facts(self))
