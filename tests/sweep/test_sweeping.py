"""`sweep`: each cell is the single fit with its values, by ==; validation, memory, progress."""

from __future__ import annotations

import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Adam, Status

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(4, 20, 3)), rng.normal(size=(4, 20))
x = np.array([1.0, 2, 3, 4])
OF_CELLS = ("loss", "excess_loss", "epochs", "status", "n_used", "lr", "w", "intercept")


def same(cell, single, names=OF_CELLS):
    for name in names:
        found, expected = getattr(cell, name), getattr(single, name)
        if expected is None:
            assert found is None
            continue
        assert np.array_equal(found, expected, equal_nan=True), name
        assert np.asarray(found).dtype == np.asarray(expected).dtype, name


def test_a_grid_equals_single_fits():
    """Axes in the order of the grid, then those of the data; a diverged cell too."""
    grid = {"momentum": [0.0, 0.9], "lr": [1e-3, 0.1, 1e3], "weight_decay": [0.0, 0.1]}
    found = fastgd.sweep(X, Y, grid=grid, epochs=60, intercept=True, history=7)
    assert found.dims == ("momentum", "lr", "weight_decay", "fit")
    assert found.loss.shape == (2, 3, 2, 4)
    assert (found.status == Status.DIVERGED).any()
    for momentum, lr, decay in itertools.product(*grid.values()):
        cell = found.sel(lr=lr, momentum=momentum, weight_decay=decay)
        for k in range(4):
            rule = SGD(momentum=momentum, weight_decay=decay)
            single = fastgd.fit(X[k], Y[k], lr=lr, optimizer=rule, epochs=60, intercept=True, history=7)
            same(cell.sel(fit=k), single)
            same(cell.sel(fit=k).history, single.history, ("epoch", "w", "loss", "intercept"))


def test_a_grid_over_rules_reductions_and_starts_equals_single_fits():
    """A hyperparameter counts for the rules that have it; others repeat the cell."""
    betas, starts = [(0.9, 0.99), (0.5, 0.9)], [[0.0, 0, 0], [1.0, 2, 3]]
    grid = {"w0": starts, "optimizer": ["sgd", Adam(eps=1e-3)], "betas": betas, "reduction": ["mean", "sum"], "lr": [0.01, 0.02]}
    found = fastgd.sweep(X[0], Y[0], grid=grid, epochs=30, tol=1e-3)
    assert found.loss.shape == (2, 2, 2, 2, 2)
    for index in np.ndindex(found.loss.shape):
        w0, rule, pair, reduction, lr = (list(values)[k] for values, k in zip(grid.values(), index, strict=True))
        rule = SGD(lr=lr) if rule == "sgd" else Adam(lr=lr, eps=1e-3, betas=pair)
        single = fastgd.fit(X[0], Y[0], optimizer=rule, epochs=30, w0=w0, reduction=reduction, tol=1e-3)
        same(found.sel(w0=w0, optimizer=grid["optimizer"][index[1]], betas=pair, reduction=reduction, lr=lr), single)


def test_a_rule_that_has_no_schedule_beside_one_that_has():
    points = {"optimizer": ["sgd", "adam"], "schedule": [None, fastgd.schedules.StepLR(5)], "lr": [0.1, 0.01]}
    found = fastgd.sweep(X[0], Y[0], points=points, epochs=20)
    same(found.sel(point=0), fastgd.fit(X[0], Y[0], lr=0.1, epochs=20))
    same(found.sel(point=1), fastgd.fit(X[0], Y[0], lr=0.01, optimizer="adam", schedule=points["schedule"][1], epochs=20))


