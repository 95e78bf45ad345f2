"""A result in words: every number that is shown is checked against the arrays."""

from __future__ import annotations

import dataclasses
import pickle
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgd
from fastgd import FitResult

x = np.array([1.0, 2, 3, 4])
rng = np.random.default_rng(11)
X, Y = rng.normal(size=(6, 20, 3)), rng.normal(size=(6, 20))


def grid() -> FitResult:
    return fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)


def facts(text: str) -> dict[str, str]:
    """{what: text} of a summary's rows."""
    return dict(re.fullmatch(r"  (.*?)\s{1,}(\S.*)", line).groups() for line in text.splitlines()[1:])


def test_summary_of_a_single_fit():
    result = fastgd.fit(X[0], Y[0], lr=0.1, epochs=5, intercept=True)
    text = result.summary(["age", "height", "a weight"])
    assert text.splitlines()[0] == "1 fit of 3 features + intercept by sgd"
    rows = [line[2:13].rstrip() for line in text.splitlines()[1:]]
    assert rows == ["status", "age", "height", "a weight", "intercept", "loss", "excess", "note", "epochs", "lr", "samples", "computed"]
    told = facts(text)
    assert told["status"] == "COMPLETED"
    assert [told["age"], told["height"]] == [f"{w:.6g}" for w in result.w[:2]]
    assert told["intercept"] == f"{result.intercept:.6g}"
    assert told["loss"] == f"{result.loss:.6g}"
    assert (told["epochs"], told["lr"], told["samples"]) == ("5", "0.1", "20")
    assert told["computed"] == result.explanation
    assert "w_1 " in result.summary()
    assert facts(fastgd.fit(x, 2 * x, lr=0.1, epochs=1).summary())["w"] == "3"
    assert all(len(line) < 135 or "computed" in line for line in text.splitlines())


def test_summary_of_many_fits():
    result = fastgd.fit(x, 2 * x, lr=[0.01, 0.02, 0.05, 50.0, 60.0], epochs=400, tol=1e-9)
    told = facts(result.summary())
    assert result.summary().startswith("5 fits of 1 feature by sgd\n")
    assert told["status"] == "3 CONVERGED, 2 DIVERGED"
    kept = result.loss[:3]
    best, worst = int(np.argmin(kept)), int(np.argmax(kept))
    assert told["loss"] == (
        f"median {np.median(kept):.6g}, best {kept[best]:.6g} (fit {best}), worst {kept[worst]:.6g} (fit {worst}); 2 not finite"
    )
    assert told["lr"] == "0.01 to 60, median 0.05"
    assert told["epochs"] == f"{result.epochs.min()} to {result.epochs.max()}, median {np.median(result.epochs):.6g}"
    assert "w" not in told


def test_summary_names_fits_on_a_grid():
    result = grid()
    text = result.summary()
    assert text.startswith("12 fits (2 x 6) of 3 features + intercept by sgd")
    best = tuple(int(i) for i in np.unravel_index(np.argmin(result.loss), (2, 6)))
    assert f"best {result.loss[best]:.6g} (fit {best})" in text


def test_summary_tells_of_mixed_algorithms_and_of_no_finite_loss():
    with_gaps = Y.copy()
    with_gaps[2, :15] = np.nan
    mixed = fastgd.fit(X, with_gaps, lr=0.1, epochs=3, nan_policy="omit")
    assert facts(mixed.summary())["algorithms"] == "1 stream, 5 moments"
    assert "algorithms" not in facts(grid().summary())
    assert facts(fastgd.fit(x, 2 * x, lr=[1e9, 1e9], epochs=400).summary())["loss"] == "none is finite"


def with_an_empty_pixel(make, **options: object) -> FitResult:
    """Fits of which the second has no sample."""
    y = Y.copy()
    y[1] = np.nan
    return make(X, y, nan_policy="omit", min_samples=4, **options)


