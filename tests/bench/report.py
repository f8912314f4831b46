"""Turns samples into the tables and the chart of docs/benchmarks.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import figures, page
from tests.bench.cases import (
    CASES,
    CONNECTIONS,
    DIALECTS,
    PEAK,
    PLAIN,
    RATE_PER_S,
    SCANS,
    SLOW,
    SLOW_GATEWAYS,
    STREAMS,
    TRANSLATED,
    Case,
)
from tests.bench.noise import noise, waking
from tests.bench.samples import Samples, Statistic
from tests.bench.spread import CELLS, Spread, differences, ratios
from tests.bench.tables import named, section, slashed
from tests.bench.targets import summed_up, targets_table
from tests.bench.upstream import SLOW_S

_QUANTILES: tuple[Statistic, ...] = ("p50", "p99")
_STATISTICS: tuple[Statistic, ...] = ("mean", *_QUANTILES)


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made."""

    rounds: int
    seconds: float
    today: str
    pinned: bool
    awake: bool
    """The cores were kept from sleeping."""
    stolen: float
    """Share of the machine's time that its host gave to others."""


def write(file: Path, samples: Samples, run: Run) -> None:
    """Writes the chart beside the page, and the page's parts `summary` and `tables`."""
    chart = file.with_suffix(".svg")
    chart.write_text(figures.drawn(samples), "utf-8")
    page.put(file, "summary", summary(samples, run, chart.name))
    page.put(file, "tables", "\n\n".join(tables(samples, run)))


def summary(samples: Samples, run: Run, chart: str) -> str:
    """What a stranger reads first."""
    return "\n\n".join(
        [
            f"![CPU time of a call by part, and added latency over the rate, beside plain Envoy]({chart})",
            figures.three_figures(samples),
            noise(samples, run.stolen),
            f"## Targets\n\n{summed_up(samples)} {CELLS}",
            targets_table(samples),
        ]
    )


def tables(samples: Samples, run: Run) -> list[str]:
    """All tables, in the order of the page. A new one is one more line."""
    return [
        _conditions(samples, run),
        _slow(samples),
        _peak(samples),
        _cpu(samples),
        _traces(samples),
        _latency(samples),
        _streams(samples),
        _translated(samples),
        _scan(samples),
        _gate(samples),
        _memory(samples),
    ]


def machine() -> str:
    """What the figures were measured on, in a line."""
    return f"{_processor()}, {_online()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _conditions(samples: Samples, run: Run) -> str:
    cores = "Envoy and Python on one core, driver and provider on the other" if run.pinned else "not pinned to cores"
    awake = " AWAKE=1" if run.awake else ""
    late_ms = median(samples.late_p99_ms)
    return "\n".join(
        [
            "### Conditions",
            "",
            f"* {run.today}, `make bench ROUNDS={run.rounds}{awake}`; {run.seconds:g} s for each row and round.",
            f"* {CELLS}",
            f"* {machine()}.",
            f"* {cores}; Envoy with one worker.",
            f"* {waking(samples, awake=run.awake)}",
            f"* The driver itself sent {late_ms:.2f} ms late at its 99th percentile (median of all runs).",
            f"* {samples.unanswered} of {samples.issued} requests at the fixed rate had no answer 200.",
        ]
    )


def _cpu(samples: Samples) -> str:
    roles = samples.roles("everything")
    head = [
        "request",
        "plain Envoy",
        "chain",
        "chain / plain",
        *(f"all: {role}" for role in roles),
        "all",
        "all / plain",
    ]
    rows = []
    for case in CASES:
        raw, chain, whole = (samples.cpu_rounds(name, case.name) for name in ("raw", "chain", "everything"))
        rows.append(
            [
                case.name,
                Spread.of(raw).text(),
                Spread.of(chain).text(),
                f"{median(ratios(chain, raw)):.1f}x",
                *(f"{samples.cpu('everything', case.name, role):.0f}" for role in roles),
                Spread.of(whole).text(),
                Spread.of(ratios(whole, raw)).text(1, "x"),
            ]
        )
    return section(f"CPU time of a request, microseconds, at {RATE_PER_S:g} requests/s", head, rows)


def _streams(samples: Samples) -> str:
    rows = []
    for dialect in DIALECTS:
        whole, streamed = (samples.cpu_rounds("chain", STREAMS[dialect, stream].name) for stream in (False, True))
        times = Spread.of(ratios(streamed, whole)).text(2, "x")
        rows.append([dialect, Spread.of(whole).text(), Spread.of(streamed).text(), times])
    head = ["dialect", "JSON", "SSE of 100 chunks", "SSE / JSON"]
    return section("A stream against an answer in JSON, 2 KB prompt, microseconds of Envoy in the chain", head, rows)


def _translated(samples: Samples) -> str:
    rows = []
    for name, both in TRANSLATED.items():
        plain, translated = (samples.cpu_rounds("everything", case.name, "envoy") for case in both)
        times = Spread.of(ratios(translated, plain)).text(2, "x")
        rows.append([name, Spread.of(plain).text(), Spread.of(translated).text(), times])
    head = ["request", "as it is", "translated", "translated / as it is"]
    title = "A chat translated for a provider of Anthropic's dialect, microseconds of Envoy in the whole gateway"
    return section(title, head, rows)


