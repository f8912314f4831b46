"""The ledger's database: many readers, one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


class Database:
    """Hands out transactions over one engine.

    SQLite allows one writer. Threads of this process queue here, in order, instead of polling for its lock.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = threading.Lock()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: commits at the end of the block, rolls back when the block raises."""
        with self._writer, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading."""
        with self._engine.connect() as connection:
            yield connection
