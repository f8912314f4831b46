"""Migrations: they create a service's tables and bring them up to date.

They run in a process of their own, which `services.chassis.database` starts when the tables are not up to date.
Alembic and what it needs take 20 MB, and no server needs them after its first second.
"""

from __future__ import annotations

import importlib.resources
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from services.chassis.database import open_engine


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


def run_migrations(connection: sa.Connection) -> None:
    """Runs the migrations. Called by the `env.py` of each service."""
    from alembic import context  # noqa: PLC0415  (alembic binds it only while it runs env.py)

    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Migrates the SQLite file that the second argument names for the package that the first one names."""
    package, path = sys.argv[1:]
    engine = open_engine(Path(path))
    migrate(engine, package)
    engine.dispose()


if __name__ == "__main__":
    main()
