"""`batch_size=`: every step in lockstep with torch, the loop that users of torch write, states in
mid-training, the same bits in any company, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import AUTOGRAD, STREAM
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.testing import minibatch_order
from fastgd.verification.bound import check_lockstep
from tests import grids
from tests.support.refusals import X5, Y5, refused, x, y
from tests.support.rule_options import OPTIONS, assert_refused, optimizer, rules_of, rules_with

OURS, OTHERS = 2.0, 8.0
RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=53)


# -- every step ------------------------------------------------------------------------------------

CASES = [(rule, option, dtype) for rule in rules_with("cpu") for option in OPTIONS[rule] for dtype in ("float32", "float64")]


def judged(before, after, loss, data, rule, hyper, dtype, **options):
    check = check_lockstep(
        *data, (before.w, before.slots, int(before.epoch), before.products), (after.w, after.slots, after.products), loss,
        rule=UPDATE_RULES[rule], lr=0.03125, hyper=hyper, dtype=dtype, intercept=True, **options,
    )  # fmt: skip
    return max(check.tau_w, check.tau_slots, check.tau_products), check.tau_loss


@pytest.mark.parametrize(("rule", "option", "dtype"), grids.thin("rules on mini-batches in lockstep", CASES, 4))
def test_every_step_in_lockstep_with_torch(rule, option, dtype, record_tau, torch):
    """An epoch is a step of `stream` on each batch's samples, by ==; each step is judged, and
    torch's from the same state."""
    hyper, X_, Y_ = OPTIONS[rule][option], X.astype(dtype), Y.astype(dtype)
    common = {"lr": 0.03125, "optimizer": optimizer(rule, hyper), "intercept": True}
    whole = fastgd.fit(X_, Y_, epochs=2, batch_size=16, seed=9, history=True, **common)
    state = fastgd.fit(X_, Y_, epochs=0, algorithm="stream", **common).state
    for epoch in range(2):
        running = 0.0
        for rows in minibatch_order(53, 16, epoch, 9):
            data = np.ascontiguousarray(X_[rows]), Y_[rows]
            one = fastgd.fit(*data, epochs=1, state=state, history=True, **common)
            tau = judged(state, one.state, one.history.loss[0], data, rule, hyper, dtype)
            record_tau(f"{rule}, mini-batches", dtype, option, *tau)
            assert max(tau) <= OURS, (epoch, tau)
            running += float(one.history.loss[0]) * len(rows)
            if "mu_product" not in UPDATE_RULES[rule].products:  # torch's is a float32: tests/fit/test_rules.py
                start = dataclasses.replace(state, algorithm=np.full_like(state.algorithm, AUTOGRAD))
                theirs = fastgd.fit(*data, epochs=1, state=start, backend="torch", history=True, **common)
                no_products = dataclasses.replace(theirs.state, products=one.state.products)
                tau = judged(start, no_products, theirs.history.loss[0], data, rule, hyper, dtype)
                record_tau(f"{rule}, torch", dtype, f"mini-batches, {option}", *tau)
                assert max(tau) <= OTHERS, (epoch, tau)
            state = one.state
        assert whole.history.batch_loss[epoch] == np.array(running / 53, dtype)
    assert np.array_equal(state.w, whole.state.w)
    assert np.array_equal(state.slots, whole.state.slots)
    assert int(state.epoch) == int(whole.state.epoch) == 8


def users_loop(torch, make, *, epochs, drop_last=False, reduction="mean", weights=None, scheduler=None, every_step=False):
    """What a user of torch writes: w and the printed loss of every epoch."""
    columns = [torch.tensor(X), torch.tensor(Y)] + ([] if weights is None else [torch.tensor(weights)])
    data = torch.utils.data.TensorDataset(*columns)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer_ = make([w])
    schedule = None if scheduler is None else scheduler(optimizer_)
    rows_of_w, printed = [], []
    for epoch in range(epochs):
        rows_of_w.append(w.detach().numpy().copy())
        running, seen = 0.0, 0.0
        batches = minibatch_order(53, 16, epoch, 3, drop_last=drop_last)
        for X_b, y_b, *weights_b in torch.utils.data.DataLoader(data, batch_sampler=batches):
            optimizer_.zero_grad()
            residual = X_b @ w - y_b
            squares = residual * residual * weights_b[0] if weights_b else residual * residual
            size = weights_b[0].sum() if weights_b else len(y_b)
            loss = squares.sum() / size if weights_b else squares.mean()
            (squares.sum() if reduction == "sum" else loss).backward()
            optimizer_.step()
            running += loss.item() * float(size)
            seen += float(size)
            if schedule is not None and every_step:
                schedule.step()
        if schedule is not None and not every_step:
            schedule.step()
        printed.append(running / seen)
    return np.array([*rows_of_w, w.detach().numpy()]), np.array(printed)


