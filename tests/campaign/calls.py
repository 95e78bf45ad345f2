"""Random calls of the public functions, right and wrong ones, beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import fastgd
from tests.campaign import drawing, nasty
from tests.campaign.attack import Attack, Trial
from tests.campaign.drawing import Draw, draw_fit, draw_solve, program, value_of
from tests.campaign.model import OTHERS, OURS, Fit, Long, step
from tests.campaign.surroundings import Outcome, call

NAMES = drawing.NAMES | nasty.NAMES
IMPORTS = (
    "from decimal import Decimal\nfrom fractions import Fraction\n"
    + drawing.IMPORTS
    + "from tests.campaign.nasty import Raises, RaisesAsArray, itself, nested\n"
)
Faults = list[tuple[str, str]]
FUNCTIONS = {"fastgd.fit": fastgd.fit, "fastgd.solve": fastgd.solve, "fastgd.verify": fastgd.verify, "fastgd.diagnose": fastgd.diagnose}
MOST_JUDGED = 2  # fits of a call that are compared with the model


def values_of(given: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a call."""
    return {name: value_of(text, NAMES) for name, text in given.items()}


# -- the data, as a call reads them ----------------------------------------------------------------


def judged_dtype(values: Mapping[str, Any]) -> str:
    """float32 or float64: what a call computes in."""
    if values.get("dtype") is not None:
        return np.dtype(values["dtype"]).name
    promoted = np.result_type(np.asarray(values["X"]).dtype, np.asarray(values["y"]).dtype)
    return "float32" if promoted in (np.float16, np.float32) else "float64"


class Data:
    """X (…, n, d), y (…, n), weights, rounded to the dtype of a call; which samples count."""

    def __init__(self, values: Mapping[str, Any], leading: tuple[int, ...]) -> None:
        self.dtype = judged_dtype(values)
        with np.errstate(all="ignore"):
            X, y = np.asarray(values["X"]).astype(self.dtype), np.asarray(values["y"]).astype(self.dtype)
            weights = values.get("sample_weight")
            omega = None if weights is None else np.asarray(weights).astype(self.dtype)
        X = X[..., None] if X.ndim == 1 else X
        n = y.shape[-1]
        self.X, self.y = np.broadcast_to(X, (*leading, n, X.shape[-1])), np.broadcast_to(y, (*leading, n))
        self.weights = None if omega is None else np.broadcast_to(omega, (*leading, n))
        self.finite = np.isfinite(self.X).all(-1) & np.isfinite(self.y)
        self.weighed = np.ones(self.y.shape, bool) if self.weights is None else self.weights != 0
        self.policy = values.get("nan_policy", "raise")
        self.used = self.weighed & self.finite if self.policy == "omit" else self.weighed
        parameters = self.X.shape[-1] + bool(values.get("intercept"))
        least = values.get("min_samples") or (parameters if self.policy == "omit" else 1)
        self.too_few = self.used.sum(-1) < least
        self.invalid = (self.weighed & ~self.finite).any(-1) & (self.policy != "omit") & ~self.too_few

    def fit(self, index: tuple[int, ...], intercept: bool, reduction: str) -> Fit:
        """The samples of one fit, for the model."""
        used = self.used[index]
        X = self.X[index][used].astype(Long)
        if intercept:
            X = np.concatenate([X, np.ones((len(X), 1), Long)], axis=1)
        weights = None if self.weights is None else self.weights[index][used].astype(Long)
        return Fit(X, self.y[index][used].astype(Long), weights, self.dtype, reduction)


# -- what a result says of itself ------------------------------------------------------------------


def untrue(result: Any, values: Mapping[str, Any], data: Data) -> Faults:
    """Where status, epochs, numbers and history of a result contradict each other or the data."""
    faults: Faults = []
    status, loss, epochs = np.asarray(result.status), np.asarray(result.loss), np.asarray(result.epochs)
    w = np.asarray(result.w).reshape(*loss.shape, -1)
    finite = np.isfinite(w).all(-1) & np.isfinite(loss)
    if result.intercept is not None:
        finite &= np.isfinite(np.asarray(result.intercept))
    asked = values.get("epochs", 100)
    S = fastgd.Status
    plain = ~data.invalid & ~data.too_few

    def told(what: str, wrong: Any) -> None:
        wrong = np.asarray(wrong)
        if wrong.any():
            index = tuple(int(axis[0]) for axis in np.nonzero(wrong)) if wrong.ndim else ()
            place = f"fit {index}: {S(int(status[index])).name}, w {w[index]}, loss {loss[index]}, epochs {epochs[index]}"
            faults.append(("untrue result", f"{what}; {place}"))

    told("too few samples", (status == S.TOO_FEW_SAMPLES) != data.too_few)
    told("samples used", np.asarray(result.n_used) != np.where(data.used.any(-1), data.used.sum(-1), 0))
    told("invalid data", (status == S.INVALID_DATA) != data.invalid)
    told("not finite, and not DIVERGED", plain & ~finite & (status != S.DIVERGED))
    told("DIVERGED, and finite", plain & finite & (status == S.DIVERGED))
    told("COMPLETED before all epochs", (status == S.COMPLETED) & (epochs != (asked if np.isnan(result.lr).all() is False else epochs)))
    told("CONVERGED without a tol", (status == S.CONVERGED) & (values.get("tol") is None))
    told("more epochs than asked", epochs > asked)
    told("a negative loss", loss < 0)
    told("too few samples, and numbers", data.too_few & finite)
    if result.excess_loss is not None:
        told("a negative excess", np.asarray(result.excess_loss) < 0)
    history = result.history
    if history is not None:
        rows = np.asarray(history.w).reshape(*loss.shape, len(history.epoch), -1)
        every = int(values["history"])
        wanted = sorted({*range(0, asked + 1, every), asked})
        if history.epoch.tolist() != wanted:
            faults.append(("untrue result", f"history of epochs {history.epoch.tolist()}, not {wanted}"))
        told("the last row is not the result", ~np.all((rows[..., -1, :] == w) | np.isnan(w), -1))
        told("the last loss is not the result's", ~((np.asarray(history.loss)[..., -1] == loss) | np.isnan(loss)))
    return faults


