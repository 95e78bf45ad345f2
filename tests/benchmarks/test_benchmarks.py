"""The benchmarks: what they count, that their limits do the work that they claim, and that nothing
is timed before it agrees."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import fastgd
from benchmarks import cases, counting, limits, measuring, minibatches, small_calls, stages

# -- operations: docs/arithmetic.md, sections 3, 4, 6 and 7, executed on numbers that count --------


class Number:
    """A number whose + − × ÷ and fma are counted; changes of sign are not."""

    count = 0

    def _counted(self, *others: object) -> Number:
        assert all(isinstance(other, Number) for other in others)
        Number.count += 1
        return self

    __add__ = __sub__ = __mul__ = __truediv__ = _counted

    def __neg__(self) -> Number:
        return self


def fma(a: Number, b: Number, c: Number) -> Number:
    return a._counted(b, c)


def two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    s = a + b
    return s, b - (s - a)


def dd_add(left: tuple[Number, Number], right: tuple[Number, Number]) -> tuple[Number, Number]:
    (s, e), (t, f) = two_sum(left[0], right[0]), two_sum(left[1], right[1])
    s, e = fast_two_sum(s, e + t)
    return fast_two_sum(s, e + f)


def scale(v: Number) -> Number:
    return v * ONE * ONE  # by two powers of two


ONE = Number()


def sample_of_a_pair(double: bool) -> None:
    """What one sample adds to one pair of columns."""
    if not double:
        fma(ONE, ONE, ONE)
        return
    p = ONE * ONE
    q = fma(ONE, ONE, -p)
    _, lost = two_sum(ONE, p)
    _ = ONE + (lost + q)


def epoch(size: int, double: bool, with_loss: bool, with_update: bool) -> None:
    """One row, and the update that follows it."""
    w = [scale(ONE) for _ in range(size)] if double else [ONE] * size
    for _ in range(size):
        a, e = ONE, ONE
        for w_k in w:
            if not double:
                a = fma(ONE, w_k, a)
                continue
            p = ONE * w_k
            q = fma(ONE, w_k, fma(ONE, w_k, -p))
            a, x = two_sum(a, p)
            e = e + (x + q)
        a, e = two_sum(a, e) if double else (a, e)
        if with_update:
            g = ONE * a
            if double:
                g = scale(g + fma(a, ONE, fma(e, ONE, fma(a, ONE, -g))))
            fma(ONE, g, ONE)
        if with_loss and double:
            h, low = dd_add((a, e), (ONE, ONE))
            p = h * ONE
            q = fma(low, ONE, fma(h, ONE, -p))
            _, x = two_sum(ONE, p)
            _ = ONE + (x + q)
        elif with_loss:
            fma(ONE, a - ONE, ONE)
    if with_loss and double:
        scale((ONE + ONE) / ONE)
    elif with_loss:
        _ = ONE / ONE


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("size", "epochs"), [(1, 3), (2, 0), (5, 2)])
def test_operations_are_those_of_the_specification(size, epochs, double):
    Number.count = 0
    for _ in range(7 * (size + 1) * (size + 2) // 2):
        sample_of_a_pair(double)
    assert Number.count == counting.compress_operations(7, size, double)
    for losses in (1, epochs + 1):  # of the last row alone, or of all
        Number.count = 0
        for t in range(epochs + 1):
            epoch(size, double, t == epochs or losses > 1, t < epochs)
        assert Number.count == counting.descend_operations(size, epochs, losses, double)


def test_ten_operations_a_pair_and_sample():
    assert counting.compress_operations(1, 0, True) == 10


@pytest.mark.parametrize("d", [1, 8])
def test_operations_of_stream(d):
    Number.count = 0
    for _ in range(4 * 3):  # samples × rows
        r = ONE
        for _ in range(d):
            r = fma(ONE, ONE, r)
        fma(r, r, ONE)
        v = ONE * r
        for _ in range(d):
            fma(ONE, v, ONE)
    assert Number.count == counting.stream_operations(4, d, 2)


# -- limits ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine() -> limits.Machine:
    return limits.Machine(2)


@pytest.mark.parametrize("count", [1, 31, 128, 129, 1000])
def test_every_number_is_read_and_written(count):
    numbers = np.arange(1, count + 1, dtype=np.float32)
    assert limits.read_numbers(numbers) == count * (count + 1) // 2
    limits.write_numbers(numbers, np.float32(3))
    assert (numbers == 3).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chains_do_as_many_multiply_adds_as_they_claim(dtype):
    """x ← x/2 + 1/2 comes to 1 in every lane, and the lanes are added."""
    for chain, lanes in limits.CHAINS.items():
        assert chain(dtype(0.5), 200) == lanes


def test_ways_to_read_and_write(machine, monkeypatch):
    arrays = (np.ones((5, 3), np.float32), np.ones(7, np.float32))
    seen: list[int] = []
    monkeypatch.setattr(limits, "read_numbers", lambda piece: seen.append(len(piece)))
    for way in machine.ways_to_read(arrays).values():
        way()
    assert sum(seen) == 22
    ways = machine.ways_to_write(arrays)
    assert sorted({name.split()[0] for name in ways}) == ["fresh", "write"]
    for name, way in ways.items():
        first, second = way(), way()
        assert [array.shape for array in first] == [(5, 3), (7,)]
        filled = np.frombuffer(b"\1" * 4, np.float32)[0] if name.endswith("memset") else 1
        assert all((array == filled).all() for array in first)
        assert (first[0] is second[0]) == name.startswith("write")  # fresh pages every time


def test_the_empty_call_takes_what_the_kernel_takes():
    X, y = np.ones(9), np.ones(9)
    arguments = small_calls.arguments_of_the_kernel(X, y)
    from fastgd.kernels.cpu import compile_ahead

    assert len(arguments) == compile_ahead.KERNELS["descend_packs"].py_func.__code__.co_argcount
    assert limits.empty_like(arguments)() is None


# -- rows ------------------------------------------------------------------------------------------


def test_a_row_tells_the_whole_story(machine, monkeypatch, capsys):
    monkeypatch.setattr(limits, "ROUNDS", 100)
    variants = (*cases.TINY, *cases.SMALL[:1])
    case = cases.Case("a case", 50, 20, 2, 5, "float32", variants, repeats=2)
    rows = cases.measure(case, machine)
    assert [row["case"] for row in rows] == [f"a case, {variant.name}" for variant in variants]
    for row in rows:
        assert row["ratio"] == row["median"] / row["limit_s"]
        assert row["met"] == (row["ratio"] <= row["most"])
        assert row["p20"] <= row["median"] <= row["p80"]
        assert row["bytes_read"] == 50 * 20 * 3 * 4
        assert row["bytes_written"] == 50 * 3 * 4 * (7 if row["history"] else 1)
        assert 0 < row["worst_tau"] <= 2
    by_name = {row["aim"]: row for row in rows}
    told = by_name["≤ 2 × read + write"]["limits_s"]
    assert by_name["≤ 2 × read + write"]["limit_s"] == told["read"] + told["write"]
    told = by_name["≤ 2 × max(read, fma64)"]["limits_s"]
    assert by_name["≤ 2 × max(read, fma64)"]["limit_s"] == max(told["read"], told["fma64"])
    journal = measuring.Journal(None, measuring.conditions(2))
    for row in rows:
        journal.write(row)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = {"case", "dtype", "rule", "backend", "median", "p20", "p80", "first_call", "bytes_read", "gb_per_s", "ratio", "worst_tau",
              "commit", "numpy", "numba", "cpu", "threads", "date", "n_fits", "n_samples", "n_features", "epochs"}  # fmt: skip
    assert all(wanted <= set(line) for line in lines)
    table = measuring.table_of_aims(rows)
    assert len(table.splitlines()) == 1 + len(rows)
    assert all(word in {"met", "MISSED"} for word in (line.split()[-1] for line in table.splitlines()[1:]))


def test_nothing_is_timed_before_it_agrees(machine, monkeypatch):
    X, y = cases.make_data(3, 20, 2, "float64")
    fit = fastgd.fit
    result = fit(X, y, lr=cases.LEARNING_RATE, epochs=5)
    cases.assert_same_bits(result, X, y, 5)
    result.w[1, 0] = math.nextafter(result.w[1, 0], 9)
    with pytest.raises(SystemExit, match="other bits alone"):
        cases.assert_same_bits(result, X, y, 5)
    monkeypatch.setattr(fastgd, "fit", lambda *data, lr, **options: fit(*data, lr=lr * (1 + 1e-9), **options))
    with pytest.raises(SystemExit, match="nothing is timed before it agrees"):
        cases.worst_tau(X, y, 5)


def test_the_cases_are_those_of_the_aims():
    shapes = {(case.dtype, case.n_fits, case.n_samples, case.n_features, case.epochs) for case in cases.all_cases(quick=False)}
    sizes = {(100_000, 100, 1, 100), (20_000, 256, 8, 200), (1, 1_000_000, 16, 100), (1_000, 10_000, 32, 100)}
    assert shapes == {(dtype, *size) for dtype in ("float32", "float64") for size in sizes}
    assert all(case.bytes_of_data() <= cases.LARGE for case in cases.all_cases(quick=True))


def test_repetitions_are_interleaved():
    order: list[str] = []
    seconds = measuring.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert "".join(order) == "ab" * 4  # the first round is not counted
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert measuring.percentiles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == {"median": 3.5, "p20": 2.0, "p80": 5.0}


# -- stages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "names"), [(1, ["descend_packs"]), (2, ["compress", "descend_packs"])])
def test_stages_are_the_calls_of_a_fit_with_one_left_out(d, names):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3, 40, d)).astype(np.float32), rng.normal(size=(3, 40)).astype(np.float32)
    results = []
    calls = stages.listen(lambda: results.append(fastgd.fit(X, y, lr=0.1, epochs=5)))
    assert [name for name, _ in calls] == names
    from fastgd.kernels import cpu

    assert {name: list(stages.left_out(name, arguments)) for name, arguments in calls} == {
        name: ["samples in the cache"] if name == "compress" else ["no epochs", "samples in the cache"] for name in names
    }
    w_out = next(
        argument for argument in calls[-1][1] if isinstance(argument, np.ndarray) and argument.shape == (3, d) and argument.dtype == "f4"
    )
    assert np.array_equal(w_out, results[0].w)
    assert w_out.any()
    if d == 1:
        cpu.descend_packs(*stages.left_out("descend_packs", calls[0][1])["no epochs"])
        state = results[0].state.w.astype(np.float32)
        assert np.array_equal(w_out, state)  # it began where the fit had ended, and stayed there
        cpu.descend_packs(*stages.left_out("descend_packs", calls[0][1])["samples in the cache"])
        assert not np.array_equal(w_out[1:], state[1:])


def test_an_epoch_of_mini_batches_agrees_before_it_is_timed(torch):
    """By a step of `stream` for each batch, and with torch's loop; a wrong w is noticed."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(minibatches.AGREED, minibatches.N_FEATURES)).astype(np.float32)
    y = (X @ np.ones(minibatches.N_FEATURES) + rng.normal(size=len(X))).astype(np.float32)
    minibatches.check(X, y, {"torch": minibatches.torch_epoch})
    with pytest.raises(AssertionError, match="wrong"):
        minibatches.check(X, y, {"wrong": lambda X, y: lambda: 1.01 * minibatches.torch_epoch(X, y)()})
