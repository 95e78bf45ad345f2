"""The registry of cases: they are those of the design, and a row tells the whole story."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.speed import agreeing, limits
from fastgd.speed.cases import CASES, GATHER, ONE_THREAD, ORDINARY, READ, READ_WRITE, ROOF, USERS, WITHOUT, _of_formula, measure

SHARE = 1e-3
SOME = (  # one of each maker, with each limit
    "tiny unlike", "solve tiny", "fit 100x1 w", "fit 100x1 out", "fit 256x8 fresh", "fit 256x8 float64 w", "solve 256x8", "rates fresh",
    "adam fresh", "batches ordered", "batches shuffled", "groups 1 solve", "groups 3 fit", "raster fit", "raster solve", "standardized",
    "gaps", "stream 8", "verify", "solve 100x2", "solve dead", "solve constant", "solve few float64", "solve one X", "excess rates w",
)  # fmt: skip


@pytest.fixture(scope="module")
def machine():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "ROUNDS", 100)
        patched.setattr(agreeing, "AGREED_NUMBERS", 2_000)
        yield limits.Machine(2)


def test_the_cases_are_those_of_the_design():
    sizes = {(case.sizes.n_fits, case.sizes.n_samples, case.sizes.n_features) for case in CASES.values()}
    wanted = {(100_000, 100, 1), (20_000, 256, 8), (1_000, 10_000, 32), (1, 1_000_000, 16), (1, 100_000, 256), (1_000_000, 120, 1)}
    wanted |= {(100_000, 100, 2), (10_000, 6, 8), (20_000, 1_000, 8)}
    assert wanted < sizes
    uses = "tiny fit solve rates adam nesterov batches groups raster standardized gaps stream excess verify"
    assert {name.split()[0] for name in CASES} == set(uses.split())
    limits_in_words = {case.limit for case in CASES.values() if isinstance(case.limit, str)}
    assert limits_in_words == {READ, READ_WRITE, ROOF, GATHER, ONE_THREAD, WITHOUT, ORDINARY}
    assert all(case.most is None for case in CASES.values() if case.limit is None)
    assert set(USERS) < set(CASES)


@pytest.mark.parametrize("name", SOME)
def test_a_row_tells_the_whole_story(name, machine):
    case = CASES[name]
    row = measure(case, machine, share=SHARE, most_seconds=0.0)
    assert row["case"] == name
    assert row["n_fits"] == (max(20, round(case.sizes.n_fits * SHARE)) if case.sizes.n_fits > 1 else 1)
    assert row["p20"] <= row["median"] <= row["p80"]
    assert row["worst_tau"] <= agreeing.OURS
    assert row["worst_tau"] > 0 or name.startswith("batches")  # which are compared by ==
    if case.limit is None:
        assert "ratio" not in row
        return
    assert row["ratio"] == row["median"] / row["limit_s"]
    assert row["most"] == case.most
    told = row["limits_s"]
    if case.limit == READ_WRITE:
        assert row["limit_s"] == told["read"] + told["write"]
    if case.limit == ROOF:
        assert row["limit_s"] == max(told["read"], told["fma64"])
        assert row["operations"] > 0
    if case.limit in (WITHOUT, ORDINARY):
        assert row["limit_s"] == told["twin"]
    if isinstance(case.limit, float):
        assert row["limit_s"] == case.limit
    else:
        assert set(told) >= {kind for kind in ("read", "write", "fma64", "fma32", "gather", "twin") if kind in case.limit}
    if name == "fit 100x1 out":
        assert (row["bytes_read"], row["bytes_written"]) == (100 * 100 * 2 * 4, 100 * 2 * 4 * (1 + 101))


@pytest.mark.parametrize("name", ["excess tiny like", "excess fit 100x1 w", "excess fit 256x8 w", "excess rates w"])
def test_a_twin_leaves_the_excess_loss_out(name):
    work = CASES[name].make(CASES[name].sizes.share(SHARE))
    assert np.isfinite(work.call().excess_loss).all()
    assert work.twin().excess_loss is None


def test_a_twin_is_compared_before_it_is_timed(machine, monkeypatch):
    import fastgd

    fit = fastgd.fit

    def wrong(*data, lr, excess_loss=None, **options):
        return fit(*data, lr=lr * (1.01 if excess_loss is False else 1.0), excess_loss=excess_loss, **options)

    monkeypatch.setattr(fastgd, "fit", wrong)
    with pytest.raises(agreeing.Disagrees, match="what has no excess loss has another w"):
        measure(CASES["excess fit 100x1 w"], machine, share=SHARE, most_seconds=0.0)


def test_fits_of_dependent_columns_are_compared_with_ordinary_ones():
    for name, rank, n_samples in (("solve dead", 7, 256), ("solve constant", 8, 256), ("solve few", 6, 6)):
        work = CASES[name].make(CASES[name].sizes.share(SHARE))
        assert (work.call().rank == rank).all()
        assert not work.twin().ill_conditioned.any()
        assert work.reads[0].shape == (20, n_samples, 8)


def test_what_disagrees_is_not_timed(machine, monkeypatch):
    import fastgd

    fit = fastgd.fit
    monkeypatch.setattr(fastgd, "fit", lambda *data, lr, **options: fit(*data, lr=np.asarray(lr) * 1.01, **options))
    for name in ("fit 100x1 w", "tiny like", "raster fit"):
        with pytest.raises(agreeing.Disagrees):
            measure(CASES[name], machine, share=SHARE, most_seconds=0.0)


@pytest.mark.parametrize(("formula", "wanted"), [(READ, 3.0), (READ_WRITE, 8.0), (ROOF, 7.0), (ONE_THREAD, 1.0), (GATHER, 4.0)])
def test_limits_are_what_their_formulas_say(formula, wanted):
    seconds = {"read": 3.0, "write": 5.0, "fma64": 7.0, "fma32": 1.0, "gather": 4.0}
    assert _of_formula(formula, seconds) == wanted
    if formula == ROOF:
        assert _of_formula(formula, {**seconds, "read": 9.0}) == 9.0
