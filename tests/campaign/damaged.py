"""Damaged files and states: each is refused in words, or read to the values that were written."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastgd
from fastgd.cli import verify as command
from fastgd.kernels.cpu.simd import disk_cache
from tests.campaign import nasty
from tests.campaign.attack import Attack, Trial
from tests.campaign.damaging import crafted, damage, damage_text
from tests.campaign.drawing import NAMES, Draw, value_of
from tests.campaign.surroundings import is_a_sentence
from tests.support.saved_files import same

READ = (ValueError, OSError)  # what reading may raise
EXPRESSIONS = NAMES | nasty.NAMES


def equal(one: Any, other: Any) -> bool:
    """The same values, and of arrays the same bits. Of a table of arrays some may be gone: an .npz
    says nowhere how many it should have, and what `verify` needs it asks for by name."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(name in other and same(value, other[name]) for name, value in one.items())
    return same(one, other)


@dataclasses.dataclass
class Target:
    """A reader, and the files that it is given."""

    name: str
    ending: str
    whole: list[tuple[bytes, Any]]  # files, and the values in them
    read: Callable[[Path], Any]
    how: str  # reading as a program, of the file `path`
    change: Callable[[Draw, bytes], bytes] = damage
    may_differ: bool = False  # a file that was made anew, with a right checksum, may hold other values

    def attack(self, trial: Trial, draw: Draw) -> None:
        """Damage one file and read it."""
        data, values = draw.one(self.whole)
        damaged = self.change(draw, data)
        path = trial.folder / f"damaged{self.ending}"
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = self.read(path)
        except BaseException as error:
            if why := is_a_sentence(error, READ):
                trial.failed("internal exception", f"{self.name}: {type(error).__name__}: {str(error)[:300]}: {why}", self.program(damaged))
        else:
            if not self.may_differ and damaged != data and found is not None and not equal(found, values):
                trial.failed("read wrong", f"{self.name}: other values, and no error", self.program(damaged))
        trial.tried()

    def program(self, damaged: bytes) -> str:
        """A program that reads the same file."""
        path = f"Path(tempfile.mkdtemp()) / 'damaged{self.ending}'"
        return f"import tempfile\nfrom pathlib import Path\n\npath = {path}\npath.write_bytes({damaged!r})\n{self.how}\n"


# -- saved results ---------------------------------------------------------------------------------


def use(result: Any) -> Any:
    """What a user does with a result that was read."""
    repr(result), result.summary(), repr(result.state), result._repr_html_()
    return result


def load(path: Path) -> Any:
    return use(fastgd.load(path))


def results() -> list[Any]:
    """Results of a few kinds."""
    x = np.array([1.0, 2, 3, 4])
    X = np.random.default_rng(5).standard_normal((2, 6, 3))
    return [
        fastgd.fit(x, 2 * x, lr=0.1, epochs=3),
        fastgd.fit(X, X.sum(-1), lr=0.1, epochs=4, history=2, intercept=True, optimizer=fastgd.Adam(amsgrad=True)),
        fastgd.fit(X, X.sum(-1), epochs=4, tol=0.5, standardize=True, dtype="float32"),
        fastgd.solve(X, X.sum(-1), intercept=True),
    ]


# -- the kernel cache ------------------------------------------------------------------------------

KEY = disk_cache._key("planted", "float64")


def cached(folder: Path) -> tuple[bytes, bytes, Path]:
    """(a file of the cache, what it holds, its path). The payload is no kernel, never loaded."""
    payload = pickle.dumps(list(range(300)))
    disk_cache._write(folder, KEY, payload)
    path = disk_cache._file(folder, KEY)
    return path.read_bytes(), payload, path


def read_cached(path: Path) -> bytes | None:
    """What the cache would load; None: it would compile anew."""
    return disk_cache._read(path.parent, KEY)


# -- tables and histories for `fastgd verify` ------------------------------------------------------

TABLE = "time,x1,x2,target\n" + "".join(f"{t},{t * 0.25 - 3},{(-1) ** t * 1.5e-3 * t},{3 * t + 0.125}\n" for t in range(12))


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return command._read_data(path, "target", "x1,x2", None)


