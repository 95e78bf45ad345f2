"""The third implementation of docs/arithmetic.md, in plain Python: what the kernels are compared
with by `==`.

1. Written from that page alone, section by section; it shares no code with fastgd and does not
   import it. The words are the page's.
2. Every number is a Python float. A float32 is a Python float that float32 can hold; `T.round`
   brings a result back to T. For `+ − × ÷` of two float32 that is one rounding: the second of two
   roundings is harmless when the first keeps 53 ≥ 2·24 + 2 bits (Figueroa 1995), also where the
   result is subnormal, since sums and products are then exact and quotients are not near a
   midpoint.
3. `fma_exactly` is integer arithmetic. The C library's fma is 10 times as fast and is used only if
   it gives the same bits on `NASTY_FMA` when this file is imported.
4. That all later rows are NaN where two epochs began with NaN (section 10) needs no code here:
   every row is computed, and comes out NaN.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import product
from typing import Any

import numpy as np

# --------------------------------------------------------------------------------- section 1: words


def as_integers(x: float) -> tuple[int, int]:
    """Integers m, e with x = m·2^e exactly, for a finite x."""
    fraction, exponent = math.frexp(x)
    return int(fraction * 2.0**53), exponent - 53


def round_integers(m: int, e: int, digits: int, smallest: int, top: int) -> float:
    """m·2^e, m ≠ 0, to nearest even among numbers of so many digits, multiples of 2^smallest; ±inf
    from 2^top on."""
    quantum = max(abs(m).bit_length() + e - digits, smallest)
    size = abs(m)
    if quantum <= e:
        size <<= e - quantum
    else:
        shift = quantum - e
        size, rest = size >> shift, size & ((1 << shift) - 1)
        half = 1 << (shift - 1)
        size += rest > half or (rest == half and size & 1 == 1)
    value = math.inf if size.bit_length() + quantum > top else math.ldexp(size, quantum)
    return -value if m < 0 else value


def fma_exactly(a: float, b: float, c: float, digits: int, smallest: int, top: int) -> float:
    """a·b + c rounded once, in integers, with the zeros, infinities and NaNs of IEEE 754."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return a * b + c  # the product is exact: ±0, ±inf or NaN
    if not math.isfinite(c):
        return c
    (ma, ea), (mb, eb), (mc, ec) = as_integers(a), as_integers(b), as_integers(c)
    e = min(ea + eb, ec)
    m = (ma * mb << ea + eb - e) + (mc << ec - e)
    return round_integers(m, e, digits, smallest, top) if m else 0.0  # exact cancellation gives +0


@dataclass(frozen=True)
class Format:
    """A floating-point format: what T and S stand for on the page."""

    name: str
    digits: int  # of the significand
    smallest: int  # the smallest subnormal is 2^smallest
    top: int  # the largest finite number is just below 2^top
    omega: float  # Ω, section 6
    largest: float  # the largest finite number
    round: Callable[[float], float] = field(repr=False)  # a float64 to this format
    fma: Callable[[float, float, float], float] = field(repr=False)  # of numbers of this format


NASTY_VALUES = {
    "float64": [0.0, 1.0, 3.0, 1 + 2.0**-52, 1 - 2.0**-53, 2.0**-1074, 3 * 2.0**-1074, 2.0**-1022, 2.0**-537, 1.1 * 2.0**-538,
                2.0**-27 * (1 + 2.0**-26), 2.0**53 + 2, 2.0**511 * 1.3, 2.0**512, (2 - 2.0**-52) * 2.0**1023, 0.1, math.inf, math.nan],
    "float32": [0.0, 1.0, 3.0, 1 + 2.0**-23, 1 - 2.0**-24, 2.0**-149, 3 * 2.0**-149, 2.0**-126, 2.0**-75, 1.25 * 2.0**-75,
                2.0**-13 * (1 + 2.0**-12), 2.0**24 + 2, 2.0**63 * 1.25, 2.0**64, (2 - 2.0**-23) * 2.0**127, 0.8125, math.inf, math.nan],
}  # fmt: skip


def same(a: float, b: float) -> bool:
    """The same bits; every NaN is the same."""
    return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)


def nasty_fma(name: str):
    """Operands at which a wrong fma shows: signs, ties, subnormals, overflow, cancellation."""
    signed = [sign * value for value in NASTY_VALUES[name] for sign in (1, -1)]
    yield from product(NASTY_VALUES[name], signed, signed)


def library_fma(function_name: str, real: Any, exact: Callable, name: str) -> Callable:
    """The C library's fma if it is there and right, else the exact one."""
    try:
        function = getattr(ctypes.CDLL(None), function_name)  # libm is part of the Python process on Linux and macOS
    except (OSError, AttributeError, TypeError):
        return exact
    function.argtypes, function.restype = [real] * 3, real
    return function if all(same(function(*abc), exact(*abc)) for abc in nasty_fma(name)) else exact


def fma64_exactly(a, b, c):
    return fma_exactly(a, b, c, 53, -1074, 1024)


def fma32_exactly(a, b, c):
    return fma_exactly(a, b, c, 24, -149, 128)


def round_to_float32(x: float) -> float:
    return ctypes.c_float(x).value  # C's conversion: to nearest even, overflow to inf, subnormals kept


# math.fma (Python 3.13) is not used: it raises where IEEE 754 has inf and NaN.
fma64 = library_fma("fma", ctypes.c_double, fma64_exactly, "float64")
fma32 = library_fma("fmaf", ctypes.c_float, fma32_exactly, "float32")

FLOAT64 = Format("float64", 53, -1074, 1024, 2.0**1000, (2 - 2.0**-52) * 2.0**1023, float, fma64)
FLOAT32 = Format("float32", 24, -149, 128, 2.0**120, (2 - 2.0**-23) * 2.0**127, round_to_float32, fma32)
FORMATS = {"float32": FLOAT32, "float64": FLOAT64}


