"""Coordinate: values along an axis of a sweep, found exactly."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd import SGD, Adam
from fastgd.results.coordinate import Coordinate, label_of, short

LR = Coordinate("lr", np.array([0.1, 0.2, 0.30000000000000004]))
BETAS = Coordinate("betas", np.array([[0.9, 0.99], [0.5, 0.9]]))
RULES = Coordinate.of_texts("point", ["sgd", "adam", "sgd"])


@pytest.mark.parametrize(
    ("coordinate", "wanted", "places"),
    [
        (LR, 0.2, [1]),
        (LR, 0.3, []),
        (LR, "0.2", []),
        (LR, (0.1, 0.2), []),
        (BETAS, (0.5, 0.9), [1]),
        (BETAS, 0.5, []),
        (RULES, "sgd", [0, 2]),
        (RULES, "s", []),
        (Coordinate("nesterov", np.array([False, True])), True, [1]),
    ],
)
def test_where(coordinate, wanted, places):
    assert coordinate.where(wanted).tolist() == places


def test_texts_are_held_once_and_taken():
    assert RULES.texts == {"0": "sgd", "1": "adam"}
    assert RULES.labels.tolist() == ["sgd", "adam", "sgd"]
    assert RULES.take([1, 2]).labels.tolist() == ["adam", "sgd"]


def test_values_are_pythons():
    assert [type(one) for one in (LR.value(0), RULES.value(0), BETAS.value(0))] == [float, str, tuple]
    assert LR.nearest(0.22).tolist() == [1]


def test_in_words():
    assert str(LR) == "0.1, 0.2, 0.3"
    assert str(BETAS) == "(0.9, 0.99), (0.5, 0.9)"
    assert str(Coordinate("lr", np.geomspace(1e-4, 1, 64))) == "64 from 0.0001 to 1"
    assert str(Coordinate.of_texts("point", [f"r{k}" for k in range(10)])) == "r0, r1, r2, r3, r4, r5, r6, r7, ... (10 in all)"
    assert short((0.0, 1.0, 2.0, 3.0, 4.0)) == "(0, 1, 2, 3, ...)"


def test_labels_of_optimizers():
    given = ["adam", SGD, SGD(), SGD(momentum=0.9, nesterov=True), Adam(betas=(0.5, 0.9))]
    assert [label_of(one) for one in given] == ["adam", "sgd", "sgd", "SGD(momentum=0.9, nesterov=True)", "Adam(betas=(0.5, 0.9))"]
