"""Measures other gateways beside ours, and writes the part `peers` of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import page, report
from tests.bench.gateways import Bench
from tests.bench.measure import Loads, measure_memory
from tests.bench.noise import noise
from tests.bench.peers.comparison import Comparison, compared, enforced
from tests.bench.peers.litellm import start_litellm
from tests.bench.peers.peer import Missing, Peer
from tests.bench.processes import ROOT, StolenTime
from tests.bench.samples import Samples
from tests.bench.spread import CELLS

_WHERE = "Each gateway runs on one core with its database, one worker each."
_EMBEDDED = Missing(
    "TensorZero",
    "its package on PyPI, 2026.6.0, has the gateway only as a library inside a Python process; the server"
    " comes as a container image. A library accepts no connection, so its figures would not compare.",
)


def main() -> None:
    """Reads the command line and runs."""
    arguments = _arguments()
    cores = sorted(os.sched_getaffinity(0))
    gateway_core, load_core = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    samples, stolen = Samples(), StolenTime()
    comparison = Comparison(Loads(samples, arguments.seconds, load_core))
    # A short path: the sockets of the gateway lie below it.
    folder = Path(tempfile.mkdtemp(prefix="spendgate-peers-"))
    with ExitStack() as stack:
        _say(f"starting the gateways; logs are in {folder}")
        bench = Bench(folder, gateway_core, load_core, stack)
        references = bench.start_references()
        peers, missing = _peers(bench, references[0].port)
        gateways = [*references, *(peer.gateway for peer in peers)]
        comparison.warm_up(gateways)
        for number in range(1, arguments.rounds + 1):
            _say(f"round {number} of {arguments.rounds}")
            comparison.run_round(gateways)
        measure_memory(gateways, samples)
    today = time.strftime("%Y-%m-%d")
    text = "\n\n".join(
        [
            f"{today}, `make bench-peers ROUNDS={arguments.rounds}`; {report.machine()}. {_WHERE} {CELLS}",
            noise(samples, stolen.share()),
            compared(samples, peers, comparison.unserved),
            enforced(peers, missing),
        ]
    )
    page.put(arguments.output, "peers", text)
    print(text)  # noqa: T201  (the result)
    _say(f"written to {arguments.output}")


def _peers(bench: Bench, upstream_port: int) -> tuple[list[Peer], list[Missing]]:
    """Starts those that can be had here."""
    try:
        return [start_litellm(bench, upstream_port)], [_EMBEDDED]
    except (RuntimeError, FileNotFoundError) as error:
        return [], [Missing("LiteLLM", str(error)), _EMBEDDED]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the tables show medians and spread")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress)


if __name__ == "__main__":
    main()
