"""Moments: compressed data as a value, which `fit` and `solve` take in place of samples.

1. The arrays are those that the kernels read (kernels/cpu/records.py), so nothing is converted.
   Pairs (of an X and a y) that share X share a Gram record.
2. Two parts of the samples are added in the order of docs/arithmetic.md, section 2, as two sums of
   chunks are. Merged parts have the bits of the whole where their sums of chunks are sums of the
   whole; `Moments.merge` says when.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.double_double import add as dd_add
from ..input.float_mode import computes
from ..input.messages import amount, counted, shown
from ..input.unreadable import is_missing
from ..kernels.chunk import W_EXPONENT, W_HIGH, W_LEAST
from .table import html_table, in_line

_OF_GRAMS, _OF_PAIRS = ("gram", "gram_exponents", "weighing"), ("gram_index", "target", "exponents", "n_used", "invalid")


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """The second moments of many fits: all that full-batch descent needs of their samples.

    `fastgd.compress` makes them. ``fit(moments, ...)`` and ``solve(moments, ...)`` take them in
    place of X and y, and read no samples: the result has the bits of
    ``fit(X, y, algorithm="moments")``. ``a + b`` are the moments of the samples of both.

    Of each fit they hold XᵀX, Xᵀy and yᵀy (with weights ω: Xᵀ diag(ω) X and so on) in twice the
    precision of the data. D = n_features, one more with an intercept; "…" are the leading axes of
    X, y and the weights, of length 1 where they only repeat.

    Attributes
    ----------
    gram : ndarray (n_gram, planes, D(D+1)/2) of float64
        The upper triangles of XᵀX, column by column. planes: 1 for float32 data, 2 for float64
        data, whose moments are sums of two numbers; these are of columns that are divided by
        2^exponents.
    gram_exponents : ndarray (n_gram, D+1) of int64
        Exponents of the columns of X; the last one is not used.
    weighing : ndarray (n_gram, 4) of float64
        The sum of the weights (two numbers and an exponent), and the least weight.
    gram_index : ndarray (…) of int64
        Which Gram record each pair of an X and a y has.
    target : ndarray (…, planes, D+1) of float64
        Xᵀy, and yᵀy last.
    exponents : ndarray (…, D+1) of int64
        Exponents of the columns of X and of y.
    n_used : ndarray (…) of int64
        How many samples were used: those that are neither missing nor of weight 0.
    invalid : ndarray (…) of bool
        Whether a number was not finite, under ``nan_policy="propagate"``.
    leading : tuple of int
        Leading axes of the results, axes that only repeat included.
    n_features : int
    one_feature : bool
        Whether X was 1-D: results have no feature axis.
    intercept : bool
        Whether the last parameter is an intercept.
    weighted : bool
        Whether there were weights.
    dtype : str
        "float32" or "float64": that of the data, and of the results.
    nan_policy : str
        What was done with missing numbers.
    keys : dict of str to ndarray (n_groups,)
        The labels of the groups along the last of the leading axes, as a GroupResult has them,
        where `compress_groups` made the moments; else empty.
    """

    gram: NDArray[np.float64]
    gram_exponents: NDArray[np.int64]
    weighing: NDArray[np.float64]
    gram_index: NDArray[np.int64]
    target: NDArray[np.float64]
    exponents: NDArray[np.int64]
    n_used: NDArray[np.int64]
    invalid: NDArray[np.bool_]
    leading: tuple[int, ...]
    n_features: int
    one_feature: bool
    intercept: bool
    weighted: bool
    dtype: str
    nan_policy: str
    keys: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """Number of features, and one for an intercept."""
        return self.n_features + self.intercept

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    @computes
    def __repr__(self) -> str:
        return in_line(*self._facts())

    @computes
    def _repr_html_(self) -> str:
        return html_table(*self._facts())

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        """(title, rows) for `repr` and for notebooks."""
        features = counted(self.n_features, "feature") + (" and an intercept" if self.intercept else "")
        least, most = (int(self.n_used.min()), int(self.n_used.max())) if self.n_used.size else (0, 0)
        samples = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        rows = [("fits", f"{math.prod(self.leading):,} of {features}"), ("samples", samples + (", weighted" if self.weighted else ""))]
        if self.invalid.any():
            rows.append(("invalid", f"{int(self.invalid.sum()):,}"))
        return "Moments", [*rows, ("dtype", self.dtype), ("memory", amount(self.nbytes))]

    @computes
    def __add__(self, other: Any) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        return _add(self, other)

    @staticmethod
    @computes
    def merge(parts: Iterable[Moments]) -> Moments:
        """The moments of the samples of all parts, each of the same fits.

        Neighbours are added pairwise, as the sums of chunks are (docs/arithmetic.md, section 2).

        Parts of 4,096 · 2^k samples each, the last one at most as long, none of them missing, have
        the bits of the whole. Cut otherwise, they have the same moments but for rounding in twice
        the precision of the data.

        Parameters
        ----------
        parts : iterable of Moments
            In the order of the samples. A generator is read one by one: log2 of them are kept.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError, TypeError
            When there are no parts, or they are of different fits, features or dtypes.

        Examples
        --------
        >>> import numpy as np, fastgd
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.normal(size=(10_000, 3)), rng.normal(size=10_000)
        >>> pieces = [slice(first, first + 4096) for first in range(0, 10_000, 4096)]
        >>> parts = (fastgd.compress(X[piece], y[piece]) for piece in pieces)
        >>> merged, whole = fastgd.Moments.merge(parts), fastgd.compress(X, y)
        >>> bool((merged.gram == whole.gram).all() and (merged.target == whole.target).all())
        True
        """
        waiting: list[tuple[int, Moments]] = []  # (how many parts it is the sum of, moments): fewer and fewer
        for number, part in enumerate(parts):
            if not isinstance(part, Moments):
                raise TypeError(f"parts must be Moments, as fastgd.compress returns them; part {number} is {shown(part)}")
            count = 1
            while waiting and waiting[-1][0] == count:
                part, count = _add(waiting.pop()[1], part), 2 * count
            waiting.append((count, part))
        if not waiting:
            raise ValueError("parts is empty: there is nothing to merge")
        _, result = waiting.pop()
        while waiting:
            result = _add(waiting.pop()[1], result)
        return result

    @computes
    def select(self, features: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Moments:
        """The moments of some of the features, and the intercept if there is one: a submodel.

        They have the bits of ``compress(X[..., features], y)``, but for float64 data with weights
        whose features come in another order.

        Parameters
        ----------
        features : slice, sequence of int, or mask of bool (n_features,)
            As an index of the last axis of X. A single number selects one feature, which keeps its
            axis.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError, IndexError
            When X was 1-D, a feature is named twice or is not there, or none is selected.

        Examples
        --------
        >>> import numpy as np, fastgd
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> moments = fastgd.compress(X, X @ [1.0, 0.0, 2.0])
        >>> fastgd.solve(moments.select([0, 2])).w.round(6).tolist()
        [1.0, 2.0]
        """
        if self.one_feature:
            raise ValueError("these moments are of a 1-D X, which has one feature: there is nothing to select")
        try:
            chosen = np.atleast_1d(np.arange(self.n_features)[features])
        except Exception:  # whatever an __array__ or an __index__ may raise, or OverflowError
            raise IndexError(f"features must be an index of {counted(self.n_features, 'feature')}, not {shown(features)}") from None
        if chosen.ndim != 1 or len(chosen) == 0 or len(np.unique(chosen)) < len(chosen):
            raise ValueError(f"features must name at least one feature, each once, not {shown(features)}")
        columns = [*chosen.tolist(), *([self.n_features] if self.intercept else [])]
        entries = [_entry(columns[i], columns[j]) for j in range(len(columns)) for i in range(j + 1)]
        with_y = [*columns, self.n_parameters]
        return replace(
            self,
            gram=self.gram[..., entries],
            gram_exponents=self.gram_exponents[..., with_y],
            target=self.target[..., with_y],
            exponents=self.exponents[..., with_y],
            n_features=len(chosen),
        )

    @computes
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file that `fastgd.load` reads, bit for bit; all or nothing, nothing is pickled.

        Parameters
        ----------
        path : str or path
            ``.npz`` is added where it is missing. An existing file is replaced.
        """
        from .file_format import with_ending, write_file

        write_file(with_ending(path), self)


