"""Arguments with more numbers than memory: refused by their shape, or read without a copy.

Each call may take 1 GiB of address space beyond what the process has, and most of these arguments
need 8 GB or more, so a copy of one is a MemoryError of NumPy's or Python's, which has other words.
"""

from __future__ import annotations

import os
import resource
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd import SGD
from fastgd.input import room
from fastgd.input.hyperparameters import _first_of_both
from fastgd.input.shapes import first_true
from tests.support.refusals import message, x, y

MANY = 10**9
MORE = 10**12
LEAST = r"numbers?; to read them needs [\d,.]+ GiB, and [\d,.]+ .iB \(80% of what is free\) may be used: give fewer$"


@pytest.fixture
def ceiling():
    """The address space ends 1 GiB further on."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def repeated(*shape, of=1.0):
    return np.broadcast_to(of, shape)


class Lazy:
    """A sequence that makes its entries when it is asked for them."""

    def __len__(self):
        return MORE

    def __getitem__(self, k):
        return 1.0


class OnDisk:
    """An array of a library that reads it when it is asked to, as netCDF4 and dask do."""

    shape, dtype, ndim, size = (MORE,), np.dtype("f4"), 1, MORE

    def __array__(self, dtype=None, copy=None):
        return np.zeros(MORE, np.float32)


@pytest.fixture
def sparse_file(tmp_path):
    """An array on disk of 2 GB, of which nothing is stored."""
    return np.memmap(tmp_path / "sparse", np.float32, "w+", shape=(2**29,))


CALLS = {  # name: (arguments of fit beside X and y, or all of them; what is said)
    "nodata": ({"nodata": repeated(MANY)}, r"^nodata must be .*; it has 1,000,000,000 values, and 1,000 are the most: of data with more"),
    "nodata of y": ({"nodata": {"y": repeated(MANY)}}, r"^nodata\['y'\] must be .* it has 1,000,000,000 values"),
    "nodata, a list": ({"nodata": list(range(1001))}, "it has 1,001 values, and 1,000 are the most"),
    "X, a range": ({"X": range(MORE), "y": range(MORE)}, f"^X has 1,000,000,000,000 {LEAST}"),
    "X, longer than Python counts": ({"X": range(10**30)}, f"^X has [0-9,]+ {LEAST}"),
    "X, lazy": ({"X": Lazy(), "y": Lazy()}, f"^X has 1,000,000,000,000 {LEAST}"),
    "X, on disk": ({"X": OnDisk(), "y": OnDisk()}, f"^X has 1,000,000,000,000 {LEAST}"),
    "X, a list": ({"X": [repeated(MANY)] * 4}, f"^X has 4,000,000,000 {LEAST}"),
    "X, a list of lists": ({"X": [[repeated(MANY)] * 2] * 4}, f"^X has 8,000,000,000 {LEAST}"),
    "X, a list with a mask": ({"X": [np.ma.array(repeated(MANY))] * 4}, f"^X has 4,000,000,000 {LEAST}"),
    "X, objects": ({"X": repeated(MANY, of=np.array(1.0, object))}, r"^X has 1,000,000,000 samples .* but y has 4"),
    "X, text": ({"X": repeated(MANY, of=np.array("1.5"))}, r"^X must be an array of real numbers; it is text.*np\.asarray"),
    "sample_weight": ({"sample_weight": repeated(MANY)}, r"^sample_weight must have shape \(\.\.\., 4\)"),
    "lr": ({"lr": repeated(MANY)}, r"^the results of 1,000,000,000 fits .* may be used"),
    "lr, a range": ({"lr": range(MORE)}, f"^lr has 1,000,000,000,000 {LEAST}"),
    "momentum": ({"optimizer": SGD(momentum=repeated(MANY, of=0.5))}, r"^the results of 1,000,000,000 fits"),
    "momentum, lazy": ({"optimizer": SGD(momentum=Lazy())}, f"^momentum has 1,000,000,000,000 {LEAST}"),
    "betas": ({"optimizer": fastgd.Adam(betas=repeated(MANY))}, r"^betas must be a pair"),
    "one beta": ({"optimizer": fastgd.Adam(betas=(repeated(MANY, of=0.5), 0.9))}, r"^the results of 1,000,000,000 fits"),
    "nesterov and momentum": (
        {"optimizer": SGD(nesterov=np.ones((10**5, 1), bool), momentum=np.r_[np.ones(10**5), 0.0])},
        r"^nesterov needs momentum > 0 and dampening = 0; momentum is 0 at index \(0, 100000\)",
    ),
    "w0": ({"w0": repeated(MANY, 3)}, r"^w0 must have shape \(\.\.\., 1\)|^the results of"),
    "intercept0": ({"intercept": True, "intercept0": repeated(MANY)}, r"^the results of 1,000,000,000 fits"),
    "w0 and intercept0": (
        {"intercept": True, "w0": np.zeros((10**5, 1)), "intercept0": np.zeros(10**5)},
        r"^the results of 10,000,000,000 fits",
    ),
    "tol": ({"tol": repeated(MANY)}, "^tol must be a number or None"),
    "epochs": ({"epochs": repeated(MANY, of=1)}, "^epochs must be a whole number"),
    "threads": ({"threads": range(MORE)}, "^threads must be a whole number"),
    "history": ({"history": repeated(MANY, of=True)}, "^history must be True, False or"),
    "memory_limit": ({"memory_limit": repeated(MANY, of=1)}, "^memory_limit must be a whole number"),
    "out": ({"out": repeated(MANY)}, r"^out must have shape \(\)"),
    "progress": ({"progress": repeated(MANY)}, "^progress must be"),
    "standardize": ({"standardize": repeated(MANY, of=True)}, "^standardize must be"),
    "min_samples": ({"min_samples": range(MORE)}, "^min_samples must be"),
    "seed": ({"seed": repeated(MANY, of=1)}, "^seed must be"),
    "dtype": ({"dtype": repeated(MANY)}, "^dtype must be"),
    "algorithm": ({"algorithm": range(MORE)}, "^algorithm range.* is unknown"),
    "backend": ({"backend": repeated(MANY)}, "^backend .* is unknown"),
    "schedule": ({"schedule": repeated(MANY)}, f"^schedule has 1,000,000,000 {LEAST}"),
    "schedules": (
        {"schedule": repeated(MANY, of=np.array(fastgd.schedules.ExponentialLR(0.5), object))},
        f"^schedule has 1,000,000,000 {LEAST}",
    ),
}  # fmt: skip


def says(pattern, function, *given, **options):
    """The call is refused in words of fastgd's, without an array as large as the argument."""
    with pytest.raises((ValueError, TypeError, MemoryError), match=pattern) as caught:
        function(*given, **options)
    assert type(caught.value) in (ValueError, TypeError, MemoryError)  # NumPy has a MemoryError of its own
    message(caught)


