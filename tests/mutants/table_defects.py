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
        "    frame, lazy = collect(df, asked.columns)\n",
        "    frame, lazy = collect(df, asked.columns)\n    frame = frame.drop_nulls(asked.keys) if asked.keys else frame\n",
        ("tests/integrations/test_frames.py::test_every_library_has_the_bits_of_the_fits_alone",),
    ),
    Defect(
        "frames: the targets of a group change places",
        "fastgd/integrations/frame_fits.py",
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
    Defect(
        "tables: the last batch of groups is lost",
        "fastgd/integrations/table_batches.py",
        "            cut = table.num_rows\n        stream.drop(cut)",
        "            return\n        stream.drop(cut)",
        ("tests/integrations/test_table_batches.py",),
    ),
    Defect(
        "tables: a group is cut where a piece of the stream ends",
        "fastgd/integrations/table_batches.py",
        "    while stream.fill(most + 1):",
        "    while stream.fill(1):",
        ("tests/integrations/test_table_batches.py",),
    ),
    Defect(
        "tables: a null key is that of the row before",
        "fastgd/integrations/table_batches.py",
        "compute.or_(differ, either)",
        "compute.or_(differ, differ)",
        ("tests/integrations/test_table_batches.py",),
    ),
    Defect(
        "tables: rows whose key is null are dropped",
        "fastgd/integrations/table_source.py",
        "FROM ({inner}) ORDER BY",
        "FROM ({inner}) WHERE k0 IS NOT NULL ORDER BY",
        ("tests/integrations/test_tables.py::test_the_bits_of_a_frame_in_memory",),
    ),
    Defect(
        "tables: parts of a long group are cut before rows are left out",
        "fastgd/integrations/table_job.py",
        "            kept = self._kept(piece)\n",
        "            kept = piece\n",
        ("tests/integrations/test_tables.py::test_a_fit_larger_than_memory_has_the_bits_of_the_whole",),
    ),
)