def plain_reading(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """What a table of plain numbers says, read by hand; None where it is not one."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    lines = [line for line in text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
    if len(lines) < 2:
        return None
    names = [name.strip() for name in lines[0].split(",")]
    if '"' in lines[0]:
        return None
    wanted = ("x1", "x2", "target")
    if any(names.count(name) != 1 for name in wanted):
        return None
    rows = []
    for line in lines[1:]:
        cells = [cell[1:-1] if cell[:1] == cell[-1:] == '"' != cell else cell for cell in line.split(",")]
        cells = [cell.strip() for cell in cells]
        if len(cells) != len(names) or '"' in "".join(cells):
            return None
        try:
            rows.append([float(cells[names.index(name)]) for name in wanted])
        except ValueError:
            return None
        if any("_" in cells[names.index(name)] for name in wanted):
            return None
    numbers = np.array(rows)
    return numbers[:, :-1], numbers[:, -1]


class Table(Target):
    """A damaged table may be one of other numbers: then these must be read, and nothing else."""

    def attack(self, trial: Trial, draw: Draw) -> None:
        data, _ = draw.one(self.whole)
        damaged = damage_text(draw, data)
        path = trial.folder / "damaged.csv"
        path.write_bytes(damaged)
        wanted = plain_reading(damaged)
        try:
            X, y = self.read(path)
        except BaseException as error:
            if why := is_a_sentence(error, READ):
                trial.failed("internal exception", f"{self.name}: {type(error).__name__}: {str(error)[:300]}: {why}", self.program(damaged))
        else:
            if wanted is None or not (np.array_equal(X, wanted[0], equal_nan=True) and np.array_equal(y, wanted[1], equal_nan=True)):
                trial.failed("read wrong", f"{self.name}: {X.tolist()}, {y.tolist()}; by hand {wanted}", self.program(damaged))
        trial.tried()


def read_history(path: Path) -> dict[str, np.ndarray]:
    return command._read_npz(path)


# -- states ----------------------------------------------------------------------------------------


STATE_PROGRAM = """import dataclasses
from decimal import Decimal
from fractions import Fraction
import numpy as np
from numpy import array, inf, nan
import fastgd
from tests.campaign.damaged import go_on, states
from tests.campaign.nasty import Raises, RaisesAsArray, itself, nested

state = states()[{number}]
there = state.{name}
print(go_on(dataclasses.replace(state, {name}={text})))
"""


def go_on(state: Any) -> Any:
    """Two epochs more."""
    y = X_OF_STATES.sum(-1)
    return fastgd.fit(X_OF_STATES, y, lr=0.1, epochs=2, state=state, optimizer=state.optimizer, intercept=state.intercept)


def attack_state(trial: Trial, draw: Draw, states: list[Any]) -> None:
    """Continue from a state with a field that is wrong."""
    state = draw.one(states)
    names = [field.name for field in dataclasses.fields(state)]
    name = draw.one(names)
    text = draw.one(nasty.NASTY)
    value = value_of(text, EXPRESSIONS)
    if draw.chance(0.5):
        there = getattr(state, name)
        if isinstance(there, np.ndarray):
            text = draw.one(
                (
                    "-{}",
                    "{} + 0.5",
                    "{} + 100",
                    "{}.astype('f4')",
                    "{}[..., None]",
                    "{}.tolist()",
                    "{}.ravel()[:1]",
                    "{} * nan",
                    "{} * 1j",
                    "{}.astype('i1')",
                )
            )
            text = text.format("there")
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = value_of(text, {**EXPRESSIONS, "there": there})
    program = STATE_PROGRAM.format(number=states.index(state), name=name, text=text)
    trial.doing(program)
    try:
        changed = dataclasses.replace(state, **{name: value})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fastgd.fit(
                X_OF_STATES, X_OF_STATES.sum(-1), lr=0.1, epochs=2, state=changed, optimizer=state.optimizer, intercept=state.intercept
            )
    except BaseException as error:
        if why := is_a_sentence(error):
            trial.failed("internal exception", f"state.{name}: {type(error).__name__}: {str(error)[:300]}: {why}", program)
    trial.tried()


X_OF_STATES = np.random.default_rng(3).standard_normal((2, 6, 3))


def states() -> list[Any]:
    """States of a few rules."""
    options = ({}, {"optimizer": "adam"}, {"optimizer": "nadam", "intercept": True}, {"optimizer": fastgd.SGD(momentum=0.5)})
    return [fastgd.fit(X_OF_STATES, X_OF_STATES.sum(-1), lr=0.1, epochs=2, **each).state for each in options]


def targets(folder: Path) -> list[Target]:
    """What is read, with whole files of each kind."""
    saved = []
    for number, result in enumerate(results()):
        result.save(folder / f"whole{number}.npz")
        saved.append(((folder / f"whole{number}.npz").read_bytes(), result))
        read = fastgd.load(folder / f"whole{number}.npz")
        saved[-1] = (saved[-1][0], read)
    kernels = folder / "kernels"
    kernels.mkdir(mode=0o700)
    whole, payload, path = cached(kernels)
    history = folder / "history.npz"
    arrays = {"w": np.arange(8.0).reshape(4, 2), "loss": np.arange(4.0)}
    np.savez(history, **arrays)
    cache = Target(
        "kernel cache", path.suffix, [(whole, payload)], lambda damaged: read_cached(damaged.replace(path)),
        "from fastgd.kernels.cpu.simd import disk_cache\nprint(disk_cache._parts(path.read_bytes()))",
    )  # fmt: skip
    return [
        Target("saved result", ".npz", saved, load, "import fastgd\nprint(fastgd.load(path))"),
        Target("saved result with a right checksum", ".npz", saved, load,
               "from tests.campaign.damaged import load\nprint(load(path))", crafted, True),
        cache,
        Table("table", ".csv", [(TABLE.encode(), None), (TABLE.replace("\n", "\r\n").encode(), None)], read_table,
              "from tests.campaign.damaged import read_table\nprint(read_table(path))"),
        Target("history", ".npz", [(history.read_bytes(), arrays)], read_history,
               "from tests.campaign.damaged import read_history\nprint(read_history(path))"),
    ]  # fmt: skip


def run(trial: Trial) -> None:
    """Damage, read, compare."""
    draw = Draw(trial.rng)
    kinds, known = targets(trial.folder), states()
    while trial.time_is_left():
        number = int(draw.rng.integers(len(kinds) + 1))
        if number < len(kinds):
            trial.doing(f"# a damaged {kinds[number].name}")
            kinds[number].attack(trial, draw)
        else:
            attack_state(trial, draw, known)


ATTACK = Attack(
    name="damaged",
    promise="a damaged file is refused in words, or read to the same values",
    how="Saved results, files of the kernel cache, tables and histories for `fastgd verify` with bits flipped, bytes cut off, inserted and "
    "exchanged; saved results that were crafted with a right checksum; states with a field of another kind. A kernel is never loaded.",
    unit="damaged inputs",
    share=2,
    run=run,
)
