"""The ledger tells chats from other calls, in its sums and in single calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.kernel.errors import InvalidInput
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.selection import SUM_DIMENSIONS, CallQuery, Dimension, UsageQuery, parse_filter
from services.ledger.domain.spooled import Booking
from tests.worlds.spool_lines import EPOCH, call, open_database, price_of


def entry(number: int, **changed: Any) -> Entry:
    parsed = call(number, **changed)
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 1_795_464_001_000)


@pytest.fixture
def reports(tmp_path: Path) -> SqlReports:
    database = open_database(tmp_path)
    booked = (entry(1), entry(2), entry(3, operation="embeddings"), entry(4, operation="count_tokens"))
    SqlEntries(database).book(Booking(booked))
    return SqlReports(database)


def test_sums_and_calls_are_told_apart_by_what_was_asked_of_the_model(reports: SqlReports) -> None:
    sums = reports.usage(UsageQuery((Dimension.OPERATION,), (), None, None))
    assert sorted((row.values[0], row.calls) for row in sums) == [("chat", 2), ("count_tokens", 1), ("embeddings", 1)]

    chosen = parse_filter("operation=embeddings", SUM_DIMENSIONS)
    assert [row.calls for row in reports.usage(UsageQuery((), chosen, None, None))] == [1]
    assert [(each.id, each.operation) for each in reports.calls(CallQuery(chosen), None, 10)] == [
        ("reservation-3", "embeddings")
    ]


def test_an_operation_that_does_not_exist_is_refused_and_never_found_empty() -> None:
    with pytest.raises(InvalidInput, match="'embedings' is no operation: those are chat, embeddings"):
        parse_filter("operation=embedings", SUM_DIMENSIONS)
