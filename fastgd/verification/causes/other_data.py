"""Hypotheses about data of another shape: the gradient is that of other columns or targets.

1. The columns may be in another order (the intercept first), scaled or centred inside, or missing
   from the residual or from the gradient; y may be scaled or centred.
2. A scaled column is not exact. Its mean gathers a_n roundings of the size of mean|x|, its standard
   deviation as many relative to itself, and what the mean is off by. These errors Δ go into the
   residual, |Δ||w|, and into the gradient, 2/n Δᵀ|r|.
3. Where H w of the gradient H w − c is right and c is not, y is another one: shuffled, or shifted.
   c is D constants, and evidence is that H (w_t − w_0) is beyond the bound in more entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import LIMIT, Array, growth
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .sizes import Variant, at_named_sizes, named_factors, of_term

__all__ = ["about_other_data", "design_of"]

_EVERY_ORDER = 4  # up to this many columns every order is tried
_MOST_COLUMNS = 40  # of which two may have changed places
_OTHER_ENOUGH = 0.01  # share of |X|ᵀ|y| that Xᵀy is off by where y is another one; less may be a penalty on w


class _Data(NamedTuple):
    """What a gradient is made from, and how far rounding may have moved it."""

    X: Array  # (n, D): of the residual
    factor: Array  # (n, D): what the residual is multiplied by
    y: Array  # (n,)
    X_off: Array  # (n, D), of both
    y_off: Array  # (n,)

    @lapack
    def residual(self, seen: Observation, w: Array) -> tuple[Array, Array]:
        """Return X w − y at w (b, D), (b, n), and its error."""
        size = np.abs(w)
        r = w @ self.X.T - self.y
        delta = size @ (seen.u * growth(seen.n_parameters) * np.abs(self.X) + self.X_off).T
        return r, delta + seen.u * (np.abs(self.y) + np.abs(r)) + self.y_off + (seen.n_parameters + 2) * seen.eta

    @lapack
    def gradient(self, seen: Observation, rows: slice) -> Term:
        """Return the gradient of the mean of the squares at the rows w, and its error."""
        parts, w, u = [], seen.w[:-1][rows], seen.u
        for begin in range(0, len(w), seen.yardstick.block):
            r, delta = self.residual(seen, w[begin : begin + seen.yardstick.block])
            size, two = np.abs(r), seen.yardstick.extended(2)[()] / seen.n
            value = two * (r @ self.factor)
            error = two * ((delta + growth(seen.n) * u * size) @ np.abs(self.factor) + size @ self.X_off)
            underflow = max(1, two) * (np.abs(self.factor).sum(0) + seen.n) * seen.eta + 2 * seen.eta
            parts.append(Term(value, error + 3 * u * np.abs(value) + underflow))
        return Term(*(np.concatenate(part) for part in zip(*parts, strict=True))) if parts else seen.nothing()

    def loss(self, seen: Observation) -> tuple[Array, Array]:
        """Return the mean of the squares at every row, and its error."""
        w, u, block = seen.w[: len(seen.true_loss)], seen.u, seen.yardstick.block
        value, error = [], []
        for begin in range(0, len(w), block):
            r, delta = self.residual(seen, w[begin : begin + block])
            value.append((r * r).mean(1))
            error.append((2 * np.abs(r) * delta + delta * delta).mean(1) + (growth(seen.n) + 4) * u * value[-1] + 2 * seen.eta)
        return np.concatenate(value), np.concatenate(error)


def design_of(seen: Observation) -> Array:
    """Return X (n, D), with a last column of ones where there is an intercept."""
    X = seen.yardstick.X
    return np.column_stack([X, np.ones(seen.n, X.dtype)]) if seen.intercept else X


def about_other_data(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about other data than those given."""
    if scene.shown is None or scene.telling_step is None:
        return
    yield from at_named_sizes(scene, _variants(scene.seen))
    yield from _of_another_target(scene)


def _variants(seen: Observation) -> Iterator[Variant]:
    """Yield the gradients of other data."""
    X, y = design_of(seen), seen.yardstick.y
    same = _Data(X, X, y, np.zeros_like(X), np.zeros_like(y))
    d = seen.yardstick.d
    constant = np.ptp(X, axis=0) == 0  # the intercept, or a column of ones in X
    if constant.sum() == 1 and len(constant) > 1:
        bare = np.array(X)
        bare[:, constant] = 0
        yield _variant(seen, ("residual_without_intercept",), same._replace(X=bare))
    ones = np.array(X)
    ones[:, :d] = 1
    yield _variant(seen, ("gradient_without_features",), same._replace(factor=ones))
    for order in _orders(d, seen.intercept):
        first = seen.intercept and order == [d, *range(d)]
        words = {
            "variant": "" if first else f"w[j] is that of column {', '.join(map(str, order))} of X" + _and_ones(order, d, seen.intercept)
        }
        moved = X[:, order]
        data = same._replace(X=moved, factor=moved)
        yield _variant(seen, ("intercept_first",) if first else ("columns_permuted",), data, words, 0.0 if first else 0.25)
    yield from _scaled(seen, same)


def _and_ones(order: list[int], d: int, intercept: bool) -> str:
    return f", where {d} is the intercept" if intercept and order[-1] != d else ""


