from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.usage import MICRO, Line
from services.quota.adapters import sqlite_expectations
from services.quota.adapters.sqlite_expectations import SqliteExpectations
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import Guide


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    file = SqliteFile(tmp_path / "quota.sqlite")
    yield file
    file.close()


def test_what_was_learned_is_known_after_a_restart(file: SqliteFile) -> None:
    expectations = SqliteExpectations(file)
    assert expectations.get("key", "tiny") is None

    samples = [("tiny", Tokens(800, 80)), ("tiny", Tokens(0, 0)), ("huge", Tokens(1, 2))]
    expectations.learn([UsageSample("key", model, usage) for model, usage in samples])
    expectations.learn([])

    for each in (expectations, SqliteExpectations(file)):
        assert each.get("key", "tiny") == Tokens(700, 70)
        assert each.get("key", "huge") == Tokens(1, 2)


def test_what_texts_take_is_known_after_a_restart_of_the_key_and_of_all_keys(file: SqliteFile) -> None:
    expectations = SqliteExpectations(file)

    expectations.learn([UsageSample("key", "tiny", Tokens(250, 50), text_bytes=1_064, answer_text_bytes=200)])

    guide = Guide(50, Line(-16, 249_986), Line(0, MICRO // 4))
    for each in (expectations, SqliteExpectations(file)):
        assert each.guide("key", "tiny") == guide
        assert each.guide("another", "tiny") == guide
        assert each.guide("key", "huge") == Guide(None, None, None)
        assert each.get("another", "tiny") is None


def test_a_row_of_the_previous_release_knows_the_typical_call_only(file: SqliteFile) -> None:
    with file.writing() as connection:
        connection.execute(
            "INSERT INTO expectations (key_id, model, input_tokens, output_tokens) VALUES ('k', 'm', 9, 8)"
        )

    expectations = SqliteExpectations(file)

    assert expectations.get("k", "m") == Tokens(9, 8)
    assert expectations.guide("k", "m") == Guide(8, None, None)


def test_of_models_that_are_gone_the_first_makes_room(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_expectations, "MOST_MODELS", 2)
    expectations = SqliteExpectations(file)
    for model in ("a", "b", "c"):
        expectations.learn([UsageSample("key", model, Tokens(1, 1), text_bytes=9)])

    for each in (expectations, SqliteExpectations(file)):
        assert [each.guide("new", model).request is None for model in ("a", "b", "c")] == [True, False, False]
        assert each.get("key", "a") == Tokens(1, 1)


def test_the_pair_that_was_learned_first_makes_room(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_expectations, "MOST_PAIRS", 2)
    expectations = SqliteExpectations(file)
    for key in ("a", "b", "c"):
        expectations.learn([UsageSample(key, "tiny", Tokens(1, 1))])

    for each in (expectations, SqliteExpectations(file)):
        assert [each.get(key, "tiny") is None for key in ("a", "b", "c")] == [True, False, False]
