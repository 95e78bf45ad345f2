"""The file of a saved result: dataclasses of arrays in one .npz, which numpy.load reads too.

1. The file is an uncompressed .npz: a zip of one .npy per array, with `fastgd.json` first, which
   says what each array is. Nothing is pickled. The zip's comment, the very end of the file, holds
   the format's version and the SHA-256 of every byte before it, so a flipped bit is noticed
   wherever it is: in an array, in a header, in the zip's own directory. The same result makes the
   same file.
2. Reading trusts nothing. First the checksum is compared; then the sizes that the zip's directory
   declares are compared with a limit, and every array's header with its declared size; only then
   is memory allocated. An uncompressed file never declares more than its own length, so only files
   that somebody compressed or crafted reach the limit: 190 KiB can hold 190 MiB of zeros.
3. The file replaces an older one when it is whole and on the disk (replacing.py).
4. The caller gives the classes, whose fields are read by `dataclasses.fields`: a new field is
   written and read without a change here. A field that a file lacks gets its default.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, BinaryIO

import numpy as np

from ..input.arrays import with_numpy_arrays
from ..input.messages import in_ascii, what_was_raised
from ..input.messages import shown as in_words
from ..input.options import read_count
from ..input.unreadable import is_missing
from .replacing import replacing

FORMAT = 1
ALWAYS_ALLOWED = 64 * 2**20  # bytes that a file may unpack to, however small it is
MOST_GROWTH = 4  # and how many times its own length
DESCRIPTION = "fastgd.json"
_MOST_DESCRIPTION = 2**20  # bytes
_MARK = "fastgd result, format {}, sha256 "  # the zip's comment, with the digest after it
_MARK_PATTERN = re.compile(rb"fastgd result, format (\d{1,9}), sha256 ([0-9a-f]{64})\Z")
_DIGEST = 64
_BLOCK = 2**20


def name_of(path: Any, called: str = "path") -> str:
    """The name of a file as a str; raise where `path` is none. called: the argument's name."""
    try:
        name = os.fsdecode(os.fsencode(path))  # of a subclass of str, too, the text alone
    except UnicodeError:
        raise ValueError(f"{called} has characters that no name of a file can have: {in_words(path)}") from None
    except Exception:  # whatever a __fspath__ may raise
        raise TypeError(f"{called} must be the name of a file, a str, bytes or os.PathLike, not {in_words(path)}") from None
    if "\0" in name:
        raise ValueError(f"{called} has a NUL character, which no name of a file can have: {in_words(path)}")
    return name


def with_ending(path: str | os.PathLike[str]) -> str:
    """The name of the file, ending in .npz."""
    name = name_of(path)
    return name if name.endswith(".npz") else f"{name}.npz"


def write_file(path: str | os.PathLike[str], value: Any) -> None:
    """Write a dataclass of arrays, numbers, strings and dataclasses to `path`, all or nothing."""
    arrays: dict[str, np.ndarray] = {}
    described = {"format": FORMAT, "content": _describe(with_numpy_arrays(value), "", arrays)}
    text = json.dumps(described, indent=1).encode()
    if len(text) > _MOST_DESCRIPTION:
        raise ValueError(f"the text of the result takes {len(text):,} bytes; a file can hold {_MOST_DESCRIPTION:,}")
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_member(DESCRIPTION), text)
            for name, array in arrays.items():
                with archive.open(_member(f"{name}.npy"), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
            archive.comment = _MARK.format(FORMAT).encode() + b"0" * _DIGEST
        file.seek(-_DIGEST, os.SEEK_END)
        file.write(_digest(file, file.tell()).encode())


def read_file(path: str | os.PathLike[str], wanted: tuple[type, ...], inside: tuple[type, ...] = (), max_bytes: int | None = None) -> Any:
    """Read what `write_file` wrote.

    wanted: the dataclasses that the value may be of; inside: those, and enums, that it may have.
    max_bytes: most memory that the contents may take; None: a limit from the file's length.
    """
    if max_bytes is not None:
        max_bytes = read_count(max_bytes, "max_bytes", 0, needed="a whole number of bytes or None")
    shown = in_ascii(os.fspath(path))
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{shown} is not an ordinary file, such as a result is saved in")
        _check_whole(file, shown)
        with _in_the_users_words(shown), zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if len(members) != len(archive.infolist()):
                raise zipfile.BadZipFile("two members have the same name")
            _check_size(shown, sum(info.file_size for info in members.values()), os.fstat(file.fileno()).st_size, max_bytes)
            described = _read_description(archive, members)
            if described["format"] != FORMAT:
                raise ValueError(f"the description says format {described['format']!r}")
            arrays = read_arrays(archive, (name for name in members if name != DESCRIPTION))
            value = _build(described["content"], "", arrays, {kind.__name__: kind for kind in (*wanted, *inside)})
            if type(value) not in wanted:
                raise ValueError(f"it holds a {type(value).__name__}, not a {' or '.join(kind.__name__ for kind in wanted)}")
    return value


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; of a pipe, too, without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Refusal(Exception):
    """An error whose message is already in the user's words."""


@contextlib.contextmanager
def _in_the_users_words(shown: str) -> Iterator[None]:
    """Turn errors of zipfile, json and NumPy into a ValueError; the checksum was right before."""
    try:
        yield
    except _Refusal as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # whatever the readers of a file that somebody made may raise
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno != errno.EINVAL):  # EINVAL: a negative offset
            raise
        what = f"no {what_was_raised(error)}" if isinstance(error, KeyError) else what_was_raised(error)
        raise ValueError(f"{shown} is not damaged, but it is not a result as fastgd writes them: {what}") from None


