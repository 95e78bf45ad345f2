"""load(): reads what was saved, and checks that its arrays fit each other."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..input.float_mode import computes
from ..input.messages import in_ascii, kind_of
from ..kernels.chunk import STANDARD
from .moments import Moments, misfit
from .result import FitResult, History, State
from .status import Status, named


@computes
def load(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Any:
    """Read what `FitResult.save` or `Moments.save` wrote, bit for bit.

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
    FitResult or Moments
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
    result = read_file(path, (FitResult, Moments), (History, State, Status), max_bytes)
    if wrong := (misfit if isinstance(result, Moments) else _misfit)(result):
        raise ValueError(f"{in_ascii(path)} is not damaged, but it is not a result as fastgd writes them: {wrong}")
    if isinstance(result, Moments):
        return result
    state = result.state
    state = replace(state, status=named(state.status), tol=None if state.tol is None else float(state.tol))
    return replace(result, status=named(result.status), state=state)


# by class: the fields that are no arrays of numbers
_PLAIN: dict[type, dict[str, Any]] = {
    FitResult: {
        **dict.fromkeys(("backend", "algorithm", "explanation", "_start"), str),
        **dict.fromkeys(("_one_feature", "_penalised"), bool),
        "versions": dict,
        "state": State,
        "history": History | None,
    },
    State: {"optimizer": str, "intercept": bool, "dtype": str, "tol": float | None},
    History: {},
}
# by name: the kind of dtype of the other fields that hold no floating-point numbers
_DTYPES = {**dict.fromkeys(("epochs", "n_used", "rank", "epoch", "status", "algorithm"), "i"), "ill_conditioned": "b"}
_CODES = {"status": len(Status), "algorithm": len(State.algorithm_names)}


def _of_another_kind(owner: FitResult | State | History, part: str) -> str:
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
    for part, owner in (("", result), ("state.", result.state), ("history.", result.history)):
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


def _last_axes(result: FitResult, owner: FitResult | State | History) -> dict[str, tuple[int | None, ...]]:
    """{field: lengths of the axes that follow those of the fits}, without fields that have none."""
    own = () if result._one_feature else np.shape(result.w)[-1:]
    if isinstance(owner, FitResult):
        return dict.fromkeys(("w", *STANDARD), own)
    if isinstance(owner, History):
        rows = np.shape(owner.epoch)
        return {"w": (*rows, *own), "loss": rows, "intercept": rows}
    features = own or (1,)
    parameters = features[0] + result.state.intercept
    return dict.fromkeys(STANDARD, features) | {"w": (parameters,), "slots": (None, parameters), "products": (None,)}


def _fits(shape: tuple[int, ...], needed: tuple[int | None, ...]) -> bool:
    """Whether a shape is the one that is needed; None stands for any length."""
    return len(shape) == len(needed) and all(length in (has, None) for has, length in zip(shape, needed, strict=True))
