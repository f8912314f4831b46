"""Kinds of resources, as people read them."""

from __future__ import annotations

from spendgate.type.v1 import resource_kind_pb2

from services.chassis.enums import enum_names

_NAMES = {number: name.replace("_", " ") for number, name in enum_names(resource_kind_pb2.ResourceKind).items()}


def resource_kind_name(kind: resource_kind_pb2.ResourceKind.ValueType) -> str:
    """Returns the name of a kind, e.g. "virtual key". A kind of a later release is "unknown"."""
    return _NAMES.get(kind, "unknown")
