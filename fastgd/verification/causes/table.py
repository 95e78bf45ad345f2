"""The table of causes that `diagnose` can name, with the line of code that mends each.

1. Sentences and fixes are templates: {n} samples, {value} an estimated constant, {lr} the learning
   rate that was given, and what a hypothesis adds. The list in docs/verify.md and the tests read
   this table.
2. Where several hypotheses of the same complexity explain a history, the first of their causes in
   this table wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastgd.kernels.update_rules import UPDATE_RULES

__all__ = ["CAUSES", "Cause", "gradient_of", "mean_of"]


@dataclass(frozen=True)
class Cause:
    """A cause: its code, the sentence about it, and the line of code that mends it, if any."""

    code: str
    about: str  # "update", "start", "loss", "precision" or "nothing"
    sentence: str
    fix: str = ""


# The right gradient of each reduction.
GRADIENTS = {
    "mean": "2 / len(y) * X.T @ residual",
    "sum": "2 * X.T @ residual",
    "half_mean": "X.T @ residual / len(y)",
    "half_sum": "X.T @ residual",
}
_GRADIENT = "gradient = {gradient}"


def gradient_of(reduction: str, weighted: bool) -> str:
    """Return the line of the right gradient."""
    line = GRADIENTS[reduction]
    return line.replace("len(y)", "sample_weight.sum()").replace("residual", "(sample_weight * residual)") if weighted else line


def mean_of(weighted: bool, reduction: str = "mean") -> str:
    """Return the right loss."""
    mean = "np.average(residual**2, weights=sample_weight)" if weighted else "np.mean(residual**2)"
    return {"half_mean": f"{mean} / 2", "half_sum": "np.sum(residual**2) / 2"}.get(reduction, mean)


_PENALTY = "gradient = {gradient} + 2 * {penalty:.6g} * w, of the intercept without it"
_RESIDUAL = "residual = (X @ w).ravel() - y.ravel()"
_LOSS = "loss = {mean}"

CAUSES = {
    cause.code: cause
    for cause in (
        Cause("ok", "nothing", "every step is that of {recipe}, within rounding"),
        Cause("not_judged", "nothing", "no step could be judged"),
        # -- the gradient
        Cause(
            "gradient_sum",
            "update",
            "the gradient is that of the sum of the squares, not of their mean: {n} times too large (where it has "
            "np.dot(...).mean(): np.dot(...) is already the sum over the samples, so .mean() of it does nothing)",
            _GRADIENT,
        ),
        Cause("gradient_mean", "update", "the gradient is that of the mean of the squares, not of their sum: {n} times too small",
              _GRADIENT),
        Cause("gradient_not_halved", "update", "the gradient has the factor 2, which half of the squares does not have", _GRADIENT),
        Cause("gradient_missing_two", "update", "the factor 2 of the derivative of a square is missing", _GRADIENT),
        Cause("gradient_sum_missing_two", "update",
              "the gradient is X.T @ residual: the sum over the samples instead of the mean, without the factor 2 "
              "({value:g} times the right one)",
              _GRADIENT),
        Cause("gradient_double_two", "update", "the gradient has the factor 2 twice", _GRADIENT),
        Cause("gradient_divided_twice", "update", "the gradient is divided by the {n} samples twice", _GRADIENT),
        Cause("gradient_n_minus_1", "update", "the gradient is divided by n - 1 = {n_minus_1} instead of n = {n}", _GRADIENT),
        Cause("broadcast", "update",
              "X @ w minus y is {n} x {n}, every prediction minus every target, as it is of shapes (n,) and (n, 1): {variant}", _RESIDUAL),
        Cause("product_broadcast", "update",
              "residual times a column of X is {n} x {n}, every residual times every sample, as it is of shapes (n,) and (n, 1): the "
              "gradient of w[j] is that of sum(residual) * sum(X[:, j]); {variant}",
              _GRADIENT),
        Cause("half_convention", "update",
              "loss and gradient both have the factor 1/2, as in 1/(2n) * sum(residual**2): one convention, and no two defects; "
              "without weight decay its steps are those of half the learning rate",
              "double lr to have the steps that were asked for (and halve weight_decay, if any); the mean of the squares is 2 * loss"),
        Cause("gradient_sign", "update", "the sign is wrong: w moves up the gradient", "w = w - lr * gradient"),
        Cause("gradient_part", "update",
              "only the gradient of {who} is wrong: it is {value:.6g} times the right one{variant}; that of the other parameters is right",
              _GRADIENT),
        Cause("column_repeated", "update", "the gradient of {who} is that of {other}: it is computed from the same column",
              _GRADIENT),
        Cause("rates_of_parameters", "update",
              "the parameters have learning rates of their own: the factor is {variant}; those of the others are right", _GRADIENT),
        Cause("gradient_without_axis", "update",
              "all weights move alike: the gradient is the {variant} of all its entries, as of np.sum or np.mean without axis=0",
              "gradient = 2 * np.mean(X * residual[:, None], axis=0)"),
        Cause("residual_function", "update", "X is multiplied by {variant}, not by the residual", _GRADIENT),
        Cause("epochs_without_step", "update", "w is not updated in every epoch: {variant}", "one update in each epoch"),
        Cause("begins_anew", "update", "w begins anew in every epoch: each step is taken from the start, as where w is set inside the loop",
              "set w to its start before the loop"),
        Cause("gradient_without_features", "update", "X is missing from the gradient of the weights: it is twice the mean of the residuals",
              _GRADIENT),
        Cause("residual_without_intercept", "update", "the intercept is missing from the residual",
              "residual = X @ w + intercept - y"),
        Cause("intercept_first", "update", "the intercept comes first in w: its last entry was taken for the intercept",
              "w_history = np.column_stack([w_history[:, 1:], w_history[:, 0]])"),
        Cause("columns_permuted", "update", "the columns are in another order: {variant}", "keep the columns of X and w in one order"),
        Cause("features_scaled", "update", "the gradient is that of other data: {variant}",
              "give verify the X and y that the descent uses, or leave the scaling out"),
        Cause("target_scaled", "update", "the gradient is that of other data: {variant}",
              "give verify the X and y that the descent uses, or leave the scaling out"),
        Cause("target_other", "update",
              "the gradient is that of another y: X.T @ X @ w is right in it, X.T @ y is not, as where y or the rows of X were shuffled "
              "alone, or y was changed"),
        Cause("gradient_not_recomputed", "update", "the gradient of the first epoch is used in every epoch: it is not computed again",
              "compute the gradient in the loop, from the current w"),
        Cause("gradient_rmse", "update", "the gradient is that of the root of the loss: it is divided by 2 * sqrt(loss)", _GRADIENT),
        Cause("gradient_log", "update", "the gradient is that of the logarithm of the loss: it is divided by the loss", _GRADIENT),
        Cause("zero_grad_missing", "update", "gradients add up from epoch to epoch: they are not set to zero", "optimizer.zero_grad()"),
        Cause("ridge_forgotten", "update", "the penalty is missing from the gradient: it is 2 * {penalty:.6g} * w", _PENALTY),
        Cause("ridge_on_intercept", "update", "the penalty, {penalty:.6g} times the squares, is on the intercept too",
              "penalty = 2 * {penalty:.6g} * np.append(w[:-1], 0)"),
        Cause("ridge_missing_two", "update", "the factor 2 of the derivative of the penalty is missing", _PENALTY),
        Cause("ridge_divided_by_n", "update", "the penalty is divided by the {n} samples, as in lambda / (2n) * sum(w**2)", _PENALTY),
        Cause("activation", "update", "the predictions are {variant}, not X @ w: an activation was left in the model",
              "prediction = X @ w"),
        Cause("drop_last", "update", "the last, smaller batch of each epoch is left out", "DataLoader(..., drop_last=False)"),
        Cause("last_batch_divisor", "update",
              "the last, smaller batch of each epoch is divided by the size of the others, {n}",
              "gradient = 2 / len(batch) * X[batch].T @ residual"),
        Cause("batch_divided_by_all", "update",
              "the gradient of each batch is divided by the number of all samples, not of those in it",
              "gradient = 2 / len(batch) * X[batch].T @ residual"),
        Cause("zero_grad_per_epoch", "update",
              "gradients add up from batch to batch: they are set to zero once in each epoch, not before each step",
              "optimizer.zero_grad() before each loss.backward()"),
        Cause("weights_ignored", "update", "the samples count alike in the gradient: their weights are not used{variant}",
              _GRADIENT),
        Cause("weights_root", "update", "the gradient has the square roots of the weights in place of the weights{variant}", _GRADIENT),
        Cause("weights_squared", "update", "the gradient has the squares of the weights in place of the weights{variant}", _GRADIENT),
        Cause("weights_not_normalized", "update",
              "the gradient is divided by the number of samples, not by the sum of their weights",
              _GRADIENT),
        Cause("gradient_stale", "update", "each step uses the gradient of the epoch before",
              "compute the gradient from the current w before each update"),
        Cause("gauss_seidel", "update", "parameters are updated one after the other, {variant}: the later ones see the new values",
              "compute all of the gradient first, then update w and the intercept together"),
        Cause("intercept_not_updated", "update", "the intercept is never updated", "intercept = intercept - lr * 2 * residual.mean()"),
        Cause("parameter_not_updated", "update", "{variant} never updated"),
        Cause("sign_gradient", "update", "each step is lr times the sign of the gradient", "w = w - lr * gradient"),
        Cause("normalized_gradient", "update", "the gradient is divided by its length", "w = w - lr * gradient"),
        Cause("gradient_absolute_loss", "update", "the gradient is that of the mean absolute residual", _GRADIENT),
        # -- the rule
        Cause("lr_scaled", "update",
              "every step is {times} times the right one, as if the learning rate were {instead} instead of {lr:.6g}",
              "take the factor {times} out of the step: w = w - lr * gradient"),
        Cause("momentum", "update", "there is momentum {value:.6g}{variant}", "{declared_options}"),
        Cause("nesterov_torch", "update", "there is Nesterov momentum {value:.6g}, in torch's form{variant}", "{declared_options}"),
        Cause("nesterov_sutskever", "update",
              "there is Nesterov momentum {value:.6g} in Sutskever's form: the gradient is taken ahead, at w + momentum * (last "
              "step){variant}",
              "{declared_options}; optimizer=fastgd.SGD(momentum={value:.6g}, nesterov=True) differs in the first step only"),
        Cause("dampening", "update", "there is momentum {value:.6g} with the gradient damped by {damping:.6g}{variant}",
              "dampening = {declared_dampening:g}"),
        Cause("weight_decay_coupled", "update", "there is weight decay {decay:.6g}, added to the gradient{variant}",
              "{coupled_fix}"),
        Cause("weight_decay_decoupled", "update", "there is weight decay {decay:.6g}, applied to w itself (as in AdamW){variant}",
              "{decoupled_fix}"),
        Cause("l1", "update", "there is an L1 penalty: {value:.6g} * sign(w) is added to the gradient{variant}"),
        Cause("gradient_clipped", "update", "the gradient is clipped to the length {value:.6g}", "take the clipping out"),
        Cause("gradient_clipped_values", "update", "every entry of the gradient is clipped to the size {value:.6g}",
              "take the clipping out"),
        Cause("adam", "update", "the steps are those of Adam", 'optimizer="adam"'),
        Cause("adamw", "update", "the steps are those of AdamW, weight decay {value:.6g}",
              "optimizer=fastgd.AdamW(weight_decay={value:.6g})"),
        Cause("adam_no_bias_correction", "update", "the steps are those of Adam without its bias correction",
              "divide m by 1 - beta1**t and v by 1 - beta2**t, t = 1, 2, ..."),
        Cause("adam_eps_inside", "update", "the steps are those of Adam with eps inside the square root", "m / (np.sqrt(v) + eps)"),
        Cause("adam_eps_before_correction", "update",
              "the steps are those of Adam with eps added to sqrt(v) before v is corrected: lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / "
              "(sqrt(v) + eps)",
              "m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)"),
        Cause("adam_one_correction", "update", "the steps are those of Adam with {variant} not corrected",
              "divide m by 1 - beta1**t and v by 1 - beta2**t, t = 1, 2, ..."),
        Cause("adam_count", "update", "the steps are those of Adam with t = {variant} in its correction",
              "t = 1, 2, 3, ...: one for each step"),
        Cause("adam_correction_accumulates", "update",
              "the steps are those of Adam that keeps the corrected m and v: each step corrects them again",
              "m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)"),
        Cause("adam_amsgrad", "update", "the steps are those of Adam; {variant}", "amsgrad = {declared_amsgrad}"),
        Cause("rule_constants", "update", "the steps are those of {rule} with {constants}"),
        *(Cause(rule.name, "update", f"the steps are those of {rule.class_name}", f'optimizer="{rule.name}"')
          for rule in UPDATE_RULES.values() if rule.name not in ("sgd", "adam", "adamw")),
        Cause("rmsprop_eps_inside", "update", "the steps are those of RMSprop with eps inside the square root", "g / (np.sqrt(v) + eps)"),
        Cause("steps_per_sample", "update", "there is a step for each sample in an epoch: {variant}",
              "compute the gradient of all samples before each update, or ask for batch_size={value:g}"),
        Cause("mini_batches", "update", "there is a step for each mini-batch of {variant}",
              "compute the gradient of all samples before each update, or ask for batch_size={value:g}"),
        Cause("rows_are_steps", "update", "each row is w after one mini-batch of {variant}",
              "compute the gradient of all samples before each update, or ask for batch_size={value:g}"),
        Cause("plain_descent", "update", "the steps are those of plain gradient descent, not of {recipe}"),
        Cause("rule_part", "update", "the update rule is not the same for all parameters: {variant}", "step all parameters by one rule"),
        Cause("momentum_begins_anew", "update",
              "the momentum buffer begins anew in each epoch, as where the optimizer is constructed in the loop",
              "construct the optimizer once, before the first epoch"),
        Cause("rows_dropped", "update", "the gradient uses {kept} of {n} samples: {variant}", "use all rows of X and y"),
        Cause("lr_schedule", "update", "the learning rate changes: {variant}", "{rates_fix}"),
        Cause("momentum_holds_lr", "update",
              "the learning rate is inside the momentum buffer, v = momentum * v + lr * gradient: where lr changes, the old steps keep "
              "theirs",
              "v = momentum * v + gradient; w = w - lr * v"),
        Cause("schedule_early", "update", "the schedule is one epoch early: each epoch has the learning rate of the next one",
              "scheduler.step() after optimizer.step(), once in each epoch"),
        Cause("schedule_late", "update", "the schedule is one epoch late: each epoch but the first has the learning rate of the one before",
              "step the scheduler in every epoch, from the first one on"),
        Cause("schedule_per_batch", "update", "the schedule is stepped for each batch: the learning rate changes within an epoch",
              "scheduler.step() once in each epoch, after its batches"),
        Cause("schedule_of_rates", "update",
              "schedule= was given the learning rates, {rate:.6g} in the first epoch: a callable returns what lr = {value:.6g} is "
              "multiplied by",
              "schedule=lambda epoch: rate(epoch) / {value:.6g}, or an array of the rates"),
        Cause("schedule_unused", "update", "the schedule is not followed: the learning rate stays {rate:.6g}",
              "scheduler.step() after optimizer.step(), once in each epoch"),
        # -- the precision
        Cause("float32_storage", "precision", "w is stored in float32, the rest is computed in float64", 'w = w.astype("float64")'),
        Cause("float32_arithmetic", "precision", "the arithmetic is float32", 'compute in float64, or ask for dtype="float32"'),
        Cause("w_rounded", "precision", "w is {variant}", "keep w as it is: np.round and int only where it is shown"),
        Cause("data_dtype", "precision",
              "the arithmetic is that of the dtype of the data: with {kinds} it disagrees, with the same numbers in {judged} it agrees",
              'X, y = X.astype("{judged}"), y.astype("{judged}")'),
        Cause("not_finite", "update", "w is not finite from epoch {epoch} on, where nothing can overflow"),
        # -- the start
        Cause("recorded_after_update", "start", "w is recorded after the update: row 0 is w after the first one, not the start",
              "record w before the first update too"),
        Cause("rows_are_one_array", "start",
              "every row of w is one and the same array, which the descent changes in place: all show its end",
              "w_history.append(w.copy())"),
        Cause("initial_w", "start", "the descent starts at {found} instead of {expected}", "w = w0"),
        # -- the loss
        Cause("loss_after_update", "loss", "the loss is recorded after the update: loss[t] is the loss of w[t + 1]",
              "compute the loss before w is updated"),
        Cause("loss_one_epoch_late", "loss", "the loss is recorded one epoch late: loss[t] is the loss of w[t - 1]",
              "record w and its loss together"),
        Cause("loss_sum", "loss", "the loss is the sum of the squares, not their mean: {n} times too large", _LOSS),
        Cause("loss_half", "loss", "the loss has a factor 1/2", _LOSS),
        Cause("loss_rmse", "loss", "the loss is the root of the mean of the squares", _LOSS),
        Cause("loss_n_minus_1", "loss", "the loss is divided by n - 1 = {n_minus_1} instead of n = {n}", _LOSS),
        Cause("loss_scaled", "loss", "the loss is {value:.6g} times the mean of the squares{variant}", _LOSS),
        Cause("loss_of_residuals", "loss", "the loss is {variant}, not the mean of the squares", _LOSS),
        Cause("loss_log", "loss", "the loss is the logarithm of the mean of the squares", _LOSS),
        Cause("loss_cumulative", "loss", "the loss is the sum of those of all epochs so far",
              "losses.append(loss), and loss = 0.0 in every epoch"),
        Cause("loss_running_mean", "loss", "the loss is the mean of those of all epochs so far", "losses.append(loss)"),
        Cause("loss_rounded", "loss", "the loss is rounded to {variant}", "keep the loss as it is: round it only where it is shown"),
        Cause("loss_includes_penalty", "loss", "the loss includes a penalty: {value:.6g} * {variant}", _LOSS),
        Cause("loss_broadcast", "loss",
              "the loss is taken over {n} x {n} differences, every prediction minus every target: it is mean((X @ w - y.mean())**2) + "
              "y.var(){variant}",
              _RESIDUAL),
        Cause("loss_absolute", "loss", "the loss is the mean of the absolute residuals", _LOSS),
        Cause("loss_unweighted", "loss", "the loss is the mean of the squares without the weights of the samples",
              "loss = np.average(residual**2, weights=sample_weight)"),
        Cause("loss_float32", "loss", "the loss is computed in float32", "compute the loss in float64"),
        Cause("loss_cancellation", "loss",
              "the digits of the loss cancel, as in w @ X.T @ X @ w - 2 * w @ X.T @ y + y @ y: its terms are up to {value:.2g} times "
              "as large",
              _LOSS),
        Cause("loss_not_finite", "loss", "the loss is not finite from epoch {epoch} on, where nothing can overflow"),
        Cause("ends_early", "nothing", "it makes {value} of {asked}{variant}", "for epoch in range(epochs):"),
        Cause("inputs_modified", "nothing", "the candidate changes the X or y that it is given", "work on a copy: X = X.copy()"),
        Cause("unknown", "nothing", "{variant}"),
    )
}  # fmt: skip
