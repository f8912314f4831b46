"""Spool lines as Envoy writes them, and the little that the ledger's tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.clock import ManualClock
from services.kernel.price import Price
from services.ledger.adapters.spool import SpoolFolder, SpoolLimits
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_database import Database
from services.ledger.domain.call import SpooledAttempt, SpooledCall, parse_line
from services.ledger.domain.traced import Traced
from services.ledger.usecases.book import Book
from tests.worlds.flat_price import flat_price

EPOCH = "local-1795464000000"
PRICE = flat_price(input_price=2_500_000, output=10_000_000, cached_input=1_250_000)
"""GPT-4o's: $2.50, $1.25 cached, $10 per million tokens."""


def call_fields(number: int = 1, **changed: Any) -> dict[str, Any]:
    """Fields of a call of 1000 input and 100 output tokens that its first target served."""
    fields: dict[str, Any] = {
        "kind": "call",
        "v": 1,
        "time": "2026-11-23T20:00:00.123Z",
        "id": f"request-{number}",
        "status": 200,
        "flags": None,
        "details": "via_upstream",
        "duration_ms": 850,
        "first_byte_ms": 120,
        "cluster": "openai.openai",
        "attempts": 1,
        "bytes_sent": 1_200,
        "method": "POST",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "client_request_id": None,
        "sdk_retry": "0",
        "usage_status": "1",
        "input_tokens": "1000",
        "output_tokens": "100",
        "cached_tokens": None,
        "cache_creation_tokens": None,
        "reasoning_tokens": None,
        "response_model": "gpt-4o-2024-08-06",
        "reservation": f"reservation-{number}",
        "key_id": "key_1",
        "key": "ds-prod",
        "team": "data-science",
        "project": "forecasting",
        "environment": "prod",
        "user": "ada@example.com",
        "tags": "feature=search",
        "run": None,
        "model": "gpt-4o",
        "decision": "allow",
        "policy": "ds-prod",
        "chain": "openai/gpt-4o,lab/tiny",
        "expected_input_tokens": 900,
        "expected_output_tokens": 300,
        "held_output_tokens": 4096,
        "dialect": "openai",
        "stream": False,
        "features": None,
        "body_bytes": 4_000,
        "prefix_1k": "0123456789abcdef",
        "body_print": f"{number:016x}",
    }
    return {**fields, **changed}


NO_USAGE: dict[str, Any] = {"usage_status": None, "input_tokens": None, "output_tokens": None}


def attempt_fields(number: int = 1, attempt: int = 1, **changed: Any) -> dict[str, Any]:
    """Fields of an attempt that was answered with 200."""
    fields: dict[str, Any] = {
        "kind": "attempt",
        "v": 1,
        "time": "2026-11-23T20:00:00.130Z",
        "id": f"request-{number}",
        "attempt": str(attempt),
        "status": 200,
        "flags": "-",
        "details": "via_upstream",
        "duration_ms": 800,
        "first_byte_ms": 110,
        "cluster": "openai.openai",
        "failure": None,
    }
    return {**fields, **changed}


def call(number: int = 1, **changed: Any) -> SpooledCall:
    parsed = parse_line(call_fields(number, **changed))
    assert isinstance(parsed, SpooledCall)
    return parsed


def attempt(number: int = 1, attempt: int = 1, **changed: Any) -> SpooledAttempt:
    parsed = parse_line(attempt_fields(number, attempt, **changed))
    assert isinstance(parsed, SpooledAttempt)
    return parsed


def line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.writelines(line(fields) for fields in lines)


def price_of(target: str, _time_ms: int) -> Price | None:
    """Only openai/gpt-4o has a price."""
    return PRICE if target == "openai/gpt-4o" else None


def open_database(folder: Path) -> Database:
    engine = open_engine(folder / "db" / "ledger.sqlite")
    migrate(engine, "services.ledger")
    return Database(engine)


def engine_of(database: Database) -> sa.Engine:
    """The engine of a database."""
    with database.read() as connection:
        return connection.engine


@contextmanager
def no_room_for_checkpoints(database: Database) -> Iterator[None]:
    """Bookings fail within the block when all but their checkpoint was written: the transaction is half done."""
    with database.write() as connection:
        full = "BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        connection.execute(sa.text(f"CREATE TRIGGER full {full}"))
    yield
    with database.write() as connection:
        connection.execute(sa.text("DROP TRIGGER full"))


class NoTraces:
    """Traces that nobody receives."""

    def emit(self, traced: Traced) -> None:
        del traced


def no_reopen() -> None:
    """An Envoy that reopens its logs at once, and writes nothing yet."""


def spool_of(folder: Path, clock: ManualClock, **limits: int) -> SpoolFolder:
    return SpoolFolder(folder / "spool", folder / "logs" / "refused.jsonl", SpoolLimits(**limits), no_reopen, clock)


def book_of(folder: Path, database: Database, clock: ManualClock | None = None, **limits: int) -> Book:
    clock = clock or ManualClock()
    return Book(
        spool=spool_of(folder, clock, **limits),
        books=SqlBooks(database),
        price_of=price_of,
        traces=NoTraces(),
        clock=clock,
    )
