"""Run by alembic: migrates over the connection that `services.chassis.migrations.migrate` hands over."""

from __future__ import annotations

from alembic import context

from services.chassis.migrations import run_migrations

run_migrations(context.config.attributes["connection"])
