"""Checkpoints: finished fits of a call in a folder, from which the same call goes on.

1. `fastgd-checkpoint.npz` says of which call the folder is: a fingerprint of each of its arguments,
   and the versions. `fastgd-block-PART-FIRST-STOP.npz` holds the results of some fits, numbered in
   the order of computation; a part is one of several computations of a call, such as a cell of
   update rules in a sweep.
2. All are files as file_format.py writes them: whole or not there, with the SHA-256 of their bytes.
   Each block names its call, its part and its fits, so nothing has to be written in an order, and
   a block counts where and only where it is whole and of this call.
3. `lock` is locked (flock) while a call runs: a second one is refused. Where the file system has no
   locks two calls write the same blocks, which harms neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.items import Items
from ..data.problem import DATA, Problem
from ..input.fingerprints import Fingerprint, add_numbers, fingerprint
from ..input.messages import counted, in_ascii, shown
from .curvatures import Curvatures
from .file_format import name_of, read_file, write_file
from .result import versions_here

FORMAT = 1
FREE = ("threads", "memory_limit", "progress", "checkpoint", "out")  # arguments that no result depends on
CALL, LOCK = "fastgd-checkpoint.npz", "lock"
_BLOCK = re.compile(r"fastgd-block-(?P<part>[\w.]+)-(?P<first>\d+)-(?P<stop>\d+)\.npz")
_LEFT = re.compile(r"\.fastgd-[0-9a-f]+\.tmp")  # what a killed process leaves
MOST_BYTES = 2**26  # of a block


@dataclass(frozen=True)
class Call:
    """Which call a checkpoint is of."""

    format: int
    function: str
    versions: dict[str, str]
    digests: dict[str, str]  # of each argument, by name
    words: dict[str, str]  # each argument in a few words

    @classmethod
    def of(cls, function: str, arguments: Mapping[str, Any], problem: Problem | None, **others: Any) -> Call:
        """The call of a function with these arguments. others: what else decides its results.

        problem: the data, in place of X, y and sample_weight; None: they are among the others. All
        arguments count but those in `FREE`; a new one does as soon as it is there.
        """
        given = {name: fingerprint(value, name) for name, value in arguments.items() if name not in (*DATA, *FREE)}
        if problem is not None:
            data = {"X": problem.given} if problem.given is not None else {"X": problem.X, "y": problem.y, "sample_weight": problem.weights}
            given |= {name: _of_data(value, name) for name, value in data.items()}
        given |= {name: fingerprint(value, name) for name, value in others.items()}
        digests, words = ({name: getattr(one, which) for name, one in given.items()} for which in ("digest", "words"))
        return cls(FORMAT, function, versions_here(), digests, words)

    @property
    def key(self) -> str:
        """A text that no call has that is of another function, or of other arguments."""
        told = self.format, self.function, self.versions.get("fastgd"), sorted(self.digests.items())
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def differences(self, other: Call) -> str:
        """What another call has differently, in words; '' where nothing is different."""
        if other.format != self.format:
            return f"it has format {other.format}, and this version of fastgd writes format {self.format}"
        if other.function != self.function:
            return f"it is of a call of {other.function}"
        for name, now in self.versions.items():  # of libraries that are imported
            before = other.versions.get(name, now)
            if name != "python" and before != now:
                return f"it was made with {name} {before}, and here is {name} {now}"
        found = []
        for name in {**other.digests, **self.digests}:
            if other.digests.get(name) != self.digests.get(name):
                before, now = other.words.get(name, "not given"), self.words.get(name, "not given")
                found.append(f"{name} differs" if before == now else f"{name} was {before} and is {now}")
        return ", ".join(found)


def _of_data(value: Any, name: str) -> Fingerprint:
    """The fingerprint of the numbers of all fits; where one is missing, whatever it is."""
    if not isinstance(value, Items):
        return fingerprint(value, name)
    digest = hashlib.sha256()
    add_numbers(digest, value.array, None if value.mask is None else value.mask.array)
    return Fingerprint(digest.hexdigest(), f"an array {value.array.shape} of {value.array.dtype}")


@dataclass(frozen=True, eq=False)
class Block:
    """The results of fits first … stop-1 of a part of a call."""

    call: str
    part: str
    first: int
    stop: int
    arrays: dict[str, Any]  # by name
    curvatures: Curvatures | None


@dataclass(frozen=True)
class Checkpoint:
    """An open folder of a call."""

    folder: str
    call: str  # its key

    def part(self, name: str) -> Part:
        """One of the computations of the call."""
        return Part(self, name)

    def remove(self, replaced: Callable[[str], bool]) -> None:
        """Remove the blocks of those parts that others have replaced."""
        for name in _entries(self.folder):
            if (match := _BLOCK.fullmatch(name)) and replaced(match["part"]):
                _remove(self.folder, name)

    def discard(self) -> None:
        """Remove all files, of a call that fails however often it is made."""
        for name in _entries(self.folder):
            if name == CALL or _BLOCK.fullmatch(name):
                _remove(self.folder, name)


@dataclass(frozen=True)
class Part:
    """The blocks of one computation of a call."""

    checkpoint: Checkpoint
    name: str

    def blocks(self) -> list[str]:
        """The names of the files."""
        found = [(match, name) for name in _entries(self.checkpoint.folder) if (match := _BLOCK.fullmatch(name))]
        return [name for match, name in sorted(found, key=lambda one: (int(one[0]["first"]), one[1])) if match["part"] == self.name]

    def read(self, fits: Callable[[Block], bool]) -> Iterator[Block]:
        """Block after block; those that are damaged are removed, and told of in one line.

        fits: whether a block has the arrays of this call.
        """
        damaged = []
        for name in self.blocks():
            try:
                block = read_file(os.path.join(self.checkpoint.folder, name), (Block,), (Curvatures,))
                whole = (block.call, block.part) == (self.checkpoint.call, self.name) and fits(block)
            except OSError:  # it may be readable another time
                damaged.append(name)
                continue
            except (ValueError, TypeError):
                whole = False
            if whole:
                yield block
            else:
                damaged.append(name)
                _remove(self.checkpoint.folder, name)
        if damaged:
            say(
                f"fastgd: {counted(len(damaged), 'block')} of the checkpoint {in_ascii(self.checkpoint.folder)} "
                f"{'is' if len(damaged) == 1 else 'are'} damaged ({damaged[0]}{', ...' if len(damaged) > 1 else ''}): "
                "what was in there is computed again"
            )

    def keep(self, first: int, stop: int) -> None:
        """Remove the other blocks, which this one has replaced."""
        for name in self.blocks():
            if name != _name_of_block(self.name, first, stop):
                _remove(self.checkpoint.folder, name)

    def write(self, first: int, stop: int, arrays: Mapping[str, Any], curvatures: Curvatures | None) -> None:
        """Store the results of fits first … stop-1."""
        block = Block(self.checkpoint.call, self.name, first, stop, dict(arrays), curvatures)
        write_file(os.path.join(self.checkpoint.folder, _name_of_block(self.name, first, stop)), block)


def _name_of_block(part: str, first: int, stop: int) -> str:
    return f"fastgd-block-{part}-{first}-{stop}.npz"


def say(line: str) -> None:
    """Print a line on stderr, where there is one; a warning could become an error that stops."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, none
        print(line, file=sys.stderr, flush=True)


