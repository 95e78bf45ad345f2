"""The NumPy reference: the tutorial's table by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels.reference import numpy_manual
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.reference_chunks import REFERENCES, X_TUTORIAL, Y_TUTORIAL, chunk_of, run


@pytest.fixture(params=REFERENCES)
def reference(request):
    return request.param


def printed(chunk, epoch):
    """Row k of the tutorial's tables: w after k updates, the loss before the k-th."""
    return f"epoch {epoch}: w = {chunk.history_w[0, epoch, 0]:.3f}, loss = {chunk.history_loss[0, epoch - 1]:.8f}"


def test_the_tutorials_manual_table_digit_for_digit(reference):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, dtype=np.float32, lr=0.01, reduction="sum", epochs=100))
    assert [printed(chunk, epoch) for epoch in range(1, 101, 10)] == [
        "epoch 1: w = 1.200, loss = 30.00000000",
        "epoch 11: w = 2.000, loss = 0.00000033",
        *(f"epoch {epoch}: w = 2.000, loss = 0.00000000" for epoch in range(21, 101, 10)),
    ]
    assert f"{5 * chunk.w_out[0, 0]:.3f}" == "10.000"


def test_the_manual_rules_are_rules_of_the_table():
    assert set(numpy_manual.UPDATES) <= set(UPDATE_RULES)
