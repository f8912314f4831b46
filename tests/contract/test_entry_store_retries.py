"""A request that an SDK repeats is one logical request in the books. Each entry names the one that it repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.selection import CallQuery, UsageQuery
from services.ledger.domain.spooled import Booking
from tests.worlds.spool_lines import EPOCH, call, open_database, price_of

BODY = "0f1e2d3c4b5a6978"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


def entry(number: int, retry: int, **changed: Any) -> Entry:
    fields = {
        "sdk_retry": str(retry),
        "body_print": BODY,
        "status": 503,
        "time": f"2026-11-23T20:0{number % 10}:00.000Z",
        **changed,
    }
    parsed = call(number, **fields)
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 1_795_464_001_000)


def repeated(database: Database, *bookings: tuple[Entry, ...]) -> dict[str, str]:
    """What each call repeats, by the ends of their ids."""
    store = SqlEntries(database)
    for each in bookings:
        store.book(Booking(each))
    calls = SqlReports(database).calls(CallQuery(), None, 100)
    return {call.id.rpartition("-")[2]: call.retry_of.rpartition("-")[2] for call in calls}


@pytest.mark.parametrize("batches", [1, 3])
def test_all_that_an_sdk_sends_for_one_request_names_the_first_call(database: Database, batches: int) -> None:
    sent = (entry(1, 0), entry(2, 1), entry(3, 2, status=200))
    found = repeated(database, sent) if batches == 1 else repeated(database, *((each,) for each in sent))

    assert found == {"1": "", "2": "1", "3": "1"}
    booked = {call.id: call for call in SqlReports(database).calls(CallQuery(), None, 100)}
    assert booked["reservation-1"].retries == 2
    assert booked["reservation-3"].retry_count == 2
    (sums,) = SqlReports(database).usage(UsageQuery((), (), None, None))
    assert (sums.calls, sums.retries) == (3, 2)
    assert sums.cost_nano_usd == sum(call.cost_nano_usd or 0 for call in booked.values())


def test_a_call_whose_client_left_before_an_answer_may_be_repeated(database: Database) -> None:
    assert repeated(database, (entry(1, 0, status=0), entry(2, 1)))["2"] == "1"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"body_print": "another body"}, {}),
        ({"key_id": "key_2"}, {}),
        ({"status": 200}, {}),
        ({"time": "2026-11-23T19:50:00.000Z"}, {}),
        ({"time": "2026-11-23T20:09:00.000Z"}, {}),
        ({"sdk_retry": "1"}, {}),
        ({}, {"sdk_retry": "0"}),
        ({}, {"sdk_retry": "many"}),
        ({}, {"sdk_retry": "99999999"}),
        ({"body_print": None}, {"body_print": None}),
    ],
    ids=[
        "another body",
        "another key",
        "an answer that nobody repeats",
        "too long ago",
        "later than the retry",
        "not sent before",
        "not said to be a retry",
        "no number",
        "an absurd number",
        "no print",
    ],
)
def test_what_only_looks_like_a_retry_is_a_request_of_its_own(
    database: Database, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert repeated(database, (entry(1, 0, **first), entry(2, 1, **second))) == {"1": "", "2": ""}


def test_booking_a_line_twice_counts_no_retry_twice(database: Database) -> None:
    sent = (entry(1, 0), entry(2, 1))
    repeated(database, sent, sent)

    (sums,) = SqlReports(database).usage(UsageQuery((), (), None, None))
    assert (sums.calls, sums.retries) == (2, 1)
