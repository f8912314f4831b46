"""Limit kinds as the gateway sends them."""

from __future__ import annotations

from spendgate.quota.v1 import quota_service_pb2 as quota

from services.chassis.enums import enum_table
from services.kernel.limit_kind import LimitKind

LIMIT_KINDS = enum_table(quota.LimitKind, LimitKind)


def kind_name(number: int, otherwise: str = "?") -> str:
    """What people call a kind; `otherwise` for one that only a newer gateway knows."""
    return LIMIT_KINDS.members.get(number, otherwise)


def is_money(number: int) -> bool:
    """Whether amounts of a kind are nano-USD."""
    kind = LIMIT_KINDS.members.get(number)
    return kind is not None and kind.is_money
