"""Whatever comes in whatever order, however often: each call is booked once and the sums are those of the entries."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kernel.clock import ManualClock
from services.kernel.usage import UsageSource
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_entries import SqlEntries
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_tables import entries, rollups
from services.ledger.domain.charge import charge_call
from services.ledger.domain.selection import SUM_DIMENSIONS, UsageQuery
from tests.worlds.spool_lines import (
    EPOCH,
    NO_USAGE,
    attempt,
    attempt_fields,
    book_of,
    call,
    call_fields,
    line,
    open_database,
    price_of,
    spool_of,
)

SUMMED = ("input_tokens", "cached_input_tokens", "output_tokens", "cost_nano_usd")
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ENDINGS: list[dict[str, Any]] = [
    {},
    {"cached_tokens": "900", "reasoning_tokens": "90"},
    {"input_tokens": "0", "output_tokens": "0"},
    {**NO_USAGE, "status": 500},
    {**NO_USAGE, "status": 504, "flags": "UT"},
    {**NO_USAGE, "flags": "DC", "stream": True, "bytes_sent": 5_000},
    {**NO_USAGE, "status": 0, "flags": "DC", "attempts": 0},
    {"chain": "lab/tiny"},
    {"attempts": 2, "chain": "openai/gpt-4o,openai/gpt-4o"},
]
CALL_LINES = st.builds(
    lambda number, ending, team, hour: call_fields(
        number, **ending, team=team, time=f"2026-11-23T{hour:02d}:59:59.999Z"
    ),
    st.integers(1, 8),
    st.sampled_from(ENDINGS),
    st.sampled_from(["a", "b", None]),
    st.integers(0, 2),
)
ATTEMPT_LINES = st.builds(
    lambda number, which, status, flags: attempt_fields(number, which, status=status, flags=flags),
    st.integers(1, 8),
    st.integers(1, 2),
    st.sampled_from([200, 500, 0]),
    st.sampled_from([None, "UT", "UF"]),
)
LINES = st.lists(
    st.one_of(CALL_LINES.map(line), ATTEMPT_LINES.map(line), st.sampled_from([b"{broken\n", b"\n", b"[]\n"])),
    max_size=40,
)


@contextmanager
def scratch() -> Iterator[tuple[Path, Database]]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), open_database(Path(folder))


def assert_sums_are_those_of_the_entries(database: Database) -> None:
    with database.read() as connection:
        (of_entries,) = connection.execute(
            sa.select(sa.func.count(), *(sa.func.coalesce(sa.func.sum(entries.c[name]), 0) for name in SUMMED))
        ).all()
        (of_rollups,) = connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(rollups.c.calls), 0),
                *(sa.func.coalesce(sa.func.sum(rollups.c[name]), 0) for name in SUMMED),
            )
        ).all()
        unpriced = connection.scalar(sa.select(sa.func.count()).where(entries.c.cost_nano_usd.is_(None)))
    assert tuple(of_rollups) == tuple(of_entries)
    for dimension in SUM_DIMENSIONS:
        rows = SqlReports(database).usage(UsageQuery((dimension,), (), None, None))
        assert sum(row.calls for row in rows) == of_entries[0]
        assert sum(row.cost_nano_usd for row in rows) == of_entries[4]
        assert sum(row.unpriced_calls for row in rows) == unpriced


@FEW
@given(lines=LINES, cuts=st.lists(st.integers(0, 40), max_size=5), replays=st.integers(0, 2))
def test_any_history_read_in_any_pieces_and_replayed_books_each_call_once(
    lines: list[bytes], cuts: list[int], replays: int
) -> None:
    with scratch() as (folder, database):
        path = folder / "spool" / f"{EPOCH}.jsonl"
        path.parent.mkdir()
        start = 0
        for cut in [*sorted(min(cut, len(lines)) for cut in cuts), len(lines)]:
            with path.open("ab") as stream:
                stream.writelines(lines[start:cut])
            start = cut
            book_of(folder, database).run_pass()
        with database.read() as connection:
            before = connection.execute(sa.select(entries).order_by(entries.c.sequence)).all()
        for _ in range(replays):
            for file in spool_of(folder, ManualClock()).files():
                SqlEntries(database).forget(file)
            book_of(folder, database).run_pass()
        with database.read() as connection:
            after = connection.execute(sa.select(entries).order_by(entries.c.sequence)).all()

        assert after == before
        assert {row.id for row in after} == {
            f"reservation-{number}"
            for number in range(9)
            if any(b'"reservation-%d"' % number in each for each in lines)
        }
        assert_sums_are_those_of_the_entries(database)


@given(
    changed=st.sampled_from(ENDINGS),
    hung=st.lists(st.sampled_from(["UT", "UF", "UC", None]), max_size=3),
    bytes_sent=st.integers(0, 10**9),
)
def test_a_charge_is_never_below_nothing_and_unknown_is_never_zero(
    changed: dict[str, Any], hung: list[str | None], bytes_sent: int
) -> None:
    parsed = call(**{**changed, "bytes_sent": bytes_sent})
    attempts = [attempt(1, at, status=0, flags=flags) for at, flags in enumerate(hung, start=1)]

    charge = charge_call(parsed, attempts, price_of)

    if charge.source is UsageSource.NONE:
        assert (charge.cost_nano_usd, charge.usage.total_tokens) == (0, 0)
    if charge.cost_nano_usd is None:
        assert "lab/tiny" in parsed.chain
    else:
        assert charge.cost_nano_usd >= sum(part.cost_nano_usd or 0 for part in charge.unanswered)
    assert charge.usage.output_tokens <= parsed.held_output_tokens * (1 + len(charge.unanswered))


@given(payload=st.binary(max_size=300).filter(lambda content: b"\n" not in content))
@FEW
def test_no_line_whatever_it_holds_stops_the_lines_around_it(payload: bytes) -> None:
    with scratch() as (folder, database):
        path = folder / "spool" / f"{EPOCH}.jsonl"
        path.parent.mkdir()
        path.write_bytes(line(call_fields(1)) + payload + b"\n" + line(call_fields(2)))

        book_of(folder, database).run_pass()

        assert SqlReports(database).count_booked() == 2
        assert SqlReports(database).count_unreadable() == (1 if payload.strip() else 0)
