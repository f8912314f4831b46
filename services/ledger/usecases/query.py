"""Answers questions about spend, and follows calls as they are booked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.kernel.errors import NotFound
from services.ledger.domain.entry import BookedCall
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.selection import CallQuery, Filter, UsageQuery, UsageSums
from services.ledger.domain.settlement import Alert
from services.ledger.ports import AlertPosition, CallPosition, Reports

_TAIL_PAGE = 200


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """Sums by group, and in total."""

    rows: tuple[UsageSums, ...]
    total: UsageSums


class Query:
    """Reads the books."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def usage(self, query: UsageQuery) -> UsageAnswer:
        """Sums the calls that began within the query's hours."""
        rows = tuple(self._reports.usage(query))
        total = UsageSums(
            values=(),
            calls=sum(row.calls for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            cached_input_tokens=sum(row.cached_input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cost_nano_usd=sum(row.cost_nano_usd for row in rows),
            unpriced_calls=sum(row.unpriced_calls for row in rows),
            retries=sum(row.retries for row in rows),
        )
        return UsageAnswer(rows, total)

    def calls(
        self, query: CallQuery, after: CallPosition | None, limit: int
    ) -> tuple[list[BookedCall], CallPosition | None]:
        """Returns at most `limit` calls after `after`, and where the next page begins, if there is one."""
        found = self._reports.calls(query, after, limit + 1)
        page = found[:limit]
        return page, (page[-1].time_ms, page[-1].sequence) if len(found) > limit else None

    def call(self, call_id: str) -> BookedCall:
        """Returns one call by its id or by Envoy's request id.

        Raises:
            NotFound: no such call is booked.
        """
        found = self._reports.call(call_id) if call_id else None
        if found is None:
            raise NotFound(f"no call {call_id[:80]!r} is booked: it may still be under way")
        return found

    def alerts(
        self, before: AlertPosition | None, limit: int
    ) -> tuple[list[Alert | SwitchAlert], AlertPosition | None]:
        """Returns at most `limit` alerts before a position, newest first, and where the next page begins, if any."""
        found = self._reports.alerts(before, limit + 1)
        page = found[:limit]
        return page, page[-1].position if len(found) > limit else None

    def follow(self, selection: Filter) -> Iterator[list[BookedCall]]:
        """Yields the newly booked calls at each step. The first step has none."""
        position = self._reports.newest_sequence()
        while True:
            position, found = self._reports.calls_after(selection, position, _TAIL_PAGE)
            yield found
