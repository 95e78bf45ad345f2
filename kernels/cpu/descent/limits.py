"""How large w and the loss of a fit on moments may become, and the factors of its gradient (docs/arithmetic.md, sections 6 and 10)."""

from __future__ import annotations

import math

import numpy as np

from ..simd.compiling import part
from ..simd.double_double import scale
from ..simd.lanes import fma

LIMIT_FLOAT32, LIMIT_FLOAT64 = 2.0**120, 2.0**1000  # Ω


@part
def limits_of(largest, size, weighing, limit):
    """Largest |w| and loss for which no intermediate result of torch's arithmetic can overflow; negative: none. largest = max_j √G_jj."""
    least = min(1.0, weighing[3])
    total = scale(weighing[0], np.int64(weighing[2]))
    if not total <= limit:
        return -1.0, -1.0
    ratio = (limit * least) / (2.0 * largest)
    return limit / max(1.0, (size * largest) / math.sqrt(least)), min(limit * least, ratio * ratio) / total


@part
def factors_of(weighing, reduction_sum):
    """s and s′ of docs/arithmetic.md, section 6."""
    if reduction_sum:
        return 2.0, 0.0
    total = weighing[0]
    factor = 2.0 / total
    return factor, fma(-factor, weighing[1], fma(-factor, total, 2.0)) / total