@pytest.mark.parametrize("make", [fastgd.fit, fastgd.solve])
def test_what_is_told_is_that_of_the_fits_that_were_made(make):
    """One pixel without samples turns no range into nan, and is in none of them."""
    result = with_an_empty_pixel(make, intercept=True)
    told = facts(result.summary())
    others = make(np.delete(X, 1, 0), np.delete(Y, 1, 0), intercept=True)
    assert told["status"] == "5 COMPLETED, 1 TOO_FEW_SAMPLES"
    assert told["samples"] == "0 to 20, median 20"
    of_others = facts(others.summary())
    for name in ("epochs", "lr") if make is fastgd.fit else ("rank", "condition"):
        assert told[name] == of_others[name]
    assert "nan" not in result.summary() + repr(result) + result._repr_html_()
    assert "not finite" not in told["loss"]
    assert told["loss"].startswith(f"median {np.nanmedian(result.loss):.6g}, best ")
    assert "warning" not in told
    assert "algorithms" not in told


def test_data_that_are_not_finite_are_in_no_range():
    y = Y.copy()
    y[2, 3] = np.inf
    result = fastgd.fit(X, y, epochs=3, nan_policy="propagate")
    told = facts(result.summary())
    assert (told["status"], told["epochs"]) == ("5 COMPLETED, 1 INVALID_DATA", "3")
    assert "nan" not in result.summary()


@pytest.mark.parametrize("make", [fastgd.fit, fastgd.solve])
def test_a_fit_that_was_not_made_has_no_numbers(make):
    alone = make([1.0, np.nan], [1.0, 2.0], nan_policy="omit", min_samples=2)
    assert set(facts(alone.summary())) == {"status", "samples", "computed"}
    assert repr(alone).startswith("FitResult(TOO_FEW_SAMPLES: 1 sample; ")
    none = make(X, np.full_like(Y, np.nan), nan_policy="omit")
    assert set(facts(none.summary())) == {"status", "samples", "computed"}


def test_a_long_w_is_cut():
    wide = fastgd.fit(rng.normal(size=(60, 25)), rng.normal(size=60), epochs=1)
    assert facts(wide.summary())["..."] == "5 more in .w"
    assert "25 features" in repr(wide)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["a", "b"], "the fit has 3 features, but features has 2 names"),
        (["a", "b", "a"], "features holds a name twice"),
        ("abc", "features must be a sequence of names, not 'abc'"),
        ([1, 2, 3], "features must be a sequence of names"),
    ],
)
def test_wrong_names_of_features(features, said):
    for call in (FitResult.summary, lambda result, names: result.to_frame("pandas", names)):
        with pytest.raises((TypeError, ValueError), match=said):
            call(grid(), features)


def test_repr_is_one_short_line():
    assert repr(grid()).startswith("FitResult(12 fits (2 x 6): 12 COMPLETED; median loss ")
    one = fastgd.fit(X[0], Y[0], lr=0.1, epochs=1, intercept=True)
    w = ", ".join(f"{value:.6g}" for value in one.w)
    assert repr(one) == (
        f"FitResult(COMPLETED: w = [{w}], intercept = {one.intercept:.6g}, "
        f"loss {one.loss:.6g} ({one.excess_loss:.6g} above the least), 1 epoch; cpu, moments)"
    )
    assert repr(fastgd.fit(X[:1], Y[:1], epochs=1)).startswith("FitResult(1 fit: 1 COMPLETED; median loss ")


