from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.database import migrate, open_engine
from services.quota.adapters import sqlite_expectations
from services.quota.adapters.sqlite_expectations import SqliteExpectations
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.estimate import Lesson, Tokens


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    file = SqliteFile(tmp_path / "quota.sqlite")
    yield file
    file.close()


def test_what_was_learnt_is_known_after_a_restart(file: SqliteFile) -> None:
    expectations = SqliteExpectations(file)
    assert expectations.get("key", "tiny") is None

    lessons = [("tiny", Tokens(800, 80)), ("tiny", Tokens(0, 0)), ("huge", Tokens(1, 2))]
    expectations.learn([Lesson("key", model, usage) for model, usage in lessons])
    expectations.learn([])

    for each in (expectations, SqliteExpectations(file)):
        assert each.get("key", "tiny") == Tokens(700, 70)
        assert each.get("key", "huge") == Tokens(1, 2)


def test_the_pair_that_was_learnt_first_makes_room(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_expectations, "_MOST", 2)
    expectations = SqliteExpectations(file)
    for key in ("a", "b", "c"):
        expectations.learn([Lesson(key, "tiny", Tokens(1, 1))])

    for each in (expectations, SqliteExpectations(file)):
        assert [each.get(key, "tiny") is None for key in ("a", "b", "c")] == [True, False, False]
