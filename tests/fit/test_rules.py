"""Every update rule but SGD: every epoch in lockstep with torch.optim, the bits, the state, the
table.

1. Lockstep: before each epoch torch takes over our backend's state. τ ≤ 2 for us, ≤ 8 for torch.
2. What torch makes anew from its step count (βᵗ) is judged by exact powers; torch's mu_product is a
   float32.
3. A rule is tested in the hands that it has (`hands` of its row). One that torch.optim does not
   have is followed without torch, and NumPy's run stands in torch's place.
"""

from __future__ import annotations

import dataclasses
from itertools import cycle, product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS, AUTOGRAD, MOMENTS
from fastgd.kernels.reference import torch_autograd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.testing import problems
from fastgd.verification.bound import check_lockstep
from fastgd.verification.oracle import extended_descent
from tests import grids
from tests.kernels.cpu.test_bits import KINDS, make_data
from tests.specification import arbiter
from tests.support.against_arbiter import compare, same_bits
from tests.support.reference_chunks import chunk_of, run
from tests.support.rule_options import OPTIONS, assert_refused, optimizer, rules_of, rules_with, ways_of

OURS, OTHERS = 2.0, 8.0
EVERY_RULE = [name for name in UPDATE_RULES if name != "sgd"]
RULES = [name for name in rules_with("cpu") if name != "sgd"]  # those with kernels
PROBLEMS = {problem.name: problem for problem in problems()}
CHOSEN = (
    "tutorial", "noisy", "noise_free", "offset_1e6_intercept", "condition_1e7", "mixed_rows", "mixed_columns", "intercept", "far_start",
    "n_1_d_1", "n_1_d_3", "n_5_d_9", "zero_column", "zero_X", "zero_y", "equal_columns", "d_17", "n_4097", "subnormal_float32_y",
    "subnormal_float64_x", "x_1e+150_y_1e-150", "nist_longley", "nist_filip",
)  # fmt: skip


# Lockstep -----------------------------------------------------------------------------------------


class Lockstep:
    """Our backend epoch by epoch, and torch from the same states."""

    def __init__(self, problem, dtype, rule, hyper, lr, algorithm, ahead=0):
        self.data, self.dtype, self.rule, self.hyper, self.lr = problem.astype(dtype), dtype, UPDATE_RULES[rule], hyper, lr
        self.optimizer = optimizer(rule, hyper)
        options = {"intercept": True, "intercept0": self.data.w0[-1]} if problem.intercept else {}
        self.result = fastgd.fit(
            self.data.X, self.data.y, w0=self.data.w0[: problem.n_features], lr=lr, epochs=ahead, optimizer=self.optimizer,
            algorithm=algorithm, **options,
        )  # fmt: skip
        decay = {"decay": np.longdouble(0.96) ** np.longdouble(self.value("momentum_decay"))} if rule == "nadam" else {}
        self.torch_values = self.rule.all_values({**hyper, **decay})
        self.torch_products = dict.fromkeys(self.rule.products, np.longdouble(1))
        for _ in range(ahead):
            self.advance()

    def value(self, name):
        return self.hyper.get(name, self.rule.hyperparameters[name])

    def advance(self):
        exact = {name: v if isinstance(v, bool) else np.longdouble(v) for name, v in self.torch_values.items()}
        self.torch_products = dict(zip(self.torch_products, self.rule.advance(**exact, **self.torch_products), strict=True))

    def one(self, state, backend):
        return fastgd.fit(
            self.data.X, self.data.y, lr=self.lr, epochs=1, state=state, optimizer=self.optimizer, intercept=self.data.intercept,
            history=True, backend=backend,
        )  # fmt: skip

    def judge(self, before, after, loss, dtype, products, hyper, **options):
        of_before, of_after = (before.w, before.slots, int(before.epoch), products), (after.w, after.slots, after.products)
        return check_lockstep(
            self.data.X, self.data.y, of_before, of_after, loss, rule=self.rule, lr=self.lr, hyper=hyper, dtype=dtype,
            intercept=self.data.intercept, **options,
        )  # fmt: skip

    def step(self):
        """Our τ (w, slots, loss, products), and torch's (w, slots, loss) where torch has the rule;
        else ()."""
        before = self.result.state
        self.result = self.one(before, "auto")
        after, loss = self.result.state, self.result.history.loss[0]
        moments = int(after.algorithm) == MOMENTS
        ours = self.judge(before, after, loss, "float64" if moments else self.dtype, before.products, self.hyper)
        of_loss = self.judge(before, after, loss, self.dtype, before.products, self.hyper)
        theirs = self.torchs_step(before) if self.rule.name in rules_of("torch") else ()
        self.advance()
        return (ours.tau_w, ours.tau_slots, of_loss.tau_loss, ours.tau_products), theirs

    def torchs_step(self, before):
        """τ (w, slots, loss) of torch, from our state."""
        in_dtype = {name: getattr(before, name).astype(self.dtype).astype(float) for name in ("w", "slots")}
        start = dataclasses.replace(before, algorithm=np.full_like(before.algorithm, AUTOGRAD), **in_dtype)
        torchs = self.one(start, "torch")
        given = [before.products[k] if name == "mu_product" else self.torch_products[name] for k, name in enumerate(self.rule.products)]
        products_dtype = "float32" if "mu_product" in self.rule.products else "float64"
        theirs = self.judge(
            start, torchs.state, torchs.history.loss[0], self.dtype, np.array(given, np.longdouble), self.torch_values,
            products_dtype=products_dtype,
        )  # fmt: skip
        return theirs.tau_w, theirs.tau_slots, theirs.tau_loss


