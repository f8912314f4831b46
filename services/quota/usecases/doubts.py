"""Lists and clears doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from services.kernel.change import AuditAction, AuditEntry, Authorship, ResourceKind
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput, NotFound
from services.kernel.repetition import Answered
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt, Selection
from services.quota.domain.counters.reservation import Hold
from services.quota.ports.counters import DoubtStore
from services.quota.ports.directory import AuditTrail, Contended

MAX_NAMED = 1_000
_AT_ONCE = 500
# The most doubts that we look at for one page. A selection of few out of many then gets a short page.
_LOOKED_AT = 5_000
_MAX_AUDITED = 100
_MOST_CHARS = 80


@dataclass(slots=True)
class Cleared:
    """The doubt that somebody cleared."""

    calls: int = 0
    amounts: dict[CounterKey, int] = field(default_factory=dict)

    def add(self, doubt: Doubt) -> None:
        """Adds the doubt of one call."""
        self.calls += 1
        for hold in doubt.reservation.holds:
            self.amounts[hold.counter] = self.amounts.get(hold.counter, 0) + hold.held


@dataclass(frozen=True, slots=True)
class _Clearing:
    """What a request set out to clear. It is remembered before anything is cleared."""

    calls: int
    amounts: tuple[tuple[CounterKey, int], ...]
    reservations: tuple[str, ...]

    def cleared(self) -> Cleared:
        """The answer."""
        return Cleared(self.calls, dict(self.amounts))


class Doubts:
    """Lists and clears the doubt of calls in windows that have not ended."""

    def __init__(self, *, store: DoubtStore, audit: AuditTrail, clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    def list(self, selection: Selection, after: str, page_size: int) -> tuple[list[Doubt], str]:
        """A page of the selected doubts of calls after this id, oldest first, and the id for the next page.

        That id is empty on the last page. A short or even empty page need not be the last one.
        """
        found: list[Doubt] = []
        for looked_at, (doubt, meant) in enumerate(self._meant(selection, after), start=1):
            if meant is not None:
                found.append(meant)
            if len(found) == page_size or looked_at == _LOOKED_AT:
                return found, doubt.reservation.id
        return found, ""

    def get(self, reservation: str, *, team: str = "") -> Doubt:
        """The doubt of one call; with `team` only of calls of that team.

        Raises:
            NotFound: no such call is in doubt.
        """
        selection = Selection(reservations=frozenset({reservation}), team=team)
        # `_meant` lists ids after a given one. Few ids lie between the id without its last character and the id itself.
        for _, meant in islice(self._meant(selection, reservation[:-1]), _AT_ONCE):
            if meant is not None:
                return meant
        raise NotFound(
            f"no call {reservation[:_MOST_CHARS]!r} is in doubt: what it took is known, or its window is over; "
            "`spendgate doubt list` shows what is"
        )

    def clear(self, selection: Selection, *, by: Authorship) -> Cleared:
        """Clears the selected doubts, which gives their room back, and writes an audit entry.

        Raises:
            InvalidInput: the selection is empty, or there is no reason.
            Unavailable: the counters or the audit log cannot be written; anything already cleared is in the audit log.
        """
        if selection == Selection():
            raise InvalidInput(
                "reservations", "say which: name calls by their ids, a policy, or a moment before which to clear all"
            )
        if len(selection.reservations) > MAX_NAMED:
            raise InvalidInput("reservations", f"at most {MAX_NAMED} at a time")
        if not by.reason:
            raise InvalidInput("reason", "say why: others will read it in the audit log")
        try:
            return self._repeated(selection, by) or self._clear_at_first(selection, by)
        except Contended:
            # The same request came twice at once, and the other one got ahead.
            repeated = self._repeated(selection, by)
            if repeated is None:
                raise
            return repeated

    def _repeated(self, selection: Selection, by: Authorship) -> Cleared | None:
        """The answer of the request that this one repeats; None if it repeats none."""
        first = self._audit.recall(by.repeatable, _Clearing, self._clock.now_ms()) if by.repeatable else None
        if first is None:
            return None
        # The first request may have stopped partway. Finish it, but leave doubt that came later.
        self._clear(first.answer.reservations, selection)
        return first.answer.cleared()

    def _clear_at_first(self, selection: Selection, by: Authorship) -> Cleared:
        expected, names = Cleared(), list[str]()
        for doubt, meant in self._meant(selection, ""):
            if meant is not None:
                expected.add(meant)
                names.append(doubt.reservation.id)
        if not names and by.repeatable is None:
            return expected
        # We write the entry first, so that nothing is cleared without a record.
        entries = [self._entry(selection, expected, by)] if names else []
        clearing = _Clearing(expected.calls, tuple(expected.amounts.items()), tuple(names))
        self._audit.append(entries, Answered(by.repeatable, clearing, self._clock.now_ms()) if by.repeatable else None)
        return self._clear(names, selection)

    def _clear(self, names: Sequence[str], selection: Selection) -> Cleared:
        cleared = Cleared()
        for at in range(0, len(names), _AT_ONCE):
            for gone in self._store.clear_doubts(names[at : at + _AT_ONCE], selection.has):
                cleared.add(gone)
        return cleared

    def _meant(self, selection: Selection, after: str) -> Iterator[tuple[Doubt, Doubt | None]]:
        """The doubts of calls after this id, each with its selected part."""
        now_ms = self._clock.now_ms()

        def is_meant(doubt: Doubt, hold: Hold) -> bool:
            return hold.window_end_ms > now_ms and selection.has(doubt, hold)

        while some := self._store.doubts_after(after, _AT_ONCE):
            for doubt in some:
                yield doubt, doubt.split(is_meant)[0]
            after = some[-1].reservation.id
            if len(some) < _AT_ONCE or selection.ends_behind(after):
                return

    def _entry(self, selection: Selection, cleared: Cleared, by: Authorship) -> AuditEntry:
        amounts = sorted(cleared.amounts.items())[:_MAX_AUDITED]
        before = {
            "calls": cleared.calls,
            "amounts": [
                {"policy": key.policy, "limit_id": key.limit_id, "scope": key.scope, "amount": amount}
                for key, amount in amounts
            ],
        }
        return AuditEntry(
            time_ms=self._clock.now_ms(),
            by=by,
            action=AuditAction.CLEAR,
            kind=ResourceKind.DOUBT,
            name=_name_of(selection),
            before=json.dumps(before),
            after="",
        )


def _name_of(selection: Selection) -> str:
    """The selection in words, for people."""
    parts = [
        f"calls {', '.join(sorted(selection.reservations)[:3])}{' ...' if len(selection.reservations) > 3 else ''}"
        if selection.reservations
        else "",
        f"policy {selection.policy}" if selection.policy else "",
        f"scope {selection.scope}" if selection.scope else "",
        f"settled before {selection.before_ms}" if selection.before_ms is not None else "",
    ]
    return ", ".join(part for part in parts if part)
