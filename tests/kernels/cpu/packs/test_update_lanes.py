"""Every update rule in packs (kernels/cpu/packs/) has the bits of its fits one by one, by `==`.

What is expected comes from descent/fit_by_fit.py, which runs the same fits one after another and
which the arbiter specifies (tests/kernels/cpu/test_bits.py).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import CONVERGED, DIVERGED, MOMENTS, STREAM, Chunk
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.reference_chunks import chunk_of
from tests.support.rule_options import OPTIONS

RULES = list(UPDATE_RULES)
WRITTEN = ("w", "slots", "products", "steps", "algorithm", "status", "w_out", "loss", "epochs_run", "history_w", "history_loss")
MEASURED = ("initial_excess", "excess")


def chunk_of_fits(rule, m, n, d, dtype, *, seed=0, hyper=None, lr=None, **options) -> Chunk:
    """A chunk of fits of their own data under one rule; hyper: a value of each fit, by name."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(m, n, d)), rng.normal(size=(m, n))
    rate = {"adadelta": 1.0, "adagrad": 0.1}.get(rule, 0.03) * rng.uniform(0.5, 1.5, m) if lr is None else lr
    chunk = chunk_of(X, y, dtype=dtype, rule=rule, lr=rate, w0=rng.normal(size=(m, d)), **options)
    row = chunk.rule
    given = {**row.hyperparameters, **(hyper or {})}
    values = {name: np.broadcast_to(np.asarray(value, float), m) for name, value in given.items()}
    derived = {name: [function(value) for value in values[of]] for name, (of, function) in row.derived.items()}
    chunk.hyper = np.array([*values.values(), *derived.values()]).T.copy()
    chunk.algorithm[:] = MOMENTS
    return chunk


def both_ways(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """The chunk run in packs, and a copy run one by one."""
    m, size = chunk.w.shape
    moments, own = cpu.Moments.empty(m, m, size, chunk.w_out.dtype), np.arange(m)
    assert cpu.compress_fits(chunk, chunk.intercept, moments, np.zeros(1, np.int32))
    alone = replace(chunk, **{name: getattr(chunk, name).copy() for name in WRITTEN})
    for name in (*MEASURED, "penalty", "least", "allowance"):
        setattr(alone, name, getattr(chunk, name).copy())

    def complete(one: Chunk, fits: np.ndarray) -> None:
        made.extend(fits.tolist())
        if len(one.excess):
            cpu.least_values(one, fits, moments, own, own, chunk.tol >= 0, np.zeros(1, np.int32))
            one.least[fits[one.rule.maximizes(one.hyper)[fits]]] = np.nan

    made, counts = [], [np.zeros(1, np.int64) for _ in range(2)]
    complete(alone, own)
    made.clear()
    cpu.descend(chunk, moments, own, own, np.zeros(1, np.int32), counts[0], complete=partial(complete, chunk))
    assert len(made) < m, "no fit ran in a pack"
    begin = np.full((m, 3), cpu.NOT_RUN)
    begin[:, 0] = own
    cpu._descend(*cpu._given(alone, moments, own, own), alone.center, alone.scale, begin, np.empty(m), np.zeros(1, np.int32), counts[1])
    assert counts[0] == counts[1] == m * chunk.epochs
    return chunk, alone


def assert_same(chunk: Chunk) -> Chunk:
    packed, alone = both_ways(chunk)
    for name in (*WRITTEN, *(MEASURED if len(chunk.excess) else ())):
        found, want = getattr(packed, name), getattr(alone, name)
        if found.dtype.kind == "f":
            assert np.array_equal(np.isnan(found), np.isnan(want)), name
            found, want = (np.where(np.isnan(a), 0, a) for a in (found, want))
            assert np.array_equal(np.signbit(found), np.signbit(want)), name
        differing = np.argwhere(found != want)
        assert not len(differing), (name, differing[:3].tolist(), found[tuple(differing[0])], want[tuple(differing[0])])
    return packed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_every_option_of_every_rule(rule, dtype):
    """One set of options for all fits, then each fit its own; 37 fits, and rates that vary."""
    sets = [{}, *OPTIONS[rule].values()]
    for k, hyper in enumerate(sets):
        d = 1 + k % 9
        assert_same(chunk_of_fits(rule, 37, 2 * d + 5, d, dtype, seed=k, hyper=hyper, epochs=21, every=(1, 0, 5)[k % 3]))
    names = {name for hyper in sets for name in hyper}
    mixed = {name: [{**UPDATE_RULES[rule].hyperparameters, **sets[f % len(sets)]}[name] for f in range(75)] for name in names}
    chunk = assert_same(chunk_of_fits(rule, 75, 12, 3, dtype, seed=99, hyper=mixed, epochs=40))
    assert len(np.unique(chunk.hyper, axis=0)) >= min(3, len(sets))
    rates = 0.02 * np.random.default_rng(3).uniform(0, 1.5, (70, 33))
    assert_same(chunk_of_fits(rule, 33, 12, 2, dtype, hyper=sets[-1], lr=rates, epochs=70, every=7))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [*range(1, 10), 32])
