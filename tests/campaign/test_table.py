"""The table of docs/reliability.md is made of what was found, and stands between its two marks."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.campaign.attack import Attack
from tests.campaign.attacks import ATTACKS
from tests.campaign.running import Found
from tests.campaign.table import BEGIN, END, lines_of, write_table
from tests.support.paths import ROOT

MADE_UP = Attack("made_up", "nothing breaks", "By hand.", "cases", 1, lambda trial: None)


def test_a_row_says_how_often_and_what_failed():
    lines = lines_of(
        [Found(MADE_UP, cases=12345), Found(MADE_UP, cases=1, counts=Counter({"hang": 2, "crash": 1})), Found(MADE_UP, "no fork here")],
        7,
        60,
        2,
    )
    assert re.match(
        r"\d{4}-\d\d-\d\d, commit [0-9a-f]{12}(, with changes)?: 60 seconds, 2 at a time, seed 7\. ", " ".join(lines[0].split())
    )
    assert [line for line in lines if line.startswith("| made_up")] == [
        "| made_up | nothing breaks | 12,345 cases | 0 |",
        "| made_up | nothing breaks | 1 cases | 1 crash, 2 hang |",
        "| made_up | nothing breaks | 0 cases | not run: no fork here |",
    ]
    assert "* **made_up.** By hand." in lines


def test_what_is_no_failure_is_told_below_the_table():
    lines = lines_of([Found(MADE_UP, cases=3, notes=Counter({"late mail": 2}))], 7, 60, 2)
    assert "| made_up | nothing breaks | 3 cases | 0 |" in lines
    assert "Seen besides, and no failure of fastgd: 2 late mail." in " ".join(" ".join(lines).split())


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for words in ("new", "newer"):
        write_table(page, [words])
        assert page.read_text() == f"before\n\n{BEGIN}\n\n{words}\n\n{END}\n\nafter\n"
    page.write_text("no marks\n")
    with pytest.raises(SystemExit, match="needs the line"):
        write_table(page, ["new"])


def test_the_page_has_a_row_for_every_attack():
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0]
    assert re.findall(r"^\| (\w+) \| (?!promise)", table, re.MULTILINE) == [attack.name for attack in ATTACKS]
