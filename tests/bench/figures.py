"""What the page shows first: the chart, and the three figures that matter."""

from __future__ import annotations

from statistics import median

from tests.bench import chart
from tests.bench.cases import PEAK, PLAIN, RATE_PER_S, SLOW, Case
from tests.bench.samples import Samples, Statistic
from tests.bench.spread import Spread, ratios
from tests.bench.upstream import SLOW_S

_WHOLE = "everything"
_SHOWN = ("raw", "chain", "without traces", _WHOLE)
_NAMES = {"raw": "plain Envoy", "chain": "the chain alone", "without traces": "the gateway, without traces"} | {
    _WHOLE: "the gateway, with everything on"
}
_PARTS = ("plain Envoy", "chain", "quota", "ledger", "the rest")
_BOUND = 10
"""CPU time of a call at saturation, as a multiple of plain Envoy's, that the design allows."""
_SLOW_MS = f"{SLOW_S * 1000:g} ms"
_FIXED = tuple(case for case in SLOW if case.rate_per_s)


def three_figures(samples: Samples) -> str:
    """Cost, capacity and latency, each in a sentence."""
    cpu = Spread.of(samples.cpu_rounds(_WHOLE, PEAK))
    times = Spread.of(ratios(samples.cpu_rounds(_WHOLE, PEAK), samples.cpu_rounds("raw", PEAK)))
    peak = Spread.of(samples.peak_per_s[_WHOLE])
    at_rate = _FIXED[-1].name
    mean, p99 = (Spread.of(samples.added_rounds(statistic, _WHOLE, at_rate)) for statistic in ("mean", "p99"))
    raw = Spread.of(samples.added_rounds("mean", "raw", at_rate))
    took = f"{cpu.text()} us of CPU time at saturation, {times.text(1, ' times')} a plain Envoy's"
    asked = f"with a model that takes {_SLOW_MS}, at {RATE_PER_S:g} requests/s"
    return "\n".join(
        [
            f"* **Cost:** a call takes {took}.",
            f"* **Capacity:** one core serves {peak.text()} requests/s with everything on.",
            (
                f"* **Latency:** {asked}, the gateway adds {mean.text(2, ' ms')} in the mean, and"
                f" {p99.text(2, ' ms')} at the 99th percentile. Plain Envoy adds {raw.text(2, ' ms')} in the mean."
            ),
        ]
    )


def drawn(samples: Samples) -> str:
    """The chart as SVG."""
    raw_us = samples.cpu("raw", PEAK)
    bars = chart.Bars(
        "CPU time of a call at saturation",
        "microseconds on one core, as many calls as it answers",
        _PARTS,
        [_bar(samples, name, raw_us) for name in _SHOWN],
        (raw_us * _BOUND, f"target: {_BOUND}x plain Envoy"),
    )
    lines = chart.Lines(
        "What is added to a model's latency",
        f"milliseconds, on top of a model that takes {_SLOW_MS}, on a logarithmic scale",
        "requests/s",
        [case.rate_per_s for case in _FIXED],
        [
            chart.Line("gateway p99", _added(samples, "p99", _WHOLE), 1, dashed=True),
            chart.Line("gateway mean", _added(samples, "mean", _WHOLE), 1),
            chart.Line("Envoy p99", _added(samples, "p99", "raw"), 0, dashed=True),
            chart.Line("Envoy mean", _added(samples, "mean", "raw"), 0),
        ],
        "ms",
    )
    return chart.draw(bars, lines, _in_words(bars, lines))


def _bar(samples: Samples, name: str, raw_us: float) -> chart.Bar:
    envoy, quota, ledger = (samples.cpu(name, PEAK, role) for role in ("envoy", "quota", "ledger"))
    whole = samples.cpu(name, PEAK)
    beyond = max(0.0, envoy - raw_us)
    parts = (envoy - beyond, beyond, quota, ledger, max(0.0, whole - envoy - quota - ledger))
    times = f"{whole / raw_us:.1f}x" if raw_us else "-"
    return chart.Bar(_NAMES[name], parts, f"{whole:,.0f} us, {times}")


def _added(samples: Samples, statistic: Statistic, gateway: str) -> list[float]:
    def of(case: Case) -> float:
        return median(samples.added_rounds(statistic, gateway, case.name))

    return [of(case) for case in _FIXED]


def _in_words(bars: chart.Bars, lines: chart.Lines) -> str:
    costs = "; ".join(f"{bar.name} {bar.note}" for bar in bars.bars)
    rates = ", ".join(f"{x:g}" for x in lines.x)
    added = "; ".join(f"{line.name} {', '.join(f'{value:.1f}' for value in line.values)}" for line in lines.lines)
    return (
        f"CPU time of a call ({PLAIN.name}) at saturation: {costs}."
        f" Added milliseconds at {rates} requests a second: {added}."
    )
