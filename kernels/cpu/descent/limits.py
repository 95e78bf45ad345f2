"""How large w and the loss of a fit on moments may become, and the factors of its gradient.

docs/arithmetic.md, sections 6 and 10.
"""

from __future__ import annotations

import math

import numpy as np

from ..moments.stack import W_EXPONENT, W_HIGH, W_LEAST, W_LOW
from ..simd.compiling import part
from ..simd.double_double import scale
from ..simd.lanes import fma

LIMIT_FLOAT32, LIMIT_FLOAT64 = 2.0**120, 2.0**1000  # Ω


@part
def limits_of(largest, size, weighing, limit):
    """The largest |w| and loss with which torch's arithmetic cannot overflow; −1: there are none.

    largest = max_j √G_jj; weighing: a row of `Moments.weighing`.
    """
    least = min(1.0, weighing[W_LEAST])
    total = scale(weighing[W_HIGH], np.int64(weighing[W_EXPONENT]))
    if not total <= limit:
        return -1.0, -1.0
    ratio = (limit * least) / (2.0 * largest)
    return limit / max(1.0, (size * largest) / math.sqrt(least)), min(limit * least, ratio * ratio) / total


@part
def factors_of(weighing, reduction_sum):
    """s and s′, the double-double factor of the gradient (docs/arithmetic.md, section 6)."""
    if reduction_sum:
        return 2.0, 0.0
    total = weighing[W_HIGH]
    factor = 2.0 / total
    return factor, fma(-factor, weighing[W_LOW], fma(-factor, total, 2.0)) / total
