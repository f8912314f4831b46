"""Writes changes of a configuration as messages, the same for every service that applies one."""

from __future__ import annotations

from collections.abc import Iterable

from spendgate.type.v1 import configuration_pb2, resource_kind_pb2

from services.chassis.enums import enum_table
from services.kernel.change import Action, Change, ResourceKind

_ACTIONS = enum_table(configuration_pb2.Change.Action, Action)
_KINDS = enum_table(resource_kind_pb2.ResourceKind, ResourceKind)


def write_changes(changes: Iterable[Change]) -> list[configuration_pb2.Change]:
    """Writes the changes that a configuration makes."""
    return [
        configuration_pb2.Change(
            action=_ACTIONS.numbers[change.action],
            kind=_KINDS.numbers[change.kind],
            name=change.name,
            detail=change.detail,
        )
        for change in changes
    ]
