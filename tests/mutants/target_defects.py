"""Defects of the kernel that sums many targets on one X: what stays in its tiles, and its sums."""

from __future__ import annotations

from tests.mutants.defect import Defect

MANY, TEST = "kernels/cpu/moments/many_targets.py", "tests/kernels/cpu/moments/test_many_targets.py"
OF_SEVERAL = (f"{TEST}::test_several_x_ranges_and_lists_of_samples",)
OF_CHUNKS = (f"{TEST}::test_chunks_are_added_pairwise",)
ALIGNED = "        beside = beside and count_at(sources.y_index, item + c) == count_at(sources.y_index, item) + c\n"

TARGET_DEFECTS = (
    Defect(
        "many targets: X of other items stays",
        MANY,
        "if held >= 0 and not _share(sources, starts, stops, held, item):",
        "if held >= 0 and item < 0:",
        OF_SEVERAL,
    ),
    Defect("many targets: X of the first chunk stays", MANY, "if held < 0 or held_start != chunk:", "if held < 0:", OF_CHUNKS),
    Defect(
        "many targets: other lists of samples are not told apart",
        MANY,
        "same = same and count_at(sources.kept_index, a) == count_at(sources.kept_index, b) and",
        "same = same and",
        OF_SEVERAL,
    ),
    Defect("many targets: chunks keep the exponents of the first", MANY, "k = max(k_left, k_right)", "k = k_left", OF_CHUNKS),
    Defect("many targets: any targets are taken for neighbours", MANY, ALIGNED, "        pass\n", (TEST,)),
    Defect(
        "many targets: the sum of a target with itself is that with the last column",
        "kernels/cpu/moments/target_tiles.py",
        "return [(c, c) for c in range(self.columns)]",
        "return [(0, c) for c in range(self.columns)]",
        (TEST,),
    ),
    Defect(
        "many targets: weights of the targets are not scaled",
        MANY,
        "factor[size + 1] = target_factor[TARGETS] = pow2",
        "target_factor[TARGETS] = 1.0\n            factor[size + 1] = pow2",
        (TEST,),
    ),
)
