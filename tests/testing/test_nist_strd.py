"""NIST's certified values are the rational solutions of the data."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest

from fastgd.testing import nist
from tests.support.paths import ROOT

STRD = json.loads((ROOT / "fastgd" / "testing" / "nist_strd.json").read_text("utf-8"))["datasets"]


def solve(design, targets):
    """Return parameters, residual sum of squares and the diagonal of (XᵀX)⁻¹, by elimination in
    rationals."""
    D = len(design[0])
    rows = [
        [sum(x[i] * x[j] for x in design) for j in range(D)] + [sum(x[i] * v for x, v in zip(design, targets, strict=True))] + unit
        for i, unit in enumerate([[Fraction(i == j) for j in range(D)] for i in range(D)])
    ]
    for i in range(D):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(D):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    beta = [row[D] for row in rows]
    residuals = [v - sum(b * value for b, value in zip(beta, x, strict=True)) for x, v in zip(design, targets, strict=True)]
    return beta, sum(r * r for r in residuals), [rows[i][D + 1 + i] for i in range(D)]


def half_a_unit(value: Decimal, digits: int) -> Fraction:
    """Return half a unit of the last of so many significant digits."""
    return Fraction(10) ** (value.adjusted() - digits + 1) / 2


def agrees(stated: Decimal, true: Fraction, digits: int, power: int = 1) -> bool:
    """Tell whether `stated`, or its square, is `true` rounded to so many digits."""
    if stated == 0 or true == 0:
        return stated == 0 and true == 0
    half = half_a_unit(stated, digits)
    ends = sorted((abs(Fraction(stated)) + end) ** power for end in (-half, half))
    return ends[0] <= abs(true) <= ends[1] and (power == 2 or (true < 0) == (stated < 0))


def decimal_design(entry) -> list[list[Fraction]]:
    model = entry["model"]
    if model["kind"] == "multi":
        rows = [[Fraction(x) for x in row] for row in entry["x"]]
    else:
        rows = [[Fraction(x) ** k for k in range(1, model["degree"] + 1)] for x in entry["x"]]
    return [row + [Fraction(1)] * model["intercept"] for row in rows]


@pytest.mark.parametrize("name", STRD)
def test_the_certified_values_are_the_rational_solution(name):
    entry, regression = STRD[name], nist(name)
    design, targets = decimal_design(entry), [Fraction(y) for y in entry["y"]]
    beta, rss, inverse = solve(design, targets)
    n, D = len(design), len(beta)
    centre = sum(targets) / n if regression.intercept else 0
    r2, variance = 1 - rss / sum((y - centre) ** 2 for y in targets), rss / (n - D)

    exact = regression.exact
    assert all(agrees(stated, true, 30) for stated, true in zip(exact.beta, beta, strict=True))
    assert agrees(exact.rss, rss, 30)
    assert agrees(exact.mse, rss / n, 30)
    assert agrees(exact.r2, r2, 30)
    assert agrees(exact.residual_sd, variance, 30, power=2)
    assert all(agrees(stated, variance * entry, 30, power=2) for stated, entry in zip(exact.std_error, inverse, strict=True))

    # NIST certifies 15 digits, which float64 carries unchanged
    assert all(agrees(Decimal(repr(float(stated))), true, 15) for stated, true in zip(regression.beta, beta, strict=True))
    assert agrees(Decimal(repr(regression.residual_sd)), variance, 15, power=2)
    assert agrees(Decimal(repr(regression.r2)), r2, 15)
    assert all(
        agrees(Decimal(repr(float(stated))), variance * entry, 15, power=2)
        for stated, entry in zip(regression.std_error, inverse, strict=True)
    )


@pytest.mark.parametrize("name", STRD)
def test_the_float64_data_are_those_that_were_solved(name):
    regression = nist(name)
    ones = [Fraction(1)] * regression.intercept
    design = [[Fraction(float(x)) for x in row] + ones for row in regression.X]
    beta, rss, _ = solve(design, [Fraction(float(y)) for y in regression.y])
    assert all(agrees(stated, true, 30) for stated, true in zip(regression.exact.beta_of_float64, beta, strict=True))
    assert agrees(regression.exact.mse_of_float64, rss / len(design), 30)


def test_nist_sets_by_name():
    sets = nist()
    assert [regression.name for regression in sets] == list(STRD)
    assert len(sets) == 11
    assert {regression.name for regression in sets if not regression.intercept} == {"noint1", "noint2"}
    assert [nist(name).level for name in ("norris", "noint1", "filip")] == ["lower", "average", "higher"]
    shapes = {regression.name: regression.X.shape for regression in sets}
    assert shapes["longley"] == (16, 6)
    assert shapes["filip"] == (82, 10)
    assert shapes["wampler5"] == (21, 5)
    assert nist("Longley").X[0].tolist() == [83, 234289, 2356, 1590, 107608, 1947]
    assert nist("NORRIS").beta.tolist() == [1.00211681802045, -0.262323073774029]  # the intercept last
    with pytest.raises(ValueError, match="no NIST set 'anscombe': choose one of norris, pontius"):
        nist("anscombe")
    with pytest.raises(ValueError, match="no NIST set 3: choose one of norris, pontius"):
        nist(3)


def test_importing_the_data_is_light():
    code = "import sys, fastgd.testing; fastgd.testing.problems(); print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numba", "mpmath", "scipy", "pandas"} & set(done.stdout.split())
