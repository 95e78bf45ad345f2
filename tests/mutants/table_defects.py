"""Defects of groups of rows: which rows a group has, and where its results go."""

from __future__ import annotations

from tests.mutants.defect import Defect

TABLE_DEFECTS = (
    Defect(
        "frames: null keys are those that hold 0",
        "fastgd/integrations/frame_columns.py",
        "comparable(np.asarray(values.to_numpy()), missing, name)",
        "comparable(np.asarray(values.to_numpy()), None, name)",
        ("tests/integrations/test_frames.py::test_every_library_has_the_bits_of_the_fits_alone",),
    ),
    Defect(
        "frames: rows whose key is null are dropped",
        "fastgd/integrations/frames.py",
        "    frame, lazy = collect(df, [*keys, *targets, *features, *([] if weights is None else [weights])])\n",
        "    frame, lazy = collect(df, [*keys, *targets, *features, *([] if weights is None else [weights])])\n"
        "    frame = frame.drop_nulls(keys) if keys else frame\n",
        ("tests/integrations/test_frames.py::test_every_library_has_the_bits_of_the_fits_alone",),
    ),
    Defect(
        "frames: the targets of a group change places",
        "fastgd/integrations/frames.py",
        "np.ascontiguousarray(np.asarray(values).T).ravel()",
        "np.asarray(values).ravel()",
        ("tests/integrations/test_frames.py::test_several_targets",),
    ),
    Defect(
        "groups: a boundary is off by one",
        "fastgd/data/labels.py",
        "    begins[:1] = True\n    for labels in columns:\n        begins[1:] |= _differ_from_before(labels)\n",
        "    begins[:1] = True\n    for labels in columns:\n        begins[1:-1] |= _differ_from_before(labels)[1:]\n",
        ("tests/data/test_labels.py::test_groups_are_those_of_a_dictionary",),
    ),
    Defect(
        "groups: every group begins a row too early",
        "fastgd/data/ragged.py",
        "[(*place, begins)]",
        "[(*place, np.maximum(begins - 1, 0))]",
        ("tests/data/test_ragged.py::test_groups_are_slices",),
    ),
    Defect(
        "groups: the last group is lost",
        "fastgd/planning/grouped.py",
        "            yield order[first : min(first + most, end)]",
        "            yield order[first : min(first + most, end, len(order) - 1)]",
        ("tests/fit/test_groups.py::test_a_group_is_the_fit_alone",),
    ),
    Defect(
        "groups: a group of unlike sizes has the row before it",
        "fastgd/data/ragged.py",
        "        begins = starts - low\n",
        "        begins = np.maximum(starts - low - 1, 0)\n",
        ("tests/data/test_ragged.py::test_rows_of_groups_of_unlike_sizes",),
    ),
    Defect(
        "groups: the rows of unlike sizes end with the largest group",
        "fastgd/data/ragged.py",
        "int((starts + sizes).max())",
        "int(starts.max() + sizes.min())",
        ("tests/data/test_ragged.py::test_rows_of_groups_of_unlike_sizes",),
    ),
    Defect(
        "groups: missing rows are looked for in as many rows as the largest group has",
        "kernels/cpu/__init__.py",
        "samples.n_used[:] = n if samples.lengths is None else samples.lengths",
        "samples.n_used[:] = n",
        ("tests/fit/test_groups.py::test_gaps_weights_and_too_few",),
    ),
    Defect(
        "groups: few kept rows with a ridge are centred by their moments",
        "fastgd/running/centring.py",
        "    if len(few) and group.has_samples and group.standard is None:\n",
        "    if len(few) and group.samples.lengths is None and group.has_samples and group.standard is None and False:\n",
        ("tests/fit/test_groups.py::test_a_group_is_solved_as_alone",),
    ),
    Defect(
        "moments of groups: records of a later batch are those of the first",
        "fastgd/results/moments.py",
        'getattr(one, name) + records if name == "gram_index" else getattr(one, name)',
        "getattr(one, name)",
        ("tests/fit/test_unlike_sizes.py::test_moments_of_every_kind_of_batch",),
    ),
    Defect(
        "windows: those of a group are another group's",
        "fastgd/rolling.py",
        "(before[which, None] + np.arange(len(starts)))",
        "(before[which[::-1], None] + np.arange(len(starts)))",
        ("tests/fit/test_rolling.py::test_windows_of_each_group_are_those_of_its_own_call",),
    ),
    Defect(
        "moments of groups: those of other groups are added",
        "fastgd/results/moments.py",
        "    if a.keys.keys() != b.keys.keys() or not all(_same_labels(a.keys[name], b.keys[name]) for name in a.keys):\n",
        "    if a.keys.keys() != b.keys.keys():\n",
        ("tests/fit/test_unlike_sizes.py::test_more_rows_of_the_same_groups",),
    ),
    Defect(
        "groups: a missing label is that of the row before",
        "fastgd/data/labels.py",
        "np.where(now | before, now != before, differ)",
        "np.where(now | before, False, differ)",
        ("tests/data/test_labels.py::test_groups_are_those_of_a_dictionary",),
    ),
    Defect(
        "groups: a missing label is the largest of the others",
        "fastgd/data/labels.py",
        "np.where(labels.missing[rows], count, own), count + 1",
        "np.where(labels.missing[rows], count - 1, own), count + 1",
        ("tests/data/test_labels.py::test_groups_are_those_of_a_dictionary",),
    ),
    Defect(
        "groups: results of a batch go to its first groups",
        "fastgd/running/grouped.py",
        "whole[(..., which, *[slice(None)] * len(tail))]",
        "whole[(..., np.sort(which - which.min()), *[slice(None)] * len(tail))]",
        ("tests/fit/test_groups.py::test_a_group_is_the_fit_alone",),
    ),
    Defect(
        "groups: all have the values of the first ones",
        "fastgd/planning/grouped.py",
        "array[(..., which, *[slice(None)] * n_last)]",
        "array[(..., np.arange(len(which)), *[slice(None)] * n_last)]",
        ("tests/fit/test_groups.py::test_values_of_each_group",),
    ),
)