def refuse_checkpoint(value: Any, out: Any, device: int | None) -> None:
    """Raise where the option `checkpoint` is no path, or goes with no other argument."""
    if isinstance(value, Part):
        return
    name_of(value, "checkpoint")
    if out is not None:
        raise ValueError("checkpoint stores the results, and out says where else they should be: leave one of them out")
    if device is not None:
        raise ValueError("checkpoint is for data in the computer's memory: results on a GPU are not stored yet")


@contextlib.contextmanager
def open_checkpoint(path: Any, call: Call) -> Iterator[Checkpoint]:
    """The folder of a call, new or with what the same call has stored; locked while it is open."""
    folder = name_of(path, "checkpoint")
    name = in_ascii(folder)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(f"checkpoint must be a folder, new or of the same call; {name} is none")
    with contextlib.ExitStack() as opened:
        try:
            os.makedirs(folder, exist_ok=True)
            others = [one for one in _entries(folder) if one not in (CALL, LOCK) and not _BLOCK.fullmatch(one) and not _LEFT.fullmatch(one)]
            if others and CALL not in _entries(folder):
                raise ValueError(
                    f"checkpoint must be a folder, new or of the same call; {name} has other files, such as {shown(others[0])}"
                )
            opened.enter_context(_locked(folder))
            for left in filter(_LEFT.fullmatch, _entries(folder)):
                _remove(folder, left)
            _take_up(folder, call)
        except OSError as error:
            raise type(error)(error.errno, f"the checkpoint cannot be written: {error.strerror}", folder) from None
        yield Checkpoint(folder, call.key)


@contextlib.contextmanager
def opened_part(arguments: Mapping[str, Any], function: str, name: str, **data: Any) -> Iterator[Part | None]:
    """A part of the checkpoint of a call; None where none is asked for. data: as they were read."""
    if arguments["checkpoint"] is None:
        yield None
        return
    with open_checkpoint(arguments["checkpoint"], Call.of(function, arguments, None, **data)) as checkpoint:
        yield checkpoint.part(name)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the lock of the folder; raise where another call holds it."""
    descriptor = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"the checkpoint {in_ascii(folder)} is in use by another call: wait for it, or give another folder") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def _take_up(folder: str, call: Call) -> None:
    """Write which call the folder is of; raise where it is of another one."""
    path, entries = os.path.join(folder, CALL), _entries(folder)
    blocks = [name for name in entries if _BLOCK.fullmatch(name)]
    if CALL in entries:
        try:
            found = read_file(path, (Call,))
        except ValueError as error:
            _refuse_other_blocks(folder, blocks, call, str(error))
            say(f"fastgd: {CALL} of the checkpoint {in_ascii(folder)} is damaged, and written anew: its blocks say what is in them")
        else:
            differences = call.differences(found)
            if differences:
                raise ValueError(
                    f"the checkpoint {in_ascii(folder)} is of another call: {differences}; give what was given before, another folder, or "
                    "delete this one"
                )
            return
    else:
        _refuse_other_blocks(folder, blocks, call, f"{in_ascii(folder)} has no {CALL}")
    write_file(path, call)


def _refuse_other_blocks(folder: str, blocks: list[str], call: Call, why: str) -> None:
    """Raise where blocks are there that can be read, and none of them is of this call."""
    others = False
    for name in blocks:
        with contextlib.suppress(ValueError, TypeError):
            if read_file(os.path.join(folder, name), (Block,), (Curvatures,)).call == call.key:
                return
            others = True
    if others:
        raise ValueError(f"{why}, and its blocks are of another call: give another folder, or delete this one")


def _entries(folder: str) -> list[str]:
    return sorted(os.listdir(folder))


def _remove(folder: str, name: str) -> None:
    """Remove a file; what cannot be removed stays, and is passed over again."""
    with contextlib.suppress(OSError):
        Path(folder, name).unlink()
