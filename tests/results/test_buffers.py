"""`out=`: results written where the user wants them, and places that do not serve."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.results.buffers import _overlap
from tests import grids
from tests.support.fit_results import batch, same, same_result
from tests.support.refusals import refused

MIB = 2**20


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def outputs_of(result):
    found = {
        "w": result.w, "intercept": result.intercept, "loss": result.loss, "epochs": result.epochs, "status": result.state.status,
        "state.w": result.state.w, "state.slots": result.state.slots,
    }  # fmt: skip
    if result.history is not None:
        found |= {f"history.{name}": getattr(result.history, name) for name in ("w", "intercept", "loss")}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


OUT_CASES = list(product(
    [(), (7,), (3, 4)], [False, True], [False, True], [None, [[0.1], [0.2]]], ["C", "F", "memmap", "stepped"], ["own", "shared X", "1-D"]
))  # fmt: skip


def room_like(array, kind, folder, name):
    if kind == "memmap" and array.size:
        return np.memmap(folder / name, array.dtype, "w+", shape=array.shape)
    if kind == "stepped" and array.ndim:
        return np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
    return np.empty(array.shape, array.dtype, order="F" if kind == "F" else "C")


@pytest.mark.parametrize(("shape", "intercept", "history", "lr", "kind", "data"), grids.thin("out=", OUT_CASES, 4))
def test_results_are_written_where_the_user_wants_them(shape, intercept, history, lr, kind, data, tmp_path):
    X, y = batch(*shape, n=20, d=2)
    if data != "own":
        X = X[(0,) * len(shape)]
    if data == "1-D":
        X = X[:, 0]
    options = {"lr": lr and np.reshape(lr, (2, *[1] * len(shape))), "intercept": intercept, "epochs": 7, "history": history}
    want = fastgd.fit(X, y, **options)
    out = {name: room_like(value, kind, tmp_path, name) for name, value in outputs_of(want).items()}
    result = fastgd.fit(X, y, out=out, **options)
    assert same_result(result, want)
    for name, value in outputs_of(result).items():
        assert same(out[name], value), name
    assert result.w is out["w"]
    assert result.state.w is out["state.w"]
    if history:
        assert result.history.w is out["history.w"]
    assert same_result(fastgd.fit(X, y, out={"loss": out["loss"]}, **options), want)


def test_one_array_is_for_w():
    w = np.empty(2)
    result = fastgd.fit(*batch(n=9), out=w, epochs=3)
    assert result.w is w
    assert same(w, fastgd.fit(*batch(n=9), epochs=3).w)


def test_what_is_written_to_is_not_allocated():
    """A history on disk: nothing of its size is made, whatever its order of axes."""
    X, y = batch(2000, n=8)
    for shape in ((2000, 401, 2), (401, 2000, 2)):
        room = np.empty(shape)
        w = room if shape[0] == 2000 else room.transpose(1, 0, 2)
        options = {"epochs": 400, "history": True, "threads": 1, "lr": 0.1}
        fastgd.fit(X[:2], y[:2], **options)
        loss = np.empty((2000, 401))
        tracemalloc.start()
        fastgd.fit(X, y, out={"history.w": w, "history.loss": loss}, **options, memory_limit="6 MiB")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert room.nbytes > 12 * MIB
        assert peak < 6 * MIB
        assert same(w, fastgd.fit(X, y, **options).history.w)


RECORD = np.dtype([("x", np.float64, (9, 3)), ("w", np.float64, 3), ("used", np.int8), ("intercept", np.float64), ("loss", np.float64)])


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)], ids=str)
def test_places_that_lie_between_each_other(shape):
    """Columns of one array; fields of records that hold the data too: no byte is in two of them."""
    X, y = batch(*shape, n=9, d=3)
    want = fastgd.fit(X, y, intercept=True, epochs=7)
    table = np.full((*shape, 5), np.nan)
    result = fastgd.fit(X, y, intercept=True, epochs=7, out={"w": table[..., :3], "intercept": table[..., 3]})
    assert same_result(result, want)
    assert same(table[..., :3], want.w)
    assert same(table[..., 3], want.intercept)
    assert np.isnan(table[..., 4]).all()
    records = np.zeros(shape, RECORD)
    records["x"] = X
    result = fastgd.fit(records["x"], y, intercept=True, epochs=7, out={name: records[name] for name in ("loss", "w", "intercept")})
    assert same_result(result, want)
    assert all(same(records[name], getattr(want, name)) for name in ("w", "intercept", "loss"))
    assert same(records["x"], X)
    assert not records["used"].any()


def test_whether_arrays_overlap():
    """Exactly; where that is too hard to tell, as NumPy's own hard case is, they count as if they
    did."""
    room = np.zeros(2**28, np.int8)  # never touched
    assert not _overlap(room[::2], room[1::2])
    assert _overlap(room[::2], room[1::3])
    one = np.lib.stride_tricks.as_strided(room, (1049, 1049, 1049), (36674, 61119, 85569))
    other = np.lib.stride_tricks.as_strided(room[64023025:], (1049, 1049, 1), (12223, 12224, 1))
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(one, other, max_work=10_000)
    assert _overlap(one, other)


REFUSED = {
    "shape": (np.empty((3, 2)), ValueError, r"^out must have shape \(2,\) and dtype float64; it has shape \(3, 2\) and dtype float64$"),
    "dtype": (np.empty(2, "f4"), ValueError, r"^out must have shape \(2,\) and dtype float64; it has shape \(2,\) and dtype float32$"),
    "a list": ([0.0, 0.0], TypeError, r"^out must be an array to write into, not \[0.0, 0.0\]$"),
    "read-only": (_read_only(np.empty(2)), ValueError, "^out is read-only$"),
    "no such name": ({"weights": np.empty(2)}, ValueError, "^out has no 'weights': it may have w, intercept, loss, "),
    "no intercept": (
        {"intercept": np.empty(())},
        ValueError,
        r"^out\['intercept'\] was given, but this fit has no intercept: give intercept=T",
    ),
    "no history": ({"history.w": np.empty((3, 2))}, ValueError, r"^out\['history.w'\] was given, .*: give history=True too$"),
}


@pytest.mark.parametrize(("out", "error", "pattern"), REFUSED.values(), ids=REFUSED)
def test_places_that_do_not_serve(no_work, out, error, pattern):
    refused(error, pattern, *batch(n=9), out=out, epochs=2)


def test_results_never_overwrite_the_data_or_each_other():
    X, y = batch(2, n=2)
    refused(ValueError, "^out shares memory with X, which would be overwritten$", X, y, out=X[:, 0])
    room = np.empty((2, 3))
    told = re.escape("out['loss'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, out={"w": room[:, :2], "loss": room[:, 1]})
    table = np.empty((2, 4))
    told = re.escape("out['intercept'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, intercept=True, out={"w": table[:, 1:3], "intercept": table[:, 2]})
    fields = np.zeros(2, np.dtype({"names": ["w", "loss"], "formats": [(np.float64, 2), np.float64], "offsets": [0, 12]}))
    told = re.escape("out['loss'] shares memory with out['w'], which would be overwritten")
    refused(ValueError, f"^{told}$", X, y, out={"w": fields["w"], "loss": fields["loss"]})
    weights = np.ones((2, 2))
    refused(ValueError, "^out shares memory with sample_weight", X, y, sample_weight=weights, out=weights)