def divide(a: float, b: float) -> float:
    """a ÷ b as IEEE 754 has it; Python raises for b = 0."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def pow2(e: int) -> float:
    if e > 1023:  # only with weights near the top of the range, where `stream` does everything but the safe rate
        return math.inf
    return 0.0 if e < -1074 else math.ldexp(1.0, e)


def scale(v: float, e: int) -> float:
    first = e // 2
    return (v * pow2(first)) * pow2(e - first)


def two_sum(a: float, b: float) -> tuple[float, float]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: float, b: float) -> tuple[float, float]:
    s = a + b
    return s, b - (s - a)


def dd_add(left: tuple[float, float], right: tuple[float, float]) -> tuple[float, float]:
    s, e = two_sum(left[0], right[0])
    t, f = two_sum(left[1], right[1])
    e = e + t
    s, e = fast_two_sum(s, e)
    e = e + f
    return fast_two_sum(s, e)


# -------------------------------------------------------------------- section 2: a sum over samples

CHUNK = 4096
LANES = 32


def samples_that_stay(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, omit: bool) -> list[int]:
    """The places of the samples that are there; X, y and the weights are numbers of T already."""
    there = np.ones(len(y), bool) if weights is None else weights != 0
    if omit:
        there &= np.isfinite(X).all(1) & np.isfinite(y)
        if weights is not None:
            there &= np.isfinite(weights)
    return [int(i) for i in np.flatnonzero(there)]


def butterfly(lanes: Sequence, add: Callable):
    """The sum of 32 lanes."""
    v = list(lanes)
    for o in (16, 8, 4, 2, 1):
        v[:o] = [add(v[lane], v[lane + o]) for lane in range(o)]
    return v[0]


def pairwise(chunks: Sequence, add: Callable):
    """The sum of the chunks, neighbour with neighbour."""
    while len(chunks) > 1:
        odd_last = chunks[len(chunks) // 2 * 2 :]
        chunks = [add(chunks[i], chunks[i + 1]) for i in range(0, len(chunks) - 1, 2)] + list(odd_last)
    return chunks[0]


def chunks_of(n: int) -> list[tuple[int, int]]:
    """The first sample of every chunk and the first one after it."""
    return [(first, min(first + CHUNK, n)) for first in range(0, n, CHUNK)]


def chunk_sum(first: int, end: int, lane: Callable[[range], Any], add: Callable):
    """The sum of a chunk; `lane` adds the samples of one lane, in order, to +0."""
    return butterfly([lane(range(first + number, end, LANES)) for number in range(LANES)], add)


def sum_over_samples(n: int, lane: Callable[[range], Any], add: Callable):
    return pairwise([chunk_sum(first, end, lane, add) for first, end in chunks_of(n)], add)


# ----------------------------------------------------------------------- sections 3 and 4: compress


@dataclass(frozen=True)
class Weights:
    """The sum of the weights is (W + W_low) · 2^k; without weights these are n, 0 and 0."""

    W: float
    W_low: float = 0.0
    k: int = 0
    smallest: float = 1.0

    @property
    def sigma(self) -> float:
        return scale(self.W, self.k)


@dataclass
class Moments:
    """A_ij = (hi_ij + lo_ij) · 2^(k_i + k_j + k_ω), symmetric, of the D columns of X and, last, y;
    float32 data: A = hi, all k = 0."""

    T: Format
    n: int
    hi: list[list[float]]
    lo: list[list[float]] | None
    exponents: list[int]
    weights: Weights | None = None

    @property
    def total(self) -> Weights:
        """W and what else the page takes from the weights."""
        return self.weights or Weights(float(self.n))

    @property
    def D(self) -> int:
        return len(self.hi) - 1

    @property
    def finite(self) -> bool:
        return all(math.isfinite(self.hi[j][j]) for j in range(self.D + 1))


def format_of(X: np.ndarray, dtype: Any = None) -> Format:
    return FORMATS[np.dtype(X.dtype if dtype is None else dtype).name]


def columns_of(X: np.ndarray, intercept: bool) -> list[list[float]]:
    """The D columns of a fit, the intercept's ones last."""
    columns = [[float(x) for x in column] for column in np.asarray(X).T]
    return [*columns, [1.0] * len(X)] if intercept else columns


def floats(values: np.ndarray) -> list[float]:
    return [float(v) for v in values]


def data_of(X, y, weights, omit: bool, T: Format) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """X (n, d), y (n,) and the weights (n,) of the samples that stay, rounded to T."""
    X, y = np.asarray(X, T.name), np.asarray(y, T.name)
    weights = None if weights is None else np.asarray(weights, T.name)
    stay = samples_that_stay(X, y, weights, omit)
    return X[stay], y[stay], None if weights is None else weights[stay]


def compress(X: np.ndarray, y: np.ndarray, intercept: bool = False, dtype: Any = None, weights=None, omit: bool = False) -> Moments:
    T = format_of(X, dtype)
    X, y, weights = data_of(X, y, weights, omit, T)
    z = [*columns_of(X, intercept), floats(y)]
    return (compress_float32 if T is FLOAT32 else compress_float64)(z, None if weights is None else floats(weights))


def symmetric(upper: Mapping[tuple[int, int], float], size: int) -> list[list[float]]:
    return [[upper[min(i, j), max(i, j)] for j in range(size)] for i in range(size)]


def upper_triangle(size: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(size) for j in range(i, size)]


def plain_sum(values: Sequence[float], rounded: Callable[[float], float] = float) -> float:
    """Σ of the values, lanes doing acc ← acc + v, every addition rounded."""

    def lane(samples):
        acc = 0.0
        for i in samples:
            acc = rounded(acc + values[i])
        return acc

    return sum_over_samples(len(values), lane, lambda a, b: rounded(a + b))


def compress_float32(z: list[list[float]], omega: list[float] | None = None) -> Moments:
    """Section 3."""
    n, size = len(z[-1]), len(z)

    def moment(zi, zj):
        def lane(samples):
            acc = 0.0
            for i in samples:
                acc = zi[i] * zj[i] + acc  # fma: the product of two float32 is exact in float64
            return acc

        def weighted_lane(samples):
            acc = 0.0
            for i in samples:
                acc = fma64(omega[i] * zi[i], zj[i], acc)  # here the product of all three is not exact
            return acc

        return sum_over_samples(n, lane if omega is None else weighted_lane, lambda a, b: a + b)

    upper = {(i, j): moment(z[i], z[j]) for i, j in upper_triangle(size)}
    weights = None if omega is None else Weights(plain_sum(omega), 0.0, 0, min(omega))
    return Moments(FLOAT32, n, symmetric(upper, size), None, [0] * size, weights)


def exponent_of_largest(values: Sequence[float]) -> int:
    """k of section 4, step 1; a NaN is passed over."""
    m = max((abs(v) for v in values if v == v), default=0.0)
    if m == 0:
        return -1022
    return 1023 if m == math.inf else max(math.frexp(m)[1] - 1, -1022)