# -- writing ------------------------------------------------------------


def _member(name: str) -> zipfile.ZipInfo:
    """An uncompressed member with a fixed date, readable by all who may read the file."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info


def _describe(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; an array is put into `arrays`, and its name stands for it."""
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "member": value.name}
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, tuple) and all(type(each) is int for each in value):
        return {"numbers": list(value)}
    if isinstance(value, tuple) and all(type(each) is str for each in value):
        return {"names": list(value)}
    if is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"class": type(value).__name__, "fields": {key: _describe(each, _join(name, key), arrays) for key, each in inside.items()}}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"table": {key: _describe(each, _join(name, key), arrays) for key, each in value.items()}}
    if isinstance(value, np.ndarray) and value.dtype.kind in "UOmM":
        return _describe_labels(value, name, arrays)
    if isinstance(value, float | np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            arrays[name] = array
            return {"scalar" if isinstance(value, float | np.generic) else "array": name}
        raise TypeError(f"{name} has dtype {array.dtype}: only numbers and booleans can be saved")
    raise TypeError(f"{name} is a {type(value).__name__}, which cannot be saved")


def _describe_labels(values: np.ndarray, name: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Text (with None where it is missing) and dates (n,), as arrays of numbers."""
    if values.dtype.kind in "mM":
        arrays[name] = values.view(np.int64)
        return {"dates": name, "dtype": values.dtype.str}
    texts = [None if is_missing(text) else text for text in values.tolist()]
    if values.ndim != 1 or any(type(text) is not str and text is not None for text in texts):
        raise TypeError(f"{name} has Python objects: only numbers, text and dates can be saved")
    encoded = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = [-1 if text is None else len(code) for text, code in zip(texts, encoded, strict=True)]
    arrays[name], arrays[f"{name}.lengths"] = np.frombuffer(b"".join(encoded), np.uint8), np.array(lengths, np.int64)
    return {"texts": name, "dtype": "O" if values.dtype.kind == "O" else "U"}


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _digest(file: BinaryIO, length: int) -> str:
    """SHA-256, in hexadecimal, of the first `length` bytes; the file is read up to there."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (block := file.read(min(_BLOCK, length))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


# -- reading ------------------------------------------------------------


def _check_whole(file: BinaryIO, shown: str) -> None:
    """Raise unless fastgd saved the file, it is undamaged, and its format is known."""
    start = file.read(30 + len(DESCRIPTION))
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 200))
    mark = _MARK_PATTERN.search(file.read())
    if mark is None:
        if start[:4] == b"PK\x03\x04" and start[30:] == DESCRIPTION.encode():
            raise ValueError(f"{shown} is damaged: its end is missing or changed ({length:,} bytes are there), so it cannot be checked")
        what = "it is empty" if not length else "an .npz, but not of fastgd" if start[:4] == b"PK\x03\x04" else "it holds something else"
        raise ValueError(f"{shown} is not a result that was saved by fastgd: {what}")
    if _digest(file, length - _DIGEST).encode() != mark[2]:
        raise ValueError(f"{shown} is damaged: its bytes are not those that were written (the SHA-256 differs)")
    if int(mark[1]) > FORMAT:
        raise ValueError(f"{shown} has format {int(mark[1])}, of a newer version of fastgd; this one reads formats up to {FORMAT}")


def most_allowed(length: int) -> int:
    """The memory that the contents of a file of this length may take [bytes]."""
    return max(ALWAYS_ALLOWED, MOST_GROWTH * length)


