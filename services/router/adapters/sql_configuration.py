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
from services.router.domain.model import Model
from services.router.domain.provider import Provider

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
_BACKENDS = _documents("backends")
_DRAINED = _documents("drained_targets")

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
        return check_configuration(providers, models)

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

    def load_backends(self) -> tuple[Backend, ...]:
        """Returns the backends that requests may be using, as last saved."""
        with self._engine.connect() as connection:
            return tuple(_parse(Backend, row) for row in _rows(connection, _BACKENDS))

    def save_backends(self, backends: tuple[Backend, ...]) -> None:
        """Replaces the backends, in one transaction."""
        documents = {one.cluster.name: write_document(one) for one in backends}
        with self._engine.begin() as connection:
            _replace(connection, _BACKENDS, documents)


def _rows(connection: sa.Connection, table: sa.Table) -> Iterable[tuple[str, str]]:
    for row in connection.execute(sa.select(table).order_by(table.c.name)):
        yield f"{table.name}[{row.name}]", row.document


def _parse(kind: type[T], row: tuple[str, str]) -> T:
    field, document = row
    try:
        return read_document(document, kind)
    except DocumentError as error:
        raise InvalidInput(f"database {field}", f"is damaged: {error}") from error


def _replace(connection: sa.Connection, table: sa.Table, documents: Mapping[str, str]) -> None:
    connection.execute(sa.delete(table))
    if documents:
        rows = [{"name": name, "document": document} for name, document in documents.items()]
        connection.execute(sa.insert(table), rows)
