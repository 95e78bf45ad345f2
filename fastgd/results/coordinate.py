"""Coordinate: the values that one hyperparameter has in a sweep, along one of its axes."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from ..input.messages import shown

_MOST_LISTED = 8  # values in an error or in a summary


@dataclass(frozen=True, eq=False)
class Coordinate:
    """The values of one name along one axis of a sweep.

    Attributes
    ----------
    dim : str
        The axis that the values lie along. "" where there is one value for all cells.
    values : ndarray (k,), or (k, 2) for betas, or (k, n_features) for w0
        Numbers, booleans, or places in ``texts``.
    texts : dict of str to str
        By their places as text: names of optimizers and the like. Empty for numbers.
    """

    dim: str
    values: np.ndarray
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_texts(cls, dim: str, labels: list[str]) -> Coordinate:
        """A coordinate of texts, each of which is held once."""
        places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
        return cls(dim, np.array([places[label] for label in labels], np.int64), {str(place): label for label, place in places.items()})

    @property
    def labels(self) -> np.ndarray:
        """(k, …) the values as they were given: numbers, booleans, rows of numbers, or texts."""
        return np.array([*self.texts.values()])[self.values] if self.texts else self.values

    @property
    def is_text(self) -> bool:
        """Whether the values are texts."""
        return bool(self.texts)

    def value(self, place: int) -> Any:
        """One value, of Python: a number, a bool, a text; a tuple for betas, an array for w0."""
        found = self.labels[place]
        return found.item() if np.ndim(found) == 0 else tuple(found.tolist()) if len(found) == 2 and found.dtype.kind == "f" else found

    def take(self, places: Any) -> Coordinate:
        """The coordinate of some of the values."""
        return Coordinate(self.dim, self.values[places], self.texts)

    def where(self, wanted: Any) -> np.ndarray:
        """(m,) places of one value, exactly."""
        if self.is_text or np.asarray(wanted).dtype.kind not in "fiub":
            return np.flatnonzero(self.labels == label_of(wanted)) if self.is_text else np.zeros(0, np.intp)
        row = np.asarray(wanted)
        if row.shape != self.values.shape[1:]:
            return np.zeros(0, np.intp)
        same = self.values == row
        return np.flatnonzero(same if same.ndim == 1 else same.all(axis=-1))

    def nearest(self, wanted: float) -> np.ndarray:
        """(1,) place of the number that is nearest to one; the first of several."""
        return np.array([np.argmin(np.abs(self.values - wanted))])

    def __str__(self) -> str:
        """The values in short: '0.1, 0.2, 0.3', or '64 from 0.0001 to 1'."""
        count = len(self.values)
        if count <= _MOST_LISTED:
            return ", ".join(short(self.value(place)) for place in range(count))
        if self.is_text or self.values.ndim > 1:
            return ", ".join(short(self.value(place)) for place in range(_MOST_LISTED)) + f", ... ({count:,} in all)"
        return f"{count:,} from {short(self.values.min())} to {short(self.values.max())}"


def short(value: Any) -> str:
    """A value of a coordinate in a few characters."""
    if isinstance(value, tuple | np.ndarray):
        listed = list(value)
        return f"({', '.join(short(one) for one in listed[:4])}{', ...' if len(listed) > 4 else ''})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def label_of(value: Any) -> str:
    """The text of a value: of an optimizer 'adam', or 'SGD(momentum=0.9)' with its own values."""
    rule = getattr(value, "rule", None)
    if rule is None:
        return str(value)
    own = {} if isinstance(value, type) else own_values(value)
    return f"{rule.class_name}({', '.join(f'{name}={shown(one)}' for name, one in own.items())})" if own else str(rule.name)


def rule_of(label: str) -> str:
    """The name of the update rule of a label."""
    return label.partition("(")[0].lower()


def own_values(optimizer: Any) -> dict[str, Any]:
    """The values of an optimizer that are not its defaults, by name."""
    found = {}
    for each in fields(optimizer):
        value, default = getattr(optimizer, each.name), None if each.default is MISSING else each.default
        if type(value) not in (int, float, bool, str, tuple, type(None)) or value != default:
            found[each.name] = value
    return found
