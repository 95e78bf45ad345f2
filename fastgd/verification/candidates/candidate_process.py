"""The process in which the code of a candidate's file runs: `python -m` of this module.

`file_candidate.py` starts it, sends the task, and reads histories. The other end of the connection
trusts nothing that comes from here: this process has run code that may have done anything to it.

1. A message is an .npz without pickled objects: arrays, and words as JSON.
2. The file is run as an import does: `if __name__ == "__main__"` is false. Its folder comes first
   on Python's path, and stays there, so that the file and its functions can import its neighbours.
3. The module stands in `sys.modules`, as dataclasses, pickle and a circular import need it; under
   another name where its own is that of a module of Python or of one that is loaded.
4. The process ends like any program: it waits for threads that are no daemons.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib.util
import io
import json
import os
import pickle
import re
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...input.float_mode import CallersMode, set_ieee_mode
from .fitted import candidate_of_code
from .tasks import Trial, exception_in_words

__all__ = ["packed", "unpacked"]

_PLAIN = ("notes", "failure", "altered", "start_known", "for_cause", "own_rate")  # fields of a trial
_PR_SET_PDEATHSIG = 1  # of prctl, in <linux/prctl.h>


class Unusable(Exception):
    """The file has no candidate."""


def packed(words: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """Return a message: arrays, and words that JSON can hold."""
    file = io.BytesIO()
    np.savez(file, words=np.frombuffer(json.dumps(words).encode(), np.uint8), **arrays)
    return file.getvalue()


def unpacked(message: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the words and the arrays of a message; any error: it is none."""
    with np.load(io.BytesIO(message), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("words").tobytes()), arrays


def _of_trial(trial: Trial, has_others: bool) -> bytes:
    """Return the message of a trial; whether another reading of it follows is said in it."""
    arrays = {name: part for name in ("w", "loss", "at") if (part := getattr(trial, name)) is not None}
    plain = {name: getattr(trial, name) for name in _PLAIN}
    return packed(plain | {"dtype": str(trial.dtype), "has_others": has_others}, arrays)


def load_function(path: Path, name: str) -> Any:
    """Return the function, or the class or object with fit, of this name in the user's file."""
    module = _load(path)
    found = getattr(module, name, None)
    has_fit = callable(getattr(found, "fit", None))
    if isinstance(found, type) and not has_fit:
        forms = "a function step(w, X, y, lr) or train(X, y, lr, epochs, w0), or a class with fit(X, y)"
        raise Unusable(f"{path}: {name} is a class without fit; needed is {forms}")
    if not callable(found) and not has_fit:
        public = {key: value for key, value in vars(module).items() if not key.startswith("__")}
        own = [key for key, value in public.items() if callable(value) and getattr(value, "__module__", "") == module.__name__]
        what = f"{name} is of type {type(found).__name__}, and no function" if hasattr(module, name) else f"there is no function {name!a}"
        raise Unusable(f"{path}: {what}; it has {', '.join(own) or 'none'}")
    return found


def _load(path: Path) -> ModuleType:
    """Run the user's file; return the module."""
    file, name = path.resolve(), path.stem
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "candidate_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # whatever the file raises, SystemExit too
        relative = isinstance(error, ImportError) and "relative import" in str(error)
        mend = ". Its folder is on Python's path: write `import neighbour`, without a dot" if relative else ""
        raise Unusable(f"{path} cannot be loaded: {exception_in_words(error)}{_line_in(str(file), error)}{mend}") from None
    return module


def _line_in(file: str, error: BaseException) -> str:
    """Return ' (line 3)', the last line of the file that ran; empty where there is none."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == file else None
    where = error.__traceback__
    while where is not None:
        if where.tb_frame.f_code.co_filename == file:
            line = where.tb_lineno
        where = where.tb_next
    return "" if line is None else f" (line {line})"


def _end_with_parent(parent: int) -> None:
    """Have this process killed when the judge's ends, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _whole(data: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return X and y with the leading axes of the fits."""
    return {name: np.broadcast_to(array, (*shape, *array.shape[len(shape) :])) for name, array in (("X", data.X), ("y", data.y))}


def _main(channel: int, parent: int, path: str, name: str) -> None:
    """Read the task, run the function on every fit, send each history."""
    _end_with_parent(parent)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what the file prints is no part of the report
    os.set_inheritable(channel, False)
    connection = Connection(channel)
    task = pickle.loads(connection.recv_bytes())
    task = dataclasses.replace(task, **_whole(task, task.shape))
    if task.own is not None:
        task = dataclasses.replace(task, own=dataclasses.replace(task.own, **_whole(task.own, task.shape)))
    sys.argv = [path]
    here = os.getpid()
    try:
        candidate = candidate_of_code(load_function(Path(path), name))
        if os.getpid() != here:  # the file has forked: this is the copy
            os._exit(1)
        task = dataclasses.replace(task, callers=CallersMode())  # as the file has left it
        set_ieee_mode()
        for _, trial in candidate.trials(task):
            one: Trial | None = trial
            while one is not None:  # and what else it may be read as
                other = None if one.otherwise is None else one.otherwise()
                connection.send_bytes(_of_trial(one, other is not None))
                one = other
    except BaseException as error:  # a KeyboardInterrupt is the file's own: Ctrl-C does not reach this process
        said = str(error) if isinstance(error, Unusable) else exception_in_words(error)
        raised = f"{path}: {name} raised " if isinstance(error, KeyboardInterrupt) else ""
        connection.send_bytes(packed({"unusable": raised + said}, {}))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