def dot_of_lane(a: list[float], b: list[float], samples: range) -> tuple[float, float]:
    """Section 4, steps 3 and 4: the compensated dot product of one lane."""
    fma = fma64
    s = c = 0.0
    for i in samples:
        p = a[i] * b[i]
        e = fma(a[i], b[i], -p)
        total = s + p  # TwoSum(s, p), written out for speed
        t = total - s
        q = (s - (total - t)) + (p - t)
        s = total
        c = c + (q + e)
    return two_sum(s, c)


def weighted_dot_of_lane(omega: list[float], a: list[float], b: list[float], samples: range) -> tuple[float, float]:
    """Section 4, with weights: ω̂·a is f + f′ exactly, and (f + f′)·b is p + e but for the rounding
    of e."""
    s = c = 0.0
    for i in samples:
        f = omega[i] * a[i]
        f_low = fma64(omega[i], a[i], -f)
        p = f * b[i]
        e = fma64(f, b[i], -p)
        e = fma64(f_low, b[i], e)
        s, q = two_sum(s, p)
        c = c + (q + e)
    return two_sum(s, c)


def sum_of_lane(omega: list[float], samples: range) -> tuple[float, float]:
    """Section 4: one lane of (W, W′)."""
    s = c = 0.0
    for i in samples:
        s, q = two_sum(s, omega[i])
        c = c + q
    return two_sum(s, c)


def compress_float64(z: list[list[float]], omega: list[float] | None = None) -> Moments:
    """Section 4."""
    n, size = len(z[-1]), len(z)
    pairs = upper_triangle(size)
    k_omega = 0 if omega is None else exponent_of_largest(omega)
    scaled_omega = None if omega is None else [v * pow2(-k_omega) for v in omega]

    def dot(a, b, first, end):
        if scaled_omega is None:
            return chunk_sum(0, end - first, lambda samples: dot_of_lane(a, b, samples), dd_add)
        here = scaled_omega[first:end]
        return chunk_sum(0, end - first, lambda samples: weighted_dot_of_lane(here, a, b, samples), dd_add)

    def compress_chunk(first, end):
        k = [exponent_of_largest(column[first:end]) for column in z]
        scaled = [[v * pow2(-k_j) for v in column[first:end]] for column, k_j in zip(z, k, strict=True)]
        return {(i, j): dot(scaled[i], scaled[j], first, end) for i, j in pairs}, k

    def add_chunks(left, right):
        K = [max(pair) for pair in zip(left[1], right[1], strict=True)]

        def aligned(side, i, j):
            entries, k = side
            return tuple((part * pow2(k[i] - K[i])) * pow2(k[j] - K[j]) for part in entries[i, j])

        return {(i, j): dd_add(aligned(left, i, j), aligned(right, i, j)) for i, j in pairs}, K

    entries, k = pairwise([compress_chunk(first, end) for first, end in chunks_of(n)], add_chunks)
    hi, lo = ({ij: entry[part] for ij, entry in entries.items()} for part in (0, 1))
    weights = None
    if omega is not None:
        W, W_low = sum_over_samples(n, lambda samples: sum_of_lane(scaled_omega, samples), dd_add)
        weights = Weights(W, W_low, k_omega, min(omega))
    return Moments(FLOAT64, n, symmetric(hi, size), symmetric(lo, size), k, weights)


# --------------------------------------------------------------------- section 5: λ_max and lr=None


def jacobi(B: list[list[float]]) -> tuple[float, int]:
    """λ′ of D ≤ 64 and the number of rotations that were made."""
    B = [list(row) for row in B]
    D = len(B)
    limit = 2.0**-56 * max(B[j][j] for j in range(D))
    rotations = 0
    for _ in range(30):
        before = rotations
        for p in range(D - 1):
            for q in range(p + 1, D):
                if abs(B[p][q]) > limit:
                    rotate(B, p, q)
                    rotations += 1
        if rotations == before:
            break
    return max(0.0, max(B[j][j] for j in range(D))), rotations


def rotate(B: list[list[float]], p: int, q: int) -> None:
    theta = divide(B[q][q] - B[p][p], 2 * B[p][q])
    t = 1 / (abs(theta) + math.sqrt(theta * theta + 1))
    if theta < 0:
        t = -t
    c = 1 / math.sqrt(t * t + 1)
    s = t * c
    h = t * B[p][q]
    B[p][p] = B[p][p] - h
    B[q][q] = B[q][q] + h
    B[p][q] = B[q][p] = 0.0
    for r in range(len(B)):
        if r not in (p, q):
            rp, rq = B[r][p], B[r][q]
            B[r][p] = B[p][r] = c * rp - s * rq
            B[r][q] = B[q][r] = s * rp + c * rq


def lambda_max(moments: Moments) -> float:
    D, k = moments.D, moments.exponents
    K = max(k[:D])
    B = symmetric({(i, j): (moments.hi[i][j] * pow2(k[i] - K)) * pow2(k[j] - K) for i, j in upper_triangle(D)}, D)
    if not all(math.isfinite(B[j][j]) for j in range(D)):
        return math.nan
    if D <= 64:
        largest, _ = jacobi(B)
    else:
        largest = 0.0
        for row in B:
            row_sum = 0.0
            for entry in row:
                row_sum = row_sum + abs(entry)
            largest = max(largest, row_sum)
    return (largest * pow2(K)) * pow2(K)


def safe_rate(moments: Moments, reduction: str = "mean", weight_decay: float = 0.0) -> float:
    total = moments.total
    s = divide(2.0, total.W) if reduction == "mean" else pow2(total.k + 1)
    denominator = s * lambda_max(moments) + weight_decay
    if denominator == 0:
        return 0.0
    rate = 1 / denominator
    return moments.T.largest if rate > moments.T.largest else rate


# --------------------------------------------------------------------- section 12: standardize=True


@dataclass
class Standard:
    """The scaled features of a fit are (x − center) / scale."""

    center: list[float]
    scale: list[float]
    doubtful: bool = False


def dd_minus(x, v, m: float) -> tuple[float, float]:
    """x − v·m for double-doubles x and v."""
    p = v[0] * m
    q = fma64(v[0], m, -p)
    q = fma64(v[1], m, q)
    a, r = two_sum(x[0], -p)
    return two_sum(a, x[1] + (r - q))


def dd_divide(a, b) -> tuple[float, float]:
    """The quotient of double-doubles, as in section 11."""
    q = divide(a[0], b[0])
    p = q * b[0]
    x = fma64(q, b[0], -p)
    x = fma64(q, b[1], x)
    return fast_two_sum(q, divide(((a[0] - p) - x) + a[1], b[0]))


def usable_scale(T: Format, found: float) -> float:
    found = min(T.round(found), T.largest)
    return 1.0 if found == 0 else found


