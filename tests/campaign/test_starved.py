"""The attack of too little memory finds nothing, and finds planted faults."""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd.results import buffers
from tests.campaign import starved
from tests.campaign.trying import find_planted, narrowed, run_for_a_moment

SMALL = narrowed(starved.ATTACK, "history")


def test_nothing_is_found(tmp_path):
    run_for_a_moment(SMALL, tmp_path, seconds=0.5)


def test_an_error_of_another_kind_is_found(tmp_path, monkeypatch):
    fit = fastgd.fit

    def in_other_words(*given, **options):
        try:
            return fit(*given, **options)
        except MemoryError:
            raise RuntimeError("no") from None

    monkeypatch.setattr(fastgd, "fit", in_other_words)
    assert find_planted(SMALL, tmp_path) == {"RuntimeError instead of MemoryError"}


def test_a_leak_is_found(tmp_path, monkeypatch):
    kept, allocate = [], buffers.Buffers.allocate
    monkeypatch.setattr(buffers.Buffers, "allocate", lambda self, tightly=True: [kept.append(np.empty(9)), allocate(self, tightly)][1])
    assert find_planted(SMALL, tmp_path) == {"a leak"}


def test_a_wrong_result_is_found(tmp_path, monkeypatch):
    fit, failed = fastgd.fit, []

    def once_failed(X, y, **options):
        try:
            return fit(X, y, **options | ({"lr": 0.02} if failed else {}))
        except MemoryError:
            failed.append(1)
            raise

    monkeypatch.setattr(fastgd, "fit", once_failed)
    assert find_planted(SMALL, tmp_path) == {"the next call has another result"}
