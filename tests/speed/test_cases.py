"""The registry of cases: they are those of the design, and a row tells the whole story."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.speed import agreeing, limits
from fastgd.speed.cases import CASES, GATHER, ONE_THREAD, READ, READ_WRITE, ROOF, USERS, _of_formula, measure

SHARE = 1e-3
SOME = (  # one of each maker, with each limit
    "tiny unlike", "solve tiny", "fit 100x1 w", "fit 100x1 out", "fit 256x8 fresh", "fit 256x8 float64 w", "solve 256x8", "rates fresh",
    "adam fresh", "batches ordered", "batches shuffled", "groups 1 solve", "groups 3 fit", "raster fit", "raster solve", "standardized",
    "gaps", "stream 8", "verify",
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
    assert wanted < sizes
    uses = {name.split()[0] for name in CASES}
    assert uses == {
        "tiny",
        "fit",
        "solve",
        "rates",
        "adam",
        "nesterov",
        "batches",
        "groups",
        "raster",
        "standardized",
        "gaps",
        "stream",
        "verify",
    }
    assert {case.limit for case in CASES.values() if isinstance(case.limit, str)} == {READ, READ_WRITE, ROOF, GATHER, ONE_THREAD}
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
    if isinstance(case.limit, float):
        assert row["limit_s"] == case.limit
    else:
        assert set(told) >= {kind for kind in ("read", "write", "fma64", "fma32", "gather") if kind in case.limit}
    if name == "fit 100x1 out":
        assert (row["bytes_read"], row["bytes_written"]) == (100 * 100 * 2 * 4, 100 * 2 * 4 * (1 + 101))


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
