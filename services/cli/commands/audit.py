"""`spendgate audit`: who changed what, when and why, for all three services in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol

import orjson
import typer
from spendgate.ledger.v1 import ledger_service_pb2
from spendgate.quota.v1 import admin_service_pb2
from spendgate.router.v1 import router_service_pb2
from spendgate.type.v1 import audit_pb2, role_pb2

from services.chassis.enums import enum_names
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing
from services.cli.resource_kinds import resource_kind_name
from services.cli.session import JsonOption, LimitOption, session_of
from services.cli.times import parse_since, readable_time, rfc3339

_ROLES = {number: name.replace("_", "-") for number, name in enum_names(role_pb2.Role).items()}
_ACTIONS = enum_names(audit_pb2.AuditEntry.Action)
_UNKNOWN = "unknown"
"""Replaces a name that only a later release knows."""


class AuditPage(Protocol):
    """What every service's `ListAuditEntriesResponse` has."""

    @property
    def audit_entries(self) -> Iterable[audit_pb2.AuditEntry]:
        """Newest first."""
        ...

    @property
    def next_page_token(self) -> str:
        """Empty on the last page."""
        ...


def audit(
    context: typer.Context,
    *,
    since: Annotated[str, typer.Option(metavar="WHEN", help="Start: 7d, or 2027-01-31T00:00:00Z. Default: all.")] = "",
    actor: Annotated[str, typer.Option(help="Only changes by this admin token.")] = "",
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Lists changes, newest first. --json has each resource before and after.

    Example: spendgate audit --since 7d --actor ada
    """
    start_time = parse_since("--since", since, session_of(context).clock) if since else None

    def newest(list_entries: Callable[[Any], AuditPage], request: Callable[..., Any]) -> list[audit_pb2.AuditEntry]:
        return read_list(
            list_entries, request(start_time=start_time, actor=actor), lambda page: page.audit_entries, limit
        )

    with connect(context) as gateway:
        lists = (
            (gateway.administration.ListAuditEntries, admin_service_pb2.ListAuditEntriesRequest),
            (gateway.router.ListAuditEntries, router_service_pb2.ListAuditEntriesRequest),
            (gateway.ledger.ListAuditEntries, ledger_service_pb2.ListAuditEntriesRequest),
        )
        entries = [entry for each in lists for entry in newest(*each)]
    # Each list is already sorted, newest first, and sorting keeps the order of entries with the same time.
    entries.sort(key=lambda entry: entry.change_time.ToMilliseconds(), reverse=True)
    Listing(
        "entries",
        columns=("TIME (UTC)", "ACTOR", "ROLE", "ACTION", "KIND", "NAME", "REASON"),
        row=_row,
        document=_as_json,
        empty="Nothing was changed in this period.",
    ).print(entries[:limit], as_json=json)


def _row(entry: audit_pb2.AuditEntry) -> tuple[str, ...]:
    return (
        readable_time(entry.change_time),
        entry.actor,
        _ROLES.get(entry.role, _UNKNOWN),
        _ACTIONS.get(entry.action, _UNKNOWN),
        resource_kind_name(entry.kind),
        entry.name,
        entry.reason,
    )


def _as_json(entry: audit_pb2.AuditEntry) -> dict[str, object]:
    return {
        "time": rfc3339(entry.change_time),
        "actor": entry.actor,
        "role": _ROLES.get(entry.role, _UNKNOWN),
        "action": _ACTIONS.get(entry.action, _UNKNOWN),
        "kind": resource_kind_name(entry.kind),
        "name": entry.name,
        "reason": entry.reason,
        "before": orjson.loads(entry.before) if entry.before else None,
        "after": orjson.loads(entry.after) if entry.after else None,
        "request_id": entry.request_id,
    }
