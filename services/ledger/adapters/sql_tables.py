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


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _keys(*names: str) -> list[sa.Column[str]]:
    """Texts that identify a row."""
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _defaulted(name: str, kind: type[sa.types.TypeEngine[Any]], value: str) -> sa.Column[Any]:
    """A column that a later release added. Rows that the previous release writes get its default."""
    return sa.Column(name, kind, nullable=False, server_default=value)


entries = sa.Table(
    "entries",
    metadata,
    # Ascending in booking order, never reused: tails follow it.
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    *_texts("request_id", "epoch"),
    *_numbers("time_ms", "duration_ms", "first_byte_ms", "booked_ms"),
    sa.Column("settled_ms", sa.BigInteger),
    *_numbers("status"),
    *_texts("flags", "details"),
    *_texts("key_id", "key", "team", "project", "environment", "user"),
    *_texts("tags", "run"),
    *_texts("model_requested", "model_served", "response_model", "chain"),
    *_numbers("attempts"),
    *_texts("decision", "policy", "dialect"),
    sa.Column("stream", sa.Boolean, nullable=False),
    *_texts("features"),
    *_numbers("body_bytes", "bytes_sent"),
    *_texts("prefix_1k", "prefix_4k", "prefix_16k", "prefix_64k"),
    *_texts("trace_id", "span_id", "client_request_id", "sdk_retry"),
    _defaulted("body_print", sa.Text, ""),
    # Id of the first entry that this one repeats.
    _defaulted("retry_of", sa.Text, ""),
    # `services.ledger.domain.outcome.Outcome`. Empty in entries of earlier releases.
    _defaulted("outcome", sa.Text, ""),
    *_texts("usage_source"),
    *_numbers(
        "input_tokens",
        "cached_input_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
        "reasoning_tokens",
    ),
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
    # Why another target led than the model's first, as in `services.kernel.envoy_contract.LeadReason`. Empty: it led
    # itself, or an earlier release booked the call.
    _defaulted("downgraded", sa.Text, ""),
    # Targets that could not carry the call, in the form of `AdmittedKey`.
    _defaulted("left_out", sa.Text, ""),
    # `services.kernel.endpoint.Operation`. Empty: an earlier release booked the call, or no line of it was left.
    _defaulted("operation", sa.Text, ""),
    # When quota admitted the call. The entry's id says so too.
    *_numbers("admitted_ms"),
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
    *_keys("request_id"),
    sa.Column("attempt", sa.Integer, primary_key=True),
    *_numbers("time_ms", "status"),
    *_texts("flags", "details"),
    *_numbers("duration_ms", "first_byte_ms"),
    *_texts("cluster", "failure"),
    sqlite_with_rowid=False,
)

unanswered_attempts = sa.Table(
    "unanswered_attempts",
    metadata,
    *_keys("entry_id"),
    sa.Column("attempt", sa.Integer, primary_key=True),
    *_texts("target"),
    *_numbers("input_tokens", "output_tokens"),
    sa.Column("cost_nano_usd", sa.BigInteger),
    sqlite_with_rowid=False,
)

rollups = sa.Table(
    "rollups",
    metadata,
    sa.Column("hour_ms", sa.BigInteger, primary_key=True),
    *_keys("team", "project", "environment", "user", "key", "model_requested", "model_served", "status"),
    *_numbers("calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_nano_usd", "unpriced_calls"),
    _defaulted("retries", sa.BigInteger, "0"),
    sa.Column("operation", sa.Text, primary_key=True, server_default=""),
    sqlite_with_rowid=False,
)

# Entries settled with quota, by the hour (UTC) in which their calls were admitted.
settled_sums = sa.Table(
    "settled_sums",
    metadata,
    sa.Column("hour_ms", sa.BigInteger, primary_key=True),
    *_keys("run", "team", "project", "environment", "user", "key", "model"),
    *_numbers("calls", "input_tokens", "output_tokens"),
    # Counts only calls of known cost.
    *_numbers("cost_nano_usd", "unpriced_calls"),
    sqlite_with_rowid=False,
)
sa.Index("settled_sums_by_run", settled_sums.c.run, sqlite_where=settled_sums.c.run != "")

# Limits whose counters were once compared with the entries. A later difference is drift.
checked_limits = sa.Table("checked_limits", metadata, *_keys("name"))

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    *_keys("epoch"),
    sa.Column("inode", sa.BigInteger, primary_key=True),
    *_texts("name"),
    *_numbers("offset"),
)

