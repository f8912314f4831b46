from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.errors import InvalidInput
from services.kernel.preset import Preset
from services.router.adapters.sql_configuration import METADATA, SqlConfigurationStore
from services.router.domain.backend import backends_of, name_clusters
from services.router.domain.configuration import EMPTY, check_configuration
from services.router.domain.model import Condition, Fallback, Measure, Model, Term
from tests.worlds.router import budget, fallback, group, lab, vendor

SLOW = Condition((Term(Measure.ERROR_RATE, 2_000, 60), Term(Measure.LATENCY_P95, 8_000, 300)), all_terms=True)
WHOLE = check_configuration(
    [vendor(Preset.ANTHROPIC), replace(lab(), allowed_headers=("x-title",), stops_on_disconnect=True)],
    [
        Model(
            "claude",
            (group("anthropic/claude-sonnet-4-5", ("lab/x", 3)),),
            (fallback("lab/y", when=budget(7_500)), Fallback((group("lab/z"),), SLOW)),
            first_byte_timeout_ms=5_000,
        )
    ],
)
BACKENDS = backends_of(WHOLE.providers, name_clusters(WHOLE.providers, {}))


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = open_engine(tmp_path / "db" / "router.sqlite")
    migrate(engine, "services.router")
    return engine


def test_what_was_saved_is_loaded_and_replaced_as_a_whole(engine: sa.Engine) -> None:
    kept = SqlConfigurationStore(engine)
    assert (kept.load(), kept.load_backends()) == (EMPTY, ())
    kept.save(WHOLE, ())
    kept.save_backends(BACKENDS)
    again = SqlConfigurationStore(engine)
    assert again.load() == WHOLE
    assert again.load_backends() == BACKENDS
    again.save(EMPTY, ())
    again.save_backends(())
    assert (kept.load(), kept.load_backends()) == (EMPTY, ())


def test_the_migrations_make_the_tables_that_the_code_uses(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    for table in METADATA.tables.values():
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
    engine.dispose()


def test_a_damaged_document_is_an_error_that_names_it(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO providers VALUES ('lab', '{\"name\": 1}')"))
    with pytest.raises(InvalidInput, match=r"database providers\[lab\]"):
        SqlConfigurationStore(engine).load()


def test_documents_of_the_release_before_are_read(engine: sa.Engine) -> None:
    kept = SqlConfigurationStore(engine)
    kept.save(WHOLE, ())
    kept.save_backends(BACKENDS)
    with engine.begin() as connection:
        for table, path in (("providers", "$.allowed_headers"), ("backends", "$.cluster.allowed_headers")):
            connection.execute(sa.text(f"UPDATE {table} SET document = json_remove(document, '{path}')"))  # noqa: S608
    assert {provider.allowed_headers for provider in kept.load().providers} == {()}
    assert {backend.cluster.allowed_headers for backend in kept.load_backends()} == {()}


def test_a_document_that_lets_a_credential_pass_is_refused_again_when_read(engine: sa.Engine) -> None:
    SqlConfigurationStore(engine).save(WHOLE, ())
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE providers SET document = replace(document, 'x-title', 'set-cookie')"))
    with pytest.raises(InvalidInput, match="set-cookie carries a credential"):
        SqlConfigurationStore(engine).load()


def test_a_document_that_names_a_forbidden_address_is_refused_again_when_read(engine: sa.Engine) -> None:
    SqlConfigurationStore(engine).save(WHOLE, ())
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE providers SET document = replace(document, '127.0.0.1', '169.254.169.254')"))
    with pytest.raises(InvalidInput, match="metadata service"):
        SqlConfigurationStore(engine).load()
