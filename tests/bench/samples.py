"""Everything that a run measured, one value for each round."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from tests.bench.cases import PLAIN
from tests.bench.driver import Result
from tests.bench.spread import differences

Statistic = Literal["mean", "p50", "p99"]


@dataclass(slots=True)
class Samples:
    """Measurements by gateway and case, one value for each round. Microseconds, milliseconds, requests a second."""

    cpu_us: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU time of a request, by gateway, case and process."""
    latency_ms: dict[tuple[Statistic, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By statistic, gateway and case."""
    rate_per_s: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    peak_per_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    resident_mib: dict[tuple[str, str], float] = field(default_factory=dict)
    """By gateway and process, after all rounds."""
    late_p99_ms: list[float] = field(default_factory=list)
    issued: int = 0
    unanswered: int = 0

    def note(self, gateway: str, case: str, result: Result) -> None:
        """Adds what a load at a fixed rate, or in a closed loop, brought back."""
        self.rate_per_s[gateway, case].append(result.rate_per_s)
        self.latency_ms["mean", gateway, case].append(result.mean_ms)
        self.latency_ms["p50", gateway, case].append(result.p50_ms)
        self.latency_ms["p99", gateway, case].append(result.p99_ms)
        self.issued += result.issued
        self.unanswered += result.unanswered

    def cpu_rounds(self, gateway: str, case: str, role: str | None = None) -> list[float]:
        """CPU time of a request in each round, in one process or in all processes of the gateway together, in us."""
        rounds = [
            values
            for (name, kind, process), values in self.cpu_us.items()
            if (name, kind) == (gateway, case) and role in {None, process}
        ]
        return [sum(values) for values in zip(*rounds, strict=True)]

    def cpu(self, gateway: str, case: str, role: str | None = None) -> float:
        """The median of `cpu_rounds`; 0 if nothing was measured."""
        rounds = self.cpu_rounds(gateway, case, role)
        return median(rounds) if rounds else 0.0

    def added_rounds(self, statistic: Statistic, gateway: str, case: str) -> list[float]:
        """What a gateway added to the latency of the provider alone in the same round, in ms."""
        latency = self.latency_ms
        return differences(latency.get((statistic, gateway, case), []), latency.get((statistic, "direct", case), []))

    def roles(self, gateway: str) -> list[str]:
        """The processes of a gateway, most CPU time first."""
        roles = {role for name, _, role in self.cpu_us if name == gateway}
        return sorted(roles, key=lambda role: -self.cpu(gateway, PLAIN.name, role))

    def memory_mib(self, gateway: str) -> float:
        """Resident memory of all processes of a gateway."""
        return sum(size for (name, _), size in self.resident_mib.items() if name == gateway)

    def save(self, folder: Path) -> Path:
        """Writes every single value, for readers who want more than medians."""
        file = folder / "samples.json"
        plain = {
            "cpu_us": {" / ".join(key): values for key, values in self.cpu_us.items()},
            "latency_ms": {" / ".join(key): values for key, values in self.latency_ms.items()},
            "rate_per_s": {" / ".join(key): values for key, values in self.rate_per_s.items()},
            "peak_per_s": self.peak_per_s,
        }
        file.write_text(json.dumps(plain, indent=1))
        return file
