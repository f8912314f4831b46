"""Loads for all gateways in turn, and the tables that compare them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench.cases import CONNECTIONS, PEAK, PEAK_RATE, PLAIN, SLOW, Case
from tests.bench.gateways import Gateway
from tests.bench.measure import Loads, drive
from tests.bench.peers.peer import NOTHING, OURS, Missing, Peer
from tests.bench.samples import Samples
from tests.bench.spread import Spread, ratios
from tests.bench.tables import named, section, slashed
from tests.bench.upstream import SLOW_S

_WARM_S = 10.0
_REST_S = 0.5
_MOST_RESTS = 120
_IDLE = 0.1
"""The part of a core that a gateway takes at most while it has nothing to do."""
_RATES = tuple(case for case in SLOW if case.rate_per_s)


@dataclass(slots=True)
class Comparison:
    """Runs rounds over the gateways, and keeps which loads one of them could not serve."""

    loads: Loads
    unserved: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why, by gateway and case."""

    def warm_up(self, gateways: Sequence[Gateway]) -> None:
        """As many calls as each answers for a while, unmeasured: some load much of their code at their first calls."""
        for gateway in gateways:
            drive(gateway, PLAIN, rate_per_s=PEAK_RATE, seconds=_WARM_S, load_core=self.loads.load_core)

    def run_round(self, gateways: Sequence[Gateway]) -> None:
        """Each rate, and the most that each answers, in turn."""
        for case in _RATES:
            for gateway in gateways:
                self._at_its_rate(gateway, case)
        for gateway in gateways:
            self.loads.at_the_most(gateway)

    def _at_its_rate(self, gateway: Gateway, case: Case) -> None:
        if (gateway.name, case.name) in self.unserved:
            return
        try:
            self.loads.at_its_rate(gateway, case)
        except RuntimeError as error:
            self.unserved[gateway.name, case.name] = str(error)
        rest(gateway.cpu_s)


def rest(used_s: Callable[[], Mapping[str, float]], wait: Callable[[float], None] = time.sleep) -> None:
    """Waits until a gateway is idle: it may go on with calls whose clients gave up, and the next load is not to pay.

    `used_s` is the CPU time that its processes have used.
    """
    for _ in range(_MOST_RESTS):
        before = sum(used_s().values())
        wait(_REST_S)
        if sum(used_s().values()) - before < _IDLE * _REST_S:
            return


def compared(samples: Samples, peers: Sequence[Peer], unserved: dict[tuple[str, str], str]) -> str:
    """What each gateway costs, and what it does for that."""
    names = ["raw", "everything", *(peer.gateway.name for peer in peers)]
    head = ["gateway", "CPU time of a call at saturation, us", "against plain Envoy", "requests/s on one core"]
    rows = []
    for name in names:
        cpu = samples.cpu_rounds(name, PEAK)
        times = Spread.of(ratios(cpu, samples.cpu_rounds("raw", PEAK))).text(1, "x")
        most = Spread.of(samples.peak_per_s[name]).text()
        rows.append([_shown(name), Spread.of(cpu).text(), times, most, f"{samples.memory_mib(name):,.0f}"])
    added = [[_shown(name), *(_added(samples, name, case, unserved) for case in _RATES)] for name in names]
    return "\n\n".join(
        [
            section(
                f"Cost, {PLAIN.name}, closed loop over {CONNECTIONS} connections",
                [*head, "memory at the end, MiB"],
                rows,
            ),
            section(
                f"Added to a provider that takes {SLOW_S * 1000:g} ms, mean / p99 in milliseconds",
                ["gateway", *(f"{case.rate_per_s:g} requests/s" for case in _RATES)],
                added,
            ),
        ]
    )


def enforced(peers: Sequence[Peer], missing: Sequence[Missing]) -> str:
    """What each gateway does for a measured call, and why a gateway is not here."""
    all_of = [("plain Envoy", "1.40", NOTHING), ("everything", "", OURS)]
    all_of += [(peer.gateway.name, peer.version, peer.enforces) for peer in peers]
    rows = [
        [_shown(name), version, each.keys, each.budgets, each.durable, each.traces] for name, version, each in all_of
    ]
    table = section(
        "What each does for a measured call", ["gateway", "version", "keys", "budgets", "on disk", "traces"], rows
    )
    remarks = [f"* **{peer.gateway.name}:** {peer.remarks}" for peer in peers if peer.remarks]
    remarks += [f"* **{each.name}** was not measured: {each.why}" for each in missing]
    return "\n\n".join([table, *(["\n".join(remarks)] if remarks else [])])


def _added(samples: Samples, name: str, case: Case, unserved: dict[tuple[str, str], str]) -> str:
    if (name, case.name) in unserved:
        return "not served"
    mean, p99 = (samples.added_rounds(statistic, name, case.name) for statistic in ("mean", "p99"))
    return slashed([median(mean), median(p99)]) + (f" (worst {max(p99):.2f})" if len(p99) > 1 else "")


def _shown(name: str) -> str:
    return "**Spendgate, everything on**" if name == "everything" else named(name)
