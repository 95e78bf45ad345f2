"""save and load: the same bits, whole or not at all, and nothing is trusted that was not checked.

The format is written down here a second time: a file made by hand from bytes is read, so that old
files stay readable.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastgd
from fastgd import FitResult, History, State, Status
from fastgd.results import file_format as storage
from tests.support.saved_files import members, npy, same, seal
from tests.support.saved_results import CASES, LINE, X, Y


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "result.npz"


@pytest.fixture
def saved(path: Path) -> Path:
    CASES["grid"].save(path)
    return path


# -- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(name: str, path: Path) -> None:
    result = CASES[name]
    assert result.save(path) is None
    again = fastgd.load(path)
    assert same(again, result)
    assert repr(again) == repr(result)
    assert again.summary() == result.summary()
    first = path.read_bytes()
    again.save(str(path))
    assert path.read_bytes() == first, "the same result makes the same file"


def test_payloads_zeros_and_subnormals_survive(path: Path) -> None:
    values = np.array([0x7FF8000000000123, 0xFFF0DEAD00000001, 0x8000000000000000, 1, 0x7FF0000000000000], dtype=np.uint64).view(np.float64)
    result = fastgd.fit(X[:5], Y[:5], epochs=1)
    strange = dataclasses.replace(result, loss=values, lr=values[::-1], w=np.asfortranarray(np.tile(values[:, None], (1, 3))))
    strange.save(path)
    again = fastgd.load(path)
    assert same(again, strange)
    assert again.loss.view(np.uint64).tolist() == values.view(np.uint64).tolist()
    assert again.w.flags.writeable


@pytest.mark.parametrize("name", ["one number", "one fit", "grid", "float32", "converged", "manual"])
def test_a_loaded_state_continues_bit_for_bit(name: str, path: Path) -> None:
    data = {
        "one number": (LINE, 2 * LINE, {"lr": 0.1}),
        "one fit": (X[0], Y[0], {"lr": 0.1, "intercept": True}),
        "grid": (X, Y, {"lr": 0.1, "intercept": True, "optimizer": fastgd.SGD(momentum=0.3)}),
        "float32": (X.astype("f"), Y.astype("f"), {"lr": 0.1}),
        "converged": (X, Y, {"tol": 1e-3}),
        "manual": (LINE, 2 * LINE, {"lr": 0.1, "backend": "numpy"}),
    }
    x, y, options = data[name]
    CASES[name].save(path)
    further = fastgd.fit(x, y, **options, epochs=5, history=True, state=fastgd.load(path).state)
    assert same(further, fastgd.fit(x, y, **options, epochs=5, history=True, state=CASES[name].state))


def test_what_a_class_gains_later_is_saved_and_what_a_file_lacks_gets_its_default(path: Path) -> None:
    @dataclasses.dataclass(frozen=True, eq=False)
    class NewState(State):
        later: np.ndarray = dataclasses.field(default_factory=lambda: np.ones(2))

    NewState.__name__ = "State"
    result = CASES["one fit"]
    inside = {each.name: getattr(result.state, each.name) for each in dataclasses.fields(State)}
    storage.write_file(path, dataclasses.replace(result, state=NewState(**inside, later=np.array([0.9, 0.99]))))
    again = storage.read_file(path, (FitResult, History, NewState, Status))
    assert again.state.later.tolist() == [0.9, 0.99]
    with pytest.raises(ValueError, match=r"holds State\.later, which this version of fastgd does not know: it was saved by a newer one"):
        fastgd.load(path)
    result.save(path)
    assert storage.read_file(path, (FitResult, History, NewState, Status)).state.later.tolist() == [1, 1]


def test_a_field_that_an_old_file_lacks_is_named(saved: Path) -> None:
    content = json.loads(members(saved)["fastgd.json"])
    del content["content"]["fields"]["state"]["fields"]["slots"]
    crafted = seal(members(saved) | {"fastgd.json": json.dumps(content).encode()})
    saved.write_bytes(crafted)
    with pytest.raises(ValueError, match=r"lacks State\.slots: it was saved by an older version"):
        fastgd.load(saved)


def test_numpy_reads_the_arrays(saved: Path) -> None:
    result = CASES["grid"]
    with np.load(saved, allow_pickle=False) as arrays:
        assert arrays["w"].tobytes() == result.w.tobytes()
        assert arrays["state.slots"].tobytes() == result.state.slots.tobytes()
        assert arrays["history.loss"].tobytes() == result.history.loss.tobytes()
        assert arrays["lr"].tolist() == result.lr.tolist()
        assert json.loads(arrays["fastgd.json"])["content"]["fields"]["explanation"] == result.explanation
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_versions_are_those_of_the_fit(path: Path) -> None:
    result = dataclasses.replace(CASES["one fit"], versions={"fastgd": "0.0.1", "numba": "0.1"})
    result.save(path)
    assert fastgd.load(path).versions == {"fastgd": "0.0.1", "numba": "0.1"}
    assert {"fastgd", "python", "numpy", "numba"} <= CASES["one fit"].versions.keys()
    assert CASES["one fit"].versions["numpy"] == np.__version__


def test_loads_without_torch_and_numba(saved: Path) -> None:
    code = """if True:
        import sys
        sys.modules.update(torch=None, numba=None, llvmlite=None, pandas=None, matplotlib=None)
        import fastgd
        result = fastgd.load(sys.argv[1])
        result.predict([[1.0, 2.0, 3.0]])
        print(result.summary())
        loaded = {name for name, module in sys.modules.items() if module is not None}
        assert not loaded & {"torch", "numba", "llvmlite", "pandas", "matplotlib", "pickle5"}, loaded"""
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == CASES["grid"].summary()


# -- whole or not at all ---------------------------------------------------------------------------


def left_over(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".fastgd-")]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_when_writing_fails_the_old_file_stays(saved: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        CASES["one fit"].save(saved)
    assert saved.read_bytes() == before
    assert left_over(saved.parent) == []


def test_what_cannot_be_saved_is_named_and_leaves_nothing(saved: Path) -> None:
    before = saved.read_bytes()
    for field, value, said in (
        ("w", np.array([[1, None]]), "w has Python objects: only numbers, text and dates can be saved"),
        ("w", np.array([1j]), "w has dtype complex128: only numbers and booleans can be saved"),
        ("explanation", {1, 2}, "explanation is a set, which cannot be saved"),
        ("explanation", "x" * 2**20, "the text of the result takes"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            dataclasses.replace(CASES["one fit"], **{field: value}).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_the_disk_has_it_before_the_name_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(fd: int) -> None:
        did.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"{os.fstat(fd).st_size} bytes")
        fsync(fd)

    def watched_replace(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent
        did.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    CASES["grid"].save(path)
    assert did == [f"{path.stat().st_size} bytes", "rename", "folder"]


SAVE_FOR_EVER = """
import sys, numpy, fastgd
results = [fastgd.load(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for result in results:
        result.save(sys.argv[1])
"""


def test_killed_while_saving(tmp_path: Path) -> None:
    """kill -9 at random moments: the name leads to one whole result or to the other."""
    target = tmp_path / "target.npz"
    rng = np.random.default_rng(1)
    big = {}
    for k, n in enumerate((20_000, 30_000)):
        x, y = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
        big[n] = tmp_path / f"{k}.npz"
        fastgd.fit(x[..., None], y, lr=0.01, epochs=2, history=True).save(big[n])
    contents = {path.read_bytes() for path in big.values()}
    fastgd.load(big[20_000]).save(target)
    for _ in range(3):  # the campaign kills hundreds
        process = subprocess.Popen([sys.executable, "-P", "-c", SAVE_FOR_EVER, target, *big.values()], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.0, 0.25)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert target.read_bytes() in contents
        assert fastgd.load(target).loss.size in big


def test_the_name_the_mode_and_the_link_are_kept(tmp_path: Path) -> None:
    plain, link = tmp_path / "plain.npz", tmp_path / "link.npz"
    mask = os.umask(0o027)
    try:
        CASES["one fit"].save(plain)
    finally:
        os.umask(mask)
    assert sorted(os.listdir(tmp_path)) == ["plain.npz"]
    assert stat.S_IMODE(plain.stat().st_mode) == 0o640
    plain.chmod(0o604)
    link.symlink_to(plain)
    CASES["grid"].save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(plain.stat().st_mode) == 0o604
    assert same(fastgd.load(plain), CASES["grid"])


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no such folder: '{tmp_path}/nowhere'"):
        CASES["one fit"].save(tmp_path / "nowhere" / "result.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match="is not an ordinary file"):
        CASES["one fit"].save(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match=r"pipe\.npz is not an ordinary file: it cannot be replaced"):
        CASES["one fit"].save(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["g", "g.npz", "g.dat", b"g", ".hidden", "größe.v1"])
def test_the_ending_is_added_as_numpy_does(name: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = os.fsdecode(name)
    np.savez(plain, w=1)
    (theirs,) = os.listdir()
    os.remove(theirs)
    Path(plain).write_bytes(b"something older of that name") if not plain.endswith(".npz") else None
    CASES["one fit"].save(name)
    assert {theirs} == set(os.listdir()) - ({plain} - {theirs})
    for again in (name, theirs, Path(plain)):
        assert same(fastgd.load(again), CASES["one fit"])


def test_a_file_without_the_ending_is_read_too(saved: Path, tmp_path: Path) -> None:
    saved.rename(tmp_path / "renamed")
    assert same(fastgd.load(tmp_path / "renamed"), CASES["grid"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fastgd.load(tmp_path / "nowhere")


# -- the format ------------------------------------------------------------------------------------


def test_a_file_made_by_hand_is_read(path: Path) -> None:
    """Format 1, from its description: it must stay readable."""

    def array(values: list, dtype: str, shape: tuple[int, ...]) -> bytes:
        return npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}", np.array(values, dtype).tobytes())

    inside = {
        "w.npy": array([2.0], "<f8", ()), "loss.npy": array([0.25], "<f8", ()), "lr.npy": array([0.1], "<f8", ()),
        "epochs.npy": array([20], "<i8", ()), "n_used.npy": array([4], "<i8", ()), "state.w.npy": array([2.0], "<f8", (1,)),
        "state.slots.npy": array([0.0], "<f8", (1, 1)), "state.epoch.npy": array([20], "<i8", ()),
        "state.algorithm.npy": array([1], "|i1", ()), "state.status.npy": array([0], "|i1", ()),
        "state.products.npy": array([], "<f8", (0,)),
    }  # fmt: skip
    scalars = {name: {"scalar": name} for name in ("w", "loss", "lr", "epochs", "n_used")}
    state = {name: {"array": f"state.{name}"} for name in ("w", "slots", "products", "epoch", "algorithm", "status")}
    content = {
        "class": "FitResult",
        "fields": scalars
        | {"status": {"enum": "Status", "member": "COMPLETED"}, "backend": "cpu", "algorithm": "moments", "explanation": "by hand"}
        | {"state": {"class": "State", "fields": state | {"optimizer": "sgd", "intercept": False, "dtype": "float64"}}}
        | {"versions": {"table": {"fastgd": "0.1.0"}}, "_one_feature": True},
    }
    path.write_bytes(seal({"fastgd.json": json.dumps({"format": 1, "content": content}).encode()} | inside))
    result = fastgd.load(path)
    assert (result.w, result.loss, result.status, result.explanation, result.history) == (2.0, 0.25, Status.COMPLETED, "by hand", None)
    assert result.predict([5.0]).tolist() == [10.0]
    assert fastgd.fit(LINE, 2 * LINE, lr=0.1, epochs=1, state=result.state).state.epoch == 21