def misfit(moments: Any) -> str:
    """What is wrong with Moments that somebody made or changed; '' if nothing is."""
    kinds = {"n_features": int, "one_feature": bool, "intercept": bool, "weighted": bool, "dtype": str, "nan_policy": str, "leading": tuple}
    for name, kind in kinds.items():
        if type(getattr(moments, name)) is not kind:
            return f"{name} is {shown(getattr(moments, name))}; it must be a {kind.__name__}"
    for name in ("gram", "gram_exponents", "weighing", "gram_index", "target", "exponents", "n_used", "invalid"):
        if type(getattr(moments, name)) not in (np.ndarray, np.memmap):
            return f"{name} is a {type(getattr(moments, name)).__name__}; it must be an array"
    if moments.dtype not in ("float32", "float64") or not 0 < moments.n_features < 2**31:
        return f"dtype is {moments.dtype!a} and n_features is {shown(moments.n_features)}"
    pairs, size = moments.n_used.shape, moments.n_features + moments.intercept
    n_gram, planes = len(moments.gram), 1 if moments.dtype == "float32" else 2
    of_each: dict[str, tuple[type, tuple[int, ...]]] = {
        "gram": (np.float64, (n_gram, planes, size * (size + 1) // 2)),
        "gram_exponents": (np.int64, (n_gram, size + 1)),
        "weighing": (np.float64, (n_gram, 4)),
        "gram_index": (np.int64, pairs),
        "target": (np.float64, (*pairs, planes, size + 1)),
        "exponents": (np.int64, (*pairs, size + 1)),
        "n_used": (np.int64, pairs),
        "invalid": (np.bool_, pairs),
    }
    for name, (kind, shape) in of_each.items():
        array = getattr(moments, name)
        if array.shape != shape or array.dtype != kind:
            return f"{name} has shape {array.shape} and dtype {array.dtype}; it must have {shape} and {np.dtype(kind)}"
    if len(pairs) != len(moments.leading) or any(n not in (1, m) for n, m in zip(pairs, moments.leading, strict=True)):
        return f"n_used has shape {pairs}, which does not broadcast to the leading axes {moments.leading}"
    if moments.gram_index.size and not 0 <= moments.gram_index.min() <= moments.gram_index.max() < n_gram:
        return f"gram_index names records that are not there; there are {n_gram:,}"
    return misfit_of_keys(moments.keys, moments.leading) if not isinstance(moments.keys, dict) or moments.keys else ""


def misfit_of_keys(keys: Any, leading: tuple[int, ...]) -> str:
    """What is wrong with the labels of groups; '' where nothing is."""
    if not isinstance(keys, dict) or not keys or not leading:
        return "it has no labels of its groups"
    for name, labels in keys.items():
        if not isinstance(labels, np.ndarray) or labels.shape != leading[-1:]:
            return f"keys[{name!a}] is no label for each of {leading[-1]} groups"
    return ""


def join_moments(places: Sequence[np.ndarray], parts: Sequence[Moments]) -> Moments:
    """Moments of more fits: those of each part stand at these places of the last leading axis."""
    first, count = parts[0], sum(len(own) for own in places)
    axis = len(first.leading) - 1
    whole: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in parts]) for name in _OF_GRAMS}
    for name in _OF_PAIRS:
        values, records = getattr(first, name), 0
        whole[name] = np.empty((*values.shape[:axis], count, *values.shape[axis + 1 :]), values.dtype)
        for own, one in zip(places, parts, strict=True):
            whole[name][(*[slice(None)] * axis, own)] = getattr(one, name) + records if name == "gram_index" else getattr(one, name)
            records += len(one.gram)
    return replace(first, **whole, leading=(*first.leading[:-1], count))


