"""The health of what leads: when a fallback takes its place, and when it leads again.

A watch looks at one slot, by the terms of one condition. Both ways it decides by attempts alone, never by a clock:

* The slot is *left* when the condition holds over the period of its terms. A term holds with at least 10 attempts, 3 of
  them bad, or with 5 bad attempts in a row, since little traffic must switch, too.
* While it is left, quota lets single calls try it: *probes*. It leads again after 3 good ones in a row, counted at most
  once a second. Each time that it is left again within an hour, twice as many are needed, up to 300. So a slot that
  stays around the bound switches less and less often, at most 20 times an hour.
* What was counted before a switch does not count after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from services.kernel.envoy_contract import LeadReason
from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.model import Measure, Term
from services.router.domain.sliding_counts import SlidingCounts

LEAST_PROBE_MS = 1_000
MOST_PROBE_MS = 8_000
_GOOD, _BAD = 0, 1
_MIN_ATTEMPTS = 10
_MIN_BAD = 3
_MIN_IN_A_ROW = 5
_GOOD_PROBES = 3
_MOST_GOOD_PROBES = 300
# A little less than the shortest interval of probes: two processes measure it.
_COUNTS_AFTER_MS = 900
_STRIKES_MS = 3_600_000
_WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Watched:
    """A slot that leads, and the terms by which it is judged."""

    targets: tuple[str, ...]
    terms: tuple[Term, ...]
    """Only terms about attempts; at least one."""
    all_terms: bool
    """True: all terms must hold. False: any suffices."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a term saw when it held."""

    term: Term
    attempts: int
    bad: int
    """Those that failed, or took as long as the bound or longer."""


@dataclass(frozen=True, slots=True)
class Left:
    """A slot that does not lead at present."""

    since_ms: int
    reason: LeadReason
    figures: tuple[Figure, ...]
    """Of the terms that held."""
    probe_every_ms: int


@dataclass(frozen=True, slots=True)
class LeftSlot:
    """What must be known of a slot that is left, so that a restart changes nothing about who leads."""

    watched: Watched
    left: Left
    left_at_ms: tuple[int, ...]
    """When it was left within the last hour."""


@dataclass(frozen=True, slots=True)
class OutTarget:
    """A target whose provider asked to stay away."""

    name: str
    """"provider/model"."""
    until_ms: int
    is_for_long: bool = False


@dataclass(frozen=True, slots=True)
class HealthMemory:
    """What a restart must not forget: otherwise the model's choice would lead again, and be left again."""

    left: tuple[LeftSlot, ...] = ()
    out: tuple[OutTarget, ...] = ()