epochs = sa.Table(
    "epochs",
    metadata,
    *_keys("epoch"),
    *_numbers("ended_ms"),
    # NULL: quota may still hold a reservation of this epoch.
    sa.Column("cleared_ms", sa.BigInteger),
)

unreadable_lines = sa.Table(
    "unreadable_lines",
    metadata,
    *_keys("epoch"),
    sa.Column("inode", sa.BigInteger, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    *_texts("name"),
    *_numbers("size_bytes"),
    *_texts("reason"),
    *_numbers("seen_ms"),
)

# Headers that were dropped, by the day (UTC) on which their calls were booked.
dropped_headers = sa.Table(
    "dropped_headers",
    metadata,
    sa.Column("day_ms", sa.BigInteger, primary_key=True),
    *_keys("provider", "direction", "name"),
    *_numbers("calls"),
    sqlite_with_rowid=False,
)

releases = sa.Table("releases", metadata, *_keys("request_id"))

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    *_texts("policy", "limit", "scope"),
    *_numbers("window_start_ms", "basis_points"),
    sa.Column("notify", sa.JSON, nullable=False),
    *_numbers("crossed_ms", "settled", "bound"),
    sa.Column("delivered_ms", sa.BigInteger),
    _defaulted("kind", sa.Text, "threshold"),
    _defaulted("excess", sa.BigInteger, "0"),
    _defaulted("call", sa.Text, ""),
    # 1: its deliveries are recorded, or nobody is to be told.
    _defaulted("planned", sa.Integer, "0"),
    sa.Index("alerts_unplanned", "sequence", sqlite_where=sa.text("planned = 0")),
    sa.UniqueConstraint("policy", "limit", "scope", "window_start_ms", "basis_points", "kind", name="alerts_once"),
)

# Another target began to lead a model, or the first one leads again.
switches = sa.Table(
    "switches",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    # Given by the router.
    sa.Column("id", sa.Text, nullable=False, unique=True),
    *_numbers("time_ms", "booked_ms"),
    *_texts("model"),
    *_numbers("from_basis_points"),
    *_texts("direction", "reason"),
    *(sa.Column(name, sa.JSON, nullable=False) for name in ("previous_targets", "targets")),
    *_texts("evidence"),
    sa.Column("notify", sa.JSON, nullable=False),
    sa.Column("delivered_ms", sa.BigInteger),
    _defaulted("router", sa.Text, ""),
    # Id of the switch under which another router had told the same. Empty: people are told of this one.
    _defaulted("same_as", sa.Text, ""),
    # As in `alerts`.
    _defaulted("planned", sa.Integer, "0"),
    sa.Index("switches_unplanned", "sequence", sqlite_where=sa.text("planned = 0")),
    sqlite_autoincrement=True,
)

# One alert on its way to one channel.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    # `services.ledger.domain.delivery.AlertSource`, and the sequence number of a row of `alerts` or `switches`.
    *_texts("source"),
    *_numbers("alert"),
    *_texts("channel"),
    *_numbers("created_ms"),
    # `services.ledger.domain.delivery.DeliveryState`.
    *_texts("state"),
    *_numbers("attempts", "due_ms"),
    sa.Column("ended_ms", sa.BigInteger),
    *_texts("problem"),
    sa.UniqueConstraint("source", "alert", "channel", name="deliveries_once"),
    sa.Index("deliveries_waiting", "due_ms", sqlite_where=sa.text("state = 'waiting'")),
    sqlite_autoincrement=True,
)

price_overrides = sa.Table(
    "price_overrides",
    metadata,
    *_keys("target"),
    *_numbers("input", "cached_input", "cache_write_5m", "cache_write_1h", "output", "reasoning", "request_nano_usd"),
    # Rates by meter as JSON. If there are any, the columns above only repeat them for the previous release.
    _defaulted("rates", sa.Text, ""),
    # The same, by service tier.
    _defaulted("service_tiers", sa.Text, ""),
)

priced_targets = sa.Table(
    "priced_targets",
    metadata,
    *_keys("target"),
    *_texts("catalogue_provider", "upstream_model"),
)

alert_channels = sa.Table(
    "alert_channels",
    metadata,
    *_keys("name"),
    *_texts("url", "webhook", "secret_env"),
)

audit_entries = audit_table(metadata)
requests = requests_table(metadata)
