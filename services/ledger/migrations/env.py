"""Alembic runs this file to bring the ledger's tables up to date."""

from __future__ import annotations

from alembic import context

from services.chassis.database import run_migrations
from services.ledger.adapters.sql_tables import metadata

run_migrations(context.config.attributes["connection"], metadata)