def _entry(i: int, j: int) -> int:
    """The place of A_ij in a packed upper triangle."""
    low, high = min(i, j), max(i, j)
    return high * (high + 1) // 2 + low


# -- adding ----------------------------------------------------------------------------------------


def _add(a: Moments, b: Moments) -> Moments:
    """The moments of the samples of a, followed by those of b."""
    if wrong := misfit(a) or misfit(b):
        raise ValueError(f"moments are added that fastgd.compress did not make: {wrong}")
    for name in ("leading", "n_features", "one_feature", "intercept", "dtype"):
        if getattr(a, name) != getattr(b, name):
            what = "fits of shape" if name == "leading" else name
            raise ValueError(f"moments of different fits cannot be added: {what} {getattr(a, name)} and {getattr(b, name)}")
    if a.keys.keys() != b.keys.keys() or not all(_same_labels(a.keys[name], b.keys[name]) for name in a.keys):
        raise ValueError("moments of different groups cannot be added: their keys differ, or have another order")
    if not (np.array_equal(a.gram_index, b.gram_index) and len(a.gram) == len(b.gram)):
        a, b = _with_own_grams(a), _with_own_grams(b)
    with np.errstate(all="ignore"):
        weighing, of_a, of_b = _add_weighing(a.weighing, b.weighing, a.dtype)
        i, j = np.array([(i, j) for j in range(a.n_parameters) for i in range(j + 1)]).T
        gram, gram_exponents = _add_records(_gram_of(a, of_a), _gram_of(b, of_b), i, j)
        columns = np.arange(a.n_parameters + 1)
        target, exponents = _add_records(_target_of(a, of_a), _target_of(b, of_b), columns, columns * 0 + a.n_parameters)
    return replace(
        a,
        gram=gram,
        gram_exponents=gram_exponents,
        weighing=weighing,
        target=target,
        exponents=exponents,
        n_used=np.asarray(a.n_used + b.n_used),
        invalid=np.asarray(a.invalid | b.invalid),
        weighted=a.weighted or b.weighted,
        nan_policy=a.nan_policy if a.nan_policy == b.nan_policy else "omit",
    )


