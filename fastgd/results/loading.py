"""load(): reads a saved result, and checks that its arrays fit each other."""

from __future__ import annotations

import os
from dataclasses import fields, replace

import numpy as np

from ..input.float_mode import computes
from ..input.messages import in_ascii
from .result import FitResult, History, State
from .status import Status, named


@computes
def load(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> FitResult:
    """Read a result that `FitResult.save` wrote, bit for bit.

    It needs neither the backend that computed the result nor a GPU.

    Parameters
    ----------
    path : str or path
        The file, as it was given to `FitResult.save`: ``.npz`` may be left out.
    max_bytes : int, optional
        Most memory that its contents may take [bytes]. None: 64 MiB or four times the length of the
        file, whichever is more. `FitResult.save` does not compress, so its files always take less;
        only a file that somebody compressed, or crafted, asks for more.

    Returns
    -------
    FitResult
        The saved result, with NumPy arrays. ``fit(..., state=result.state)`` continues it.

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
    from .file_format import read_file, with_ending

    path = longer if os.path.exists(longer := with_ending(path)) else path
    result = read_file(path, (FitResult, History, State, Status), max_bytes)
    if wrong := _misfit(result):
        raise ValueError(f"{in_ascii(os.fspath(path))} is not damaged, but it is not a result as fastgd writes them: {wrong}")
    state = result.state
    state = replace(state, status=named(state.status), tol=None if state.tol is None else float(state.tol))
    return replace(result, status=named(result.status), state=state)


def _misfit(result: FitResult) -> str:
    """What is wrong with the shapes of a loaded result, as a sentence; '' where nothing is."""
    leading = np.shape(result.loss)
    for part, owner, kind in (("", result, FitResult), ("state.", result.state, State), ("history.", result.history, History)):
        if owner is None:
            continue
        if not isinstance(owner, kind):
            return f"{part[:-1]} is a {type(owner).__name__}"
        shapes = {each.name: np.shape(value) for each in fields(owner) if isinstance(value := getattr(owner, each.name), np.ndarray)}
        if owner is result.history:
            if shapes.get("loss") != (*leading, *shapes.pop("epoch", ())):
                return "history.loss and history.epoch have other numbers of rows"
        elif owner is result.state and type(owner.tol).__name__ not in ("NoneType", "float", "float64"):
            return f"state.tol is a {type(owner.tol).__name__}"
        elif owner is result.state and shapes.get("slots", ())[len(leading) + 1 :] != shapes.get("w", (None,))[len(leading) :]:
            return f"state.w has shape {shapes.get('w')}, state.slots {shapes.get('slots')}"
        for name, shape in shapes.items():
            if shape[: len(leading)] != leading:
                return f"{part}{name} has shape {shape}, but the fits have shape {leading}"
    return ""