# -- the model -------------------------------------------------------------------------------------


def options_of(optimizer: Any) -> tuple[str, dict[str, Any]]:
    """(name, options) of an update rule, betas apart."""
    if isinstance(optimizer, str):
        optimizer = next(getattr(fastgd, name) for name in drawing.OPTIONS_OF_RULES if name.lower() == optimizer)
    rule = optimizer() if isinstance(optimizer, type) else optimizer
    options = {name: value for name, value in vars(rule).items() if name not in ("lr", "betas")}
    if hasattr(rule, "betas"):
        options["beta1"], options["beta2"] = rule.betas
    return type(rule).__name__.lower(), options


def same_bits(a: Any, b: Any) -> bool:
    """Equal values, NaN being equal to NaN."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def wrong_steps(result: Any, values: Mapping[str, Any], data: Data, draw: Draw) -> Faults:
    """Run the same fit epoch by epoch, through its states; judge each step and loss by the model,
    and compare the whole with the call of all epochs, bit for bit."""
    rule, options = options_of(values.get("optimizer", "sgd"))
    intercept, reduction = bool(values.get("intercept")), values.get("reduction", "mean")
    limit = OTHERS if values.get("backend") == "numpy" else OURS
    leading = np.shape(result.loss)
    indices = [index for index in np.ndindex(leading) if not data.invalid[index] and not data.too_few[index]]
    judged = {indices[place]: None for place in draw.rng.permutation(len(indices))[:MOST_JUDGED]} if indices else {}
    fits = {index: data.fit(index, intercept, reduction) for index in judged}
    once = {name: value for name, value in values.items() if name not in ("history", "epochs")}
    again = {name: value for name, value in once.items() if name not in ("w0", "intercept0", "algorithm")}  # the state has its own
    now = fastgd.fit(**once, epochs=0)
    faults: Faults = []
    for t in range(1, values["epochs"] + 1):
        after = fastgd.fit(**again, epochs=1, state=now.state)
        for index, fit in fits.items():
            if np.asarray(now.status)[index] != fastgd.Status.COMPLETED:
                continue
            w, slots = now.state.w[index].astype(Long), now.state.slots[index].astype(Long)
            with np.errstate(all="ignore"):
                expected = step(fit, rule, options, float(np.asarray(result.lr)[index]), w, slots, t)
                if expected is None:
                    continue
                share = np.max(np.abs(after.state.w[index] - expected[0]) / expected[1])
            if not share <= limit:
                told = f"epoch {t} of fit {index}: w {after.state.w[index]}, not {expected[0]}: {float(share):.3g} times the bound"
                faults.append(("wrong step", told))
        now = after
    for index, fit in fits.items():
        with np.errstate(all="ignore"):
            loss, bound, _, _, inside = fit.measure(now.state.w[index].astype(Long))
            found = np.asarray(result.loss)[index]
            if inside and not abs(found - loss) <= limit * bound:
                faults.append(("wrong loss", f"fit {index}: {found}, not {loss}: {float(abs(found - loss) / bound):.3g} times the bound"))
    for name in ("w", "slots", "products", "epoch", "algorithm"):
        if not same_bits(getattr(now.state, name), getattr(result.state, name)):
            faults.append(("not as epoch by epoch", f"state.{name}: {getattr(result.state, name)}, not {getattr(now.state, name)}"))
    return faults


def not_least(result: Any, values: Mapping[str, Any], data: Data) -> Faults:
    """Judge the loss of `solve`; and that no other w that is tried has a smaller objective."""
    faults: Faults = []
    for index in np.ndindex(np.shape(result.loss)):
        if data.invalid[index] or data.too_few[index]:
            continue
        fit = data.fit(index, bool(values.get("intercept")), values.get("reduction", "mean"))
        w = result.state.w[index].astype(Long)
        with np.errstate(all="ignore"):
            loss, bound, _, _, inside = fit.measure(w)
            found = np.asarray(result.loss)[index]
            if inside and not abs(found - loss) <= OURS * bound:
                faults.append(("wrong loss", f"fit {index}: {found}, not {loss}: {float(abs(found - loss) / bound):.3g} times the bound"))
    return faults


# -- one case --------------------------------------------------------------------------------------


def check(function: str, given: Mapping[str, str], right: bool, seed: int) -> tuple[Outcome, Faults]:
    """Make a call; what it broke. right: no argument is a nasty one."""
    try:
        values = values_of(given)
    except Exception as error:  # an expression that this NumPy does not have
        raise AssertionError(f"{given} cannot be made: {error}") from error
    outcome = call(FUNCTIONS[function], values)
    faults = outcome.faults
    if faults or not right:
        return outcome, faults
    try:
        leading = np.shape(outcome.result.loss) if outcome.error is None else np.broadcast_shapes(np.shape(values["y"])[:-1])
        data = Data(values, leading)
    except ValueError as error:
        return outcome, [("wrong shape", f"{error}")]
    bad = data.policy == "raise" and not (data.finite | ~data.weighed).all()
    if outcome.error is not None:
        if not bad:
            faults.append(("a right call is refused", f"{type(outcome.error).__name__}: {outcome.error}"))
    elif bad:
        faults.append(("numbers that are not finite are taken", f"{np.argwhere(~data.finite)[:1]}"))
    elif not values.get("standardize"):
        faults += untrue(outcome.result, values, data)
        if function == "fastgd.solve":
            faults += not_least(outcome.result, values, data)
        elif values.get("tol") is None and not faults:
            faults += wrong_steps(outcome.result, values, data, Draw(np.random.default_rng(seed)))
    return outcome, faults


def smaller(function: str, given: dict[str, str], kind: str, right: bool, seed: int) -> dict[str, str]:
    """The same failure with fewer arguments."""
    for name in list(given):
        if name in ("X", "y", "candidate", "epochs"):
            continue
        fewer = {key: text for key, text in given.items() if key != name}
        try:
            if any(found == kind for found, _ in check(function, fewer, right, seed)[1]):
                given = fewer
        except Exception:
            continue
    return given


def draw_call(draw: Draw) -> tuple[str, dict[str, str], bool]:
    """(function, arguments, whether all are right)."""
    function = draw.one(("fastgd.fit",) * 7 + ("fastgd.solve",) * 2 + ("fastgd.verify", "fastgd.diagnose"))
    if function == "fastgd.solve":
        given = draw_solve(draw)
    elif function == "fastgd.fit":
        given = draw_fit(draw)
    else:
        given = {"X": "array([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]])", "y": "array([1.0, 2.0, 3.0])", "lr": "0.05", "epochs": "3"}
        if function == "fastgd.verify":
            given = {"candidate": draw.one(("'cpu'", "'numpy'", "array([[0.0, 0.0], [0.5, 0.5]])"))} | given
        else:
            given = {"w_history": "array([[0.0, 0.0], [0.5, 0.5], [0.25, 0.5]])"} | {
                name: text for name, text in given.items() if name != "epochs"
            }
        given |= {
            name: text for name, text in {"intercept": "False", "reduction": "'mean'", "optimizer": "'sgd'"}.items() if draw.chance(0.3)
        }
    right = function in ("fastgd.fit", "fastgd.solve") and draw.chance(0.75)
    if not right:
        names = list(given) + (
            ["out", "nodata", "state", "w0", "lr", "tol", "memory_limit", "threads", "history"] if function == "fastgd.fit" else []
        )
        for name in {draw.one(names) for _ in range(draw.one((1, 1, 2)))}:
            given[name] = draw.one(nasty.NASTY if draw.chance(0.98) or "memory_limit" not in names else nasty.HUGE)
            if (name, given[name]) == ("epochs", "2**31"):
                given[name] = "2**63"  # the other is a number of epochs, and takes an hour
    return function, given, right


def run(trial: Trial) -> None:
    """Call, compare, write down what failed."""
    draw = Draw(trial.rng)
    while trial.time_is_left():
        function, given, right = draw_call(draw)
        seed = int(trial.rng.integers(2**31))
        trial.doing(program(function, given, IMPORTS))
        _, faults = check(function, given, right, seed)
        for kind, text in faults:
            trial.failed(kind, text, program(function, smaller(function, given, kind, right, seed), IMPORTS))
        trial.tried()


ATTACK = Attack(
    name="calls",
    promise="every call gives the right numbers and a true status, or a sentence",
    how="Random calls of fit, solve, verify and diagnose, one in four with values that no argument wants. Every step of every update "
    "rule and every loss is compared with a model in long double, by the derived bound; the call of all epochs with one call for each "
    "epoch, bit for bit; status, epochs and history with the numbers. No input changes, no warning comes; NumPy's error state, random "
    "numbers, the floating-point mode, the environment and the threads stay as they were.",
    unit="calls",
    share=8,
    run=run,
)
