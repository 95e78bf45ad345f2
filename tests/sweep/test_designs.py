"""`fastgd.designs`: where points come from."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd import designs


def test_ends_seeds_and_streams():
    design = {"lr": designs.log_uniform(1e-4, 1), "momentum": designs.uniform(0, 0.5), "optimizer": designs.choice(["sgd", "adam"])}
    points = designs.sample(design, 4000, seed=5)
    assert list(points) == list(design)
    assert ((points["lr"] >= 1e-4) & (points["lr"] <= 1)).all()
    assert ((points["momentum"] >= 0) & (points["momentum"] < 0.5)).all()
    assert set(points["optimizer"]) == {"sgd", "adam"}
    again, other = designs.sample(design, 4000, seed=5), designs.sample(design, 4000, seed=6)
    assert all(np.array_equal(points[name], again[name]) and not np.array_equal(points[name], other[name]) for name in design)
    fewer = designs.sample({"lr": design["lr"]}, 4000, seed=5)
    assert np.array_equal(fewer["lr"], points["lr"])


def test_shares_are_those_of_the_distribution():
    """Each quarter holds n/4 within six standard deviations, √(n · 3/16)."""
    n, points = 10_000, designs.sample({"a": designs.log_uniform(1e-4, 1), "b": designs.uniform(-1, 3)}, 10_000)
    for shares in ((np.log10(points["a"]) + 4) / 4, (points["b"] + 1) / 4):
        counts = np.bincount(np.clip((shares * 4).astype(int), 0, 3), minlength=4)
        assert (np.abs(counts - n / 4) < 6 * np.sqrt(n * 3 / 16)).all()


def test_a_frozen_distribution_of_scipy_is_drawn_from():
    """What `sample` asks of it, as scipy.stats has it: rvs(size=, random_state=)."""

    class Frozen:
        def rvs(self, size=1, random_state=None):
            assert isinstance(random_state, np.random.Generator)
            return random_state.normal(size=size)

    assert designs.sample({"x": Frozen()}, 3)["x"].shape == (3,)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: designs.log_uniform(0, 1), ValueError, "low must be above 0, since its logarithm is taken; it is 0"),
        (lambda: designs.uniform(1, 1), ValueError, "low must be below high; they are 1 and 1"),
        (lambda: designs.uniform([0, 1], 2), ValueError, "low must be one number"),
        (lambda: designs.uniform("a", 2), TypeError, "low must be a real number"),
        (lambda: designs.choice("sgd"), TypeError, "values must be a list"),
        (lambda: designs.choice([]), ValueError, "values is empty"),
        (lambda: designs.sample([], 3), TypeError, "design must be a mapping"),
        (lambda: designs.sample({}, 3), ValueError, "design is empty"),
        (lambda: designs.sample({"lr": 0.1}, 3), TypeError, r"design\['lr'\] must be a distribution"),
        (lambda: designs.sample({"lr": designs.uniform(0, 1)}, 0), ValueError, "n must be a whole number, at least 1"),
    ],
)
def test_what_is_no_design(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_too_few_values_are_told():
    class Stubborn:
        def rvs(self, size, random_state):
            return 0.5

    with pytest.raises(ValueError, match=r"design\['lr'\] gave values of shape \(\); 3 of them"):
        designs.sample({"lr": Stubborn()}, 3)
