"""Grid: the cells of a sweep, read from `grid` or `points`, and the calls of `fit` that make them.

1. A grid is a broadcast: axis k of the grid is leading axis k of the fits, the data's leading axes
   come last. So every hyperparameter is reshaped, none is repeated.
2. Schedules are an array of objects, which broadcasts like numbers. The optimizer and options that
   hold for a whole call (CALLS) are no arrays: each of their values is one call of `fit`. A
   hyperparameter that a rule does not have is left out of its calls.
3. The ranges of values are checked here by the rows of the update rules, so that an error names the
   place in the grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from ..input.annotations import Reduction
from ..input.hyperparameters import read_hyperparameter
from ..input.messages import counted, kind_of, shown
from ..input.options import read_choice, read_switch
from ..input.reading import SEQUENCES, read_numbers
from ..input.wrong_names import right_name
from ..kernels.update_rules import LR, NOT_NEGATIVE, UPDATE_RULES, Range, UpdateRule
from ..optimizers import find_optimizer
from ..results.coordinate import Coordinate, label_of, own_values
from ..schedules.table import read_schedule

CALLS = ("optimizer", "reduction", "standardize")  # one call of `fit` for each value
STARTS = ("w0", "intercept0")
_OF_FIT = ("lr", "schedule", "ridge", *STARTS)  # options of `fit`, whatever the rule is
POINT = "point"  # the axis of points


@dataclass(frozen=True)
class Call:
    """One call of `fit`: its options, and the cells that it makes."""

    options: dict[str, Any]  # that differ between calls: the optimizer, perhaps lr, w0, reduction, …
    where: tuple[Any, ...]  # index of its cells, along the axes of the sweep


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep and their values."""

    dims: dict[str, int]  # the length of each axis, without those of the data
    coordinates: dict[str, Coordinate]  # by name; betas are one
    given: dict[str, list[Any]] = field(repr=False)  # of CALLS: the value of each place
    schedules: np.ndarray | None = field(repr=False, default=None)  # (k,) objects: of each place of their axis
    optimizer: Any = None  # of all cells, where it is no axis

    @property
    def words(self) -> str:
        """The size in words: '192 cells (lr 64 x momentum 3)'."""
        sizes = " x ".join(f"{name} {length:,}" for name, length in self.dims.items())
        return f"{counted(math.prod(self.dims.values()), 'cell')} ({sizes})"

    def take(self, where: Mapping[str, slice]) -> Grid:
        """The cells of a stretch of each axis. where: by the names of the axes, all of them."""
        dims = {name: len(range(length)[where[name]]) for name, length in self.dims.items()}

        def of(name: str) -> slice:
            return where[self.coordinates[name].dim]

        return replace(
            self,
            dims=dims,
            coordinates={name: one.take(of(name)) if one.dim else one for name, one in self.coordinates.items()},
            given={name: values[of(name)] for name, values in self.given.items()},
            schedules=None if self.schedules is None else self.schedules[of("schedule")],
        )

    def calls(self, n_data: int) -> Iterator[Call]:
        """The calls of `fit`. n_data: how many leading axes the data have."""
        for where, chosen in self._groups():
            optimizer = chosen.pop("optimizer", self.optimizer)
            own, options = {}, dict(chosen)
            for name, coordinate in self.coordinates.items():
                if name in CALLS or name == POINT or not has_hyperparameter(optimizer.rule, name):
                    continue
                all_of_them = self.schedules if name == "schedule" else coordinate.values
                values = self._as_leading(coordinate.dim, all_of_them, where, n_data)
                if name == "schedule" and not has_schedule(values).any():
                    continue
                if name in _OF_FIT:
                    options[name] = values
                else:
                    own[name] = (values[..., 0], values[..., 1]) if name == "betas" else values
            yield Call(options | {"optimizer": replace(optimizer, **own)}, where)

    def _groups(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """(index of the cells, the values of CALLS that they share)."""
        if POINT in self.dims:
            keys = list(zip(*(self.coordinates[name].values.tolist() for name in self.given), strict=True))
            for key in dict.fromkeys(keys) if keys else [()]:
                where: Any = np.array([k for k, one in enumerate(keys) if one == key]) if keys else slice(None)
                first = where[0] if keys else 0
                yield (where,), {name: values[first] for name, values in self.given.items()}
            return
        for places in itertools.product(*(range(len(values)) for values in self.given.values())):
            at = dict(zip(self.given, places, strict=True))
            cells = tuple(slice(at[name], at[name] + 1) if name in at else slice(None) for name in self.dims)
            yield cells, {name: values[at[name]] for name, values in self.given.items()}

    def _as_leading(self, dim: str, values: Any, where: tuple[Any, ...], n_data: int) -> np.ndarray:
        """The values along their axis of the sweep, with axes of length 1 beside it."""
        axis = list(self.dims).index(dim)
        values = values[where[axis]]
        after = len(self.dims) - axis - 1 + n_data
        return values.reshape(*(1,) * axis, len(values), *(1,) * after, *values.shape[1:])


def has_schedule(schedules: np.ndarray) -> np.ndarray:
    """(…) bool: where there is a schedule, not None."""
    return np.array([one is not None for one in schedules.ravel()], bool).reshape(schedules.shape)


def has_hyperparameter(rule: UpdateRule, name: str) -> bool:
    """Whether a name of a grid says something of the fits of this rule."""
    return name in _OF_FIT or ("beta1" if name == "betas" else name) in rule.hyperparameters


def read_grid(arguments: Mapping[str, Any], options: Mapping[str, Any], known: Mapping[str, Any]) -> Grid:
    """Read `grid` or `points`.

    arguments: those of `sweep`; options: the options of `fit` among them; known: all options of
    `fit`, with their defaults.
    """
    grid, points = arguments["grid"], arguments["points"]
    if (grid is None) == (points is None):
        what = "both grid and points were given" if grid is not None else "neither grid nor points was given"
        raise ValueError(f'{what}; give one: grid={{"lr": [0.01, 0.1]}}, or points=[{{"lr": 0.01}}, {{"lr": 0.1}}]')
    what = "grid" if points is None else "points"
    columns = _read_mapping(grid) if points is None else _read_points(points)
    optimizers = _read_optimizers(columns, arguments["optimizer"], what)
    distinct = each_once(optimizers)
    rules = list({optimizer.rule.name: optimizer.rule for optimizer in distinct}.values())
    for name in columns:
        _check_name(name, what, rules, distinct, options, known)
    dims = {name: len(values) for name, values in columns.items()} if points is None else {POINT: len(next(iter(columns.values())))}
    coordinates, given, schedules = {}, {}, None
    for name, values in columns.items():
        dim, said = (name if points is None else POINT), f"{what}[{name!r}]"
        if name == "optimizer":
            given[name] = optimizers
            labels = {id(optimizer): label_of(optimizer) for optimizer in distinct}
            coordinates[name] = Coordinate.of_texts(dim, [labels[id(optimizer)] for optimizer in optimizers])
        elif name == "schedule":
            schedules = _read_schedules(values, said)
            coordinates[name] = Coordinate.of_texts(dim, _labels(values, schedules))
        elif name in CALLS:
            given[name], coordinates[name] = _read_options_of_calls(name, dim, values, said)
        else:
            coordinates[name] = Coordinate(dim, _read_values(name, values, said, rules))
        if points is None:
            _refuse_repeats(coordinates[name], said)
    if points is not None:
        coordinates[POINT] = Coordinate(POINT, np.arange(dims[POINT]))
    if "optimizer" not in columns:
        coordinates["optimizer"] = Coordinate.of_texts("", [label_of(optimizers[0])])
    return Grid(dims, coordinates, given, schedules, None if "optimizer" in columns else optimizers[0])


# -- the forms of grid and points --------------------------------------------------------------


def _read_mapping(grid: Any) -> dict[str, Any]:
    """{name: list of values} of a grid."""
    if not isinstance(grid, Mapping):
        raise TypeError(f'grid must be a mapping of names to lists of values, such as {{"lr": [0.01, 0.1]}}, not {shown(grid)}')
    columns = dict(grid)
    if not columns:
        raise ValueError('grid is empty; at least one axis is needed, such as {"lr": [0.01, 0.1]}')
    for name, values in columns.items():
        if not isinstance(name, str):
            raise TypeError(f"grid must have names of hyperparameters, not {shown(name)}")
        columns[name] = _read_column(values, f"grid[{name!r}]")
    return columns


def _read_points(points: Any) -> dict[str, Any]:
    """{name: one value for each point}, from a list of mappings, a data frame, or columns."""
    if isinstance(points, SEQUENCES):
        return _read_records(points)
    names = list(points) if isinstance(points, Mapping) else getattr(points, "column_names", getattr(points, "columns", None))
    if names is None:
        raise TypeError(f"points must be a list of mappings, or a data frame with a row for each point, not {kind_of(points)}")
    columns = {}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"points must have names of hyperparameters, not {shown(name)}")
        column = points[name]
        columns[name] = _read_column(
            next((getattr(column, way)() for way in ("to_list", "to_pylist") if hasattr(column, way)), column), name
        )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"points must have one value of each name for each point; there are {lengths}")
    if not lengths or not any(lengths.values()):
        raise ValueError("points is empty; at least one point is needed")
    return columns


