"""Runs the bench and writes the tables of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import report, scale
from tests.bench.gateways import Bench
from tests.bench.measure import Samples, measure_memory, results_file, run_round
from tests.bench.processes import ROOT


def main() -> None:
    """Reads the command line and runs."""
    arguments = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    gateway_core, load_core = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    samples = Samples()
    started_s = time.monotonic()
    # A short path: the sockets of the gateway lie below it.
    folder = Path(tempfile.mkdtemp(prefix="spendgate-bench-"))
    with ExitStack() as stack:
        _say(f"starting the gateways; logs and every single value are in {folder}")
        bench = Bench(folder, gateway_core, load_core, stack)
        gateways = bench.start_all()
        for number in range(1, arguments.rounds + 1):
            _say(f"round {number} of {arguments.rounds}, {time.monotonic() - started_s:.0f} s so far")
            run_round(gateways, samples, seconds=arguments.seconds, load_core=load_core)
            results_file(folder, samples)
        measure_memory(gateways, samples)
    _say("many keys and many policies")
    report.write(
        arguments.output,
        samples,
        scale.measure(arguments.rounds),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        today=time.strftime("%Y-%m-%d"),
        pinned=gateway_core is not None,
    )
    print(arguments.output.read_text().partition(report.MARK)[2].strip())  # noqa: T201  (the result)
    _say(f"written to {arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the tables show medians")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress)


if __name__ == "__main__":
    main()