def _traces(samples: Samples) -> str:
    rows = []
    for role in samples.roles("everything"):
        traced, untraced = (samples.cpu_rounds(name, PLAIN.name, role) for name in ("everything", "without traces"))
        costs = Spread.of(differences(traced, untraced))
        rows.append([role, Spread.of(untraced).text(), Spread.of(traced).text(), costs.text()])
    head = ["process", "without traces", "with traces of every call", "traces"]
    return section(f"Cost of traces, {PLAIN.name}, microseconds of CPU time a request", head, rows)


def _latency(samples: Samples) -> str:
    names = ("raw", "chain", "without traces", "everything")
    rows = []
    for case in CASES:
        alone = slashed(median(samples.latency_ms[statistic, "direct", case.name]) for statistic in _QUANTILES)
        rows.append([case.name, alone, *(_added(samples, name, case, _QUANTILES) for name in names)])
    head = ["request", "provider alone", *(f"{named(name)} adds" for name in names)]
    return section(f"Latency at {RATE_PER_S:g} requests/s, open loop, p50 / p99 in milliseconds", head, rows)


def _added(samples: Samples, gateway: str, case: Case, statistics: Sequence[Statistic]) -> str:
    """Medians of what is added, and of the last statistic its worst round."""
    spreads = [Spread.of(samples.added_rounds(statistic, gateway, case.name)) for statistic in statistics]
    middle = slashed(spread.median for spread in spreads)
    return middle if spreads[-1].rounds < 2 else f"{middle} (worst {spreads[-1].high:.2f})"


def _slow(samples: Samples) -> str:
    """What is added to the latency of a model, and how much of its core the gateway needs for it."""
    rows = []
    for case in SLOW:
        alone = slashed(median(samples.latency_ms[statistic, "direct", case.name]) for statistic in _STATISTICS)
        rate_per_s = median(samples.rate_per_s["everything", case.name])
        share = samples.cpu("everything", case.name) * rate_per_s / 1e6
        rows.append(
            [
                f"{case.rate_per_s:g}" if case.rate_per_s else f"{rate_per_s:.0f}, as many as it answers",
                alone,
                *(_added(samples, name, case, _STATISTICS) for name in SLOW_GATEWAYS[1:]),
                f"{share:.0%}",
            ]
        )
    head = ["requests/s", "provider alone", "plain Envoy adds", "everything adds", "of one core"]
    return section(
        f"At a provider that takes {SLOW_S * 1000:g} ms, JSON, 2 KB prompt, mean / p50 / p99 in milliseconds",
        head,
        rows,
    )


def _scan(samples: Samples) -> str:
    rows = []
    for case in SCANS:
        with_scan, raw = (samples.cpu_rounds(name, case.name) for name in ("scan", "raw"))
        costs, times = Spread.of(differences(with_scan, raw)), Spread.of(ratios(with_scan, raw))
        rows.append([case.name, Spread.of(raw).text(), Spread.of(with_scan).text(), costs.text(), times.text(2, "x")])
    head = ["request", "plain Envoy", "plain Envoy with the scan", "scan", "with the scan / plain"]
    return section("Cost of the request scan, microseconds of Envoy", head, rows)


def _gate(samples: Samples) -> str:
    """The table of what a large body adds to a call: if its key is checked first, and if not."""
    small, large = (case.name for case in CASES if not case.stream)

    def adds(name: str, role: str) -> list[float]:
        return differences(samples.cpu_rounds(name, large, role), samples.cpu_rounds(name, small, role))

    asked, unasked, quota = adds("without traces", "envoy"), adds("chain", "envoy"), adds("without traces", "quota")
    rows = [
        [
            "envoy",
            Spread.of(asked).text(),
            Spread.of(unasked).text(),
            Spread.of(differences(asked, unasked)).text(),
        ],
        ["quota", Spread.of(quota).text(), "", Spread.of(quota).text()],
    ]
    head = ["process", "without traces: 100 KB adds", "chain: 100 KB adds", "looking at the key"]
    return section("Cost of looking at the key before a large body, microseconds of CPU time a request", head, rows)


def _peak(samples: Samples) -> str:
    rows = []
    for name, values in samples.peak_per_s.items():
        parts = ", ".join(f"{role} {samples.cpu(name, PEAK, role):.0f}" for role in samples.roles(name))
        cpu = samples.cpu_rounds(name, PEAK)
        rows.append(
            [
                named(name),
                Spread.of(values).text(),
                f"{median(ratios(values, samples.peak_per_s['raw'])):.3f}x",
                Spread.of(cpu).text(),
                Spread.of(ratios(cpu, samples.cpu_rounds("raw", PEAK))).text(1, "x") if cpu else "-",
                parts,
            ]
        )
    head = ["what", "requests/s", "against plain", "CPU time of a request, us", "against plain", "of it"]
    return section(f"Highest sustained rate, {PLAIN.name}, closed loop over {CONNECTIONS} connections", head, rows)


def _memory(samples: Samples) -> str:
    rows = [[named(gateway), role, f"{size:.0f}"] for (gateway, role), size in samples.resident_mib.items()]
    whole = samples.memory_mib("everything")
    return section(
        "Resident memory after all rounds, MiB",
        ["what", "process", "MiB"],
        [*rows, ["everything", "sum", f"{whole:.0f}"]],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _online() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t:")
