"""The truth: gradient descent in exact rationals for small problems, and with as many digits as asked for in larger ones.

1. Both run on the second moments G = XᵀX, c = Xᵀy and yᵀy, which are exact here, so that the moments are the definition again:
   gradient = s(Gw − c), loss = (yᵀy + wᵀ(Gw − 2c)) / n. With weights ω they are G = XᵀωX and so on, and Σω stands for n.
2. The rule is the table's own `step`, one parameter at a time. What it multiplies is exact; `1 - dampening` is exact as well, whereas
   torch takes it in float64 first.
3. Rationals grow by a fixed number of bits per epoch: 100 epochs of a float64 problem with 3 features take about 0.1 s, 1,000 take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastgd.kernels.update_rules import UPDATE_RULES

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["Descent", "exact_descent", "extended_descent"]


class Descent(NamedTuple):
    """A history: row t holds the parameters after t updates, and the loss at them."""

    w: list[list[Any]]  # epochs + 1 rows of D numbers, the intercept last
    loss: list[Any]  # epochs + 1 numbers


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
    """Descend in exact rational arithmetic: nothing is rounded.

    Floats are taken at their exact value (0.1 is 3602879701896397/2^55); give a `Fraction` or a string such as ``"0.1"`` for the
    decimal one.

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
        What the gradient is of; the loss is always the (weighted) mean.
    sample_weight : array_like or sequence, shape (n_samples,), optional
        The weights of the samples, not negative. A sample of weight 0 is not there, whatever its numbers are.
    intercept : bool, default False
        Whether the last parameter is an intercept.
    rule : UpdateRule or str, default "sgd"
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`, or its name. Rules that take a square root have no rational step.
    hyper : mapping, optional
        The rule's hyperparameters by name; those not given have the table's defaults.

    Returns
    -------
    Descent
        `w`: epochs + 1 lists of D `Fraction`s; `loss`: epochs + 1 `Fraction`s.

    Raises
    ------
    ValueError
        Shapes that do not fit, non-finite values, an unknown rule or reduction, weights that are negative or all 0.

    Examples
    --------
    The tutorial: y = 2x, and lr = 0.1 multiplies the error by 1 − 2·0.1·30/4 = −1/2 in every epoch.

    >>> history = exact_descent([1, 2, 3, 4], [2, 4, 6, 8], [0], lr="0.1", epochs=3)
    >>> [str(w) for w, in history.w], [str(loss) for loss in history.loss]
    (['0', '3', '3/2', '9/4'], ['30', '15/2', '15/8', '15/32'])
    """
    return _descend(_rational, X, y, w0, lr, epochs, reduction, sample_weight, intercept, rule, hyper)


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
    """Descend with many decimal digits (mpmath), where rationals would grow too long.

    The moments are formed exactly and rounded once to `digits`; every operation after that is rounded to `digits`. Near a perfect fit
    the loss is a small difference of large numbers, so `digits` should be well above what is needed of it.

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
        What the gradient is of; the loss is always the (weighted) mean.
    sample_weight : array_like or sequence, shape (n_samples,), optional
        The weights of the samples, not negative. A sample of weight 0 is not there, whatever its numbers are.
    intercept : bool, default False
        Whether the last parameter is an intercept.
    rule : UpdateRule or str, default "sgd"
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`, or its name.
    hyper : mapping, optional
        The rule's hyperparameters by name; those not given have the table's defaults.
    digits : int, default 100
        Decimal digits of every operation.

    Returns
    -------
    Descent
        `w`: epochs + 1 lists of D mpmath numbers; `loss`: epochs + 1 of them.

    Raises
    ------
    ImportError
        mpmath is not installed.
    ValueError
        Shapes that do not fit, non-finite values, an unknown rule or reduction, weights that are negative or all 0.

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
    context.dps = digits

    def rounded(value: Any) -> Any:
        exact = _rational(value)
        return context.mpf(exact.numerator) / exact.denominator

    return _descend(rounded, X, y, w0, lr, epochs, reduction, sample_weight, intercept, rule, hyper)


