"""Statistics: what classical statistics says of fits, as values that broadcast over them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..input.float_mode import computes
from ..input.messages import counted, kind_of, shown
from ..input.statistics import COVARIANCES, PLAIN, WEIGHTS
from .special import special
from .table import html_table, in_line

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Errors, tests and quality of the fits of one call, as statsmodels' OLS and WLS have them.

    ``fit(..., stats=True)`` and ``solve(..., stats=True)`` make it: ``result.stats``. All arrays
    are NumPy's, in float64 but for rank. "…" are the leading axes of the result; D = n_parameters,
    **the intercept last**, also where X was 1-D. docs/statistics.md has the formulas.

    They belong to the returned w, and are those of least squares: where descent has not converged
    (``result.excess_loss``), residual_variance is that of a loss above the least one, and
    std_error, t and p are only as near those of the minimiser. A fit that is not computed
    (``INVALID_DATA``, ``TOO_FEW_SAMPLES``) or has diverged has NaN.

    Attributes
    ----------
    estimate : ndarray (…, D)
        The parameters: w, and the intercept last.
    residual_variance : ndarray (…)
        σ² = loss · Σω / dof, from the loss of the result; NaN where dof is not above 0.
    dof : ndarray (…)
        Degrees of freedom of the residuals: n_used − rank; of frequency weights Σω − rank.
    t_dof : ndarray (…)
        Degrees of freedom of t, p and the intervals: dof, or the number of clusters less 1.
    r2, adjusted_r2 : ndarray (…)
        1 − loss · Σω / TSS, and 1 − (1 − r2)(n − 1)/dof; TSS = Σω(y − ȳ)². Without an intercept TSS
        = Σωy², and n in place of n − 1. NaN where y is constant.
    f : ndarray (…)
        F of the hypothesis that all features have w = 0: (TSS − loss · Σω)/model_dof / σ²; where
        covariance_kind is not "nonrobust" Wald's, by that covariance.
    model_dof : ndarray (…)
        rank, less 1 with an intercept.
    log_likelihood, aic, bic : ndarray (…)
        −n/2 (ln(2π loss · Σω / n) + 1), plus ½ Σ ln ω of weights that are precisions (NaN where
        these came as Moments); 2 rank − 2 log_likelihood; ln(n) rank − 2 log_likelihood.
    rank : ndarray (…) of int
        How many parameters the moments tell from combinations of others.
    condition : ndarray (…)
        Stewart's largest collinearity index of these, as `solve` has it.
    covariance_kind, weights_are : str
        As they were asked for.
    """

    estimate: Array
    residual_variance: Array
    dof: Array
    t_dof: Array
    r2: Array
    adjusted_r2: Array
    f: Array
    model_dof: Array
    log_likelihood: Array
    aic: Array
    bic: Array
    rank: Array
    condition: Array
    covariance_kind: str = PLAIN
    weights_are: str = WEIGHTS[0]
    # covariance = _factor · _inverse, of which axes that only repeat have length 1
    _inverse: Array = field(default_factory=lambda: np.zeros((1, 1)))  # (…, D, D)
    _factor: Array = field(default_factory=lambda: np.zeros(()))  # (…)
    _dtype: str = "float64"  # of the data

    @property
    @computes
    def covariance(self) -> Array:
        """(…, D, D): of the parameters; NaN where the data do not determine one."""
        return self._factor[..., None, None] * self._inverse

    @property
    @computes
    def std_error(self) -> Array:
        """(…, D): standard errors; NaN of a parameter that the data do not determine."""
        with np.errstate(all="ignore"):
            return np.sqrt(self._factor[..., None] * np.einsum("...jj->...j", self._inverse))

    @property
    @computes
    def t(self) -> Array:
        """(…, D): estimate / std_error."""
        with np.errstate(all="ignore"):
            return self.estimate / self.std_error

    @property
    @computes
    def p(self) -> Array:
        """(…, D): two-sided p values of t, by t_dof degrees of freedom (needs SciPy)."""
        functions = special("p")
        with np.errstate(all="ignore"):
            return 2.0 * functions.stdtr(self.t_dof[..., None], -np.abs(self.t))

    @property
    @computes
    def f_p(self) -> Array:
        """(…): the p value of f, by model_dof and t_dof degrees of freedom (needs SciPy)."""
        functions = special("f_p")
        with np.errstate(all="ignore"):
            return functions.fdtrc(self.model_dof, self.t_dof, np.maximum(self.f, 0.0))

    @property
    @computes
    def ill_conditioned(self) -> Array:
        """(…) of bool: condition > 1/√u, as in `solve`, or a parameter is not determined."""
        most = 1.0 / math.sqrt(float(np.finfo(self._dtype).eps) / 2.0)
        return (self.condition > most) | (self.rank < self.estimate.shape[-1])

    @computes
    def confidence_interval(self, level: float = 0.95) -> Array:
        """Confidence intervals of the parameters (needs SciPy).

        ::

            estimate ∓ std_error · t quantile at (1 + level)/2, by t_dof degrees of freedom

        Parameters
        ----------
        level : float, default 0.95
            Between 0 and 1.

        Returns
        -------
        ndarray (…, D, 2)
            The lower and the upper end.

        Raises
        ------
        TypeError, ValueError
            When the level is not a number between 0 and 1.
        ImportError
            When SciPy is not installed.

        Examples
        --------
        >>> import fastgd
        >>> X, y = [1.0, 2, 3, 4, 5], [1.1, 1.9, 3.2, 3.8, 5.1]
        >>> stats = fastgd.solve(X, y, intercept=True, stats=True).stats
        >>> stats.confidence_interval(0.9).round(2).tolist()
        [[0.85, 1.13], [-0.42, 0.52]]
        """
        if isinstance(level, bool | np.bool_) or not isinstance(level, int | float | np.integer | np.floating):
            raise TypeError(f"level must be a number between 0 and 1, not {shown(level)}")
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be a number between 0 and 1; it is {shown(level)}")
        functions = special("confidence_interval")
        with np.errstate(all="ignore"):
            half = functions.stdtrit(self.t_dof, 0.5 + 0.5 * float(level))[..., None] * self.std_error
        return np.stack([self.estimate - half, self.estimate + half], axis=-1)

    @computes
    def __repr__(self) -> str:
        return in_line(*self._facts())

    @computes
    def _repr_html_(self) -> str:
        return html_table(*self._facts())

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        """(title, rows) for `repr` and for notebooks."""
        from .summary import span

        fits = counted(int(np.size(self.r2)), "fit")
        rows = [("of", f"{fits} of {counted(self.estimate.shape[-1], 'parameter')}"), ("r2", span(self.r2)), ("dof", span(self.dof))]
        return "Statistics", [*rows, ("residual variance", span(self.residual_variance)), ("covariance", self.covariance_kind)]


