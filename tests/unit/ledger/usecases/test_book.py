from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from services.kernel.clock import ManualClock
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlEpochs, SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_tables import unreadable_lines
from services.ledger.domain.entry import BookedCall
from services.ledger.domain.selection import CallQuery
from services.ledger.usecases.book import WATERMARK_MARGIN_MS
from tests.worlds.spool_lines import (
    EPOCH,
    attempt_fields,
    book_of,
    call_fields,
    line,
    no_room_for_checkpoints,
    open_database,
    spool_of,
    write_lines,
)

LATER = "local-1795464000001"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


def live(folder: Path, epoch: str = EPOCH) -> Path:
    return folder / "spool" / f"{epoch}.jsonl"


def booked(database: Database) -> list[BookedCall]:
    return SqlReports(database).calls(CallQuery(), None, 1_000)


def test_a_call_is_booked_once_however_often_its_file_is_read(tmp_path: Path, database: Database) -> None:
    write_lines(live(tmp_path), [attempt_fields(), call_fields()])

    assert book_of(tmp_path, database).run_pass() == 2
    assert book_of(tmp_path, database).run_pass() == 0
    SqlEntries(database).forget(spool_of(tmp_path, ManualClock()).files()[0])
    assert book_of(tmp_path, database).run_pass() == 2

    (call,) = booked(database)
    assert (call.id, call.cost_nano_usd, call.usage_source) == ("reservation-1", 3_500_000, "provider")
    assert SqlReports(database).count_booked() == 1


def test_a_pass_takes_up_where_the_last_one_ended(tmp_path: Path, database: Database) -> None:
    book = book_of(tmp_path, database)
    write_lines(live(tmp_path), [call_fields(1)])
    assert book.run_pass() == 1

    write_lines(live(tmp_path), [call_fields(2)])

    assert book.run_pass() == 1
    assert {call.id for call in booked(database)} == {"reservation-1", "reservation-2"}


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 2)])
def test_attempts_join_their_call_in_whatever_order_they_come(
    tmp_path: Path, database: Database, order: tuple[int, ...]
) -> None:
    lines = [call_fields(attempts=2, chain="lab/tiny,openai/gpt-4o"), attempt_fields(attempt=1, status=500)]
    lines.append(attempt_fields(attempt=2))
    book = book_of(tmp_path, database)

    for at in order:
        write_lines(live(tmp_path), [lines[at]])
        book.run_pass()

    (call,) = booked(database)
    assert [(each.target, each.status, each.cost_nano_usd) for each in call.attempts] == [
        ("lab/tiny", 500, 0),
        ("openai/gpt-4o", 200, 3_500_000),
    ]


def test_a_timed_out_attempt_of_an_earlier_batch_is_charged_with_its_call(tmp_path: Path, database: Database) -> None:
    book = book_of(tmp_path, database)
    write_lines(live(tmp_path), [attempt_fields(attempt=1, status=0, flags="UT")])
    book.run_pass()
    write_lines(
        live(tmp_path), [attempt_fields(attempt=2), call_fields(attempts=2, chain="openai/gpt-4o,openai/gpt-4o")]
    )
    book.run_pass()

    (call,) = booked(database)
    expected = 900 * 2_500 + 300 * 10_000
    assert call.cost_nano_usd == 3_500_000 + expected
    assert [(each.cost_nano_usd, each.failure) for each in call.attempts] == [(expected, "timeout"), (3_500_000, "")]


def test_a_request_without_a_reservation_is_released_and_not_booked(tmp_path: Path, database: Database) -> None:
    write_lines(live(tmp_path), [call_fields(reservation=None, status=0, attempts=0)])

    book_of(tmp_path, database).run_pass()

    assert booked(database) == []
    assert SqlOutbox(database).pending_releases(10) == ["request-1"]


