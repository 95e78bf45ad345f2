"""`fastgd.optuna`: each trial has the value of the single fit, by ==; what diverged has none; an
unfinished batch is told as failed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BruteForceSampler, GridSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

import fastgd
from fastgd.optuna import optimize

rng = np.random.default_rng(5)
X, Y = rng.normal(size=(30, 3)), rng.normal(size=30)
X_VAL, Y_VAL = rng.normal(size=(12, 3)), rng.normal(size=12)
VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}
RATES = {"lr": FloatDistribution(1e-4, 0.5, log=True)}
WIDE = {"lr": FloatDistribution(1e-3, 1e3, log=True)}


@pytest.fixture
def study():
    return optuna.create_study(sampler=RandomSampler(seed=1))


def single(params, epochs, **options):
    """The fit with the values of a trial, by hand."""
    rule = params.get("optimizer", "sgd")
    own = {"lr": params["lr"]}
    if rule == "sgd":
        own |= {name: params[name] for name in ("momentum", "weight_decay") if name in params}
    elif "beta1" in params:
        own["betas"] = (params["beta1"], params["beta2"])
    made = {"sgd": fastgd.SGD, "adam": fastgd.Adam}[rule](**own)
    return fastgd.fit(X, Y, optimizer=made, epochs=epochs, **options)


def test_losses_are_those_of_single_fits(study):
    space = RATES | {"momentum": FloatDistribution(0, 0.9), "weight_decay": FloatDistribution(0, 0.1)}
    assert optimize(study, space, X, Y, n_trials=23, batch_size=10, epochs=40, intercept=True) is study
    assert [trial.number for trial in study.trials] == list(range(23))
    for trial in study.trials:
        fit = single(trial.params, 40, intercept=True)
        assert trial.value == fit.loss
        assert trial.user_attrs == {"status": "COMPLETED", "epochs": 40}
        assert trial.intermediate_values == {}


@pytest.mark.parametrize("batch_size", [1, 20])
def test_validation_losses_of_two_rules_are_those_of_single_fits(study, batch_size):
    """A hyperparameter counts for the rules that have it, also where no trial of a batch has such a
    rule."""
    space = RATES | {"optimizer": CategoricalDistribution(["sgd", "adam"]), "momentum": FloatDistribution(0, 0.9)}
    space |= {"beta1": FloatDistribution(0.5, 0.95), "beta2": FloatDistribution(0.9, 0.9999)}
    optimize(study, space, X, Y, n_trials=20, batch_size=batch_size, epochs=25, tol=0.05, **VALIDATION)
    assert {trial.params["optimizer"] for trial in study.trials} == {"sgd", "adam"}
    assert {trial.user_attrs["status"] for trial in study.trials} == {"COMPLETED", "CONVERGED"}
    for trial in study.trials:
        fit = single(trial.params, 25, tol=0.05)
        assert trial.value == fastgd.fit(X_VAL, Y_VAL, w0=fit.w, lr=0, epochs=0).loss
        assert trial.user_attrs == {"status": str(fit.status), "epochs": int(fit.epochs)}


@pytest.mark.parametrize("by", ["loss", "excess_loss"])
def test_the_value_is_the_one_that_was_asked_for(study, by):
    optimize(study, RATES, X, Y, n_trials=3, by=by, **VALIDATION)
    assert [trial.value for trial in study.trials] == [getattr(single(trial.params, 100), by) for trial in study.trials]


def test_moments_stand_for_the_data(study):
    optimize(study, RATES, fastgd.compress(X, Y), n_trials=5, X_val=fastgd.compress(X_VAL, Y_VAL))
    for trial in study.trials:
        fit = single(trial.params, 100, algorithm="moments")
        assert trial.value == fastgd.fit(fastgd.compress(X_VAL, Y_VAL), w0=fit.w, lr=0, epochs=0).loss


@pytest.mark.parametrize("sampler", [TPESampler, RandomSampler])
def test_a_seeded_study_repeats_itself(sampler):
    def run(seed):
        study = optuna.create_study(sampler=sampler(seed=seed))
        optimize(study, WIDE, X, Y, n_trials=40, batch_size=8)
        return [(trial.params, trial.values, trial.state) for trial in study.trials]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_a_batch_is_one_sweep(study, monkeypatch):
    """After the one that checks the arguments."""
    sizes = []

    def counted(*args, **options):
        sizes.append((len(options["points"]["lr"]), options["epochs"]))
        return fastgd.sweep(*args, **options)

    monkeypatch.setattr("fastgd.optuna.sweep", counted)
    optimize(study, RATES, X, Y, n_trials=70, batch_size=32, epochs=3)
    assert sizes == [(2, 0), (32, 3), (32, 3), (6, 3)]
    optimize(study, RATES, X, Y, n_trials=0)
    assert len(study.trials) == 70


def test_what_diverged_is_pruned_and_has_no_value(study):
    optimize(study, WIDE, X, Y, n_trials=40, epochs=500)
    states = {trial.number: trial.state for trial in study.trials}
    fits = {trial.number: single(trial.params, 500) for trial in study.trials}
    diverged = {number for number, fit in fits.items() if fit.status == fastgd.Status.DIVERGED}
    assert 5 < len(diverged) < 35
    assert {number for number, state in states.items() if state == TrialState.PRUNED} == diverged
    assert {number for number, state in states.items() if state == TrialState.COMPLETE} == states.keys() - diverged
    for trial in study.trials:
        assert trial.value == (None if trial.number in diverged else fits[trial.number].loss)
        assert trial.user_attrs == {"status": str(fits[trial.number].status), "epochs": int(fits[trial.number].epochs)}
    assert study.best_value == min(fits[number].loss for number in states.keys() - diverged)


def test_a_validation_loss_that_overflows_is_pruned(study):
    """A fit that completed beside a validation loss that float32 cannot hold."""
    data = {"X_val": [1e15, -1e15], "y_val": [0.0, 0.0], "dtype": "float32"}
    optimize(study, {"w0": CategoricalDistribution([0.0, 1e6])}, [1.0, 2.0], [0.0, 0.0], lr=0, epochs=1, n_trials=8, **data)
    found = {(trial.params["w0"], trial.value, trial.state.name, trial.user_attrs["status"]) for trial in study.trials}
    assert found == {(0.0, 0.0, "COMPLETE", "COMPLETED"), (1e6, None, "PRUNED", "COMPLETED")}


def test_tpe_learns_from_what_diverged():
    study = optuna.create_study(sampler=TPESampler(seed=0))
    optimize(study, WIDE, X, Y, n_trials=120, batch_size=10, epochs=500)
    pruned = [trial.state == TrialState.PRUNED for trial in study.trials]
    assert sum(pruned[60:]) < sum(pruned[:60]) / 2


def test_queued_trials_are_taken_first(study):
    study.enqueue_trial({"lr": 0.125})
    optimize(study, RATES, X, Y, n_trials=2)
    assert study.trials[0].params == {"lr": 0.125}
    assert study.trials[0].value == fastgd.fit(X, Y, lr=0.125).loss


def test_nesterov_beside_a_momentum_from_zero(study):
    space = RATES | {"momentum": FloatDistribution(0, 0.9), "nesterov": CategoricalDistribution([True, False])}
    optimize(study, space, X, Y, n_trials=6)
    for trial in study.trials:
        assert trial.value == fastgd.fit(X, Y, optimizer=fastgd.SGD(**trial.params)).loss


# -- what ends a study -------------------------------------------------------------------------


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_trials_of_an_unfinished_batch_are_failed(study, raised):
    batches = []

    def progress(done, total):
        if done == total:
            batches.append(total)
        if len(batches) == 2:
            raise raised("now")

    with pytest.raises(raised):
        optimize(study, RATES, X, Y, n_trials=12, batch_size=4, progress=progress)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4 + ["FAIL"] * 4
    assert all(trial.value is None for trial in study.trials[4:])
    optimize(study, RATES, X, Y, n_trials=4)
    assert [trial.state.name for trial in study.trials[8:]] == ["COMPLETE"] * 4


def test_trials_that_were_told_before_an_interrupt_stay(study, monkeypatch):
    told = []

    def tell(self, trial, values=None, **options):
        if len(told) == 2 and values is not None:
            raise KeyboardInterrupt
        told.append(trial)
        return of_optuna(self, trial, values, **options)

    of_optuna = optuna.Study.tell
    monkeypatch.setattr(optuna.Study, "tell", tell)
    with pytest.raises(KeyboardInterrupt):
        optimize(study, RATES, X, Y, n_trials=5)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 + ["FAIL"] * 3


# -- refusals ----------------------------------------------------------------------------------

REFUSED = {
    "names": ({"space": {"learning_rate": RATES["lr"]}}, "the ends of space, as points of fastgd.sweep: points has 'learning_rate'"),
    "ranges": ({"space": RATES | {"momentum": FloatDistribution(-1, 1)}}, r"points\['momentum'\]"),
    "epochs in space": ({"space": RATES | {"epochs": FloatDistribution(1, 9)}}, "epochs"),
    "one beta": ({"space": RATES | {"beta1": FloatDistribution(0, 0.9)}, "optimizer": "adam"}, "space has beta1: give beta1 and beta2"),
    "no space": ({"space": {}}, "space must be a mapping"),
    "numbers": ({"space": {"lr": [0.1, 0.2]}}, r"space\['lr'\] must be a distribution of optuna.distributions, not \[0.1, 0.2\]"),
    "no names": ({"space": {1: RATES["lr"]}}, "space must have names of hyperparameters, not 1"),
    "n_trials": ({"n_trials": -1}, "n_trials must be a whole number, at least 0; it is -1"),
    "batch_size": ({"batch_size": 0}, "batch_size must be a whole number, at least 1; it is 0"),
    "epochs": ({"epochs": -1}, "epochs must be"),
    "progress": ({"progress": 3}, "progress must be"),
    "by": ({"by": "score"}, "by must be 'val_loss', 'loss' or 'excess_loss', not 'score'"),
    "no validation": ({"by": "val_loss"}, "the sweep has no val_loss: give sweep X_val and y_val"),
    "grid": ({"grid": {"lr": [0.1]}}, "optimize takes no grid"),
    "history": ({"history": True}, "optimize takes no history"),
    "an unknown option": ({"learning_rate": 1}, "has no option 'learning_rate'"),
    "twice": ({"lr": 0.1}, "lr was given twice"),
    "many fits": ({"X": rng.normal(size=(4, 30, 3))}, "the data are 4 fits, but a trial has one value"),
    "shapes": ({"y": Y[:7]}, "samples"),
    "missing data": (
        {"y": [np.nan, *Y[1:]], "nan_policy": "propagate"},
        r"no trial can have a value: the loss at the start does not count \(INVALID_DATA\)",
    ),
}


@pytest.mark.parametrize(("changed", "said"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_leave_no_trial(study, changed, said):
    with pytest.raises((ValueError, TypeError), match=said):
        optimize(**({"study": study, "space": RATES, "X": X, "y": Y, "n_trials": 4} | changed))
    assert study.trials == []


def test_studies_that_are_refused():
    create = optuna.create_study
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        brute_force = BruteForceSampler()
    for study, said in (
        (create(direction="maximize"), "study has the direction 'maximize', but a loss is minimised"),
        (create(directions=["minimize", "minimize"]), "study has 2 objectives, but a fit has one loss"),
        (create(sampler=GridSampler({"lr": [0.1, 0.2]})), "a GridSampler works inside Study.optimize alone"),
        (create(sampler=brute_force), "a BruteForceSampler works inside Study.optimize alone"),
        ("study", "study must be a study of optuna, such as optuna.create_study\\(\\), not 'study'"),
    ):
        with pytest.raises((ValueError, TypeError), match=said):
            optimize(study, RATES, X, Y, n_trials=4)


def test_without_optuna_the_error_names_the_extra(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"fastgd.optuna needs optuna: pip install 'fastgd\[optuna\]'"):
        optimize(study, RATES, X, Y, n_trials=4)


def test_optuna_is_imported_late():
    code = "import sys, fastgd; fastgd.optuna.optimize; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