def statistics_of(
    result: Any, facts: dict[str, Array], covariance_kind: str, weights_are: str, intercept: bool, dtype: np.dtype
) -> Statistics:
    """The statistics of a result, from the facts that running/statistics.py found.

    facts broadcast to the fits.
    """
    loss = np.asarray(result.loss, np.float64)
    estimate = parameters_of(result, intercept)
    full = {name: np.broadcast_to(facts[name], loss.shape) for name in ("rank", "n_used", "total", "log_weights", "squares", "condition")}
    rank, total, squares = full["rank"], full["total"], full["squares"]
    few = np.zeros(loss.shape, bool)
    if result.rank is not None:  # solve counted a singular value as zero that the moments tell from zero
        few = np.asarray(result.rank) < rank
        rank = np.where(few, np.asarray(result.rank), rank)
    precise = weights_are == WEIGHTS[0]
    with np.errstate(all="ignore"):
        finite = np.isfinite(loss) & np.isfinite(estimate).all(axis=-1)
        n = np.where(finite, full["n_used"] if precise else total, np.nan)
        residual_squares = loss * total
        dof, model_dof = n - rank, np.where(finite, rank - float(intercept), np.nan)
        variance = np.where(dof > 0.0, residual_squares / dof, np.nan)
        r2 = np.where(finite, 1.0 - residual_squares / squares, np.nan)
        likelihood = -0.5 * n * (np.log(2.0 * np.pi * residual_squares / n) + 1.0) + (0.5 * full["log_weights"] if precise else 0.0)
        f = (squares - residual_squares) / model_dof / variance
        f = np.where(model_dof > 0.0, f, np.nan)
    hidden = ~(facts["estimable"][..., :, None] & facts["estimable"][..., None, :])
    plain = covariance_kind == PLAIN
    hidden = hidden | few[..., None, None] if few.any() else hidden
    inverse = np.where(hidden, np.nan, facts["inverse" if plain else "covariance"])
    with np.errstate(all="ignore"):
        values = {
            "estimate": estimate,
            "residual_variance": variance,
            "dof": dof,
            "t_dof": dof if plain else np.broadcast_to(facts["t_dof"], loss.shape),
            "r2": r2,
            "adjusted_r2": np.where(dof > 0.0, 1.0 - (1.0 - r2) * (n - float(intercept)) / dof, np.nan),
            "f": f if plain else np.broadcast_to(facts["wald"], loss.shape),
            "model_dof": model_dof,
            "log_likelihood": likelihood,
            "aic": 2.0 * rank - 2.0 * likelihood,
            "bic": np.log(n) * rank - 2.0 * likelihood,
            "rank": rank,
            "condition": np.where(finite, full["condition"], np.nan),
            "_inverse": inverse,
            "_factor": variance if plain else np.where(finite, 1.0, np.nan),
        }
    arrays = {name: np.asarray(value)[()] for name, value in values.items()}  # numbers for a single fit
    return Statistics(**arrays, covariance_kind=covariance_kind, weights_are=weights_are, _dtype=dtype.name)


