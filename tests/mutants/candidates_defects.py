"""Defects of what hands people's code over to the judge, and of what the report says."""

from __future__ import annotations

from tests.mutants.defect import Defect

VERIFICATION, TESTS = "fastgd/verification", "tests/verification"
CANDIDATES, CALLING = f"{VERIFICATION}/candidates", f"{TESTS}/candidates/test_calling.py"

CANDIDATES_DEFECTS = (
    Defect(
        "handed over: b and w change places",
        f"{CANDIDATES}/calling.py",
        'return order == ["b", "w"]',
        'return order == ["w", "b"]',
        (CALLING,),
    ),
    Defect(
        "handed over: the intercept is the last number of w as well",
        f"{CANDIDATES}/functions.py",
        'return w[: task.X.shape[-1]] if self.call.has("b") else np.roll',
        "return w if False else np.roll",
        (CALLING,),
    ),
    Defect(
        "handed over: the gradient's step is made upwards",
        f"{CANDIDATES}/functions.py",
        "w_next = (w - task.X.dtype.type(rate) * w_next)",
        "w_next = (w + task.X.dtype.type(rate) * w_next)",
        (CALLING,),
    ),
    Defect(
        "handed over: a constant of a rule is taken for w",
        f"{CANDIDATES}/names.py",
        'return _plain(name).startswith("beta")',
        'return _plain(name).startswith("gamma")',
        (f"{CALLING}::test_constants_of_a_rule_are_left_alone",),
    ),
    Defect(
        "handed over: a row of a run that was asked for one epoch more",
        f"{CANDIDATES}/counting.py",
        "found.append(run(count))",
        "found.append(run(count + 1))",
        (f"{TESTS}/candidates/test_counting.py", f"{TESTS}/candidates/test_fitted.py"),
    ),
    Defect(
        "handed over: a fit that stopped by itself is judged to the end",
        f"{CANDIDATES}/counting.py",
        "return rows[: end + 1], epochs[: end + 1]",
        "return rows, epochs",
        (f"{TESTS}/candidates/test_counting.py",),
    ),
    Defect(
        "handed over: losses of the row before are a habit where row 0 is the start",
        f"{CANDIDATES}/functions.py",
        " or not np.any(w[0])",
        "",
        (f"{TESTS}/gallery/test_courses.py::test_a_loss_of_the_row_before",),
    ),
    Defect(
        "recorder: w is not copied",
        f"{CANDIDATES}/recorder.py",
        'w = copied(w, "w")',
        "w = np.asarray(w)",
        (f"{TESTS}/candidates/test_recorder.py",),
    ),
    Defect(
        "batches: every step uses all samples",
        f"{VERIFICATION}/bound/batches.py",
        "known = self.on(step.batch)\n            if known is None:",
        "known = self.on(None)\n            if known is None:",
        (f"{TESTS}/test_judging_batches.py",),
    ),
    Defect(
        "batches: a row uses the bound of its last step alone",
        f"{VERIFICATION}/bound/batches.py",
        "total += np.abs(after) @ bound",
        "total = np.abs(after) @ bound * 0.02",
        (f"{TESTS}/test_judging_batches.py",),
    ),
    Defect(
        "batches: the momentum buffer begins anew at each row",
        f"{VERIFICATION}/bound/batches.py",
        "begins = i == 0 if anew is None else anew[i]",
        "begins = True",
        (f"{TESTS}/causes/test_batches.py",),
    ),
    Defect(
        "handed over: w with the intercept first is turned the wrong way",
        f"{CANDIDATES}/functions.py",
        "np.roll(w, 1) if self.ones_first",
        "np.roll(w, -1) if self.ones_first",
        (f"{TESTS}/candidates/test_hand_over.py",),
    ),
    Defect(
        "losses: read as those after the update",
        f"{VERIFICATION}/judging_losses.py",
        "read = next((key for key, share in shares.items() if not (share > limit).any()), (0, 1.0, 0.0))",
        "read = 1, 1.0, 0.0",
        (f"{TESTS}/test_judging_losses.py",),
    ),
    Defect(
        "losses: the start that was given is not used",
        f"{VERIFICATION}/judging_losses.py",
        "path = [yardstick.extended(start.astype(dtype))]",
        "path = [0 * yardstick.extended(start.astype(dtype))]",
        (f"{TESTS}/test_judging_losses.py",),
    ),
    Defect(
        "report: infinite and not a number change places",
        f"{VERIFICATION}/report/beyond.py",
        "if math.isnan(self.found) and math.isinf(self.share):",
        "if math.isinf(self.found) and math.isinf(self.share):",
        (f"{TESTS}/report/test_beyond.py",),
    ),
    Defect(
        "report: ours begins at zeros",
        f"{VERIFICATION}/trials.py",
        '{"w0": theirs[0, : task.X.shape[-1]]',
        '{"w0": 0 * theirs[0, : task.X.shape[-1]]',
        (f"{TESTS}/report/test_curves.py",),
    ),
    Defect(
        "command line: a word is a gap",
        "fastgd/cli/csv_file.py",
        "all(cells[k].strip().lower() in MISSING for k in wrong)",
        "bool(wrong)",
        ("tests/cli/test_verify.py::test_samples_with_gaps_are_left_out_where_that_is_asked_for",),
    ),
    Defect(
        "losses go on where the rows of a run have ended",
        f"{VERIFICATION}/candidates/counting.py",
        "loss[: len(loss) - (epochs - last)]",
        "loss",
        (f"{TESTS}/candidates/test_counting.py",),
    ),
)