WEIGHTS = RNG.integers(1, 9, 53) / 4
LOOPS = {
    "sgd": ({"optimizer": fastgd.SGD(lr=0.05, momentum=0.9)}, lambda torch: lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9), {}),
    "adam": ({"optimizer": fastgd.Adam(lr=0.05)}, lambda torch: lambda w: torch.optim.Adam(w, lr=0.05), {}),
    "sum": ({"lr": 0.002, "reduction": "sum"}, lambda torch: lambda w: torch.optim.SGD(w, lr=0.002), {"reduction": "sum"}),
    "drop_last": ({"lr": 0.05, "drop_last": True}, lambda torch: lambda w: torch.optim.SGD(w, lr=0.05), {"drop_last": True}),
    "weights": ({"lr": 0.05, "sample_weight": WEIGHTS}, lambda torch: lambda w: torch.optim.SGD(w, lr=0.05), {"weights": WEIGHTS}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_that_users_of_torch_write(name, backend, torch):
    """The distance of a few steps in float64: each is within the bound, and 8 epochs of 4 steps do
    not add up to more than 32 · 100 u of numbers near 1."""
    options, make, of_loop = LOOPS[name]
    w, printed = users_loop(torch, make(torch), epochs=8, **of_loop)
    result = fastgd.fit(X, Y, epochs=8, batch_size=16, seed=3, history=True, backend=backend, **options)
    limit = 32 * 100 * 2.0**-53 * max(1.0, np.abs(w).max())
    assert np.abs(result.history.w - w).max() <= limit
    assert np.abs(result.history.batch_loss - printed).max() <= 2 * limit * max(1.0, printed.max())
    if backend == "torch" and name != "weights":  # the same operations in the same order
        assert np.array_equal(result.history.w, w)
        assert np.array_equal(result.history.batch_loss, printed)


@pytest.mark.parametrize("every", ["epoch", "step"])
def test_schedules_step_as_in_the_users_loop(every, backend, torch):
    schedule = fastgd.schedules.StepLR(3, gamma=0.5)
    scheduler = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5)  # noqa: E731
    w, _ = users_loop(torch, lambda w: torch.optim.SGD(w, lr=0.05), epochs=6, scheduler=scheduler, every_step=every == "step")
    result = fastgd.fit(
        X, Y, lr=0.05, epochs=6, batch_size=16, seed=3, history=True, schedule=schedule, schedule_every=every, backend=backend
    )
    assert np.abs(result.history.w - w).max() <= 24 * 100 * 2.0**-53 * np.abs(w).max()


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_a_state_goes_on_in_mid_training(rule, backend):
    """fit(10) == fit(4), then fit(6): the same orders, steps and rates."""
    if rule not in rules_of(backend):
        assert_refused(rule, backend)
        return
    options = {
        "lr": 0.01, "optimizer": optimizer(rule, OPTIONS[rule]["all" if "all" in OPTIONS[rule] else "nesterov"]), "batch_size": 3,
        "seed": np.arange(5), "schedule": lambda t: 0.9**t, "schedule_every": "step", "backend": backend, "history": True,
    }  # fmt: skip
    whole = fastgd.fit(X5, Y5, epochs=10, **options)
    first = fastgd.fit(X5, Y5, epochs=4, **options)
    second = fastgd.fit(X5, Y5, epochs=6, state=first.state, **options)
    assert np.array_equal(whole.history.w, np.concatenate([first.history.w, second.history.w[:, 1:]], axis=1))
    assert np.array_equal(whole.history.batch_loss, np.concatenate([first.history.batch_loss, second.history.batch_loss], axis=1))
    assert np.array_equal(whole.state.w, second.state.w)
    assert np.array_equal(whole.state.epoch, second.state.epoch)
    assert second.state.passes.tolist() == [10] * 5
    assert second.state.seed.tolist() == [0, 1, 2, 3, 4]


