"""Properties by which usage is summed, as people write them."""

from __future__ import annotations

from spendgate.ledger.v1 import ledger_service_pb2

from services.chassis.enums import enum_numbers

USAGE_DIMENSIONS = enum_numbers(ledger_service_pb2.UsageDimension)
"""The numbers on the wire by name, e.g. "team"."""