class Watch:
    """One slot under one condition. `left` says whether another one leads."""

    def __init__(self, watched: Watched) -> None:
        self.left: Left | None = None
        self._all_terms = watched.all_terms
        self._terms = tuple(_TermWatch(term) for term in watched.terms)
        self._counts_from_ms = 0
        self._left_at_ms: deque[int] = deque()
        self._good_probes = 0
        self._last_good_ms = 0

    @property
    def left_at_ms(self) -> tuple[int, ...]:
        """When the slot was left within the last hour."""
        return tuple(self._left_at_ms)

    def resume(self, slot: LeftSlot, now_ms: int) -> None:
        """Goes on where the last process stopped. Only attempts from now on count."""
        self.left = slot.left
        self._left_at_ms = deque(slot.left_at_ms)
        self._start_afresh(now_ms)

    def observe(self, attempt: Attempt, now_ms: int) -> None:
        """Takes an attempt at a target of the slot."""
        if attempt.start_ms < self._counts_from_ms:
            return
        verdicts = [term.judge(attempt) for term in self._terms]
        if self.left is not None:
            self._probed(attempt, verdicts, self.left, now_ms)
            return
        for term, bad in zip(self._terms, verdicts, strict=True):
            if bad is not None:
                term.count(bad, now_ms)
        if True in verdicts:
            self._leave_if_bad(now_ms)

    def _leave_if_bad(self, now_ms: int) -> None:
        figures = [figure for term in self._terms if (figure := term.held(now_ms)) is not None]
        if len(figures) < (len(self._terms) if self._all_terms else 1):
            return
        has_errors = figures[0].term.measure is Measure.ERROR_RATE
        reason = LeadReason.ERRORS if has_errors else LeadReason.LATENCY
        self.left = Left(now_ms, reason, tuple(figures), LEAST_PROBE_MS)
        self._left_at_ms.append(now_ms)
        while self._left_at_ms[0] <= now_ms - _STRIKES_MS:
            self._left_at_ms.popleft()
        self._start_afresh(now_ms)

    def _probed(self, attempt: Attempt, verdicts: list[bool | None], left: Left, now_ms: int) -> None:
        is_bad = all(verdicts) if self._all_terms else True in verdicts
        if is_bad:
            self._good_probes = 0
            self._probe_every(left, min(2 * left.probe_every_ms, MOST_PROBE_MS))
        elif (False in verdicts if self._all_terms else None not in verdicts) and (
            attempt.start_ms >= self._last_good_ms + _COUNTS_AFTER_MS
        ):
            self._last_good_ms = attempt.start_ms
            self._good_probes += 1
            self._probe_every(left, LEAST_PROBE_MS)
            if self._good_probes >= self._needed:
                self.left = None
                self._start_afresh(now_ms)

    @property
    def _needed(self) -> int:
        """The good probes in a row that are needed to lead again."""
        return min(_GOOD_PROBES << min(len(self._left_at_ms) - 1, 16), _MOST_GOOD_PROBES)

    def _probe_every(self, left: Left, interval_ms: int) -> None:
        if left.probe_every_ms != interval_ms:
            self.left = Left(left.since_ms, left.reason, left.figures, interval_ms)

    def _start_afresh(self, now_ms: int) -> None:
        self._counts_from_ms = now_ms
        self._good_probes = self._last_good_ms = 0
        for term in self._terms:
            term.clear()


class _TermWatch:
    """The good and bad attempts by one term."""

    __slots__ = ("_counts", "_in_a_row", "_term")

    def __init__(self, term: Term) -> None:
        self._term = term
        self._counts = SlidingCounts(term.over_seconds * 1_000)
        self._in_a_row = 0

    def judge(self, attempt: Attempt) -> bool | None:
        """Whether the attempt is bad; None: it says nothing, or it was judged already while it lasted."""
        bound, outcome = self._term.bound, attempt.outcome
        if self._term.measure is Measure.ERROR_RATE:
            return outcome is Outcome.FAILED if outcome in {Outcome.FAILED, Outcome.SERVED} else None
        is_latency = self._term.measure is Measure.LATENCY_P95
        took_ms = attempt.took_ms if is_latency else attempt.waited_ms
        if (attempt.reported_ms if is_latency else attempt.reported_waiting_ms) >= bound:
            return None
        if took_ms >= bound:
            # However it ends, it has lasted too long.
            return True
        return False if outcome is Outcome.SERVED else None

    def count(self, bad: bool, now_ms: int) -> None:
        self._counts.add(_BAD if bad else _GOOD, now_ms)
        self._in_a_row = self._in_a_row + 1 if bad else 0

    def held(self, now_ms: int) -> Figure | None:
        """Returns what the term sees if it holds."""
        totals = self._counts.totals(now_ms)
        bad = totals.get(_BAD, 0)
        attempts = bad + totals.get(_GOOD, 0)
        if self._in_a_row >= _MIN_IN_A_ROW:
            return Figure(self._term, max(attempts, self._in_a_row), max(bad, self._in_a_row))
        if attempts < _MIN_ATTEMPTS or bad < _MIN_BAD:
            return None
        if self._term.measure is Measure.ERROR_RATE:
            holds = bad * _WHOLE >= self._term.bound * attempts
        else:
            # By nearest rank, the 95th percentile reaches the bound if more than a twentieth of the attempts does.
            holds = bad > attempts // 20
        return Figure(self._term, attempts, bad) if holds else None

    def clear(self) -> None:
        self._counts.clear()
        self._in_a_row = 0