def parameters_of(result: Any, intercept: bool) -> Array:
    """(…, D) float64: w and the intercept of a result, as it has them."""
    w = np.asarray(result.w, np.float64)
    w = w[..., None] if result._one_feature else w
    if not intercept:
        return w
    return np.concatenate([w, np.asarray(result.intercept, np.float64)[..., None]], axis=-1)


AXES = {"estimate": 1, "_inverse": 2}  # the axes of parameters; others have none
_TEXTS = {"covariance_kind": COVARIANCES, "weights_are": WEIGHTS, "_dtype": ("float32", "float64")}


def misfit_of_statistics(stats: Any, leading: tuple[int, ...], size: int) -> str:
    """What is wrong with loaded statistics of fits of `size` parameters; '' if nothing is."""
    if stats is None:
        return ""
    for each in fields(stats):
        value, name = getattr(stats, each.name), f"stats.{each.name}"
        if each.name in _TEXTS:
            if type(value) is not str or value not in _TEXTS[each.name]:
                return f"{name} is {shown(value)}"
            continue
        if not isinstance(value, np.ndarray | np.generic):
            return f"{name} is a {kind_of(value)}"
        if value.dtype != (np.int64 if each.name == "rank" else np.float64):
            return f"{name} has dtype {value.dtype}"
        axes = (size,) * AXES.get(each.name, 0)
        shape = np.shape(value)
        own = shape[: len(shape) - len(axes)]
        repeats = each.name == "_inverse" and len(own) == len(leading) and all(n in (1, m) for n, m in zip(own, leading, strict=True))
        if shape[len(own) :] != axes or not (own == leading or repeats):
            return f"{name} has shape {shape}, but the fits have shape {leading}"
    return ""
