"""The ledger's tables. `migrations` creates them; a test keeps the two equal.

Times are milliseconds since 1970 UTC, money is nano-USD, prices are pico-USD per token. Absent text is empty. Numbers
are NULL only where NULL means "unknown".
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from services.chassis.audit import audit_table
from services.chassis.requests import requests_table

metadata = sa.MetaData()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _defaulted(name: str, kind: type[sa.types.TypeEngine[Any]], value: str) -> sa.Column[Any]:
    """A column that a later release added. Rows that the previous release writes get its default."""
    return sa.Column(name, kind, nullable=False, server_default=value)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


entries = sa.Table(
    "entries",
    metadata,
    # Ascending in booking order, never reused: tails follow it.
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    _text("request_id"),
    _text("epoch"),
    _number("time_ms"),
    _number("duration_ms"),
    _number("first_byte_ms"),
    _number("booked_ms"),
    sa.Column("settled_ms", sa.BigInteger),
    _number("status"),
    _text("flags"),
    _text("details"),
    _text("key_id"),
    _text("key"),
    _text("team"),
    _text("project"),
    _text("environment"),
    _text("user"),
    _text("tags"),
    _text("run"),
    _text("model_requested"),
    _text("model_served"),
    _text("response_model"),
    _text("chain"),
    _number("attempts"),
    _text("decision"),
    _text("policy"),
    _text("dialect"),
    sa.Column("stream", sa.Boolean, nullable=False),
    _text("features"),
    _number("body_bytes"),
    _number("bytes_sent"),
    _text("prefix_1k"),
    _text("prefix_4k"),
    _text("prefix_16k"),
    _text("prefix_64k"),
    _text("trace_id"),
    _text("span_id"),
    _text("client_request_id"),
    _text("sdk_retry"),
    _defaulted("body_print", sa.Text, ""),
    # Id of the first entry that this one repeats.
    _defaulted("retry_of", sa.Text, ""),
    # `services.ledger.domain.outcome.Outcome`. Empty in entries of earlier releases.
    _defaulted("outcome", sa.Text, ""),
    _text("usage_source"),
    _number("input_tokens"),
    _number("cached_input_tokens"),
    _number("cache_write_5m_tokens"),
    _number("cache_write_1h_tokens"),
    _number("output_tokens"),
    _number("reasoning_tokens"),
    # All meters of the call as JSON, including those of the columns above. Empty in entries of the previous release.
    _defaulted("meters", sa.Text, ""),
    _defaulted("service_tier", sa.Text, ""),
    # NULL: a target that worked has no price.
    sa.Column("cost_nano_usd", sa.BigInteger),
    # The most that the call can have taken; -1 when unbounded. NULL: its usage is known.
    sa.Column("most_cost_nano_usd", sa.BigInteger),
    sa.Column("most_input_tokens", sa.BigInteger),
    sa.Column("most_output_tokens", sa.BigInteger),
    # Bytes of text that were seen of a streamed answer.
    _defaulted("answer_text_bytes", sa.BigInteger, "0"),
    # Names joined by commas, in the form of `AdmissionKey`.
    _defaulted("unknown_members", sa.Text, ""),
    _defaulted("price_options", sa.Text, ""),
    # When quota admitted the call. The entry's id says so too.
    _number("admitted_ms"),
    sa.Index("entries_by_time", "time_ms"),
    sa.Index("entries_by_admission", "admitted_ms"),
    sa.Index("entries_by_request", "request_id"),
    sqlite_autoincrement=True,
)
# The outbox: entries that quota does not know yet. Partial, so that it stays small.
sa.Index("entries_unsettled", entries.c.sequence, sqlite_where=entries.c.settled_ms.is_(None))

# Calls that an SDK may repeat: without an answer, or with one that invites a retry. Both are partial, to stay small.
sa.Index(
    "entries_repeatable",
    entries.c.body_print,
    entries.c.time_ms,
    sqlite_where=sa.not_(entries.c.status.between(200, 399)),
)
sa.Index("entries_retries", entries.c.retry_of, sqlite_where=entries.c.retry_of != "")

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    _number("time_ms"),
    _number("status"),
    _text("flags"),
    _text("details"),
    _number("duration_ms"),
    _number("first_byte_ms"),
    _text("cluster"),
    _text("failure"),
    sqlite_with_rowid=False,
)

unanswered_attempts = sa.Table(
    "unanswered_attempts",
    metadata,
    sa.Column("entry_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    _text("target"),
    _number("input_tokens"),
    _number("output_tokens"),
    sa.Column("cost_nano_usd", sa.BigInteger),
    sqlite_with_rowid=False,
)

rollups = sa.Table(
    "rollups",
    metadata,
    sa.Column("hour_ms", sa.BigInteger, primary_key=True),
    sa.Column("team", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("model_requested", sa.Text, primary_key=True),
    sa.Column("model_served", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    _number("calls"),
    _number("input_tokens"),
    _number("cached_input_tokens"),
    _number("output_tokens"),
    _number("cost_nano_usd"),
    _number("unpriced_calls"),
    _defaulted("retries", sa.BigInteger, "0"),
    sqlite_with_rowid=False,
)

# Entries settled with quota, by the hour (UTC) in which their calls were admitted.
settled_sums = sa.Table(
    "settled_sums",
    metadata,
    sa.Column("hour_ms", sa.BigInteger, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("team", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    _number("calls"),
    _number("input_tokens"),
    _number("output_tokens"),
    # Counts only calls of known cost.
    _number("cost_nano_usd"),
    _number("unpriced_calls"),
    sqlite_with_rowid=False,
)
sa.Index("settled_sums_by_run", settled_sums.c.run, sqlite_where=settled_sums.c.run != "")

# Limits whose counters were once compared with the entries. A later difference is drift.
checked_limits = sa.Table("checked_limits", metadata, sa.Column("name", sa.Text, primary_key=True))

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("epoch", sa.Text, primary_key=True),
    sa.Column("inode", sa.BigInteger, primary_key=True),
    _text("name"),
    _number("offset"),
)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("epoch", sa.Text, primary_key=True),
    _number("ended_ms"),
    # NULL: quota may still hold a reservation of this epoch.
    sa.Column("cleared_ms", sa.BigInteger),
)

unreadable_lines = sa.Table(
    "unreadable_lines",
    metadata,
    sa.Column("epoch", sa.Text, primary_key=True),
    sa.Column("inode", sa.BigInteger, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    _text("name"),
    _number("size_bytes"),
    _text("reason"),
    _number("seen_ms"),
)

# Headers that were dropped, by the day (UTC) on which their calls were booked.
dropped_headers = sa.Table(
    "dropped_headers",
    metadata,
    sa.Column("day_ms", sa.BigInteger, primary_key=True),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("direction", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _number("calls"),
    sqlite_with_rowid=False,
)

releases = sa.Table("releases", metadata, sa.Column("request_id", sa.Text, primary_key=True))

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("policy"),
    _text("limit"),
    _text("scope"),
    _number("window_start_ms"),
    _number("basis_points"),
    sa.Column("notify", sa.JSON, nullable=False),
    _number("crossed_ms"),
    _number("settled"),
    _number("bound"),
    sa.Column("delivered_ms", sa.BigInteger),
    sa.Column("kind", sa.Text, nullable=False, server_default="threshold"),
    sa.Column("excess", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("call", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("policy", "limit", "scope", "window_start_ms", "basis_points", "kind", name="alerts_once"),
)

price_overrides = sa.Table(
    "price_overrides",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    _number("input"),
    _number("cached_input"),
    _number("cache_write_5m"),
    _number("cache_write_1h"),
    _number("output"),
    _number("reasoning"),
    _number("request_nano_usd"),
    # Rates by meter as JSON. If there are any, the columns above only repeat them for the previous release.
    _defaulted("rates", sa.Text, ""),
    # The same, by service tier.
    _defaulted("service_tiers", sa.Text, ""),
)

priced_targets = sa.Table(
    "priced_targets",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    _text("catalogue_provider"),
    _text("upstream_model"),
)

alert_channels = sa.Table(
    "alert_channels",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("url"),
    _text("webhook"),
    _text("secret_env"),
)

audit_entries = audit_table(metadata)
requests = requests_table(metadata)
