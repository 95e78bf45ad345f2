"""
For a scikit-learn user
=======================

`GradientDescentRegressor` is an estimator like any other; `SweepSearchCV` is a grid search that
reads the data once.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import fastgd
from fastgd.sklearn import GradientDescentRegressor, SweepSearchCV

X, y = load_diabetes(return_X_y=True)

# %%
# An estimator
# ------------
# It standardises the features by default, and warns where more than ``tol`` of the way to the least
# loss is left after its ``epochs``.

model = GradientDescentRegressor(tol=0.001).fit(X, y)
print(model.score(X, y), model.n_iter_)
print(cross_val_score(model, X, y, cv=5).round(3))

# %%
# In a pipeline:

pipeline = make_pipeline(
    PolynomialFeatures(2, include_bias=False), GradientDescentRegressor(tol=0.01)
)
print(pipeline.fit(X, y).score(X, y))

# %%
# A grid search
# -------------
# Each fold becomes its second moments. The training data of a split are the sum of the other
# folds', so 5 folds of 1,000 candidates cost one read of the data.

grid = {
    "lr": np.geomspace(1e-4, 0.2, 500),
    "optimizer": [fastgd.SGD(), fastgd.SGD(momentum=0.9)],
}
start = time.perf_counter()
search = SweepSearchCV(
    GradientDescentRegressor(tol=None, epochs=100), grid, cv=5
).fit(X, y)
print(
    f"{len(search.cv_results_['params']):,} candidates in {time.perf_counter() - start:.2f} s"
)
print(search.best_params_, search.best_score_)

# %%
# What the search has seen:

scores = search.cv_results_["mean_test_score"].reshape(500, 2)
figure, ax = plt.subplots(layout="constrained")
for column, name in enumerate(["SGD", "SGD, momentum 0.9"]):
    ax.semilogx(grid["lr"], scores[:, column], ["-", "--"][column], label=name)
ax.set(xlabel="lr", ylabel="mean R² of the folds", ylim=(-0.1, 0.6))
_ = ax.legend(frameon=False)

# %%
# `GridSearchCV` on a part of the same grid finds the same scores:

small = {"lr": grid["lr"][350:500:50]}
plain = GridSearchCV(
    GradientDescentRegressor(tol=None, epochs=100), small, cv=5
).fit(X, y)
ours = SweepSearchCV(
    GradientDescentRegressor(tol=None, epochs=100), small, cv=5
).fit(X, y)
print(
    np.abs(
        plain.cv_results_["mean_test_score"] - ours.cv_results_["mean_test_score"]
    ).max(),
    "is the largest difference",
)

# %%
# Data that come in parts
# -----------------------
# ``partial_fit`` adds the samples of a part to the moments, and descends on all so far.

model = GradientDescentRegressor(tol=0.001, epochs=20_000)
for part in np.array_split(np.arange(len(y)), 4):
    model.partial_fit(X[part], y[part])
print(model.score(X, y))