class Table(HTMLParser):
    """Cells of a table; fails where a tag is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in {"table", "caption", "tbody", "tr", "th", "td"}
        self.open.append(tag)
        self.cells += [""] * (tag in {"th", "td", "caption"})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data


def test_html_says_what_the_summary_says_and_escapes():
    result = dataclasses.replace(grid(), explanation="<script>alert('x')</script> & more")
    text = result._repr_html_()
    assert "<script" not in text
    cells = Table(text).cells
    assert cells[0] == result.summary().splitlines()[0]
    assert dict(zip(cells[1::2], cells[2::2], strict=True)) == facts(result.summary())
    assert len(text) < 4000


def test_a_result_in_tensors_reads_the_same(tmp_path, torch):
    ours = fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)
    theirs = fastgd.fit(torch.tensor(X), torch.tensor(Y), lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)
    assert isinstance(theirs.w, torch.Tensor)
    assert facts(theirs.summary()) | {"computed": ""} == facts(ours.summary()) | {"computed": ""}
    assert repr(theirs) == repr(ours)
    assert theirs.to_frame("polars").equals(ours.to_frame("polars"))
    theirs.save(tmp_path / "result.npz")
    again = fastgd.load(tmp_path / "result.npz")
    assert again.w.tobytes() == ours.w.tobytes()
    assert again.history.loss.tobytes() == ours.history.loss.tobytes()
    alone = fastgd.fit(torch.tensor(x), torch.tensor(2 * x), lr=0.1, epochs=1)
    assert repr(alone) == "FitResult(COMPLETED: w = 3, loss 7.5 (7.5 above the least), 1 epoch; cpu, moments)"
    assert facts(alone.summary())["w"] == "3"
    assert alone.to_frame("polars")["w"].to_list() == [3.0]
    alone.save(tmp_path / "alone.npz")
    assert fastgd.load(tmp_path / "alone.npz").w == 3


def test_words_need_no_libraries():
    code = """if True:
        import sys, fastgd
        result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], history=True)
        result.summary(), repr(result), result._repr_html_()
        assert not {"matplotlib", "narwhals", "pandas", "polars", "torch"} & sys.modules.keys()
        result.to_frame("polars")
        assert "pandas" not in sys.modules"""
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_summary_tells_of_scaled_features_and_of_the_algorithm_that_ran():
    """In float32 the moments of Julian days do not hold their spread: the fit reads its samples."""
    days = (2451545 + np.arange(20)).astype("float32")
    told = facts(fastgd.fit(days, np.arange(20, dtype="float32"), intercept=True, standardize=True).summary())
    assert told["features"].startswith("(x - center) / scale")
    assert told["algorithms"] == "1 stream"
    assert "features" not in facts(grid().summary())


# -- how far from the least loss -------------------------------------------------------------------


def test_how_many_fits_are_far_from_the_least_loss():
    years = np.arange(1990, 2021.0)
    y = 0.02 * (years - 1990) + 15 + 0.1 * np.sin(years)
    rates = np.array([0.1, 0.2, 1e-9, 0.9, 0.9]) / np.mean(years**2)
    condition = f"{np.linalg.cond(np.column_stack([years, np.ones(31)])) ** 2:.0e}".replace("+", "")
    raw = fastgd.fit(years, y, lr=rates, intercept=True, epochs=50)
    way = "centre and scale X (standardize=True), give more epochs, or use solve"
    assert facts(raw.summary())["note"] == f"5 of 5 fits are more than 1 % above the least loss (condition {condition}): {way}"
    assert "5 more than 1 % above the least;" in repr(raw)
    scaled = fastgd.fit(years, y, intercept=True, standardize=True)
    assert "note" not in facts(scaled.summary())
    assert "above" not in repr(scaled)
    few = fastgd.fit(years, y, lr=1e-3, intercept=True, standardize=True, epochs=3)
    assert (
        facts(few.summary())["note"] == "more than 1 % above the least loss (condition 1): give more epochs or another rate, or use solve"
    )


def test_a_fit_without_noise_that_is_done_is_not_far():
    """Its loss is rounding, thousands of times the least loss, which is 0."""
    result = fastgd.fit(x, 2 * x, lr=0.05, epochs=400)
    assert 0 <= result.excess_loss < 1e-28
    assert "note" not in facts(result.summary())


def test_how_many_fits_ended_above_their_start():
    limit = "above the stability limit 2/lambda_max"
    result = fastgd.fit(x, 2 * x, lr=[0.1, 0.15, 0.2], epochs=20)
    assert facts(result.summary())["warning"] == f"2 of 3 ended above the loss that they began with: these rates are {limit}"
    assert "warning" not in facts(fastgd.fit(x, 2 * x, lr=0.1, epochs=0).summary())
    for algorithm, why in (("moments", f"the rate is {limit}"), ("stream", "the rate is too large")):  # 45 times the loss is no proof
        few = fastgd.fit(x, 2 * x, lr=0.14, epochs=20, algorithm=algorithm, excess_loss=True)
        assert facts(few.summary())["warning"] == f"ended above the loss that it began with: {why}"
    alone = fastgd.fit(x, 2 * x, lr=0.2, epochs=20)
    assert facts(alone.summary())["warning"] == f"ended above the loss that it began with: the rate is {limit}"
    for epochs in (400, 4000):  # w is inf, then NaN, whose excess is not known
        result = fastgd.fit(x, 2 * x, lr=[0.1, 0.3], epochs=epochs)
        assert facts(result.summary())["warning"] == f"1 of 2 ended above the loss that they began with: its rate is {limit}"
    for optimizer in (fastgd.SGD(lr=0.2, momentum=0.5), fastgd.Adam(lr=50.0)):  # whose limits are others
        result = fastgd.fit(x, 2 * x, optimizer=optimizer, epochs=3)
        momentum = " or the momentum" * isinstance(optimizer, fastgd.SGD)
        assert facts(result.summary())["warning"] == f"ended above the loss that it began with: the rate{momentum} is too large"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_that_begins_where_it_ends_is_not_above_its_start(dtype):
    """Its excess is rounding, at the start as at the end."""
    data, y = rng.standard_normal((200, 50)).astype(dtype), rng.standard_normal((200, 50)).astype(dtype)
    for options in ({}, {"algorithm": "stream"}):
        first = fastgd.fit(data[..., None], y, intercept=True, lr=0.3, epochs=300, excess_loss=True, **options)
        again = fastgd.fit(
            data[..., None], y, intercept=True, w0=first.w, intercept0=first.intercept, lr=0.3, epochs=9, excess_loss=True, **options
        )
        assert {"note", "warning"}.isdisjoint(facts(again.summary()))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3.0), st.sampled_from([0.0, 0.5]))
def test_rates_that_are_called_above_the_limit_are(seed, share, decay):
    """λ_max of the objective's Hessian, by NumPy."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((20, 2)) * rng.uniform(0.1, 3, 2), rng.standard_normal(20)
    limit = 2.0 / (np.linalg.eigvalsh(2 / 20 * X.T @ X)[-1] + decay)
    result = fastgd.fit(X, y, optimizer=fastgd.SGD(lr=share * limit, weight_decay=decay), w0=rng.standard_normal(2), epochs=60)
    told = facts(result.summary()).get("warning", "")
    assert ("stability limit" in told) <= (share > 1.0)
    assert ("stability limit" in told) >= (share > 1.2)


