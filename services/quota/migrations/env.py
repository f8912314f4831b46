"""Run by alembic: migrates over the connection that `services.chassis.database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from services.chassis.database import run_migrations

run_migrations(context.config.attributes["connection"])
