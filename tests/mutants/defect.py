"""A planted defect: a piece of source text that is replaced by a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".py", ".cu", ".cuh")


@dataclass(frozen=True)
class Defect:
    """In `file`, named from the root of the repository, the text `right` becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]  # files, or tests as pytest names them, that should fail: the most telling first


@dataclass(frozen=True)
class CudaDefect:
    """A defect in a CUDA kernel, which the host run of the kernels should report."""

    name: str
    file: str
    right: str
    wrong: str
    sanitizer: str  # "thread", "address", or "" for a plain run
    told: str | int  # a part of what must be reported, or the exit status


def why_not(defect: Defect | CudaDefect, root: Path) -> str | None:
    """Why a defect cannot be planted, with its name and file; None if it can."""
    path = root / defect.file
    count = path.read_text(encoding="utf-8").count(defect.right) if path.is_file() else 0
    if count == 1:
        return None
    sources = [file for folder in ("fastgd", "kernels") for file in sorted((root / folder).rglob("*.*")) if file.suffix in SUFFIXES]
    others = [str(file.relative_to(root)) for file in sources if defect.right in file.read_text(encoding="utf-8")]
    told = f"the text to replace stands {count} times, not once" if path.is_file() else "there is no such file"
    return f"{defect.name}, {defect.file}: {told}; {defect.right!r} is in {others or 'no file'}"


def plant(defect: Defect | CudaDefect, root: Path) -> None:
    """Spoil the copy of the repository in `root`."""
    problem = why_not(defect, root)
    if problem:
        raise LookupError(problem)
    path = root / defect.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(defect.right, defect.wrong), encoding="utf-8")


def chosen(defects: Iterable[Defect | CudaDefect], words: list[str]) -> list[Defect | CudaDefect]:
    """The defects whose name or file holds one of the words; all of them if there are no words."""
    return [defect for defect in defects if not words or any(word in defect.name or word in defect.file for word in words)]
