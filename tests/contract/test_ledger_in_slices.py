"""However much there is to book and to settle, the ledger takes a little at a time, and each part is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.kernel.clock import ManualClock
from services.ledger.adapters.spool import BATCH_LINES_MAX
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_database import Database
from services.ledger.domain.entry import OverdueReservation
from services.ledger.domain.settlement import Crossing, Settlement
from services.ledger.usecases.settle import Settle
from tests.worlds.spool_lines import EPOCH, attempt_fields, book_of, call_fields, open_database, write_lines

CALLS = 1_000
# A call has at most its entry, its part of a rollup, and a line of its attempt.
ROWS = 3 * 128
COST = 1_000 * 2_500 + 100 * 10_000
"""Of each call."""


class Killed(BaseException):
    """The end of the process: nobody handles it."""


class ToldQuota:
    """A quota that remembers what it was told to settle."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def settle(self, settlements: Sequence[Settlement], crossings_after: int) -> tuple[set[str], list[Crossing]]:
        del crossings_after
        self.batches.append([each.reservation for each in settlements])
        return set(self.batches[-1]), []

    def release(self, request_ids: Sequence[str]) -> None:
        self.batches.append(list(request_ids))

    def overdue(
        self, ended_epochs: Sequence[str], booked_through_ms: int | None, limit: int
    ) -> list[OverdueReservation]:
        del ended_epochs, booked_through_ms, limit
        return []


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@contextmanager
def rows_of_transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The rows that each transaction changes: whoever else writes waits for it."""
    rows: list[int] = []
    real = Database.write

    @contextmanager
    def counted(database: Database) -> Iterator[sa.Connection]:
        with real(database) as connection:
            before = _changes(connection)
            yield connection
            rows.append(_changes(connection) - before)

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", counted)
        yield rows


def _changes(connection: sa.Connection) -> int:
    driver = connection.connection.driver_connection
    assert driver is not None
    return int(driver.total_changes)


def backlog(folder: Path) -> None:
    path = folder / "spool" / f"{EPOCH}.jsonl"
    write_lines(path, [fields for n in range(CALLS) for fields in (attempt_fields(n), call_fields(n))])


def test_a_backlog_is_booked_and_settled_a_few_rows_at_a_time(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog(tmp_path)
    quota = ToldQuota()
    settle = Settle(outbox=SqlBooks(database), quota=quota, clock=ManualClock())

    with rows_of_transactions(monkeypatch) as rows:
        assert book_of(tmp_path, database).run_pass() == 2 * CALLS
        assert settle.settle() == CALLS

    assert sum(rows) >= 3 * CALLS
    assert max(rows) <= ROWS
    assert max(map(len, quota.batches)) <= BATCH_LINES_MAX


def test_requests_without_a_reservation_are_released_a_few_at_a_time(tmp_path: Path, database: Database) -> None:
    never_left = [call_fields(n, reservation=None, status=0, attempts=0) for n in range(CALLS)]
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", never_left)
    book_of(tmp_path, database).run_pass()
    quota = ToldQuota()

    Settle(outbox=SqlBooks(database), quota=quota, clock=ManualClock()).release()

    assert sorted(each for batch in quota.batches for each in batch) == sorted(f"request-{n}" for n in range(CALLS))
    assert max(map(len, quota.batches)) <= BATCH_LINES_MAX


def test_a_ledger_that_dies_before_and_behind_every_commit_books_each_line_once(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog(tmp_path)
    real, deaths = Database.write, 0

    @contextmanager
    def deadly(database: Database) -> Iterator[sa.Connection]:
        nonlocal deaths
        deaths += 1
        with real(database) as connection:
            yield connection
            if deaths % 2:
                raise Killed
        raise Killed

    monkeypatch.setattr(Database, "write", deadly)
    for _ in range(4 * CALLS):
        with suppress(Killed):
            book_of(tmp_path, database).run_pass()
            break

    assert deaths == 2 * -(-2 * CALLS // BATCH_LINES_MAX)
    with database.read() as connection:
        booked = connection.exec_driver_sql("SELECT count(*), sum(cost_nano_usd) FROM entries").one()
        summed = connection.exec_driver_sql("SELECT sum(calls), sum(cost_nano_usd) FROM rollups").one()
        attempts = connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar()
    assert tuple(booked) == tuple(summed) == (CALLS, CALLS * COST)
    assert attempts == CALLS
