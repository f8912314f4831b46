"""Dropped headers that somebody may miss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.cli.diagnosis.findings import Finding, Level
from services.kernel.header_names import may_be_allowed

_NAMED = 5
"""Names in one line. The others are only counted."""


def examine_headers(dropped: Sequence[ledger.DroppedHeader]) -> Iterator[Finding]:
    """Yields a line for each provider and direction. A dropped request header is a warning: it has no effect."""
    if not dropped:
        yield Finding("headers", Level.OK, "no header that anybody may miss was dropped in seven days")
    for provider in sorted({one.provider for one in dropped}):
        own = [one for one in dropped if one.provider == provider]
        asked = [one for one in own if one.direction == ledger.DroppedHeader.DIRECTION_REQUEST]
        answered = [one for one in own if one.direction == ledger.DroppedHeader.DIRECTION_ANSWER]
        if asked:
            text = f"clients send in vain: {_listed(asked)}"
            yield Finding(f"headers to {provider}", Level.WARN, text, _remedy(asked, "and clients should stop sending"))
        if answered:
            text = f"clients do not get: {_listed(answered)}"
            yield Finding(f"headers of {provider}", Level.OK, text, _remedy(answered, "and nothing can be done about"))


def _listed(headers: Sequence[ledger.DroppedHeader]) -> str:
    named = ", ".join(f"{one.name} ({_calls(one.calls)})" for one in headers[:_NAMED])
    more = len(headers) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _remedy(headers: Sequence[ledger.DroppedHeader], otherwise: str) -> str:
    names = [one.name for one in headers[:_NAMED]]
    allowable = [name for name in names if may_be_allowed(name)]
    never = [name for name in names if name not in allowable]
    cure = f"if they should pass: headers: {{allow: [{', '.join(allowable)}]}} at the provider" if allowable else ""
    if not never:
        return cure
    rest = f"{otherwise} {', '.join(never)}"
    return f"{cure}, {rest}" if cure else rest.removeprefix("and ")
