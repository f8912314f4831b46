"""Answers what was spent, and follows what is being booked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.kernel.errors import InvalidInput, NotFound
from services.ledger.domain.entry import BookedCall
from services.ledger.domain.selection import Filter, UsageQuery, UsageSums
from services.ledger.domain.settlement import Alert
from services.ledger.ports import Reports

_PAGE_SIZE = 100
_PAGE_SIZE_MAX = 1_000
_TAIL_PAGE = 200


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """Sums by group, and over all."""

    rows: tuple[UsageSums, ...]
    total: UsageSums


class Query:
    """Reads the books."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def usage(self, query: UsageQuery) -> UsageAnswer:
        """Sums of the calls that began within the query's hours."""
        rows = tuple(self._reports.usage(query))
        total = UsageSums(
            values=(),
            calls=sum(row.calls for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            cached_input_tokens=sum(row.cached_input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cost_nano_usd=sum(row.cost_nano_usd for row in rows),
            unpriced_calls=sum(row.unpriced_calls for row in rows),
        )
        return UsageAnswer(rows, total)

    def calls(self, selection: Filter, page_size: int, page_token: str) -> tuple[list[BookedCall], str]:
        """One page of calls, newest first, and the token of the next.

        Raises:
            InvalidInput: the page is not one of ours.
        """
        limit = _page_size(page_size)
        before = _position(page_token) if page_token else None
        found = self._reports.calls(selection, before, limit + 1)
        page = found[:limit]
        return page, f"{page[-1].time_ms}.{page[-1].sequence}" if len(found) > limit else ""

    def call(self, call_id: str) -> BookedCall:
        """One call by its id or by Envoy's request id.

        Raises:
            NotFound: it is not booked.
        """
        found = self._reports.call(call_id) if call_id else None
        if found is None:
            raise NotFound(f"no call {call_id[:80]!r} is booked: it may still be under way")
        return found

    def alerts(self, page_size: int, page_token: str) -> tuple[list[Alert], str]:
        """One page of alerts, newest first, and the token of the next.

        Raises:
            InvalidInput: the page is not one of ours.
        """
        limit = _page_size(page_size)
        if page_token and not (page_token.isascii() and page_token.isdecimal() and len(page_token) < 19):
            raise _bad_token()
        found = self._reports.alerts(int(page_token) if page_token else None, limit + 1)
        page = found[:limit]
        return page, str(page[-1].crossing.sequence) if len(found) > limit else ""

    def follow(self, selection: Filter) -> Iterator[list[BookedCall]]:
        """What was booked since the step before, at each step; the first step looks back at nothing."""
        position = self._reports.newest_sequence()
        while True:
            position, found = self._reports.calls_after(selection, position, _TAIL_PAGE)
            yield found


def _page_size(asked: int) -> int:
    if not 0 <= asked <= _PAGE_SIZE_MAX:
        raise InvalidInput("page_size", f"{asked} is not between 1 and {_PAGE_SIZE_MAX}")
    return asked or _PAGE_SIZE


def _position(token: str) -> tuple[int, int]:
    parts = token.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise _bad_token()
    return int(parts[0]), int(parts[1])


def _bad_token() -> InvalidInput:
    return InvalidInput("page_token", "it is not from an answer before: leave it empty to begin")
