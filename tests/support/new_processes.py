"""Python in new processes, for what happens once in a process: compiling, loading, importing."""

from __future__ import annotations

import os
import re
import subprocess
import sys

COMMAND = "from fastgd.cli import main; import sys; sys.argv[0] = 'fastgd'; main()"
COMPILING = re.compile(r"fastgd: compiling CPU kernels, once: about \d+ s of one core \(docs/how-to/kernels.md, Compiling\)")
N_KERNELS = 26  # compiled versions of all kernels for both dtypes


def run_python(code: str, *arguments: str, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
    """A new process; a variable that is '' is not set there."""
    named = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env={name: value for name, value in named.items() if value},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
