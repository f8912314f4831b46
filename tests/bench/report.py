"""Turns samples into the tables of docs/benchmarks.md."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from tests.bench.measure import (
    CASES,
    CONNECTIONS,
    DIALECTS,
    PEAK,
    RATE_PER_S,
    SCANS,
    SLOW,
    SLOW_GATEWAYS,
    STREAMS,
    Case,
    Samples,
)
from tests.bench.scale import Scale
from tests.bench.upstream import SLOW_S

MARK = "<!-- measured: everything below this line is written by `make bench` -->"


def write(
    file: Path,
    samples: Samples,
    scales: Sequence[Sequence[Scale]],
    *,
    rounds: int,
    seconds: float,
    today: str,
    pinned: bool,
) -> None:
    """Replaces everything below the mark of `file`. People write what is above it. A new file has a heading there."""
    above = file.read_text().partition(MARK)[0].rstrip() if file.exists() else "# Benchmarks"
    sections = [
        _conditions(samples, rounds=rounds, seconds=seconds, today=today, pinned=pinned),
        _slow(samples),
        _cpu(samples),
        _streams(samples),
        _traces(samples),
        _latency(samples),
        _scan(samples),
        _gate(samples),
        _peak(samples),
        _memory(samples),
        _scale(scales),
    ]
    file.write_text("\n\n".join([above, MARK, *sections]) + "\n")


def _conditions(samples: Samples, *, rounds: int, seconds: float, today: str, pinned: bool) -> str:
    cores = "Envoy and Python on one core, driver and provider on the other" if pinned else "not pinned to cores"
    late_ms = median(samples.late_p99_ms)
    return "\n".join(
        [
            "## Conditions",
            "",
            f"* {today}, `make bench ROUNDS={rounds}`; {seconds:g} s for each row and round, medians over {rounds}.",
            f"* {_processor()}, {_online()} cores, Linux {platform.release()}, Python {platform.python_version()}.",
            f"* {cores}; Envoy with one worker.",
            f"* The driver itself sent {late_ms:.2f} ms late at its 99th percentile (median of all runs).",
            f"* {samples.unanswered} of {samples.issued} requests at the fixed rate had no answer 200.",
        ]
    )


def _cpu(samples: Samples) -> str:
    roles = samples.roles("everything")
    head = ["request", "raw Envoy", "chain", "chain / raw", *(f"all: {role}" for role in roles), "all", "all / raw"]
    rows = []
    for case in CASES:
        raw, chain, whole = (samples.cpu(name, case.name) for name in ("raw", "chain", "everything"))
        each = [f"{samples.cpu('everything', case.name, role):.0f}" for role in roles]
        rows.append(
            [case.name, f"{raw:.0f}", f"{chain:.0f}", _ratio(chain, raw), *each, f"{whole:.0f}", _ratio(whole, raw)]
        )
    return _section(f"CPU time of a request, microseconds, at {RATE_PER_S:g} requests/s", head, rows)


def _streams(samples: Samples) -> str:
    rows = []
    for dialect in DIALECTS:
        whole, streamed = (samples.cpu("chain", STREAMS[dialect, stream].name) for stream in (False, True))
        rows.append([dialect, f"{whole:.0f}", f"{streamed:.0f}", _ratio(streamed, whole)])
    head = ["dialect", "JSON", "SSE of 100 chunks", "SSE / JSON"]
    return _section("A stream against an answer in JSON, 2 KB prompt, microseconds of Envoy in the chain", head, rows)


def _traces(samples: Samples) -> str:
    rows = []
    for role in samples.roles("everything"):
        traced, untraced = (samples.cpu(name, CASES[0].name, role) for name in ("everything", "without traces"))
        rows.append([role, f"{untraced:.0f}", f"{traced:.0f}", f"{round(traced - untraced)}"])
    head = ["process", "without traces", "with traces of every call", "traces"]
    return _section(f"Cost of traces, {CASES[0].name}, microseconds of CPU time a request", head, rows)


def _latency(samples: Samples) -> str:
    names = ("raw", "chain", "without traces", "everything")
    head = ["request", "provider alone", *(f"{name} adds" for name in names), "everything / raw"]
    rows = []
    for case in CASES:
        direct = _quantiles(samples, "direct", case.name)
        added = {name: _added(_quantiles(samples, name, case.name), direct) for name in names}
        ratios = " / ".join(_ratio(whole, raw) for whole, raw in zip(added["everything"], added["raw"], strict=True))
        rows.append([case.name, _pair(direct), *(_pair(added[name]) for name in names), ratios])
    return _section(f"Latency at {RATE_PER_S:g} requests/s, open loop, p50 / p99 in milliseconds", head, rows)


def _slow(samples: Samples) -> str:
    """What is added to the latency of a model, and how much of its core the gateway needs for it."""
    rows = []
    for case in SLOW:
        alone, raw, whole = (_slow_figures(samples, name, case) for name in SLOW_GATEWAYS)
        rate_per_s = median(samples.rate_per_s["everything", case.name])
        share = samples.cpu("everything", case.name) * rate_per_s / 1e6
        rows.append(
            [
                f"{case.rate_per_s:g}" if case.rate_per_s else f"{rate_per_s:.0f}, as many as it answers",
                _pair(alone),
                *(
                    _pair([with_it - base for with_it, base in zip(added, alone, strict=True)])
                    for added in (raw, whole)
                ),
                f"{share:.0%}",
            ]
        )
    head = ["requests/s", "provider alone", "raw Envoy adds", "everything adds", "of one core"]
    return _section(
        f"At a provider that takes {SLOW_S * 1000:g} ms, JSON, 2 KB prompt, mean / p50 / p99 in milliseconds",
        head,
        rows,
    )


def _slow_figures(samples: Samples, gateway: str, case: Case) -> list[float]:
    return [median(figures[gateway, case.name]) for figures in (samples.mean_ms, samples.p50_ms, samples.p99_ms)]


def _scan(samples: Samples) -> str:
    rows = []
    for case in SCANS:
        with_scan, raw = (samples.cpu(name, case.name) for name in ("scan", "raw"))
        rows.append([case.name, f"{raw:.0f}", f"{with_scan:.0f}", f"{with_scan - raw:.0f}", _ratio(with_scan, raw)])
    head = ["request", "raw Envoy", "raw Envoy with the scan", "scan", "with the scan / raw"]
    return _section("Cost of the request scan, microseconds of Envoy", head, rows)


def _gate(samples: Samples) -> str:
    """The table of what a large body adds to a call: if its key is checked first, and if not."""
    small, large = (case.name for case in CASES if not case.stream)

    def adds(name: str, role: str) -> float:
        return samples.cpu(name, large, role) - samples.cpu(name, small, role)

    asked, unasked, quota = adds("without traces", "envoy"), adds("chain", "envoy"), adds("without traces", "quota")
    rows = [
        ["envoy", f"{asked:.0f}", f"{unasked:.0f}", f"{asked - unasked:.0f}"],
        ["quota", f"{quota:.0f}", "", f"{quota:.0f}"],
    ]
    head = ["process", "without traces: 100 KB adds", "chain: 100 KB adds", "looking at the key"]
    return _section("Cost of looking at the key before a large body, microseconds of CPU time a request", head, rows)


def _peak(samples: Samples) -> str:
    rows = []
    for name, values in samples.peak_per_s.items():
        cpu = ", ".join(f"{role} {samples.cpu(name, PEAK, role):.0f}" for role in samples.roles(name))
        rows.append([name, f"{median(values):.0f}", _ratio(median(values), median(samples.peak_per_s["raw"])), cpu])
    return _section(
        f"Highest sustained rate, {CASES[0].name}, closed loop over {CONNECTIONS} connections",
        ["what", "requests/s", "ratio to raw", "CPU time of a request at that rate, microseconds"],
        rows,
    )


def _memory(samples: Samples) -> str:
    rows = [[gateway, role, f"{size:.0f}"] for (gateway, role), size in samples.resident_mib.items()]
    whole = sum(size for (gateway, _), size in samples.resident_mib.items() if gateway == "everything")
    return _section(
        "Resident memory after all rounds, MiB",
        ["what", "process", "MiB"],
        [*rows, ["everything", "sum", f"{whole:.0f}"]],
    )


def _scale(scales: Sequence[Sequence[Scale]]) -> str:
    rows = [
        [
            f"{size.keys:,}",
            f"{size.policies:,}",
            "first of its key" if size.first_calls else "of a key that called before",
            f"{size.check_us:.0f}",
            _ratio(size.check_us, compared[0].check_us),
        ]
        for compared in scales
        for size in compared
    ]
    head = ["keys", "policies", "call", "CPU time of a Check in quota, microseconds", "ratio"]
    return _section("Many keys, many policies", head, rows)


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def _quantiles(samples: Samples, gateway: str, case: str) -> tuple[float, float]:
    return median(samples.p50_ms[gateway, case]), median(samples.p99_ms[gateway, case])


def _added(slower: Sequence[float], base: Sequence[float]) -> list[float]:
    return [each - alone for each, alone in zip(slower, base, strict=True)]


def _pair(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}x" if base > 0 else "-"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _online() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t:")
