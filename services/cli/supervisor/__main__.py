"""The messenger's process: does errands until its standard input ends."""

from __future__ import annotations

import os
import sys

from services.cli.supervisor.errands import Errands


def main() -> None:
    """Answers each line of standard input with a line on standard output."""
    errands = Errands(os.environ)  # noqa: TID251  (a process starts here)
    for line in sys.stdin:
        print(errands.answer(line), flush=True)


if __name__ == "__main__":
    main()
