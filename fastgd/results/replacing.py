"""Files that are written all or nothing: saved results, reports, pictures.

A new file is written in the same folder, flushed to the disk, and renamed to the old file's name:
at every moment the name leads to the whole old file or to the whole new one. A process that is
killed may leave a `.fastgd-….tmp` behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..input.messages import in_ascii


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that replaces `path` once it is on the disk, and is removed if anything fails."""
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"{in_ascii(os.fspath(path))} is not an ordinary file: it cannot be replaced")
    temporary = target.parent / f".fastgd-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(temporary, target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (error.filename is None or os.fspath(error.filename) == str(temporary)):
            error.filename, error.filename2 = str(target), None  # of a full disk the error names no file
        raise


def write_text(path: str | os.PathLike[str], text: str, errors: str = "strict") -> None:
    """Write UTF-8, all or nothing; where the name leads to a device or a pipe, straight into it."""
    content = text.encode("utf-8", errors)
    if Path(path).exists() and not Path(path).is_file():
        Path(path).write_bytes(content)
        return
    with replacing(path) as file:
        file.write(content)
