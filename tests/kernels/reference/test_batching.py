"""Batches of the references: their samples, and what a loop over them prints."""

from __future__ import annotations

import math

import numpy as np

from fastgd.kernels.batch_order import order_of_epoch
from fastgd.kernels.chunk import Batches
from fastgd.kernels.reference.batching import Batching
from tests.support.reference_chunks import chunk_of, noisy


def batched(size, epochs=2, **options):
    """A chunk of one fit of ten samples."""
    chunk = chunk_of(*noisy(10, 2), epochs=epochs)
    given = {"shuffle": True, "drop_last": False, "rate_per_step": False} | options
    chunk.batches = Batches(size, **given, seeds=np.array([7]), passes=np.array([3]))
    chunk.batch_loss = np.full((1, epochs), 77.0)
    return chunk


def test_batches_are_cut_from_the_order_of_their_epoch():
    for epoch in (0, 1):
        order = order_of_epoch(10, 3 + epoch, 7).tolist()
        found = [rows.tolist() for rows in Batching(batched(4), 0, 10).of_epoch(epoch)]
        assert found == [order[:4], order[4:8], order[8:]]
    assert [rows.tolist() for rows in Batching(batched(4, shuffle=False, drop_last=True), 0, 10).of_epoch(0)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]


def test_losses_count_by_the_size_of_their_batch():
    chunk = batched(4)
    batching = Batching(chunk, 0, 10)
    for epoch in (0, 1):
        for rows, loss in zip(batching.of_epoch(epoch), (1.0, 2.0, 10.0 + epoch), strict=True):
            batching.add(loss, len(rows))
    assert chunk.batch_loss.tolist() == [[(4 * 1.0 + 4 * 2.0 + 2 * 10.0) / 10, (4 * 1.0 + 4 * 2.0 + 2 * 11.0) / 10]]


def test_an_epoch_without_a_batch_has_no_loss():
    chunk = batched(11, drop_last=True)
    batching = Batching(chunk, 0, 10)
    assert (batching.steps, list(batching.of_epoch(0))) == (0, [])
    assert math.isnan(chunk.batch_loss[0, 0])


def test_without_mini_batches_an_epoch_is_one_step_of_all_samples():
    batching = Batching(chunk_of(*noisy(10, 2)), 0, 10)
    assert (batching.steps, batching.per_step, list(batching.of_epoch(0))) == (1, False, [None])
