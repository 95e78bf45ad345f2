"""The stable argsort of random 64-bit numbers, in three passes over them.

The numbers are uniform, so their first bits tell nearly where each one belongs: a count of them
gives every bucket its place, and within a bucket of one number or two insertion is fastest. NumPy's
stable sort of 10⁶ numbers takes eight times as long (benchmarks/NOTES.md, Mini-batches).
"""

from __future__ import annotations

import numpy as np

from ..simd.compiling import kernel
from ..simd.scalars import raised

MOST_BITS = 22  # of a bucket's number: 4 million counts are 16 MiB
POLL = 2**16


@kernel
def sort_order(numbers, bits, starts, order, cancel):
    """Write the stable argsort of `numbers` (n,) uint64 to `order` (n,) int32.

    starts: scratch of 2^bits + 1 zeros, int32; 1 ≤ bits ≤ MOST_BITS. Any numbers are sorted right;
    uniform ones fast.
    """
    shift, n = np.uint64(64 - bits), len(numbers)
    for i in range(n):
        starts[np.int64(numbers[i] >> shift) + 1] += 1
    for bucket in range(len(starts) - 1):
        starts[bucket + 1] += starts[bucket]
    for i in range(n):
        if i % POLL == 0 and raised(cancel):
            return
        bucket = np.int64(numbers[i] >> shift)
        order[starts[bucket]] = i
        starts[bucket] += 1
    for i in range(1, n):  # across buckets nothing moves
        if i % POLL == 0 and raised(cancel):
            return
        own = order[i]
        number = numbers[own]
        j = i
        while j > 0 and numbers[order[j - 1]] > number:
            order[j] = order[j - 1]
            j -= 1
        order[j] = own


def bits_for(count: int) -> int:
    """How many bits number the buckets of `count` numbers: about one number in a bucket."""
    return min(MOST_BITS, max(1, (count - 1).bit_length()))
