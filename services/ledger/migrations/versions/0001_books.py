"""Entries, attempts, rollups, checkpoints, the outbox, alerts and prices."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _make_entries()
    _make_books()
    _make_spool_tables()
    _make_alerts()
    _make_prices()


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _make_entries() -> None:
    op.create_table(
        "entries",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *_texts("request_id", "epoch"),
        *_numbers("time_ms", "duration_ms", "first_byte_ms", "booked_ms"),
        sa.Column("settled_ms", sa.BigInteger),
        *_numbers("status"),
        *_texts(
            "flags",
            "details",
            "key_id",
            "key",
            "team",
            "project",
            "environment",
            "user",
            "tags",
            "run",
            "model_requested",
            "model_served",
            "response_model",
            "chain",
        ),
        *_numbers("attempts"),
        *_texts("decision", "policy", "dialect"),
        sa.Column("stream", sa.Boolean, nullable=False),
        *_texts("features"),
        *_numbers("body_bytes", "bytes_sent"),
        *_texts(
            "prefix_1k",
            "prefix_4k",
            "prefix_16k",
            "prefix_64k",
            "trace_id",
            "span_id",
            "client_request_id",
            "sdk_retry",
            "usage_source",
        ),
        *_numbers(
            "input_tokens",
            "cached_input_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "output_tokens",
            "reasoning_tokens",
        ),
        sa.Column("cost_nano_usd", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("entries_by_time", "entries", ["time_ms"])
    op.create_index("entries_by_request", "entries", ["request_id"])
    op.create_index("entries_unsettled", "entries", ["sequence"], sqlite_where=sa.text("settled_ms IS NULL"))


def _make_books() -> None:
    op.create_table(
        "attempts",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        *_numbers("time_ms", "status"),
        *_texts("flags", "details"),
        *_numbers("duration_ms", "first_byte_ms"),
        *_texts("cluster", "failure"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unanswered_attempts",
        sa.Column("entry_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        *_texts("target"),
        *_numbers("input_tokens", "output_tokens"),
        sa.Column("cost_nano_usd", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        sa.Column("hour_ms", sa.BigInteger, primary_key=True),
        sa.Column("team", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("user", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("model_requested", sa.Text, primary_key=True),
        sa.Column("model_served", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, primary_key=True),
        *_numbers("calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_nano_usd", "unpriced_calls"),
        sqlite_with_rowid=False,
    )


def _make_spool_tables() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("epoch", sa.Text, primary_key=True),
        sa.Column("inode", sa.BigInteger, primary_key=True),
        *_texts("name"),
        *_numbers("offset"),
    )
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.Text, primary_key=True),
        *_numbers("ended_ms"),
        sa.Column("cleared_ms", sa.BigInteger),
    )
    op.create_table(
        "unreadable_lines",
        sa.Column("epoch", sa.Text, primary_key=True),
        sa.Column("inode", sa.BigInteger, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True),
        *_texts("name"),
        *_numbers("size_bytes"),
        *_texts("reason"),
        *_numbers("seen_ms"),
    )
    op.create_table(
        "releases",
        sa.Column("request_id", sa.Text, primary_key=True),
    )


def _make_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *_texts("policy", "limit", "scope"),
        *_numbers("window_start_ms", "basis_points"),
        sa.Column("notify", sa.JSON, nullable=False),
        *_numbers("crossed_ms", "settled", "bound"),
        sa.Column("delivered_ms", sa.BigInteger),
        sa.UniqueConstraint("policy", "limit", "scope", "window_start_ms", "basis_points", name="alerts_once"),
    )
    op.create_table(
        "alert_channels",
        sa.Column("name", sa.Text, primary_key=True),
        *_texts("url", "webhook", "secret_env"),
    )


def _make_prices() -> None:
    op.create_table(
        "price_overrides",
        sa.Column("target", sa.Text, primary_key=True),
        *_numbers(
            "input", "cached_input", "cache_write_5m", "cache_write_1h", "output", "reasoning", "request_nano_usd"
        ),
    )
    op.create_table(
        "priced_targets",
        sa.Column("target", sa.Text, primary_key=True),
        *_texts("catalogue_provider", "upstream_model"),
    )
