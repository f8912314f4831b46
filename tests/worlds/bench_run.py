"""A run of the bench that nobody measured: figures that a test chooses, for every gateway and case."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.cases import CASES, PEAK, SCANS, SLOW, STREAMS
from tests.bench.driver import Result
from tests.bench.samples import Samples

_ROLES = {
    "raw": {"envoy": 1.0},
    "scan": {"envoy": 1.5},
    "chain": {"envoy": 4.0},
    "without traces": {"envoy": 5.0, "quota": 3.0, "ledger": 1.0, "router": 0.1, "supervisor": 0.0},
    "everything": {"envoy": 5.0, "quota": 3.0, "ledger": 1.5, "router": 0.1, "supervisor": 0.0},
}
_ADDED_MS = {"direct": 0.0, "raw": 0.4, "scan": 0.5, "chain": 0.7, "without traces": 0.8, "everything": 0.9}


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured. The defaults keep every target."""

    raw_us: float = 100.0
    whole: float = 1.0
    """The CPU time of whole gateways grows by this factor."""
    added_p99: float = 3.0
    """Milliseconds that the whole gateway adds at the 99th percentile."""
    stream: float = 1.1
    """CPU time of a stream in the chain, against an answer in JSON."""


def bench_run(*rounds: Round, resident_mib: float = 300.0) -> Samples:
    """Samples of these rounds."""
    samples = Samples()
    streams = {case.name for (_, stream), case in STREAMS.items() if stream}
    cases = dict.fromkeys((*CASES, *SCANS, *STREAMS.values(), *SLOW))
    for each in rounds:
        for gateway in _ADDED_MS:
            if gateway != "scan":
                samples.peak_per_s[gateway].append(_peak_per_s(gateway, each))
            for case in cases:
                samples.note(gateway, case.name, _latency(gateway, each, case.rate_per_s))
                samples.late_p99_ms.append(0.1)
            for name in (PEAK, *(case.name for case in cases)):
                for role, times in _ROLES.get(gateway, {}).items():
                    cost = times * each.raw_us * (each.whole if gateway in {"without traces", "everything"} else 1.0)
                    samples.cpu_us[gateway, name, role].append(cost * (each.stream if name in streams else 1.0))
    for role in _ROLES["everything"]:
        samples.resident_mib["everything", role] = resident_mib / len(_ROLES["everything"])
    return samples


def _peak_per_s(gateway: str, measured: Round) -> float:
    return 1e6 / (sum(_ROLES.get(gateway, {"": 0.5}).values()) * measured.raw_us)


def _latency(gateway: str, measured: Round, rate_per_s: float) -> Result:
    added, alone = _ADDED_MS[gateway], 0.3
    p99 = measured.added_p99 if gateway == "everything" else 2 * added
    return Result(
        issued=100,
        answered=100,
        rate_per_s=rate_per_s or 400.0,
        mean_ms=alone + added,
        p50_ms=alone + added,
        p99_ms=2 * alone + p99,
    )
