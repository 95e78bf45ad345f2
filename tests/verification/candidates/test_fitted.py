"""Classes and objects with `fit`, as courses write them: w at every epoch comes from fits of more
and more epochs, or from the rows that they keep."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

RNG = np.random.default_rng(3)
X = RNG.standard_normal((25, 2))
Y = X @ [1.0, 2.0] + 3 + RNG.standard_normal(25)


class Regression:
    """Attributes weights and bias; no history."""

    factor = 2.0

    def __init__(self, learning_rate=0.1, n_iters=20):
        self.lr, self.n_iters = learning_rate, n_iters
        self.weights = self.bias = None

    def fit(self, X, y):
        n_samples, n_features = X.shape
        self.weights, self.bias = np.zeros(n_features), 0.0
        for _ in range(self.n_iters):
            error = X @ self.weights + self.bias - y
            self.weights = self.weights - self.lr * self.factor / n_samples * X.T @ error
            self.bias = self.bias - self.lr * self.factor * error.mean()


class WithoutTwo(Regression):
    factor = 1.0


class InterceptFirst:
    """The intercept is the first of w_, and the losses are cost_."""

    def __init__(self, eta=0.05, n_iter=20):
        self.eta, self.n_iter = eta, n_iter

    def fit(self, X, y):
        self.w_, self.cost_ = np.zeros(1 + X.shape[1]), []
        for _ in range(self.n_iter):
            error = y - (X @ self.w_[1:] + self.w_[0])
            self.w_[1:] += self.eta * 2 / len(y) * X.T @ error
            self.w_[0] += self.eta * 2 * error.mean()
            self.cost_.append((error**2).mean())
        return self


class RandomStart(Regression):
    def fit(self, X, y):
        self.m, self.n = X.shape
        self.W, self.b = np.random.rand(self.n), np.random.rand()  # noqa: NPY002
        for _ in range(self.n_iters):
            error = X @ self.W + self.b - y
            self.W, self.b = self.W - self.lr * 2 / self.m * X.T @ error, self.b - self.lr * 2 * error.mean()
        self.weights = self.bias = None
        return self


class RandomEveryTime(Regression):
    def fit(self, X, y):
        super().fit(X, y)
        self.bias = np.random.default_rng().random()


class WithHistory:
    """Parameters of fit, and rows that are kept."""

    def __init__(self):
        self.history = {"w": [], "b": [], "loss": []}

    def fit(self, X, y, lr=0.5, epochs=3):
        w, b = np.zeros(X.shape[1]), 0.0
        for _ in range(epochs):
            error = X @ w + b - y
            for name, value in (("w", w), ("b", b), ("loss", np.mean(error**2))):
                self.history[name].append(value)
            w, b = w - lr * 2 / len(y) * X.T @ error, b - lr * 2 * error.mean()
        self.coef_, self.intercept_ = w, b
        return self


class Scikit:
    def __init__(self, eta0=0.1, max_iter=20):
        self.eta0, self.max_iter = eta0, max_iter

    def fit(self, X, y):
        rows = np.zeros(X.shape[1] + 1)
        for _ in range(self.max_iter):
            error = X @ rows[:-1] + rows[-1] - y
            rows = rows - self.eta0 * 2 / len(y) * np.append(X.T @ error, error.sum())
        self._w = rows
        return self

    @property
    def coef_(self):
        return self._w[:-1]

    @property
    def intercept_(self):
        return self._w[-1]


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (Regression(), {}),
        (Regression, {"lr": 0.1, "epochs": 20}),
        (Regression(0.1, 7).fit, {"lr": 0.1, "epochs": 20}),
        (InterceptFirst(), {}),
        (RandomStart(), {}),
        (WithHistory(), {"lr": 0.1, "epochs": 20}),
        (WithHistory, {"lr": 0.1, "epochs": 20}),
        (Scikit(), {}),
    ],
)
def test_a_right_model_agrees(model, asked):
    report = fastgd.verify(model, X, Y, intercept=True, **asked)
    assert report.outcome == "agrees", str(report)
    assert report.verdicts[0].epochs_judged == 20 - (model is WithHistory or isinstance(model, WithHistory))
    half = fastgd.verify(WithoutTwo(), X, Y, intercept=True)
    assert (half.first.epoch, half.diagnosis.code) == (1, "gradient_missing_two")


def test_losses_and_the_place_of_the_intercept():
    report = fastgd.verify(InterceptFirst(), X, Y, intercept=True)
    assert report.tau_loss < 1
    assert "the first number in w was read as the intercept" in str(report)


def test_many_epochs_are_judged_some_at_a_time():
    for kind in (Regression, InterceptFirst):
        report = fastgd.verify(kind(0.05, 350), X, Y, intercept=True)
        assert report.outcome == "agrees", str(report)
        assert report.verdicts[0].epochs_judged == 350
        assert "4 epochs more each time" in str(report)
    wrong = fastgd.verify(WithoutTwo(0.05, 350), X, Y, intercept=True)
    assert wrong.diagnosis.code == "gradient_missing_two"

    class EndsWrong(Regression):
        def fit(self, X, y):
            super().fit(X, y)
            self.bias += self.n_iters > 300

    late = fastgd.verify(EndsWrong(0.05, 350), X, Y, intercept=True)
    assert late.first.epoch > 300  # its first epochs alone would agree


def test_another_rate_than_that_of_the_model_is_told():
    report = fastgd.verify(Regression(0.1, 20), X, Y, lr=0.2, intercept=True)
    assert "Regression has lr 0.1, 0.2 was asked" in str(report)


def test_what_cannot_be_judged_is_told():
    class NoW:
        def fit(self, X, y):
            self.done = True

    class Raises:
        def fit(self, X, y):
            raise SystemExit(0)

    for model, words in (
        (RandomEveryTime(), "seed its random numbers, or keep the rows of w in w_history"),
        (NoW(), "its fit has left no w"),
        (Raises(), "SystemExit"),
    ):
        report = fastgd.verify(model, X, Y, lr=0.1, epochs=5, intercept=True)
        assert not report.ok
        assert words in str(report)


def test_a_model_that_changes_its_data():
    class Centres(Regression):
        def fit(self, X, y):
            super().fit(X, y)
            X -= X.mean(0)

    report = fastgd.verify(Centres(), X, Y, intercept=True)
    assert report.diagnosis.code == "inputs_modified"


def test_a_class_in_a_file(tmp_path):
    from fastgd.verification.candidates.file_candidate import FileCandidate

    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nclass R:\n def __init__(self, lr=0.1, epochs=9): self.lr, self.epochs = lr, epochs\n"
        " def fit(self, X, y):\n  self.w = np.zeros(X.shape[1] + 1)\n"
        "  for _ in range(self.epochs):\n   e = X @ self.w[1:] + self.w[0] - y\n"
        "   self.w = self.w - self.lr * 2 / len(y) * np.append(e.sum(), X.T @ e)\n"
    )
    report = fastgd.verify(FileCandidate(file, "R"), X, Y, lr=0.1, epochs=12, intercept=True)
    assert report.outcome == "agrees", str(report)
    assert "the first number in w was read as the intercept" in str(report)