def follow(lockstep, epochs, record_tau, case):
    """Judge so many epochs; return how many were judged."""
    judged = 0
    for _ in range(epochs):
        ours, theirs = lockstep.step()
        algorithm = ALGORITHMS[int(lockstep.result.state.algorithm)]
        if np.isnan(ours).any():
            continue
        judged += 1
        record_tau(f"{lockstep.rule.name}, {algorithm}", lockstep.dtype, case, max(ours[0], ours[1], ours[3]), ours[2])
        assert max(ours) <= OURS, (int(lockstep.result.state.epoch), ours)
        if theirs and not np.isnan(theirs).any():
            record_tau(f"{lockstep.rule.name}, torch", lockstep.dtype, case, max(theirs[:2]), theirs[2])
            assert max(theirs) <= OTHERS, (int(lockstep.result.state.epoch), theirs)
    return judged


CASES = [
    (name, dtype, rule, option, algorithm)
    for rule in RULES
    for option in OPTIONS[rule]
    for name in CHOSEN
    for dtype in PROBLEMS[name].dtypes
    for algorithm in ("moments", "stream")
]
IN_TURN = cycle(product(("float32", "float64"), ("moments", "stream")))
EVERY = [("noisy", dtype, rule, option, algorithm) for (rule, option), (dtype, algorithm) in
         zip(((rule, option) for rule in RULES for option in OPTIONS[rule]), IN_TURN, strict=False)]  # fmt: skip
LOCKSTEP = [*EVERY, *(case for case in grids.thin("rules in lockstep", CASES, 60) if case not in EVERY)]


@pytest.mark.parametrize(("name", "dtype", "rule", "option", "algorithm"), LOCKSTEP)
def test_every_rule_and_option_in_lockstep_with_torch(name, dtype, rule, option, algorithm, record_tau, torch):
    lockstep = Lockstep(PROBLEMS[name], dtype, rule, OPTIONS[rule][option], 0.03125, algorithm)
    judged = follow(lockstep, 12, record_tau, f"{name} {option}")
    if name in ("noisy", "tutorial", "intercept"):
        assert judged >= 10


LONG = [(name, dtype, rule, algorithm) for name in ("tutorial", "noisy", "intercept") for dtype in ("float32", "float64") for rule in RULES
        for algorithm in ("moments", "stream")]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "rule", "algorithm"), grids.thin("rules past convergence", LONG, 28))
def test_3000_epochs_past_convergence_in_lockstep(name, dtype, rule, algorithm, record_tau, full, torch):
    """Adam's steps are then rounding noise divided by its own size: from the same state they are
    the same noise within the bound."""
    option = {"rmsprop": {"centered": True}}.get(rule, {})
    epochs = 3000 if full else 300  # 3,000 epochs of three judged steps take half a minute; here the last 300 of them
    lockstep = Lockstep(PROBLEMS[name], dtype, rule, option, 0.125, algorithm, ahead=3000 - epochs)
    assert follow(lockstep, epochs, record_tau, f"{name}, 3,000 epochs") > 0.5 * epochs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reference", ["torch", "numpy"])
