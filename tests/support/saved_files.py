"""Files that were made by hand: what the tests of storage share.

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
