"""standardize=True: the same bits in any company, with gaps, in pieces; bad fits; words."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.fit.test_standardize import NAMES, data_of, rows_of
from tests.specification import arbiter
from tests.support.against_arbiter import same_bits
from tests.support.fit_results import batch, same, same_result
from tests.support.refusals import refused

# -- company ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("intercept", [False, True])
def test_a_fit_has_the_same_bits_in_any_company(name, intercept):
    """Alone, in a batch, with shared X, with any threads; weights, rates; one feature or two."""
    for d in (1, 2):
        X, y = batch(70, n=15, d=d)
        X, y = (X * [1, 30][:d] + 100).astype(name), y.astype(name)
        weights = np.random.default_rng(0).uniform(0.5, 2, (70, 15)).astype(name)
        for extra in ({}, {"optimizer": fastgd.SGD(momentum=0.5)}, {"optimizer": "adam"}, {"lr": 0.1}):
            options = {"intercept": intercept, "standardize": True, "epochs": 6, "history": 2, "w0": np.full(d, 0.5)} | extra
            whole = fastgd.fit(X, y, **options)
            weighted = fastgd.fit(X, y, sample_weight=weights, **options)
            shared = fastgd.fit(X[3], y, **options)
            for k in (0, 3, 69):
                alone = fastgd.fit(X[k], y[k], **options)
                for one, many in ((alone, whole), (fastgd.fit(X[k], y[k], sample_weight=weights[k], **options), weighted),
                                  (fastgd.fit(X[3], y[k], **options), shared)):  # fmt: skip
                    for field in ("w", "loss", "lr", "center", "scale", "intercept"):
                        value = getattr(many, field)
                        assert value is None or same(getattr(one, field), value[k]), field
                    assert same(one.history.w, many.history.w[k])
                    assert same(one.state.w, many.state.w[k])
            for threads in (1, 3):
                assert same_result(fastgd.fit(X, y, threads=threads, **options), whole)
                assert same_result(fastgd.fit(X[3], y, threads=threads, **options), shared)


def test_many_groups_share_their_gram_matrix(monkeypatch):
    """More targets than one group of moments holds: X is standardised for each group, once."""
    X, y = batch(300, n=15)
    X = X[0] + 50
    whole = fastgd.fit(X, y, intercept=True, standardize=True, epochs=5)
    monkeypatch.setattr("fastgd.planning.plan.MOMENTS_BYTES", 4096)
    assert same_result(fastgd.fit(X, y, intercept=True, standardize=True, epochs=5), whole)


@pytest.mark.parametrize("shared", [False, True])
def test_gaps_are_as_if_the_rows_were_deleted(shared, backend):
    """Each fit has the center and scale of the samples that it keeps."""
    X, y = batch(6, n=20)
    X = X * 5 + 40
    y[1, 3] = y[4, :7] = np.nan
    X = X[0] if shared else X
    options = {"intercept": True, "standardize": True, "nan_policy": "omit", "backend": backend, "epochs": 20}
    result = fastgd.fit(X, y, **options)
    for k in range(6):
        there = np.isfinite(y[k])
        own = X if shared else X[k]
        alone = fastgd.fit(own[there], y[k][there], **options)
        for field in ("w", "intercept", "center", "scale", "loss"):
            assert same(getattr(alone, field), getattr(result, field)[k])
    further = fastgd.fit(X, y, state=result.state, **options)  # each pair goes on with its own center
    assert same(further.w, fastgd.fit(X, y, **(options | {"epochs": 40})).w)


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_ten_epochs_are_four_and_six_more(name, algorithm, backend, tmp_path):
    X, y = data_of("years", 40, 2, name)
    if backend not in ("cpu", "cuda"):
        algorithm = "auto"
    options = {"intercept": True, "standardize": True, "backend": backend, "history": True}
    for rule in ("sgd", "adam"):
        whole = fastgd.fit(X, y, epochs=10, optimizer=rule, algorithm=algorithm, w0=[1, 2], **options)
        first = fastgd.fit(X, y, epochs=4, optimizer=rule, algorithm=algorithm, w0=[1, 2], **options)
        first.save(tmp_path / "first.npz")
        for state in (first.state, fastgd.load(tmp_path / "first.npz").state):
            second = fastgd.fit(X, y, epochs=6, optimizer=rule, state=state, **options)
            assert same(second.w, whole.w)
            assert same(second.intercept, whole.intercept)
            assert same(second.state.w, whole.state.w)
            assert same(second.center, whole.center)
            assert same(np.concatenate([rows_of(first), rows_of(second)[1:]]), rows_of(whole))


def test_a_state_keeps_its_center_on_other_data():
    """w of a state is that of its own scaled features, whatever the data are now."""
    X, y = batch(n=30)
    first = fastgd.fit(X, y, intercept=True, standardize=True, epochs=3)
    more = fastgd.fit(X * 2 + 5, y, intercept=True, standardize=True, epochs=0, state=first.state)
    assert same(more.center, first.center)
    assert same(more.w, first.w)
    assert same(more.intercept, first.intercept)
    standard = arbiter.Standard(list(first.state.center), list(first.state.scale))
    state = arbiter.State(first.state.w, first.state.slots, 3, "moments", standard=standard)
    run = arbiter.run(X * 2 + 5, y, lr=None, epochs=4, intercept=True, standardized=True, state=state)
    four = fastgd.fit(X * 2 + 5, y, intercept=True, standardize=True, epochs=4, state=first.state, history=True)
    assert same_bits(rows_of(four), run.w)
    # fits that had X of their own before, and share one now
    X, y = batch(5, n=30)
    first = fastgd.fit(X, y, standardize=True, epochs=2)
    both = fastgd.fit(X[0], y, standardize=True, epochs=2, state=first.state)
    assert same(both.center, first.center)
    assert same(both.w[0], fastgd.fit(X[0], y[0], standardize=True, epochs=4).w)
    refused(ValueError, r"state\.(center|scale) differs along axis 0, but these fits share X and y", X[0] + 1, y[0], standardize=True,
            intercept=False, state=first.state)  # fmt: skip


def test_a_state_of_the_other_kind_is_refused():
    X, y = batch(n=9)
    for was in (True, False):
        state = fastgd.fit(X, y, standardize=was, epochs=1).state
        refused(ValueError, f"state is of a fit that was .*standardised.*give standardize={was}", X, y, standardize=not was, state=state)


# -- bad fits, bad words ---------------------------------------------------------------------------


def test_bad_fits_are_nan_and_harm_nobody(backend):
    X, y = batch(4, n=12)
    good = fastgd.fit(X, y, intercept=True, standardize=True, backend=backend)
    bad_x, bad_y = X.copy(), y.copy()
    bad_x[1, 2, 0], bad_y[2, 5] = np.inf, np.nan
    options = {"intercept": True, "standardize": True, "backend": backend}
    result = fastgd.fit(bad_x, bad_y, nan_policy="propagate", **options)
    assert result.status.tolist() == [0, fastgd.Status.INVALID_DATA, fastgd.Status.INVALID_DATA, 0]
    assert np.isnan(result.w[1:3]).all()
    assert np.isnan(result.center[1]).all()
    bad_y[2, 2:] = np.nan
    few = fastgd.fit(X, bad_y, nan_policy="omit", min_samples=3, **options)
    assert few.status.tolist() == [0, 0, fastgd.Status.TOO_FEW_SAMPLES, 0]
    for field in ("w", "intercept", "center", "scale"):
        assert np.isnan(getattr(few, field)[2]).all()
    for k in (0, 3):
        assert same(result.w[k], good.w[k])
        assert same(few.w[k], good.w[k])


def test_one_valid_sample_has_no_spread(backend):
    y = np.array([np.nan, 5.0, np.nan])
    result = fastgd.fit([1990.0, 2000, 2010], y, intercept=True, standardize=True, nan_policy="omit", min_samples=1, backend=backend)
    assert (result.center, result.scale, result.w) == (2000, 1, 0)
    assert result.intercept == 5


def test_a_w_that_is_too_large_for_its_units_has_diverged():
    """The scaled fit is fine; its slope in the units of X is not a float32."""
    x = (np.arange(8) * 1e-39).astype("float32")
    result = fastgd.fit(x, np.arange(8).astype("float32"), standardize=True)
    assert np.isinf(result.w)
    assert result.status == fastgd.Status.DIVERGED


def test_results_go_where_out_says():
    X, y = batch(3, n=12)
    X = X + 20
    plain = fastgd.fit(X, y, intercept=True, standardize=True, history=True, epochs=5)
    out = {"w": np.empty((3, 2)), "intercept": np.empty(3), "history.w": np.empty((3, 6, 2)).swapaxes(0, 1).copy().swapaxes(0, 1),
           "history.intercept": np.empty((3, 6))}  # fmt: skip
    fastgd.fit(X, y, intercept=True, standardize=True, history=True, epochs=5, out=out)
    assert same(out["w"], plain.w)
    assert same(out["intercept"], plain.intercept)
    assert same(out["history.w"], plain.history.w)
    assert same(out["history.intercept"], plain.history.intercept)


@pytest.mark.parametrize("word", [1, "yes", None, [True]])
def test_words_that_are_not_true_or_false(word, no_work):
    refused(TypeError, "standardize must be True or False, not", [1.0, 2], [1.0, 2], standardize=word)


def test_verify_judges_no_history_in_other_units():
    X, y = batch(n=12)
    result = fastgd.fit(X, y, standardize=True, lr=0.1, epochs=5, history=True)
    with pytest.raises(ValueError, match=r"standardize=True.*\(X - result\.center\) / result\.scale"):
        fastgd.verify(result, X, y, lr=0.1)
