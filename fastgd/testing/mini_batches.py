"""Which samples the mini-batches of `fit` have, for loops that are compared with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..input.float_mode import computes
from ..input.options import read_count, read_switch
from ..input.wrong_names import helps_with_keywords
from ..kernels.batch_order import batches_of, order_of_epoch


@helps_with_keywords
@computes
def minibatch_order(
    n_samples: int, batch_size: int, epoch: int, seed: int = 0, *, shuffle: bool = True, drop_last: bool = False
) -> list[NDArray[np.int64]]:
    """The batches of one epoch of ``fit(..., batch_size=…)``: which samples each has.

    ::

        order = argsort(Philox4x64-10(key=(seed, epoch))[:n_samples], kind="stable")

    cut into pieces of `batch_size`. It is a function of its arguments alone, the same on every
    backend. Give it to torch's DataLoader as the ``batch_sampler`` of an epoch.

    Parameters
    ----------
    n_samples : int
        Number of samples of a fit: of those that are kept, ``n_used``, where some are left out;
        then the numbers count kept samples.
    batch_size : int
        Samples of a batch, ≥ 1.
    epoch : int
        Epoch, from 0 on, counted from the start of the descent.
    seed : int, default 0
        The seed of the fit, ≥ 0.
    shuffle : bool, default True
        False: the samples as they stand, 0, 1, 2, …
    drop_last : bool, default False
        Leave out the last batch where it is not full.

    Returns
    -------
    list of ndarray of int64
        The samples of each batch.

    Raises
    ------
    ValueError, TypeError
        When an argument is no such number or switch.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011: Philox.

    Examples
    --------
    >>> import fastgd
    >>> for rows in fastgd.testing.minibatch_order(10, 4, epoch=0, seed=1):
    ...     print(rows)
    [3 5 2 9]
    [7 0 8 6]
    [1 4]
    """
    count, size = read_count(n_samples, "n_samples", 0), read_count(batch_size, "batch_size", 1)
    number, key = read_count(epoch, "epoch", 0), read_count(seed, "seed", 0)
    order = order_of_epoch(count, number, key) if read_switch(shuffle, "shuffle") else np.arange(count)
    return list(batches_of(order, size, read_switch(drop_last, "drop_last")))
