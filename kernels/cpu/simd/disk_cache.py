"""Compiled kernels on disk: one file for each version of a kernel, and all is checked before use.

1. Loading a kernel executes it. So a file is read only where nobody but the user or root can have
   written it (`why_unsafe`), and its digest and its key are compared before anything is unpickled.
   The key names all that the machine code depends on: the sources, the types, the processor, and
   the versions of Python, Numba and LLVM. Whatever is wrong with a file, the kernel is compiled
   anew and the file replaced; why is said once. (A POSIX ACL that lets others write shows in the
   mode, as the group's bits; the ACLs of NFSv4 and of macOS are not looked at.)
2. Places: the folder NUMBA_CACHE_DIR where that is set, for reading and writing. Else kernels are
   read from the folder beside the installed package that `fastgd info --warm --shared` fills, then
   from the user's cache folder, where everything else is written.
3. A file is written under another name and renamed, so processes that compile at the same time do
   no harm. What a process that was killed has left under the other name goes a day later. Each set
   of sources has a folder, and the oldest go when there are more than KEPT. What cannot be written
   is compiled in every process; that is said once.
4. The shared folder lies beside the package, not in it: in it, it would outlive an uninstallation
   as a package that imports and is empty.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import compiler, config, registry, serialize
from numba.core.runtime import rtsys

from ...telling import say_once
from .announcing import announce_lazily, end_lazily

FORMAT = b"fastgd kernel, format 1\n"
ENDING = ".kernel"
KEPT = 16  # folders of kernels of other sources, such as other versions of fastgd
MOST_BYTES = 2**26  # of a file: the largest kernel has 1.2 MB
ABANDONED = 24 * 3600  # seconds after which nobody goes on writing a file: its process was killed
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def _digest_of_sources() -> str:
    """Of kernels/cpu with its folders, and of the codes that are compiled into the kernels."""
    kernels = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in (*sorted((kernels / "cpu").rglob("*.py")), kernels / "chunk.py", kernels / "update_rules.py"):
        digest.update(path.relative_to(kernels).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_DIGEST = _digest_of_sources()


def named_root() -> Path | None:
    """The folder that NUMBA_CACHE_DIR names."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if not named:
        return None
    folder = Path(named, "fastgd-kernels")
    with contextlib.suppress(OSError):  # the current folder is gone
        folder = folder.absolute()
    return folder


def shared_root() -> Path:
    """Beside the package: filled by `fastgd info --warm --shared`, and else only read."""
    package = sys.modules[__name__.partition(".")[0]]
    return Path(next(iter(package.__path__))).absolute().parent / "fastgd-kernels"