def test_the_references_step_as_the_rule_does(reference, dtype, record_tau):
    """From their own states."""
    problem = PROBLEMS["intercept"].astype(dtype)
    for rule in rules_of(reference):
        for option, hyper in OPTIONS[rule].items():
            values = {"lr": 0.03125, "optimizer": optimizer(rule, hyper), "intercept": True, "backend": reference}
            result = fastgd.fit(problem.X, problem.y, epochs=0, **values)
            for _ in range(5):
                before = result.state
                result = fastgd.fit(problem.X, problem.y, epochs=1, state=before, history=True, **values)
                after = result.state
                check = check_lockstep(
                    problem.X, problem.y, (before.w, before.slots, int(before.epoch), before.products),
                    (after.w, after.slots, after.products),
                    result.history.loss[0], rule=UPDATE_RULES[rule], lr=0.03125, hyper=hyper, dtype=dtype, intercept=True,
                    products_dtype="float32" if rule == "nadam" and reference == "torch" else "float64",
                )  # fmt: skip
                worst = max(check.tau_w, check.tau_slots, check.tau_products)
                record_tau(f"{rule}, {reference}", dtype, option, worst, check.tau_loss)
                assert max(worst, check.tau_loss) <= OTHERS, (rule, option, check)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_many_digits(rule):
    """The rule from the table with 40 digits, free-running: 20 float64 epochs stay within 1e-12 of
    it."""
    problem = PROBLEMS["intercept"]
    for option, hyper in OPTIONS[rule].items():
        exact = extended_descent(problem.X, problem.y, problem.w0, lr=0.03125, epochs=20, intercept=True, rule=rule, hyper=hyper, digits=40)
        for way in ways_of(rule):
            if way == {"backend": "torch"}:
                continue  # not free-running: its NAdam has a float32 product
            result = fastgd.fit(
                problem.X, problem.y, lr=0.03125, epochs=20, intercept=True, optimizer=optimizer(rule, hyper), history=True, **way
            )
            w = np.concatenate([result.history.w, result.history.intercept[:, None]], axis=1)
            assert np.abs(w - np.array(exact.w, float)).max() < 1e-12, option


# Bits ---------------------------------------------------------------------------------------------

BITS = [(n, d, dtype, algorithm, intercept, kind, rule)
        for n, d in ((1, 1), (3, 2), (40, 3), (513, 1), (65, 8)) for dtype in ("float32", "float64") for algorithm in ("moments", "stream")
        for intercept in (False, True) for kind in KINDS for rule in RULES]  # fmt: skip


@pytest.mark.parametrize("case", grids.thin("bits of the rules", BITS, 30), ids=lambda case: "-".join(map(str, case)))
def test_the_kernels_give_the_arbiters_bits(case):
    n, d, dtype, algorithm, intercept, kind, rule = case
    X, y = make_data(n, d, dtype, kind)
    rng = np.random.default_rng(n + d)
    cells = [{"lr": lr, "hyper": hyper, "w0": rng.standard_normal(d + intercept)}
             for hyper in OPTIONS[rule].values() for lr in (0.01, 0.3)]  # fmt: skip
    compare(X, y, cells, epochs=7, intercept=intercept, reduction=("mean", "sum")[n % 2], algorithm=algorithm, rule=rule)


@pytest.mark.share(3)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_and_division_by_zero_have_the_arbiters_bits(rule, dtype):
    """Giant rates, giant data, eps = 0 where the gradient is 0: the hand-over to stream, inf and
    NaN."""
    omega = arbiter.FORMATS[dtype].omega
    X, y = make_data(40, 2, dtype, "normal")
    zero = X.copy()
    zero[:, 1] = 0
    huge = X * np.sqrt(np.sqrt(omega)).astype(dtype)
    hypers = [*OPTIONS[rule].values(), {"eps": 0.0}]
    handed_over = 0
    for data in (X, zero, huge):
        for lr in (1e-3, 1e9, omega / 8, omega * 8):
            cells = [{"lr": lr, "hyper": hyper, "w0": [0.5, -0.25]} for hyper in hypers]
            runs = compare(data, y, cells, epochs=9, algorithm="moments", rule=rule)
            handed_over += sum(run.handover is not None for run in runs)
            compare(data, y, cells[:2], epochs=9, algorithm="stream", rule=rule)
    assert handed_over


