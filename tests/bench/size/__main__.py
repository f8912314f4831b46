"""Measures what size costs, and writes the part `size` of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.bench import page, report
from tests.bench.processes import ROOT, pinned
from tests.bench.size import checks, ledger, tables
from tests.bench.spread import CELLS


def main() -> None:
    """Reads the command line and runs."""
    arguments = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    quota_core, ours = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    today = time.strftime("%Y-%m-%d")
    written = [f"{today}, `make bench-size ROUNDS={arguments.rounds}`; {report.machine()}. {CELLS}"]
    with pinned(ours):
        for group in checks.GROUPS:
            _say(f"quota: {group.what}")
            written.append(tables.of_quota(group, checks.measure(group, arguments.rounds, quota_core)))
        costs = []
        for calls in arguments.calls:
            _say(f"ledger: {calls:,} calls")
            costs.append(ledger.measure(calls))
        written.append(tables.of_ledger(costs))
    text = "\n\n".join(written)
    page.put(arguments.output, "size", text)
    print(text)  # noqa: T201  (the result)
    _say(f"written to {arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.size", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each size, times four")
    parser.add_argument(
        "--calls", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the ledger, in calls"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress)


if __name__ == "__main__":
    main()