def test_schedules_equal_single_fits():
    """Beside None and a function, in one call for each rule."""

    def halve(epoch):
        return 0.5**epoch

    schedules = [None, fastgd.schedules.StepLR(5), halve, fastgd.schedules.CosineAnnealingLR(20, eta_min=1e-4)]
    found = fastgd.sweep(X, Y, grid={"lr": [0.01, 0.1], "schedule": schedules, "optimizer": ["sgd", "adam"]}, epochs=20)
    assert found.coordinates["schedule"].labels.tolist()[:3] == ["None", "StepLR(step_size=5)", "halve"]
    for lr, schedule, rule in itertools.product([0.01, 0.1], schedules, ["sgd", "adam"]):
        for k in range(4):
            single = fastgd.fit(X[k], Y[k], lr=lr, schedule=schedule, optimizer=rule, epochs=20)
            same(found.sel(lr=lr, schedule=schedule, optimizer=rule, fit=k), single)
    assert np.isnan(found.sel(schedule=schedules[1:], optimizer="sgd").stability_limit).all()
    alone = fastgd.sweep(X, Y, grid={"lr": [0.01, 0.1]}).stability_limit
    assert (found.sel(schedule="None", optimizer="sgd").stability_limit == alone).all()
    points = [{"lr": 0.1, "schedule": None}, {"lr": 0.01, "schedule": schedules[1]}]
    same(fastgd.sweep(X[0], Y[0], points=points, epochs=9).sel(point=1), fastgd.fit(X[0], Y[0], lr=0.01, schedule=schedules[1], epochs=9))
    (one,) = {fastgd.sweep(X[0], Y[0], grid={"schedule": [halve]}, lr=0.1, epochs=3).best()["schedule"]}
    assert one == "halve"


def test_standardized_cells_and_starts_of_one_feature():
    found = fastgd.sweep(x + 9, 3 * x, grid={"standardize": [False, True], "w0": [0.0, 1.0], "intercept0": [0.0, 2.0]},
                         lr=0.01, epochs=9, intercept=True)  # fmt: skip
    for scaled, w0, b0 in itertools.product([False, True], [0.0, 1.0], [0.0, 2.0]):
        single = fastgd.fit(x + 9, 3 * x, lr=0.01, epochs=9, intercept=True, standardize=scaled, w0=w0, intercept0=b0)
        same(found.sel(standardize=scaled, w0=w0, intercept0=b0), single)


POINTS = [
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0},
    {"optimizer": "adam", "lr": 0.1, "momentum": 0.0},
    {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
]


def frames():
    import pandas
    import polars

    columns = {name: [point[name] for point in POINTS] for name in POINTS[0]}
    return {"records": POINTS, "columns": columns, "pandas": pandas.DataFrame(columns), "polars": polars.DataFrame(columns)}


@pytest.mark.parametrize("kind", ["records", "columns", "pandas", "polars"])
def test_points_equal_single_fits(kind):
    found = fastgd.sweep(X, Y, points=frames()[kind], epochs=20)
    assert found.dims == ("point", "fit")
    for place, point in enumerate(POINTS):
        rule = SGD(momentum=point["momentum"]) if point["optimizer"] == "sgd" else "adam"
        for k in range(4):
            same(found.sel(point=place, fit=k), fastgd.fit(X[k], Y[k], lr=point["lr"], optimizer=rule, epochs=20))


def test_a_frame_of_numbers_alone_is_points():
    import pandas

    frame = pandas.DataFrame({"lr": [0.1, 0.2], "momentum": [0.0, 0.5]})
    found = fastgd.sweep(x, 2 * x, points=frame, epochs=5)
    same(found.sel(point=1), fastgd.fit(x, 2 * x, optimizer=SGD(lr=0.2, momentum=0.5), epochs=5))