@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_first_row_that_is_not_finite_is_torchs(rule, dtype, torch):
    """For small and giant rates and data, in each hand; somewhere it overflows."""
    X, y = make_data(40, 2, dtype, "normal")
    size, epochs = np.finfo(dtype).max ** 0.25, []
    for scale in (1, size):
        for lr in (1.0, float(size), float(size) ** 2):
            options = {"lr": lr, "optimizer": rule, "w0": [0.5, -0.25], "epochs": 60}
            runs = [fastgd.fit(X * scale, y, **options, **way) for way in ways_of(rule)]
            assert len({(int(run.status), int(run.epochs)) for run in runs}) == 1, (scale, lr, [run.epochs for run in runs])
            epochs.append(int(runs[0].epochs))
    assert min(epochs) < 60


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_each_hand_takes_the_state_where_it_was_left(rule, torch):
    """fit(10) = fit(4) + fit(6), bit for bit: w, slots, products, loss."""
    for dtype in ("float32", "float64"):
        X, y = make_data(40, 3, dtype, "normal")
        for hyper in OPTIONS[rule].values():
            for chosen in ways_of(rule):
                options = {"lr": 0.05, "optimizer": optimizer(rule, hyper), "intercept": True}
                whole = fastgd.fit(X, y, epochs=10, history=True, **options, **chosen)
                first = fastgd.fit(X, y, epochs=4, **options, **chosen)
                backend = {"backend": chosen["backend"]} if "backend" in chosen else {}
                then = fastgd.fit(X, y, epochs=6, state=first.state, history=True, **options, **backend)
                assert same_bits(then.history.w, whole.history.w[4:])
                assert same_bits(then.history.loss, whole.history.loss[4:])
                for name in ("w", "slots", "products"):
                    assert same_bits(getattr(then.state, name), getattr(whole.state, name)), (hyper, chosen, name)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_per_fit_values_equal_single_fits(rule, backend):
    """Every hyperparameter an array, along either axis in turn: its default and the values of
    OPTIONS."""
    X, y = make_data(40, 2, "float64", "normal")
    values = {}
    for place, (name, default) in enumerate(UPDATE_RULES[rule].hyperparameters.items()):
        tried = [default, *(hyper[name] for hyper in OPTIONS[rule].values() if name in hyper)]
        values[name] = np.resize(tried, (2, 1) if place % 2 else 3)
    if rule not in rules_of(backend):
        assert_refused(rule, backend)
        return
    many = fastgd.fit(X, y, optimizer=optimizer(rule, values), epochs=8, intercept=True, backend=backend)
    assert many.w.shape == (2, 3, 2)
    for index in np.ndindex(2, 3):
        own = {name: np.broadcast_to(value, (2, 3))[index].item() for name, value in values.items()}
        one = fastgd.fit(X, y, optimizer=optimizer(rule, own), epochs=8, intercept=True, backend=backend)
        for name in ("w", "slots", "products"):
            assert same_bits(np.asarray(getattr(many.state, name)[index]), np.asarray(getattr(one.state, name))), (index, name)
        assert many.loss[index] == one.loss


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "pattern"),
    [
        (fastgd.Adam(betas=(1.0, 0.9)), r"^betas\[0\] must be below 1; it is 1$"),
        (fastgd.NAdam(betas=(0.9, [0.5, -0.1])), r"^betas\[1\] must be at least 0; it is -0\.1 at index 1$"),
        (fastgd.AdamW(betas=0.9), r"^betas must be a pair \(beta1, beta2\), each a number or an array of one per fit, not 0\.9$"),
        (fastgd.Adam(betas=(0.9, 0.99, 0.999)), "^betas must be a pair"),
        (fastgd.Adam(eps=-1e-8), "^eps must be at least 0; it is -1e-08$"),
        (fastgd.Adam(amsgrad=2), "^amsgrad must be True or False; it is 2$"),
        (fastgd.AdamW(weight_decay=-1), "^weight_decay must be at least 0"),
        (fastgd.RMSprop(alpha=-0.5), "^alpha must be at least 0"),
        (fastgd.RMSprop(momentum=np.nan), "^momentum must be finite"),
        (fastgd.Adagrad(lr_decay=-1), "^lr_decay must be at least 0"),
        (fastgd.Adagrad(initial_accumulator_value=-1), "^initial_accumulator_value must be at least 0"),
        (fastgd.NAdam(momentum_decay=-1), "^momentum_decay must be at least 0"),
        (fastgd.Adam(betas=([0.1, 0.2], [0.1, 0.2, 0.3])), r"betas\[0\] \(2,\), betas\[1\] \(3,\)"),
    ],
)
def test_wrong_values_are_told_in_the_users_words(made, pattern):
    with pytest.raises(ValueError, match=pattern):
        fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer=made)


def test_torch_as_its_users_write_it(torch):
    """The torch backend gives the bits of a loop over torch.optim with one parameter."""
    for rule in rules_of("torch"):
        kind = torch_autograd.optimizer_class(UPDATE_RULES[rule])
        for option, hyper in OPTIONS[rule].items():
            chunk = run("autograd", chunk_of(*(a[None] for a in make_data(20, 2, "float64", "normal")), rule=rule, epochs=6, **hyper))
            X, y = (torch.from_numpy(a) for a in make_data(20, 2, "float64", "normal"))
            w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
            optimizer = kind([w], lr=0.05, **torch_autograd.hyperparameters(chunk, 0))
            for _ in range(6):
                optimizer.zero_grad()
                residual = X @ w - y
                (residual * residual).mean().backward()
                optimizer.step()
            assert same_bits(w.detach().numpy(), chunk.w_out[0]), (rule, option)
