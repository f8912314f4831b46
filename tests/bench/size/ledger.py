"""What a ledger of many calls costs: its file, its reports, and the booking of one more batch.

The calls are copies of one that was really booked, made by SQLite itself: spread over a month, over 200 keys of 20
teams and 5 models, each with an attempt. Every column that is not named below keeps its booked value.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from services.kernel.price import Price
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_tables import attempts, entries, rollups
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.rollup import HOUR_MS
from services.ledger.domain.selection import CallQuery, Dimension, UsageQuery
from services.ledger.domain.spooled import Booking
from tests.worlds.spool_lines import EPOCH, PRICE, attempt, call, engine_of, open_database

BATCH = 500
"""Calls that are booked at once, as the ledger books a busy tenth of a second."""
TIMES = 7
"""How often each question is asked, and a batch booked."""
_MONTH_MS = 30 * 24 * HOUR_MS
_CHUNK = 500_000
"""Calls that are written in one statement."""
_CACHE_KIB = 1_000_000
_START_MS = 1_793_491_200_000
"""2026-11-01 in UTC."""

# What differs between the copies, as SQL over the number `i` of a call and the number `n` of all calls.
_TIME_MS = f"{_START_MS} + CAST(i * {float(_MONTH_MS)} / n AS INTEGER)"
_CHANGED = {
    "id": f"'rsv_' || printf('%012x%016x', {_TIME_MS}, i)",
    "request_id": "lower(hex(randomblob(16)))",
    "trace_id": "lower(hex(randomblob(16)))",
    "span_id": "lower(hex(randomblob(8)))",
    "body_print": "lower(hex(randomblob(8)))",
    "time_ms": _TIME_MS,
    "admitted_ms": _TIME_MS,
    "booked_ms": _TIME_MS,
    "settled_ms": _TIME_MS,
    "key_id": "'key_' || (i % 200)",
    "key": "'key-' || (i % 200)",
    "team": "'team-' || (i % 20)",
    "model_requested": "'model-' || (i % 5)",
    "cost_nano_usd": "1000000 + i % 1000",
}
_STATUS = "CASE status WHEN 0 THEN 'none' ELSE (status / 100) || 'xx' END"


@dataclass(slots=True)
class LedgerCost:
    """What a ledger of one size costs. Milliseconds of CPU time, one value for each time."""

    calls: int
    file_mib: float = 0.0
    build_s: float = 0.0
    took_ms: dict[str, list[float]] = field(default_factory=dict)
    """By what was done."""


def measure(calls: int) -> LedgerCost:
    """Builds a ledger of so many calls, and uses it."""
    cost = LedgerCost(calls)
    with TemporaryDirectory(prefix="spendgate-size-") as folder:
        began_s = time.monotonic()
        file = Path(folder) / "db" / "ledger.sqlite"
        fill(file, calls)
        cost.build_s = time.monotonic() - began_s
        cost.file_mib = file.stat().st_size / 2**20
        with _opened(Path(folder)) as database:
            for what, question in {**_reports(SqlReports(database)), **_booking(SqlBooks(database))}.items():
                # The first time reads the file into the machine's memory.
                cost.took_ms[what] = [_cpu_ms(question, turn) for turn in range(1 + TIMES)][1:]
    return cost


def fill(file: Path, calls: int) -> None:
    """Writes a ledger of so many settled calls."""
    with _opened(file.parent.parent) as database:
        SqlBooks(database).book(_batch(range(1)))
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    for first in range(0, calls, _CHUNK):
        connection.execute(_copies(), {"first": first, "end": min(first + _CHUNK, calls), "n": float(calls)})
    connection.execute("DELETE FROM entries WHERE sequence = 1")
    connection.execute("DELETE FROM rollups")
    connection.execute(_attempts())
    connection.execute(_rolled_up())
    for _, statement in indexes:
        connection.execute(statement)
    connection.close()


def _copies() -> str:
    kept = [column.name for column in entries.c if column.name != "sequence"]
    names = ", ".join(f'"{name}"' for name in kept)
    values = ", ".join(_CHANGED.get(name, f'"{name}"') for name in kept)
    return (
        f"INSERT INTO entries ({names}) WITH RECURSIVE numbers(i, n) AS (SELECT :first, :n UNION ALL"  # noqa: S608
        f" SELECT i + 1, n FROM numbers WHERE i + 1 < :end) SELECT {values} FROM numbers, entries WHERE sequence = 1"
    )


def _attempts() -> str:
    kept = [column.name for column in attempts.c if column.name not in {"request_id", "time_ms"}]
    names = ", ".join(f'"{name}"' for name in kept)
    values = ", ".join(f'a."{name}"' for name in kept)
    # In the order of its key, so that its pages are written once.
    return (
        f"INSERT INTO attempts (request_id, time_ms, {names}) SELECT e.request_id, e.time_ms, {values}"  # noqa: S608
        " FROM entries AS e, (SELECT * FROM attempts LIMIT 1) AS a ORDER BY 1"
    )


def _rolled_up() -> str:
    taken = {
        "hour_ms": f"time_ms - time_ms % {HOUR_MS}",
        "status": _STATUS,
        "calls": "count(*)",
        "unpriced_calls": "0",
        "retries": "0",
    }
    keys = [column.name for column in rollups.primary_key]
    names = [column.name for column in rollups.c]
    values = [taken.get(name, f'"{name}"' if name in keys else f'sum("{name}")') for name in names]
    listed = ", ".join(f'"{name}"' for name in names)
    groups = ", ".join(str(number) for number, name in enumerate(names, 1) if name in keys)
    return f"INSERT INTO rollups ({listed}) SELECT {', '.join(values)} FROM entries GROUP BY {groups}"  # noqa: S608


def _reports(reports: SqlReports) -> dict[str, Callable[[int], object]]:
    """Questions that people ask, each with the number of the time that it is asked."""
    last_day_ms = _START_MS + _MONTH_MS - 24 * HOUR_MS
    some = reports.calls(CallQuery(start_ms=_START_MS + _MONTH_MS // 2, oldest_first=True), None, 1 + TIMES)
    team = ((Dimension.TEAM, "team-7"),)
    return {
        "spend of the month by team": lambda _: reports.usage(
            UsageQuery((Dimension.TEAM,), (), _START_MS, _START_MS + _MONTH_MS)
        ),
        "spend of a team by day and model": lambda _: reports.usage(
            UsageQuery((Dimension.DAY, Dimension.MODEL), team, _START_MS, _START_MS + _MONTH_MS)
        ),
        "spend of the last day by key": lambda _: reports.usage(UsageQuery((Dimension.KEY,), (), last_day_ms, None)),
        "newest 100 calls": lambda _: reports.calls(CallQuery(), None, 100),
        "newest 100 calls of a team": lambda _: reports.calls(CallQuery(filter=team), None, 100),
        "one call by its request id": lambda turn: reports.call(some[turn].request_id),
        "number of all calls": lambda _: reports.count_booked(),
    }


def _booking(books: SqlBooks) -> dict[str, Callable[[int], object]]:
    """What the ledger does all the time."""

    def settle(_turn: int) -> None:
        books.mark_settled([each.reservation for each in books.unsettled(BATCH)], (), _START_MS)

    return {
        f"booking of {BATCH} calls": lambda turn: books.book(_batch(range((turn + 1) * BATCH, (turn + 2) * BATCH))),
        f"settling of {BATCH} calls": settle,
    }


def _batch(numbers: range) -> Booking:
    calls = [call(number, id=f"request-{number:08x}", reservation=_reservation(number)) for number in numbers]
    made = [Entry(each, charge_call(each, (), _price_of), EPOCH, each.time_ms) for each in calls]
    tried = tuple(attempt(number, id=f"request-{number:08x}") for number in numbers)
    return Booking(entries=tuple(made), attempts=tried)


def _reservation(number: int) -> str:
    return f"rsv_{_START_MS:012x}{number:016x}f"


def _price_of(_target: str, _time_ms: int) -> Price:
    return PRICE


def _cpu_ms(question: Callable[[int], object], turn: int) -> float:
    began_s = time.thread_time()
    question(turn)
    return (time.thread_time() - began_s) * 1_000


@contextmanager
def _opened(folder: Path) -> Iterator[Database]:
    database = open_database(folder)
    try:
        yield database
    finally:
        engine_of(database).dispose()