def test_validation_loss_is_exact_and_has_its_own_weights():
    """Of whole numbers, against fractions; the training weights have the same length."""
    train, own = [1.0, 1, 1, 5], [1.0, 2, 1, 4]
    X_val, y_val = [[1.0, 2], [3, 1], [0, 1], [2, 2]], [1.0, 3, 2, 5]
    X_train, y_train = [[2.0, 1], [1, 3], [1, 1], [4, 0]], [1.0, 0, 2, 3]
    starts = [[1.0, 2], [0, 3], [-1, 1]]
    found = fastgd.sweep(X_train, y_train, grid={"w0": starts}, lr=0.1, epochs=0, sample_weight=train, X_val=X_val, y_val=y_val,
                         sample_weight_val=own)  # fmt: skip

    def loss(w, X, y, weights):
        residuals = [sum(Fraction(a) * Fraction(b) for a, b in zip(row, w, strict=True)) - Fraction(t) for row, t in zip(X, y, strict=True)]
        return float(sum(Fraction(g) * r * r for g, r in zip(weights, residuals, strict=True)) / Fraction(sum(weights)))

    assert found.val_loss.tolist() == [loss(w, X_val, y_val, own) for w in starts]
    assert found.loss.tolist() == [loss(w, X_train, y_train, train) for w in starts]
    plain = fastgd.sweep(X_train, y_train, grid={"w0": starts}, lr=0.1, epochs=0, sample_weight=train, X_val=X_val, y_val=y_val)
    assert plain.val_loss.tolist() == [loss(w, X_val, y_val, [1, 1, 1, 1]) for w in starts]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_validation_loss_is_that_of_fit(dtype, monkeypatch):
    """With leading axes, an intercept, a diverged cell, and cells that are looked at in pieces."""
    monkeypatch.setattr("fastgd.sweeping._CELLS_AT_ONCE", 9)
    X_val, y_val = rng.normal(size=(30, 3)), rng.normal(size=(4, 30))
    grid = {"lr": [0.01, 0.1, 1e5], "momentum": [0.0, 0.9]}
    found = fastgd.sweep(X, Y, grid=grid, epochs=200, intercept=True, dtype=dtype, X_val=X_val, y_val=y_val)
    assert found.val_loss.dtype == dtype
    for index in np.ndindex(found.loss.shape):
        w, b = found.w[index], found.intercept[index]
        if np.isfinite(w).all() and np.isfinite(b):
            one = fastgd.fit(X_val, y_val[index[-1]], w0=w, intercept0=b, lr=0.0, epochs=0, intercept=True, dtype=dtype)
            assert found.val_loss[index] == one.loss
        else:
            assert found.status[index] == Status.DIVERGED
            assert np.isnan(found.val_loss[index])
    assert (found.status[2] == Status.DIVERGED).all()


def test_moments_in_place_of_data():
    """The bits of `fit` on moments; validation moments give those of validation data."""
    X_val, y_val = rng.normal(size=(30, 3)), rng.normal(size=(4, 30))
    moments, of_val = fastgd.compress(X, Y, intercept=True), fastgd.compress(X_val, y_val, intercept=True)
    grid = {"optimizer": ["sgd", "adam"], "lr": [0.01, 0.1]}
    found = fastgd.sweep(moments, grid=grid, epochs=30, X_val=of_val)
    samples = fastgd.sweep(X, Y, grid=grid, epochs=30, intercept=True, algorithm="moments", X_val=X_val, y_val=y_val)
    same(found, samples)
    same(found, samples, ("val_loss", "stability_limit"))
    assert np.array_equal(fastgd.sweep(moments, grid=grid, epochs=30, X_val=X_val, y_val=y_val).val_loss, samples.val_loss)
    for wrong, said in (
        ({"X_val": fastgd.compress(X_val, y_val)}, "X_val is Moments with intercept=False, but the fits have True"),
        ({"X_val": fastgd.compress(X_val, y_val, intercept=True, dtype="float32")}, "X_val is Moments with dtype='float32'"),
        ({"X_val": of_val, "y_val": y_val}, "of the validation data: X is Moments, so y must be given to fastgd.compress"),
        ({"X_val": of_val, "sample_weight_val": y_val}, "of the validation data: X is Moments, so sample_weight must be given"),
        ({"dtype": "float32"}, "X is Moments, so dtype must be given to fastgd.compress"),
    ):
        with pytest.raises(ValueError, match=said):
            fastgd.sweep(moments, grid=grid, epochs=30, **wrong)


def test_one_feature_validates_too():
    found = fastgd.sweep(x, 2 * x, grid={"lr": [0.0]}, epochs=1, X_val=[1.0, 2], y_val=[1.0, 3])
    assert found.val_loss.tolist() == [5.0]