def standardize(moments: Moments, intercept: bool, given: Standard | None = None) -> tuple[Moments, Standard]:
    """The moments of the scaled features; given: center and scale of a state."""
    T, D, total = moments.T, moments.D, moments.total
    d = D - 1 if intercept else D
    finite = moments.n > 0 and all(math.isfinite(moments.hi[j][j]) for j in range(d))
    standard = given or Standard([math.nan] * d, [math.nan] * d)
    standard = Standard(list(standard.center), list(standard.scale))
    limit = T.omega * math.sqrt(min(1.0, total.smallest))
    single = T is FLOAT32
    A = {(i, j): (moments.hi[i][j], 0.0 if moments.lo is None else moments.lo[i][j]) for i, j in upper_triangle(D + 1)}
    W = A[d, d] if intercept else (total.W, total.W_low)
    k, sums = moments.exponents, [A[j, d] if intercept else (0.0, 0.0) for j in range(d)]

    def minus(x, v, m):
        return (fma64(-m, v[0], x[0]), 0.0) if single else dd_minus(x, v, m)

    def over(x, s):
        return (divide(x[0], s), 0.0) if single else dd_divide(x, (s, 0.0))

    shifts, middles = [], []
    for j in range(d):
        if given is None and finite:
            mean = 0.0
            if intercept:
                mean = T.round(divide(sums[j][0], W[0])) if single else scale(dd_divide(sums[j], W)[0], k[j])
            standard.center[j] = mean
        middles.append(scale(standard.center[j], -k[j]))
        shifts.append(minus(sums[j], W, middles[j]))
    C, constant = {}, []
    for j in range(d):
        for i in range(j + 1):
            C[i, j] = minus(minus(A[i, j], sums[j], middles[i]), shifts[i], middles[j]) if intercept else A[i, j]
        square, before = C[j, j][0], A[j, j][0]
        constant.append(finite and not square > 2.0 ** (-46 if single else -96) * before)
        if given is None and finite:
            spread = fma64(-shifts[j][0], shifts[j][0] / W[0], square) if intercept else square
            standard.scale[j] = 1.0 if constant[j] else usable_scale(T, scale(math.sqrt(spread / total.W), k[j]))
        held = 2.0 ** (28 if single else 50) * square >= before
        if not constant[j] and not (held and scale(math.sqrt(scale(max(square, 0.0), total.k)), k[j]) <= limit):
            standard.doubtful = True
    units = [scale(s, -k_j) for s, k_j in zip(standard.scale, k, strict=False)]
    new = dict(A)
    for j in range(d):
        for i in range(j + 1):
            new[i, j] = (0.0, 0.0) if constant[i] or constant[j] else over(over(C[i, j], units[i]), units[j])
        if intercept:
            new[j, d] = (0.0, 0.0) if constant[j] else over(shifts[j], units[j])
        of_target = minus(A[j, D], A[d, D], middles[j]) if intercept else A[j, D]
        new[j, D] = (0.0, 0.0) if constant[j] else over(of_target, units[j])
    hi, lo = (symmetric({ij: entry[part] for ij, entry in new.items()}, D + 1) for part in (0, 1))
    return Moments(T, moments.n, hi, None if single else lo, [0] * d + k[d:], moments.weights), standard


def scaled_features(T: Format, columns: list[list[float]], standard: Standard) -> list[list[float]]:
    """The columns that `stream` reads; the intercept's ones, if there are any, stay."""
    pairs = list(zip(standard.center, standard.scale, strict=True))
    return [[T.round(divide(T.round(x - m), s)) for x in column] for column, (m, s) in zip(columns, pairs, strict=False)] + columns[
        len(pairs) :
    ]


def scaled_start(w: list[float], standard: Standard) -> list[float]:
    w = list(w)
    for j, (m, s) in enumerate(zip(standard.center, standard.scale, strict=True)):
        if len(w) > len(standard.center):
            w[-1] = w[-1] + w[j] * m
        w[j] = w[j] * s
    return w


def in_own_units(T: Format, w: list[float], standard: Standard) -> list[float]:
    """A row that is reported, from w rounded to T."""
    w = list(w)
    for j, (m, s) in enumerate(zip(standard.center, standard.scale, strict=True)):
        w[j] = divide(w[j], s)
        if len(w) > len(standard.center):
            w[-1] = w[-1] - w[j] * m
    return [T.round(x) for x in w]


# ----------------------------------------------------------------- sections 6 and 7: the two epochs


def moments_epoch(moments: Moments, w: Sequence[float], reduction: str) -> tuple[float, list[float]]:
    """Section 6: loss and gradient at w, in float64."""
    return (moments_epoch_float32 if moments.T is FLOAT32 else moments_epoch_float64)(moments, w, reduction)


def moments_epoch_float32(moments: Moments, w: Sequence[float], reduction: str) -> tuple[float, list[float]]:
    A, D, W, fma = moments.hi, moments.D, moments.total.W, fma64
    c = [A[j][D] for j in range(D)]
    r = []
    for j in range(D):
        r_j = -c[j]
        for k in range(D):
            r_j = fma(A[j][k], w[k], r_j)
        r.append(r_j)
    L = A[D][D]
    for j in range(D):
        L = fma(w[j], r[j] - c[j], L)
    L = 0.0 if L < 0 else L
    s = divide(2.0, W) if reduction == "mean" else 2.0
    return divide(L, W), [s * r_j for r_j in r]


def moments_epoch_float64(moments: Moments, w: Sequence[float], reduction: str) -> tuple[float, list[float]]:
    hi, lo, k, D, fma = moments.hi, moments.lo, moments.exponents, moments.D, fma64
    W, W_low, k_omega = moments.total.W, moments.total.W_low, moments.total.k
    k_y = 0 if hi[D][D] == 0 else k[D]
    minus_c = [(-hi[j][D], -lo[j][D]) for j in range(D)]
    scaled_w = [scale(w[j], k[j] - k_y) for j in range(D)]

    def add_product(total, high, low, factor):
        """(a, e) + (high, low) · factor, as the page's inner loops have it."""
        p = high * factor
        q = fma(high, factor, -p)
        q = fma(low, factor, q)
        a, x = two_sum(total[0], p)
        return a, total[1] + (x + q)

    r = []
    for j in range(D):
        total = minus_c[j]
        for m in range(D):
            total = add_product(total, hi[j][m], lo[j][m], scaled_w[m])
        r.append(two_sum(*total))
    total = (hi[D][D], lo[D][D])
    for j in range(D):
        total = add_product(total, *dd_add(r[j], minus_c[j]), scaled_w[j])
    L = total[0] + total[1]
    L = 0.0 if L < 0 else L
    loss = scale(divide(L, W), 2 * k_y)

    s, s_low, kappa = 2.0, 0.0, k_omega
    if reduction == "mean":
        s, kappa = divide(2.0, W), 0
        s_low = divide(fma(-s, W_low, fma(-s, W, 2.0)), W)
    g = []
    for j in range(D):
        high, low = r[j]
        p = high * s
        q = fma(high, s, -p)
        q = fma(low, s, q)
        q = fma(high, s_low, q)
        g.append(scale(p + q, k[j] + k_y + kappa))
    return loss, g