def said(result: FitResult) -> set[str]:
    return {"note", "warning"} & facts(result.summary()).keys()


def test_no_rate_is_blamed_for_what_it_did_not_do():
    """A start at the minimum, a start or a gradient that overflows, other data."""
    ones, five = np.ones(5, "float32"), np.arange(5.0)
    assert not said(fastgd.fit(five, 2 * five, w0=2.0, epochs=5))
    overflows = fastgd.fit(ones, ones * np.float32(1e25))
    assert (overflows.status, said(overflows)) == (fastgd.Status.DIVERGED, set())
    huge = fastgd.fit(ones * np.float32(1e20), ones * np.float32(3e18), lr=1e-41, algorithm="stream", excess_loss=True, epochs=5)
    assert (huge.status, huge.epochs, said(huge)) == (fastgd.Status.DIVERGED, 1, set())  # the gradient overflows
    state = fastgd.fit(five, 2 * five, epochs=3).state
    assert said(fastgd.fit(five, 1000 * five, lr=1e-9, epochs=1, state=state)) == {"note"}
    assert said(fastgd.fit(five, 1000 * five, lr=0.4, epochs=9)) == {"warning"}
    assert said(fastgd.fit(five, 1000 * five, lr=0.4, epochs=9, w0=1.0)) == {"warning"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_is_said_of_fits_that_begin_at_the_minimum(dtype, algorithm, reduction):
    """Without noise a loss is rounding, as are all its changes."""
    rng = np.random.default_rng(5)
    for noise in (0.0, 1e-12, 1e-6, 1e-3, 1.0):
        for d, intercept, offset in ((1, False, 0.0), (1, True, 1990.0), (3, True, 100.0), (5, False, 0.0)):
            X = rng.normal(size=(60, 40, d)) * 10 ** rng.uniform(-3, 3, (60, 1, d)) + offset
            y = (X @ rng.normal(size=(60, d, 1)))[..., 0] + noise * rng.normal(size=(60, 40))
            X, y = X.astype(dtype), y.astype(dtype)
            start, rates = fastgd.solve(X, y, intercept=intercept), fastgd.fit(X, y, intercept=intercept, epochs=0, reduction=reduction).lr
            begin = {"w0": start.w} | ({"intercept0": start.intercept} if intercept else {})
            for lr in (None, 0.01 * rates, 1.9 * rates):
                result = fastgd.fit(
                    X, y, lr=lr, intercept=intercept, epochs=7, algorithm=algorithm, reduction=reduction, excess_loss=True, **begin
                )
                assert not said(result), (noise, d, lr is None)
                assert "above" not in repr(result)


def test_with_a_penalty_the_objective_is_told_of():
    three, four = ([1.0, 2, 3], [1.0, 2, 4]), ([1.0, 2, 3, 4], [2.0, 4, 6, 8])
    falls = fastgd.fit(*three, w0=-0.5, epochs=1, optimizer=fastgd.SGD(lr=0.034, weight_decay=50.0))
    assert not said(falls)  # the loss fell, and the objective rose by a few percent
    grows = fastgd.fit(*three, epochs=3, optimizer=fastgd.SGD(lr=0.0392, weight_decay=50.0))
    told = facts(grows.summary())
    above = "the rate is above the stability limit 2/(lambda_max + weight_decay)"
    assert told["warning"] == f"ended above the objective that it began with: {above}"
    assert told["excess"] == f"{grows.excess_loss:.6g} above the least objective"
    assert "above" not in repr(grows)
    much = fastgd.fit(*three, epochs=60, optimizer=fastgd.SGD(lr=0.0392, weight_decay=50.0))
    assert facts(much.summary())["warning"].endswith(above)
    near = fastgd.fit(*four, epochs=29, optimizer=fastgd.SGD(lr=0.02, weight_decay=1e-4))
    assert near.excess_loss > 0.01 * near.loss
    assert not said(near)
    for apart in (fastgd.AdamW(lr=0.001, weight_decay=0.1), fastgd.NAdam(weight_decay=0.1, decoupled_weight_decay=True)):
        assert said(fastgd.fit(*four, optimizer=apart, epochs=2)) == {"note"}  # whose objective is the loss


def test_a_saved_result_says_the_same(tmp_path):
    far = {"lr": [1e-3, 0.4], "intercept": True}
    for options in (far, {"lr": 0.4}, {"lr": 0.4, "w0": 1.0}, {"optimizer": fastgd.SGD(lr=0.4, weight_decay=0.1)}, {"tol": 0.5}):
        result = fastgd.fit(x, 2 * x, epochs=9, **options)
        result.save(tmp_path / "one.npz")
        again = fastgd.load(tmp_path / "one.npz")
        for same in (again, pickle.loads(pickle.dumps(result))):
            assert (same.summary(), repr(same), same.state.tol) == (result.summary(), repr(result), options.get("tol"))
    assert "condition" in fastgd.fit(x, 2 * x, **far).summary()


def test_advice_helps():
    """A note does not speak to a fit whose rate is too high, nor of scaling the only column."""
    high = fastgd.fit(x, 2 * x, lr=0.2, epochs=20, intercept=True)
    assert said(high) == {"warning"}
    both = facts(fastgd.fit(x, 2 * x, lr=[1e-4, 0.2], epochs=20, intercept=True).summary())
    assert both["note"].startswith("1 of 2 fits are more than 1 % above the least loss (condition 56): centre and scale")
    for one in (x, x[:, None]):
        assert (
            facts(fastgd.fit(one, 2 * x, lr=1e-4).summary())["note"] == "more than 1 % above the least loss: give more epochs, or use solve"
        )


def test_names_of_features_can_be_printed_anywhere():
    result = fastgd.solve(pd.DataFrame({"größe": x, "n": x**2}), x**3)
    assert result.summary().isascii()
    rows = result.summary().splitlines()
    assert rows[2].split()[0] == r"gr\xf6\xdfe"
    assert rows[2].index(f"{result.w[0]:.6g}") == rows[3].index(f"{result.w[1]:.6g}")
    assert "größe" in result._repr_html_()


def test_what_is_not_known_is_not_said():
    for unknown in ({"excess_loss": False}, {"backend": "numpy"}, {"optimizer": fastgd.SGD(maximize=True)}):
        result = fastgd.fit(x, 2 * x, lr=1e-3, epochs=3, **unknown)
        assert {"excess", "note", "warning"}.isdisjoint(facts(result.summary()))
        assert "above" not in repr(result)
    assert "excess" not in facts(fastgd.solve(x, 2 * x).summary())
