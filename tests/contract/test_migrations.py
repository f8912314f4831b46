"""Each service's migrations lead from nothing to exactly the tables that its code reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.ledger.adapters import sql_tables as ledger_tables
from services.quota.adapters import directory_tables as quota_tables
from services.router.adapters import sql_configuration as router_tables

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "services.quota": quota_tables.METADATA,
    "services.router": router_tables.METADATA,
    "services.ledger": ledger_tables.metadata,
}


@pytest.fixture(params=TABLES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path / "db" / "service.sqlite")
    yield engine
    engine.dispose()


def schema(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.scalars(sa.text("select sql from sqlite_master where sql is not null")))


def scripts_config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT.joinpath(*package.split("."), "migrations")))
    return config


def scripts(package: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(scripts_config(package))


def upgrade_to(engine: sa.Engine, package: str, revision: str) -> None:
    config = scripts_config(package)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_migrating_from_nothing_makes_the_tables_and_columns_that_the_code_names(
    package: str, engine: sa.Engine
) -> None:
    migrate(engine, package)

    made = sa.inspect(engine)
    named = {table.name: {column.name for column in table.columns} for table in TABLES[package].sorted_tables}
    assert named
    assert {table: {column["name"] for column in made.get_columns(table)} for table in named} == named


@pytest.mark.parametrize("package", ["services.router", "services.ledger"])
def test_where_the_code_declares_its_tables_in_full_they_are_made_so(package: str, engine: sa.Engine) -> None:
    migrate(engine, package)

    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), TABLES[package])

    assert differences == []


def test_migrating_again_changes_nothing(package: str, engine: sa.Engine) -> None:
    migrate(engine, package)
    before = schema(engine)

    migrate(engine, package)

    assert schema(engine) == before


def test_migrations_that_fail_on_their_way_change_nothing(package: str, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("create table audit_entries (in_the_way)"))
    before = schema(engine)

    with pytest.raises(sa.exc.OperationalError, match="audit_entries already exists"):
        migrate(engine, package)

    assert schema(engine) == before


def test_the_history_is_one_line_of_numbered_revisions(package: str) -> None:
    revisions = list(scripts(package).walk_revisions())

    assert len(scripts(package).get_heads()) == 1
    assert [revision.revision for revision in reversed(revisions)] == [
        f"{number:04d}" for number in range(1, len(revisions) + 1)
    ]
    assert all(Path(revision.path).name.startswith(f"{revision.revision}_") for revision in revisions)


def test_a_database_of_a_later_release_is_refused(package: str, engine: sa.Engine) -> None:
    migrate(engine, package)
    with engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))

    with pytest.raises(CommandError, match="9999"):
        migrate(engine, package)


@pytest.mark.parametrize(
    ("package", "table"), [("services.quota", "crossings"), ("services.ledger", "alerts")], ids=["quota", "ledger"]
)
def test_what_was_reported_before_kinds_were_told_apart_is_kept_and_still_reported_once(
    package: str, table: str, engine: sa.Engine
) -> None:
    def insert(sequence: int, kind: str) -> sa.TextClause:
        needed = {column["name"] for column in sa.inspect(engine).get_columns(table) if not column["nullable"]}
        names = sorted(needed | {"sequence"})
        values = {"sequence": str(sequence), "kind": f"'{kind}'"}
        columns, row = ", ".join(f'"{name}"' for name in names), ", ".join(values.get(name, "0") for name in names)
        return sa.text(f"insert into {table} ({columns}) values ({row})")  # noqa: S608  (names of our own columns)

    upgrade_to(engine, package, "0006")
    with engine.begin() as connection:
        connection.execute(insert(7, "overrun"))
    migrate(engine, package)

    with engine.begin() as connection:
        connection.execute(insert(8, "unpriced"))
        told = connection.execute(sa.text(f"select sequence, kind from {table} order by 1")).all()  # noqa: S608
    assert [tuple(row) for row in told] == [(7, "overrun"), (8, "unpriced")]
    with engine.begin() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.execute(insert(9, "unpriced"))


def test_what_earlier_calls_asked_is_not_guessed_and_going_back_adds_their_sums_up(engine: sa.Engine) -> None:
    package, keys = "services.ledger", "hour_ms, team, project, environment, user, key, model_requested, model_served"
    counts = "calls, input_tokens, cached_input_tokens, output_tokens, cost_nano_usd, unpriced_calls, retries"

    def add(calls: int, names: str = "", values: str = "") -> sa.TextClause:
        row = f"7, 'a', '', '', '', 'k', 'm', 'lab/m', '2xx', {calls}, 2, 3, 4, 5, 6, 7"
        return sa.text(f"insert into rollups ({keys}, status, {counts}{names}) values ({row}{values})")  # noqa: S608

    upgrade_to(engine, package, "0016")
    with engine.begin() as connection:
        connection.execute(add(10))
    migrate(engine, package)

    with engine.begin() as connection:
        connection.execute(add(5, ", operation", ", 'chat'"))
        sums = connection.execute(sa.text("select operation, calls, retries from rollups order by calls")).all()
    assert [tuple(row) for row in sums] == [("chat", 5, 7), ("", 10, 7)]
    config = scripts_config(package)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0016")
    with engine.begin() as connection:
        (row,) = connection.execute(sa.text("select calls, cost_nano_usd from rollups"))
    assert tuple(row) == (15, 10)


def test_the_previous_release_goes_on_adding_to_the_sums_of_calls(engine: sa.Engine) -> None:
    """It names no operation, so it adds to the row of the calls of which nobody recorded one."""
    migrate(engine, "services.ledger")
    names = [column["name"] for column in sa.inspect(engine).get_columns("rollups") if column["name"] != "operation"]
    columns = ", ".join(f'"{name}"' for name in names)
    statement = (
        f"insert into rollups ({columns}) values ({', '.join('1' for _ in names)}) "  # noqa: S608  (our own columns)
        "on conflict do update set calls = calls + excluded.calls"
    )
    for _ in range(2):
        with engine.begin() as connection:
            connection.execute(sa.text(statement))

    with engine.begin() as connection:
        (row,) = connection.execute(sa.text("select operation, calls from rollups"))
    assert tuple(row) == ("", 2)
