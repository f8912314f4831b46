"""Runs the loads against the gateways and keeps what they cost."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.driver import Load, Result
from tests.bench.gateways import MODELS, OUTPUT_TOKENS, Gateway, path_of
from tests.bench.processes import ROOT, cpu_s, pinned, resident_mib
from tests.bench.upstream import SLOW_MODEL

RATE_PER_S = 350.0
CONNECTIONS = 32
MAX_UNANSWERED = 0.01
"""Share of requests that may go without a 200: on a machine that others use, a check can run into its timeout."""
_WARMUP_S = 1.0
_SETTLING_S = 1.5
"""The gateway still works after the last answer, mostly to book. That work belongs to the requests, too."""
_WORDS = 'The quarterly forecast says that revenue grows while costs stay flat, and \\"churn\\" falls by half.\n'


_WORDS_NOT_ASCII = "季度预测显示收入增长而成本保持不变。 Der Rückgang beträgt die Hälfte.\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request."""

    name: str
    prompt_bytes: int
    stream: bool
    dialect: str = "openai"
    words: str = _WORDS
    """The text that the prompt repeats."""
    image_bytes: int = 0
    """Bytes of the base64 image that comes with the prompt; 0: none."""
    rate_per_s: float = RATE_PER_S
    slow: bool = False
    """It asks for the model that takes `SLOW_S`."""
    connections: int = CONNECTIONS

    @property
    def body(self) -> str:
        """A chat request with a prompt of about `prompt_bytes`: a system text, and a user's text for the rest."""
        filler = self.words.encode() * (self.prompt_bytes // len(self.words.encode()) + 1)
        text = filler[: self.prompt_bytes].decode(errors="ignore")
        if self.dialect == "gemini":
            contents = [{"role": "user", "parts": [{"text": text}]}]
            return _json({"contents": contents, "generationConfig": {"maxOutputTokens": OUTPUT_TOKENS}})
        system = [{"role": "system", "content": "You are terse."}] if self.dialect == "openai" else []
        messages = [*system, {"role": "user", "content": self._parts(text) if self.image_bytes else text}]
        model = SLOW_MODEL if self.slow else MODELS[self.dialect]
        request = {"model": model, "messages": messages, "max_tokens": OUTPUT_TOKENS, "temperature": 0}
        return _json({**request, "stream": True} if self.stream else request)

    def _parts(self, text: str) -> list[dict[str, Any]]:
        letters = base64.b64encode(bytes(range(256)) * (self.image_bytes // 256)).decode()
        url = f"data:image/png;base64,{letters[: self.image_bytes // 4 * 4]}"
        return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


def _json(request: dict[str, Any]) -> str:
    return json.dumps(request, ensure_ascii=False)


PEAK_RATE = 0.0
"""The rate of a closed loop."""
PEAK = "peak"
"""Row of the closed loop among the measurements of CPU time."""
CASES = (
    Case("JSON, 2 KB prompt", 2_000, stream=False),
    Case("JSON, 100 KB prompt", 100_000, stream=False),
    Case("SSE of 100 chunks, 2 KB prompt", 2_000, stream=True),
    Case("SSE of 100 chunks, 100 KB prompt", 100_000, stream=True),
)

SCANS = (
    *(case for case in CASES if not case.stream),
    Case("JSON, 25 KB prompt, not ASCII", 25_000, stream=False, words=_WORDS_NOT_ASCII),
    # As large as a plain Envoy buffers, and seldom: the driver and the provider share a core.
    Case("JSON, image of 1 MB", 200, stream=False, image_bytes=1_000_000, rate_per_s=50),
)
"""The cases of the scan alone, which is compared with a plain Envoy."""

SLOW = tuple(
    Case(f"{rate:g}/s", 2_000, stream=False, rate_per_s=rate, slow=True, connections=64)
    for rate in (10.0, 100.0, 200.0, RATE_PER_S, PEAK_RATE)
)
"""What a caller notices who waits for a model anyway, from idle to as many calls as the gateway answers."""
SLOW_GATEWAYS = ("direct", "raw", "everything")

DIALECTS = tuple(MODELS)
STREAMS = {
    (dialect, stream): Case(f"{dialect}, {'SSE of 100 chunks' if stream else 'JSON'}", 2_000, stream, dialect)
    for dialect in DIALECTS
    for stream in (False, True)
}
"""The cases of streams and JSON answers in each dialect, in the chain alone."""


@dataclass(slots=True)
class Samples:
    """Measurements by gateway and case, one value for each round. Microseconds, milliseconds, requests a second."""

    cpu_us: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By gateway, case and process."""
    p50_ms: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    p99_ms: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    mean_ms: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    rate_per_s: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    peak_per_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    resident_mib: dict[tuple[str, str], float] = field(default_factory=dict)
    late_p99_ms: list[float] = field(default_factory=list)
    issued: int = 0
    unanswered: int = 0

    def cpu(self, gateway: str, case: str, role: str | None = None) -> float:
        """Median CPU time of a request in one process, or in all processes of the gateway together, in us."""
        rounds = [
            values
            for (name, kind, process), values in self.cpu_us.items()
            if (name, kind) == (gateway, case) and role in {None, process}
        ]
        return median(map(sum, zip(*rounds, strict=True))) if rounds else 0.0

    def roles(self, gateway: str) -> list[str]:
        """The processes of a gateway, most CPU time first."""
        roles = {role for name, _, role in self.cpu_us if name == gateway}
        return sorted(roles, key=lambda role: -self.cpu(gateway, CASES[0].name, role))


def run_round(gateways: Sequence[Gateway], samples: Samples, *, seconds: float, load_core: int | None) -> None:
    """One round: every case on every gateway at a fixed rate, then the highest rate of each.

    Raises:
        RuntimeError: more than one request in a hundred failed, so the figures would lie.
    """
    for gateway, case in pairs(gateways):
        _at_fixed_rate(gateway, case, samples, seconds, load_core)
    for gateway in gateways:
        if gateway.is_part:
            continue
        result = _measured(gateway, CASES[0], PEAK, samples, rate_per_s=0.0, seconds=seconds, load_core=load_core)
        samples.peak_per_s[gateway.name].append(result.rate_per_s)


def pairs(gateways: Sequence[Gateway]) -> Iterator[tuple[Gateway, Case]]:
    """Each gateway with each case that it is measured with, interleaved."""
    for case in dict.fromkeys((*CASES, *SCANS)):
        for gateway in gateways:
            if case in (SCANS if gateway.is_part else CASES) or (case in SCANS and gateway.name == "raw"):
                yield gateway, case
    chain = next(gateway for gateway in gateways if gateway.name == "chain")
    for case in STREAMS.values():
        yield chain, case
    for case in SLOW:
        for gateway in gateways:
            if gateway.name in SLOW_GATEWAYS:
                yield gateway, case


def measure_memory(gateways: Sequence[Gateway], samples: Samples) -> None:
    """Resident memory after all rounds."""
    for gateway in gateways:
        for role, pid in gateway.processes().items():
            samples.resident_mib[gateway.name, role] = resident_mib(pid)


def _at_fixed_rate(gateway: Gateway, case: Case, samples: Samples, seconds: float, load_core: int | None) -> None:
    result = _measured(
        gateway, case, case.name, samples, rate_per_s=case.rate_per_s, seconds=seconds, load_core=load_core
    )
    samples.rate_per_s[gateway.name, case.name].append(result.rate_per_s)
    samples.mean_ms[gateway.name, case.name].append(result.mean_ms)
    samples.p50_ms[gateway.name, case.name].append(result.p50_ms)
    samples.p99_ms[gateway.name, case.name].append(result.p99_ms)
    if case.rate_per_s:
        samples.late_p99_ms.append(result.late_p99_ms)
    samples.issued += result.issued
    samples.unanswered += result.unanswered


def _measured(
    gateway: Gateway,
    case: Case,
    row: str,
    samples: Samples,
    *,
    rate_per_s: float,
    seconds: float,
    load_core: int | None,
) -> Result:
    """Drives the load, and notes under `row` what it cost each process of the gateway."""
    processes = gateway.processes()
    before = {role: cpu_s(pid) for role, pid in processes.items()}
    result = drive(gateway, case, rate_per_s=rate_per_s, seconds=seconds, load_core=load_core)
    if processes:
        time.sleep(_SETTLING_S)
    for role, pid in processes.items():
        samples.cpu_us[gateway.name, row, role].append((cpu_s(pid) - before[role]) * 1e6 / result.issued)
    return result


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


def results_file(folder: Path, samples: Samples) -> Path:
    """Writes every single value, for readers who want more than the medians."""
    file = folder / "samples.json"
    plain = {
        "cpu_us": {" / ".join(key): values for key, values in samples.cpu_us.items()},
        "p50_ms": {" / ".join(key): values for key, values in samples.p50_ms.items()},
        "p99_ms": {" / ".join(key): values for key, values in samples.p99_ms.items()},
        "peak_per_s": samples.peak_per_s,
    }
    file.write_text(json.dumps(plain, indent=1))
    return file
