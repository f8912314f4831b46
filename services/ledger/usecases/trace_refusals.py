"""Gives refused requests their spans. A flood of them costs no more than a fixed number each second."""

from __future__ import annotations

from services.kernel.clock import Clock
from services.ledger.domain.flood import TokenBucket
from services.ledger.domain.traced import Traced
from services.ledger.ports import Refusals, Traces

PER_S, BURST = 50, 500
"""How many refusals get spans: each second, and at once in a burst."""
_READS_MAX = 16


class TraceRefusals:
    """Works in rounds, from one thread that nothing waits for."""

    def __init__(self, refusals: Refusals, traces: Traces, clock: Clock) -> None:
        self._refusals = refusals
        self._traces = traces
        self._clock = clock
        self._bucket = TokenBucket(per_s=PER_S, burst=BURST)
        self._left_out = 0

    @property
    def left_out(self) -> int:
        """How many refusals have no spans, since the process started."""
        return self._left_out

    def __call__(self) -> None:
        """Runs one round: up to the end of the log, or as far as one round may go."""
        for _ in range(_READS_MAX):
            refusals, left_out = self._refusals.read(lambda lines: self._bucket.take(lines, self._clock.now_ms()))
            self._left_out += left_out
            if refusals:
                self._traces.emit(Traced(refusals=refusals))
            elif not left_out:
                return
