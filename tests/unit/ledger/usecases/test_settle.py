from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.kernel.clock import ManualClock
from services.kernel.errors import Unavailable
from services.kernel.usage import Usage
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlEpochs
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.domain.call import Caller
from services.ledger.domain.entry import OverdueReservation
from services.ledger.domain.settlement import Crossing, Settlement
from services.ledger.domain.spooled import Booking
from services.ledger.usecases.expire import EPOCH_GRACE_MS, OVERDUE_SLACK_MS, Expire, Watermark
from services.ledger.usecases.settle import BATCH, Settle
from services.ledger.usecases.sweep import Sweep
from tests.worlds.spool_lines import EPOCH, attempt, book_of, call_fields, open_database, price_of, write_lines

STREAM_MS_MAX = 900_000


@dataclass
class FakeQuota:
    """A quota that can be down, and that knows all reservations but those of `unknown`."""

    down: bool = False
    unknown: set[str] = field(default_factory=set)
    batches: list[list[str]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    released_by_id: list[str] = field(default_factory=list)
    listed: list[OverdueReservation] = field(default_factory=list)
    asked: list[tuple[list[str], int | None]] = field(default_factory=list)

    def settle(self, settlements: Sequence[Settlement], crossings_after: int) -> tuple[set[str], list[Crossing]]:
        del crossings_after
        self._answer()
        ids = [each.reservation for each in settlements]
        self.batches.append(ids)
        return set(ids) - self.unknown, []

    def release(self, request_ids: Sequence[str]) -> None:
        self._answer()
        self.released.extend(request_ids)

    def open_after(self, reservation: str, limit: int) -> list[str]:
        self._answer()
        return [each.reservation for each in self.listed if each.reservation > reservation][:limit]

    def release_reservations(self, reservations: Sequence[str]) -> int:
        self._answer()
        count = len(self.listed)
        self.listed = [each for each in self.listed if each.reservation not in reservations]
        self.released_by_id.extend(reservations)
        return count - len(self.listed)

    def overdue(
        self, ended_epochs: Sequence[str], booked_through_ms: int | None, limit: int
    ) -> list[OverdueReservation]:
        self._answer()
        self.asked.append((list(ended_epochs), booked_through_ms))
        return self.listed[:limit]

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("quota does not answer")


@dataclass
class Desk:
    settle: Settle
    expire: Expire
    quota: FakeQuota
    database: Database
    folder: Path
    clock: ManualClock
    booked_through_ms: int | None = None

    def book(self, *numbers: int) -> None:
        write_lines(self.folder / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in numbers])
        book_of(self.folder, self.database).run_pass()

    def settle_a_call(self) -> None:
        """Books it as well. All lines are read then, so that what is open may be overdue."""
        self.booked_through_ms = 10_000_000
        self.book(1)
        self.settle.settle()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    database, quota, clock = open_database(tmp_path), FakeQuota(), ManualClock()
    books = SqlBooks(database)
    expire = Expire(
        books=books,
        quota=quota,
        sweep=Sweep(outbox=books, held=quota),
        price_of=price_of,
        watermark=Watermark(lambda: made.booked_through_ms, STREAM_MS_MAX),
        clock=clock,
    )
    made = Desk(Settle(outbox=books, quota=quota, clock=clock), expire, quota, database, tmp_path, clock)
    return made


def lost(**changed: str) -> OverdueReservation:
    return OverdueReservation(
        reservation=changed.get("reservation", "lost"),
        request_id="request-lost",
        caller=Caller("key_1", "ds-prod", "data-science", "", "prod", ""),
        model_requested="gpt-4o",
        chain=("lab/tiny", "openai/gpt-4o"),
        expected=Usage(900, 300),
        created_ms=1_795_464_000_000,
        dialect="openai",
        epoch=EPOCH,
        run=changed.get("run", ""),
    )


def test_everything_booked_is_sent_in_batches_and_sent_once(desk: Desk) -> None:
    desk.book(*range(BATCH + 1))

    assert desk.settle.settle() == BATCH + 1
    assert [len(batch) for batch in desk.quota.batches] == [BATCH, 1]
    assert desk.settle.settle() == 0


def test_what_quota_was_not_told_stays(desk: Desk) -> None:
    desk.book(1, 2)
    desk.quota.down = True
    with pytest.raises(Unavailable):
        desk.settle.settle()

    desk.quota.down = False

    assert desk.settle.settle() == 2


