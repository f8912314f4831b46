"""What the design promises, and whether a run kept it. Computed from samples, never typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.cases import CASES, DIALECTS, PEAK, PLAIN, RATE_PER_S, SLOW, STREAMS, Case
from tests.bench.samples import Samples, Statistic
from tests.bench.spread import Spread, ratios
from tests.bench.tables import table
from tests.bench.upstream import SLOW_S

_WHOLE = "everything"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise."""

    what: str
    bound: float
    rounds: Callable[[Samples], Sequence[float]]
    """The value of each round. Empty: this run did not measure it."""
    unit: str = ""
    digits: int = 1
    at_least: bool = False
    """The bound is the least allowed, not the most."""
    judged_by: Callable[[Sequence[float]], float] = median
    """Which of the rounds' values is held against the bound."""

    def is_met(self, samples: Samples) -> bool | None:
        """Whether the run kept it, None if it did not measure it."""
        values = self.rounds(samples)
        if not values:
            return None
        value = self.judged_by(values)
        return value >= self.bound if self.at_least else value <= self.bound

    def row(self, samples: Samples) -> list[str]:
        """Its row of the table."""
        values = self.rounds(samples)
        words = {True: "met", False: "**not met**", None: "not measured"}
        bound = f"at {'least' if self.at_least else 'most'} {self.bound:.{self.digits}f}{self.unit}"
        if self.judged_by is max and values:
            measured = f"{max(values):.{self.digits}f}{self.unit}"
        else:
            measured = Spread.of(values).text(self.digits, self.unit)
        return [self.what, bound, measured, words[self.is_met(samples)]]


def _added(statistic: Statistic, case: Case) -> Callable[[Samples], Sequence[float]]:
    return lambda samples: samples.added_rounds(statistic, _WHOLE, case.name)


def _cpu_at_saturation(samples: Samples) -> Sequence[float]:
    return ratios(samples.cpu_rounds(_WHOLE, PEAK), samples.cpu_rounds("raw", PEAK))


def _rate_at_saturation(samples: Samples) -> Sequence[float]:
    return ratios(samples.peak_per_s.get(_WHOLE, []), samples.peak_per_s.get("raw", []))


def _stream_cost(dialect: str) -> Callable[[Samples], Sequence[float]]:
    streamed, whole = STREAMS[dialect, True].name, STREAMS[dialect, False].name
    return lambda samples: ratios(samples.cpu_rounds("chain", streamed), samples.cpu_rounds("chain", whole))


def _memory(samples: Samples) -> Sequence[float]:
    return [samples.memory_mib(_WHOLE)] if samples.resident_mib else []


_AT_RATE = f"{RATE_PER_S:g} requests/s"
_SLOW_AT_RATE = next(case for case in SLOW if case.rate_per_s == RATE_PER_S)

TARGETS: tuple[Target, ...] = (
    Target("CPU time of a call at saturation, against plain Envoy", 10.0, _cpu_at_saturation, "x"),
    Target("Requests/s at saturation, against plain Envoy", 0.1, _rate_at_saturation, "x", 3, at_least=True),
    Target(f"Added p50 at {_AT_RATE}", 1.0, _added("p50", PLAIN), " ms", 2),
    Target(f"Added p99 at {_AT_RATE}", 4.0, _added("p99", PLAIN), " ms", 2),
    Target(f"Added p99 at {_AT_RATE}, worst round", 8.0, _added("p99", PLAIN), " ms", 2, judged_by=max),
    *(
        Target(f"Added p99 at {_AT_RATE}, {case.name}", 6.0, _added("p99", case), " ms", 2)
        for case in CASES
        if case is not PLAIN
    ),
    Target(
        f"Added mean at {_AT_RATE}, provider that takes {SLOW_S * 1000:g} ms",
        1.0,
        _added("mean", _SLOW_AT_RATE),
        " ms",
        2,
    ),
    Target("Resident memory of everything, end of this run", 350.0, _memory, " MiB", 0),
    *(
        Target(
            f"CPU time of a stream of 100 chunks in Envoy, against JSON, {dialect}", 1.25, _stream_cost(dialect), "x", 2
        )
        for dialect in DIALECTS
    ),
)


def targets_table(samples: Samples, targets: Sequence[Target] = TARGETS) -> str:
    """What each target asks, what the run measured, and the verdict."""
    return table(["target", "bound", "this run", "verdict"], [target.row(samples) for target in targets])


def summed_up(samples: Samples, targets: Sequence[Target] = TARGETS) -> str:
    """How many targets the run kept."""
    verdicts = [target.is_met(samples) for target in targets]
    measured = [verdict for verdict in verdicts if verdict is not None]
    return f"This run met {sum(measured)} of the {len(measured)} targets that it measured."