def test_a_reserved_request_that_never_left_is_booked_at_nothing_and_awaits_settlement(
    tmp_path: Path, database: Database
) -> None:
    refused = call_fields(attempts=0, status=503, details="lua_response", usage_status=None)
    write_lines(live(tmp_path), [refused])

    book_of(tmp_path, database).run_pass()

    (settlement,) = SqlOutbox(database).unsettled(10)
    assert (settlement.reservation, settlement.cost_nano_usd) == ("reservation-1", 0)
    assert booked(database)[0].model_served == ""


def test_unreadable_lines_are_kept_by_their_place(tmp_path: Path, database: Database) -> None:
    live(tmp_path).parent.mkdir()
    live(tmp_path).write_bytes(line(call_fields(1)) + b"{broken\n" + line(call_fields(2)))

    book_of(tmp_path, database).run_pass()

    with database.read() as connection:
        (row,) = connection.execute(sa.select(unreadable_lines)).all()
    assert (row.name, row.offset) == (live(tmp_path).name, len(line(call_fields(1))))
    assert "not JSON" in row.reason
    assert len(booked(database)) == 2
    assert SqlReports(database).count_unreadable() == 1


def test_everything_written_before_the_pass_is_booked_through(tmp_path: Path, database: Database) -> None:
    clock = ManualClock(1_000_000)
    book = book_of(tmp_path, database, clock)
    assert book.booked_through_ms is None

    book.run_pass()

    assert book.booked_through_ms == 1_000_000 - WATERMARK_MARGIN_MS


def test_an_interrupted_pass_proves_nothing(tmp_path: Path, database: Database) -> None:
    write_lines(live(tmp_path), [call_fields()])
    book = book_of(tmp_path, database)

    book.run_pass(stopping=lambda: True)

    assert book.booked_through_ms is None
    assert booked(database) == []


def test_a_failed_commit_moves_neither_the_checkpoint_nor_the_watermark(tmp_path: Path, database: Database) -> None:
    write_lines(live(tmp_path), [call_fields()])
    book = book_of(tmp_path, database)

    with no_room_for_checkpoints(database), pytest.raises(sa.exc.IntegrityError, match="disk full"):
        book.run_pass()
    assert (booked(database), book.booked_through_ms) == ([], None)

    assert book.run_pass() == 1
    assert len(booked(database)) == 1


def test_an_epoch_is_over_once_its_node_has_a_later_one_and_all_its_lines_are_booked(
    tmp_path: Path, database: Database
) -> None:
    epochs = SqlEpochs(database)
    book = book_of(tmp_path, database)
    write_lines(live(tmp_path), [call_fields(1)])
    book.run_pass()
    assert epochs.ended() == set()

    write_lines(live(tmp_path), [call_fields(2)])
    write_lines(live(tmp_path, LATER), [])
    book.run_pass()

    assert epochs.ended() == {EPOCH}
    assert epochs.uncleared() == [EPOCH]
    assert len(booked(database)) == 2


def test_rotation_loses_no_line_and_books_none_twice(tmp_path: Path, database: Database) -> None:
    book = book_of(tmp_path, database, file_bytes=4_096)
    for start in range(0, 50, 10):
        write_lines(live(tmp_path), [call_fields(number) for number in range(start, start + 10)])
        book.tidy()
        book.run_pass()

    assert len(booked(database)) == SqlReports(database).count_booked() == 50
    assert SqlEpochs(database).ended() == set()


def test_a_deleted_file_leaves_no_checkpoint_for_a_new_one_with_its_inode(tmp_path: Path, database: Database) -> None:
    clock = ManualClock(10**15)
    book = book_of(tmp_path, database, clock, keep_ms=0)
    write_lines(live(tmp_path), [call_fields(1)])
    write_lines(live(tmp_path, LATER), [call_fields(2)])
    book.run_pass()

    book.tidy()

    assert not live(tmp_path).exists()
    assert {epoch for epoch, _ in SqlEntries(database).checkpoints()} == {LATER}