def test_a_reservation_that_quota_does_not_know_is_not_sent_for_ever(desk: Desk) -> None:
    desk.book(1, 2)
    desk.quota.unknown = {"reservation-1"}

    desk.settle.settle()

    assert desk.settle.settle() == 0


def test_releases_are_sent_until_they_got_through(desk: Desk) -> None:
    SqlEntries(desk.database).book(Booking(released=("request-1",)))
    desk.quota.down = True
    with pytest.raises(Unavailable):
        desk.settle.release()
    desk.quota.down = False

    assert (desk.settle.release(), desk.settle.release()) == (1, 0)
    assert desk.quota.released == ["request-1"]


def test_nothing_is_overdue_before_the_spool_was_read(desk: Desk) -> None:
    desk.quota.listed = [lost()]

    assert desk.expire() == 0
    assert desk.quota.asked == []


def test_quota_is_told_how_far_no_record_can_come_any_more(desk: Desk) -> None:
    desk.booked_through_ms = 10_000_000

    desk.expire()

    assert desk.quota.asked == [([], 10_000_000 - STREAM_MS_MAX - OVERDUE_SLACK_MS)]


def test_what_is_overdue_is_booked_as_expected_once_and_settled(desk: Desk) -> None:
    desk.booked_through_ms = 10_000_000
    desk.quota.listed = [lost()]

    # Until it is settled there is nothing more to do about it, and the caller need not hurry back.
    assert (desk.expire(), desk.expire()) == (1, 0)
    assert desk.settle.settle() == 1
    assert desk.quota.released_by_id == []

    call = SqlReports(desk.database).call("lost")
    assert call is not None
    # No attempt is on record, so the first target is taken to have had the request; it has no price.
    assert (call.model_served, call.usage_source, call.usage, call.cost_nano_usd) == (
        "lab/tiny",
        "estimated",
        Usage(900, 300),
        None,
    )


def test_what_is_overdue_and_settled_is_released_and_the_others_are_booked(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.settle_a_call()
    desk.quota.listed = [lost(reservation="reservation-1"), lost()]

    assert desk.expire() == 2

    assert desk.quota.released_by_id == ["reservation-1"]
    assert [each.reservation for each in desk.quota.listed] == ["lost"]
    assert "1 reservations were open although settled, first reservation-1; released" in caplog.messages
    assert SqlReports(desk.database).call("lost") is not None
    assert (desk.settle.settle(), desk.settle.settle()) == (1, 0)


def test_nobody_hurries_back_for_what_is_listed_and_cannot_be_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.settle_a_call()
    desk.quota.listed = [lost(reservation="reservation-1")]
    monkeypatch.setattr(desk.quota, "release_reservations", lambda _: 0)

    assert desk.expire() == 0


def test_an_ended_epoch_with_only_settled_calls_open_is_cleared(desk: Desk) -> None:
    epochs = SqlEpochs(desk.database)
    epochs.end(EPOCH, desk.clock.now_ms())
    desk.settle_a_call()
    desk.clock.advance(EPOCH_GRACE_MS + 1)
    desk.quota.listed = [lost(reservation="reservation-1")]

    assert (desk.expire(), desk.expire()) == (1, 0)
    assert epochs.uncleared() == []


def test_what_is_overdue_is_priced_at_the_last_target_that_was_tried(desk: Desk) -> None:
    desk.booked_through_ms = 10_000_000
    tried = (attempt(id="request-lost", status=500), attempt(attempt=2, id="request-lost", status=0))
    SqlEntries(desk.database).book(Booking(attempts=tried))
    desk.quota.listed = [lost()]

    desk.expire()

    call = SqlReports(desk.database).call("lost")
    assert call is not None
    assert (call.model_served, call.cost_nano_usd) == ("openai/gpt-4o", 900 * 2_500 + 300 * 10_000)


def test_an_ended_epoch_is_reported_until_quota_holds_nothing_of_it(desk: Desk) -> None:
    desk.booked_through_ms = 10_000_000
    epochs = SqlEpochs(desk.database)
    epochs.end(EPOCH, desk.clock.now_ms())

    desk.expire()
    assert epochs.uncleared() == [EPOCH]

    desk.clock.advance(EPOCH_GRACE_MS + 1)
    desk.quota.listed = [lost()]
    desk.expire()
    assert epochs.uncleared() == [EPOCH]

    desk.quota.listed = []
    desk.expire()
    assert epochs.uncleared() == []
    assert [epochs for epochs, _ in desk.quota.asked] == [[EPOCH]] * 3
