"""The pictures of a result, as methods of FitResult: what each draws is in a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..input.annotations import AnyArray
from ..input.float_mode import computes
from ..input.wrong_names import helps_with_keywords

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Pictures:
    """plot_loss, plot_fit, plot_map, plot_estimates."""

    __slots__ = ()

    @helps_with_keywords
    @computes
    def plot_loss(self, ax: Axes | None = None) -> Axes:
        """Draw the loss of every recorded epoch on a log scale (``pip install 'fastgd[plot]'``).

        Up to 100 fits are drawn as curves; of more, the median and the bands that hold 50 % and
        90 % of them. A log scale cannot show a loss that is 0 or not finite: the curve has a gap
        there. In the bands a loss that is not finite counts as larger than all others.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks, so that ``plt.show()`` shows it.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ValueError
            When the fit was made without ``history``.
        TypeError
            When ``ax`` is not matplotlib axes.
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

    @helps_with_keywords
    @computes
    def plot_fit(self, X: AnyArray, y: AnyArray, fit: int | tuple[int, ...] = 0, ax: Axes | None = None) -> Axes:
        """Draw one fit with its data.

        With one feature: the data and the fitted line. With several: predicted against observed
        values.

        Parameters
        ----------
        X : array (…, n_samples, n_features), or (n_samples,)
            Features, as they were given to `fit`, or of this one fit alone.
        y : array (…, n_samples)
            Targets, as they were given to `fit`, or of this one fit alone.
        fit : int or tuple of int, default 0
            Which fit: its position in the flattened leading axes, or its index along each.
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks, so that ``plt.show()`` shows it.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ValueError, TypeError
            When the shape of X or y does not match the fit, or ``fit`` or ``ax`` has a wrong type.
        IndexError
            When there is no such fit.
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

    @helps_with_keywords
    @computes
    def plot_map(
        self,
        values: str | AnyArray = "w",
        term: int | str = 0,
        *,
        where: AnyArray | None = None,
        x: AnyArray | None = None,
        y: AnyArray | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a number of each fit as a map, where the fits lie on two axes, as those of a raster.

        Values of both signs are blue and red around 0, others from dark to light. The colours end
        at the 1st and the 99th percentile. What is not finite is grey, what ``where`` leaves out is
        hatched. Of more than 1,000 rows or columns every k-th is drawn.

        Parameters
        ----------
        values : str or array (n_rows, n_columns), default "w"
            "w", "intercept", "loss", "excess_loss", "epochs", "lr", "n_used", "status"; with the
            option ``stats`` also "std_error", "t", "p" (needs SciPy), "r2". Or numbers of your own,
            one for each fit: also of a result with more axes, such as ``result.w[3, :, :, 0]``.
        term : int or str, default 0
            Which parameter, of "w", "std_error", "t" and "p": the number of a feature, its name
            where ``features`` has names, or "intercept".
        where : array (n_rows, n_columns) of bool, optional
            Which fits to draw, such as those with a small p. Default: all.
        x, y : array (n_columns,), (n_rows,), optional
            Where columns and rows lie: numbers that increase or decrease, such as longitudes and
            latitudes. Default: their positions, the first row on top.
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks, so that ``plt.show()`` shows it.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on; ``axes.images[0]`` or ``axes.collections[0]`` is the map.

        Raises
        ------
        ValueError, TypeError
            When the fits do not lie on two axes, there is no such value or term, or the shape of
            ``where``, ``x`` or ``y`` does not match.
        ImportError
            When matplotlib is not installed.

        Examples
        --------
        >>> import fastgd, numpy as np
        >>> t = np.arange(10.0)
        >>> raster = np.random.default_rng(0).normal(size=(30, 40, 10)) + 0.1 * t
        >>> result = fastgd.solve(t, raster, intercept=True, stats=True)
        >>> axes = result.plot_map("w", where=result.stats.t[..., 0] > 2)
        >>> axes.images[0].get_array().shape
        (30, 40)
        """
        from .raster_map import draw_map

        return draw_map(self, values, term, where, x, y, ax)

    @helps_with_keywords
    @computes
    def plot_estimates(
        self,
        term: int | str | None = None,
        *,
        names: Sequence[Any] | None = None,
        level: float = 0.95,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw estimates with their confidence intervals, a row for each (a forest plot).

        Of many fits, such as groups, one parameter of each, the largest on top; of a single fit all
        its parameters. A dot is filled where the interval does not contain 0. Of more than 60 rows
        60 are drawn, evenly spaced in their order. Needs the option ``stats``, and SciPy.

        Parameters
        ----------
        term : int or str, optional
            Which parameter: the number of a feature, its name where ``features`` has names, or
            "intercept". Default: feature 0 of many fits, all of a single one.
        names : sequence, optional
            Names of the rows. Default: the labels of groups, else the positions of the fits.
        level : float, default 0.95
            Of the intervals.
        ax : matplotlib.axes.Axes, optional
            Where to draw. None: on a new figure (``axes.figure``), which is pyplot's own where
            pyplot is imported and in notebooks, so that ``plt.show()`` shows it.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were drawn on.

        Raises
        ------
        ValueError, TypeError
            When the result has no statistics, there is no such term, or ``names`` are not as many
            as there are rows.
        ImportError
            When matplotlib or SciPy is not installed.

        Examples
        --------
        >>> import fastgd, numpy as np
        >>> x = np.arange(12.0)
        >>> delays = np.tile([3.0, 5.0, 9.0, 8.0], 3) + x
        >>> labels = np.repeat(["AA", "B6", "UA"], 4)
        >>> result = fastgd.solve_groups(x, delays, labels, intercept=True, stats=True)
        >>> axes = result.plot_estimates()
        >>> [tick.get_text() for tick in axes.get_yticklabels()]
        ['AA', 'B6', 'UA']
        """
        from .forest import draw_estimates

        return draw_estimates(self, term, names, level, ax)
