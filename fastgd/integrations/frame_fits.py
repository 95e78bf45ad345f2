"""FrameFits: what a call of fit_frame() or fit_table() fits, by names of columns, and its frames.

1. Everything that can be wrong about names and options is said before a row is read.
2. A frame of results has the rows of the groups in the order of the groups, and the key columns
   with the dtypes that came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..compressing import compress
from ..data.labels import Groups, groups_of_labels, groups_of_offsets
from ..fitting import fit
from ..grouping import arguments_of, fit_rows
from ..input.messages import amount, shown
from ..input.options import read_memory_limit, read_switch
from ..input.statistics import read_stats
from ..planning.job import prepare_anew
from ..planning.solve_job import prepare_solve
from ..results.frame import OF_A_FIT
from ..results.moments import Moments
from ..results.special import has_scipy
from ..results.status import STATUS_NAMES
from ..solving import solve
from .frame_columns import labels_of, narwhals_here, numbers_of, read_names, series_of, table_of

_NOT_HERE = {
    "sample_weight": "give weights, the name of a column",
    "history": "a frame has a row for each group: use fastgd.fit_groups",
    "state": "a frame holds none: use fastgd.fit_groups",
}
_OF_FITS = ("n_used", "status", "epochs", "loss", "excess_loss")
_OF_SOLUTIONS = ("n_used", "status", "loss", "rank", "condition", "ill_conditioned")
_OF_A_TERM, _BY_SCIPY = ("std_error", "t"), ("p", "low", "high")
_OF_COMPRESS = ("dtype", "nan_policy", "nodata")  # options that moments were made with


@dataclass(frozen=True, kw_only=True)
class FrameFits:
    """The columns and the options of a call, checked."""

    caller: str  # the public function, for errors
    targets: list[str]
    several: bool  # targets came as a list: the result has a column with their names
    features: list[str]
    keys: list[str]
    weights: str | None
    solve: bool
    long: bool
    options: dict[str, Any]  # of `fit` or `solve`
    own: list[str]  # columns of the result beside the keys and the name of the target

    @classmethod
    def read(
        cls, caller: str, *, y: Any, x: Any, by: Any, weights: Any, intercept: Any, solve: Any, long: Any, options: Mapping[str, Any]
    ) -> FrameFits:
        """Check the names and options that a caller gave."""
        for option, instead in _NOT_HERE.items():
            if option in options:
                raise ValueError(f"{caller} takes no {option}: {instead}")
        solve, long, intercept = read_switch(solve, "solve"), read_switch(long, "long"), read_switch(intercept, "intercept")
        several, targets, features, keys = not isinstance(y, str), read_names(y, "y"), read_names(x, "x"), read_names(by, "by", none=True)
        if twice := [name for name in features if name in targets]:
            raise ValueError(f"column {twice[0]!a} is in x and in y")
        own = _own_columns(solve, long, ["intercept"] * intercept + features, options.get("stats", False))
        _refuse_same_names([*keys, *(["y"] if several else [])], own, long)
        if weights is not None and not isinstance(weights, str):
            raise TypeError(f"weights must be the name of a column, not {shown(weights)}")
        return cls(
            caller=caller,
            targets=targets,
            several=several,
            features=features,
            keys=keys,
            weights=weights,
            solve=solve,
            long=long,
            options={"intercept": intercept, **options},
            own=own,
        )

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers, each once."""
        return list(dict.fromkeys([*self.targets, *self.features, *([] if self.weights is None else [self.weights])]))

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys([*self.keys, *self.numbers]))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `fit` or `solve`, with their defaults; without data."""
        return arguments_of(self.options, solve if self.solve else fit, self.caller)

    def fit(self, frame: Any, groups: Groups) -> tuple[Any, Any]:
        """(a frame of the results, the result) of groups of rows of an eager frame of narwhals."""
        data, options = self._data(frame), self.options
        if options.get("memory_limit") is not None:
            options = {**options, "memory_limit": _left(options["memory_limit"], data)}
        given = {**data, **options}
        result = fit_rows(given, lambda n_rows: (groups, {}), solved=self.solve, name=self.caller, features=tuple(self.features))
        return self._tidy(frame, groups, result), result

    def fit_all(self, frame: Any) -> Any:
        """A frame of the results of all groups of an eager frame of narwhals."""
        labels = [labels_of(frame[name], name) for name in self.keys]
        made, _ = self.fit(frame, groups_of_labels(labels) if labels else groups_of_offsets([0, len(frame)], len(frame)))
        return made

    def rehearse(self, dtype: np.dtype) -> None:
        """Fit made-up rows: what is wrong about an option is said, and kernels are compiled."""
        n_rows = 2 * len(self.features) + 5
        made = np.cos(np.outer(np.arange(1, n_rows + 1), np.arange(1, len(self.numbers) + 1))).astype(dtype)
        frame = narwhals_here().from_dict(dict(zip(self.numbers, np.abs(made).T, strict=True)), backend="pyarrow")
        rehearsed = replace(self, keys=[], options={**self.options, "progress": None})
        rehearsed.fit(frame, Groups(np.zeros(1, np.int64), np.array([n_rows])))

    def methods(self, dtype: np.dtype, n_rows: int) -> str:
        """Backend and algorithm of a group of n_rows, in words; its options are checked."""
        data: dict[str, Any] = {"X": np.zeros((n_rows, len(self.features)), dtype), "y": np.zeros(n_rows, dtype)}
        if self.weights is not None:
            data["sample_weight"] = np.ones(n_rows, dtype)
        return (prepare_solve if self.solve else prepare_anew)(self.arguments | data).plan.explanation

    def compress(self, frame: Any) -> Moments:
        """The moments of all rows of a frame, of one fit for each target."""
        data = self._data(frame)
        data["X"], data["y"] = data["X"][..., None, :, :], data["y"][..., None, :]  # the axis of groups
        if "sample_weight" in data:
            data["sample_weight"] = data["sample_weight"][None]
        told = {name: self.options[name] for name in (*_OF_COMPRESS, "threads", "memory_limit") if name in self.options}
        return compress(**data, intercept=self.options["intercept"], progress=False, **told)

    def fit_parts(self, parts: Iterable[Moments], frame: Any) -> tuple[Any, Any]:
        """(a frame with the results, the result) of the samples of all parts: of one group.

        frame: of its first row, for its keys.
        """
        options = {name: value for name, value in self.options.items() if name not in (*_OF_COMPRESS, "intercept")}
        result: Any = (solve if self.solve else fit)(Moments.merge(parts), **options)
        groups = Groups(np.zeros(1, np.int64), np.ones(1, np.int64))
        return self._tidy(frame, groups, replace(result, features=tuple(self.features))), result

    def _data(self, frame: Any) -> dict[str, Any]:
        """X, y and the weights of a frame, as options of `fit`."""
        data: dict[str, Any] = {"X": table_of(frame, self.features, "x", -1)}
        if self.several:  # the axis of targets is that of y alone, also where there are as many rows as features
            data["X"], data["y"] = data["X"][None], table_of(frame, self.targets, "y", 0)
        else:
            data["y"] = numbers_of(frame, self.targets[0], "y")
        if self.weights is not None:
            data["sample_weight"] = numbers_of(frame, self.weights, "weights")
        return data

    def _tidy(self, frame: Any, groups: Groups, result: Any) -> Any:
        """The frame of a result: rows by groups, then targets, then terms where long."""
        n_targets, of_terms, keys, own = len(self.targets), _of_terms(result), self.keys, self.own
        if result.loss.size != groups.count * n_targets:
            raise ValueError(
                f"{self.caller} makes one fit of each group{' and target' if self.several else ''}; an option has several values for it: "
                f"the fits have shape {result.loss.shape}. Give one of them at a time, or arrays to fastgd.fit_groups"
            )
        terms = list(of_terms["estimate"])
        repeats = n_targets * (len(terms) if self.long else 1)
        columns: dict[str, Any] = {}
        if self.several:
            columns["y"] = np.tile(np.repeat(np.array(self.targets, object), repeats // n_targets), groups.count).tolist()
        if self.long:
            columns["term"] = terms * (groups.count * n_targets)
            for name in own[1:]:
                columns[name] = np.stack([_by_groups(values) for values in of_terms[name].values()], axis=1).ravel()
        else:
            flat = {term: values for term, values in of_terms["estimate"].items()}
            flat |= {f"{what}_{term}": values for what, of_term in of_terms.items() for term, values in of_term.items()}
            for name in own:
                values = flat.get(name, getattr(result, name, getattr(result.stats, name, None)))
                if name == "status":
                    columns[name] = [STATUS_NAMES[code] for code in _by_groups(result.status).tolist()]
                else:
                    columns[name] = np.full(groups.count * n_targets, np.nan) if values is None else _by_groups(values)
        narwhals = narwhals_here()
        if not keys:
            return narwhals.from_dict(columns, backend=frame.implementation)
        rows = np.repeat(groups.first_rows, repeats)
        found = narwhals.maybe_reset_index(frame.select(keys)[rows])
        return found.with_columns(*(series_of(name, values, frame) for name, values in columns.items()))


def _left(limit: Any, data: Mapping[str, np.ndarray]) -> int:
    """What is left of a memory limit beside the columns that were copied."""
    size, copied = read_memory_limit(limit), sum(array.nbytes for array in data.values())
    assert size is not None
    if copied >= size:
        raise MemoryError(f"the columns take {amount(copied)}, and memory_limit is {amount(size)}: give a larger memory_limit")
    return size - copied


def _own_columns(solve: bool, long: bool, terms: list[str], stats: Any) -> list[str]:
    """The names of the columns of a result beside the keys and the name of the target."""
    asked = read_stats(stats) is not None
    if long:
        return ["term", "estimate", *(_OF_A_TERM if asked else ()), *(_BY_SCIPY if asked and has_scipy() else ())]
    columns = [*(_OF_SOLUTIONS if solve else _OF_FITS), *terms]
    if asked:
        columns += [f"{what}_{term}" for what in (*_OF_A_TERM, *_BY_SCIPY[: int(has_scipy())]) for term in terms]
        columns += [name for name in OF_A_FIT if name not in columns]
    return columns


def _refuse_same_names(keys: list[str], others: list[str], long: bool) -> None:
    """Raise where two columns of the result would have one name."""
    names = [*keys, *others]
    twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twice is not None:
        ways = "rename it" if long else "rename it, or give long=True, where coefficients are rows"
        raise ValueError(f"the result would have two columns {twice!a}: {ways}")


def _of_terms(result: Any) -> dict[str, dict[str, np.ndarray]]:
    """{what: {term: values (…, n_groups)}}: the coefficients, and what statistics say of them."""
    terms = dict(zip(result.features, range(len(result.features)), strict=True))
    if result.intercept is not None:
        terms = {"intercept": len(terms)} | terms  # the last parameter, the first column
    last = () if result.intercept is None else (result.intercept[..., None],)
    found = {"estimate": np.concatenate([result.w, *last], axis=-1)}
    if result.stats is not None:
        found |= {name: getattr(result.stats, name) for name in _OF_A_TERM}
        if has_scipy():
            ends = result.stats.confidence_interval()
            found |= {"p": result.stats.p, "low": ends[..., 0], "high": ends[..., 1]}
    return {what: {term: values[..., k] for term, k in terms.items()} for what, values in found.items()}


def _by_groups(values: np.ndarray) -> np.ndarray:
    """(n_groups · n_targets,): values (n_groups,) or (n_targets, n_groups), group after group."""
    return np.ascontiguousarray(np.asarray(values).T).ravel()