def test_the_stability_limit_is_where_descent_turns():
    """Just below it a descent from the top eigenvector shrinks, just above it grows."""
    data, target = X[0], np.zeros(20)
    hessian = 2 * data.T @ data / 20
    top = np.linalg.eigh(hessian)[1][:, -1]
    for momentum, dampening, nesterov, decay in [
        (0, 0, False, 0),
        (0.9, 0, False, 0.5),
        (0.5, 0, True, 0),
        (0.9, 0.3, False, 0),
        (0, 0.7, False, 1),
    ]:
        rule = SGD(momentum=momentum, dampening=dampening, nesterov=nesterov, weight_decay=decay)
        found = fastgd.sweep(data, target, grid={"lr": [0.1, 0.2]}, optimizer=rule, epochs=1)
        limit = found.stability_limit[0]
        assert found.stability_limit.tolist() == [limit, limit]
        ends = fastgd.fit(data, target, lr=[0.99 * limit, 1.01 * limit], optimizer=rule, w0=top, epochs=3000, excess_loss=False).loss
        assert ends[0] < 1e-3
        assert not ends[1] < 1e3


def test_limits_of_the_tutorial_and_where_there_is_none():
    found = fastgd.sweep(x, 2 * x, grid={"reduction": ["mean", "sum"], "optimizer": ["sgd", "adam", SGD(momentum=1.0), SGD(maximize=True)]},
                         lr=0.01, epochs=1)  # fmt: skip
    assert found.stability_limit[:, 0].tolist() == [2 / 15, 2 / 60]
    assert np.isnan(found.stability_limit[:, 1:]).all()


def test_progress_counts_over_all_calls():
    told = []
    fastgd.sweep(x, 2 * x, grid={"optimizer": ["sgd", "adam"], "lr": [0.1, 0.2, 0.3]}, epochs=5, progress=lambda *both: told.append(both))
    assert told[-1] == (30, 30)
    assert {total for _, total in told} == {30}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_ctrl_c_ends_the_sweep():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastgd.sweep(x, 2 * x, grid={"lr": [0.1, 0.2]}, epochs=5, progress=stop)


def test_values_of_each_fit_are_no_axis():
    """lr and betas of each fit of the data, in all cells."""
    betas = (np.array([0.9, 0.8, 0.7, 0.6]), 0.99)
    found = fastgd.sweep(X, Y, grid={"weight_decay": [0.0, 0.1]}, lr=[0.1, 0.2, 0.3, 0.4], optimizer=Adam(betas=betas), epochs=3)
    one = fastgd.fit(X[2], Y[2], optimizer=Adam(lr=0.3, betas=(0.7, 0.99), weight_decay=0.1), epochs=3)
    same(found.sel(weight_decay=0.1, fit=2), one)


def test_functions_of_one_name_are_two_schedules():
    schedule = [lambda epoch: 1.0, lambda epoch: 0.5]
    found = fastgd.sweep(x, 2 * x, grid={"schedule": schedule}, lr=0.01, epochs=3)
    assert list(found.coordinates["schedule"].labels) == ["<lambda>", "<lambda> (2)"]
    same(found.sel(schedule="<lambda> (2)"), fastgd.fit(x, 2 * x, lr=0.01, schedule=schedule[1], epochs=3))


STOP = {"patience": 4, "restore_best": True}
OF_STOPPED = ("w", "intercept", "loss", "val_loss", "excess_loss", "epochs", "best_epoch", "status")


def test_cells_stop_each_on_its_own():
    """Also of rules that run apart, for each fit of the data, with a history."""
    rng = np.random.default_rng(7)
    options = {"epochs": 300, "intercept": True, "X_val": rng.normal(size=(30, 3)), "y_val": rng.normal(size=(4, 30)), **STOP}
    grid = {"optimizer": ["sgd", "adam"], "lr": np.geomspace(1e-3, 0.3, 6)}
    found = fastgd.sweep(X, Y, grid=grid, history=50, **options)
    assert len(np.unique(found.epochs)) > 5
    for rule in grid["optimizer"]:
        for lr in grid["lr"]:
            for k in range(4):
                own = options | {"y_val": options["y_val"][k]}
                one = fastgd.fit(X[k] if np.ndim(X) == 3 else X, Y[k], lr=lr, optimizer=rule, history=50, **own)
                cell = found.sel(optimizer=rule, lr=lr, fit=k)
                for name in OF_STOPPED:
                    assert (
                        getattr(cell, name) == getattr(one, name)
                        if np.ndim(getattr(one, name)) == 0
                        else np.array_equal(getattr(cell, name), getattr(one, name))
                    ), name
                assert np.array_equal(cell.history.val_loss, one.history.val_loss)
    best = found.best()
    assert np.array_equal(best["val_loss"], found.val_loss.reshape(-1, 4).min(axis=0))
    assert "best_epoch" in best
    assert "best_epoch" in found.to_frame()
    assert found.to_xarray()["history_val_loss"].shape == (2, 6, 4, 7)


