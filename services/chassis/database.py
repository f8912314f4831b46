"""SQLite for all our services.

Write-ahead logging with synchronous=NORMAL: a commit survives the death of the process (kill -9), but not necessarily
of the machine. Each service has its own file and its own history of migrations (`services.chassis.migrations`).
"""

from __future__ import annotations

import importlib.resources
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from services.chassis.settings import SettingsError

BUSY_TIMEOUT_MS = 5_000
NEWEST_TABLES = "newest.sql"
"""What the migrations of a package make of an empty file. `make tables` writes it, beside them."""
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


def bring_up_to_date(path: Path, package: str) -> None:
    """Gives the SQLite file at `path` the newest tables of `package`.

    A new file gets them at once, from `newest.sql`. For one that has tables, a process of its own runs the
    migrations that they lack.

    Raises:
        SettingsError: the file is from a later release than this one.
        MigrationError: the migrations failed. They changed nothing.
    """
    newest = max(_revisions(package))
    revision = _revision_of(path)
    if revision == newest:
        return
    if revision > newest:
        raise SettingsError(
            f"{path} is from a later release of Spendgate (its tables are at {revision}, this release knows {newest}): "
            "start that release, or restore a copy from before the update"
        )
    if not revision and (_create_newest(path, package) or _revision_of(path) == newest):
        return
    command = (sys.executable, "-P", "-m", "services.chassis.migrations", package, str(path))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MigrationError(f"the migrations of {path} failed:\n{done.stderr.strip()}")


def _create_newest(path: Path, package: str) -> bool:
    """Creates the tables that all migrations together would make, unless the file has any table. Returns whether."""
    open_engine(path).dispose()
    script = (importlib.resources.files(package) / "migrations" / NEWEST_TABLES).read_text()
    timeout_s = BUSY_TIMEOUT_MS / 1_000
    with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
            return False
        # `executescript` would commit first.
        for statement in script.split(";\n"):
            connection.execute(statement)
        connection.execute("COMMIT")
    return True


class MigrationError(Exception):
    """Migrations failed. The text has what they wrote to standard error."""


def _revisions(package: str) -> list[str]:
    """The revisions of a package, by the names of their files: 0001_books.py."""
    folder = importlib.resources.files(package) / "migrations" / "versions"
    return [name.partition("_")[0] for name in (file.name for file in folder.iterdir()) if name[:1].isdigit()]


def _revision_of(path: Path) -> str:
    """The revision of a SQLite file; empty if it has no tables yet, or does not exist."""
    if not path.exists():
        return ""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1_000)) as connection:
        has_one = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.execute(has_one).fetchone() is None:
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _apply_pragmas(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        for pragma in PRAGMAS:
            connection.execute(pragma)
