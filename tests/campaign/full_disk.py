"""A full disk while results, kernels, reports and pictures are written.

1. RLIMIT_FSIZE makes the system refuse the byte at which a file passes a length (EFBIG), for every
   length: it needs neither root nor a second disk.
2. Where a small disk can be mounted (tmpfs in a mount namespace of the child's own, which nobody
   else sees), the error is ENOSPC itself, of bytes or of files.
3. The k-th call of open, fsync, replace, fchmod, mkdir and mkstemp fails, for every k.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastgd.kernels import telling
from fastgd.kernels.cpu.simd.compiling import kernel
from tests.campaign.attack import Attack, Trial
from tests.campaign.children import Child, needs_fork
from tests.campaign.kills import Picture, Report, Saved
from tests.campaign.small_kernels import SIGNATURE, KernelInFolder, cache_in, smallest

CALLS = ((builtins, "open"), (os, "open"), (os, "fsync"), (os, "replace"), (os, "rename"), (os, "fchmod"), (os, "chmod"), (os, "mkdir"),
         (tempfile, "mkstemp"), (os, "fdopen"))  # fmt: skip
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS


class FreshKernel(KernelInFolder):
    """A kernel that is compiled and kept while the disk is full: it must run all the same."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before = self.path.read_bytes()

    def write(self, which: int) -> None:
        telling._said.clear()
        with cache_in(self.folder):
            again = kernel(smallest)
            again._cache.save_overload(SIGNATURE, self._compiled)

    def read(self) -> int:
        said = self.load_and_run()
        if said:
            raise ValueError(said)
        return 0


WRITTEN: dict[str, Callable[[Trial], Any]] = {
    "a small result": lambda trial: Saved(trial.folder, trial.rng, 20),
    "a large result": lambda trial: Saved(trial.folder, trial.rng, 2000),
    "a kernel": lambda trial: FreshKernel(trial.folder / "cache"),
    "an HTML report": lambda trial: Report(trial.folder, "html"),
    "a JSON report": lambda trial: Report(trial.folder, "json"),
}
SLOW = {"a picture": lambda trial: Picture(trial.folder)}  # 1 s each


@contextlib.contextmanager
def no_longer_than(length: int) -> Iterator[None]:
    """While it is open no file of this process can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def failing(number: int, code: int, counted: list[int]) -> Iterator[None]:
    """While it is open the call of this number among CALLS fails; counted: [how many there
    were]."""
    real = [getattr(module, name) for module, name in CALLS]

    def replaced(call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_call(*given: Any, **options: Any) -> Any:
            counted[0] += 1
            if counted[0] == number + 1:
                raise OSError(code, os.strerror(code))
            return call(*given, **options)

        return fail_or_call

    for (module, name), call in zip(CALLS, real, strict=True):
        setattr(module, name, replaced(call))
    try:
        yield
    finally:
        for (module, name), call in zip(CALLS, real, strict=True):
            setattr(module, name, call)


def mount_small_disk(folder: Path, size: int, files: int) -> str | None:
    """Mount a disk of so many bytes and files, seen by this process alone; why not, if it cannot
    be."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(ctypes.c_int(NEW_USER | NEW_MOUNTS)):
        return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), f"size={size},nr_inodes={files}".encode()):
        return f"no tmpfs: {os.strerror(ctypes.get_errno())}"
    return None


def write_once(written: Any) -> str:
    """Write; what was raised, as "" or "OSError: its text"."""
    try:
        written.write(1)
        return ""
    except OSError as error:
        return f"OSError: {error}"


def looked_at(written: Any, said: str, names: set[str]) -> list[str]:
    """What is wrong after a write that raised `said`; names: of the files that may be there."""
    wrong = []
    try:
        which = written.read()
    except Exception as error:
        which = -1
        wrong.append(f"half a file: {type(error).__name__}: {error}")
    if isinstance(written, FreshKernel):
        if said:
            wrong.append(f"a kernel that cannot be kept stopped the call: {said}")
    elif said and str(written.path) not in said:
        wrong.append(f"the error does not name the file: {said}")
    elif said and which == 1:
        wrong.append(f"an error, though the file is new: {said}")
    elif not said and which == 0:
        wrong.append("no error, though the file is old")
    left = {path.name for path in written.path.parent.iterdir()} - names
    if left:
        wrong.append(f"left behind: {sorted(left)}")
    return wrong


def limited(written: Any, length: int) -> list[str]:
    """In a child: write while no file may become longer than this."""
    written.write(0)
    names = {path.name for path in written.path.parent.iterdir()}
    with no_longer_than(length):
        said = write_once(written)
    return looked_at(written, said, names)