def test_moments_stop_early():
    rng = np.random.default_rng(7)
    X_val, y_val = rng.normal(size=(30, 3)), rng.normal(size=(4, 30))
    grid = {"lr": np.geomspace(1e-3, 0.3, 5)}
    samples = fastgd.sweep(X, Y, grid=grid, algorithm="moments", epochs=None, X_val=X_val, y_val=y_val, **STOP)
    moments = fastgd.sweep(fastgd.compress(X, Y), grid=grid, epochs=None, X_val=fastgd.compress(X_val, y_val), **STOP)
    for name in ("w", "val_loss", "epochs", "best_epoch"):
        assert np.array_equal(getattr(samples, name), getattr(moments, name))
    assert (samples.status == fastgd.Status.STOPPED_EARLY).all()


def test_bad_numbers_of_validation_data_are_named_before_any_cell():
    with pytest.raises(ValueError, match="of the validation data: y is not finite: nan in row 1"):
        fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, X_val=x, y_val=[1, np.nan, 2, 3], patience=2)


def test_too_large_a_grid_is_named():
    with pytest.raises(MemoryError, match=r"^1,000,000 cells \(lr 1,000 x momentum 1,000\): the results of 1,000,000 fits .* memory_limit"):
        fastgd.sweep(x, 2 * x, grid={"lr": np.linspace(0.1, 1, 1000), "momentum": np.linspace(0, 1, 1000)}, memory_limit="1 MiB")
    thousands = np.linspace(0.1, 0.9, 100_000)
    grid = {name: thousands for name in ("lr", "momentum", "weight_decay", "dampening")}
    with pytest.raises(ValueError, match=r"^100,000,000,000,000,000,000 cells \(lr 100,000 x .*too many fits"):
        fastgd.sweep(x, 2 * x, grid=grid)


