"""Defects of checkpoints: what is stored, when, and what is taken for whole."""

from __future__ import annotations

from tests.mutants.defect import Defect

CHECKPOINT_DEFECTS = (
    Defect(
        "checkpoint: fits are noted before they are computed",
        "fastgd/running/storing.py",
        "        function(first, stop, counter)\n        if not self._control.cancel[0]:  # else a kernel may have stopped in the midst\n"
        "            self.note(first, stop)",
        "        self.note(first, stop)\n        function(first, stop, counter)",
        ("tests/running/test_storing.py::test_an_item_is_stored_after_it_is_computed",),
    ),
    Defect(
        "checkpoint: a fit in whose midst a kernel stopped is stored",
        "fastgd/running/storing.py",
        "        if not self._control.cancel[0]:  # else",
        "        if True:  # else",
        ("tests/running/test_storing.py::test_what_was_not_finished_is_not_stored",),
    ),
    Defect(
        "checkpoint: one option does not count",
        "fastgd/results/checkpoint.py",
        'FREE = ("threads", ',
        'FREE = ("tol", "threads", ',
        ("tests/results/test_checkpoint.py::test_every_option_counts_but_those_that_change_no_bit",),
    ),
    Defect(
        "checkpoint: the weights do not count",
        "fastgd/results/checkpoint.py",
        '"y": problem.y, "sample_weight": problem.weights}',
        '"y": problem.y}',
        ("tests/results/test_checkpoint.py::test_of_other_data_or_options_it_is_refused",),
    ),
    Defect(
        "checkpoint: of an array only the first piece counts",
        "fastgd/input/fingerprints.py",
        "    for first in range(0, len(array), rows):",
        "    for first in range(0, rows, rows):",
        ("tests/input/test_fingerprints.py::test_the_layout_and_the_library_do_not_count",),
    ),
    Defect(
        "checkpoint: a block of another call is taken",
        "fastgd/results/checkpoint.py",
        "(block.call, block.part) == (self.checkpoint.call, self.name) and fits(block)",
        "fits(block)",
        ("tests/results/test_checkpoint.py::test_a_block_of_other_fits_under_this_name_is_not_taken",),
    ),
    Defect(
        "a damaged file is taken for whole",
        "fastgd/results/file_format.py",
        "    if _digest(file, length - _DIGEST).encode() != mark[2]:",
        "    if not mark[2]:",
        ("tests/results/test_checkpoint.py::test_of_a_damaged_block_only_its_fits_are_computed_again",),
    ),
    Defect(
        "checkpoint: what is in a damaged block counts as stored",
        "fastgd/running/storing.py",
        "        return [*found, (first, stop)] if first < stop else found",
        "        return [*found, (first, stop)] if first < stop and not self._stored else found",
        ("tests/results/test_checkpoint.py", "tests/running/test_storing.py"),
    ),
    Defect(
        "checkpoint: a block is put one fit too early",
        "fastgd/running/storing.py",
        "self.buffers.arrays[name][block.first : block.stop] = values",
        "self.buffers.arrays[name][max(0, block.first - 1) : block.stop - (block.first > 0)] = values",
        ("tests/running/test_storing.py::test_results_go_on_from_what_is_there",),
    ),
    Defect(
        "checkpoint: a batch of groups is put into the next one",
        "fastgd/running/grouped.py",
        "which = self.groups[block.first : block.stop]\n            for",
        "which = np.roll(self.groups[block.first : block.stop], 1)\n            for",
        ("tests/running/test_storing.py::test_results_go_on_from_what_is_there",),
    ),
    Defect(
        "checkpoint: a memory limit counts",
        "fastgd/results/checkpoint.py",
        '"threads", "memory_limit", ',
        '"threads", ',
        (
            "tests/running/test_storing.py::test_groups_go_on_in_batches_of_another_size",
            "tests/results/test_checkpoint.py::test_threads_memory_and_libraries_may_differ",
        ),
    ),
    Defect(
        "checkpoint: groups are numbered by their batch",
        "fastgd/running/grouped.py",
        "_run_batch(job, control, whole if not stored else job.prepare_batch(some), some, begin, store)",
        "_run_batch(job, control, whole if not stored else job.prepare_batch(some), some, first, store)",
        ("tests/running/test_storing.py::test_groups_go_on_in_batches_of_another_size",),
    ),
    Defect(
        "checkpoint: solved fits that are stored begin anew",
        "fastgd/running/least_squares.py",
        "[(0, n_fits)] if control.store is None else control.store.missing(0, n_fits):",
        "[(0, n_fits)]:",
        ("tests/running/test_storing.py::test_results_go_on_from_what_is_there",),
    ),
    Defect(
        "checkpoint: a robust fit makes a step twice",
        "fastgd/reweighting.py",
        "range(max(1, done), self.most)",
        "range(1, self.most)",
        ("tests/running/test_storing.py::test_robust_fits_go_on_after_the_last_step",),
    ),
    Defect(
        "checkpoint: of a known batch a row too few is passed over",
        "fastgd/integrations/table_batches.py",
        "            while n_known and",
        "            n_known -= 1\n            while n_known and",
        ("tests/integrations/test_table_output.py::test_after_a_kill_it_goes_on_with_less_memory",),
    ),
    Defect(
        "checkpoint: curvatures are not stored",
        "fastgd/running/storing.py",
        "self.part.write(first, stop, arrays, concatenated(some) if some else None)",
        "self.part.write(first, stop, arrays, None)",
        ("tests/running/test_storing.py::test_results_go_on_from_what_is_there",),
    ),
    Defect(
        "checkpoint: what could not be stored is forgotten",
        "fastgd/running/storing.py",
        "                self._finished += left\n",
        "",
        ("tests/running/test_storing.py::test_what_cannot_be_stored_is_tried_again_and_told_once",),
    ),
    Defect(
        "checkpoint: a folder has two calls at once",
        "fastgd/results/checkpoint.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        ("tests/results/test_checkpoint.py::test_two_calls_at_once",),
    ),
)
