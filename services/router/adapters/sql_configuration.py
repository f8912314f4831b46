"""Keeps the configuration in SQLite: each resource as a JSON document of its fields, which is checked again on reading.

A document names the location of a secret, never the secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import sqlalchemy as sa

from services.chassis.audit import append_entries, audit_table
from services.chassis.documents import DocumentError, read_document, write_document
from services.chassis.requests import recall, remember, requests_table
from services.kernel.change import AuditEntry
from services.kernel.errors import InvalidInput
from services.kernel.repetition import Answered, Repeatable
from services.router.domain.backend import Backend
from services.router.domain.configuration import Configuration, check_configuration
from services.router.domain.drained import DrainedTarget
from services.router.domain.health import HealthMemory, LeftSlot, OutTarget
from services.router.domain.listener import Listener
from services.router.domain.model import Model
from services.router.domain.provider import Provider
from services.router.domain.switch import NamedSwitch, NotedLead

A = TypeVar("A")
T = TypeVar("T")

METADATA = sa.MetaData()


def _documents(name: str) -> sa.Table:
    return sa.Table(
        name,
        METADATA,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )


_PROVIDERS = _documents("providers")
_MODELS = _documents("models")
_LISTENERS = _documents("listeners")
_BACKENDS = _documents("backends")
_DRAINED = _documents("drained_targets")
_LEFT = _documents("left_slots")
_OUT = _documents("out_targets")
_LEADS = _documents("noted_leads")
_UNREPORTED = _documents("unreported_switches")
_MAX_UNREPORTED = 10_000

AUDIT = audit_table(METADATA)
_REQUESTS = requests_table(METADATA)


class SqlConfigurationStore:
    """The database of the router."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def load(self) -> Configuration:
        """Returns the configuration in force; at first an empty one.

        Raises:
            InvalidInput: this release does not accept the stored configuration.
        """
        with self._engine.connect() as connection:
            providers = [_parse(Provider, row) for row in _rows(connection, _PROVIDERS)]
            models = [_parse(Model, row) for row in _rows(connection, _MODELS)]
            listeners = [_parse(Listener, row) for row in _rows(connection, _LISTENERS)]
        return check_configuration(providers, models, listeners)

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """Returns the first request with this id and its answer; None if the id is new."""
        with self._engine.connect() as connection:
            return recall(connection, _REQUESTS, request, kind, now_ms)

    def save(
        self, configuration: Configuration, entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Replaces the configuration, adds its audit entries and remembers its request, in one transaction."""
        providers = {one.name: write_document(one) for one in configuration.providers}
        models = {one.name: write_document(one) for one in configuration.models}
        with self._engine.begin() as connection:
            _replace(connection, _PROVIDERS, providers)
            _replace(connection, _MODELS, models)
            _replace(connection, _LISTENERS, {one.name: write_document(one) for one in configuration.listeners})
            append_entries(connection, AUDIT, entries)
            if answered is not None:
                remember(connection, _REQUESTS, answered)

    def load_drained(self) -> tuple[DrainedTarget, ...]:
        """Returns the drained targets."""
        with self._engine.connect() as connection:
            return tuple(_parse(DrainedTarget, row) for row in _rows(connection, _DRAINED))

    def save_drained(
        self, drained: Sequence[DrainedTarget], entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Replaces the drained targets, adds audit entries and remembers the request, in one transaction."""
        with self._engine.begin() as connection:
            _replace(connection, _DRAINED, {one.name: write_document(one) for one in drained})
            append_entries(connection, AUDIT, entries)
            if answered is not None:
                remember(connection, _REQUESTS, answered)

    def load_noted_leads(self) -> tuple[NotedLead, ...]:
        """Returns the tiers that another slot leads than their choice, as last saved."""
        with self._engine.connect() as connection:
            return tuple(_parse(NotedLead, row) for row in _rows(connection, _LEADS))

    def load_health(self) -> HealthMemory:
        """Returns what was known of sick targets, as last saved."""
        with self._engine.connect() as connection:
            return HealthMemory(
                tuple(_parse(LeftSlot, row) for row in _rows(connection, _LEFT)),
                tuple(_parse(OutTarget, row) for row in _rows(connection, _OUT)),
            )

    def save_switches(self, switches: Sequence[NamedSwitch], leads: Sequence[NotedLead], health: HealthMemory) -> None:
        """Adds switches to report, and replaces the noted leads and the health, in one transaction."""
        with self._engine.begin() as connection:
            _replace(connection, _LEADS, {str(at): write_document(one) for at, one in enumerate(leads)})
            _replace(connection, _LEFT, {str(at): write_document(one) for at, one in enumerate(health.left)})
            _replace(connection, _OUT, {one.name: write_document(one) for one in health.out})
            _add(connection, _UNREPORTED, {one.id: write_document(one) for one in switches})
            if switches:
                newest = sa.select(_UNREPORTED.c.name).order_by(_UNREPORTED.c.name.desc()).limit(_MAX_UNREPORTED)
                connection.execute(sa.delete(_UNREPORTED).where(_UNREPORTED.c.name.not_in(newest)))

    def unreported_switches(self, limit: int) -> list[NamedSwitch]:
        """Returns switches that the ledger does not have, oldest first: their ids begin with their time."""
        with self._engine.connect() as connection:
            return [_parse(NamedSwitch, row) for row in _rows(connection, _UNREPORTED, limit)]

    def forget_switches(self, ids: Sequence[str]) -> None:
        """Forgets switches that the ledger has."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_UNREPORTED).where(_UNREPORTED.c.name.in_(ids)))

    def load_backends(self) -> tuple[Backend, ...]:
        """Returns the backends that requests may be using, as last saved."""
        with self._engine.connect() as connection:
            return tuple(_parse(Backend, row) for row in _rows(connection, _BACKENDS))

    def save_backends(self, backends: tuple[Backend, ...]) -> None:
        """Replaces the backends, in one transaction."""
        documents = {one.cluster.name: write_document(one) for one in backends}
        with self._engine.begin() as connection:
            _replace(connection, _BACKENDS, documents)


def _rows(connection: sa.Connection, table: sa.Table, limit: int | None = None) -> Iterable[tuple[str, str]]:
    for row in connection.execute(sa.select(table).order_by(table.c.name).limit(limit)):
        yield f"{table.name}[{row.name}]", row.document


def _parse(kind: type[T], row: tuple[str, str]) -> T:
    field, document = row
    try:
        return read_document(document, kind)
    except DocumentError as error:
        raise InvalidInput(f"database {field}", f"is damaged: {error}") from error


def _replace(connection: sa.Connection, table: sa.Table, documents: Mapping[str, str]) -> None:
    connection.execute(sa.delete(table))
    _add(connection, table, documents)


def _add(connection: sa.Connection, table: sa.Table, documents: Mapping[str, str]) -> None:
    if documents:
        rows = [{"name": name, "document": document} for name, document in documents.items()]
        connection.execute(sa.insert(table), rows)