def test_a_million_cells_fit_into_a_gibibyte():
    grid = {"lr": np.geomspace(1e-4, 1, 1000), "momentum": np.linspace(0, 0.999, 1000)}
    tracemalloc.start()
    try:
        found = fastgd.sweep(X[0], Y[0], grid=grid, epochs=2, X_val=X[1], y_val=Y[1], progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.val_loss.shape == (1000, 1000)
    assert peak < 2**30


def test_torch_data_give_numpy_results(torch):
    found = fastgd.sweep(torch.tensor(x), torch.tensor(2 * x), grid={"lr": [0.1]}, epochs=3, X_val=torch.tensor(x), y_val=torch.tensor(x))
    assert isinstance(found.w, np.ndarray)
    same(found.sel(lr=0.1), fastgd.fit(x, 2 * x, lr=0.1, epochs=3), ("w", "loss"))


def test_fit_knows_its_hyperparameters():
    rule = Adam(lr=[0.1, 0.2], betas=(0.9, np.array([0.99, 0.9])), amsgrad=True)
    result = fastgd.fit(x, 2 * x, optimizer=rule, epochs=3)
    values = {name: value.tolist() for name, value in result.hyperparameters.items()}
    assert values == {"beta1": 0.9, "beta2": [0.99, 0.9], "eps": 1e-8, "weight_decay": 0.0, "amsgrad": 1.0, "maximize": 0.0}
    again = fastgd.fit(x, 2 * x, lr=0.1, epochs=1), fastgd.fit(x, 2 * x, lr=0.1, epochs=1)  # the second from the call cache
    assert [one.hyperparameters["momentum"].tolist() for one in again] == [0.0, 0.0]
    assert fastgd.solve(x, 2 * x, weight_decay=[0.5, 1]).hyperparameters["weight_decay"].tolist() == [0.5, 1]


REFUSED = [
    ({"grid": {"lr": [0.1]}, "points": [{"lr": 0.1}]}, ValueError, "both grid and points were given; give one"),
    ({}, ValueError, "neither grid nor points was given"),
    ({"grid": {"lr": [0.1]}, "lr": 0.1}, ValueError, r"lr was given twice: sweep\(lr=0.1\) and grid\['lr'\]"),
    ({"grid": {"lr": [0.1]}, "optimizer": SGD(lr=0.1)}, ValueError, r"lr was given twice: in SGD\(lr=0.1\) and in grid"),
    ({"grid": {"lr": [0.1]}, "epochs": "x"}, TypeError, "epochs must be a whole number"),
    ({"grid": {"lr": [0.1]}, "tol": -1}, ValueError, "tol must be finite and at least 0"),
    ({"grid": {"lr": [0.1]}, "state": 3}, ValueError, "sweep takes no state"),
    ({"grid": {"lr": [0.1]}, "max_iter": 3}, TypeError, r"sweep\(\) has no option 'max_iter': give epochs="),
    ({"grid": {"w0": [[1.0, 2]]}}, ValueError, r"values of 'w0' must be numbers, since X is 1-D; they have shape \(1, 2\)"),
    ({"grid": {"lr": [0.1]}, "y": None}, TypeError, "y is missing, it is None: give X and y, or Moments"),
    ({"grid": {"lr": [0.1]}, "X_val": x}, ValueError, "X_val was given without y_val"),
    ({"grid": {"lr": [0.1]}, "sample_weight_val": x}, ValueError, "sample_weight_val was given without X_val"),
    ({"grid": {"lr": [0.1]}, "X_val": x[:, None], "y_val": x}, ValueError, "X has 1 features, but X_val has 1|same columns"),
    ({"grid": {"lr": [0.1]}, "X_val": x, "y_val": x[:2]}, ValueError, "of the validation data: X has 4 samples"),
    (
        {"grid": {"momentum": [0.1, 0.2]}, "lr": [0.1, 0.2]},
        ValueError,
        r"lr has shape \(2,\), which does not broadcast to the leading axes",
    ),
    ({"grid": {"momentum": [0.1, 0.2]}, "w0": [0.1, 0.2]}, ValueError, r"w0 has shape \(2,\)"),
    ({"grid": {"momentum": [0.1, 0.2]}, "schedule": [fastgd.schedules.StepLR(1), None]}, ValueError, r"schedule has shape \(2,\)"),
    ({"grid": {"lr": [0.1, 0.2]}, "optimizer": SGD(momentum=[0, 0.9])}, ValueError, r"momentum has shape \(2,\).*grid=\{\"momentum\""),
    ({"grid": {"optimizer": [SGD(momentum=[0, 0.9]), "adam"]}}, ValueError, r"momentum has shape \(2,\)"),
    ({"grid": {"lr": [0.1]}, "optimizer": Adam(betas=(np.array([0.9, 0.8]), 0.9))}, ValueError, r"betas has shape \(2,\)"),
    ({"grid": {"lr": [0.1]}, "patience": 3}, ValueError, "patience=3 looks at the loss of validation data"),
    ({"grid": {"lr": [0.1]}, "epochs": None}, ValueError, "epochs=None goes on until a fit ends by itself"),
    ({"grid": {"lr": [0.1]}, "X_val": x, "y_val": np.ones((2, 4))}, ValueError, r"leading axes of X_val and y_val, \(2,\), do not"),
]


@pytest.mark.parametrize(("options", "error", "said"), REFUSED, ids=[said[:30] for _, _, said in REFUSED])
def test_what_cannot_be_swept(options, error, said, no_work):
    with pytest.raises(error, match=said):
        fastgd.sweep(x, **{"y": 2 * x} | options)
