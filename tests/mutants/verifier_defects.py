"""Defects of the verifier."""

from __future__ import annotations

from tests.mutants.defect import Defect

EVIDENCE = "tests/verification/causes/test_evidence.py"
VERIFIER = ("tests/verification/causes/test_diagnosis.py", "tests/verification/test_verifying.py")
VERIFICATION = "fastgd/verification"

VERIFIER_DEFECTS = (
    Defect(
        "verifier: the last explanation wins",
        f"{VERIFICATION}/causes/diagnosis.py",
        "best, best_tau = passing[0]\n        rivals",
        "best, best_tau = passing[-1]\n        rivals",
        VERIFIER,
    ),
    Defect(
        "verifier: no rounding of w",
        f"{VERIFICATION}/causes/observation.py",
        "bound = step.error + self.u * np.abs(w - step.value)",
        "bound = step.error",
        VERIFIER,
    ),
    Defect(
        "verifier: the first step has momentum",
        f"{VERIFICATION}/causes/recipes.py",
        ".but_first(damped if self.first_damped else pull)",
        "",
        VERIFIER,
    ),
    Defect(
        "verifier: the bound is a hundred times as wide", f"{VERIFICATION}/bound/yardstick.py", "LIMIT = 8.0", "LIMIT = 800.0", VERIFIER
    ),
    Defect(
        "verifier: the bound is ten times as wide",
        f"{VERIFICATION}/bound/yardstick.py",
        "LIMIT = 8.0",
        "LIMIT = 80.0",
        ("tests/verification/causes/test_gradient.py", *VERIFIER),
    ),
    Defect(
        "verifier: an explanation may have a bound of any width",
        f"{VERIFICATION}/causes/evidence.py",
        "if narrow else np.inf",
        "if narrow or True else np.inf",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: a loss may be explained by a bound of any width",
        f"{VERIFICATION}/causes/loss.py",
        "return self.sure or any(LIMIT",
        "return True or any(LIMIT",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: the ridge that is asked for is on the intercept too",
        f"{VERIFICATION}/causes/question.py",
        "np.zeros(int(intercept)))",
        "np.ones(int(intercept)))",
        ("tests/verification/causes/test_ridge.py",),
    ),
    Defect(
        "verifier: rows several epochs apart are judged without momentum and penalty",
        f"{VERIFICATION}/causes/question.py",
        "rule=self.asked.linear if rule is None else rule",
        "rule=Rule() if rule is None else rule",
        ("tests/verification/causes/test_ridge.py",),
    ),
    Defect(
        "verifier: the propagated bound forgets the weight decay",
        f"{VERIFICATION}/bound/propagated.py",
        "+ np.diag(decay)",
        "+ np.diag(0 * decay)",
        ("tests/verification/bound/test_propagated.py",),
    ),
    Defect(
        "verifier: the penalty of half of the squares is not halved",
        f"{VERIFICATION}/causes/question.py",
        '(2 if self.reduction.startswith("half") else 1)',
        "1",
        ("tests/verification/causes/test_ridge.py",),
    ),
    Defect(
        "verifier: a hypothesis passes always",
        f"{VERIFICATION}/causes/recorded_rows.py",
        "asked.error + off / LIMIT)",
        "np.full_like(asked.error, np.inf))",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: rounding to decimals is taken for rounding errors",
        f"{VERIFICATION}/causes/recorded_rows.py",
        "asked.error + off / LIMIT)",
        "asked.error + off)",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: what others do not show is sure",
        f"{VERIFICATION}/causes/parts.py",
        "told = told and seen.tau(asked.step(seen, whole.times(found, seen.u))) > LIMIT",
        "told = True",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: one number is evidence of any gradient",
        f"{VERIFICATION}/causes/evidence.py",
        "if scene.seen.has_one_number and",
        "if False and",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: another y needs no matrix",
        f"{VERIFICATION}/causes/other_data.py",
        "constants=seen.n_parameters, telling=moves",
        "constants=0",
        (EVIDENCE,),
    ),
    Defect(
        "verifier: a constant needs no evidence",
        f"{VERIFICATION}/causes/evidence.py",
        "hypothesis.step) > hypothesis.constants",
        "hypothesis.step) >= 0",
        VERIFIER,
    ),
    Defect(
        "verifier: the enclosure of a rule is left out",
        f"{VERIFICATION}/bound/rule_step.py",
        "spread = np.maximum(by_roundings, by_intermediates)",
        "spread = by_roundings",
        ("tests/verification/bound/test_rule_step.py",),
    ),
    Defect(
        "verifier: what was not judged agrees",
        f"{VERIFICATION}/verdicts.py",
        "and not trial.altered and found.epochs_judged > 0",
        "and not trial.altered",
        VERIFIER[1:],
    ),
    Defect(
        "verifier: a diagnosis of nothing is ok",
        f"{VERIFICATION}/causes/diagnosing.py",
        '[("ok", given)] if seen.n_steps else [("not_judged", given)]',
        '[("ok", given)]',
        VERIFIER[1:],
    ),
    Defect(
        "verifier: changed inputs pass",
        f"{VERIFICATION}/candidates/functions.py",
        "trial.altered = True",
        "trial.altered = False",
        ("tests/verification/candidates/test_functions.py",),
    ),
    Defect(
        "verifier: a return inside the loop agrees",
        f"{VERIFICATION}/ending_early.py",
        "if made == 1 and abs(share) > _AT_ONCE:",
        "if made == 0 and abs(share) > _AT_ONCE:",
        ("tests/verification/test_ending_early.py",),
    ),
    Defect(
        "verifier: losses are read before each update alone",
        f"{VERIFICATION}/causes/readings.py",
        "if count == epochs and len(whole_at) > 1 and whole_at[0] == 0:",
        "if False:",
        ("tests/verification/gallery/test_course_forms.py",),
    ),
    Defect(
        "verifier: what is hardly beyond the bound has a sure name",
        "fastgd/verification/causes/evidence.py",
        "_LEAST_STRENGTH = 10.0",
        "_LEAST_STRENGTH = 0.0",
        ("tests/verification/causes/test_evidence.py",),
    ),
)
