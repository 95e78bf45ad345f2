"""Calls like an earlier one: data for them, and all that a user can tell of a result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest


def make_data(seed, shape=(40, 2), dtype="float32"):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[:-1]).astype(dtype)


def parts_of(value, name=""):
    """(name, type, what of it a user could tell) of a result and of all that it holds."""
    if dataclasses.is_dataclass(value):
        yield name, type(value), tuple(vars(value))
        for part, inside in vars(value).items():
            yield from parts_of(inside, f"{name}.{part}")
    elif isinstance(value, np.ndarray):
        strides = value.strides if value.size else None  # of nothing they mean nothing
        yield name, type(value), (value.dtype, value.shape, strides, value.flags.writeable, value.tobytes())
    elif isinstance(value, np.generic):
        yield name, type(value), (value.dtype, value.tobytes())
    else:
        yield name, type(value), value


def arrays_of(result):
    """All arrays of a result, by name; one that stands at two places counts once."""
    found = {}
    for owner in (result, result.state, result.history):
        for name, value in vars(owner).items() if owner is not None else ():
            if isinstance(value, np.ndarray) and not any(value is other for other in found.values()):
                found[f"{type(owner).__name__}.{name}"] = value
    return found


def close_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a call whose data are read and checked is an error."""

    def read(*args, **options):
        raise AssertionError("the long way was taken")

    monkeypatch.setattr("fastgd.data.problem.Problem.read", read)