def overflow_limits(moments: Moments) -> tuple[float, float]:
    """w_limit and loss_limit of section 6."""
    omega, D, k, total = moments.T.omega, moments.D, moments.exponents, moments.total
    M = max(scale(math.sqrt(scale(moments.hi[j][j], total.k)), k[j]) for j in range(D))  # float32 data: scale by 2^0
    lo = min(1.0, total.smallest)
    ratio = divide(omega * lo, 2 * M)
    return divide(omega, max(1.0, D * M / math.sqrt(lo))), divide(min(omega * lo, ratio * ratio), total.sigma)


def stream_epoch(T: Format, columns: list[list[float]], y: list[float], w: Sequence[float], reduction: str, weights=None):
    """Section 7: loss and gradient at w, in T."""
    n, fma, rounded = len(y), T.fma, T.round

    def add(a, b):
        return rounded(a + b)

    def fma_sum(a, b):
        def lane(samples):
            acc = 0.0
            for i in samples:
                acc = fma(a[i], b[i], acc)
            return acc

        return sum_over_samples(n, lane, add)

    W_T = rounded(float(n)) if weights is None else plain_sum(weights, rounded)
    s = rounded(divide(2.0, W_T)) if reduction == "mean" else 2.0
    r = []
    for i in range(n):
        r_i = -y[i]
        for column, w_k in zip(columns, w, strict=True):
            r_i = fma(column[i], w_k, r_i)
        r.append(r_i)
    v = r if weights is None else [rounded(omega * r_i) for omega, r_i in zip(weights, r, strict=True)]
    loss = rounded(divide(fma_sum(v, r), W_T))
    scaled_v = [rounded(s * v_i) for v_i in v]
    return loss, [fma_sum(column, scaled_v) for column in columns]


# -------------------------------------------------------------------------- section 8: update rules

HYPER = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False}


def sgd(S: Format, w, v, g, steps: int, lr: float, hyper: Mapping[str, float]) -> tuple[list[float], list[float], list[float]]:
    """The new w, the new slot, and what the overflow test looks at: slots that changed, products,
    the new w."""
    rounded, fma = S.round, S.fma
    momentum, weight_decay = rounded(hyper["momentum"]), rounded(hyper["weight_decay"])
    share, minus_lr = rounded(1.0 - hyper["dampening"]), rounded(-lr)
    new_w, new_v, tested = [], [], []
    for w_j, v_j, g_j in zip(w, v, g, strict=True):
        if hyper["maximize"]:
            g_j = -g_j
        if hyper["weight_decay"] != 0:
            g_j = fma(weight_decay, w_j, g_j)
        if hyper["momentum"] != 0:
            v_j = g_j if steps == 0 else fma(share, g_j, rounded(v_j * momentum))
            tested.append(v_j)
            g_j = fma(momentum, v_j, g_j) if hyper["nesterov"] else v_j
        new_w.append(fma(minus_lr, g_j, w_j))
        new_v.append(v_j)
        tested += [rounded(minus_lr * g_j), new_w[-1]]
    return new_w, new_v, tested


# The other rules: the new w, the new slots, the new products, and what the overflow test looks at.
# `run` is told how many slots and products there are, and all of the hyperparameters.


def root(S: Format, x: float) -> float:
    return math.nan if x < 0 or x != x else S.round(math.sqrt(x))


def quotient(S: Format, a: float, b: float) -> float:
    return S.round(divide(a, b))


def lerp(S: Format, a: float, b: float, weight: float) -> float:
    difference = S.round(b - a)
    return S.fma(weight, difference, a) if weight < 0.5 else S.fma(S.round(weight - 1.0), difference, b)


def direction_of(S: Format, w_j: float, g_j: float, hyper: Mapping[str, float]) -> float:
    """±g, and the penalty unless it is decoupled."""
    g_j = -g_j if hyper["maximize"] else g_j
    return S.fma(S.round(hyper["weight_decay"]), w_j, g_j) if hyper["weight_decay"] != 0 else g_j


def decayed(S: Format, w_j: float, g_j: float, lr: float, hyper: Mapping[str, float], decoupled: bool) -> tuple[float, float]:
    """w and g after the weight decay."""
    if decoupled and hyper["weight_decay"] != 0:
        return S.round(w_j * S.round(1.0 - lr * hyper["weight_decay"])), -g_j if hyper["maximize"] else g_j
    return w_j, direction_of(S, w_j, g_j, hyper)


def square_average(S: Format, v_j: float, g_j: float, beta: float) -> float:
    return S.fma(S.round(S.round(1.0 - beta) * g_j), g_j, S.round(v_j * S.round(beta)))


def sgd_step(S: Format, w, slots, products, g, steps, lr, hyper):
    new_w, new_v, tested = sgd(S, w, slots[0], g, steps, lr, hyper)
    return new_w, [new_v], [], tested


def adam_step(S: Format, w, slots, products, g, steps, lr, hyper, decoupled=False):
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    p1, p2 = products[0] * beta1, products[1] * beta2
    rate, correction, eps = S.round(-(lr / (1.0 - p1))), S.round(math.sqrt(1.0 - p2)), S.round(hyper["eps"])
    new_w, new_slots, tested = [], [], []
    for w_j, m, v, x, g_j in zip(w, *slots, g, strict=True):
        w_j, g_j = decayed(S, w_j, g_j, lr, hyper, decoupled)
        m = lerp(S, m, g_j, S.round(1.0 - beta1))
        v = square_average(S, v, g_j, beta2)
        if hyper["amsgrad"]:
            x = v if v > x or v != v else x
        d = S.round(quotient(S, root(S, x if hyper["amsgrad"] else v), correction) + eps)
        a = S.round(rate * m)
        q = quotient(S, a, d)
        new_w.append(S.round(w_j + q))
        new_slots.append((m, v, x))
        tested += [m, v, x if hyper["amsgrad"] else 0.0, a, q, new_w[-1]]
    return new_w, [list(slot) for slot in zip(*new_slots, strict=True)], [p1, p2], tested


