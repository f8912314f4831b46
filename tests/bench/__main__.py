"""Runs the bench and writes the figures and the chart of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import report
from tests.bench.awake import kept_awake
from tests.bench.gateways import Bench
from tests.bench.measure import Loads, measure_memory
from tests.bench.processes import ROOT, StolenTime
from tests.bench.samples import Samples


def main() -> None:
    """Reads the command line and runs."""
    arguments = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    gateway_core, load_core = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    samples = Samples()
    started_s = time.monotonic()
    stolen = StolenTime()
    # A short path: the sockets of the gateway lie below it.
    folder = Path(tempfile.mkdtemp(prefix="spendgate-bench-"))
    with ExitStack() as stack:
        stack.enter_context(kept_awake(cores[:2] if arguments.awake else []))
        _say(f"starting the gateways; logs and every single value are in {folder}")
        gateways = Bench(folder, gateway_core, load_core, stack).start_all()
        loads = Loads(samples, arguments.seconds, load_core)
        for number in range(1, arguments.rounds + 1):
            _say(f"round {number} of {arguments.rounds}, {time.monotonic() - started_s:.0f} s so far")
            loads.run_round(gateways)
            samples.save(folder)
        measure_memory(gateways, samples)
    run = report.Run(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        today=time.strftime("%Y-%m-%d"),
        pinned=gateway_core is not None,
        awake=arguments.awake,
        stolen=stolen.share(),
    )
    report.write(arguments.output, samples, run)
    print(report.summary(samples, run, ""))  # noqa: T201  (the result)
    _say(f"written to {arguments.output}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the tables show medians and spread")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument(
        "--awake", action="store_true", help="keep the cores from sleeping, as on a machine of one's own"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress)


if __name__ == "__main__":
    main()
