"""Results to save, and files that were made by hand: what the tests of storage share.

Crafted files carry a right checksum (`seal`), so that what is behind the checksum is tested too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import warnings
import zipfile
from pathlib import Path

import numpy as np

import fastgd
from fastgd import FitResult

SAMPLES = np.random.default_rng(5)
X, Y = SAMPLES.normal(size=(6, 20, 3)), SAMPLES.normal(size=(6, 20))
LINE = np.array([1.0, 2, 3, 4])


def same(one: object, other: object) -> bool:
    """The same values of the same kinds, and of arrays the same bits."""
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, each.name), getattr(other, each.name)) for each in dataclasses.fields(one))
    if isinstance(one, np.ndarray | np.generic):
        a, b = np.asarray(one), np.asarray(other)
        return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)  # type: ignore[call-overload,index]
    return one == other


def cases() -> dict[str, FitResult]:
    x32, y32 = X.astype(np.float32), Y.astype(np.float32)
    with_nan = Y.copy()
    with_nan[2, 3] = np.nan
    momentum = fastgd.SGD(momentum=[0.5, 0.9, 0.0, 0.1, 0.2, 0.3])
    return {
        "one number": fastgd.fit(LINE, 2 * LINE, lr=0.1, epochs=20),
        "one fit": fastgd.fit(X[0], Y[0], lr=0.1, epochs=20, history=True, intercept=True),
        "1-D X, many": fastgd.fit(LINE, 2 * LINE, lr=[0.01, 0.1, 5.0], epochs=2000, history=100),
        "grid": fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, history=3, intercept=True, optimizer=momentum),
        "float32": fastgd.fit(x32, y32, lr=0.1, epochs=9, history=True),
        "NaN": fastgd.fit(X, with_nan, lr=0.1, epochs=9, nan_policy="propagate", history=True),
        "converged": fastgd.fit(X, Y, epochs=500, tol=1e-3),
        "manual": fastgd.fit(LINE, 2 * LINE, lr=0.1, epochs=3, backend="numpy"),
    }


CASES = cases()


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def seal(inside: dict[str, bytes], version: int = 1, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file as fastgd/results/file_format.py says: a zip, whose comment ends in the SHA-256 of all
    bytes before the digest."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in inside.items():
            archive.writestr(name, data)
        archive.comment = f"fastgd result, format {version}, sha256 ".encode() + b"0" * 64
    return sign(buffer.getvalue())


def sign(data: bytes) -> bytes:
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
