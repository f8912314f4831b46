"""What is in doubt: listed, and cleared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.kernel.change import AuditEntry, Authorship
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt, Selection
from services.quota.domain.counters.reservation import Hold
from services.quota.ports import AuditTrail, CounterReader, CounterStore

MAX_NAMED = 1_000
_AT_ONCE = 500
# Of a page. Who means few of many goes on from where that many were looked at.
_LOOKED_AT = 5_000
_MAX_AUDITED = 100


@dataclass(slots=True)
class Cleared:
    """What was cleared."""

    calls: int = 0
    amounts: dict[CounterKey, int] = field(default_factory=dict)

    def add(self, doubt: Doubt) -> None:
        """Counts what one call had left."""
        self.calls += 1
        for hold in doubt.reservation.holds:
            self.amounts[hold.counter] = self.amounts.get(hold.counter, 0) + hold.held


class Doubts:
    """Lists and clears what calls left in doubt in windows that are not over."""

    def __init__(self, *, counters: CounterStore, reader: CounterReader, audit: AuditTrail, clock: Clock) -> None:
        self._counters = counters
        self._reader = reader
        self._audit = audit
        self._clock = clock

    def list(self, selection: Selection, after: str, page_size: int) -> tuple[list[Doubt], str]:
        """What is meant of what calls behind this id left, oldest first, and the id behind which the next page begins.

        That is empty on the last page. A page may be short, or empty, and not be the last.
        """
        found: list[Doubt] = []
        for looked_at, (doubt, meant) in enumerate(self._meant(selection, after), start=1):
            if meant is not None:
                found.append(meant)
            if len(found) == page_size or looked_at == _LOOKED_AT:
                return found, doubt.reservation.id
        return found, ""

    def clear(self, selection: Selection, *, by: Authorship) -> Cleared:
        """Gives back the room of what is meant, and says so in the audit log.

        Raises:
            InvalidInput: nothing is meant in particular, or no reason is given.
            Unavailable: the counters or the audit log cannot be written; what is cleared by then is in the audit log.
        """
        if selection == Selection():
            raise InvalidInput("reservations", "say which: calls by their ids, a policy, or all before a moment")
        if len(selection.reservations) > MAX_NAMED:
            raise InvalidInput("reservations", f"at most {MAX_NAMED} at a time")
        if not by.reason:
            raise InvalidInput("reason", "say why: it is what others see of it in the audit log")
        expected, names = Cleared(), list[str]()
        for doubt, meant in self._meant(selection, ""):
            if meant is not None:
                expected.add(meant)
                names.append(doubt.reservation.id)
        cleared = Cleared()
        if not names:
            return cleared
        # First, so that nothing is cleared of which nobody is told.
        self._audit.append([self._entry(selection, expected, by)])
        for at in range(0, len(names), _AT_ONCE):
            for gone in self._counters.clear_doubts(names[at : at + _AT_ONCE], selection.has):
                cleared.add(gone)
        return cleared

    def _meant(self, selection: Selection, after: str) -> Iterator[tuple[Doubt, Doubt | None]]:
        """What calls behind this id left, each with what of it is meant."""
        now_ms = self._clock.now_ms()

        def is_meant(doubt: Doubt, hold: Hold) -> bool:
            return hold.window_end_ms > now_ms and selection.has(doubt, hold)

        while some := self._reader.doubts_after(after, _AT_ONCE):
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
            action="clear",
            kind="doubt",
            name=_name_of(selection),
            before=json.dumps(before),
            after="",
        )


def _name_of(selection: Selection) -> str:
    """What was meant, for people."""
    parts = [
        f"calls {', '.join(sorted(selection.reservations)[:3])}{' ...' if len(selection.reservations) > 3 else ''}"
        if selection.reservations
        else "",
        f"policy {selection.policy}" if selection.policy else "",
        f"scope {selection.scope}" if selection.scope else "",
        f"settled before {selection.before_ms}" if selection.before_ms is not None else "",
    ]
    return ", ".join(part for part in parts if part)