def adamw_step(*arguments):
    return adam_step(*arguments, decoupled=True)


def rmsprop_step(S: Format, w, slots, products, g, steps, lr, hyper):
    minus_lr, eps, momentum = S.round(-lr), S.round(hyper["eps"]), S.round(hyper["momentum"])
    new_w, new_slots, tested = [], [], []
    for w_j, v, a, b, g_j in zip(w, *slots, g, strict=True):
        g_j = direction_of(S, w_j, g_j, hyper)
        v = u = square_average(S, v, g_j, hyper["alpha"])
        if hyper["centered"]:
            a = lerp(S, a, g_j, S.round(1.0 - hyper["alpha"]))
            u = S.fma(-a, a, v)
            tested += [a, u]
        d = S.round(root(S, u) + eps)
        if hyper["momentum"] > 0:
            b = S.round(S.round(b * momentum) + quotient(S, g_j, d))
            new_w.append(S.fma(minus_lr, b, w_j))
            tested += [b, S.round(minus_lr * b)]
        else:
            product = S.round(minus_lr * g_j)
            q = quotient(S, product, d)
            new_w.append(S.round(w_j + q))
            tested += [product, q]
        new_slots.append((v, a, b))
        tested += [v, new_w[-1]]
    return new_w, [list(slot) for slot in zip(*new_slots, strict=True)], [], tested


def adagrad_step(S: Format, w, slots, products, g, steps, lr, hyper):
    rate, eps, start = (
        S.round(-(lr / (1.0 + float(steps) * hyper["lr_decay"]))),
        S.round(hyper["eps"]),
        S.round(hyper["initial_accumulator_value"]),
    )
    new_w, new_sum, tested = [], [], []
    for w_j, s, g_j in zip(w, slots[0], g, strict=True):
        g_j = direction_of(S, w_j, g_j, hyper)
        new_sum.append(S.fma(g_j, g_j, start if steps == 0 else s))
        a = S.round(rate * g_j)
        q = quotient(S, a, S.round(root(S, new_sum[-1]) + eps))
        new_w.append(S.round(w_j + q))
        tested += [new_sum[-1], a, q, new_w[-1]]
    return new_w, [new_sum], [], tested


def nadam_step(S: Format, w, slots, products, g, steps, lr, hyper):
    beta1, beta2 = hyper["beta1"], hyper["beta2"]
    with localcontext(prec=60):
        decay = float(Decimal.from_float(0.96) ** Decimal(hyper["momentum_decay"]))
    p2, pd = products[0] * beta2, products[2] * decay
    mu, next_mu = beta1 * (1.0 - 0.5 * pd), beta1 * (1.0 - 0.5 * (pd * decay))
    p_mu = products[1] * mu
    correction, eps = S.round(1.0 - p2), S.round(hyper["eps"])
    of_g, of_m = S.round(divide(-lr * (1.0 - mu), 1.0 - p_mu)), S.round(divide(-lr * next_mu, 1.0 - p_mu * next_mu))
    new_w, new_slots, tested = [], [], []
    for w_j, m, v, g_j in zip(w, *slots, g, strict=True):
        w_j, g_j = decayed(S, w_j, g_j, lr, hyper, bool(hyper["decoupled_weight_decay"]))
        m = lerp(S, m, g_j, S.round(1.0 - beta1))
        v = square_average(S, v, g_j, beta2)
        c = quotient(S, v, correction)
        d = S.round(root(S, c) + eps)
        a, b = S.round(of_g * g_j), S.round(of_m * m)
        q, r = quotient(S, a, d), quotient(S, b, d)
        new_w.append(S.round(S.round(w_j + q) + r))
        new_slots.append((m, v))
        tested += [m, v, c, a, b, q, r, new_w[-1]]
    return new_w, [list(slot) for slot in zip(*new_slots, strict=True)], [p2, p_mu, pd], tested


def adadelta_step(S: Format, w, slots, products, g, steps, lr, hyper):
    rho, rest, eps, minus_lr = S.round(hyper["rho"]), S.round(1.0 - hyper["rho"]), S.round(hyper["eps"]), S.round(-lr)
    new_w, new_slots, tested = [], [], []
    for w_j, v, u, g_j in zip(w, *slots, g, strict=True):
        g_j = direction_of(S, w_j, g_j, hyper)
        v = S.fma(S.round(rest * g_j), g_j, S.round(v * rho))
        q = quotient(S, root(S, S.round(u + eps)), root(S, S.round(v + eps)))
        d = S.round(q * g_j)
        u = S.fma(S.round(rest * d), d, S.round(u * rho))
        new_w.append(S.fma(minus_lr, d, w_j))
        new_slots.append((v, u))
        tested += [v, u, q, d, S.round(minus_lr * d), new_w[-1]]
    return new_w, [list(slot) for slot in zip(*new_slots, strict=True)], [], tested


def adamax_step(S: Format, w, slots, products, g, steps, lr, hyper):
    p = products[0] * hyper["beta1"]
    rate, beta2, eps = S.round(-(lr / (1.0 - p))), S.round(hyper["beta2"]), S.round(hyper["eps"])
    new_w, new_slots, tested = [], [], []
    for w_j, m, u, g_j in zip(w, *slots, g, strict=True):
        g_j = direction_of(S, w_j, g_j, hyper)
        m = lerp(S, m, g_j, S.round(1.0 - hyper["beta1"]))
        candidates = (S.round(u * beta2), S.round(abs(g_j) + eps))
        u = math.nan if any(x != x for x in candidates) else max(candidates)
        a = S.round(rate * m)
        q = quotient(S, a, u)
        new_w.append(S.round(w_j + q))
        new_slots.append((m, u))
        tested += [m, u, a, q, new_w[-1]]
    return new_w, [list(slot) for slot in zip(*new_slots, strict=True)], [p], tested


RULES = {"sgd": sgd_step, "adam": adam_step, "adamw": adamw_step, "rmsprop": rmsprop_step, "adagrad": adagrad_step, "nadam": nadam_step,
         "adadelta": adadelta_step, "adamax": adamax_step}  # fmt: skip


# ---------------------------------------- sections 9 and 10: which algorithm, stopping, and the run


@dataclass
class State:
    """Where a descent stands; `run(..., state=s)` goes on from it."""

    w: np.ndarray  # (D,) float64
    slots: np.ndarray  # (n_slots, D) float64
    steps: int
    algorithm: str
    products: tuple[float, ...] = ()
    initial_excess: float = math.nan  # F(w_0) − F* of the first call
    standard: Standard | None = None


