"""Programs of courses and books, with the defects that were reported of them in public.

Every program is written anew, in the shape of the one that the report is about; the address of the
report stands above it. Programs in which somebody saw a defect where there is none agree.
"""

from __future__ import annotations

import numpy as np

from tests.verification.gallery.showing import EPOCHS, LR, ONES, X, Y, agrees, judged, named, x


# github.com/eriklindernoren/ML-From-Scratch/issues/38: not divided by the number of samples
def test_a_regression_that_sums():
    class Regression:
        def __init__(self, n_iterations=EPOCHS, learning_rate=LR / 14):
            self.n_iterations, self.learning_rate = n_iterations, learning_rate

        def fit(self, X, y):
            self.w, self.training_errors = np.zeros(X.shape[1]), []
            for _ in range(self.n_iterations):
                y_pred = X.dot(self.w)
                self.training_errors.append(np.mean(0.5 * (y - y_pred) ** 2))
                grad_w = -(y - y_pred).dot(X)
                self.w -= self.learning_rate * grad_w

    named(judged(Regression(), lr=None, epochs=None), "gradient_sum_missing_two")


# github.com/Open-Deep-ML/DML-OpenProblem/issues/97: the factor 2 is missing, the cost has none of
# 1/2
def test_a_problem_without_the_two():
    def linear_regression_gradient_descent(X, y, alpha, iterations):
        m, n = X.shape
        theta = np.zeros((n, 1))
        for _ in range(iterations):
            errors = X @ theta - y.reshape(-1, 1)
            theta = theta - alpha * (X.T @ errors / m)
        return theta.flatten()

    named(judged(linear_regression_gradient_descent), "gradient_missing_two")


# github.com/tsycnh/mlbasic/issues/2: sums over the points, that are never divided
def test_slopes_that_are_summed():
    def step(x, y, a, b, rate):
        all_da = all_db = 0.0
        for one_x, one_y in zip(x, y, strict=True):
            error = a * one_x + b - one_y
            all_da, all_db = all_da + 2 * error * one_x, all_db + 2 * error
        return a - rate * all_da, b - rate * all_db

    named(judged(step, x, lr=0.001, intercept=True), "gradient_sum")


# github.com/patrickloeber/pytorchTutorial/pull/10: the mean of a scalar product
def test_the_mean_of_a_dot_product():
    def gradient(x, y, w):
        return np.dot(2 * x, w * x - y).mean()

    named(judged(lambda w, x, y, lr: w - lr * gradient(x, y, w), np.arange(1.0, 5.0), np.arange(2.0, 10.0, 2.0), lr=0.01), "gradient_sum")


# github.com/trekhleb/homemade-machine-learning/issues/17: theta[0] moves twice in each step
def test_a_bias_that_moves_twice():
    def gradient_step(theta, X, y, alpha):
        m = len(y)
        delta = X @ theta - y
        theta = theta - alpha * 2 / m * (delta.T @ X).T
        theta[0] = theta[0] - alpha * 2 / m * (X[:, 0].T @ delta).T
        return theta

    named(judged(gradient_step), "gradient_part")


# github.com/trekhleb/homemade-machine-learning/pull/64: 1 / 2 * m is m / 2
def test_a_cost_with_the_wrong_precedence():
    def gradient_descent(X, y, alpha, num_iterations):
        m, theta, cost_history = len(y), np.zeros(3), []
        for _ in range(num_iterations):
            delta = X @ theta - y
            cost_history.append((1 / 2 * m) * (delta.T @ delta))
            theta = theta - alpha * (2 / m) * (X.T @ delta)
        return theta, cost_history

    report = judged(gradient_descent)
    assert report.first.quantity == "loss"
    named(report, "loss_scaled")


# github.com/kaleko/CourseraML/issues/12: tmptheta = theta is no copy
def test_a_temporary_theta_that_is_theta():
    def step(X, y, theta, alpha):
        tmptheta = theta
        for j in range(len(tmptheta)):
            tmptheta[j] = theta[j] - alpha * 2 / len(y) * np.sum((X @ theta - y) * X[:, j])
        return tmptheta

    named(judged(step), "gauss_seidel")


# github.com/girishkuniyal/Predict-housing-prices-in-Portland/issues/1: an index that is used twice
def test_a_column_that_is_used_twice():
    def step(X, y, theta, alpha):
        error, m = X @ theta - y, len(y)
        temp0 = theta[0] - alpha * 2 / m * np.sum(error * X[:, 0])
        temp1 = theta[1] - alpha * 2 / m * np.sum(error * X[:, 1])
        temp2 = theta[2] - alpha * 2 / m * np.sum(error * X[:, 1])
        return np.array([temp0, temp1, temp2])

    named(judged(step), "column_repeated")