def test_a_file_keeps_epochs_and_seed(tmp_path):
    result = fastgd.fit(X, Y, lr=0.01, epochs=3, batch_size=16, seed=7, history=2)
    result.save(tmp_path / "fit")
    again = fastgd.load(tmp_path / "fit")
    assert (int(again.state.passes), int(again.state.seed), int(again.state.epoch)) == (3, 7, 12)
    assert np.array_equal(again.history.batch_loss, result.history.batch_loss)
    assert result.history.loss.shape == (3,)
    further = fastgd.fit(X, Y, lr=0.01, epochs=2, batch_size=16, seed=7, state=again.state)
    assert further.w.tolist() == fastgd.fit(X, Y, lr=0.01, epochs=5, batch_size=16, seed=7).w.tolist()


def test_a_fit_that_converged_goes_on_where_it_stopped():
    """Epochs are counted for each fit: the second converges sooner, and goes on from there."""
    both = {"batch_size": 16, "lr": [0.002, 0.05]}
    first = fastgd.fit(X, Y, epochs=30, tol=0.05, **both)
    assert first.status.tolist() == [fastgd.Status.COMPLETED, fastgd.Status.CONVERGED]
    ran = int(first.epochs[1])
    assert first.state.passes.tolist() == [30, ran]
    further = fastgd.fit(X, Y, epochs=4, state=first.state, **both)
    assert further.w[1].tolist() == fastgd.fit(X, Y, epochs=ran + 4, batch_size=16, lr=0.05).w.tolist()


# -- company ---------------------------------------------------------------------------------------


