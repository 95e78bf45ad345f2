"""What does not fit into memory is refused with the numbers and the way out, before any work."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from fastgd.planning import memory, plan
from tests.support.fit_results import x, y
from tests.support.memory_cases import CASES, data_of
from tests.support.refusals import X2, X5, Y2, refused

repeat = np.broadcast_to

TOO_MUCH = {
    "history of 10^13 values": ({"epochs": 10**13, "history": True}, MemoryError, r"10,000,000,000,001 history rows each need [\d,.]+ GiB"),
    "history of 2^62 rows": ({"epochs": 2**62, "history": True}, MemoryError, "record fewer rows"),
    "2^40 rates": ({"lr": repeat(0.1, (2**40,))}, MemoryError, "1,099,511,627,776 fits of 1 parameter need .* GiB .80% of what is free"),
    "2^50 momenta": ({"optimizer": SGD(lr=0.1, momentum=repeat(0.1, (2**50,)), nesterov=True)}, MemoryError, "fit a part of the batch"),
    "2^50 starts": ({"w0": repeat(0.1, (2**50,))}, MemoryError, "results of 1,125,899,906,842,624 fits"),
    "2^50 intercepts": ({"intercept": True, "intercept0": repeat(0.1, (2**50,))}, MemoryError, "fits of 2 parameters"),
    "2^40 fits": ({"X": repeat(X2, (2**40, 8, 2)), "y": repeat(Y2, (2**40, 8))}, MemoryError, "1,099,511,627,776 fits of 2 parameters"),
    "2^80 fits": (
        {"lr": repeat(0.1, (2**40, 1)), "optimizer": SGD(momentum=repeat(0.1, (2**40,)))}, ValueError,
        r"^too many fits: 1099511627776 x 1099511627776, with 1 parameter each, is more than 2\^63 bytes$",
    ),
    "2^62 fits": ({"lr": repeat(0.1, (2**31, 1)), "w0": repeat(0.1, (2**31,))}, ValueError, r"more than 2\^63 bytes$"),
    "2^64 numbers": (
        {"X": repeat(x[:, None], (2**31, 1, 4, 1)), "y": repeat(y, (2**31, 4))}, ValueError,
        r"^X and y are too many numbers: 2147483648 x 2147483648 fits x 4 samples x 1 features is more than 2\^63 bytes$",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "error", "pattern"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much(no_work, options, error, pattern):
    refused(error, pattern, **({"X": x, "y": y} | options))


def arrays_of(result):
    held = [result.w, result.loss, result.epochs, result.status, result.n_used, result.lr, result.intercept]
    held += [result.history.epoch, result.history.w, result.history.loss, result.history.intercept] if result.history else []
    assert result.state.status is result.status
    return [*held, result.state.w, result.state.slots, result.state.epoch, result.state.algorithm]


MEMORY = [{}, {"history": True, "epochs": 7}, {"intercept": True, "dtype": "float32"}, {"lr": 0.1, "epochs": 5, "history": 2}]


@pytest.mark.parametrize("options", MEMORY, ids=str)
def test_memory_that_the_results_need_is_what_they_take(monkeypatch, options):
    X = np.tile(X5, (40, 1, 1))
    options = {"X": X, "y": X.sum(-1), "threads": 1} | options
    taken = sum(np.asarray(array).nbytes for array in arrays_of(fastgd.fit(**options)) if array is not None)
    refused(MemoryError, "need .* KiB, computing one fit at a time .* KiB, and memory_limit is ", memory_limit=taken, **options)
    monkeypatch.setattr("fastgd.planning.memory._bytes_of_scratch", lambda *given: 0)
    monkeypatch.setattr(memory, "OF_A_CALL", 0)
    fastgd.fit(**options, memory_limit=taken + 4000)  # one fit and its data


def test_free_memory_is_something_a_machine_may_have():
    from fastgd.input.room import free_memory

    free = free_memory()
    assert free is None or 2**20 < free < 2**60


def test_long_descents_and_large_numbers_are_refused_for_no_reason_of_their_own(no_work):
    with pytest.raises(AssertionError, match="work began"):
        fastgd.fit(x, y, epochs=2**63 - 1, history=2**62)


def test_moments_of_too_many_features_are_refused_with_the_way_out(monkeypatch):
    """The safe rate needs d² numbers; 10 samples of 60,000 features are 5 MB."""
    monkeypatch.setattr("fastgd.planning.memory.free_memory", lambda: 2**30)
    X = np.ones((10, 60_000))
    pattern = r"computing one fit at a time [\d.,]+ GiB, and 0.80 GiB \(80% of what is free\) may be used: give an lr"
    where = r" \(docs/how-to/memory.md\)$"
    refused(MemoryError, pattern + where, X, np.ones(10))
    refused(MemoryError, pattern + ", and leave standardize=True out" + where, X, np.ones(10), standardize=True)
    assert fastgd.fit(X, np.ones(10), lr=1e-6, epochs=1).status == fastgd.Status.COMPLETED


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_hold_one_fit_is_refused_with_the_numbers(case):
    X, y, options = data_of(case)
    pattern = r"^the results of [\d,]+ fits of [34] parameters with 6 history rows each need [\d.,]+ [KM]iB, computing one fit at a time "
    pattern += r"[\d.]+ [KM]iB, and memory_limit is 19\.5 KiB: (record fewer rows|give a larger memory_limit)"
    refused(MemoryError, pattern, X, y, memory_limit=20_000, **options)
    with pytest.raises(MemoryError, match=r"^the results of [\d,]+ fits? of 3 parameters need .* memory_limit is 1.0 KiB: "):
        fastgd.solve(X, y, memory_limit=1000, **{name: options[name] for name in ("sample_weight", "nan_policy") if name in options})


def test_little_work_on_much_data_is_counted_too(monkeypatch):
    """1.9 ms of work for the calling thread, whose data take 72 MB once they are converted."""
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    X, y = np.zeros((1800, 5000), np.int8), np.zeros(1800, np.int8)
    refused(MemoryError, r"80% of what is free\) may be used", X, y, lr=0.1, epochs=0, algorithm="stream")


def test_the_default_is_a_share_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "SMALL_BYTES", 0)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    refused(MemoryError, r"and 0\.00 GiB \(80% of what is free\) may be used", x, y, epochs=1)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    fastgd.fit(x, y, epochs=1)
