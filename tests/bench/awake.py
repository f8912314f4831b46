"""Keeps cores from sleeping while something is measured. Linux only.

A virtual machine loses a core that has nothing to do, and its host needs 0.1 ms and more to bring it back. Below
saturation each call waits for that several times, in a plain Envoy as well. A process that gives way to every other one
keeps the core, so that what is measured is the gateway and not its host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.processes import ROOT, pinned


@contextmanager
def kept_awake(cores: Sequence[int]) -> Iterator[None]:
    """None of these cores sleeps inside."""
    processes = []
    try:
        for core in cores:
            with pinned(core):
                processes.append(subprocess.Popen([sys.executable, "-m", "tests.bench.awake"], cwd=ROOT))
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _spin() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


if __name__ == "__main__":
    _spin()
