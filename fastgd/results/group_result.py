"""GroupResult: the fits of groups of rows, with the labels of the groups."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..input.messages import shown
from ..input.unreadable import is_missing
from .moments import Moments
from .result import FitResult


@dataclass(frozen=True, repr=False, eq=False)
class GroupResult(FitResult):
    """The fits of groups of rows: a FitResult whose last leading axis are the groups.

    It has all attributes of a FitResult, and one more.

    Attributes
    ----------
    keys : dict of str to ndarray (n_groups,)
        The labels of each group, by their names, in the order of the results: that in which the
        table first shows them. "group" where one array of labels was given, or offsets, whose
        labels are 0, 1, …; "group_0", "group_1", … of a tuple of arrays.
    """

    keys: dict[str, np.ndarray] = field(default_factory=dict)

    def find(self, *labels: Any) -> int:
        """The place of a group on the last of the leading axes.

        Parameters
        ----------
        *labels
            The label of the group, or one for each of ``keys``; None for one that is missing.

        Returns
        -------
        int

        Raises
        ------
        KeyError
            When there is no such group.
        TypeError
            When there are more or fewer labels than ``keys``.

        Examples
        --------
        >>> import fastgd
        >>> X, y = [1.0, 2, 1, 2], [2.0, 4, 3, 6]
        >>> result = fastgd.solve_groups(X, y, ["a", "a", "b", "b"])
        >>> float(result.w[result.find("b")])
        3.0
        """
        if len(labels) != len(self.keys):
            raise TypeError(f"find needs a label for each of {', '.join(map(ascii, self.keys))}; it has {len(labels)}")
        there = np.ones(np.shape(self.loss)[-1], bool)
        for label, known in zip(labels, self.keys.values(), strict=True):
            try:
                there &= _equal(known, label)
            except Exception:  # whatever an __eq__ may raise: then it is none of these
                there[:] = False
        places = np.flatnonzero(there)
        if not len(places):
            raise KeyError(f"there is no group {shown(labels if len(labels) > 1 else labels[0])}")
        return int(places[0])


def _equal(known: np.ndarray, label: Any) -> np.ndarray:
    """(n_groups,) bool: which labels are this one."""
    if known.dtype.kind != "O":
        same = known != known if is_missing(label) else known == label
        return np.broadcast_to(np.asarray(same, bool), known.shape)
    gone = is_missing(label)
    return np.array([is_missing(one) == gone and (gone or one == label) for one in known.tolist()], bool)


def of_groups(result: FitResult, X: Any) -> FitResult:
    """The result of X with the labels of groups, where X is Moments that have them."""
    return with_keys(result, X.keys) if isinstance(X, Moments) and X.keys else result


def with_keys(result: FitResult, keys: dict[str, np.ndarray]) -> GroupResult:
    """The result of groups that have these labels."""
    return GroupResult(**{each.name: getattr(result, each.name) for each in fields(FitResult)}, keys=keys)