def _same_labels(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether labels of groups are equal; missing ones are."""
    both = zip(a.tolist(), b.tolist(), strict=True)
    return len(a) == len(b) and all(one == other or (is_missing(one) and is_missing(other)) for one, other in both)


def _with_own_grams(moments: Moments) -> Moments:
    """The same moments, with a Gram record for each pair."""
    index = moments.gram_index
    own = {name: getattr(moments, name)[index.reshape(-1)] for name in ("gram", "gram_exponents", "weighing")}
    return replace(moments, gram_index=np.arange(index.size, dtype=np.int64).reshape(index.shape), **own)


def _add_weighing(a: np.ndarray, b: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sum, by which power of two the records of each side must be multiplied)."""
    exponent = np.maximum(a[:, W_EXPONENT], b[:, W_EXPONENT])
    least = np.minimum(a[:, W_LEAST], b[:, W_LEAST])
    shifts = [(side[:, W_EXPONENT] - exponent).astype(np.int64) for side in (a, b)]
    (high_a, low_a), (high_b, low_b) = (
        np.ldexp(side[:, :W_EXPONENT], shift[:, None]).T for side, shift in zip((a, b), shifts, strict=True)
    )
    high, low = (high_a + high_b, low_a) if dtype == "float32" else dd_add(high_a, low_a, high_b, low_b)
    return np.stack([high, low, exponent, least], axis=1), *shifts


class _Side(NamedTuple):
    """Records of one of two parts."""

    values: np.ndarray  # (…, planes, entries)
    exponents: np.ndarray  # (…, D + 1)
    is_empty: np.ndarray  # (…): the part has no samples, and its exponents say nothing
    shift: np.ndarray  # (…): the power of two that makes the weights of both parts comparable


def _gram_of(part: Moments, shift: np.ndarray) -> _Side:
    return _Side(part.gram, part.gram_exponents, part.weighing[:, W_HIGH] == 0.0, shift)


def _target_of(part: Moments, shift: np.ndarray) -> _Side:
    return _Side(part.target, part.exponents, part.n_used == 0, shift[part.gram_index])


def _add_records(a: _Side, b: _Side, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, exponents) of the sum of two records, whose entries are those of columns i and j."""
    if a.values.shape[-2] == 1:
        return a.values + b.values, a.exponents
    own = [np.where(side.is_empty[..., None], other.exponents, side.exponents) for side, other in ((a, b), (b, a))]
    exponents = np.maximum(*own)
    left, right = (_scaled(side, np.ldexp(1.0, each - exponents)[..., None, :], i, j) for side, each in zip((a, b), own, strict=True))
    high, low = dd_add(left[..., 0, :], left[..., 1, :], right[..., 0, :], right[..., 1, :])
    return np.stack([high, low], axis=-2), exponents


def _scaled(side: _Side, factors: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.ldexp((side.values * factors[..., i]) * factors[..., j], side.shift[..., None, None])