def _descend(
    number: Callable[[Any], Any],  # how a rational becomes the numbers of this descent
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
    """Descend on exact moments with the numbers that `number` makes."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean" or "sum", not {reduction!r}')
    if isinstance(rule, str):
        if rule not in UPDATE_RULES:
            raise ValueError(f"there is no update rule {rule!r}: choose one of {', '.join(UPDATE_RULES)}")
        rule = UPDATE_RULES[rule]
    weights = None if sample_weight is None else [_rational(value) for value in sample_weight]
    if weights is not None:
        X, y, weights = _of_positive_weight(X, y, weights)
    rows = [_row(x) + [Fraction(1)] * intercept for x in X]
    targets = [_rational(value) for value in y]
    w = [number(_rational(value)) for value in w0]
    n, parameters = len(rows), range(len(w))
    if n == 0 or len(targets) != n or any(len(row) != len(w) for row in rows):
        width = sorted({len(row) for row in rows})
        raise ValueError(f"X has {n} samples of {width} parameters (the intercept counted); y has {len(targets)}, w0 has {len(w)} entries")

    G, c, yy = _exact_moments(rows, targets, weights)
    G, c, yy = [[number(value) for value in row] for row in G], [number(value) for value in c], number(yy)
    total = Fraction(n) if weights is None else sum(weights, Fraction(0))
    rate, scale = number(_rational(lr)), number(2 / total if reduction == "mean" else Fraction(2))
    total = number(total)
    values = rule.all_values(hyper)
    values = {name: value if isinstance(value, (bool, np.bool_)) else number(_rational(value)) for name, value in values.items()}
    slots = [tuple(number(Fraction(0)) for _ in rule.slots) for _ in parameters]
    products = {name: number(Fraction(1)) for name in rule.products}

    history = Descent([], [])
    for t in range(epochs + 1):
        reduced = [sum((G[j][k] * w[k] for k in parameters), -c[j]) for j in parameters]  # Xᵀ(Xw − y)
        history.w.append(w)
        history.loss.append(sum((w[j] * (reduced[j] - c[j]) for j in parameters), yy) / total)
        if t < epochs:
            products = dict(zip(products, rule.advance(**values, **products), strict=True))
            moves = [rule.step(w[j], slots[j], scale * reduced[j], rate, t, **values, **products) for j in parameters]
            w, slots = [new_w for new_w, _ in moves], [new_slots for _, new_slots in moves]
    return history


def _of_positive_weight(X: Any, y: Any, weights: list[Fraction]) -> tuple[list[Any], list[Any], list[Fraction]]:
    """Return the samples that are there."""
    X, y = list(X), list(y)
    if not len(X) == len(y) == len(weights):
        raise ValueError(f"X has {len(X)} samples, y has {len(y)}, sample_weight has {len(weights)}")
    if any(weight < 0 for weight in weights) or not any(weights):
        raise ValueError("sample_weight must not be negative, and not 0 everywhere")
    there = [i for i, weight in enumerate(weights) if weight]
    return [X[i] for i in there], [y[i] for i in there], [weights[i] for i in there]


def _exact_moments(
    rows: list[list[Fraction]], targets: list[Fraction], weights: list[Fraction] | None
) -> tuple[list[list[Fraction]], list[Fraction], Fraction]:
    """Return XᵀωX, Xᵀωy and yᵀωy; the sums run over integers, because adding fractions looks for common divisors every time."""
    columns = [*zip(*rows, strict=True), targets, *([] if weights is None else [weights])]
    shared = []  # per column: its values as integers over one denominator
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
    return [_rational(x)] if np.ndim(x) == 0 else [_rational(value) for value in x]


def _rational(value: Any) -> Fraction:
    """Return the exact value of an integer, float of any width, Fraction, Decimal or decimal string."""
    if isinstance(value, (str, Fraction)):
        return Fraction(value)
    if isinstance(value, np.generic):
        value = value.item() if not isinstance(value, np.longdouble) else value
    try:
        return Fraction(*value.as_integer_ratio())
    except (OverflowError, ValueError) as error:
        raise ValueError(f"exact descent needs finite numbers, not {value!r}") from error
