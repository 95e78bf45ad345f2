"""
The founding example: y = 2x
============================

fastgd began with a tutorial that fits y = 2x twice, by hand and with torch autograd, gets two
different tables of losses, and concludes that autograd "is not as numerically accurate". This page
finds out what really happened, in four lines each.
"""

import numpy as np

import fastgd

X = np.array([1, 2, 3, 4], dtype=np.float32)
Y = np.array([2, 4, 6, 8], dtype=np.float32)

# %%
# First cell: the gradient by hand
# --------------------------------
# This is the tutorial's own loop. It converges within a dozen epochs, and looks right.


def gradient(x, y, y_predicted):
    return np.dot(2 * x, y_predicted - y).mean()


w, history, losses = 0.0, [0.0], []
for _ in range(20):
    y_predicted = w * X
    losses.append(((y_predicted - Y) ** 2).mean())
    w -= 0.01 * gradient(X, Y, y_predicted)
    history.append(w)
print(f"w = {w:.6f} after 20 epochs")

# %%
# Is it gradient descent on the mean squared error, with the rate 0.01? `fastgd.verify` takes one
# step in extended precision from each recorded w, and compares it with the next one. The difference
# may be as large as rounding allows, and no larger.

report = fastgd.verify((history, losses), X, Y, lr=0.01)
print(report)

# %%
# The mistake has a name: ``np.dot`` is already the sum over the samples, so ``.mean()`` takes the
# mean of a single number, and the gradient is four times too large.
#
# Second cell: autograd
# ---------------------
# The tutorial's second cell uses the mean, at ten times the rate. In fastgd both cells are options
# of one function: ``reduction="sum"`` is the gradient of the first one, by its name.

by_hand = fastgd.fit(X, Y, lr=0.01, reduction="sum", epochs=20, history=True)
autograd = fastgd.fit(X, Y, lr=0.1, epochs=20, history=True)
print(
    np.abs(by_hand.history.w - np.array(history)).max(),
    "is the largest difference from the loop above",
)

# %%
# Two descents with different steps
# ---------------------------------
# The two cells did not take equal steps: 0.01 times the sum is 0.04 times the mean, not 0.1.
# Nothing about accuracy follows from their tables. At equal steps both are the same descent.

ax = by_hand.plot_loss()
autograd.plot_loss(ax)
for line, name in zip(
    ax.lines, ["by hand: lr 0.01, sum", "autograd: lr 0.1, mean"], strict=True
):
    line.set(label=name, color=["#0b7a75", "#bc7b4e"][ax.lines.index(line)])
_ = ax.legend(frameon=False)

# %%
same = fastgd.fit(X, Y, lr=0.04, epochs=20)
print(float(by_hand.w), float(same.w))

# %%
# Which rates would have worked? ``stability`` says it before an epoch is run.

print(fastgd.stability(X, Y).lr_limit, "is the largest stable rate of the mean,")
print(fastgd.stability(X, Y, reduction="sum").lr_limit, "of the sum")
