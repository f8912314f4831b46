"""The audit log of a service: a table in its own database, written in the transaction of each change.

Entries are only ever added. Each service's migrations create the table, and a test keeps table and code equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.type.v1 import audit_pb2, resource_kind_pb2, role_pb2

from services.chassis.enums import enum_texts
from services.chassis.paging import check_page_size, read_position, write_position
from services.chassis.well_known import read_timestamp, timestamp
from services.kernel.change import AuditAction, AuditEntry, ResourceKind, Role

# The numbers by the texts that the table keeps. A text of a later release has none.
_ACTIONS = enum_texts(audit_pb2.AuditEntry.Action, AuditAction)
_KINDS = enum_texts(resource_kind_pb2.ResourceKind, ResourceKind)
_ROLES = enum_texts(role_pb2.Role, Role)
# A resource's JSON can be long. A page of many such entries stays far below the size limit of a gRPC message.
_PAGE_CHARS = 2_000_000


def audit_table(metadata: sa.MetaData) -> sa.Table:
    """Adds the table to a service's own metadata."""
    return sa.Table(
        "audit_entries",
        metadata,
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("actor", "role", "action", "kind", "name", "reason", "before", "after", "request_id")
        ),
    )


def append_entries(connection: sa.Connection, table: sa.Table, entries: Sequence[AuditEntry]) -> None:
    """Adds entries, within the transaction of the change."""
    rows = [
        {
            "time_ms": entry.time_ms,
            "actor": entry.by.actor.name,
            "role": entry.by.actor.role,
            "action": entry.action,
            "kind": entry.kind,
            "name": entry.name,
            "reason": entry.by.reason,
            "before": entry.before,
            "after": entry.after,
            "request_id": entry.by.request_id,
        }
        for entry in entries
    ]
    if rows:
        connection.execute(sa.insert(table), rows)


class AuditRequest(Protocol):
    """The fields of every service's `ListAuditEntriesRequest`."""

    page_size: int
    page_token: str
    actor: str
    """Selects the changes by this actor. Empty: by anybody."""

    @property
    def start_time(self) -> Timestamp:
        """Selects the changes from this moment on. Unset, it is the start of 1970, and selects all."""
        ...


@dataclass(slots=True)
class AuditPage:
    """The fields of every service's `ListAuditEntriesResponse`."""

    audit_entries: list[audit_pb2.AuditEntry] = field(default_factory=list)
    """Newest first."""
    next_page_token: str = ""


class AuditLog:
    """Reads the log."""

    def __init__(self, engine: sa.Engine, table: sa.Table) -> None:
        self._engine = engine
        self._table = table

    def page(self, request: AuditRequest) -> AuditPage:
        """Returns one page, newest first.

        Raises:
            InvalidInput: the page size, the token or the start time is wrong.
        """
        size, before = check_page_size(request.page_size), read_position(request.page_token, count=1)
        columns = self._table.c
        query = sa.select(self._table).order_by(columns.sequence.desc()).limit(size + 1)
        if before:
            query = query.where(columns.sequence < before[0])
        if request.actor:
            query = query.where(columns.actor == request.actor)
        if start_ms := read_timestamp("start_time", request.start_time):
            query = query.where(columns.time_ms >= start_ms)
        page = AuditPage()
        chars, last = 0, 0
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if len(page.audit_entries) == size or chars > _PAGE_CHARS:
                    page.next_page_token = write_position([last])
                    break
                page.audit_entries.append(_message(row))
                last = row.sequence
                chars += len(row.before) + len(row.after)
        return page


def _message(row: Any) -> audit_pb2.AuditEntry:
    return audit_pb2.AuditEntry(
        change_time=timestamp(row.time_ms),
        actor=row.actor,
        role=_ROLES.get(row.role, role_pb2.ROLE_UNSPECIFIED),
        action=_ACTIONS.get(row.action, audit_pb2.AuditEntry.ACTION_UNSPECIFIED),
        kind=_KINDS.get(row.kind, resource_kind_pb2.RESOURCE_KIND_UNSPECIFIED),
        name=row.name,
        reason=row.reason,
        before=row.before,
        after=row.after,
        request_id=row.request_id,
    )
