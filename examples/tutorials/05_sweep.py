"""
A sweep, and its heat map
=========================

Which learning rate, and how much momentum? All pairs at once: the data are read once, each cell has
the bits of its single fit, and what diverges is a result.
"""

import numpy as np

import fastgd

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 8)) * np.linspace(1, 3, 8)
y = X @ rng.normal(size=8) + rng.normal(size=200)

grid = {"lr": np.geomspace(1e-4, 1, 80), "momentum": np.linspace(0, 0.98, 25)}
found = fastgd.sweep(
    X[:150],
    y[:150],
    grid=grid,
    epochs=400,
    intercept=True,
    X_val=X[150:],
    y_val=y[150:],
)
print(found)

# %%
# The heat map
# ------------
# Dark is a small loss, grey has diverged. The line in each row is the stability limit
# 2 (1 + momentum)/λ_max, which theory gives: descents blow up where it says.

_ = found.plot(by="loss")

# %%
# The best cell
# -------------

best = found.best()
print(
    f"lr {best['lr']:.4g}, momentum {best['momentum']:.3g}: validation loss {best['val_loss']:.4f}"
)

# %%
# How the loss falls at one momentum: up to 100 fits are curves, of more there are bands.

again = fastgd.sweep(
    X[:150],
    y[:150],
    grid={"lr": grid["lr"]},
    epochs=100,
    intercept=True,
    history=True,
)
_ = again.plot_loss()

# %%
# Many fits, many rates: the share of the fits
# --------------------------------------------
# 2,000 data sets at one rate. The bands hold 50 % and 90 % of the fits.

many = rng.normal(size=(2000, 30, 4))
targets = many @ rng.normal(size=4) + rng.normal(size=(2000, 30))
_ = fastgd.fit(many, targets, lr=0.05, epochs=60, history=True).plot_loss()

# %%
# As a table
# ----------
# A row for each cell, for whatever comes next.

print(
    found.to_frame()
    .sort_values("val_loss")
    .head(3)[["lr", "momentum", "val_loss", "status"]]
)
