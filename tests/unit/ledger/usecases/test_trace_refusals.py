from __future__ import annotations

from collections.abc import Callable

from services.kernel.clock import ManualClock
from services.ledger.domain.refusal import Refusal, parse_refusal
from services.ledger.domain.traced import Traced
from services.ledger.usecases.trace_refusals import BURST, PER_S, TraceRefusals


class Refusals:
    """A log that grows by hundreds of lines at each reading."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def read(self, allowed: Callable[[int], int]) -> tuple[list[Refusal], int]:
        lines = min(self.waiting, 300)
        self.waiting -= lines
        parsed = allowed(lines) if lines else 0
        refusal = parse_refusal({"id": "r", "time": "2026-11-23T20:00:00Z"})
        return [refusal] * parsed, lines - parsed


class Traces:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.count = 0

    def emit(self, traced: Traced) -> None:
        assert len(traced)
        self.count += len(traced.refusals)


def test_few_refusals_all_have_spans() -> None:
    refusals, traces = Refusals(0), Traces()
    trace = TraceRefusals(refusals, traces, ManualClock())
    for _ in range(5):
        refusals.waiting = 7
        trace()
    assert (traces.count, trace.left_out) == (35, 0)


def test_a_flood_is_sampled_and_the_rest_is_counted() -> None:
    refusals, traces, clock = Refusals(4_000), Traces(), ManualClock()
    trace = TraceRefusals(refusals, traces, clock)
    trace()
    assert (traces.count, trace.left_out, refusals.waiting) == (BURST, 4_000 - BURST, 0)

    clock.advance(1_000)
    refusals.waiting = 1_000
    trace()
    assert (traces.count, trace.left_out) == (BURST + PER_S, 5_000 - BURST - PER_S)


def test_one_round_ends_even_if_the_log_grows_as_fast_as_it_is_read() -> None:
    class Endless(Refusals):
        def read(self, allowed: Callable[[int], int]) -> tuple[list[Refusal], int]:
            self.waiting += 1_000
            return super().read(allowed)

    TraceRefusals(Endless(0), Traces(), ManualClock())()