def call_failed(written: Any, number: int, code: int) -> list[str] | None:
    """In a child: write while one call fails; None where there are fewer calls."""
    written.write(0)
    names = {path.name for path in written.path.parent.iterdir()}
    counted = [0]
    with failing(number, code, counted):
        said = write_once(written)
    wrong = looked_at(written, said, names)
    # the folder's own fsync comes when the new file is in place
    return [one for one in wrong if "though the file is new" not in one] if counted[0] > number else None


def on_small_disk(written: Any, folder: Path, size: int, files: int) -> list[str] | str:
    """In a child: write to a disk that is too small; a text: why there is none."""
    why_not = mount_small_disk(folder, size, files)
    if why_not:
        return why_not
    if isinstance(written, FreshKernel):
        written.folder = folder
        said = write_once(written)
        left = [path.name for path in folder.rglob("*.part")]
        with cache_in(folder):
            array = np.zeros(1)
            kernel(smallest)(array)
        return [*([f"a kernel that cannot be kept stopped the call: {said}"] if said else []), *([f"left behind: {left}"] if left else [])]
    written.path = folder / written.path.name
    written.path.write_bytes(b"")  # there is a file, and it takes a place of the few
    said = write_once(written)
    left = {path.name for path in folder.iterdir()} - {written.path.name}
    whole = written.path.stat().st_size > 0
    wrong = [f"left behind: {sorted(left)}"] if left else []
    if whole and (said or written.read() != 1):
        wrong.append(f"half a file: {said}")
    if not whole and str(written.path) not in said:
        wrong.append(f"the error does not name the file: {said!r}")
    return wrong


REPRODUCER = """# from the root of the repository: PYTHONPATH=. .venv/bin/python THIS_FILE
import pathlib, tempfile, time
from tests.campaign import full_disk
from tests.campaign.attack import Trial

with tempfile.TemporaryDirectory() as folder:
    trial = Trial(0, time.monotonic() + 60, pathlib.Path(folder))
    written = (full_disk.WRITTEN | full_disk.SLOW)[{name!r}](trial)
    print(full_disk.{call})
"""
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def run(trial: Trial, only: str | None = None) -> None:
    """Write to full disks until time is over."""
    made: dict[str, Any] = {}
    names = [only] if only else [*WRITTEN, *SLOW]
    disk = trial.folder / "disk"
    disk.mkdir()
    next_call = dict.fromkeys(names, 0)
    while not trial.cases or trial.time_is_left():
        name = names[int(trial.rng.integers(len(names)))]
        if name in SLOW and trial.rng.random() < 0.9:
            continue
        if name not in made:
            made[name] = (WRITTEN | SLOW)[name](trial)
            made[name].write(0)
        written, way = made[name], int(trial.rng.integers(3))
        length = written.path.stat().st_size
        if way == 0:
            limit = int(trial.rng.integers(0, length + 200)) if trial.rng.random() < 0.8 else length + int(trial.rng.integers(-3, 3))
            call, do = f"limited(written, {limit})", lambda child, written=written, limit=limit: limited(written, limit)
        elif way == 1:
            code = CODES[int(trial.rng.integers(len(CODES)))]
            number = next_call[name]
            next_call[name] += 1
            call = f"call_failed(written, {number}, {code})"
            do = lambda child, written=written, number=number, code=code: call_failed(written, number, code)  # noqa: E731
        else:
            size = 4096 * int(trial.rng.integers(1, 3 + length // 4096))
            files = int(trial.rng.integers(2, 6))
            call = f"on_small_disk(written, trial.folder, {size}, {files})"
            do = lambda child, written=written, size=size, files=files: on_small_disk(written, disk, size, files)  # noqa: E731
        answer = Child(do, trial.folder / "said").answer()
        found = answer.value
        if way == 1 and found is None and not answer.ended + answer.raised:
            next_call[name] = 0  # all calls have failed once
            continue
        if isinstance(found, str):
            continue  # there is no small disk here
        trial.tried()
        if answer.ended or answer.raised:
            trial.failed(f"{name}: {answer.ended or answer.raised}", f"{call}: {answer.told}", REPRODUCER.format(name=name, call=call))
        for wrong in found or ():
            trial.failed(f"{name}: {wrong.split(':')[0]}", f"{call}: {wrong}", REPRODUCER.format(name=name, call=call))


ATTACK = Attack(
    name="full_disk",
    promise="A full disk is an error that names the file; the old file stays.",
    how=(
        "Results, reports, the demo's picture and compiled kernels are written where files may not pass a random length (RLIMIT_FSIZE), "
        "to a tmpfs that is too small in bytes or in files (where one can be mounted), and with one call of open, fsync, replace, chmod, "
        "mkdir or mkstemp failing, each in turn. The old file must be whole or the new one in its place, the error must name the file, "
        "nothing may be left behind, and a kernel that cannot be kept must run all the same."
    ),
    unit="full disks",
    share=0.5,
    run=run,
    needs=needs_fork,
)
