"""`python -m fastgd.cli` runs the command `fastgd`."""

from .commands import main

main()