def test_every_number_of_parameters(d, dtype):
    for k, rule in enumerate(RULES):
        options = list(OPTIONS[rule].values())
        assert_same(chunk_of_fits(rule, 34, 2 * d + 4, d, dtype, seed=d + 10 * k, hyper=options[d % len(options)], epochs=17))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_fits_that_leave_beside_others(rule, dtype):
    """Rates from ordinary to far beyond the limits, some of them for one epoch only."""
    m, epochs = 64, 90
    largest = 1e38 if dtype == "float32" else 1e300
    rng = np.random.default_rng(5)
    rates = np.tile(0.01 * rng.uniform(0.5, 1.5, m), (epochs, 1))
    rates[rng.integers(0, epochs, 20), np.arange(0, 60, 3)] *= largest ** rng.uniform(0.2, 1, 20)
    rates[:, [1, 62]] = largest
    hyper = {"momentum": 0.9} if rule in ("sgd", "rmsprop") else {}
    for every in (0, 1, 4):
        measured = {"least": np.nan, "tol": 1e-12} if every == 4 else {"least": np.nan} if every else {}
        with np.errstate(over="ignore"):
            chunk = assert_same(chunk_of_fits(rule, m, 14, 3, dtype, hyper=hyper, lr=rates, epochs=epochs, every=every, **measured))
        assert (chunk.algorithm == STREAM).sum() > 3
        assert (chunk.algorithm == MOMENTS).sum() > 20
    growing = chunk_of_fits("sgd", m, 14, 3, dtype, hyper={"momentum": 0.5}, lr=np.geomspace(0.01, 1e4, m), epochs=150)
    chunk = assert_same(growing)
    assert (chunk.status == DIVERGED).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_fits_that_converge_at_different_epochs(rule, dtype):
    decay = {"weight_decay": 0.01} if rule != "sgd" else {"momentum": 0.6, "weight_decay": np.linspace(0, 0.02, 40)}
    rates = np.geomspace(0.01, 0.3, 40) * (30 if rule == "adadelta" else 1)
    chunk = chunk_of_fits(rule, 40, 20, 3, dtype, hyper=decay, lr=rates, epochs=200, every=3, tol=0.2, least=np.nan)
    assert_same(chunk)
    assert (chunk.status == CONVERGED).sum() > 3
    assert len(set(chunk.epochs_run[chunk.status == CONVERGED])) > 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_states_of_different_steps_go_on(rule, dtype):
    """Fits that have made 0, 3, 6 … steps go on together, some of them converged before: as each
    would alone."""
    m, started = 39, chunk_of_fits(rule, 39, 12, 2, dtype, epochs=0)
    for steps in (0, 3, 6):
        some = chunk_of_fits(rule, m, 12, 2, dtype, epochs=steps)
        both_ways(some)
        own = np.arange(m) % 3 == steps // 3
        for name in ("w", "slots", "products", "steps"):
            getattr(started, name)[own] = getattr(some, name)[own]
    assert set(started.steps) == {0, 3, 6}
    for before in (False, True):
        chunk = chunk_of_fits(rule, m, 12, 2, dtype, epochs=25, every=4)
        for name in ("w", "slots", "products", "steps"):
            getattr(chunk, name)[:] = getattr(started, name)
        if before:
            chunk.status[[0, 7, 38]] = CONVERGED
        went_on = copy.deepcopy(chunk.steps)
        assert_same(chunk)
        assert (chunk.steps - went_on == (chunk.status != CONVERGED) * 25).all()
        assert (chunk.steps[:7] > 3).any()


@pytest.mark.parametrize("d", [1, 2, 8, 9])
def test_velocities_that_pass_the_limit_alone(d):
    """The rate is 0, so w stays; momenta above 1 take some velocities beyond any limit."""
    m = 40
    momenta = np.where(np.arange(m) % 4 == 1, 30.0, np.where(np.arange(m) % 4 == 2, 1.2, 0.9))
    for every in (0, 1):
        hyper = {"momentum": momenta, "nesterov": np.arange(m) % 3 == 0, "dampening": 0.25}
        chunk = assert_same(chunk_of_fits("sgd", m, 2 * d + 5, d, "float32", hyper=hyper, lr=np.zeros(m), epochs=60, every=every))
        assert (chunk.algorithm == STREAM).sum() == 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", ["adam", "adamw"])
def test_products_of_any_state(rule, dtype):
    """The products give corrections of 0, far below 1, 1, above 1, and none."""
    m = 44
    chunk = chunk_of_fits(rule, m, 12, 3, dtype, epochs=20, every=1)
    chunk.steps[:] = 5
    chunk.products[:, 1] = np.resize([0.5, 1 / 0.999, 1 - 2.0**-53, 0.0, -0.75, -1e300, -np.inf, 1.5, np.nan, 1e-300, 0.999], m)
    assert_same(chunk)


@pytest.mark.parametrize("size", [1e-160, 1e-20, 1e150])
def test_roots_of_any_size(size):
    """Second moments from subnormal numbers on, and rates that make steps of them."""
    m = 33
    chunk = chunk_of_fits("adam", m, 12, 3, "float64", hyper={"eps": 0.0}, lr=np.full(m, 1e-3), epochs=20, every=1)
    chunk.X, chunk.y = cpu.read_only(chunk.X * size**0.5), cpu.read_only(chunk.y * size**0.5)
    assert_same(chunk)
