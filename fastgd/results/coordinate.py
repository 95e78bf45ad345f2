"""Coordinate: the values that one hyperparameter has in a sweep, along one of its axes."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from ..input.messages import in_ascii, shown

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
        """One value, of Python: a number, a bool, a text, or a tuple of numbers."""
        found = self.labels[place]
        return tuple(found.tolist()) if np.ndim(found) else found.item()

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
    if isinstance(value, tuple):
        return f"({', '.join(short(one) for one in value[:4])}{', ...' if len(value) > 4 else ''})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def label_of(value: Any) -> str:
    """The text of a value: 'adam', 'SGD(momentum=0.9)', 'StepLR(step_size=30)'.

    It names the values that are not defaults. An optimizer with none is the name of its rule, a
    function its name.
    """
    rule = getattr(value, "rule", None)
    if rule is not None and (isinstance(value, type) or not own_values(value)):
        return str(rule.name)
    if is_dataclass(value):
        own = ", ".join(f"{name}={shown(one)}" for name, one in own_values(value).items())
        return f"{type(value).__name__}({own})"
    return value if isinstance(value, str) else in_ascii(getattr(value, "__name__", shown(value)))


def rule_of(label: str) -> str:
    """The name of the update rule of a label."""
    return label.partition("(")[0].lower()


def own_values(optimizer: Any) -> dict[str, Any]:
    """The values of an optimizer or a schedule that are not its defaults, by name."""
    found = {}
    for each in fields(optimizer):
        value, default = getattr(optimizer, each.name), None if each.default is MISSING else each.default
        if not all(map(_is_plain, value if type(value) is tuple else (value,))) or value != default:
            found[each.name] = value
    return found


def _is_plain(value: Any) -> bool:
    """Whether a value is one number, text or switch, or None, which compare as a whole."""
    return type(value) in (int, float, bool, str, tuple, type(None))
