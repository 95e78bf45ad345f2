"""`make campaign`: turns fill the time, what crashes or hangs is told, failures become programs."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaign import attacks, running
from tests.campaign.__main__ import main
from tests.campaign.attack import KEPT_OF_A_KIND, Attack, Failure, Trial
from tests.campaign.attacks import ATTACKS
from tests.campaign.running import Found, Turn, run_all, run_turn, turns_of, write_reproducers
from tests.support.paths import ROOT, TESTS

EARLY = "the attack itself ended early"


def attack(name="made_up", share=1.0, needs=lambda: None):
    return Attack(name, "nothing breaks", "By hand.", "cases", share, lambda trial: None, needs=needs)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that is run in place of tests.campaign.one, by its source."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(source):
        (tmp_path / "planted_turn.py").write_text("import sys, os, time\nname, seed, seconds, folder = sys.argv[1:]\n" + source)
        return "planted_turn"

    return write


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name)
def test_every_attack_has_a_test_with_a_planted_fault(one):
    """An attack that cannot fail is worth nothing."""
    assert inspect.getmodule(one.run).__name__ == f"tests.campaign.{one.name}"
    tests = (TESTS / "campaign" / f"test_{one.name}.py").read_text("utf-8")
    assert "run_for_a_moment(" in tests
    assert "find_planted(" in tests
    assert len(one.promise) <= 80


def test_names_are_unique():
    assert len(attacks.BY_NAME) == len(ATTACKS)


def test_turns_fill_the_time_by_the_shares_of_the_attacks():
    turns = turns_of([attack("a", 3), attack("b", 1)], seconds=800, seed=5, jobs=2)
    by_name = {name: [turn for turn in turns if turn.attack.name == name] for name in "ab"}
    assert {name: sum(turn.seconds for turn in part) for name, part in by_name.items()} == {"a": 1200, "b": 400}
    assert max(turn.seconds for turn in turns) <= running.LONGEST_TURN
    assert len({turn.seed for turn in turns}) == len(turns)
    assert [turn.seed for turn in by_name["a"]][:3] == [turn.seed for turn in turns_of([attack("a", 3)], 360, 5, 1)][:3]
    assert [turn.attack.name for turn in turns[:5]].count("b") == 1  # not at the end


def test_what_a_turn_finds_comes_back(module, tmp_path):
    """With its failures; the rest of its processes is ended."""
    source = """
from tests.campaign.attack import Trial
from pathlib import Path
import subprocess
trial = Trial(int(seed), time.monotonic() + float(seconds), Path(folder))
trial.tried(7)
for number in range(5):
    trial.failed("wrong w", f"number {number}", "print(1)")
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(Path(__file__).parent / "left").write_text(str(left.pid))
(Path(folder) / "found.json").write_text(trial.to_json())
"""
    found = run_turn(Turn(attack(), 3, 1.0), module=module(source))
    assert (found.cases, dict(found.counts), len(found.failures)) == (7, {"wrong w": 5}, KEPT_OF_A_KIND)
    assert found.failures[0] == Failure("wrong w", "number 0", "print(1)")
    left = Path(f"/proc/{(tmp_path / 'left').read_text()}/stat")
    until = time.monotonic() + 60
    while left.exists() and left.read_text().split()[2] != "Z" and time.monotonic() < until:
        time.sleep(0.01)
    assert not left.exists() or left.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("last", "kind"),
    [("os.abort()", "crash"), ("time.sleep(600)", "hang"), ("1 / 0", EARLY), ("os._exit(0)", EARLY)],
)  # fmt: skip
def test_a_turn_that_does_not_end_well_is_a_failure_with_what_it_did(module, last, kind):
    source = f"""
from tests.campaign.attack import Trial
from pathlib import Path
trial = Trial(int(seed), 0.0, Path(folder))
trial.doing("print('a longer one, before')")
trial.doing("print('this')")
{last}
"""
    patience = 5.0 if kind == "hang" else 60.0  # seconds; a busy machine takes some to begin
    found = run_turn(Turn(attack(), 3, 0.1), patience=patience, module=module(source))
    assert dict(found.counts) == {kind: 1}
    assert found.failures[0].reproducer.startswith("print('this')\n\n# python -m ")


@pytest.mark.parametrize(("memory", "counts"), [("2**28", {EARLY: 1}), ("None", {})])
def test_a_turn_has_a_ceiling_of_memory(module, memory, counts):
    """1 GiB, which nobody writes to, is refused; without the ceiling it is given."""
    source = f"""
import numpy as np
from tests.campaign import one
from tests.campaign.attack import Attack
def run(trial):
    trial.doing("print('this')")
    np.zeros(2**30, np.uint8)
    trial.tried()
