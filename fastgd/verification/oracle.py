"""Gradient descent in exact rational numbers, and in floating point of as many digits as asked for.

1. Both descents use the second moments G = XᵀX, c = Xᵀy and yᵀy, formed exactly:
   gradient = s(Gw − c), loss = (yᵀy + wᵀ(Gw − 2c)) / n. With weights ω they use G = XᵀωX and so
   on, and Σω in place of n.
2. The update is `step` of the table of update rules, one parameter at a time. `1 - dampening` is
   exact here, whereas torch rounds it to float64.
3. Rationals grow by a fixed number of bits per epoch: 100 epochs of a float64 problem with 3
   features take about 0.1 s, 1,000 take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastgd.input.float_mode import computes
from fastgd.input.hyperparameters import check_names
from fastgd.input.messages import shown
from fastgd.input.options import name_among, read_choice, read_count, read_switch
from fastgd.input.wrong_names import helps_with_keywords
from fastgd.kernels.update_rules import UPDATE_RULES, UpdateRule

__all__ = ["Descent", "exact_descent", "extended_descent"]

MOST_DIGITS = 10**6  # of more, one multiplication takes seconds


class Descent(NamedTuple):
    """A history: row t has the parameters after t updates, and the loss there."""

    w: list[list[Any]]  # epochs + 1 rows of D numbers, the intercept last
    loss: list[Any]  # epochs + 1 numbers


@helps_with_keywords
@computes
def exact_descent(
    X: ArrayLike | Sequence[Any],
    y: ArrayLike | Sequence[Any],
    w0: ArrayLike | Sequence[Any],
    *,
    lr: Any,
    epochs: int,
    reduction: str = "mean",
    sample_weight: ArrayLike | Sequence[Any] | None = None,
    intercept: bool = False,
    rule: UpdateRule | str = "sgd",
    hyper: Mapping[str, Any] | None = None,
) -> Descent:
    """Run gradient descent in exact rational arithmetic.

    A float counts with its exact value: 0.1 is 3602879701896397/2^55. A `Fraction` or a string such
    as ``"0.1"`` gives the decimal value.

    Parameters
    ----------
    X : array_like or nested sequence, shape (n_samples, n_features) or (n_samples,)
        The data: floats, integers, `Fraction`s, decimal strings. No column of ones.
    y : array_like or sequence, shape (n_samples,)
        The targets.
    w0 : array_like or sequence, shape (D,)
        The start; D = n_features, or n_features + 1 with the intercept last.
    lr : float, Fraction or str
        The learning rate.
    epochs : int
        The number of updates.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum. The loss
        is always the (weighted) mean.
    sample_weight : array_like or sequence, shape (n_samples,), optional
        The weights of the samples, not negative. A sample of weight 0 is left out, whatever its
        numbers are.
    intercept : bool, default False
        Whether the last parameter is an intercept.
    rule : UpdateRule or str, default "sgd"
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`, or its name. A rule that takes a square
        root has no rational step.
    hyper : mapping, optional
        The rule's hyperparameters by name; those not given have the table's defaults.

    Returns
    -------
    Descent
        `w`: epochs + 1 lists of D `Fraction`s; `loss`: epochs + 1 `Fraction`s.

    Raises
    ------
    ValueError
        A shape does not fit, a value is not finite, the rule or the reduction is unknown, a weight
        is negative, or all weights are 0.

    Examples
    --------
    The tutorial, y = 2x: lr = 0.1 multiplies the error by 1 − 2·0.1·30/4 = −1/2 in every epoch.

    >>> history = exact_descent([1, 2, 3, 4], [2, 4, 6, 8], [0], lr="0.1", epochs=3)
    >>> [str(w) for w, in history.w], [str(loss) for loss in history.loss]
    (['0', '3', '3/2', '9/4'], ['30', '15/2', '15/8', '15/32'])
    """
    return _descend(_rational, X, y, w0, lr, epochs, reduction, sample_weight, intercept, rule, hyper)


@helps_with_keywords
@computes
def extended_descent(
    X: ArrayLike | Sequence[Any],
    y: ArrayLike | Sequence[Any],
    w0: ArrayLike | Sequence[Any],
    *,
    lr: Any,
    epochs: int,
    reduction: str = "mean",
    sample_weight: ArrayLike | Sequence[Any] | None = None,
    intercept: bool = False,
    rule: UpdateRule | str = "sgd",
    hyper: Mapping[str, Any] | None = None,
    digits: int = 100,
) -> Descent:
    """Run gradient descent with many decimal digits (mpmath), where rationals would grow too long.

    The moments are formed exactly and rounded once to `digits`; every later operation is rounded to
    `digits`. Near a perfect fit the loss is a small difference of large numbers, so `digits` should
    be well above the digits that are needed of the loss.

    Parameters
    ----------
    X : array_like or nested sequence, shape (n_samples, n_features) or (n_samples,)
        The data: floats, integers, `Fraction`s, decimal strings. No column of ones.
    y : array_like or sequence, shape (n_samples,)
        The targets.
    w0 : array_like or sequence, shape (D,)
        The start; D = n_features, or n_features + 1 with the intercept last.
    lr : float, Fraction or str
        The learning rate.
    epochs : int
        The number of updates.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum. The loss
        is always the (weighted) mean.
    sample_weight : array_like or sequence, shape (n_samples,), optional
        The weights of the samples, not negative. A sample of weight 0 is left out, whatever its
        numbers are.
    intercept : bool, default False
        Whether the last parameter is an intercept.
    rule : UpdateRule or str, default "sgd"
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`, or its name.
    hyper : mapping, optional
        The rule's hyperparameters by name; those not given have the table's defaults.
    digits : int, default 100
        Decimal digits of every operation, at most 1,000,000.

    Returns
    -------
    Descent
        `w`: epochs + 1 lists of D mpmath numbers; `loss`: epochs + 1 of them.

    Raises
    ------
    ImportError
        mpmath is not installed.
    ValueError
        A shape does not fit, a value is not finite, the rule or the reduction is unknown, a weight
        is negative, or all weights are 0.

    Examples
    --------
    >>> history = extended_descent([1, 2, 3, 4], [2, 4, 6, 8], [0], lr="0.1", epochs=200)
    >>> float(history.w[200][0] - 2) == -2 * 0.5**200
    True
    """
    try:
        from mpmath import MPContext
    except ImportError as error:
        raise ImportError("extended_descent needs the package mpmath: pip install mpmath (or use exact_descent)") from error
    context = MPContext()
    context.dps = read_count(digits, "digits", 1, MOST_DIGITS)

    def rounded(value: Any) -> Any:
        exact = _rational(value)
        return context.mpf(exact.numerator) / exact.denominator

    return _descend(rounded, X, y, w0, lr, epochs, reduction, sample_weight, intercept, rule, hyper)


def _descend(
    number: Callable[[Any], Any],  # makes a number of this descent from a rational one
    X: Any,
    y: Any,
    w0: Any,
    lr: Any,
    epochs: int,
    reduction: str,
    sample_weight: Any,
    intercept: bool,
    rule: UpdateRule | str,
    hyper: Mapping[str, Any] | None,
) -> Descent:
    """Run gradient descent on exact moments, with the numbers that `number` makes."""
    reduction = read_choice(reduction, "reduction", ("mean", "sum"))
    epochs, intercept = read_count(epochs, "epochs", 0), read_switch(intercept, "intercept")
    if not isinstance(rule, UpdateRule):
        name = name_among(rule, UPDATE_RULES)
        if name is None:
            raise ValueError(f"there is no update rule {shown(rule)}: choose one of {', '.join(UPDATE_RULES)}")
        rule = UPDATE_RULES[name]
    check_names(rule, hyper)
    w = [number(_rational(value)) for value in _listed(w0, "w0")]
    parameters = range(len(w))
    rows, targets, weights = _read_samples(X, y, sample_weight, intercept, n_parameters=len(w))
    G, c, yy = _exact_moments(rows, targets, weights)
    G, c, yy = [[number(value) for value in row] for row in G], [number(value) for value in c], number(yy)
    total = Fraction(len(rows)) if weights is None else sum(weights, Fraction(0))
    rate, scale = number(_rational(lr)), number(2 / total if reduction == "mean" else Fraction(2))
    total = number(total)
    values = rule.all_values(hyper)
    values = {name: value if isinstance(value, (bool, np.bool_)) else number(_rational(value)) for name, value in values.items()}
    slots = [tuple(number(Fraction(0)) for _ in rule.slots) for _ in parameters]
    products = {name: number(Fraction(1)) for name in rule.products}

    history = Descent([], [])
    for t in range(epochs + 1):
        slope = [sum((G[j][k] * w[k] for k in parameters), -c[j]) for j in parameters]  # Xᵀ(Xw − y)
        history.w.append(w)
        history.loss.append(sum((w[j] * (slope[j] - c[j]) for j in parameters), yy) / total)
        if t < epochs:
            try:
                products = dict(zip(products, rule.advance(**values, **products), strict=True))
                moves = [rule.step(w[j], slots[j], scale * slope[j], rate, t, **values, **products) for j in parameters]
            except ZeroDivisionError:
                raise ValueError(f"with these hyperparameters the update rule {rule.name!r} divides by zero in step {t + 1}") from None
            except (AttributeError, TypeError):  # what NumPy raises of a number that has no root
                raise ValueError(
                    f"the update rule {rule.name!r} takes a square root, which may be no rational number: use extended_descent"
                ) from None
            w, slots = [new_w for new_w, _ in moves], [new_slots for _, new_slots in moves]
    return history


def _read_samples(
    X: Any, y: Any, sample_weight: Any, intercept: bool, n_parameters: int
) -> tuple[list[list[Fraction]], list[Fraction], list[Fraction] | None]:
    """Return samples (with a last 1 for an intercept), targets and weights as rationals."""
    weights = None if sample_weight is None else [_rational(value) for value in _listed(sample_weight, "sample_weight")]
    X, y = _listed(X, "X"), _listed(y, "y")
    if weights is not None:
        X, y, weights = _of_positive_weight(X, y, weights)
    rows = [_row(x) + [Fraction(1)] * intercept for x in X]
    targets = [_rational(value) for value in y]
    n = len(rows)
    if n == 0 or len(targets) != n or any(len(row) != n_parameters for row in rows):
        width = sorted({len(row) for row in rows})
        sizes = f"y has {len(targets)}, w0 has {n_parameters} entries"
        raise ValueError(f"X has {n} samples of {width} parameters (the intercept counted); {sizes}")
    return rows, targets, weights


def _of_positive_weight(X: Any, y: Any, weights: list[Fraction]) -> tuple[list[Any], list[Any], list[Fraction]]:
    """Return the samples whose weight is not 0, and their weights."""
    if not len(X) == len(y) == len(weights):
        raise ValueError(f"X has {len(X)} samples, y has {len(y)}, sample_weight has {len(weights)}")
    if any(weight < 0 for weight in weights) or not any(weights):
        raise ValueError("sample_weight must not be negative, and not 0 everywhere")
    there = [i for i, weight in enumerate(weights) if weight]
    return [X[i] for i in there], [y[i] for i in there], [weights[i] for i in there]


def _exact_moments(
    rows: list[list[Fraction]], targets: list[Fraction], weights: list[Fraction] | None
) -> tuple[list[list[Fraction]], list[Fraction], Fraction]:
    """Return XᵀωX, Xᵀωy and yᵀωy.

    The sums run over integers, because a sum of fractions looks for common divisors at every term.
    """
    columns = [*zip(*rows, strict=True), targets, *([] if weights is None else [weights])]
    shared = []  # each column as integers over one denominator
    for column in columns:
        denominator = int(np.lcm.reduce(np.array([value.denominator for value in column], object)))
        shared.append(([int(value * denominator) for value in column], denominator))
    D = len(columns) - 1 - (weights is not None)
    omega, over_omega = ([1] * len(rows), 1) if weights is None else shared[-1]
    A = [[Fraction(0)] * (D + 1) for _ in range(D + 1)]
    for i in range(D + 1):
        for j in range(i, D + 1):
            (a, over_a), (b, over_b) = shared[i], shared[j]
            total = sum(p * q * weight for p, q, weight in zip(a, b, omega, strict=True))
            A[i][j] = A[j][i] = Fraction(total, over_a * over_b * over_omega)
    return [row[:D] for row in A[:D]], A[D][:D], A[D][D]


def _row(x: Any) -> list[Fraction]:
    """Return one sample as rationals; a lone value is one feature."""
    several = isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim > 0)
    return [_rational(value) for value in x] if several else [_rational(x)]


def _listed(values: Any, name: str) -> list[Any]:
    """Return what a sequence holds."""
    try:
        if isinstance(values, str | bytes | Mapping):
            raise TypeError
        return list(values)
    except Exception:  # whatever an __iter__ may raise
        raise TypeError(f"{name} must be a sequence of numbers, not {shown(values)}") from None


def _rational(value: Any) -> Fraction:
    """Return the exact value of an integer, float, Fraction, Decimal or decimal string."""
    try:
        if isinstance(value, str | Fraction):
            return Fraction(str.__str__(value) if isinstance(value, str) else value)
        if isinstance(value, np.generic) and not isinstance(value, np.longdouble):
            value = value.item()
        return Fraction(*value.as_integer_ratio())
    except (OverflowError, ValueError, ZeroDivisionError):  # infinite, NaN, "one", "1/0"
        needed = "a number in digits, such as '0.1' or '1/3'" if isinstance(value, str) else "finite numbers"
        raise ValueError(f"exact descent needs {needed}, not {shown(value)}") from None
    except Exception:  # what it does not have, or may raise
        raise TypeError(f"exact descent needs numbers, not {shown(value)}") from None