def test_a_fit_has_its_bits_alone_and_in_company(backend):
    options = {"lr": 0.05, "epochs": 3, "batch_size": 2, "history": True, "backend": backend}
    together = fastgd.fit(X5, Y5, **options)
    for k in range(5):
        alone = fastgd.fit(X5[k], Y5[k], **options)
        assert np.array_equal(together.history.w[k], alone.history.w)
        assert np.array_equal(together.history.batch_loss[k], alone.history.batch_loss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_pieces_change_no_bit(dtype):
    many, of_many = RNG.normal(size=(700, 40, 4)).astype(dtype), RNG.normal(size=(700, 40)).astype(dtype)
    options = {"lr": 0.01, "epochs": 3, "batch_size": 16, "optimizer": "adam"}
    one = fastgd.fit(many, of_many, threads=1, **options)
    for other in ({"threads": 8}, {"memory_limit": "3 MiB", "threads": 3}):
        again = fastgd.fit(many, of_many, **other, **options)
        assert np.array_equal(again.w, one.w)
        assert np.array_equal(again.loss, one.loss)
    assert np.array_equal(fastgd.fit(many[699], of_many[699], **options).w, one.w[699])


def test_the_order_is_made_a_few_epochs_at_a_time(monkeypatch):
    from fastgd.kernels import cpu

    whole = fastgd.fit(X, Y, lr=0.01, epochs=7, batch_size=16, history=3)
    monkeypatch.setattr(cpu, "ORDERED", 2 * 53)
    again = fastgd.fit(X, Y, lr=0.01, epochs=7, batch_size=16, history=3)
    assert np.array_equal(whole.history.w, again.history.w)
    assert np.array_equal(whole.history.batch_loss, again.history.batch_loss)


def test_a_seed_for_each_fit(backend):
    options = {"lr": 0.05, "epochs": 3, "batch_size": 16, "backend": backend}
    several = fastgd.fit(X, Y, seed=[4, 7, 4], **options)
    assert several.w.shape == (3, 3)
    assert several.w.tolist() == [fastgd.fit(X, Y, seed=seed, **options).w.tolist() for seed in (4, 7, 4)]
    assert several.w[0].tolist() != several.w[1].tolist()


def test_omitted_samples_are_deleted_rows(backend):
    """The order is one of the samples that stay; others of the batch keep theirs."""
    gone = np.array(Y5)
    gone[1, 2] = np.nan
    options = {"lr": 0.05, "epochs": 3, "batch_size": 2, "history": True, "backend": backend}
    found = fastgd.fit(X5, gone, nan_policy="omit", **options)
    kept = np.arange(Y5.shape[1]) != 2
    alone = fastgd.fit(X5[1][kept], Y5[1][kept], **options)
    assert np.array_equal(found.history.w[1], alone.history.w)
    assert np.array_equal(found.history.batch_loss[1], alone.history.batch_loss)
    assert np.array_equal(found.w[0], fastgd.fit(X5[0], Y5[0], **options).w)


def test_bad_fits_harm_only_themselves(backend):
    bad = np.array(Y5)
    bad[1, 0], bad[3] = np.nan, np.nan
    options = {"lr": 0.05, "epochs": 3, "batch_size": 2, "history": True, "backend": backend}
    spoiled = fastgd.fit(X5, bad, nan_policy="propagate", **options)
    assert spoiled.status[1] == fastgd.Status.INVALID_DATA
    assert np.isnan(spoiled.history.batch_loss[1, -1])
    few = fastgd.fit(X5, bad, nan_policy="omit", **options)
    assert few.status[3] == fastgd.Status.TOO_FEW_SAMPLES
    assert np.isnan(few.history.batch_loss[3]).all()
    good = fastgd.fit(X5, Y5, **options)
    for k in (0, 2, 4):
        assert np.array_equal(spoiled.w[k], good.w[k])
        assert np.array_equal(few.w[k], good.w[k])


def test_one_batch_in_order_is_the_descent_on_all_samples():
    for size in (53, 1000):
        one = fastgd.fit(X, Y, lr=0.05, epochs=4, batch_size=size, shuffle=False, algorithm="stream", history=True)
        all_of_them = fastgd.fit(X, Y, lr=0.05, epochs=4, algorithm="stream", history=True)
        assert np.array_equal(one.history.w, all_of_them.history.w)
        assert np.array_equal(one.history.loss, all_of_them.history.loss)
        assert np.array_equal(one.history.batch_loss, all_of_them.history.loss[:-1])


def test_steps_are_those_of_torchs_loader(torch):
    for n, size, drop_last in ((10, 3, False), (10, 3, True), (9, 3, True), (2, 5, False), (5, 1, False)):
        loader = torch.utils.data.DataLoader(torch.zeros(n), batch_size=size, drop_last=drop_last)
        assert [len(rows) for rows in minibatch_order(n, size, 0, drop_last=drop_last)] == [len(batch) for batch in loader]
    assert int(fastgd.fit(X, Y, lr=0.01, epochs=2, batch_size=16, drop_last=True).state.epoch) == 6
    assert int(fastgd.fit(X, Y, lr=0.01, epochs=2, batch_size=16).state.epoch) == 8


def test_a_sweep_is_its_single_fits():
    options = {"epochs": 4, "batch_size": 16, "seed": 2}
    found = fastgd.sweep(X, Y, grid={"optimizer": ["sgd", "adam"], "lr": [0.01, 0.05]}, history=True, X_val=X, y_val=Y, **options)
    for i, rule in enumerate(("sgd", "adam")):
        for j, lr in enumerate((0.01, 0.05)):
            one = fastgd.fit(X, Y, optimizer=rule, lr=lr, history=True, **options)
            assert np.array_equal(found.w[i, j], one.w)
            assert np.array_equal(found.history.batch_loss[i, j], one.history.batch_loss)
    assert np.isnan(np.asarray(found.stability_limit)).all()  # of a batch nobody knows it
    assert found.sel(optimizer="adam", lr=0.01).history.batch_loss.shape == (4,)
    refused_sweep = {"grid": {"lr": [0.1]}, "batch_size": 16, "seed": [1, 2]}
    with pytest.raises(ValueError, match=r"seed must be one for all cells of a sweep, or one for each fit of the data \(\); .* \(2,\)"):
        fastgd.sweep(X, Y, **refused_sweep)


def test_results_may_be_written_where_the_caller_wants():
    own = np.empty((5, 3))
    result = fastgd.fit(X5, Y5, lr=0.01, epochs=3, batch_size=2, history=True, out={"history.batch_loss": own})
    assert result.history.batch_loss is own
    assert np.array_equal(own, fastgd.fit(X5, Y5, lr=0.01, epochs=3, batch_size=2, history=True).history.batch_loss)
    refused(ValueError, "no history.batch_loss: give batch_size and history=True too", X5, Y5, out={"history.batch_loss": own}, epochs=3)


# -- refused ---------------------------------------------------------------------------------------

REFUSED = {
    "no rate": ({"batch_size": 2}, "lr is needed with batch_size"),
    "no whole number": ({"batch_size": 2.0}, "batch_size must be a whole number, not 2.0"),
    "none": ({"batch_size": 0}, "batch_size must be a whole number, at least 1; it is 0"),
    "no batch": ({"batch_size": 100, "drop_last": True, "lr": 0.1}, "drop_last=True leaves no batch: batch_size is 100 and there are"),
    "drop_last": ({"drop_last": 1}, "drop_last must be True or False, not 1"),
    "unit": ({"schedule_every": "batch"}, "schedule_every must be 'epoch' or 'step', not 'batch'"),
    "seeds": ({"batch_size": 2, "seed": [0.5], "lr": 0.1}, "seed must be a whole number, or an array of one for each fit"),
    "negative": ({"batch_size": 2, "seed": [-1], "lr": 0.1}, "seed must be .*, from 0 to 2\\^63 - 1"),
    "several": ({"seed": [1, 2]}, "seed must be a whole number, not"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(no_work, name):
    options, words = REFUSED[name]
    refused((ValueError, TypeError), words, x, y, **options)


def test_a_schedule_of_steps_needs_an_end(no_work):
    given = {"lr": 0.1, "epochs": None, "tol": 0.1, "batch_size": 1, "schedule": fastgd.schedules.StepLR(3), "schedule_every": "step"}
    refused(
        ValueError, r"epochs=None may go on for 1,000,000 epochs of 100 steps, .*: give epochs, or", np.ones(100), np.ones(100), **given
    )


def test_a_state_of_another_kind_is_refused(monkeypatch):
    options = {"lr": 0.01, "epochs": 2}
    batched, plain = fastgd.fit(X, Y, batch_size=16, seed=5, **options).state, fastgd.fit(X, Y, **options).state
    assert (plain.passes, plain.seed) == (None, None)
    refused(ValueError, "state was made with mini-batches: give batch_size", X, Y, state=batched, **options)
    refused(ValueError, "state was made without mini-batches: leave batch_size out", X, Y, state=plain, batch_size=16, **options)
    refused(ValueError, "state was made with seed 5: give the same seed", X, Y, state=batched, batch_size=16, **options)
    wrong = dataclasses.replace(batched, passes=np.array(-1))
    refused(ValueError, "state.passes must be a whole number from 0", X, Y, state=wrong, batch_size=16, seed=5, **options)


def test_moments_have_no_batches(no_work):
    moments = fastgd.compress(X, Y)
    refused(ValueError, "X is Moments, whose samples are gone: batch_size needs X and y", moments, None, batch_size=16, lr=0.01)


def test_a_loader_is_refused_in_words(torch, no_work):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=16)
    refused(TypeError, "X is a DataLoader, .*: give the tensors of its data set as X and y, and batch_size=", loader, None, lr=0.1)


def test_options_change_nothing_without_mini_batches():
    plain = fastgd.fit(x, y).w
    for options in ({"drop_last": True}, {"schedule_every": "step"}, {"shuffle": False}):
        assert fastgd.fit(x, y, **options).w == plain


def test_the_result_tells_how_it_was_made():
    result = fastgd.fit(X, Y, lr=0.01, epochs=2, batch_size=16)
    assert result.algorithm == "minibatch"
    assert "mini-batches of 16, shuffled; losses of all samples by moments: " in result.explanation
    assert result.history is None
    assert result.state.algorithm != STREAM
    assert "algorithms" not in result.summary()
    some = np.where(np.arange(53) < 5, Y, [[np.nan], [0.0]])
    two = fastgd.fit(X, some, lr=0.01, epochs=2, batch_size=16, nan_policy="omit")
    assert "losses by  1 stream, 1 moments" in two.summary()