one.BY_NAME[name] = Attack(name, "", "", "cases", 1, run, {memory})
one.main(name, seed, seconds, folder)
"""
    found = run_turn(Turn(attack(), 3, 0.5), module=module(source))
    assert dict(found.counts) == counts
    assert all("MemoryError" in failure.text and failure.reproducer.startswith("print('this')") for failure in found.failures)


def test_a_turn_looks_through_new_objects_alone(module):
    """Each case of `calls` looks for threads that are left: 0.2 s among all that is imported."""
    source = """
import gc
from tests.campaign import one
from tests.campaign.attack import Attack
def run(trial):
    trial.tried(len(gc.get_objects()))
one.BY_NAME[name] = Attack(name, "", "", "cases", 1, run)
one.main(name, seed, seconds, folder)
"""
    assert run_turn(Turn(attack(), 3, 0.5), module=module(source)).cases < 10_000


def test_an_attack_that_cannot_run_here_is_told(monkeypatch):
    monkeypatch.setattr(running, "run_turn", lambda turn: Found(turn.attack, cases=3))
    told = []
    here, gone = run_all([attack("here"), attack("gone", needs=lambda: "no fork here")], 1.0, 1, 1, told.append)
    assert (here.why_not, here.cases, gone.why_not, gone.cases) == (None, 3, "no fork here", 0)
    assert re.fullmatch(r"here +seed +\d+ +0 s +3 cases: none failed", told[0])
    assert len(told) == 1


def test_failures_become_programs(tmp_path):
    found = Found(attack(), failures=[Failure("Wrong w!", "1, not 2\nat epoch 3", "print('again')"), Failure("crash", "", "print(2)")])
    first, second = write_reproducers([found], tmp_path / "new")
    assert (first.name, second.name) == ("made_up-wrong-w-1.py", "made_up-crash-2.py")
    assert first.read_text() == "# Wrong w!: 1, not 2\n# at epoch 3\n\nprint('again')\n"
    assert subprocess.run([sys.executable, first], capture_output=True, text=True, check=True).stdout == "again\n"


def test_a_trial_ends_with_its_time_or_with_enough_failures(tmp_path):
    trial = Trial(1, time.monotonic() + 600, tmp_path, most_failures=2)
    assert trial.time_is_left()
    trial.failed("one", "", "")
    assert trial.time_is_left()
    trial.failed("two", "", "")
    assert not trial.time_is_left()
    late = Trial(1, time.monotonic() - 1, tmp_path)
    assert late.time_is_left()  # for one case
    late.tried()
    assert not late.time_is_left()


def test_the_command_runs_one_attack(tmp_path):
    """With its exit status and its page."""
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "reliability.md").read_text("utf-8"), encoding="utf-8")
    arguments = (
        "--seconds",
        "0.2",
        "--jobs",
        "1",
        "--seed",
        "1",
        "--only",
        "calls",
        "--out",
        str(page),
        "--reproducers",
        str(tmp_path / "new"),
    )
    ran = subprocess.run(
        [sys.executable, "-m", "tests.campaign", *arguments], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^\| calls \| .* \| [\d,]+ calls \| 0 \|$", page.read_text("utf-8"), re.MULTILINE)
    assert not (tmp_path / "new").exists()


def refused_at_once(capsys, monkeypatch, *arguments):
    """What the command says of its arguments, before any attack runs."""
    monkeypatch.setattr("tests.campaign.__main__.run_all", lambda *given: pytest.fail("the campaign ran"))
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_arguments_are_checked_before_the_campaign(capsys, monkeypatch, tmp_path):
    page, plain = tmp_path / "missing.md", tmp_path / "plain.md"
    assert f"{page} cannot be read and written" in refused_at_once(capsys, monkeypatch, "--out", str(page))
    plain.write_text("no marks\n")
    assert f"{plain} needs the line" in refused_at_once(capsys, monkeypatch, "--out", str(plain))
    assert "cannot be read and written" in refused_at_once(capsys, monkeypatch, "--out", str(tmp_path))
    assert "no attack is called 'x'" in refused_at_once(capsys, monkeypatch, "--only", "x,calls")
    assert "must be a folder" in refused_at_once(capsys, monkeypatch, "--reproducers", str(plain))
    assert "must be a folder" in refused_at_once(capsys, monkeypatch, "--reproducers", str(plain / "in" / "it"))
    for option, value in (("--seconds", "0"), ("--seconds", "nan"), ("--seconds", "inf"), ("--jobs", "-1"), ("--seed", "-1")):
        assert "must be above 0" in refused_at_once(capsys, monkeypatch, f"{option}={value}")
