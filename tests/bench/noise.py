"""How much the machine itself moved while the bench ran."""

from __future__ import annotations

from tests.bench.cases import PEAK, PLAIN
from tests.bench.samples import Samples
from tests.bench.spread import Spread

NOISY = 1.5
"""From this factor between its best and its worst round on, plain Envoy says that the machine was not quiet."""


def noise(samples: Samples, stolen: float) -> str:
    """Plain Envoy does the same work in each round, so its own spread is the machine's.

    `stolen` is the share of the machine's time that its host gave to others.
    """
    cpu = Spread.of(samples.cpu_rounds("raw", PEAK))
    rate = Spread.of(samples.peak_per_s.get("raw", []))
    if cpu.rounds < 2:
        return (
            "**One round: these figures have no spread.** They do not say how much the machine itself moves."
            " Run at least three rounds before you trust a difference."
        )
    worst = max(cpu.factor, rate.factor)
    figures = (
        f"Plain Envoy, which does the same in each of the {cpu.rounds} rounds, took {cpu.text()} us of CPU time a"
        f" request at saturation, and served {rate.text()} requests/s. The host gave {stolen:.1%} of the machine's time"
        " to others."
    )
    if worst > NOISY:
        return (
            f"**The machine was noisy: plain Envoy's own worst round is {worst:.1f} times its best.** Trust ratios"
            f" within a round, not times. {figures}"
        )
    return f"The machine was quiet: plain Envoy's own worst round is {worst:.1f} times its best. {figures}"


def waking(samples: Samples, *, awake: bool) -> str:
    """What it costs to wake a core that sleeps: plain Envoy's CPU time at a fixed rate, beside that at saturation."""
    kept = (
        "The cores were kept from sleeping."
        if awake
        else "The cores slept between calls; on a virtual machine that costs each call some of its host's time."
    )
    at_rate, at_peak = (samples.cpu("raw", row) for row in (PLAIN.name, PEAK))
    return (
        f"{kept} A call took plain Envoy {at_rate:.0f} us of CPU time at {PLAIN.rate_per_s:g} requests/s, and"
        f" {at_peak:.0f} us at saturation."
    )
