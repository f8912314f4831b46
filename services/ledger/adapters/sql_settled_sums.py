"""Sums of calls settled with quota: running sums for whole hours, entries for the rest of a span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from services.kernel.window import WindowRule, WindowUnit
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import checked_limits
from services.ledger.domain.counting import Span, Taken
from services.ledger.domain.rollup import HOUR_MS

_RUN = WindowRule(WindowUnit.RUN)
_FORGET_LIMITS = sa.delete(checked_limits)
_KEEP_LIMIT = sa.insert(checked_limits)
_SUMS = "sum(calls), sum(input_tokens), sum(output_tokens), sum(cost_nano_usd), sum(unpriced_calls), max(hour_ms)"
_OF_ENTRIES = (
    'SELECT team, project, environment, "user", "key", model_requested, 1, input_tokens, output_tokens,'
    " coalesce(cost_nano_usd, 0), cost_nano_usd IS NULL, admitted_ms FROM entries"
    " WHERE settled_ms IS NOT NULL AND admitted_ms >= ? AND admitted_ms < ?"
)
_TAKEN = f"""
    SELECT team, project, environment, "user", "key", model, '', {_SUMS} FROM (
        SELECT team, project, environment, "user", "key", model, calls, input_tokens, output_tokens, cost_nano_usd,
            unpriced_calls, hour_ms FROM settled_sums WHERE hour_ms >= ? AND hour_ms < ?
        UNION ALL {_OF_ENTRIES} UNION ALL {_OF_ENTRIES}
    ) GROUP BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608  (our own texts)
_TAKEN_OF_RUNS = f"""
    SELECT team, project, environment, "user", "key", model, run, {_SUMS} FROM settled_sums
    WHERE run != '' AND run IN (SELECT run FROM settled_sums WHERE run != '' AND hour_ms >= ?)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608  (our own texts)


class SqlSettledSums:
    """Reads the sums, as `ports.SettledSums`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def taken(self, span: Span) -> Iterator[Iterator[Taken]]:
        """Yields the totals of calls with the same properties, each combination once."""
        with self._database.read() as connection:
            rows = (
                connection.exec_driver_sql(_TAKEN_OF_RUNS, (_RUN.remembered_since_ms(span.end_ms - 1),))
                if span.each_run
                else connection.exec_driver_sql(_TAKEN, _bounds(span))
            )
            yield (Taken(*row) for row in rows)

    def checked_limits(self) -> set[str]:
        """Returns the names of limits whose counters were once set to match the entries."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(checked_limits.c.name)))

    def set_checked_limits(self, names: set[str]) -> None:
        """Replaces that list of names."""
        with self._database.write() as connection:
            connection.execute(_FORGET_LIMITS)
            if names:
                connection.execute(_KEEP_LIMIT, [{"name": name} for name in sorted(names)])


def _bounds(span: Span) -> tuple[int, ...]:
    """Returns the bounds of the whole hours within the span, of the part before them, and of the part after them."""
    first, last = -(-span.start_ms // HOUR_MS) * HOUR_MS, span.end_ms // HOUR_MS * HOUR_MS
    if first >= last:
        return 0, 0, span.start_ms, span.end_ms, 0, 0
    return first, last, span.start_ms, first, last, span.end_ms
