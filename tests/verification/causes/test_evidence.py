"""What a cause tells, half of the squares, and what is unknown because it may be something else."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.verification.causes.evidence import scored_by
from fastgd.verification.causes.hypotheses import Hypothesis, Scene
from fastgd.verification.causes.loss import LossHypothesis, right_loss
from fastgd.verification.causes.observation import Term
from fastgd.verification.causes.question import read_question
from fastgd.verification.causes.recorded import read_recorded
from tests.support.wrong_lines import EPOCHS, FEATURES, LR, TARGET, N, ask, body, descend

# -- what is told ----------------------------------------------------------------------------------


def test_who_is_wrong_and_by_how_much_is_told():
    w, _ = descend(body("gradient", "gradient = 2 / len(y) * X.T @ residual; gradient[-1] = 2 * residual.sum()"))
    told = ask(w)
    assert "only the gradient of the intercept is wrong: it is 20 times the right one (the sum over the samples" in told.sentence
    w, _ = descend(body("step", "w = w - lr * gradient * [1, 1, 0.37]"))
    assert ask(w).evidence["value"] == 0.37
    w, _ = descend(body("step", "w = w - lr * gradient - [0, 1e-3 * epoch**2, 0]"))
    told = ask(w)
    assert told.code == "unknown"
    assert "w[0], the intercept agree in every step, w[1] does not" in told.sentence
    w, _ = descend(body("gradient", "gradient = 2 / len(y) * X[:, [0, 0, 2]].T @ residual"))
    assert "the gradient of w[1] is that of w[0]" in ask(w).sentence


def test_batches_are_told_with_their_size():
    w, _ = descend(body("step", "for b in range(0, len(y), 8): w = w - lr * 2 * X[b:b+8].T @ (X[b:b+8] @ w - y[b:b+8]) / len(y)"))
    told = ask(w)
    assert told.code == "mini_batches"
    assert "8 samples, in their order; each has the gradient of the sum divided by n" in told.sentence
    w, _ = descend(body("step", "for i in np.random.permutation(len(y)): w = w - lr / 10 * 2 * (X[i] @ w - y[i]) * X[i]"))
    told = ask(w)
    assert told.code == "unknown"
    assert "it looks like several steps on parts of the samples in each epoch" in told.sentence


def test_constants_of_adam_are_told_with_their_library():
    for constant, told in (("1e-7", "eps = 1e-07 (the default of Keras)"), ("1e-4", "eps = 0.0001")):
        w, _ = descend(body("w", f"w = w - lr * m_hat / (np.sqrt(v_hat) + {constant})"))
        diagnosis = ask(w, optimizer="adam")
        assert (diagnosis.code, told in diagnosis.sentence) == ("rule_constants", True)
    w, _ = descend(body("step", "v = (v if epoch else 0.1) + gradient**2; w = w - lr * gradient / (np.sqrt(v) + 1e-7)"))
    told = ask(w, optimizer="adagrad")
    assert told.code == "rule_constants"
    assert "initial_accumulator_value = 0.1 (the default of Keras, TensorFlow and optax)" in told.sentence
    assert ask(w).codes == ("adagrad", "rule_constants")


def test_the_largest_v():
    """Adam with amsgrad, and without it where it was asked for; v falls soon with beta2 = 0.5."""
    half, power = body("w", "{}").replace("0.999 ", "0.5 ").replace("0.001 ", "0.5 "), "(1 - 0.5**(epoch + 1))"
    half = half.replace("(1 - 0.999**(epoch + 1))", power)
    plain = "w = w - lr * m_hat / (np.sqrt(v_hat) + 1e-8)"
    largest = f"top = np.maximum(top if epoch else 0, v); w = w - lr * m_hat / (np.sqrt(top / {power}) + 1e-8)"
    for asked, step in ((False, largest), (True, plain)):
        w, _ = descend(half.replace("{}", step))
        told = ask(w, optimizer=fastgd.Adam(betas=(0.9, 0.5), amsgrad=asked))
        assert told.code == "adam_amsgrad", str(told)
        assert ("is not used" in told.sentence) == asked


def test_decay_of_the_other_kind():
    """AdamW where L2 was asked for, and the reverse."""
    for asked, step in ((fastgd.Adam(weight_decay=0.1), "w * (1 - lr * 0.1)"), (fastgd.AdamW(weight_decay=0.1), "w")):
        coupled = isinstance(asked, fastgd.AdamW)
        gradient = "gradient = 2 / len(y) * X.T @ residual" + (" + 0.1 * w" if coupled else "")
        source = body("w", f"w = {step} - lr * m_hat / (np.sqrt(v_hat) + 1e-8)").replace(
            "gradient = 2 / len(y) * X.T @ residual ", f"{gradient} "
        )
        w, _ = descend(source)
        assert ask(w, optimizer=asked).code == ("weight_decay_coupled" if coupled else "weight_decay_decoupled")


def test_every_cause_is_named_in_code_with_a_half():
    """Of 1/(2n) Σ r², as courses have it: the cause, and the convention."""
    half = "gradient = X.T @ residual / len(y)"
    for step, code in (
        ("v = 0.9 * (v if epoch else 0) + gradient; w = w - lr * (gradient + 0.9 * v)", "nesterov_torch"),
        ("w[:-1] -= lr * gradient[:-1]; w[-1] -= lr * np.mean(X @ w - y)", "gauss_seidel"),
        ("w = w - lr * (gradient + 3 / len(y) * np.append(w[:-1], 0))", "weight_decay_coupled"),
        ("w = w - lr * (before if epoch else gradient); before = gradient", "gradient_stale"),
        ("w = w - lr * gradient * min(1, 5 / np.linalg.norm(gradient))", "gradient_clipped"),
    ):
        source = (
            body("step", step)
            .replace("gradient = 2 / len(y) * X.T @ residual", half)
            .replace("np.mean(residual**2)", "np.mean(residual**2) / 2")
        )
        w, losses = descend(source)
        assert ask(w, losses).codes == (code, "half_convention"), step
        assert ask(w, losses, reduction="half_mean").codes == (code,), step


# -- half of the squares ---------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "factor", "loss"), [("half_mean", 1 / N, 0.5), ("half_sum", 1.0, N / 2)])
def test_half_of_the_squares_may_be_asked_for(reduction, factor, loss):
    lr = LR if reduction == "half_mean" else LR / N
    asked = {"lr": lr, "intercept": True, "reduction": reduction}
    rows, means = [np.zeros(3)], []
    X = np.column_stack([FEATURES, np.ones(N)])
    for _ in range(EPOCHS):
        means.append(np.mean((X @ rows[-1] - TARGET) ** 2))
        rows.append(rows[-1] - lr * factor * X.T @ (X @ rows[-1] - TARGET))
    for losses, told in ((np.array(means), False), (loss * np.array(means), True)):
        report = fastgd.verify((rows, losses), FEATURES, TARGET, **asked)
        assert report.ok, str(report)
        assert ("each loss is read as half of the" in str(report)) == told
        assert fastgd.diagnose(FEATURES, TARGET, rows, losses, **asked).ok
    assert fastgd.diagnose(FEATURES, TARGET, rows, 3.7 * np.array(means), **asked).code == "loss_scaled"
    assert fastgd.verify(rows[::3], FEATURES, TARGET, epochs=EPOCHS, **asked).ok  # every third row
    twice = [np.zeros(3)]
    for _ in range(EPOCHS):
        twice.append(twice[-1] - lr * 2 * factor * X.T @ (X @ twice[-1] - TARGET))
    diagnosis = fastgd.diagnose(FEATURES, TARGET, twice, **asked)
    assert diagnosis.code == "gradient_not_halved"
    assert diagnosis.fix == ("gradient = X.T @ residual / len(y)" if reduction == "half_mean" else "gradient = X.T @ residual")


def test_backends_know_no_half():
    with pytest.raises(ValueError, match="ask for reduction='sum' with half of lr"):
        fastgd.verify("numpy", FEATURES, TARGET, lr=LR, epochs=3, intercept=True, reduction="half_sum")


def test_torch_modules_of_half_of_the_squares(torch):
    X, y = torch.tensor(FEATURES), torch.tensor(TARGET)
    module = torch.nn.Linear(2, 1).double()
    report = fastgd.verify(
        (module, torch.optim.SGD(module.parameters(), lr=LR)), X, y, lr=LR, epochs=5, intercept=True, reduction="half_mean"
    )
    assert report.ok, str(report)


# -- never a sure and wrong name -------------------------------------------------------------------


def test_what_rounding_to_decimals_does_not_explain():
    """Rows of two decimals, and a step that is off by two of them: not the rounding alone."""
    w, _ = descend(body("step", "w = np.round(w - lr * gradient + 0.02 * (-1) ** epoch, 2)"))
    assert ask(w).code == "unknown"


def test_a_start_that_is_rounded_with_the_rows():
    """It is no other start; where the rows are not rounded but whole by themselves, it is one."""
    w0 = np.array([0.331, -0.278, 0.119])
    X = np.column_stack([FEATURES, np.ones(N)])
    rows = [w0]
    for _ in range(EPOCHS):
        rows.append(rows[-1] - LR * 2 / N * X.T @ (X @ rows[-1] - TARGET))
    assert ask(np.round(rows, 2), w0=w0).codes == ("w_rounded",)
    w = [0.0]
    for _ in range(4):
        w.append(w[-1] - 0.5 * (w[-1] - 4.0) * 2)  # x = 1, y = 4: w is 0, 4, 4, ...
    assert fastgd.diagnose([1.0], [4.0], w, lr=0.5, w0=[0.3]).codes == ("initial_w",)


@pytest.mark.parametrize(("factor", "code"), [(0.5, "gradient_missing_two"), (0.37, "lr_scaled")])
def test_a_part_needs_others_that_are_right(factor, code):
    """Where the other parameters cannot show it, all may have the factor."""
    X = np.column_stack([FEATURES[:, 0], np.zeros(N)])  # the gradient of w[1] is always 0
    w = [np.zeros(2)]
    for _ in range(EPOCHS):
        w.append(w[-1] - LR * factor * 2 * X.T @ (X @ w[-1] - TARGET) / N)
    diagnosis = fastgd.diagnose(X, TARGET, w, lr=LR)
    assert diagnosis.code == code
    assert "gradient_part" in diagnosis.also_possible


def test_another_target_needs_the_right_matrix():
    """A gradient that is off by a constant, where w hardly moves: X.T @ X is not seen."""
    w, step = [np.zeros(3)], np.array([1.0, 2.0, 3.0])
    for _ in range(EPOCHS):
        w.append(w[-1] - 1e-13 * step)
    assert fastgd.diagnose(FEATURES, TARGET, w, lr=1e-13, intercept=True).code == "unknown"


def test_one_number_names_no_other_gradient():
    """With one parameter and no noise all gradients that are 0 at the best fit are multiples."""
    x = np.array([1.0, 2.0, 3.0, 4.0])
    for size in (1, 3):
        w = [0.5]
        for _ in range(15):
            row = w[-1]
            for b in range(0, 4, size):
                row = row - 0.01 * 2 * (x[b : b + size] * (row * x[b : b + size] - 2 * x[b : b + size])).mean()
            w.append(row)
        diagnosis = fastgd.diagnose(x, 2 * x, w, lr=0.01)
        assert diagnosis.code == "unknown"
        assert ("steps_per_sample" if size == 1 else "mini_batches") in diagnosis.also_possible


def test_rows_of_one_array_need_evidence():
    """Equal rows that are not where the descent ends, and no losses: another start."""
    X = np.column_stack([FEATURES, np.ones(N)])
    w = np.zeros(3)
    for _ in range(EPOCHS):
        w = w - LR * 2 / N * X.T @ (X @ w - TARGET)
    start = {"w0": np.zeros(3)}
    rows = np.repeat(w[None], EPOCHS + 1, axis=0)
    assert ask(rows, **start).code == "rows_are_one_array"
    assert "rows_are_one_array" not in ask(rows + 0.1, **start).codes


# -- data that are changed in place ----------------------------------------------------------------


def shuffled_in_place(w, X, y, lr):
    np.random.default_rng(len(X)).shuffle(X)
    return w - lr * 2 / len(y) * X.T @ (X @ w - y)


def scaled_in_place(w, X, y, lr):
    X *= 1.001
    return w - lr * 2 / len(y) * X.T @ (X @ w - y)


def centred_in_place(w, X, y, lr):
    X -= X.mean(axis=0)
    return w - lr * 2 / len(y) * X.T @ (X @ w - y)


@pytest.mark.parametrize("step", [shuffled_in_place, scaled_in_place, centred_in_place])
def test_a_change_of_the_data_is_the_cause(step):
    diagnosis = fastgd.verify(step, FEATURES, TARGET, lr=LR, epochs=8).diagnosis
    assert diagnosis.code == "inputs_modified"
    assert diagnosis.fix == "work on a copy: X = X.copy()"


def test_a_schedule_beside_momentum_and_its_buffer():
    rates = LR * 0.8 ** np.arange(EPOCHS)
    source = "v = 0.9 * (v if epoch else 0) + lr * 0.8**epoch * gradient; w = w - v"
    w, _ = descend(body("step", source))
    rule = fastgd.SGD(momentum=0.9)
    assert fastgd.diagnose(FEATURES, TARGET, w, lr=rates, optimizer=rule, intercept=True).code == "momentum_holds_lr"
    w, _ = descend(body("step", "v = 0.9 * (v if epoch else 0) + gradient; w = w - lr * 0.8**epoch * v"))
    told = ask(w, optimizer=rule)
    assert told.code == "lr_schedule"
    assert "times 0.8 per epoch" in told.sentence
    w, _ = descend(body("step", "v = 0.9 * (v if epoch else 0) + 0.1 * gradient; w = w - lr * v"))
    assert ask(w, optimizer=rule).code == "dampening"


def test_a_bound_wider_than_what_it_explains_explains_nothing():
    """It is compared with what is wrong with w, and with how far w moves."""
    w, losses = descend(body("step", "w = w - 1.01 * lr * gradient"))
    question = read_question(FEATURES, TARGET, lr=LR, optimizer="sgd", reduction="mean", intercept=True, w0=None)
    seen = question.observe(read_recorded(w, losses, n_parameters=3, intercept=True, dtype=None, of_data=np.dtype(float)))
    scene = Scene(seen, question.asked)
    wrong, moves = np.abs(seen.moved - scene.step.value), np.abs(seen.moved)

    def tau(width, asked=scene.step):
        return scored_by(scene, asked, [Hypothesis(("l1",), 1, Term(seen.moved, width / 8))])[0][1]

    assert tau(0.9 * wrong) == 0
    assert tau(1.1 * wrong) == tau(1.1 * moves) == np.inf
    far = Term(1e6 * scene.step.value, scene.step.error)  # where the right step is long, and w hardly moves
    assert tau(0.9 * moves, far) == 0
    assert tau(10 * moves, far) == np.inf
    right = right_loss(seen).value[: len(losses)]
    bent = 1.5 * right
    for width, explains in ((0.9, True), (1.1, False)):
        assert LossHypothesis(("loss_half",), 1, bent, width * np.abs(bent - right) / 8).explains(bent, right_loss(seen)) is explains
