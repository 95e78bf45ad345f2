"""Every call of NumPy's BLAS and LAPACK holds the lock that forks wait for (kernels/forks.py)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.paths import ROOT

OTHERS = {"np.dot", "np.inner", "np.matmul", "np.tensordot", "np.vdot"}
CALLED_WITH_IT = {  # only by functions that hold it
    "fastgd/running/eigen.py: apply", "fastgd/running/eigen.py: _well", "fastgd/running/eigen.py: _of_minimum_norm",
    "fastgd/running/svd.py: _decompose", "fastgd/running/svd.py: _factor_wide", "fastgd/verification/bound/yardstick.py: _transposed",
}  # fmt: skip
ALONE = ("fastgd/cli/", "fastgd/speed/")  # programs that do not fork
WITHOUT = {  # too small for threads of BLAS; torch has its own
    "fastgd/input/float_mode.py: why_blas_differs",
    "kernels/reference/torch_autograd.py: forward",
}


def is_blas(node: ast.AST) -> bool:
    """Whether BLAS or LAPACK may be called here."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ast.MatMult)
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return called in OTHERS or called.startswith("np.linalg.") or called.endswith(".dot")


def without_lock(node: ast.AST, function: str = "", held: bool = False) -> Iterator[str]:
    """The functions that call it without the lock."""
    if isinstance(node, ast.FunctionDef):
        function, held = node.name, "lapack" in map(ast.unparse, node.decorator_list)
    if isinstance(node, ast.With):
        held = held or "lapack_lock()" in [ast.unparse(item.context_expr) for item in node.items]
    if is_blas(node) and not held:
        yield function
    for child in ast.iter_child_nodes(node):
        yield from without_lock(child, function, held)


def test_no_call_is_without_the_lock():
    found = {
        f"{path.relative_to(ROOT)}: {function}"
        for folder in ("fastgd", "kernels")
        for path in (ROOT / folder).rglob("*.py")
        for function in without_lock(ast.parse(path.read_text("utf-8")))
    }
    assert {name for name in found if not name.startswith(ALONE)} == CALLED_WITH_IT | WITHOUT