def _variant(seen: Observation, codes: tuple[str, ...], data: _Data, words: Any = None, more: float = 0.0) -> Variant:
    """Return the gradient of other data as a variant."""
    return Variant(codes, lambda rows: data.gradient(seen, rows), 0.5 + 0.5 * len(codes) + more, words or {}, loss=data.loss)


def _orders(d: int, intercept: bool) -> Iterator[list[int]]:
    """Yield the orders of columns that are tried, the intercept first."""
    D, own = d + intercept, list(range(d + intercept))
    seen = {tuple(own)}
    turned = [[*own[-1:], *own[:-1]], [*own[1:], *own[:1]], own[::-1]]
    swapped = ([*own[:i], own[j], *own[i + 1 : j], own[i], *own[j + 1 :]] for i in range(D) for j in range(i + 1, D))
    every: Any = permutations(own) if D <= _EVERY_ORDER else swapped if D <= _MOST_COLUMNS else ()
    for order in (*turned, *every):
        if tuple(order) not in seen:
            seen.add(tuple(order))
            yield list(order)


def _scaled(seen: Observation, same: _Data) -> Iterator[Variant]:
    """Yield the gradients of features, targets or both that are scaled or centred inside."""
    varies = np.flatnonzero(np.ptp(seen.yardstick.X, axis=0) > 0)  # a column of ones is left as it is
    features = list(_scalings(seen, seen.yardstick.X[:, varies])) if len(varies) else []
    targets = list(_scalings(seen, seen.yardstick.y[:, None]))
    for of_X in (None, *features):
        for of_y in (None, *targets):
            if of_X is None and of_y is None:
                continue
            codes: tuple[str, ...] = ()
            told: list[str] = []
            data = same
            if of_X is not None:
                how, made, off = of_X
                codes, told = ("features_scaled",), [f"X is {how}"]
                X, X_off = np.array(same.X), np.array(same.X_off)
                X[:, varies], X_off[:, varies] = made, off
                data = data._replace(X=X, factor=X, X_off=X_off)
            if of_y is not None:
                how, made, off = of_y
                codes, told = (*codes, "target_scaled"), [*told, f"y is {how}"]
                data = data._replace(y=made[:, 0], y_off=off[:, 0])
            yield _variant(seen, codes, data, {"variant": " and ".join(told)})


def _scalings(seen: Observation, values: Array) -> Iterator[tuple[str, Array, Array]]:
    """Yield (in words, values, error) of columns (n, k) that are centred or scaled (note 2)."""
    u, n = seen.u, seen.n
    with np.errstate(all="ignore"):
        mean, size = values.sum(0) / n, np.abs(values).max(0)
        off_mean = (growth(n) + 2) * u * np.abs(values).sum(0) / n
        centred = values - mean
        off = u * np.abs(centred) + off_mean
        yield "centred (its mean is taken off)", centred, off
        squares = (centred * centred).sum(0)
        for how, count in (("standardised", n), ("standardised with n - 1", n - 1)):
            spread = np.sqrt(squares / count) if count else np.zeros_like(squares)
            if (spread > LIMIT * off_mean).all():
                made = centred / spread
                yield how, made, off / spread + np.abs(made) * ((growth(n) + 8) * u + off_mean / spread)
        low, wide = values.min(0), np.ptp(values, axis=0)
        if (wide > LIMIT * u * size).all():
            yield "scaled to 0 ... 1", (values - low) / wide, 3 * u * np.abs((values - low) / wide)
            made = 2 * ((values - low) / wide) - 1
            yield "scaled to -1 ... 1", made, 8 * u * (np.abs(made) + 1)
        if (size > 0).all():
            yield "divided by its largest size", values / size, u * np.abs(values / size)


@lapack
def _of_another_target(scene: Scene) -> Iterator[Hypothesis]:
    """The gradient is right but for a constant (note 3)."""
    seen, shown = scene.seen, scene.shown
    assert shown is not None
    if seen.n_steps < 2:
        return
    gradient, found = seen.at, shown.gradient(seen)
    used = np.isfinite(found).all(1)
    blur = seen.scale() / np.abs(np.where(shown.rate != 0, shown.rate, 1))
    if used.sum() < 2:
        return
    weight = 1 / (blur[used] * blur[used])
    reach = 2 / seen.n * (np.abs(seen.yardstick.y) @ np.abs(design_of(seen)))
    for codes, factor in [((), scene.asked.factor), *named_factors(seen.size, scene.asked.factor)]:
        off = gradient.value[used] - found[used] / factor
        with np.errstate(all="ignore"):
            constant = (weight * off).sum(0) / weight.sum(0)
        if not np.isfinite(constant).all():
            continue
        if not (np.abs(constant) > _OTHER_ENOUGH * reach).any():
            continue  # too little for another y
        value = gradient.value - constant
        error = gradient.error + (growth(seen.n) + 4) * seen.u * (np.abs(constant) + np.abs(value))
        moves = shown.rate * factor * (gradient.value - gradient.value[0])  # what H (w − w_0) adds
        variant = Variant(
            ("target_other",), of_term(Term(value, error)), 3 + 0.25 * seen.n_parameters, constants=seen.n_parameters, telling=moves
        )
        for one in at_named_sizes(scene, iter([variant])):
            if one.codes == ("target_other", *codes):
                yield one
