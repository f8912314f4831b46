"""The promises of the store of entries, on which the use cases rely."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services.kernel.names import reservation_id
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_outbox import SqlEpochs, SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_settled_sums import SqlSettledSums
from services.ledger.adapters.sql_tables import entries, rollups
from services.ledger.domain.charge import charge_call
from services.ledger.domain.counting import Span, Taken
from services.ledger.domain.dropped import Direction, DroppedHeader
from services.ledger.domain.entry import Entry
from services.ledger.domain.settlement import Alert, Crossing
from services.ledger.domain.spooled import Booking, SpoolFile, UnreadableLine
from tests.worlds.spool_lines import EPOCH, NO_USAGE, attempt, call, no_room_for_checkpoints, open_database, price_of

FILE = SpoolFile(EPOCH, 42, f"{EPOCH}.jsonl", is_closed=False, size_bytes=900)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def store(database: Database) -> SqlEntries:
    return SqlEntries(database)


def entry(number: int = 1, **changed: Any) -> Entry:
    parsed = call(number, **changed)
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 1_795_464_001_000)


def crossing(sequence: int, basis_points: int = 8_000) -> Crossing:
    return Crossing(sequence, "p", "spend per month", "team=t", 1, basis_points, ("ops",), 2, 80, 100)


def test_an_entry_is_inserted_once_and_the_answer_says_which_were_new(store: SqlEntries) -> None:
    assert [each.id for each in store.book(Booking((entry(1), entry(2), entry(1))))] == [
        "reservation-1",
        "reservation-2",
    ]
    assert [each.id for each in store.book(Booking((entry(2), entry(3))))] == ["reservation-3"]


def test_each_column_keeps_the_field_of_its_name(store: SqlEntries, database: Database) -> None:
    shown = entry(1, flags="FI", policy="the-policy", features="tools", run="nightly", client_request_id="theirs")
    store.book(Booking((shown,)))

    with database.read() as connection:
        row = connection.execute(sa.select(entries)).mappings().one()
    for part in (shown.call, shown.call.caller, shown.charge.usage):
        named = {name: getattr(part, name) for name in row if hasattr(part, name)} | {"outcome": "completed"}
        as_they_are = named.keys() - {"chain", "meters"}
        assert {name: row[name] for name in as_they_are} == {name: named[name] for name in as_they_are}
    assert (row["id"], row["model_served"], row["usage_source"]) == ("reservation-1", "openai/gpt-4o", "provider")
    assert (row["chain"], row["prefix_1k"], row["prefix_4k"]) == ("openai/gpt-4o,lab/tiny", "0123456789abcdef", "")
    assert (row["epoch"], row["booked_ms"], row["settled_ms"]) == (EPOCH, 1_795_464_001_000, None)


def test_rollups_count_only_what_was_new(store: SqlEntries, database: Database) -> None:
    for booking in (Booking((entry(1), entry(2))), Booking((entry(2), entry(3)))):
        store.book(booking)

    with database.read() as connection:
        (row,) = connection.execute(sa.select(rollups)).all()
    assert (row.calls, row.input_tokens, row.output_tokens, row.cost_nano_usd) == (3, 3_000, 300, 10_500_000)
    assert (row.hour_ms, row.status, row.model_served) == (1_795_464_000_000, "2xx", "openai/gpt-4o")


def test_an_unknown_cost_is_null_and_counted_apart(store: SqlEntries, database: Database) -> None:
    store.book(Booking((entry(1, chain="lab/tiny"), entry(2, chain="lab/tiny"))))

    with database.read() as connection:
        (row,) = connection.execute(sa.select(rollups)).all()
        costs = set(connection.scalars(sa.select(entries.c.cost_nano_usd)))
    assert (row.cost_nano_usd, row.unpriced_calls, costs) == (0, 2, {None})


def test_a_booking_is_all_or_nothing(store: SqlEntries, database: Database) -> None:
    booking = Booking((entry(1),), (attempt(1),), ("request-9",), (UnreadableLine(0, 5, "bad"),), FILE, checkpoint=500)
    with no_room_for_checkpoints(database), pytest.raises(sa.exc.IntegrityError, match="disk full"):
        store.book(booking)

    assert store.checkpoints() == {}
    assert store.attempts_of(["request-1"]) == {}
    assert SqlOutbox(database).pending_releases(10) == []
    assert SqlReports(database).count_booked() == SqlReports(database).count_unreadable() == 0

    store.book(booking)
    assert store.checkpoints() == {FILE.identity: 500}
    assert SqlReports(database).count_booked() == SqlReports(database).count_unreadable() == 1


def test_a_checkpoint_follows_its_file_through_a_rename(store: SqlEntries) -> None:
    store.book(Booking(file=FILE, checkpoint=500))
    store.book(Booking(file=SpoolFile(EPOCH, 42, f"{EPOCH}.1.jsonl", is_closed=True, size_bytes=900), checkpoint=900))

    assert store.checkpoints() == {FILE.identity: 900}
    store.forget(FILE)
    assert store.checkpoints() == {}


def test_attempts_are_kept_once_each(store: SqlEntries) -> None:
    first, second = attempt(1, 1, status=500), attempt(1, 2)
    store.book(Booking(attempts=(second,)))
    store.book(Booking(attempts=(first, second)))

    # No column keeps what only spans need.
    kept = [each._replace(time_us=0) for each in (first, second)]
    assert store.attempts_of(["request-1", "request-2"]) == {"request-1": kept}


def test_a_large_booking_is_as_good_as_a_small_one(store: SqlEntries) -> None:
    booked = tuple(entry(number) for number in range(2_500))

    assert len(store.book(Booking(booked))) == 2_500
    assert store.book(Booking(booked)) == []


def test_settled_entries_leave_the_outbox_in_order(store: SqlEntries, database: Database) -> None:
    outbox = SqlOutbox(database)
    store.book(Booking((entry(1), entry(2, **NO_USAGE, status=500), entry(3, chain="lab/tiny"))))

    found = outbox.unsettled(10)
    assert [(each.reservation, each.cost_nano_usd, each.reported) for each in found] == [
        ("reservation-1", 3_500_000, True),
        ("reservation-2", 0, False),
        ("reservation-3", None, True),
    ]
    assert len(outbox.unsettled(2)) == 2

    outbox.mark_settled(["reservation-1", "unknown"], [], 5)
    assert [each.reservation for each in outbox.unsettled(10)] == ["reservation-2", "reservation-3"]
    assert outbox.count_unsettled() == 2


def test_settled_entries_are_found_among_many_by_their_ids(store: SqlEntries, database: Database) -> None:
    outbox = SqlOutbox(database)
    store.book(Booking((entry(1), entry(2), entry(3))))
    outbox.mark_settled(["reservation-1", "reservation-3"], [], 5)

    assert outbox.settled_of(["reservation-3", "unknown", "reservation-2"]) == {"reservation-3"}


def test_an_alert_is_unique_by_its_sequence_and_by_its_threshold(database: Database) -> None:
    outbox = SqlOutbox(database)
    assert outbox.last_crossing() == 0

    outbox.mark_settled([], [crossing(1), crossing(2, 9_000)], 5)
    outbox.mark_settled([], [crossing(2, 9_000), crossing(3)], 5)

    alerts = SqlReports(database).alerts(None, 10)
    assert [alert.crossing for alert in alerts if isinstance(alert, Alert)] == [crossing(2, 9_000), crossing(1)]
    assert outbox.last_crossing() == 2


def test_releases_wait_until_they_are_marked(store: SqlEntries, database: Database) -> None:
    outbox = SqlOutbox(database)
    store.book(Booking(released=("request-1", "request-2")))
    store.book(Booking(released=("request-2",)))

    assert sorted(outbox.pending_releases(10)) == ["request-1", "request-2"]
    outbox.mark_released(["request-1"])
    assert outbox.pending_releases(10) == ["request-2"]


def test_an_epoch_is_reported_until_it_is_cleared(database: Database) -> None:
    epochs = SqlEpochs(database)
    epochs.end("a-1795464000000", 100)
    epochs.end("a-1795464000000", 900)
    epochs.end("b-1795464000000", 200)

    epochs.clear(["a-1795464000000", "b-1795464000000"], ended_before_ms=150, now_ms=300)

    assert epochs.uncleared() == ["b-1795464000000"]
    assert epochs.ended() == {"a-1795464000000", "b-1795464000000"}


def test_two_threads_that_book_the_same_insert_it_once(store: SqlEntries, database: Database) -> None:
    booked = tuple(entry(number) for number in range(300))
    inserted: list[int] = []

    def work() -> None:
        inserted.extend(len(store.book(Booking(booked[at : at + 10]))) for at in range(0, 300, 10))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(inserted) == 300
    assert SqlReports(database).count_booked() == 300


HOUR_MS = 3_600_000
NOON_MS = 1_795_780_800_000


def admitted(number: int, at_ms: int, **changed: Any) -> Entry:
    return entry(number, reservation=reservation_id(at_ms, number.to_bytes(8, "big")), **changed)


def taken(database: Database, start_ms: int, end_ms: int, *, each_run: bool = False) -> list[Taken]:
    with SqlSettledSums(database).taken(Span(start_ms, end_ms, each_run)) as found:
        return list(found)


def settle_all(database: Database) -> None:
    outbox = SqlOutbox(database)
    outbox.mark_settled([each.reservation for each in outbox.unsettled(100)], [], 5)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "calls"),
    [
        (0, 253_402_300_799_000, 5),
        (NOON_MS, NOON_MS + HOUR_MS, 3),
        (NOON_MS, NOON_MS + 1, 1),
        (NOON_MS + 1, NOON_MS + HOUR_MS, 2),
        (NOON_MS + 1, NOON_MS + 60_000, 1),
        (NOON_MS - 1, NOON_MS + HOUR_MS + 1, 5),
        (NOON_MS - 1_800_000, NOON_MS + HOUR_MS, 4),
        (NOON_MS - HOUR_MS, NOON_MS + 1, 2),
        (NOON_MS + HOUR_MS + 1, NOON_MS + 9 * HOUR_MS, 0),
    ],
)
def test_settled_sums_are_exact_for_any_span_whole_hours_or_not(
    store: SqlEntries, database: Database, start_ms: int, end_ms: int, calls: int
) -> None:
    times_ms = [NOON_MS - 1, NOON_MS, NOON_MS + 1, NOON_MS + HOUR_MS - 1, NOON_MS + HOUR_MS]
    store.book(Booking(tuple(admitted(number, at_ms) for number, at_ms in enumerate(times_ms))))
    settle_all(database)

    assert [(each.calls, each.input_tokens) for each in taken(database, start_ms, end_ms)] == (
        [(calls, calls * 1_000)] if calls else []
    )


def test_settled_sums_count_once_what_was_reported_to_quota_and_nothing_else(
    store: SqlEntries, database: Database
) -> None:
    store.book(Booking((admitted(1, NOON_MS), admitted(2, NOON_MS, chain="lab/tiny"))))
    assert taken(database, 0, 2 * NOON_MS) == []
    settle_all(database)
    SqlOutbox(database).mark_settled([admitted(1, NOON_MS).id], [], 6)
    store.book(Booking((admitted(3, NOON_MS + 5),)))

    for span in ((0, 2 * NOON_MS), (NOON_MS, NOON_MS + 60_000)):
        (sums,) = taken(database, *span)
        assert (sums.calls, sums.cost_nano_usd, sums.unpriced_calls) == (2, 3_500_000, 1)
        assert (sums.team, sums.user, sums.model, sums.run) == ("data-science", "ada@example.com", "gpt-4o", "")


def test_runs_are_summed_apart_over_all_their_time_until_they_are_forgotten(
    store: SqlEntries, database: Database
) -> None:
    day_ms = 24 * HOUR_MS
    calls = [("old", 0), ("long", 0), ("long", 40), ("new", 40), (None, 40)]
    store.book(
        Booking(tuple(admitted(number, NOON_MS + day * day_ms, run=run) for number, (run, day) in enumerate(calls)))
    )
    settle_all(database)

    found = taken(database, 0, NOON_MS + 40 * day_ms + day_ms // 2, each_run=True)

    assert [(each.run, each.calls, each.last_ms) for each in found] == [
        ("long", 2, NOON_MS + 40 * day_ms),
        ("new", 1, NOON_MS + 40 * day_ms),
    ]


def test_the_limits_that_were_checked_are_remembered(database: Database) -> None:
    sums = SqlSettledSums(database)
    assert sums.checked_limits() == set()
    sums.set_checked_limits({"a", "b"})
    sums.set_checked_limits({"b", "c"})
    assert SqlSettledSums(database).checked_limits() == {"b", "c"}


DAY_MS = 86_400_000
SEEN_MS = 20_000 * DAY_MS + DAY_MS // 2


def lost(count: int = 1, start: int = 0, calls: int = 1) -> Counter[DroppedHeader]:
    names = (f"x-{number}" for number in range(start, start + count))
    return Counter({DroppedHeader("lab", Direction.REQUEST, name): calls for name in names})


def test_dropped_headers_are_added_up_over_seven_days_and_then_forgotten(store: SqlEntries, database: Database) -> None:
    reports = SqlReports(database)
    for days in (0, 0, 7):
        store.book(Booking(dropped=lost(calls=3), now_ms=SEEN_MS + days * DAY_MS))
    (header,) = lost()
    assert reports.dropped_headers(SEEN_MS + 7 * DAY_MS) == [(header, 9)]
    assert reports.dropped_headers(SEEN_MS + 8 * DAY_MS) == [(header, 3)]
    store.book(Booking(dropped=lost(), now_ms=SEEN_MS + 30 * DAY_MS))
    with database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM dropped_headers")) == 1


def test_very_many_names_of_headers_fill_no_table_and_known_ones_still_count(
    store: SqlEntries, database: Database
) -> None:
    for start in range(0, 2_000, 400):
        store.book(Booking(dropped=lost(400, start) + lost(), now_ms=SEEN_MS))
    with database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM dropped_headers")) == 500
    listed = SqlReports(database).dropped_headers(SEEN_MS)
    assert (len(listed), listed[0]) == (100, (next(iter(lost())), 6))