# github.com/udacity/deep-learning/issues/253: the slope's gradient is multiplied by the slope, not
# by x
def test_a_slope_that_takes_the_place_of_x():
    def step(x, y, m, b, learning_rate):
        diff = m * x + b - y
        return m - learning_rate * 2 * np.mean(m * diff), b - learning_rate * 2 * np.mean(diff)

    named(judged(step, x, intercept=True, w0=[1.0, 0.0]))


# github.com/ageron/handson-ml/issues/49: 2/m is 0 where integers are divided as Python 2 does
def test_an_integer_division():
    def batch(X_b, y, theta, eta, n_iterations, m):
        for _ in range(n_iterations):
            gradients = 2 // m * X_b.T.dot(X_b.dot(theta) - y)
            yield theta
            theta = theta - eta * gradients

    named(judged(batch), "parameter_not_updated")


# github.com/ageron/handson-ml/issues/73: the gradient of a mini-batch is not divided by its size
def test_a_batch_that_is_not_divided():
    def step(X_b, y, theta, eta):
        xi, yi = X_b, y  # the mini-batch is everything
        return theta - eta * 2 * xi.T.dot(xi.dot(theta) - yi)

    named(judged(step, lr=0.002), "gradient_sum")


# github.com/ageron/handson-ml2/issues/510: alpha * theta[1] is added to the intercept's gradient
# too
def test_a_ridge_that_pulls_the_intercept_too():
    def ridge(X_b, y, theta, eta, n_iterations):
        path = [theta]
        for _ in range(n_iterations):
            gradients = 2 / len(y) * X_b.T.dot(X_b.dot(theta) - y) + 0.5 * theta[1]
            theta = theta - eta * gradients
            path.append(theta)
        return path

    named(judged(ridge))


# github.com/NeuromatchAcademy/course-content-dl/issues/423: lambda * w where 2 * lambda * w is the
# gradient
def test_a_penalty_that_is_half_as_large():
    def step(w, X, y, lr):
        return w - lr * (2 / len(y) * X.T @ (X @ w - y) + 0.1 * w)

    named(judged(step), "weight_decay_coupled")


# github.com/kaleko/CourseraML/issues/4, and the book's own way: the start is the first of the rows
def test_a_start_that_is_recorded_first():
    def descend(X, y, theta, alpha, iters):
        thetahistory, jvec = [], []
        for _ in range(iters):
            thetahistory.append(theta.copy())
            jvec.append(np.mean((X @ theta - y) ** 2))
            theta = theta - alpha * 2 / len(y) * X.T @ (X @ theta - y)
        return theta, thetahistory, jvec

    agrees(judged(descend))


# github.com/nusco/progml-code/issues/1: the loss of the step before is put beside w
def test_a_loss_of_the_row_before():
    def train(X, Y, iterations, lr):
        w, history, previous = np.zeros(3), [], None
        for _ in range(iterations):
            current = np.mean((X @ w - Y) ** 2)
            history.append((w, current if previous is None else previous))
            previous = current
            w = w - lr * 2 / len(Y) * X.T @ (X @ w - Y)
        return history

    named(judged(train), "loss_one_epoch_late")


# github.com/42-AI/bootcamp_machine-learning/issues/63: the mean of the squares where half of it is
# meant
def test_half_a_loss_beside_a_whole_gradient():
    def fit_(x, y, theta, alpha, max_iter):
        losses = []
        for _ in range(max_iter):
            losses.append(np.sum((x @ theta - y) ** 2) / (2 * len(y)))
            theta = theta - alpha * 2 / len(y) * x.T @ (x @ theta - y)
        return theta, losses

    named(judged(fit_), "loss_half")


# github.com/42-AI/bootcamp_machine-learning/issues/20: the whole course descends on half of the
# squares
def test_a_course_on_half_of_the_squares():
    def fit_(x, y, theta, alpha, max_iter):
        thetas, losses = [theta], []
        for _ in range(max_iter):
            losses.append(np.sum((x @ theta - y) ** 2) / (2 * len(y)))
            theta = theta - alpha / len(y) * x.T @ (x @ theta - y)
            thetas.append(theta)
        return thetas, losses

    named(judged(fit_), "half_convention")


# github.com/dvgodoy/PyTorchStepByStep/issues/21: the signs are turned around twice
def test_two_signs_that_cancel():
    def train(x_train, y_train, lr, n_epochs):
        b, w, rows = 0.0, 0.0, [(0.0, 0.0)]
        for _ in range(n_epochs):
            error = y_train - (b + w * x_train)
            b_grad, w_grad = -2 * error.mean(), -2 * (x_train * error).mean()
            b, w = b - lr * b_grad, w - lr * w_grad
            rows.append((w, b))
        return rows

    agrees(judged(train, x, intercept=True))


