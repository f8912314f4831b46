"""The ledger's books in one database."""

from __future__ import annotations

from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlEpochs, SqlOutbox


class SqlBooks(SqlEntries, SqlOutbox, SqlEpochs):
    """Entries, the outbox and epochs together, as `ports.Books`."""