@dataclass
class Run:
    """What a fit gave: row t of the histories is w_t and its loss, rounded to T; after convergence
    the rows repeat."""

    w: np.ndarray  # (epochs + 1, D) T
    loss: np.ndarray  # (epochs + 1,) T
    state: State
    converged: int | None  # the epoch at which tol stopped the fit
    first_bad: int | None  # the first row with a number that is not finite
    handover: tuple[int, str] | None  # the epoch at which stream took over, and whether with its "row" or with its "update"
    excess: float  # F − F* of the last row, rounded to T
    lr: float | Sequence[float]


def choose_algorithm(asked: str, n: int, d: int, moments: Callable[[], Moments]) -> str:
    """Section 9, and where section 6 has `stream` do everything."""
    if asked == "stream" or (asked == "auto" and (n <= 2 * d or d > 256)):
        return "stream"
    return "moments" if moments().finite and moments().total.sigma <= moments().T.omega else "stream"


@dataclass(frozen=True)
class Least:
    """F* and ρ of section 10; doubtful: the elimination left them open, both are NaN."""

    value: float = math.nan
    allowance: float = math.nan
    doubtful: bool = False


def penalty_of(sigma: float, weight_decay: float, reduction: str) -> float:
    """κ of section 10; weight_decay: 0 where it is decoupled. sigma: Σω."""
    half = 0.5 * weight_decay
    return half if reduction == "mean" or half == 0 else divide(half, sigma)


def objective(loss: float, w: Sequence[float], kappa: float) -> float:
    """F of section 10."""
    if kappa == 0:
        return loss
    P = 0.0
    for w_j in w:
        P = fma64(w_j, w_j, P)
    return fma64(kappa, P, loss)


def is_regular(pivot: float, before: float, aliased: float, regular: float) -> bool | None:
    """Whether a pivot counts; None: doubtful."""
    if before != 0 and pivot > regular * before:
        return True
    return False if before == 0 or pivot <= aliased * before else None


def least_value(moments: Moments, weight_decay: float = 0.0, reduction: str = "mean") -> Least:
    """F* of moments, D ≤ 32."""
    return (least_float32 if moments.T is FLOAT32 else least_float64)(moments, 0.5 * weight_decay, reduction)


def allowance_of(least: float, E: Mapping[tuple[int, int], float], a: Sequence[float], squares: float, W: float, k_y: int, unit: float):
    """ρ; E: the factors where the entries were."""
    D = len(a)
    w = [0.0] * D
    for k in reversed(range(D)):
        w[k] = E[k, D]
        for j in range(k + 1, D):
            w[k] = fma64(-E[k, j], w[j], w[k])
    Q = squares
    for j in range(D):
        Q = fma64(w[j] * w[j], a[j], Q)
    return fma64(2.0**-52, least, scale(divide(((D + 1) * (D + 1) * unit) * Q, W), 2 * k_y))


def least_float32(moments: Moments, half: float, reduction: str) -> Least:
    D, W = moments.D, moments.total.W
    E = {(i, j): moments.hi[i][j] for i, j in upper_triangle(D + 1)}
    penalty = half * W if reduction == "mean" else half
    for j in range(D):
        if E[j, j] != 0 and penalty != 0:
            E[j, j] = E[j, j] + penalty
    a, doubtful = [E[j, j] for j in range(D)], False
    for k in range(D):
        regular = is_regular(E[k, k], a[k], 2.0**-48, 2.0**-40)
        doubtful = doubtful or regular is None
        r = 1 / E[k, k] if regular else 0.0
        factors = {j: E[k, j] * r for j in range(k + 1, D + 1)}
        for j in range(k + 1, D + 1):
            for i in range(k + 1, j + 1):
                E[i, j] = fma64(-factors[j], E[k, i], E[i, j])
        for j, factor in factors.items():
            E[k, j] = factor
    if doubtful:
        return Least(doubtful=True)
    L = 0.0 if E[D, D] < 0 else E[D, D]
    value = divide(L, W)
    return Least(value, allowance_of(value, E, a, moments.hi[D][D], W, 0, 2.0**-51))


def dd_product(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float, float]:
    """p, and its error q, of section 10 and 11: (p, q) as they stand, not normalised."""
    p = a[0] * b[0]
    q = fma64(a[0], b[0], -p)
    q = fma64(a[1], b[0], q)
    return p, fma64(a[0], b[1], q)


def least_float64(moments: Moments, half: float, reduction: str) -> Least:
    D, W, W_low, k = moments.D, moments.total.W, moments.total.W_low, moments.exponents
    E = {(i, j): (moments.hi[i][j], moments.lo[i][j]) for i, j in upper_triangle(D + 1)}
    if reduction == "mean":
        penalty, shift = (half * W, fma64(half, W_low, fma64(half, W, -(half * W)))), 0
    else:
        penalty, shift = (half, 0.0), -moments.total.k
    for j in range(D):
        if E[j, j][0] != 0 and half != 0:
            E[j, j] = dd_add(E[j, j], tuple(scale(part, shift - 2 * k[j]) for part in penalty))
    a, doubtful = [E[j, j][0] for j in range(D)], False
    for step in range(D):
        t, t_low = E[step, step]
        regular = is_regular(t, a[step], 2.0**-98, 2.0**-90)
        doubtful = doubtful or regular is None
        R = (0.0, 0.0)
        if regular:
            q = 1 / t
            e = fma64(-q, t, 1.0)
            e = fma64(-q, t_low, e)
            R = fast_two_sum(q, q * e)
        factors = {j: fast_two_sum(*dd_product(E[step, j], R)) for j in range(step + 1, D + 1)}
        for j in range(step + 1, D + 1):
            for i in range(step + 1, j + 1):
                p, q = dd_product(factors[j], E[step, i])
                high, lost = two_sum(E[i, j][0], -p)
                E[i, j] = two_sum(high, E[i, j][1] + (lost - q))
        for j, factor in factors.items():
            E[step, j] = factor
    if doubtful:
        return Least(doubtful=True)
    squares = moments.hi[D][D]
    k_y = 0 if squares == 0 else k[D]
    L = E[D, D][0] + E[D, D][1]
    value = 0.0 if squares == 0 else scale(divide(0.0 if L < 0 else L, W), 2 * k_y)
    factors = {ij: entry[0] for ij, entry in E.items()}
    return Least(value, allowance_of(value, factors, a, squares, W, k_y, 2.0**-100))