@pytest.mark.parametrize(("given", "pattern"), CALLS.values(), ids=CALLS)
def test_fit(ceiling, given, pattern):
    says(pattern, fastgd.fit, **({"X": x, "y": y} | given))


@pytest.mark.parametrize("name", ["X", "y", "sample_weight", "weight_decay"])
def test_solve(ceiling, name):
    says(f"^{name} has 1,000,000,000,000 {LEAST}", fastgd.solve, **({"X": x, "y": y} | {name: range(MORE)}))


def test_a_state(ceiling):
    """It is refused by its shape before its arrays are copied, and by its size if the data allow
    it."""
    state = fastgd.fit(x, y, epochs=1).state
    names = ("w", "slots", "products", "epoch", "algorithm", "status", "initial_excess")
    many = replace(state, **{name: repeated(MANY, *getattr(state, name).shape, of=getattr(state, name)) for name in names})
    says(f"^state.[a-z]+ has [0-9,]+ {LEAST}", fastgd.fit, x, y, state=many)
    two = np.stack([x, x])[..., None]
    says("^leading axes do not broadcast against each other", fastgd.fit, two, np.stack([y, y]), state=many)
    says(r"^state.w has shape \(1,\); it must be \(1000000000, 1\)", fastgd.fit, x, y, state=replace(many, w=state.w))


def test_arrays_on_disk(sparse_file, ceiling):
    says(f"^lr has 536,870,912 {LEAST}", fastgd.fit, x, y, lr=sparse_file)
    says("but y has 4", fastgd.fit, sparse_file, y)
    says("^sample_weight must have shape", fastgd.fit, x, y, sample_weight=sparse_file)
    says(f"^w_history has 536,870,912 {LEAST}", fastgd.diagnose, x, y, sparse_file, lr=0.1)


JUDGED = {
    "X, a range": ({"X": range(MORE)}, f"^X has 1,000,000,000,000 {LEAST}"),
    "X and y": ({"X": repeated(MANY), "y": repeated(MANY)}, f"^X has 1,000,000,000 {LEAST}"),
    "w0": ({"w0": repeated(MANY, 2)}, r"^w0 must have shape"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "pattern"), JUDGED.values(), ids=JUDGED)