def read_arrays(archive: zipfile.ZipFile, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of numbers in these members; all headers are read before memory is allocated."""
    names = list(names)
    for name in names:
        _check_header(archive, archive.getinfo(name))
    return {name.removesuffix(".npy"): _read_array(archive, name) for name in names}


def _check_size(shown: str, declared: int, length: int, max_bytes: int | None) -> None:
    """Raise if the sizes that the file declares add up to more than is allowed [bytes]."""
    limit = most_allowed(length) if max_bytes is None else max_bytes
    if declared > limit:
        why = f"max_bytes={max_bytes:,}" if max_bytes is not None else f"{limit:,} are allowed for a file of {length:,}"
        raise _Refusal(f"{shown} would take {declared:,} bytes of memory, and {why}: if you trust it, give max_bytes={declared}")


def _read_description(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if members[DESCRIPTION].file_size > _MOST_DESCRIPTION:
        raise ValueError(f"its description takes {members[DESCRIPTION].file_size:,} bytes")
    described = json.loads(archive.read(DESCRIPTION))
    if not isinstance(described, dict):
        raise ValueError("its description is not a table")
    return described


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise unless the array is one of numbers and its header agrees with the declared size."""
    with archive.open(member) as entry:
        try:
            version = np.lib.format.read_magic(entry)
        except ValueError:
            raise ValueError(f"{member.filename} is no array") from None
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member.filename} has version {version} of the .npy format")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read_header(entry)
        except MemoryError:  # of Python's parser
            raise ValueError(f"the header of {member.filename} is nested too deeply") from None
        header = entry.tell()
    if dtype.kind not in "biuf":
        what = "Python objects, which could run code when they are read" if dtype.hasobject else f"dtype {dtype}"
        raise ValueError(f"{member.filename} holds {what}; only numbers and booleans are read")
    if any(length < 0 for length in shape) or header + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename} says that it has shape {shape} and dtype {dtype}, but {member.file_size:,} bytes are declared")


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)


def _build(node: Any, name: str, arrays: dict[str, np.ndarray], classes: dict[str, type]) -> Any:
    """The value that `_describe` turned into `node`; name: for error messages."""
    if node is None or type(node) in (bool, int, str):
        return node
    if type(node) is not dict:
        raise ValueError(f"{name} is described by a {type(node).__name__}")
    kind = next(iter(node), None)
    if kind == "array":
        return arrays[node["array"]]
    if kind == "scalar":
        return arrays[node["scalar"]].reshape(())[()]
    if kind == "dates" and np.dtype(node["dtype"]).kind in "mM":
        return arrays[node["dates"]].astype(np.int64).view(node["dtype"])
    if kind == "texts" and node["dtype"] in ("O", "U"):
        return _texts(arrays[node["texts"]], arrays[f"{node['texts']}.lengths"], node["dtype"])
    if kind == "enum" and issubclass(enum := classes[node["enum"]], Enum):
        return enum[node["member"]]
    if kind == "numbers" and type(node["numbers"]) is list and all(type(each) is int for each in node["numbers"]):
        return tuple(node["numbers"])
    if kind == "names" and type(node["names"]) is list and all(type(each) is str for each in node["names"]):
        return tuple(node["names"])
    if kind == "table":
        return {key: _build(each, _join(name, key), arrays, classes) for key, each in node["table"].items()}
    if kind == "class" and is_dataclass(classes[node["class"]]):
        given = {key: _build(each, _join(name, key), arrays, classes) for key, each in node["fields"].items()}
        return _make(classes[node["class"]], given)
    raise ValueError(f"{name} is described by {kind!r}")


def _texts(encoded: np.ndarray, lengths: np.ndarray, dtype: str) -> np.ndarray:
    """The text that `_describe_labels` wrote."""
    whole, used = encoded.astype(np.uint8).tobytes(), np.maximum(lengths.astype(np.int64), 0)
    ends = np.cumsum(used)
    if lengths.ndim != 1 or (lengths < -1).any() or int(ends[-1] if len(ends) else 0) != len(whole):
        raise ValueError("the lengths of its texts do not add up")
    texts = [
        None if length < 0 else whole[end - length : end].decode("utf-8", "surrogatepass")
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]
    if dtype == "U":
        return np.array(texts, str)
    result = np.empty(len(texts), object)
    result[:] = texts
    return result


def _make(kind: type, given: dict[str, Any]) -> Any:
    """An object of this dataclass; an error names fields that only one side has."""
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    if unknown := sorted(given.keys() - known.keys()):
        raise _Refusal(
            f"the file holds {kind.__name__}.{unknown[0]}, which this version of fastgd does not know: it was saved by a newer one"
        )
    if missing := [name for name, required in known.items() if required and name not in given]:
        raise _Refusal(
            f"the file lacks {kind.__name__}.{missing[0]}: it was saved by an older version of fastgd, which this one cannot read"
        )
    return kind(**given)