def user_root() -> Path | None:
    """In the user's cache folder; None where there is no home."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "fastgd" / "kernels" if Path(home).is_absolute() else None


# of the thread that writes and those that it starts, so of no child that another thread forks
_WRITE_SHARED: ContextVar[bool] = ContextVar("_WRITE_SHARED", default=False)


class FolderRefused(ValueError):
    """Kernels are neither read from a folder nor written to it."""


@contextlib.contextmanager
def writing_shared() -> Iterator[None]:
    """While it is open kernels are written to, and read from, the shared folder alone."""
    before = _WRITE_SHARED.set(True)
    try:
        yield
    finally:
        _WRITE_SHARED.reset(before)


def folder_to_write() -> Path | None:
    """The folder for kernels of these sources that are compiled now; None: there is none."""
    root = shared_root() if _WRITE_SHARED.get() else named_root() or user_root()
    return root and root / _DIGEST[:16]


def folders_to_read() -> list[Path]:
    """The folders that may hold kernels of these sources, in the order in which they are asked."""
    only = shared_root() if _WRITE_SHARED.get() else named_root()
    roots = [only] if only else [shared_root(), user_root()]
    return [root / _DIGEST[:16] for root in roots if root]


def why_unsafe(path: Path, status: os.stat_result | None = None, above: bool = False) -> str | None:
    """Why somebody else can have written this file or folder, in words; None: nobody can.

    above: it is a folder above those of the kernels, where only what everybody can write is unsafe:
    a group is often the user's alone, and in a container the owner may be unknown.
    """
    if os.name == "nt":  # permissions are not in the mode there
        return None
    status = status or path.stat()
    if not above and status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user (number {status.st_uid})"
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & (stat.S_IWOTH if above else OTHERS) and not sticky:
        return f"others can write to {path}"
    return None


def why_refused(folder: Path) -> str | None:
    """Why kernels are neither read from a folder nor written to it, with what mends that.

    What NUMBA_CACHE_DIR names is looked at too: there somebody else may have made the folder; and
    all folders above, in which somebody else could put another in its place.
    """
    named = named_root()
    ours = (folder, folder.parent, *([named.parent] if named and named == folder.parent else []))
    above = [*folder.parents[len(ours) - 1 :]]
    with contextlib.suppress(OSError):
        above += Path(os.path.realpath(folder)).parents
    for path in (*ours, *above):
        with contextlib.suppress(OSError):
            reason = why_unsafe(path, above=path not in ours)
            if reason:
                return (
                    f"{reason}, and to load a kernel is to execute it: make the folder yours alone (chmod go-w), "
                    "or set NUMBA_CACHE_DIR to one that is"
                )
    return None


def are_kept() -> bool:
    """Whether kernels compiled now can be written to disk; tried, since root seems to be able."""
    folder = folder_to_write()
    if folder is None or why_refused(folder):
        return False
    with contextlib.suppress(OSError):
        _make(folder)
        return os.access(folder, os.W_OK)
    return False


class DiskCache:
    """The versions of one kernel on disk, with the methods that a dispatcher of Numba calls."""

    def __init__(self, function: Any) -> None:
        self.name = function.__name__

    @property
    def cache_path(self) -> str | None:
        """The folder where a new version would be written."""
        folder = folder_to_write()
        return str(folder) if folder else None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """A version from disk or None, without importing what only compiling needs."""
        key = _key(self.name, str(signature))
        for folder in folders_to_read():
            payload = _read(folder, key)
            if payload is None:
                continue
            try:
                rtsys.initialize(context)
                return compiler.CompileResult._rebuild(context, *pickle.loads(payload))
            except Exception as error:
                context.refresh()  # all that Numba may need
                try:
                    return compiler.CompileResult._rebuild(context, *pickle.loads(payload))
                except Exception:
                    _say(folder, f"{_file(folder, key).name} cannot be loaded ({error!r})")
        announce_lazily(self.name, are_kept())
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write a version that was compiled; where that fails, go on without."""
        end_lazily()
        folder = folder_to_write()
        if folder is None:
            return
        key = _key(self.name, str(signature))
        try:
            _write(folder, key, serialize.dumps(compiled._reduce()))
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            line = f"fastgd: compiled kernels cannot be kept in {folder}, every process compiles its own: {reason}"
            say_once(line, folder, "refused" if isinstance(error, FolderRefused) else "write")

    def signatures_on_disk(self, whole: bool = True) -> set[str]:
        """The types of the versions that are on disk for this processor and up to date.

        whole: and not damaged, for which files are read to their end.
        """
        found = set()
        for folder in folders_to_read():
            for path in files_in(folder, f"{self.name}-*"):
                with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                    key = _content(folder, path, whole)[0].decode()
                    types = json.loads(key)["types"]
                    if key == _key(self.name, types) and path == _file(folder, key):
                        found.add(types)
        return found

    def enable(self) -> None:
        """Nothing: it is part of what Numba may call."""

    disable = flush = enable


@functools.cache
def processor() -> tuple[str, ...]:
    """(triple, name, features) of the processor that Numba compiles for."""
    return registry.cpu_target.target_context.codegen().magic_tuple()


def _key(name: str, types: str) -> str:
    """All that the machine code of a version depends on, as JSON."""
    return json.dumps({
        "kernel": name, "types": types, "sources": _DIGEST, "processor": processor(), "optimisation": str(config.OPT),
        "python": [platform.python_implementation(), *sys.version_info[:2], getattr(sys, "abiflags", "")],
        "numba": numba.__version__, "llvmlite": llvmlite.__version__,
    })  # fmt: skip


