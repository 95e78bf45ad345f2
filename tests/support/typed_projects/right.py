"""A user's program, as strict type checkers see it: nothing in it is wrong."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastgd
from fastgd.testing import Disagreement, assert_agrees, nist, problems


def sweep(X: NDArray[np.float64], y: NDArray[np.float64], rates: Sequence[float]) -> fastgd.FitResult:
    optimizer = fastgd.SGD(momentum=0.9, nesterov=[True, False])
    return fastgd.fit(X, y, lr=np.array(rates)[:, None], epochs=100, optimizer=optimizer, history=10, tol=1e-6, progress=print)


def losses(result: fastgd.FitResult) -> list[float]:
    if result.history is None:
        return []
    epochs: list[int] = result.history.epoch.tolist()
    return [float(loss) for loss in result.history.loss[: len(epochs)]]


def status_of(result: fastgd.FitResult) -> str:
    return str(fastgd.Status(int(result.status)))


def main(path: Path) -> None:
    data = np.arange(12.0).reshape(2, 6)
    fastgd.fit([1.0, 2, 3], (2, 4, 6), lr=0.1, w0=0.5, intercept=True, intercept0=1, dtype="float32")
    fastgd.fit([[1, 2], [3, 4]], data[0, :2], optimizer="adam", dtype=np.float64, memory_limit="2 GiB", backend="cpu", threads=2)
    fastgd.fit([1, None, 3, 4], [2.0, 4.0, 6.0, None], nan_policy="omit", nodata={"y": [255, np.float32(0.5)], "X": None})
    fastgd.solve(array("d", [1, 2, 3]), range(3), weight_decay=array("d", [0.5]), nodata=np.array([7, 8]))
    X = data[..., None]
    fastgd.fit(X, data, lr=[[1e-4], [2e-4]], nodata=(-9999, np.int16(-3)), optimizer=fastgd.SGD(momentum=[0.5, 0]))
    fastgd.fit(X, data, optimizer=fastgd.Adam, out={"w": np.empty((2, 1))}, sample_weight=[1, 1, 1, 1, 1, 0.5], reduction="sum")
    fastgd.fit(X, [data[0], data[1]], optimizer=fastgd.Adam(lr=[0.1, 0.2], betas=(0.9, [0.99, 0.999])), dtype=data.dtype)
    result = fastgd.fit(data[0], data[1], nan_policy="omit", min_samples=2, algorithm="stream", history=True)
    further = fastgd.fit(data[0], data[1], state=result.state)
    points = fastgd.designs.sample({"lr": fastgd.designs.log_uniform(1e-3, 1), "optimizer": fastgd.designs.choice(["sgd", "adam"])}, 3)
    found: fastgd.SweepResult = fastgd.sweep(data[0], data[1], points=points, epochs=9, X_val=data[0], y_val=data[1], intercept=True)
    print(found.best()["lr"], found.sel(point=1).summary(), fastgd.sweep(X, data, grid={"lr": [0.1, 0.2]}, optimizer=fastgd.SGD).dims)
    result.save(path)
    loaded: fastgd.FitResult = fastgd.load(path, max_bytes=10**6)
    names: tuple[str, ...] = loaded.state.algorithm_names
    steps: int = int(loaded.state.epoch.sum())
    solved = fastgd.solve(X, data, weight_decay=[0.1, 1.0], intercept=True)
    print(further.summary(["x"]), solved.rank, solved.predict(X), names, steps, losses(result), status_of(result), sweep(X, data, [0.1]))
    parts = [fastgd.compress(X, data, intercept=True), fastgd.compress(X, [data[0], data[1]], intercept=True, progress=print)]
    merged: fastgd.Moments = fastgd.Moments.merge(parts) + parts[0]
    merged.select([0]).save(path)
    print(fastgd.fit(merged, lr=0.1).w, fastgd.solve(merged.select(slice(1))).w, merged.nbytes)
    stable: fastgd.Stability = fastgd.stability(merged, weight_decay=[0.1])
    print(fastgd.stability(X, data, reduction="sum").lr_limit.max(), stable.epochs(1e-3, lr=0.1), stable.lr_limit_of([0.5, 0.9]))
    report = fastgd.verify(["cpu", "numpy"], data[0], data[1], lr=0.1, epochs=20, optimizer=fastgd.AdamW())
    ok: bool = report.ok and report.verdicts[0].ok
    where: str = str(report.to_html(path))
    if report.first is not None and report.diagnosis is not None:
        print(report.first.epoch, report.diagnosis.fix.upper(), ok, where)
    cause: fastgd.Diagnosis = fastgd.diagnose([1.0, 2.0], [2.0, 4.0], [0.0, 0.5], lr=0.1)
    try:
        assert_agrees("numpy", data[0], data[1], lr=0.1, epochs=20)
    except Disagreement as error:
        print(error.report.tau_w, cause.codes)
    print(fastgd.info().kernel_cache.folder, nist("norris").beta, problems()[0].lr_limit("sum"), fastgd.__version__)
