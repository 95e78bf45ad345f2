"""fit_groups(), solve_groups(), compress_groups(): groups of rows: read, prepare, run, build."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .compressing import compress
from .data.labels import Groups, groups_by, groups_of_offsets
from .data.problem import Problem
from .data.ragged import GroupProblem
from .fitting import fit
from .input.annotations import AnyArray
from .input.arrays import arrive_on_host
from .input.float_mode import computes
from .input.messages import shown
from .input.wrong_names import helps_with_keywords, right_option
from .planning.grouped import prepare_groups, prepare_groups_to_compress
from .planning.job import data_of, prepare_anew
from .planning.solve_job import prepare_solve
from .results.building import build
from .results.checkpoint import Call, open_checkpoint
from .results.group_result import GroupResult, with_keys
from .results.moments import Moments
from .results.statistics import Statistics
from .running.run import run
from .solving import solve

_NOT_HERE = {
    "out": "fits of groups make their own arrays",
    **dict.fromkeys(("X_val", "y_val", "sample_weight_val"), "groups have no validation data yet"),
}


@helps_with_keywords
def fit_groups(X: AnyArray, y: AnyArray, groups: Any = None, *, offsets: AnyArray | None = None, **fit_options: Any) -> GroupResult:
    """Fit groups of rows of one table by gradient descent, each group a fit of its own.

    ::

        result[g] = fit(X[groups == labels[g]], y[groups == labels[g]], …)

    Each group has the bits of that call alone. A group that fails harms no other.

    Parameters
    ----------
    X : array (…, n_rows, n_features) or (n_rows,)
        Features, as in `fit`, of the rows of all groups, in the computer's memory. The rows of a
        group need not be neighbours; where they are, nothing is sorted.
    y : array (…, n_rows)
        Targets. Leading axes of X and y are fits of their own, such as several targets.
    groups : array (n_rows,), or several in a tuple or mapping
        The label of each row: whole numbers, text, dates or other objects that can be hashed. Of
        several arrays rows belong together whose labels are all equal. Labels that are missing
        (None, NA, NaN, NaT) are equal, and a group like any other.
    offsets : array (n_groups + 1,), optional
        In place of groups, where rows of a group are neighbours: group g has the rows offsets[g] …
        offsets[g + 1] − 1. It begins with 0 and ends with n_rows; a group may be empty.
    **fit_options
        Further options of `fit`, such as ``intercept=True``, ``sample_weight``, ``nan_policy``,
        ``min_samples``, ``tol``, ``stats``, ``history`` or ``memory_limit``; without ``out`` and
        validation data. Where one has an axis of the fits, the last one is that of the groups:
        ``lr`` of shape (n_groups,), ``w0`` of shape (n_groups, n_features). ``state`` is that of an
        earlier call with the same groups, clusters of ``stats`` have a label for each row. With
        ``checkpoint``, a folder, finished groups are stored there, and the same call goes on.

    Returns
    -------
    GroupResult
        w, loss, status, n_used … as of `fit`, with an axis of the groups, the last of the leading
        axes, and ``keys``: the labels. Groups have the order in which the table first shows them.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong; the message names it, what was given and what is needed. Under
        ``nan_policy="raise"`` data that are not finite: the message names the row of the table.
    MemoryError
        When the results, or one group, do not fit into the memory limit.

    See Also
    --------
    fit_frame : Groups of a data frame, by the names of its columns.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.array([[1.0], [2], [3], [1], [2], [5]])
    >>> y = np.array([2.0, 4, 6, 3, 6, 0])
    >>> result = fastgd.fit_groups(X, y, ["a", "a", "a", "b", "b", None], epochs=200)
    >>> result.keys["group"].tolist(), result.n_used.tolist()
    (['a', 'b', None], [3, 2, 1])
    >>> result.w[:, 0].round(6).tolist()
    [2.0, 3.0, 0.0]
    """
    return fit_rows({"X": X, "y": y, **fit_options}, partial(_read_groups, groups, offsets), solved=False, name="fit_groups")


@helps_with_keywords
def solve_groups(X: AnyArray, y: AnyArray, groups: Any = None, *, offsets: AnyArray | None = None, **solve_options: Any) -> GroupResult:
    """Fit groups of rows of one table by least squares in closed form.

    ::

        result[g] = solve(X[groups == labels[g]], y[groups == labels[g]], …)

    Parameters
    ----------
    X : array (…, n_rows, n_features) or (n_rows,)
        Features, as in `fit_groups`.
    y : array (…, n_rows)
        Targets.
    groups : array (n_rows,), or several in a tuple or mapping
        The label of each row, as in `fit_groups`.
    offsets : array (n_groups + 1,), optional
        In place of groups, as in `fit_groups`.
    **solve_options
        Further options of `solve`, and ``checkpoint`` of `fit_groups`.

    Returns
    -------
    GroupResult
        As of `fit_groups`, with ``rank``, ``condition`` and ``ill_conditioned`` of `solve`.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong.
    MemoryError
        When the results, or one group, do not fit into the memory limit.

    Examples
    --------
    >>> import fastgd
    >>> X, y = [1.0, 2, 3, 4, 5], [3.0, 5, 7, 9, 8]
    >>> line = fastgd.solve_groups(X, y, offsets=[0, 3, 5], intercept=True)
    >>> line.w.round(12).tolist(), line.intercept.round(12).tolist()
    ([2.0, -1.0], [1.0, 13.0])
    """
    return fit_rows({"X": X, "y": y, **solve_options}, partial(_read_groups, groups, offsets), solved=True, name="solve_groups")


@helps_with_keywords
@computes
def compress_groups(X: AnyArray, y: AnyArray, groups: Any = None, *, offsets: AnyArray | None = None, **compress_options: Any) -> Moments:
    """Compress groups of rows of one table to what full-batch descent needs of them.

    ``fit(compress_groups(X, y, groups), ...)`` is ``fit_groups(X, y, groups, algorithm="moments",
    ...)``, bit for bit, without reading X and y again; so of `solve`, `sweep` and `stability`.

    Parameters
    ----------
    X : array (…, n_rows, n_features) or (n_rows,)
        Features, as in `fit_groups`.
    y : array (…, n_rows)
        Targets.
    groups : array (n_rows,), or several in a tuple or mapping
        The label of each row, as in `fit_groups`.
    offsets : array (n_groups + 1,), optional
        In place of groups, as in `fit_groups`.
    **compress_options
        Further options of `compress`, such as ``intercept=True``, ``sample_weight`` or
        ``nan_policy``. ``min_samples`` is an option of the fits of these moments.

    Returns
    -------
    Moments
        Of all groups, the last of the leading axes, with their labels, ``keys``. `fit` and `solve`
        make a GroupResult of them.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong, as in `fit_groups`.
    MemoryError
        When the moments, or one group, do not fit into the memory limit.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X, y = [1.0, 2, 3, 1, 2], [2.0, 4, 6, 3, 6]
    >>> moments = fastgd.compress_groups(X, y, ["a", "a", "a", "b", "b"])
    >>> slopes = fastgd.solve(moments)
    >>> slopes.keys["group"].tolist(), slopes.w.round(6).tolist()
    (['a', 'b'], [2.0, 3.0])
    >>> fastgd.sweep(moments, grid={"lr": [0.01, 0.1]}, epochs=50).loss.shape
    (2, 2)
    """
    arguments = arguments_of({"X": X, "y": y, **compress_options}, compress, "compress_groups")
    table = _read_table({**arguments, "min_samples": 1})
    found, keys = _found_groups(table, partial(_read_groups, groups, offsets))
    job = prepare_groups_to_compress(arguments, GroupProblem.of_table(table, found))
    run(job)
    return replace(job.made, keys=keys)


Keys = dict[str, np.ndarray]  # the labels of each group, by name


@computes
def fit_rows(
    given: Mapping[str, Any],
    read_groups: Callable[[int], tuple[Groups, Keys]],
    solved: bool,
    name: str,
    features: tuple[str, ...] | None = None,
) -> GroupResult:
    """Fit groups of rows. given: arguments of `fit` or, where solved, of `solve`.

    read_groups: returns the groups of a number of rows, and their labels. name: of the public
    function, for errors. features: names of the columns of X, where X does not tell.
    """
    single, prepare = (solve, prepare_solve) if solved else (fit, prepare_anew)
    arguments = arguments_of(given, single, name)
    table = _read_table(arguments)
    table.features = features or table.features
    found, keys = _found_groups(table, read_groups)
    job = prepare_groups(arguments, GroupProblem.of_table(table, found), prepare)
    if arguments["checkpoint"] is None:
        run(job)
    else:
        call = Call.of(name, arguments, table, solve=solved, groups=[found.starts, found.sizes, found.rows])
        with open_checkpoint(arguments["checkpoint"], call) as checkpoint:
            job.batches_part = checkpoint.part("batches")
            run(job)
    result = build(job.buffers, job.provenance)
    return with_keys(replace(result, stats=Statistics(**job.statistics)) if job.stats else result, keys)


def _read_table(arguments: Mapping[str, Any]) -> Problem:
    """The rows of a call, as if they were the samples of one fit."""
    options = ("intercept", "dtype", "nan_policy", "min_samples", "nodata")
    return Problem.read(arrive_on_host(**data_of(arguments)), **{option: arguments[option] for option in options})


def _found_groups(table: Problem, read_groups: Callable[[int], tuple[Groups, Keys]]) -> tuple[Groups, Keys]:
    """The groups of a table, at least one, and their labels."""
    found, keys = read_groups(table.n_samples)
    if not found.count:
        raise ValueError(f"there are no groups: X has {table.n_samples} rows")
    return found, keys


def arguments_of(given: Mapping[str, Any], single: Callable[..., Any], name: str) -> dict[str, Any]:
    """The arguments of a call of `single`, with its defaults."""
    defaults = {option: one.default for option, one in inspect.signature(single).parameters.items()} | {"checkpoint": None}
    for option, value in given.items():
        if option in _NOT_HERE:
            raise ValueError(f"{name} takes no {option} ({_NOT_HERE[option]}); it was given as {shown(value)}")
        if option not in defaults:
            known = [*defaults, "groups", "offsets"]
            raise TypeError(f"{name}() has no option {option!a}: {right_option(option, [one for one in known if one not in _NOT_HERE])}")
    return defaults | dict(given)


def _read_groups(groups: Any, offsets: Any, n_rows: int) -> tuple[Groups, Keys]:
    """(the rows of each group, their labels)."""
    if (groups is None) == (offsets is None):
        both = "both were" if groups is not None else "neither was"
        raise TypeError(f"give groups, a label for each row, or offsets, where each group begins; {both} given")
    if offsets is not None:
        found = groups_of_offsets(offsets, n_rows)
        return found, {"group": np.arange(found.count)}
    return groups_by(groups, n_rows)
