"""
For a torch user
================

Tensors in, tensors out; torch.optim's names, defaults and numbers; and a way to prove that a
training loop does what it should.
"""

import torch

import fastgd
from fastgd.schedules import CosineAnnealingLR

torch.manual_seed(0)
X = torch.randn(500, 64, 3)  # 500 regressions of 64 samples
y = X @ torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(500, 64)

# %%
# All 500 at once
# ---------------
# The options are those of torch.optim.SGD. No loop, no autograd, no parameters to register.

result = fastgd.fit(X, y, optimizer=fastgd.SGD(lr=0.05, momentum=0.9), epochs=100)
print(type(result.w), result.w.shape, result.w.dtype)
print(result)

# %%
# Where all of them are on their way:

histories = fastgd.fit(X, y, lr=0.05, epochs=60, history=True)
_ = histories.plot_loss()

# %%
# The same by torch, for one of them:

w = torch.zeros(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.05, momentum=0.9)
for _ in range(100):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(X[0] @ w, y[0]).backward()
    optimizer.step()
print(
    (w.detach() - result.w[0]).abs().max().item(),
    "is the largest difference, float32",
)

# %%
# The rules
# ---------
# Their classes are in fastgd, with torch's names: Adam, AdamW, RMSprop, … A hyperparameter may be
# an array of one value for each fit. Schedules are those of torch.optim.lr_scheduler.

adam = fastgd.fit(
    X,
    y,
    optimizer=fastgd.Adam(lr=0.1),
    schedule=CosineAnnealingLR(100),
    epochs=100,
)
print(adam)

# %%
# Is my training loop right?
# --------------------------
# ``Recorder().watch`` records a torch optimizer after each of its steps, by a hook. This loop
# forgets ``zero_grad``.

module = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
with fastgd.Recorder().watch(optimizer) as record:
    for _ in range(20):
        loss = torch.nn.functional.mse_loss(module(X[0])[:, 0], y[0])
        record(loss=loss)
        loss.backward()
        optimizer.step()
print(fastgd.verify(record, X[0], y[0], lr=0.05, intercept=True))

# %%
# A loop over a DataLoader that shuffles is judged in the order that it took: let the dataset carry
# the numbers of the rows.

module = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
data = torch.utils.data.TensorDataset(X[0], y[0], torch.arange(64))
batches = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
order = []
with fastgd.Recorder().watch(optimizer) as record:
    for _ in range(5):
        seen = []
        for X_batch, y_batch, rows in batches:
            optimizer.zero_grad()
            predicted = module(X_batch)[:, 0]
            torch.nn.functional.mse_loss(predicted, y_batch).backward()
            optimizer.step()
            seen.append(rows)
        order.append(torch.cat(seen))
asked = {"lr": 0.05, "batch_size": 16, "order": torch.stack(order)}
print(fastgd.verify(record, X[0], y[0], intercept=True, **asked))

# %%
# A module and an optimizer may be handed over as they are, too; then the loop is fastgd's:

module = torch.nn.Linear(3, 1)
candidate = (module, torch.optim.Adam(module.parameters(), lr=0.1))
print(
    fastgd.verify(
        candidate,
        X[0],
        y[0],
        optimizer=fastgd.Adam(lr=0.1),
        epochs=20,
        intercept=True,
    )
)

# %%
# Weights into a module
# ---------------------
# ``fit_linear`` begins at the layer's own weights, as a loop of torch does, and writes the result
# into it. Each output of the layer is a fit of its own.

layer = torch.nn.Linear(3, 2)
targets = torch.stack([y[0], 2 * y[0] + 1], dim=1)
fitted = fastgd.torch.fit_linear(layer, X[0], targets, lr=0.1, epochs=200)
print(((layer(X[0]) - targets) ** 2).mean(0).tolist(), fitted.loss.tolist())
