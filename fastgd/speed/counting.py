"""Operations and bytes of a case, by formula: what docs/arithmetic.md asks for, nothing else.

1. An operation is one +, −, ×, ÷ or fma of one number, whatever it costs; at the peak as many are
   done as multiply-adds are in the chains of limits.py. (A division takes longer than that, and
   some machines add beside multiplying: a share above 1 would be possible.) Changes of sign,
   comparisons, maxima, conversions, scaling of the data, transposing, and the tests for overflow
   are not counted.
2. D is the number of parameters, TwoSum is 6 operations, dd_add 20.
3. Bytes are those of X and y, read once, and of w, loss and the history, written once; the state,
   status and epochs are not counted.
"""

from __future__ import annotations

TWO_SUM, DD_ADD = 6, 20
PRODUCT = 2  # p = a · b, q = fma(a, b, −p)


def compress_operations(n_samples: int, size: int, double: bool) -> int:
    """One fit's moments: per sample and pair of columns one fma, in double-double 10 operations."""
    pairs = (size + 1) * (size + 2) // 2
    return n_samples * pairs * (PRODUCT + TWO_SUM + 2 if double else 1)


def descend_operations(size: int, epochs: int, losses: int, double: bool) -> int:
    """One fit's plain SGD on moments; `losses` rows have a loss, the last row in any case."""
    if not double:  # r: D² fma; g = s r; w: an fma; loss: a subtraction and an fma for each parameter, and a division
        return (epochs + 1) * size**2 + epochs * 2 * size + losses * (2 * size + 1)
    residual = 2 * size + size**2 * (PRODUCT + 1 + TWO_SUM + 2) + size * TWO_SUM  # ŵ; r
    update = size * (PRODUCT + 2 + 1 + 2 + 1)  # p, q, q, q; p + q; two scalings; w
    loss = size * (DD_ADD + PRODUCT + 1 + TWO_SUM + 2) + 4  # (h, l); p, q, q; TwoSum; two additions; L, a division, two scalings
    return (epochs + 1) * residual + epochs * update + losses * loss


def stream_operations(n_samples: int, n_features: int, epochs: int) -> int:
    """One fit's epochs on samples: for each sample r (d fma), r² (fma), s · r, gradient (d fma)."""
    return (epochs + 1) * n_samples * (2 * n_features + 2)


def bytes_read(n_fits: int, n_samples: int, n_features: int, itemsize: int) -> int:
    """X and y."""
    return n_fits * n_samples * (n_features + 1) * itemsize


def bytes_written(n_fits: int, size: int, rows: int, itemsize: int) -> int:
    """Bytes of w and loss of all fits, and of a history of `rows` rows."""
    return n_fits * (size + 1) * (rows + 1) * itemsize