@pytest.mark.parametrize("function", ["verify", "diagnose"])
def test_data_that_are_judged(ceiling, function, given, pattern):
    options = {"X": x, "y": y, "lr": 0.01} | given
    options |= {"candidate": "numpy", "epochs": 1} if function == "verify" else {"w_history": [0.0, 1.0]}
    says(pattern, getattr(fastgd, function), **options)


@pytest.mark.parametrize("given", [{"lr": repeated(MANY)}, {"w0": repeated(MANY, 1)}, {"y": repeated(MANY, 4)}], ids=str)
def test_verify_counts_its_fits(ceiling, given):
    says(
        rf"^the fits \(1000000000,\) of X, y, lr and w0 has [0-9,]+ {LEAST}",
        fastgd.verify,
        "numpy",
        **({"X": x[:, None], "y": y, "lr": 0.01, "epochs": 1} | given),
    )


def test_histories_that_are_judged(ceiling):
    says(f"^w_history has 1,000,000,000 {LEAST}", fastgd.diagnose, x, y, repeated(MANY), lr=0.1)
    says(f"^w_history has 1,000,000,000 {LEAST}", fastgd.verify, repeated(MANY), x, y, lr=0.1, epochs=1)
    says("^loss_history has 1,000,000,000 values", fastgd.diagnose, x, y, [0.0, 1.0], repeated(MANY), lr=0.1)
    says("^lr must be a number, or one per epoch", fastgd.diagnose, x, y, [0.0, 1.0], lr=repeated(MANY))
    report = fastgd.verify(lambda X, y, lr, epochs, w0: repeated(MANY), x, y, lr=0.1, epochs=1)
    assert "MemoryError: w has 1,000,000,000 numbers; to read them needs" in report.verdicts[0].failure


@pytest.mark.usefixtures("ceiling")
def test_numbers_that_only_repeat_are_read_once():
    """A billion of them, in objects, masks and hyperparameters."""
    from fastgd.input.hyperparameters import read_hyperparameter
    from fastgd.input.reading import read
    from fastgd.kernels.update_rules import LR

    objects = read(repeated(MANY, of=np.array(2.5, object)), "X").array
    assert objects.shape == (MANY,)
    assert objects[-1] == 2.5
    assert objects.strides == (0,)
    missing = read(repeated(MANY, of=np.array(None, object)), "X")
    assert missing.mask.shape == (MANY,)
    assert missing.mask.strides == (0,)
    assert read_hyperparameter(repeated(MANY, of=0.25), "lr", LR).strides == (0,)
    with pytest.raises(ValueError, match=r"^lr must be .*; it is -1 at index 0"):
        read_hyperparameter(repeated(MANY, of=-1.0), "lr", LR)


def test_what_lies_in_memory_is_not_asked_about(monkeypatch):
    """Columns of frames, and arrays that are shared, are not copied."""
    monkeypatch.setattr(room, "free_memory", lambda: 0)
    monkeypatch.setattr(room, "SMALL_BYTES", 0)
    room.check_readable(pd.Series(x), "X")
    with pytest.raises(MemoryError, match=r"^X has 4 numbers"):
        room.check_readable(range(4), "X")
    assert fastgd.fit(pd.DataFrame({"x": x}), pd.Series(y), epochs=1).epochs == 1


def test_small_arguments_do_not_ask(monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 1 / 0)
    fastgd.fit(x, y, lr=[0.1] * 1000, epochs=1)


def test_free_memory_knows_the_ceiling_of_the_process(ceiling):
    assert 2**29 < room.free_memory() <= 2**30


def test_a_system_that_does_not_say_is_trusted(monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: None)
    room.check_room("X", MORE)


@pytest.mark.parametrize(
    "shapes", [((), ()), ((3,), (1,)), ((4, 1), (5,)), ((1, 3, 1), (2, 1, 4)), ((2, 3), (3,)), ((1, 1), (2, 2))], ids=str
)
def test_the_first_place_that_two_arrays_share(shapes):
    """Compared with the product of their axes."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b = (rng.random(shape) < rng.choice([0.2, 0.5, 0.9]) for shape in shapes)
        both = np.asarray(a) & np.asarray(b)
        places = np.argwhere(both)
        assert _first_of_both(np.asarray(a), np.asarray(b)) == (tuple(places[0]) if len(places) else None)
        if both.any():
            assert first_true(both) == tuple(places[0])


def test_the_first_place_takes_no_memory():
    tracemalloc.start()
    assert first_true(repeated(10**8, of=np.array(True))) == (0,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**5
