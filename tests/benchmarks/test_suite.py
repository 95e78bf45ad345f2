"""benchmarks/: other libraries are judged before they are timed; what is missing or wrong is named;
a run goes on where it ended; the tables and pictures are made of its rows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import first_call, peers, report, run, scaling
from benchmarks.problems import Problem, problem_of
from fastgd.speed import agreeing, limits
from fastgd.speed.cases import CASES
from fastgd.speed.measuring import Journal, conditions
from tests.support.paths import ROOT

SHARE = 2e-4
OF_A_KIND = {"descent": "fit 100x1 fresh", "rules": "nesterov fresh", "gaps": "gaps", "rates": "rates fresh", "batches": "batches shuffled",
             "closed form": "solve 256x8", "deficient": "solve dead", "one X": "solve one X",
             "groups": "groups 1 solve", "raster": "raster solve"}  # fmt: skip
DEAR = {"torch.compile", "naive Numba prange"}  # they compile for seconds


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    made = {kind: problem_of(CASES[name].make(CASES[name].sizes.share(SHARE))) for kind, name in OF_A_KIND.items()}
    assert {kind: problem.kind for kind, problem in made.items()} == {kind: kind for kind in OF_A_KIND}
    made["rates"] = replace(made["rates"], X=made["rates"].X[:, :200], y=made["rates"].y[:, :200])
    return {kind: replace(problem, epochs=min(problem.epochs, 10)) for kind, problem in made.items()}


def pairs():
    return [(kind, name) for kind in OF_A_KIND for name, peer in peers.PEERS.items() if kind in peer.kinds and name not in DEAR]


@pytest.mark.parametrize(("kind", "name"), pairs())
def test_a_peer_agrees_or_says_what_is_missing(problems, kind, name, monkeypatch):
    monkeypatch.setattr(run, "fits_in_time", lambda problem, peer: min(problem.n_fits, 21))
    monkeypatch.setattr(
        run, "interleaved", lambda functions, repeats, most: {who: [float(call() is not None)] for who, call in functions.items()}
    )
    told = run.measure_peer(problems[kind], peers.PEERS[name])
    if "left_out" in told:
        library = peers.PEERS[name].library
        assert told == {"left_out": f"{library} is not installed"}
        assert library in ("jax", "optax", "polars_ds")
        return
    assert told["n_fits"] == min(21, problems[kind].n_fits)
    assert 0 <= told["worst_tau"] <= agreeing.ANYBODYS  # 0: who calls the same LAPACK function as the check


def test_numba_by_hand_agrees(problems, monkeypatch):
    """As Python runs it: compiling it takes seconds."""
    monkeypatch.setattr(peers, "_descend_naively", peers._descend_naively.py_func)
    for kind in ("descent", "gaps"):
        problem = replace(problems[kind].part(3), epochs=4)
        assert problem.judge(peers.naive_numba(problem)()) <= agreeing.ANYBODYS


@pytest.mark.parametrize("kind", OF_A_KIND)
def test_a_peer_that_is_wrong_is_not_timed(problems, kind):
    problem = problems[kind].part(20)
    name = next(name for name, peer in peers.PEERS.items() if kind in peer.kinds and peer.library in ("numpy", "torch", "polars"))
    right = peers.PEERS[name].make(problem)()
    wrong = (right[0] * 1.01, right[1]) if isinstance(right, tuple) else right * 1.5
    peer = peers.Peer("numpy", (kind,), lambda problem: lambda: wrong)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "fits_in_time", lambda problem, peer: problem.n_fits)
        assert run.measure_peer(problem, peer)["left_out"].startswith("does not agree: ")
        broken = peers.Peer("numpy", (kind,), lambda problem: 1 / 0)
        assert run.measure_peer(problem, broken) == {"left_out": "ZeroDivisionError: division by zero"}


def test_w_alone_is_judged_by_its_history(problems):
    """The same function with a history: it must end in the same bits."""
    problem = replace(problems["descent"], keep=False)
    peer = peers.PEERS["NumPy on moments"]
    found = peer.make(problem)()
    assert found[1] is None
    assert run._judged(problem, peer, found) <= agreeing.ANYBODYS
    with pytest.raises(agreeing.Disagrees, match="without its history"):
        run._judged(problem, peer, (np.nextafter(found[0], np.float32(9)), None))


def test_slow_peers_get_a_power_of_ten_of_the_fits(problems, monkeypatch):
    problem = replace(problems["closed form"], n_fits=4_000)
    peer = peers.Peer("numpy", ("closed form",), lambda problem: lambda: None)
    for seconds, fits in ((1e-9, 4_000), (1e-3 * 40, 1_000), (0.9e-3 * 40, 1_000), (1.1e-3 * 40, 100), (1e3, 1)):
        monkeypatch.setattr(run, "timed", lambda function, seconds=seconds: seconds)
        monkeypatch.setattr(Problem, "part", lambda self, n_fits: self)
        assert run.fits_in_time(problem, peer) == fits


def test_a_run_goes_on_and_its_report_is_made(tmp_path, monkeypatch, capsys):
    """A share of it, twice: the second time nothing is measured."""
    monkeypatch.setattr(limits, "ROUNDS", 100)
    monkeypatch.setattr(agreeing, "AGREED_NUMBERS", 2_000)
    monkeypatch.setattr(scaling, "POINTS", {"n_fits": ((1, 10), {}), "groups": ((20, 40), {"n_features": 3})})
    monkeypatch.setattr(report, "POINTS", scaling.POINTS)
    names = ["fit 100x1 fresh", "verify", "tiny like"]
    for _ in range(2):
        journal = Journal(tmp_path / "1" / "bench.jsonl", conditions(2) | {"commit": "abc"})
        run.measure_ours(journal, limits.Machine(2), names, SHARE)
        scaling.measure_all(journal, SHARE)
        n_rows = len(journal.rows)
        assert n_rows == 1 + 3 + 4 + 2
    journal.write({"cold": "import fastgd", "dtype": "", "median": 0.01, "p20": 0.01, "p80": 0.02, "repeats": 9})
    journal.write({"memory": "one fit", "data": 2**20, "before": 1, "taken": 2**21})
    assert {row["scaling"] for row in journal.rows if "scaling" in row} == {"n_fits", "groups"}
    of_peers = Journal(tmp_path / "1" / "peers.jsonl", conditions(2) | {"commit": "abc"})
    told = {"case": "fit 100x1 fresh", "n_fits": 10, "of_n_fits": 100, "median": 2.0, "fastgd_median": 0.5, "worst_tau": 0.3}
    of_peers.write(told | {"peer": "torch.compile", "times_fastgd": 40.0})
    of_peers.write(told | {"peer": "NumPy on moments", "times_fastgd": 4.0})
    of_peers.write({"case": "fit 100x1 fresh", "peer": "JAX vmap + scan", "left_out": "jax is not installed"})
    for folder in ("benchmarks", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README.md").write_text(f"before\n\n{report.HEADER} old |\n|---|\n| old | 1 |\n\nafter\n", "utf-8")
    monkeypatch.setattr("sys.argv", ["report.py", str(tmp_path / "1"), "--to", str(tmp_path)])
    report.main()
    lines = (tmp_path / "README.md").read_text("utf-8").splitlines()
    assert lines[:2] + lines[5:] == ["before", "", "", "after"]
    assert re.fullmatch(r"\| 10⁵ fits × 100 × 1, 100 epochs \| .+ \| [\d.]+ \| 40 times \| 4 times \|", lines[4])
    page = (tmp_path / "benchmarks" / "RESULTS.md").read_text("utf-8")
    assert "| `fit 100x1 fresh` | torch.compile | 10 of 100 | 2 s | 500 ms | 40 | 0.3 |" in page
    assert "left out: jax is not installed" in page
    assert "| one fit | 1 | 2 |" in page
    assert all((tmp_path / "docs" / f"{name}.png").stat().st_size > 10_000 for name in ("roofline", "peers", "scaling"))


def test_a_point_knows_what_it_must_do():
    """Ten times the fits are ten times the bytes and the operations."""
    few, many = scaling.point_of("n_fits", 1, "float32"), scaling.point_of("n_fits", 10, "float32")
    assert (many.bytes_read, many.fma64) == (10 * few.bytes_read, 10 * few.fma64) == (10 * 800, 10 * few.fma64)
    wide = scaling.point_of("n_features", 300, "float32")
    assert (wide.fma64, wide.fma32 > 0) == (0, True)  # above 256 features: `stream`


def test_a_new_process_tells_what_a_call_takes():
    told = first_call.run_new(first_call.MEMORY, "[100, 100, 1]", "1.0")
    assert told["data"] == 100 * 100 * 2 * 4
    assert 0 <= told["taken"] < 50 * 2**20


def test_the_readme_has_the_table_that_is_made():
    assert report.HEADER in (ROOT / "README.md").read_text("utf-8")
