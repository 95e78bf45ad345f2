"""Defects of mini-batches (docs/arithmetic.md, section 13)."""

from __future__ import annotations

from tests.mutants.defect import Defect

EPOCHS, INIT, GATHER = "kernels/cpu/minibatch/epochs.py", "kernels/cpu/__init__.py", "kernels/cpu/minibatch/gather.py"
BITS, USERS = ("tests/kernels/cpu/minibatch/test_epochs.py",), ("tests/fit/test_minibatches.py",)

BATCH_DEFECTS = (
    Defect(
        "mini-batches: the last short batch weighted as a full one",
        EPOCHS,
        "total = sum_weights(here, at, count, lanes, parts, cancel)",
        "total = sum_weights(here, at, size_of_batch, lanes, parts, cancel)",
        BITS,
    ),
    Defect(
        "mini-batches: the first epoch's order used again",
        INIT,
        "write_order(kind[1] + epoch, kind[0],",
        "write_order(kind[1], kind[0],",
        BITS,
    ),
    Defect(
        "mini-batches: a continued fit begins its orders anew",
        INIT,
        "write_order(kind[1] + epoch, kind[0],",
        "write_order(epoch, kind[0],",
        USERS,
    ),
    Defect(
        "mini-batches: a schedule goes on before a step instead of after it",
        EPOCHS,
        "else done if rate_per_step else epoch\n",
        "else done + 1 if rate_per_step else epoch\n",
        BITS,
    ),
    Defect(
        "mini-batches: the schedule of an epoch goes on before it",
        EPOCHS,
        "else done if rate_per_step else epoch\n",
        "else done if rate_per_step else min(epoch + 1, lr.shape[0] - 1)\n",
        BITS,
    ),
    Defect(
        "mini-batches: losses of batches not counted by their size",
        EPOCHS,
        "sum_of_losses += np.float64(total) * np.float64(own_loss)\n                sum_of_weights += np.float64(total)",
        "sum_of_losses += np.float64(own_loss)\n                sum_of_weights += 1.0",
        BITS,
    ),
    Defect("mini-batches: drop_last ignored", EPOCHS, "n // size_of_batch if drop_last else", "n // size_of_batch if False else", BITS),
    Defect(
        "mini-batches: a number beyond a row of features",
        GATHER,
        "end = sources.x_length - ((d + SIDE - 1) // SIDE * SIDE)",
        "end = sources.x_length",
        ("tests/kernels/cpu/minibatch/test_gather.py",),
    ),
    Defect(
        "mini-batches: steps counted as epochs",
        EPOCHS,
        "steps[f] += ran * n_steps",
        "steps[f] += ran",
        BITS,
    ),
    Defect(
        "mini-batches, references: the last short batch counts as a full one",
        "kernels/reference/batching.py",
        "self._running += loss * size",
        "self._running += loss * self._chunk.batches.size",
        ("tests/kernels/reference/test_batching.py",),
    ),
)
