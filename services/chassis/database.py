"""SQLite for all our services, and the migrations that create its tables.

Write-ahead logging with synchronous=NORMAL: a commit survives the death of the process (kill -9), but not necessarily
of the machine. Each service has its own file and its own history of migrations.
"""

from __future__ import annotations

import importlib.resources
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

BUSY_TIMEOUT_MS = 5_000
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    # Let the log grow to 16 MB before a checkpoint instead of 4 MB: fewer stalls under steady writes.
    "PRAGMA wal_autocheckpoint=4000",
)


def open_engine(path: Path) -> sa.Engine:
    """Opens the SQLite file at `path`. Creates it with mode 0600 if it does not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)
    # A database error goes to the log without the values of its statement.
    engine = sa.create_engine(f"sqlite:///{path}", hide_parameters=True)
    sa.event.listen(engine, "connect", _apply_pragmas)
    return engine


def migrate(engine: sa.Engine, package: str) -> None:
    """Brings the tables up to date with the newest revision in `<package>/migrations`, in one transaction.

    Raises:
        alembic.util.CommandError: the database is from a later release than this one.
    """
    with importlib.resources.as_file(importlib.resources.files(package) / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        with engine.begin() as connection:
            # Python's driver begins a transaction before it changes rows, but not before it changes tables.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def run_migrations(connection: sa.Connection, metadata: sa.MetaData | None = None) -> None:
    """Runs the migrations. Called by the `env.py` of each service."""
    from alembic import context  # noqa: PLC0415  (alembic binds it only while it runs env.py)

    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def _apply_pragmas(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        for pragma in PRAGMAS:
            connection.execute(pragma)
