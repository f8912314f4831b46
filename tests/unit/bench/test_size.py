"""A quota and a ledger are as large as the bench says, so that its figures are about those sizes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.chassis.process import SystemClock
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.domain.selection import CallQuery, Dimension, UsageQuery
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from tests.bench.size import tables
from tests.bench.size.checks import GROUPS, Cost
from tests.bench.size.ledger import LedgerCost, fill
from tests.bench.size.quota import Quota, Size, check_message
from tests.worlds.spool_lines import engine_of, open_database


def opened(folder: Path) -> SqliteCounters:
    return SqliteCounters(SqliteFile(folder / "quota.sqlite"))


@pytest.mark.parametrize("limits", [1, 2, 3, 20])
def test_as_many_limits_apply_to_a_call_as_the_size_says(limits: int, tmp_path: Path) -> None:
    quota = Quota(Size(keys=3, teams=2, limits=limits), tmp_path)

    quota.answer(check_message(1))

    assert len(list(opened(tmp_path).counters_at(SystemClock().now_ms()))) == limits


def test_reservations_that_are_open_stay_open_when_what_came_later_is_settled(tmp_path: Path) -> None:
    quota = Quota(Size(keys=3, open=40), tmp_path)
    for number in range(3):
        quota.answer(check_message(number))
    assert opened(tmp_path).open_count() == 43

    assert quota.settle_admitted() > 0
    assert opened(tmp_path).open_count() == 40


def test_a_filled_ledger_has_its_calls_in_every_report(tmp_path: Path) -> None:
    fill(tmp_path / "db" / "ledger.sqlite", 2_000)
    database = open_database(tmp_path)
    reports = SqlReports(database)

    by_team = reports.usage(UsageQuery((Dimension.TEAM,), (), None, None))
    page = reports.calls(CallQuery(filter=((Dimension.TEAM, "team-7"),)), None, 500)
    assert reports.count_booked() == 2_000
    assert [sums.calls for sums in by_team] == [100] * 20
    assert len(page) == 100
    assert {len(each.attempts) for each in page} == {1}
    assert sum(sums.cost_nano_usd for sums in by_team) == sum(
        each.cost_nano_usd or 0 for each in reports.calls(CallQuery(), None, 2_000)
    )
    engine_of(database).dispose()


def test_a_filled_ledger_has_the_tables_and_indexes_of_a_fresh_one(tmp_path: Path) -> None:
    def schema(folder: Path) -> set[tuple[str, str]]:
        with sqlite3.connect(folder / "db" / "ledger.sqlite") as connection:
            found = set(connection.execute("SELECT name, sql FROM sqlite_master"))
        connection.close()
        return found

    engine_of(open_database(tmp_path / "fresh")).dispose()
    fill(tmp_path / "filled" / "db" / "ledger.sqlite", 10)

    assert schema(tmp_path / "filled") == schema(tmp_path / "fresh")


def test_each_group_of_sizes_gets_a_table_with_its_base_first() -> None:
    for group in GROUPS:
        costs = [Cost(size, check_us=[100.0, 110.0], settle_us=[50.0]) for size in group.sizes]
        costs[-1].check_us = [200.0, 220.0]

        rows = tables.of_quota(group, costs).splitlines()[4:]

        assert "1.00x (1.00 to 1.00)" in rows[0]
        assert "2.00x (2.00 to 2.00)" in rows[-1]


def test_ledgers_stand_side_by_side() -> None:
    costs = [LedgerCost(calls, calls / 1_024, took_ms={"a report": [1.0, 3.0]}) for calls in (1_024, 1_048_576)]

    table = tables.of_ledger(costs)

    assert "| a report | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 3.00) |" in table
    assert "| bytes a call | 1,024 | 1,024 |" in table
