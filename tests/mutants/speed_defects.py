"""Defects of the measurements: what is timed, what it is compared with, what is told."""

from __future__ import annotations

from tests.mutants.defect import Defect

AGREEING, CASES, LIMITS, MAKING, MEASURING = (f"fastgd/speed/{name}.py" for name in ("agreeing", "cases", "limits", "making", "measuring"))
OF_AGREEING, OF_CASES = ("tests/speed/test_agreeing.py",), ("tests/speed/test_cases.py",)
OF_MEASURING, OF_LIMITS, OF_SUITE = ("tests/speed/test_measuring.py",), ("tests/speed/test_limits.py",), ("tests/benchmarks/test_suite.py",)

SPEED_DEFECTS = (
    Defect(
        "measuring: a batch is not compared with its fits alone",
        AGREEING,
        "getattr(wanted, name)):\n",
        "getattr(found, name)[f]):\n",
        OF_AGREEING,
    ),
    Defect(
        "measuring: a condition number that is not squared",
        AGREEING,
        "(sizes[0] / sizes[rank - 1]) ** 2",
        "(sizes[0] / sizes[rank - 1])",
        OF_AGREEING,
    ),
    Defect("measuring: a condition number of columns that depend on each other", AGREEING, "sizes[rank - 1]", "sizes[-1]", OF_AGREEING),
    Defect("measuring: an excess loss beside itself", MAKING, "work.call, excess_loss=False", "work.call, excess_loss=None", OF_CASES),
    Defect("measuring: the round that warms up is counted", MEASURING, "            if repeat:\n", "            if True:\n", OF_MEASURING),
    Defect("measuring: a torn line is read", MEASURING, 'if line.endswith("\\n")]', "if line]", OF_MEASURING),
    Defect("measuring: reading is no limit", CASES, 'np.maximum(of_kind["read"], of_kind["fma64"])', 'of_kind["fma64"]', OF_CASES),
    Defect("measuring: rows are gathered in the order of memory", LIMITS, "np.int64(order[i]) * PART", "i * PART", OF_LIMITS),
    Defect(
        "measuring: another library is timed before it is judged",
        "benchmarks/run.py",
        "        tau = _judged(part, peer, found)\n",
        "        tau = 0.5\n",
        OF_SUITE,
    ),
    Defect(
        "comparing: what grows on the stack is no error",
        "benchmarks/compare.py",
        'not what.endswith("multiply-adds")',
        'what.endswith("instructions")',
        ("tests/benchmarks/test_compare.py",),
    ),
)
