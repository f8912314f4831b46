"""Puts together what Envoy says about an attempt: that it still runs, that it ended, that its answer was broken.

The first two come from the log of attempts. The third comes from the call's own log: only there is the body read. Both
logs are flushed within a fraction of a second, so an answer with a good status is held that long before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from services.kernel.clock import Clock
from services.router.domain.attempt import Attempt, Outcome

HOLD_MS = 600
"""How long a served attempt waits for word that its answer was broken: three times the flush interval of the logs."""
_MAX_OPEN = 20_000
_MAX_HELD = 50_000


@dataclass(frozen=True, slots=True)
class Report:
    """One entry of the log of attempts. An attempt is known by its request, target and start."""

    request_id: str
    attempt: Attempt

    @property
    def key(self) -> tuple[str, str, int]:
        """What all reports of one attempt share."""
        return self.request_id, self.attempt.target, self.attempt.start_ms


@dataclass(slots=True)
class _Open:
    """An attempt that still runs."""

    attempt: Attempt
    heard_ms: int
    """When Envoy last said so."""


class AttemptLog:
    """Tells `observers` of each attempt: once when it ended, and repeatedly while it lasts."""

    def __init__(self, clock: Clock, *, report_every_ms: int, observers: Iterable[Callable[[Attempt], None]]) -> None:
        """`report_every_ms` is how often Envoy reports an attempt that lasts."""
        self._clock = clock
        self._forget_after_ms = 3 * report_every_ms
        self._observers = tuple(observers)
        self._open: dict[tuple[str, str, int], _Open] = {}
        # By request: the last attempt is the one whose answer the client gets.
        self._held: dict[str, tuple[int, Attempt]] = {}

    def take(self, reports: Iterable[Report]) -> None:
        """Takes entries of the log of attempts."""
        now_ms = self._clock.now_ms()
        for report in reports:
            attempt = report.attempt
            if attempt.outcome is Outcome.OPEN:
                self._note_open(report, now_ms)
                continue
            before = self._open.pop(report.key, None)
            if before is not None:
                attempt = _after(before.attempt, attempt)
            if attempt.outcome is Outcome.SERVED and len(self._held) < _MAX_HELD:
                self._held[report.request_id] = now_ms, attempt
            else:
                self._tell(attempt)

    def broke(self, request_id: str) -> None:
        """Notes that the answer to a request was broken, although its status was good."""
        held = self._held.pop(request_id, None)
        if held is not None:
            self._tell(replace(held[1], outcome=Outcome.FAILED))

    def tick(self) -> None:
        """Tells of attempts that have waited long enough, and of those that run. Called several times a second."""
        now_ms = self._clock.now_ms()
        # In the order of their arrival.
        due = []
        for request_id, (held_ms, _) in self._held.items():
            if held_ms + HOLD_MS > now_ms:
                break
            due.append(request_id)
        for request_id in due:
            self._tell(self._held.pop(request_id)[1])
        for key, known in list(self._open.items()):
            if known.heard_ms + self._forget_after_ms < now_ms:
                # Its end was lost.
                del self._open[key]
            else:
                later = replace(known.attempt, took_ms=max(known.attempt.took_ms, now_ms - known.attempt.start_ms))
                known.attempt = _after(known.attempt, later)
                self._tell(known.attempt)

    def _note_open(self, report: Report, now_ms: int) -> None:
        known = self._open.get(report.key)
        if known is None:
            if len(self._open) >= _MAX_OPEN:
                return
            known = self._open[report.key] = _Open(report.attempt, now_ms)
        else:
            known.attempt = _after(known.attempt, report.attempt)
        known.heard_ms = now_ms
        self._tell(known.attempt)

    def _tell(self, attempt: Attempt) -> None:
        for observe in self._observers:
            observe(attempt)


def _after(before: Attempt, attempt: Attempt) -> Attempt:
    """Returns `attempt` with what was already told of it."""
    waiting_ms = before.took_ms if before.first_byte_ms is None else before.reported_waiting_ms
    return replace(attempt, reported_ms=before.took_ms, reported_waiting_ms=waiting_ms)