def _file(folder: Path, key: str) -> Path:
    return folder / f"{json.loads(key)['kernel']}-{hashlib.sha256(key.encode()).hexdigest()[:20]}{ENDING}"


def files_in(folder: Path, name: str = "*") -> list[Path]:
    """The files of kernels in a folder; none where it cannot be read."""
    with contextlib.suppress(OSError):
        return list(folder.glob(name + ENDING))
    return []


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """(key, payload) of a file, if its digest is right."""
    if not content.startswith(FORMAT):
        raise ValueError("it is not a kernel")
    digest, _, rest = content[len(FORMAT) :].partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise ValueError("it is damaged")
    key, _, payload = rest.partition(b"\n")
    return key, payload


def _open_at_once(path: str, flags: int) -> int:
    """Open a file, even where it is a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _content(folder: Path, path: Path, whole: bool = True) -> tuple[bytes, bytes]:
    """(key, payload) of a file that may be loaded; only the key, unchecked, if not `whole`."""
    with open(path, "rb", opener=_open_at_once) as file:
        refused = why_refused(folder)
        if refused:
            raise FolderRefused(refused)
        status = os.fstat(file.fileno())
        unsafe = why_unsafe(path, status)
        if unsafe:
            raise ValueError(unsafe)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise ValueError("it is not a kernel")
        if whole:
            return _parts(file.read())
        lines = [file.readline() for _ in range(3)]  # format, digest, key
        if lines[0] != FORMAT:
            raise ValueError("it is not a kernel")
        return lines[2].removesuffix(b"\n"), b""


def _read(folder: Path, key: str) -> bytes | None:
    """What is stored for a key; None where nothing is, or nothing that may be loaded."""
    path = _file(folder, key)
    try:
        of, payload = _content(folder, path)
        if of != key.encode():
            raise ValueError("it is of something else")
        return payload
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        what = str(error) if str(folder) in str(error) else f"{path.name}: {error}"
        _say(folder, what, "refused" if isinstance(error, FolderRefused) else "read")
        return None


def _make(folder: Path) -> None:
    """Make a folder for kernels, and those that it is in, where they are not there."""
    for path in (*reversed(folder.parents), folder):
        if path.is_dir():  # to make the root again is another error on every system
            continue
        with contextlib.suppress(FileExistsError):  # another process has made it meanwhile
            path.mkdir(0o755)
            if _WRITE_SHARED.get():
                path.chmod(0o755)  # whatever the umask


def _write(folder: Path, key: str, payload: bytes) -> None:
    """Write a file under another name, then give it its own."""
    refused = why_refused(folder)
    if refused:
        raise FolderRefused(refused)
    _make(folder)
    rest = key.encode() + b"\n" + payload
    handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(FORMAT + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        Path(name).chmod(0o644)
        with contextlib.suppress(OSError):
            _file(folder, key).rmdir()  # where an empty folder has its place
        Path(name).replace(_file(folder, key))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _remove_abandoned(folder)
    _remove_oldest(folder.parent)


def _remove_abandoned(folder: Path) -> None:
    """Remove the files that processes which were killed did not finish."""
    for file in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink(missing_ok=True)


def _remove_oldest(root: Path) -> None:
    """Remove the kernels of other sources, but for the KEPT newest folders."""
    with contextlib.suppress(OSError):
        folders = [path for path in root.iterdir() if re.fullmatch(r"[0-9a-f]{16}", path.name) and path.name != _DIGEST[:16]]
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            for file in (*folder.glob(f"*{ENDING}"), *folder.glob("*.part")):
                file.unlink(missing_ok=True)
            folder.rmdir()


def _say(folder: Path, what: str, about: str = "read") -> None:
    say_once(f"fastgd: a kernel in {folder} is not used, and compiled anew: {what}", folder, about)
