"""Called by alembic, with the connection that `services.chassis.database.migrate` opened."""

from alembic import context

from services.chassis.database import run_migrations
from services.router.adapters.sql_configuration import METADATA

run_migrations(context.config.attributes["connection"], METADATA)