def _read_records(points: Any) -> dict[str, Any]:
    if not points:
        raise ValueError("points is empty; at least one point is needed")
    for number, point in enumerate(points):
        if not isinstance(point, Mapping) or not all(isinstance(name, str) for name in point):
            raise TypeError(f'points[{number}] must be a mapping such as {{"lr": 0.1}}, not {shown(point)}')
        odd = point.keys() ^ points[0].keys()
        if odd:
            name = min(odd)
            has, lacks = (number, 0) if name in point else (0, number)
            raise ValueError(f"points[{has}] has {name!r}, but points[{lacks}] has none; every point needs the same names")
    if not points[0]:
        raise ValueError('points[0] is empty; a point has at least one value, such as {"lr": 0.1}')
    return {name: [point[name] for point in points] for name in points[0]}


def _read_column(values: Any, said: str) -> Any:
    if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__len__") or not getattr(values, "ndim", 1):
        raise TypeError(f"{said} must be a list of values, such as [0.01, 0.1], not {shown(values)}")
    if not len(values):
        raise ValueError(f"{said} is empty; at least one value is needed")
    return values


# -- names -------------------------------------------------------------------------------------


def _read_optimizers(columns: Mapping[str, Any], optimizer: Any, what: str) -> list[Any]:
    """The optimizer of each place of its axis; the one of all cells where it is no axis."""
    if "optimizer" not in columns:
        return [find_optimizer(optimizer)]
    if not (isinstance(optimizer, str) and optimizer == "sgd"):
        raise ValueError(f"optimizer was given twice: sweep(optimizer={shown(optimizer)}) and {what}['optimizer']; give one of them")
    values = list(columns["optimizer"])  # held, so that each has an id of its own
    found: dict[int, Any] = {}
    for number, value in enumerate(values):
        if id(value) not in found:
            try:
                found[id(value)] = find_optimizer(value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{what}['optimizer'][{number}]: {error}") from None
    return [found[id(value)] for value in values]


def each_once(objects: Iterable[Any]) -> list[Any]:
    """The objects without those that came before; many points may share one."""
    return list({id(one): one for one in objects}.values())


def _check_name(
    name: str, what: str, rules: list[UpdateRule], optimizers: list[Any], options: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Raise unless a name can be an axis, and is given there alone."""
    if name in options:
        raise ValueError(f"{name} was given twice: sweep({name}={shown(options[name])}) and {what}[{name!r}]; give one of them")
    if name in CALLS:
        return
    if any(has_hyperparameter(rule, name) for rule in rules):
        for optimizer in optimizers:
            if name in own_values(optimizer):
                raise ValueError(f"{name} was given twice: in {label_of(optimizer)} and in {what}[{name!r}]; give one of them")
        return
    ours, names = right_name(name), _names_of(rules)
    asked = "beta1" if ours == "betas" else ours
    of_rules = [rule.class_name for rule in UPDATE_RULES.values() if asked in rule.hyperparameters]
    listed = " nor of ".join(rule.name for rule in rules)
    if ours == name and of_rules:
        raise ValueError(f"{what} has {name!r}, which is no hyperparameter of {listed}: it is one of {', '.join(of_rules)}")
    if ours != name and ours in (*names, *CALLS):
        raise ValueError(f"{what} has {name!r}, which is called {ours!r} here")
    if ours in known:
        raise ValueError(f"{what} has {name!r}, which is an option of all cells: give sweep(..., {ours}=...)")
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), (*names, *CALLS), 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it may have {', '.join((*names, *CALLS))}"
    raise ValueError(f"{what} has {shown(name)}, which is no hyperparameter of {listed}{hint}")


def _names_of(rules: list[UpdateRule]) -> list[str]:
    """The hyperparameters of these rules, and starts, as a grid names them."""
    names = ["lr", "schedule", "ridge", *(name for rule in rules for name in rule.hyperparameters)]
    return list(dict.fromkeys("betas" if name in ("beta1", "beta2") else name for name in [*names, *STARTS]))


# -- values ------------------------------------------------------------------------------------


def _read_options_of_calls(name: str, dim: str, values: Any, said: str) -> tuple[list[Any], Coordinate]:
    """(the values of each place, their coordinate) of an option that holds for a whole call."""
    if name == "standardize":
        read = [read_switch(value, f"{said}[{k}]") for k, value in enumerate(values)]
        return read, Coordinate(dim, np.array(read))
    chosen = [read_choice(value, f"{said}[{k}]", get_args(Reduction)) for k, value in enumerate(values)]
    return chosen, Coordinate.of_texts(dim, chosen)


def _read_values(name: str, values: Any, said: str, rules: list[UpdateRule]) -> np.ndarray:
    """(k,) numbers or booleans, (k, 2) betas, or (k, n_features) starts; checked."""
    if name in STARTS:
        read = read_numbers(values, said)
        if name == "intercept0" and read.ndim != 1:
            raise ValueError(f"{said} must be a list of numbers; it has shape {read.shape}")
        return np.array(read)
    allowed = _range_of(name, rules)
    read = np.array(read_hyperparameter(values, said, allowed))
    shape, needed = ((2,), "pairs (beta1, beta2)") if name == "betas" else ((), "numbers")
    if read.ndim != 1 + len(shape) or read.shape[1:] != shape:
        raise ValueError(f"{said} must be a list of {needed}; it has shape {read.shape}")
    return read.astype(bool) if allowed.switch else read


def _read_schedules(values: Any, said: str) -> np.ndarray:
    """(k,) schedules of fastgd.schedules; None is a rate that stays, a function gives factors."""
    read = np.full(len(values), None, object)
    for place, value in enumerate(values):
        try:
            found = read_schedule(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{said}[{place}]: {error}") from None
        if found is not None and found.which.shape:
            raise TypeError(f"{said}[{place}] must be one schedule, not {shown(value)}")
        read[place] = None if found is None else found.schedules[0]
    if all(schedule is None for schedule in read):
        raise ValueError(f"{said} has no schedule; give one beside None, such as fastgd.schedules.StepLR(30), or leave {said} out")
    return read


def _labels(values: Any, schedules: np.ndarray) -> list[str]:
    """A text for each schedule; functions of one name are numbered."""
    labels = [label_of(value) for value in values]
    found: dict[str, list[Any]] = {}
    for place, (label, schedule) in enumerate(zip(labels, schedules, strict=True)):
        alike = found.setdefault(label, [])
        if schedule not in alike:
            alike.append(schedule)
        number = alike.index(schedule) + 1
        labels[place] = label if number == 1 else f"{label} ({number})"
    return labels


def _range_of(name: str, rules: list[UpdateRule]) -> Range:
    if name in ("lr", "ridge"):
        return LR if name == "lr" else NOT_NEGATIVE
    asked = "beta1" if name == "betas" else name
    return next(rule.range_of(asked) for rule in rules if asked in rule.hyperparameters)


def _refuse_repeats(coordinate: Coordinate, said: str) -> None:
    labels = coordinate.labels
    different, first = np.unique(labels, axis=0, return_index=True)
    if len(different) < len(labels):
        twice = min(set(range(len(labels))) - set(first.tolist()))
        raise ValueError(f"{said} holds {shown(coordinate.value(twice))} twice; each value is needed once")
