from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.chassis.database import open_engine
from services.chassis.requests import forget, forget_actors, recall, remember, requests_table
from services.kernel.errors import InvalidInput
from services.kernel.repetition import KEPT_MS, MOST_KEPT, MOST_OF_ONE_ACTOR, Answered, Repeatable, read_request_id

METADATA = sa.MetaData()
REQUESTS = requests_table(METADATA)
ADA, BOB = "platform::ada", "team-admin:ds:bob"


@dataclass(frozen=True, slots=True)
class Names:
    """An answer."""

    names: tuple[str, ...]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path / "service.sqlite")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def request(number: int, actor: str = ADA, *, salt: bytes = b"\x01" * 32) -> Repeatable:
    return Repeatable(str(uuid.UUID(int=number, version=4)), actor, "Create", b"\x00\xff" * 16, salt)


def keep(engine: sa.Engine, *requests: Repeatable, at_ms: int = 1) -> None:
    with engine.begin() as connection:
        for each in requests:
            remember(connection, REQUESTS, Answered(each, Names((each.id,)), at_ms))


def find(engine: sa.Engine, asked: Repeatable, at_ms: int = 1) -> Answered[Names] | None:
    with engine.connect() as connection:
        return recall(connection, REQUESTS, asked, Names, at_ms)


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(REQUESTS)) or 0


def test_a_request_is_remembered_with_its_answer_and_its_first_salt(engine: sa.Engine) -> None:
    keep(engine, request(1))

    assert find(engine, request(1, salt=b"\x02" * 32)) == Answered(request(1), Names((request(1).id,)), 1)
    assert find(engine, request(2)) is None


def test_what_was_answered_with_text_is_remembered_too(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        remember(connection, REQUESTS, Answered(request(1), 'key_1 "quoted"', 1))
        first = recall(connection, REQUESTS, request(1), str, 1)

    assert first is not None
    assert first.answer == 'key_1 "quoted"'


@pytest.mark.parametrize("other", [("id", BOB, "Create", b"\x00\xff" * 16), ("id", ADA, "Rotate", b"\x00\xff" * 16)])
def test_somebody_elses_request_and_another_method_are_refused(
    engine: sa.Engine, other: tuple[str, str, str, bytes]
) -> None:
    keep(engine, request(1))

    with pytest.raises(InvalidInput, match="belongs to another request"):
        find(engine, Repeatable(request(1).id, *other[1:], b""))


def test_a_change_that_is_rolled_back_is_not_remembered(engine: sa.Engine) -> None:
    with closing(engine.connect()) as connection:
        remember(connection, REQUESTS, Answered(request(1), Names(()), 1))
        connection.rollback()

    assert find(engine, request(1)) is None


def test_an_id_is_kept_for_a_day_and_can_then_be_used_again(engine: sa.Engine) -> None:
    keep(engine, request(1), at_ms=1)

    assert find(engine, request(1), KEPT_MS) is not None
    assert find(engine, request(1), KEPT_MS + 1) is None
    keep(engine, request(1, BOB), at_ms=KEPT_MS + 1)
    assert find(engine, request(1, BOB), KEPT_MS + 1) is not None


def test_of_two_processes_with_one_id_the_second_is_let_down_by_the_primary_key(engine: sa.Engine) -> None:
    keep(engine, request(1))

    with pytest.raises(sa.exc.IntegrityError):
        keep(engine, request(1))


def test_many_requests_of_one_actor_push_out_its_oldest_and_nobody_elses(engine: sa.Engine) -> None:
    keep(engine, request(1, BOB))
    keep(engine, *(request(number) for number in range(2, MOST_OF_ONE_ACTOR + 4)))

    assert count(engine) == MOST_OF_ONE_ACTOR + 1
    assert find(engine, request(1, BOB)) is not None
    assert [find(engine, request(number)) is not None for number in (2, 3, 4, MOST_OF_ONE_ACTOR + 3)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_million_ids_take_a_bounded_place(engine: sa.Engine) -> None:
    """Stands for a million: the table already has as many as it may."""
    rows = [
        {
            "id": request(number).id,
            "actor": f"platform::{number % 100}",
            "method": "Create",
            "digest": b"",
            "salt": b"",
            "answer": '""',
            "create_ms": number,
        }
        for number in range(MOST_KEPT)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(REQUESTS), rows)

    keep(engine, *(request(MOST_KEPT + number, f"platform::new-{number}") for number in range(50)), at_ms=MOST_KEPT)

    assert count(engine) == MOST_KEPT
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.min(REQUESTS.c.create_ms))) == 50


def test_a_forgotten_salt_is_not_in_the_file_any_more(engine: sa.Engine, tmp_path: Path) -> None:
    salts = [bytes([number]) * 31 + b"!" for number in (65, 66)]
    keep(engine, request(1, salt=salts[0]), at_ms=1)
    keep(engine, request(2, BOB, salt=salts[1]), at_ms=1 + KEPT_MS // 2)

    def kept() -> list[bool]:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return [salt in (tmp_path / "service.sqlite").read_bytes() for salt in salts]

    assert kept() == [True, True]
    with engine.begin() as connection:
        forget(connection, REQUESTS, 1 + KEPT_MS)
    assert kept() == [False, True]
    with engine.begin() as connection:
        forget_actors(connection, REQUESTS, [BOB])
    assert kept() == [False, False]


@pytest.mark.parametrize("text", ["6F1A52A0-0C1A-4F6E-8B1C-2A3B4C5D6E7F", "6f1a52a0-0c1a-4f6e-8b1c-2a3b4c5d6e7f"])
def test_an_id_is_the_same_in_either_case(text: str) -> None:
    assert read_request_id(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "00000000-0000-0000-0000-000000000000",
        "6f1a52a00c1a4f6e8b1c2a3b4c5d6e7f",
        "{6f1a52a0-0c1a-4f6e-8b1c-2a3b4c5d6e7f}",
        "6f1a52a0-0c1a-1f6e-8b1c-2a3b4c5d6e7f",
        "6f1a52a0-0c1a-4f6e-8b1c-2a3b4c5d6e7f\n",
        "x" * 10_000,
    ],
)
def test_what_is_no_random_uuid_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(InvalidInput, match="UUID of version 4") as refused:
        read_request_id(text)

    assert refused.value.field == "request_id"
    assert len(str(refused.value)) < 250
