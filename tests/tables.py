"""Writes `newest.sql` for each service: what its migrations make of an empty file.

A new data directory gets its tables from there, without running the migrations one by one.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from services.chassis.database import NEWEST_TABLES, open_engine
from services.chassis.migrations import migrate

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("services.quota", "services.router", "services.ledger")


def file_of(package: str) -> Path:
    """The script of a package."""
    return ROOT.joinpath(*package.split("."), "migrations", NEWEST_TABLES)


def newest_tables(package: str) -> str:
    """What the migrations of a package make of an empty file, as a script."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.sqlite"
        engine = open_engine(path)
        migrate(engine, package)
        engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            statements = [line for line in connection.iterdump() if line not in {"BEGIN TRANSACTION;", "COMMIT;"}]
    # SQLAlchemy leaves a blank behind the comma of each column.
    statements = [line.rstrip() for statement in statements for line in statement.splitlines()]
    return "\n".join(["-- Written by `make tables`. Do not edit.", *statements, ""])


def main() -> None:
    """Writes all of them."""
    for package in PACKAGES:
        file_of(package).write_text(newest_tables(package))


if __name__ == "__main__":
    main()