def target_of(least: Least, initial: float, tol: float | None) -> float:
    """What F must not pass; NaN: nothing does that."""
    if tol is None or tol < 0 or not math.isfinite(initial):
        return math.nan
    return least.value + max(tol * initial, least.allowance)


def excess_of(T: Format, F: float, least: float) -> float:
    """`excess_loss`."""
    excess = F - least
    return T.round(0.0 if excess < 0 else excess)


def all_within(values: Sequence[float], limit: float) -> bool:
    return all(abs(value) <= limit for value in values)


def power(beta: float, exponent: int) -> float:
    """β^exponent: the squares of β that the exponent's binary digits name, the lowest first."""
    result, square = 1.0, beta
    for digit in reversed(bin(exponent)[2:]):
        result = result * square if digit == "1" else result
        square = square * square
    return result


def moved(rule: str, hyper: Mapping[str, Any], momentum: float, products: Sequence[float], steps: int) -> tuple[Any, Any]:
    """hyper and products of a step with this momentum, or beta1; NaN: as they are."""
    if momentum != momentum:
        return hyper, products
    first = [power(momentum, steps)] if rule in ("adam", "adamw", "adamax") else list(products[:1])
    return {**hyper, "momentum" if rule in ("sgd", "rmsprop") else "beta1": momentum}, [*first, *products[1:]]


def run(X, y, *, w0=None, state: State | None = None, lr, hyper=None, epochs, reduction="mean", intercept=False, algorithm="auto", tol=None,
        dtype=None, moments: Moments | None = None, rule="sgd", n_slots=1, n_products=0, weights=None, omit=False, standardized=False,
        measured=False, least: Least | None = None, momenta: Sequence[float] | None = None) -> Run:  # fmt: skip
    """One fit. X (n, d), y (n,), w0 (D,); lr: a number, one per epoch, or None (safe rate);
    momenta: momentum or beta1 of each epoch, NaN as in hyper; moments: of X, if at hand; weights
    (n,).

    omit: samples with a number that is not finite are not there. standardized: standardize=True.
    measured: find `excess` without a tol, too. least: F* and ρ where section 10 leaves them to the
    minimiser.
    """
    T = format_of(np.asarray(X), dtype)
    X, y, weights = data_of(X, y, weights, omit, T)
    n, d = X.shape
    hyper = (HYPER if rule == "sgd" else {}) | (hyper or {})
    update = RULES[rule]
    columns, y_list = columns_of(X, intercept), floats(y)
    D, weight_list = len(columns), None if weights is None else floats(weights)

    def the_moments():
        nonlocal moments
        moments = moments or compress(X, y, intercept, weights=weights)
        return moments

    standard = None if state is None else state.standard
    if standardized:
        moments, standard = standardize(the_moments(), intercept, standard)
        columns = scaled_features(T, columns, standard)
    if lr is None:
        lr = safe_rate(the_moments(), reduction, hyper["weight_decay"])
    rates = [float(lr)] * epochs if np.ndim(lr) == 0 else [float(rate) for rate in lr]
    if state is None:
        w, steps = [0.0 if w0 is None else T.round(float(w0[j])) for j in range(D)], 0
        slots, products = [[0.0] * D for _ in range(n_slots)], [1.0] * n_products
    else:
        w, slots, steps = [float(x) for x in state.w], [[float(x) for x in slot] for slot in state.slots], state.steps
        products = [float(p) for p in state.products]
    if standard is not None and state is None:
        w = scaled_start(w, standard)
    algorithm = choose_algorithm(algorithm if state is None else state.algorithm, n, d, the_moments)
    if standard is not None and standard.doubtful:
        algorithm = "stream"
    kappa, initial = 0.0, math.nan if state is None else state.initial_excess
    if tol is not None or measured:
        decay = 0.0 if rule == "adamw" or hyper.get("decoupled_weight_decay") else hyper.get("weight_decay", 0.0)
        kappa = penalty_of(the_moments().total.sigma if reduction == "sum" and decay else 1.0, decay, reduction)
        if algorithm == "moments" and D <= 32:
            own = least_value(the_moments(), decay, reduction)
            least = least if own.doubtful else own
    least = Least() if least is None or hyper.get("maximize") else least
    if algorithm == "moments":
        w_limit, loss_limit = overflow_limits(the_moments())
    rows, losses, converged, first_bad, handover = [], [], None, None, None
    for t in range(epochs + 1):
        if algorithm == "moments":
            loss, g = moments_epoch(the_moments(), w, reduction)
            if not (all_within(w, w_limit) and loss <= loss_limit):
                algorithm, handover = "stream", (t, "row")
        if algorithm == "stream":
            w, slots = [T.round(x) for x in w], [[T.round(x) for x in slot] for slot in slots]
            loss, g = stream_epoch(T, columns, y_list, w, reduction, weight_list)
        rows.append([T.round(x) for x in w])
        losses.append(T.round(loss))
        if first_bad is None and not all(map(math.isfinite, [*rows[t], losses[t]])):
            first_bad = t
        F = objective(loss, w, kappa)
        if t == 0 and initial != initial:
            initial = F - least.value
        if t > 0 and first_bad is None and target_of(least, initial, tol) >= F:
            converged = t
            break
        if t == epochs:
            break
        if momenta is not None:
            hyper, products = moved(rule, hyper, momenta[t], products, steps)
        if algorithm == "moments":
            new_w, new_slots, new_products, tested = update(FLOAT64, w, slots, products, g, steps, rates[t], hyper)
            if not all_within(tested, T.omega):
                algorithm, handover = "stream", (t, "update")
                w, slots = [T.round(x) for x in w], [[T.round(x) for x in slot] for slot in slots]
                _, g = stream_epoch(T, columns, y_list, w, reduction, weight_list)
        if algorithm == "stream":
            new_w, new_slots, new_products, _ = update(T, w, slots, products, g, steps, rates[t], hyper)
        w, slots, products = new_w, new_slots, new_products
        steps += 1
    if all(x != x for x in w):
        products = [math.nan] * n_products
    if standard is not None:
        rows = [in_own_units(T, row, standard) for row in rows]
    repeats = epochs + 1 - len(rows)
    return Run(
        w=np.array(rows + rows[-1:] * repeats, T.name).reshape(epochs + 1, D),
        loss=np.array(losses + losses[-1:] * repeats, T.name),
        state=State(np.array(w), np.array(slots), steps, algorithm, tuple(products), initial, standard),
        converged=converged,
        first_bad=first_bad,
        handover=handover,
        excess=excess_of(T, F, least.value),
        lr=lr,
    )