# github.com/udacity/deep-learning/issues/285: the sign that a reader wanted to turn around
def test_the_sign_that_a_reader_asked_for():
    def update_weights(x, y, weights, bias, learnrate):
        d_error = -2 * (y - (x @ weights + bias)) / len(y)
        weights = weights + learnrate * x.T @ d_error
        return weights, bias + learnrate * d_error.sum()

    named(judged(update_weights, X, intercept=True), "gradient_sign")


# github.com/schneems/Octave/pull/14 and many more: theta 1 sees the new theta 0
def test_an_update_that_is_not_simultaneous():
    def gradient_descent(x, y, theta0, theta1, alpha, num_iters):
        rows = [(theta0, theta1)]
        for _ in range(num_iters):
            theta0 = theta0 - alpha * 2 * np.mean(theta0 + theta1 * x - y)
            theta1 = theta1 - alpha * 2 * np.mean((theta0 + theta1 * x - y) * x)
            rows.append((theta0, theta1))
        return rows

    named(judged(gradient_descent, x, intercept=True), "gauss_seidel")


# github.com/chasinginfinity/ml-from-scratch/issues/10: the intercept is derived in its own way,
# rightly
def test_a_slope_and_an_intercept():
    def descend(X, Y, m, c, L, epochs):
        n = float(len(X))
        for _ in range(epochs):
            Y_pred = m * X + c
            D_m, D_c = (-2 / n) * sum(X * (Y - Y_pred)), (-2 / n) * sum(Y - Y_pred)
            m, c = m - L * D_m, c - L * D_c
        return m, c

    agrees(judged(descend, x, intercept=True))


# gavinkhung/machine-learning-visualized/issues/5: the weight's update is that of the bias
def test_a_weight_that_moves_like_the_bias():
    def step(x, y, w, b, eta):
        db = -2 * np.mean(y - (w * x + b))
        return w - eta * db, b - eta * db

    named(judged(step, x, intercept=True), "gradient_without_features", "column_repeated")


# d2l-ai/d2l-en/pull/1000: the mean of the losses, which the optimizer divides once more
def test_a_mean_that_is_divided_again():
    def sgd(params, X, y, lr, batch_size=14):
        gradient = 2 * X.T @ (X @ params - y) / len(y)
        return params - lr * gradient / batch_size

    named(judged(sgd), "gradient_divided_twice")


# rasbt/machine-learning-book/issues/141: adding the errors is no defect
def test_an_adaline_that_adds_its_errors():
    class AdalineGD:
        def __init__(self, eta=LR, n_iter=EPOCHS):
            self.eta, self.n_iter = eta, n_iter

        def fit(self, X, y):
            self.w_, self.b_, self.losses_ = np.zeros(X.shape[1]), 0.0, []
            for _ in range(self.n_iter):
                errors = y - (X @ self.w_ + self.b_)
                self.w_ += self.eta * 2.0 * X.T.dot(errors) / X.shape[0]
                self.b_ += self.eta * 2.0 * errors.mean()
                self.losses_.append((errors**2).mean())
            return self

    agrees(judged(AdalineGD(), X, intercept=True, lr=None, epochs=None))


# github.com/kaleko/CourseraML/issues/7: the hypothesis of the initial theta, in every epoch
def test_a_hypothesis_of_the_initial_theta():
    def descendGradient(X, y, initial_theta, alpha, iterations):
        theta, thetahistory = initial_theta.copy(), []
        for _ in range(iterations):
            thetahistory.append(list(theta))
            theta = theta - alpha * 2 / len(y) * X.T @ (X @ initial_theta - y)
        return thetahistory

    named(judged(descendGradient), "gradient_not_recomputed")


# github.com/kaleko/CourseraML/issues/2: all rows of the history are the last one
def test_a_history_of_one_array():
    def descend(X, y, theta, alpha, iters):
        thetahistory = []
        for _ in range(iters):
            thetahistory.append(theta)
            theta -= alpha * 2 / len(y) * X.T @ (X @ theta - y)
        return thetahistory

    named(judged(descend), "rows_are_one_array")


def test_the_data_of_the_gallery_are_what_is_said():
    assert np.array_equal(ONES[:, 1:], X)
    assert np.linalg.matrix_rank(ONES) == 3
    assert 0 < LR < 1 / np.linalg.eigvalsh(ONES.T @ ONES / len(Y)).max()
