"""What is finished is stored, nothing else; what cannot be stored is kept and tried again."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd
from fastgd.running import storing
from fastgd.running.pool import Control, cut, run_tasks
from fastgd.running.storing import Store, merged

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((300, 9, 2)), RNG.standard_normal((300, 9))


class Items:
    """Items that are numbers; `stored` has those that were written."""

    folder = "folder"

    def __init__(self, stored=()):
        self.stored, self.fails = list(stored), False

    def read(self):
        return list(self.stored)

    def pieces(self, first, stop):
        return [(at, min(at + 7, stop)) for at in range(first, stop, 7)]

    def write(self, first, stop):
        if self.fails:
            raise OSError(28, "No space left on device", "folder/block")
        assert 0 < stop - first <= 7
        self.stored.append((first, stop))


@pytest.fixture
def always(monkeypatch):
    """A store is due after every task."""
    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    monkeypatch.setattr(storing, "SHARE", 0)


def test_ranges():
    assert merged([(4, 6), (0, 2), (2, 3), (5, 9)]) == [(0, 3), (4, 9)]
    assert merged([]) == []


@pytest.mark.parametrize(
    ("stored", "missing"),
    [([], [(3, 20)]), ([(0, 30)], []), ([(3, 20)], []), ([(0, 5), (9, 10), (19, 25)], [(5, 9), (10, 19)]), ([(20, 25), (0, 3)], [(3, 20)])],
)
def test_what_is_missing(stored, missing):
    store = Store(Items(stored), Control(1))
    assert store.load(30) == sum(stop - first for first, stop in stored)
    assert store.missing(3, 20) == missing
    assert store.goes_on == bool(stored)


def test_all_items_are_computed_once_and_stored(always):
    items = Items([(5, 9), (30, 33)])
    store, done, lock = Store(items, control := Control(4)), [], threading.Lock()
    store.load(100)

    def compute(first, stop, counter):
        with lock:
            done.extend(range(first, stop))

    for begin in (0, 50):
        run_tasks(store.cut(50, 3, compute, begin), workers=4, inline=False, control=control, watch=lambda: None)
    store.close()
    assert sorted(done) == [k for k in range(100) if not (5 <= k < 9 or 30 <= k < 33)]
    assert merged(items.stored) == [(0, 100)]
    assert sum(stop - first for first, stop in items.stored) == 100  # each once


def test_an_item_is_stored_after_it_is_computed(always):
    items = Items()
    store = Store(items, Control(1))

    def compute(first, stop, counter):
        assert not [one for one in items.stored if one[1] > first]

    for task in store.cut(20, 2, compute):
        task(np.zeros(1))
    assert merged(items.stored) == [(0, 20)]


@pytest.mark.parametrize("way", ["error", "cancelled"])
def test_what_was_not_finished_is_not_stored(way, always):
    items = Items()
    store = Store(items, control := Control(1))

    def compute(first, stop, counter):
        if first == 6:
            if way == "error":
                raise KeyboardInterrupt
            control.cancel[0] = 1  # the kernel returned in the midst

    with pytest.raises(KeyboardInterrupt) if way == "error" else np.errstate():
        for task in store.cut(20, 2, compute):
            if not control.cancel[0]:
                task(np.zeros(1))
    store.close()
    assert merged(items.stored) == [(0, 6)]


def test_what_cannot_be_stored_is_tried_again_and_told_once(always, capsys):
    items = Items()
    items.fails = True
    store = Store(items, Control(1))
    for task in store.cut(10, 2, lambda first, stop, counter: None):
        task(np.zeros(1))
    assert items.stored == []
    items.fails = False
    store.close()
    assert merged(items.stored) == [(0, 10)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastgd: the checkpoint folder could not be written ([Errno 28] No space left on device: 'folder/block'): ")


DUE = [  # (when an item is finished, how long a store takes then, whether one is due) [s]
    (0.5, 0.0, False), (1.0, 0.1, True), (4.0, 0.0, False), (4.4, 0.0, True), (5.3, 0.0, False), (5.5, 9.0, True), (74.0, 0.0, False),
    (75.0, 0.0, True), (1000.0, 0.0, True), (1009.0, 0.0, False), (1010.5, 0.0, True),
]  # fmt: skip


def test_stores_are_due_when_they_cost_little(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(storing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    items = Items()
    store = Store(items, Control(1))
    for seconds, takes, stored in DUE:
        now[0], before = seconds, len(items.stored)
        items.write = lambda first, stop, takes=takes: (now.__setitem__(0, now[0] + takes), items.stored.append((first, stop)))
        store.note(before, before + 1)
        assert (len(items.stored) > before) == stored, seconds


def test_the_child_of_a_fork_stores_nothing(monkeypatch):
    store = Store(items := Items(), Control(1))
    store.note(0, 3)
    monkeypatch.setattr(storing.os, "getpid", lambda: -1)
    store.close()
    assert items.stored == []


def test_cut_begins_where_it_is_told():
    ranges = []
    for task in cut(5, 2, lambda first, stop, counter: ranges.append((first, stop)), 10):
        task(np.zeros(1))
    assert ranges == [(10, 12), (12, 14), (14, 15)]


# -- whole calls --------------------------------------------------------------------------------


def bytes_of(result, tmp_path):
    path = tmp_path / "result.npz"
    result.save(path)
    return path.read_bytes()


def lose_some(folder):
    """Remove every other block."""
    names = sorted(path for path in folder.iterdir() if "-block-" in path.name)
    assert len(names) > 1
    for path in names[::2]:
        path.unlink()


WEIGHTED = {"X": X, "y": Y, "sample_weight": np.abs(Y) + 0.5}
SHARED = {"X": X[0], "y": Y, "weight_decay": np.geomspace(0.1, 1.0, 5)[:, None]}
COLLINEAR = np.where(np.arange(len(X))[:, None, None] % 3 == 0, X[..., :1], X)
LABELS = RNG.integers(0, 40, 2700)
ROWS = {"X": X.reshape(2700, 2), "y": Y.reshape(2700)}
CALLS = {
    "moments": lambda **given: fastgd.fit(X, Y, lr=0.01, epochs=20, history=5, **given),
    "grid of shared data": lambda **given: fastgd.fit(X, Y[0], lr=np.geomspace(1e-3, 1, 5)[:, None], epochs=20, tol=1e-2, **given),
    "safe rates": lambda **given: fastgd.fit(X, Y, epochs=20, standardize=True, optimizer="adam", intercept=True, **given),
    "single feature": lambda **given: fastgd.fit(X[..., :1], Y, lr=0.5, epochs=3, intercept=True, **given),
    "stream": lambda **given: fastgd.fit(X, Y, lr=0.01, epochs=5, algorithm="stream", sample_weight=np.abs(Y), **given),
    "mini-batches": lambda **given: fastgd.fit(X, Y, lr=0.01, epochs=5, batch_size=4, seed=3, history=True, **given),
    "validation": lambda **given: fastgd.fit(
        X, Y, lr=0.01, epochs=40, X_val=X[0], y_val=Y[0], patience=2, restore_best=True, schedule=fastgd.schedules.StepLR(5), **given
    ),
    "Moments": lambda **given: fastgd.fit(fastgd.compress(X, Y), lr=0.01, epochs=20, **given),
    "torch": lambda **given: fastgd.fit(X[:20], Y[:20], lr=0.01, epochs=3, backend="torch", **given),
    "numpy": lambda **given: fastgd.fit(X[:20], Y[:20], lr=0.01, epochs=3, backend="numpy", **given),
    "statistics": lambda **given: fastgd.fit(X, Y, lr=0.01, epochs=20, stats=True, **given),
    "groups": lambda **given: fastgd.fit_groups(**ROWS, groups=LABELS, lr=0.01, epochs=20, stats=True, intercept=True, **given),
    "groups, solved": lambda **given: fastgd.solve_groups(**ROWS, groups=LABELS, stats=True, **given),
    "solved": lambda **given: fastgd.solve(X, Y, intercept=True, stats=True, **given),
    "solved, a third is collinear": lambda **given: fastgd.solve(COLLINEAR, Y, intercept=True, **given),
    "solved, shared data": lambda **given: fastgd.solve(**SHARED, intercept=True, **given),
    "solved, ridge, standardized": lambda **given: fastgd.solve(**WEIGHTED, ridge=0.1, standardize=True, intercept=True, **given),
    "solved by samples": lambda **given: fastgd.solve(X[:, :2], Y[:, :2], intercept=True, **given),
    "solved Moments": lambda **given: fastgd.solve(fastgd.compress(X, Y), stats=True, **given),
    "rolling": lambda **given: fastgd.fit_rolling(**ROWS, window=7, step=3, stats=True, **given),
    "sweep": lambda **given: fastgd.sweep(
        X[:20], Y[:20], grid={"lr": np.geomspace(1e-3, 1, 20), "optimizer": ["sgd", "adam"]}, X_val=X[0], y_val=Y[0], **given
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_results_go_on_from_what_is_there(name, tmp_path, monkeypatch, request):
    """With no block, some and all blocks the bytes are those of the call without a checkpoint."""
    of_references = name in ("torch", "numpy")
    if name == "torch":
        request.getfixturevalue("torch")
    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    monkeypatch.setattr(storing, "SHARE", 0)
    monkeypatch.setattr(storing, "MOST_BYTES", 1000 if of_references else 20_000)
    monkeypatch.setattr("fastgd.planning.grouped.MOST_OF_A_BATCH", 6)
    call, folder = CALLS[name], tmp_path / "checkpoint"
    whole = bytes_of(call(), tmp_path)
    done = []
    assert whole == bytes_of(call(checkpoint=folder, progress=lambda done_, total: done.append((done_, total))), tmp_path)
    lose_some(folder)
    assert whole == bytes_of(call(checkpoint=folder), tmp_path)
    again = []
    assert whole == bytes_of(call(checkpoint=folder, progress=lambda done_, total: again.append((done_, total))), tmp_path)
    assert again[-1] == done[-1]
    assert again[-1][0] == again[-1][1]


def test_groups_go_on_in_batches_of_another_size(tmp_path, monkeypatch):
    """As after a kill for want of memory, with a smaller limit."""
    from fastgd.running import grouped

    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    monkeypatch.setattr(storing, "SHARE", 0)
    monkeypatch.setattr("fastgd.planning.grouped.MOST_OF_A_BATCH", 6)
    folder, given = tmp_path / "folder", {**ROWS, "groups": LABELS, "stats": True, "intercept": True}
    whole = fastgd.solve_groups(**given)
    fastgd.solve_groups(**given, checkpoint=folder)
    lose_some(folder)
    left = {number for path in folder.glob("*-batches-*") for number in range(*map(int, path.stem.split("-")[3:]))}
    monkeypatch.setattr("fastgd.planning.grouped.MOST_OF_A_BATCH", 4)
    ran, run_batch = [], grouped._run_batch
    monkeypatch.setattr(grouped, "_run_batch", lambda *a: ran.extend(range(a[4], a[4] + len(a[3]))) or run_batch(*a))
    again = fastgd.solve_groups(**given, checkpoint=folder, memory_limit="200 MiB")
    assert sorted(ran) == [number for number in range(40) if number not in left]
    for name in ("w", "intercept", "loss", "n_used", "rank"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    np.testing.assert_array_equal(again.stats.std_error, whole.stats.std_error)


def test_robust_fits_go_on_after_the_last_step(tmp_path, monkeypatch):
    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    monkeypatch.setattr(storing, "SHARE", 0)
    from fastgd import reweighting

    solved, solve, folder, given = [], reweighting.solve, tmp_path / "folder", {"X": X, "y": Y, "loss": "bisquare", "intercept": True}
    whole, least = fastgd.robust(**given), 3

    def counted(*arguments, **options):
        solved.append(1)
        if len(solved) == least + 2:
            raise KeyboardInterrupt
        return solve(*arguments, **options)

    monkeypatch.setattr(reweighting, "solve", counted)
    with pytest.raises(KeyboardInterrupt):
        fastgd.robust(**given, checkpoint=folder)
    assert [path.name for path in folder.glob("*-block-*")] == [f"fastgd-block-steps-0-{least + 1}.npz"]
    monkeypatch.setattr(reweighting, "solve", solve)
    steps, look = [], reweighting._Iterations._look
    monkeypatch.setattr(reweighting._Iterations, "_look", lambda *a: steps.append(1) or look(*a))
    again = fastgd.robust(**given, checkpoint=folder)
    assert len(steps) == int(whole.robust.iterations.max()) - least - 1
    assert bytes_of(again, tmp_path) == bytes_of(whole, tmp_path)
    with pytest.raises(ValueError, match="is of another call: loss was 'bisquare' and is 'huber', y differs"):
        fastgd.robust(**{**given, "loss": "huber", "y": Y + 1}, checkpoint=folder)


def test_other_windows_are_refused(tmp_path):
    fastgd.fit_rolling(**ROWS, window=7, checkpoint=tmp_path / "folder")
    with pytest.raises(ValueError, match="is of another call: window was 7 and is 8, X differs"):
        fastgd.fit_rolling(X=-ROWS["X"], y=ROWS["y"], window=8, checkpoint=tmp_path / "folder")


def test_a_call_that_always_fails_leaves_nothing(tmp_path, monkeypatch):
    """Else the call on the mended data would be refused."""
    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    bad = X.copy()
    bad[-1, 0, 0] = np.nan
    rows = {**ROWS, "X": bad.reshape(2700, 2)}
    for call in (lambda **given: fastgd.fit(bad, Y, threads=1, **given), lambda **given: fastgd.fit_groups(**rows, groups=LABELS, **given)):
        with pytest.raises(ValueError, match="X is not finite: nan "):
            call(checkpoint=tmp_path / "folder")
        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["lock"]
        assert np.isnan(call(checkpoint=tmp_path / "folder", nan_policy="propagate").w).any()
        for path in (tmp_path / "folder").iterdir():
            path.unlink()


def test_a_batch_of_groups_is_stored_as_it_goes_on(tmp_path, monkeypatch):
    """The interrupt comes while half of the groups wait, however fast the machine is."""
    monkeypatch.setattr(storing, "SHORTEST", 0.0)
    run = Store._run

    def run_or_wait(self, function, first, stop, counter):
        while first >= 150 and not self._control.cancel[0]:
            time.sleep(0.001)
        run(self, function, first, stop, counter)

    def interrupt(done, total):
        if done > total / 3:
            raise KeyboardInterrupt

    def stored():
        return [path.name.split("-")[2:] for path in sorted((tmp_path / "folder").iterdir()) if "-block-" in path.name]

    groups = np.repeat(np.arange(300), 9)
    call = {**ROWS, "groups": groups, "lr": 0.01, "epochs": 50_000, "threads": 2, "checkpoint": tmp_path / "folder"}
    monkeypatch.setattr(Store, "_run", run_or_wait)
    with pytest.raises(KeyboardInterrupt):
        fastgd.fit_groups(**call, progress=interrupt)
    monkeypatch.setattr(Store, "_run", run)
    found = stored()
    assert {part for part, *_ in found} == {"batch0.300"}
    assert 0 < sum(int(stop.removesuffix(".npz")) - int(first) for _, first, stop in found) < 300
    again = fastgd.fit_groups(**call)
    assert stored() == [["batches", "0", "300.npz"]]
    assert bytes_of(again, tmp_path) == bytes_of(fastgd.fit_groups(**{**call, "checkpoint": None}), tmp_path)
