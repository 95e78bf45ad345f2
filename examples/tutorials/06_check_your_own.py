"""
Check your own descent
======================

You have written gradient descent: for a course, a paper, another language. Its loss falls. Is it
right? `fastgd.verify` answers at every epoch, and names what is wrong.
"""

import numpy as np

import fastgd

rng = np.random.default_rng(1)
X = rng.normal(size=(50, 3))
y = X @ [1.0, -2.0, 0.5] + 4 + 0.1 * rng.normal(size=50)

# %%
# A function, as people write it
# ------------------------------
# Names and order of the parameters are read: ``theta``, ``alpha`` and ``num_iters`` are understood.


def gradient_descent(X, y, theta, alpha, num_iters):
    rows = [theta]
    for _ in range(num_iters):
        theta = theta - alpha * 2 / (len(y) - 1) * X.T @ (X @ theta - y)
        rows.append(theta)
    return np.array(rows)


report = fastgd.verify(gradient_descent, X, y, lr=0.1, epochs=40)
print(report)

# %%
# The loss of this descent falls like that of the right one, and both end at the same w: no test of
# the end would find the mistake. The picture shows the share of the rounding-error bound that each
# epoch uses. A correct program stays below 8.

_ = report.plot()

# %%
# The line that mends it is in the diagnosis:

print(report.diagnosis.code, "->", report.diagnosis.fix)


def mended(X, y, theta, alpha, num_iters):
    rows = [theta]
    for _ in range(num_iters):
        theta = theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)
        rows.append(theta)
    return np.array(rows)


print(fastgd.verify(mended, X, y, lr=0.1, epochs=40))

# %%
# A loop in a notebook
# --------------------
# A `Recorder` is called in the loop, with w, the intercept and the loss.

record = fastgd.Recorder()
w, b = np.zeros(3), 0.0
for _ in range(40):
    residual = X @ w + b - y
    record(w, b, np.mean(residual**2))
    w = w - 0.1 * 2 / len(y) * X.T @ residual
    b = b - 0.1 * 2 * residual.mean()
print(fastgd.verify(record, X, y, lr=0.1, intercept=True))

# %%
# In a test suite
# ---------------
# ``assert_agrees`` is a fixture of pytest, and a function. It raises with the verdict.

fastgd.testing.assert_agrees(mended, X, y, lr=0.1, epochs=40)
