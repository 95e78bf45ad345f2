"""What people hand over beside the plain forms: gaps, rows [w, b], dicts, one array many times,
torch's own objects, an intercept that nobody told of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import fastgd

RNG = np.random.default_rng(0)
N, LR = 32, 0.05
X = RNG.normal(size=(N, 2))
Y = X @ [1.0, -2.0] + 0.5


def gradient(w, b=0.0):
    residual = X @ w + b - Y
    return 2 * X.T @ residual / N, 2 * residual.mean()


def loss(w, b=0.0):
    return np.mean((X @ w + b - Y) ** 2)


def recorded(given, epochs=10):
    """A Recorder that was called with the start alone, then with the loss of each w."""
    record, w = fastgd.Recorder(), np.zeros(2)
    record(w)
    for epoch in range(epochs):
        w = w - LR * gradient(w)[0]
        value = given(epoch, w)
        record(w) if value is None else record(w, loss=value)
    return record


def test_losses_of_all_rows_but_the_first_are_judged():
    assert fastgd.verify(recorded(lambda _, w: loss(w)), X, Y, lr=LR).tau_loss < 8
    assert not fastgd.verify(recorded(lambda _, w: 999.0), X, Y, lr=LR).ok
    assert recorded(lambda _, w: 999.0).arrays()[1].tolist() == [999.0] * 10


def test_gaps_in_the_losses_are_told_first():
    report = fastgd.verify(recorded(lambda epoch, w: loss(w) if epoch % 3 else None), X, Y, lr=LR)
    assert (
        report.verdicts[0].headline
        == f"recorder: w agrees at all 10 epochs judged: tau_w {report.tau_w:.2g} (bound 8); the losses are not judged"
    )


def rows_of_w_and_b():
    w, b, rows = np.zeros(2), 0.0, []
    for _ in range(10):
        rows.append([w, b])
        g, gb = gradient(w, b)
        w, b = w - LR * g, b - LR * gb
    return rows


@pytest.mark.parametrize(
    "turned",
    [
        lambda rows: rows,
        lambda rows: [{"w": w, "b": b} for w, b in rows],
        lambda rows: {"w": [w for w, _ in rows], "b": [b for _, b in rows]},
    ],
)
def test_rows_of_several_parts(turned):
    rows = turned(rows_of_w_and_b())
    assert fastgd.verify(rows, X, Y, lr=LR, intercept=True).outcome == "agrees"
    if isinstance(rows, list):
        of_dicts = isinstance(rows[0], dict)
        assert of_dicts or fastgd.diagnose(X, Y, rows, lr=LR, intercept=True).ok
        with pytest.raises(ValueError, match="give rows" if of_dicts else "w_history must have shape"):
            fastgd.diagnose(X, Y, rows, lr=LR)


def test_one_array_many_times():
    w, rows = np.zeros(2), []
    for _ in range(6):
        rows.append(w)
        w -= LR * gradient(w)[0]

    def train(X, y, lr, epochs, w0):
        w, rows = w0, [w0]
        for _ in range(epochs):
            w -= lr * 2 * X.T @ (X @ w - y) / len(y)
            rows.append(w)
        return rows

    for candidate, options in ((rows, {}), (train, {"epochs": 6})):
        report = fastgd.verify(candidate, X, Y, lr=LR, **options)
        assert report.diagnosis.code == "rows_are_one_array", str(report)
        assert f"one array {len(rows) + (candidate is train)} times" in str(report)
    still = [np.zeros(2)] * 6
    assert fastgd.verify(still, X, Y, lr=LR).diagnosis.code == "parameter_not_updated"


def test_one_array_of_weights_beside_an_intercept_that_is_a_number():
    def train(X, y, lr, epochs, early=True):
        w, b, rows, biases, losses = np.zeros(2), 0.0, [], [], []
        for _ in range(epochs):
            if early:
                rows.append(w)
                biases.append(b)
            g, gb = gradient(w, b)
            losses.append(loss(w, b))
            w -= lr * g
            b -= lr * gb
            if not early:
                rows.append(w)
                biases.append(b)
        return rows, biases, losses

    asked = {"lr": LR, "intercept": True}
    for early, forms in ((True, 5), (False, 2)):
        rows, biases, losses = train(X, Y, LR, 8, early)
        handed = [
            ((lambda X, y, lr, epochs, early=early: train(X, y, lr, epochs, early)), {"epochs": 8}),
            (list(zip(rows, biases, strict=True)), {}),
            (list(zip(rows, biases, losses, strict=True)), {"epochs": 8, "w0": np.zeros(3)}),
            ({"w": rows, "b": biases}, {"w0": np.zeros(3)}),
            (np.column_stack([rows, biases]), {"w0": np.zeros(3)}),  # nothing but numbers is left
        ]
        for candidate, options in handed[:forms]:
            report = fastgd.verify(candidate, X, Y, **asked, **options)
            assert report.diagnosis.code == "rows_are_one_array", (early, str(report))


@pytest.mark.parametrize("kind", ["train", "step"])
@pytest.mark.parametrize("factor", [2, 1])
def test_a_function_that_puts_the_ones_before_X(kind, factor):
    def step(theta, X, y, alpha):
        X = np.c_[np.ones(len(X)), X]
        return theta - alpha * factor / len(y) * X.T @ (X @ theta - y)

    def train(X, y, theta, alpha, num_iters):
        rows = [theta]
        for _ in range(num_iters):
            rows.append(step(rows[-1], X, y, alpha))
        return np.array(rows)

    for start in (None, [0.3, -0.2, 1.0]):
        report = fastgd.verify({"train": train, "step": step}[kind], X, Y, lr=LR, epochs=6, intercept=True, w0=start)
        assert "with the intercept first" in str(report), str(report)
        assert report.outcome == "agrees" if factor == 2 else report.diagnosis.code == "gradient_missing_two", str(report)


def test_an_intercept_that_was_not_told_of():
    class Model:
        def __init__(self, lr=LR, epochs=5):
            self.lr, self.epochs = lr, epochs

        def fit(self, X, y):
            self.weights, self.bias = np.zeros(2), 0.0
            for _ in range(self.epochs):
                g, gb = gradient(self.weights, self.bias)
                self.weights, self.bias = self.weights - self.lr * g, self.bias - self.lr * gb

    assert fastgd.verify(Model(), X, Y, intercept=True).ok
    assert "it has an intercept, bias: give intercept=True" in str(fastgd.verify(Model(), X, Y))


def test_names_that_contradict_their_place_are_refused():
    def fit(model, loader, optimizer, epochs):
        raise AssertionError("is not called")

    with pytest.raises(TypeError, match="by their order epochs would be lr, and its name says epochs"):
        fastgd.verify(fit, X, Y, lr=LR, epochs=5)
    report = fastgd.verify(lambda p, q, r, s: p - s * 2 * q.T @ (q @ p - r) / len(r), X, Y, lr=LR, epochs=5)
    assert "read by their order: p as w, q as X, r as y, s as lr" in str(report)


def test_a_function_that_wants_the_ones():
    def train(X, y, theta, alpha, num_iters):
        for _ in range(num_iters):
            theta = theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)
        return theta

    report = fastgd.verify(train, X, Y, lr=LR, epochs=3, intercept=True)
    assert "hand them over and leave intercept out" in str(report)


def test_a_reading_that_would_need_more_rates_is_no_error():
    rows = [np.zeros(2)]
    for _ in range(8):
        rows.append(rows[-1] - LR / 2 * gradient(rows[-1])[0])
    report = fastgd.verify(np.array(rows), X, Y, lr=np.full(8, LR))
    assert report.diagnosis.code == "gradient_missing_two"


def test_torchs_scheduler_and_optimizer_stand_for_ours():
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 1).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    report = fastgd.verify((module, optimizer, scheduler), X, Y, epochs=8, intercept=True)
    assert report.outcome == "agrees", str(report)
    assert "those of StepLR" in str(report)
    w, v, rows = np.zeros(2), 0.0, [np.zeros(2)]
    for _ in range(8):
        v = 0.5 * v + gradient(w)[0]
        w = w - LR * v
        rows.append(w)
    assert fastgd.verify(rows, X, Y, optimizer=torch.optim.SGD(module.parameters(), lr=LR, momentum=0.5)).outcome == "agrees"


def rows_with_intercept(epochs=8):
    """Rows [w0, w1, b] and losses of a right descent."""
    w, b, rows, losses = np.zeros(2), 0.0, [np.zeros(3)], []
    for _ in range(epochs):
        losses.append(loss(w, b))
        dw, db = gradient(w, b)
        w, b = w - LR * dw, b - LR * db
        rows.append(np.append(w, b))
    return np.array(rows), np.array(losses)


WEIGHTS, LOSSES = rows_with_intercept()
TABLE = [
    {"epoch": k, "area": float(row[0]), "age": float(row[1]), "intercept": float(row[2]), "mse": float(value)}
    for k, (row, value) in enumerate(zip(WEIGHTS, LOSSES, strict=False))
]
OTHER_FORMS = {
    "columns (m, D, 1)": lambda: WEIGHTS[:, :, None],
    "rows (m, 1, D)": lambda: list(WEIGHTS[:, None]),
    "last w and b, losses, rows": lambda: (WEIGHTS[-1, :2], WEIGHTS[-1, 2], LOSSES, WEIGHTS),
    "state_dicts": lambda: [{"linear.weight": torch.tensor(row[None, :2]), "linear.bias": torch.tensor(row[2:])} for row in WEIGHTS],
    "a log of dicts with the names of features": lambda: TABLE,
    "a frame with the names of features": lambda: pd.DataFrame(TABLE),
    "a function of globals": lambda: lambda alpha, num_iters: WEIGHTS[: num_iters + 1],
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_other_forms_of_right_rows_are_taken(form):
    given = OTHER_FORMS[form]()
    epochs = 7 if "features" in form else 8  # such a log has no w after the last update
    report = fastgd.verify(given, X, Y, lr=LR, epochs=epochs, intercept=True)
    assert report.outcome == "agrees", str(report)
    if "features" in form:
        TABLE[3]["age"] += 1e-9
        assert fastgd.verify(OTHER_FORMS[form](), X, Y, lr=LR, intercept=True).first.epoch == 3
        TABLE[3]["age"] -= 1e-9


def test_what_a_third_part_beside_a_torch_module_may_be():
    module = torch.nn.Linear(2, 1).double()
    with pytest.raises(TypeError, match=r"a scheduler may be given, not MSELoss\(\): the loss is mse_loss here; leave it out"):
        fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=LR), torch.nn.MSELoss()), X, Y, epochs=3, intercept=True)
    lazy = torch.nn.LazyLinear(1, dtype=torch.float64)
    assert fastgd.verify((lazy, torch.optim.SGD(lazy.parameters(), lr=LR)), X, Y, epochs=5, intercept=True).ok


def test_rows_of_steps_of_another_rule_need_no_epochs():
    """The last batch is smaller; that the rows were those of epochs is no reading for Adam."""
    module = torch.nn.Linear(2, 1).double()
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    data = torch.tensor(X), torch.tensor(Y)[:, None]
    with fastgd.Recorder().watch(optimizer) as record:
        for _ in range(3):
            for k in range(0, N, 12):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(module(data[0][k : k + 12]), data[1][k : k + 12]).backward()
                optimizer.step()
    report = fastgd.verify(record, X, Y, lr=LR, optimizer="adam", intercept=True, batch_size=12)
    assert report.outcome == "agrees", str(report)
    assert "w after each step of 3 epochs" in str(report)


def test_a_loss_without_a_name_does_not_turn_the_weights():
    """Another reading of a class's w counts only where it explains all that is wrong."""

    class Model:
        def __init__(self, lr=LR, epochs=8):
            self.lr, self.epochs = lr, epochs

        def fit(self, X, y):
            w, b, self.loss_history = np.zeros(2), 0.0, []
            for k in range(self.epochs):
                self.loss_history.append(np.sort(np.abs(X @ w + b - y))[3 + k % 2])
                dw, db = gradient(w, b)
                w, b = w - self.lr * dw, b - self.lr * db
            self.coef_, self.intercept_ = w, b

    report = fastgd.verify(Model, X, Y, lr=LR, epochs=8, intercept=True)
    assert report.diagnosis.codes == ("unknown",), str(report)
    assert report.first.quantity == "loss"


def test_alpha_beside_a_learning_rate_is_a_penalty():
    class Ridge:
        def __init__(self, learning_rate=LR, n_iter=8, alpha=1.0):
            self.learning_rate, self.n_iter, self.alpha = learning_rate, n_iter, alpha

        def train(self, X, y):  # not every class calls it fit
            self.coef_, self.intercept_ = np.zeros(2), 0.0
            for _ in range(self.n_iter):
                dw, db = gradient(self.coef_, self.intercept_)
                self.coef_ = self.coef_ - self.learning_rate * (dw + 2 * self.alpha * self.coef_)
                self.intercept_ -= self.learning_rate * db

    for candidate in (Ridge, Ridge(alpha=0.1), Ridge(alpha=0.1).train):
        report = fastgd.verify(candidate, X, Y, lr=LR, epochs=8, intercept=True, ridge=0.1)
        assert report.outcome == "agrees", str(report)
