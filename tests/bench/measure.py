"""Runs the loads against the gateways and keeps what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.bench.cases import PEAK, PEAK_RATE, PLAIN, Case, pairs
from tests.bench.driver import Load, Result
from tests.bench.gateways import Gateway, path_of
from tests.bench.processes import ROOT, pinned
from tests.bench.samples import Samples

MAX_UNANSWERED = 0.01
"""Share of requests that may go without a 200: on a machine that others use, a check can run into its timeout."""
_WARMUP_S = 1.0
_SETTLING_S = 1.5
"""The gateway still works after the last answer, mostly to book. That work belongs to the requests, too."""


@dataclass(frozen=True, slots=True)
class Loads:
    """How loads are driven, and where their figures go."""

    samples: Samples
    seconds: float
    load_core: int | None

    def run_round(self, gateways: Sequence[Gateway]) -> None:
        """One round: every case on every gateway at a fixed rate, then the highest rate of each.

        Raises:
            RuntimeError: more than one request in a hundred failed, so the figures would lie.
        """
        for gateway, case in pairs(gateways):
            self.at_its_rate(gateway, case)
        for gateway in gateways:
            if not gateway.is_part:
                self.at_the_most(gateway)

    def at_its_rate(self, gateway: Gateway, case: Case) -> None:
        """Measures a case at the rate that it names."""
        result = self._measured(gateway, case, case.name, case.rate_per_s)
        self.samples.note(gateway.name, case.name, result)
        if case.rate_per_s:
            self.samples.late_p99_ms.append(result.late_p99_ms)

    def at_the_most(self, gateway: Gateway) -> None:
        """Measures as many plain requests as the gateway answers."""
        result = self._measured(gateway, PLAIN, PEAK, PEAK_RATE)
        self.samples.peak_per_s[gateway.name].append(result.rate_per_s)

    def _measured(self, gateway: Gateway, case: Case, row: str, rate_per_s: float) -> Result:
        """Drives the load, and notes under `row` what it cost each process of the gateway."""
        before = gateway.cpu_s()
        result = drive(gateway, case, rate_per_s=rate_per_s, seconds=self.seconds, load_core=self.load_core)
        if before:
            time.sleep(_SETTLING_S)
        for role, used_s in gateway.cpu_s().items():
            self.samples.cpu_us[gateway.name, row, role].append((used_s - before[role]) * 1e6 / result.issued)
        return result


def measure_memory(gateways: Sequence[Gateway], samples: Samples) -> None:
    """Resident memory after all rounds."""
    for gateway in gateways:
        for role, size_mib in gateway.resident_mib().items():
            samples.resident_mib[gateway.name, role] = size_mib


def drive(
    gateway: Gateway,
    case: Case,
    *,
    rate_per_s: float,
    seconds: float,
    load_core: int | None,
    warmup_s: float = _WARMUP_S,
) -> Result:
    """Sends the calls of a case; a rate of 0 is as many as the gateway answers.

    Raises:
        RuntimeError: more than one request in a hundred failed, so the figures would lie.
    """
    load = Load(
        port=gateway.ports.get((case.dialect, case.stream), gateway.port),
        path=path_of(case.dialect, stream=case.stream),
        body=case.body,
        headers=gateway.headers,
        rate_per_s=rate_per_s,
        seconds=seconds,
        warmup_s=warmup_s,
        connections=case.connections,
    )
    with pinned(load_core):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.driver"],
            input=json.dumps(asdict(load)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the driver failed on {gateway.name}:\n{done.stderr[-2000:]}")
    result = Result(**json.loads(done.stdout))
    if result.unanswered > result.issued * MAX_UNANSWERED:
        raise RuntimeError(f"{gateway.name}, {case.name}: {result.failed} failed, statuses {result.statuses}")
    return result
