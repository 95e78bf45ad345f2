"""load(): reads what was saved, and checks that its arrays fit each other."""

from __future__ import annotations

import math
import os
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..input.float_mode import computes
from ..input.messages import in_ascii, kind_of
from ..kernels.chunk import STANDARD
from ..kernels.update_rules import UPDATE_RULES
from .coordinate import Coordinate, rule_of
from .curvatures import Curvatures
from .group_result import GroupResult
from .moments import Moments, misfit, misfit_of_keys
from .result import FitResult, History, State
from .robust import Robust, misfit_of_robust
from .statistics import Statistics, misfit_of_statistics
from .status import Status, named
from .sweep_result import SweepResult


@computes
def load(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Any:
    """Read what the `save` of a FitResult, GroupResult, SweepResult or Moments wrote, bit for bit.

    It needs neither the backend that computed a result nor a GPU.

    Parameters
    ----------
    path : str or path
        The file, as it was given to `save`: ``.npz`` may be left out.
    max_bytes : int, optional
        Most memory that its contents may take [bytes]. None: 64 MiB or four times the length of the
        file, whichever is more. `save` does not compress, so its files always take less; only a
        file that somebody compressed, or crafted, asks for more.

    Returns
    -------
    FitResult, GroupResult, SweepResult or Moments
        What was saved, with NumPy arrays. ``fit(..., state=result.state)`` continues a result.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is not a saved result, is damaged (the checksum of every byte is compared before
        anything is read), was saved by a newer version of fastgd, holds Python objects, or declares
        more than ``max_bytes``.

    Examples
    --------
    >>> import fastgd, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "line.npz")
    ...     fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=5).save(path)
    ...     float(fastgd.load(path).w)
    2.0625
    """
    from .file_format import name_of, read_file, with_ending

    path = longer if os.path.exists(longer := with_ending(path)) else name_of(path)
    result = read_file(path, tuple(_CHECKS), (History, State, Status, Coordinate, Curvatures, Robust, Statistics), max_bytes)
    if wrong := _CHECKS[type(result)](result):
        raise ValueError(f"{in_ascii(path)} is not damaged, but it is not a result as fastgd writes them: {wrong}")
    if isinstance(result, Moments):
        return result
    if isinstance(result, SweepResult):
        return replace(result, status=named(result.status), tol=None if result.tol is None else float(result.tol))
    state = result.state
    state = replace(state, status=named(state.status), tol=None if state.tol is None else float(state.tol))
    return replace(result, status=named(result.status), state=state)


# by class: the fields that are no arrays of numbers
_PLAIN: dict[type, dict[str, Any]] = {
    FitResult: {
        **dict.fromkeys(("backend", "algorithm", "explanation", "_start"), str),
        **dict.fromkeys(("_one_feature", "_penalised", "_scheduled"), bool),
        "versions": dict,
        "hyperparameters": dict,
        "features": tuple | None,
        "state": State,
        "history": History | None,
        "_curvatures": Curvatures | None,
        "stats": Statistics | None,
        "robust": Robust | None,
    },
    SweepResult: {
        **dict.fromkeys(("backend", "algorithm", "explanation"), str),
        **dict.fromkeys(("_one_feature", "_penalised"), bool),
        "versions": dict,
        "coordinates": dict,
        "history": History | None,
        "tol": float | None,
    },
    State: {"optimizer": str, "intercept": bool, "dtype": str, "tol": float | None},
    History: {},
}
_PLAIN[GroupResult] = {**_PLAIN[FitResult], "keys": dict}
# by name: the kind of dtype of the other fields that hold no floating-point numbers
_WHOLE = ("epochs", "best_epoch", "n_used", "rank", "epoch", "status", "algorithm", "passes", "seed")
_DTYPES = {**dict.fromkeys(_WHOLE, "i"), "ill_conditioned": "b"}
_CODES = {"status": len(Status), "algorithm": len(State.algorithm_names)}


def _of_another_kind(owner: FitResult | SweepResult | State | History, part: str) -> str:
    """Which field is not of its kind, as a sentence; '' where all are."""
    for each in fields(owner):
        value, name = getattr(owner, each.name), part + each.name
        kind = _PLAIN[type(owner)].get(each.name, np.ndarray | np.generic | Status if each.name == "status" else np.ndarray | np.generic)
        if not (isinstance(value, kind) or (value is None and each.default is None)):
            return f"{name} is a {kind_of(value)}"
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != _DTYPES.get(each.name, "f"):
            return f"{name} has dtype {value.dtype}"
        count = _CODES.get(each.name)
        if count and isinstance(value, np.ndarray) and not ((value >= 0) & (value < count)).all():
            return f"{name} has a code that is not one of 0 to {count - 1}"
    return ""


def _misfit(result: FitResult) -> str:
    """What is wrong with the fields of a loaded result, as a sentence; '' where nothing is."""
    leading = np.shape(result.loss)
    if wrong := _misfit_of_parts(result, (("", result), ("state.", result.state), ("history.", result.history))):
        return wrong
    for names in (("rank", "condition", "ill_conditioned"), STANDARD):
        gone = [name for name in names if getattr(result, name) is None]
        if 0 < len(gone) < len(names):
            return f"it has {next(name for name in names if name not in gone)} without {gone[0]}"
    names = result.features
    if names is not None and (set(map(type, names)) != {str} or len(names) != (1 if result._one_feature else np.shape(result.w)[-1])):
        return "features are not a name for each feature"
    given: dict[str, Any] = result.hyperparameters
    for name, values in given.items():
        if not isinstance(values, np.ndarray):
            return f"hyperparameters.{in_ascii(name)} is a {kind_of(values)}"
        if values.dtype != np.float64:
            return f"hyperparameters.{in_ascii(name)} has dtype {values.dtype}"
        if not _broadcasts(values.shape, leading):
            return f"hyperparameters.{in_ascii(name)} has shape {values.shape}, but the fits have shape {leading}"
    if isinstance(result, GroupResult) and (wrong := misfit_of_keys(result.keys, leading)):
        return wrong
    if wrong := misfit_of_statistics(result.stats, leading, np.shape(result.state.w)[-1]):
        return wrong
    if wrong := misfit_of_robust(result.robust, leading):
        return wrong
    return _misfit_of_curvatures(result._curvatures, math.prod(leading), np.shape(result.state.w)[-1], result.state.optimizer)


def _misfit_of_sweep(result: SweepResult) -> str:
    """What is wrong with the fields of a loaded sweep, as a sentence; '' where nothing is."""
    if wrong := _misfit_of_parts(result, (("", result), ("history.", result.history))):
        return wrong
    lengths: dict[str, int] = {}
    for name, one in result.coordinates.items():
        if (
            type(one) is not Coordinate
            or type(one.dim) is not str
            or not isinstance(one.values, np.ndarray)
            or one.values.ndim not in (1, 2)
        ):
            return f"coordinates[{name!a}] is no list of values"
        if one.dim and lengths.setdefault(one.dim, len(one.values)) != len(one.values):
            return f"coordinates[{name!a}] has another length than others of its axis"
        if not _texts_fit(one) or (not one.dim and len(one.values) != 1):
            return f"coordinates[{name!a}] has values that are not there"
    rules = result.coordinates["optimizer"].texts if "optimizer" in result.coordinates else {}
    if not rules or not {rule_of(label) for label in rules.values()} <= UPDATE_RULES.keys():
        return "coordinates have no optimizer"
    if not lengths.keys() <= result.coordinates.keys() or tuple(lengths[name] for name in result.dims) != np.shape(result.loss):
        return f"the axes have lengths {lengths}, but the cells have shape {np.shape(result.loss)}"
    return ""


def _texts_fit(one: Coordinate) -> bool:
    """Whether the values of a coordinate are numbers, or places in its texts."""
    texts = one.texts
    if type(texts) is not dict or list(texts) != [str(place) for place in range(len(texts))]:
        return False
    if not texts:
        return True
    places = one.values
    fine = places.ndim == 1 and places.dtype.kind == "i" and bool(((places >= 0) & (places < len(texts))).all())
    return fine and all(type(text) is str for text in texts.values())


def _misfit_of_parts(result: Any, parts: Any) -> str:
    """What is wrong with the fields of a result and of its parts."""
    leading = np.shape(result.loss)
    for part, owner in parts:
        if owner is None:
            continue
        if wrong := _of_another_kind(owner, part):
            return wrong
        last = _last_axes(result, owner)
        for each in fields(owner):
            value, needed = getattr(owner, each.name), (*leading, *last.get(each.name, ()))
            if each.name == "epoch" and owner is result.history:
                needed = last["loss"]
            if value is not None and each.name not in _PLAIN[type(owner)] and not _fits(np.shape(value), needed):
                return f"{part}{each.name} has shape {np.shape(value)}, but the fits have shape {leading}"
    return ""


def _misfit_of_curvatures(found: Curvatures | None, n_fits: int, size: int, optimizer: str) -> str:
    """What is wrong with the curvatures of fits of `size` parameters; '' where nothing is."""
    if found is None:
        return ""
    if optimizer not in UPDATE_RULES:
        return f"_curvatures are of {in_ascii(optimizer)}, which is no update rule"
    rule = UPDATE_RULES[optimizer]
    last = {"gram": (size * (size + 1) // 2,), "exponents": (size,), "hyper": (len(rule.hyperparameters) + len(rule.derived),)}
    for each in fields(found):
        value, dtype = getattr(found, each.name), np.int64 if each.name in ("index", "exponents") else np.float64
        if not isinstance(value, np.ndarray):
            return f"_curvatures.{each.name} is a {kind_of(value)}"
        if value.dtype != dtype:
            return f"_curvatures.{each.name} has dtype {value.dtype}"
        if value.shape != (np.size(found.index), *last.get(each.name, ())):
            return f"_curvatures.{each.name} has shape {value.shape}"
    if not ((found.index >= 0) & (found.index < n_fits)).all():
        return f"_curvatures.index has a number that is not one of 0 to {n_fits - 1}"
    return ""


def _last_axes(result: Any, owner: Any) -> dict[str, tuple[int | None, ...]]:
    """{field: lengths of the axes that follow those of the fits}, without fields that have none."""
    own = () if result._one_feature else np.shape(result.w)[-1:]
    if isinstance(owner, FitResult | SweepResult):
        return dict.fromkeys(("w", *STANDARD), own)
    if isinstance(owner, History):
        rows = np.shape(owner.epoch)
        return {"w": (*rows, *own), "loss": rows, "intercept": rows, "val_loss": rows, "batch_loss": (None,)}
    features = own or (1,)
    parameters = features[0] + result.state.intercept
    return dict.fromkeys(STANDARD, features) | {"w": (parameters,), "slots": (None, parameters), "products": (None,)}


def _broadcasts(shape: tuple[int, ...], leading: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to that of the fits, which it does not change."""
    return len(shape) <= len(leading) and all(has in (1, length) for has, length in zip(shape[::-1], leading[::-1], strict=False))


def _fits(shape: tuple[int, ...], needed: tuple[int | None, ...]) -> bool:
    """Whether a shape is the one that is needed; None stands for any length."""
    return len(shape) == len(needed) and all(length in (has, None) for has, length in zip(shape, needed, strict=True))


_CHECKS: dict[type, Any] = {FitResult: _misfit, SweepResult: _misfit_of_sweep, Moments: misfit, GroupResult: _misfit}
