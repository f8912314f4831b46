"""Changes: what becomes of configured resources on the way from one configuration to the next.

Every service answers `ApplyConfiguration` with them, so that they mean the same wherever they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R")


class Action(StrEnum):
    """What happens to a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two configurations."""

    action: Action
    kind: str
    """Kind of the resource, singular and lower case: "team", "policy", "virtual key"."""
    name: str
    detail: str = ""
    """Of an update: names of the fields that differ, joined by commas. Never their values: some are secrets."""


def changes_between(
    kind: str, before: Mapping[str, R], after: Mapping[str, R], differing: Callable[[R, R], tuple[str, ...]]
) -> tuple[Change, ...]:
    """What becomes of each resource of one kind, by name. `differing` names what differs between two unequal ones."""
    changes = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            changes.append(Change(Action.CREATE, kind, name))
        elif name not in after:
            changes.append(Change(Action.DELETE, kind, name))
        elif before[name] != after[name]:
            changes.append(Change(Action.UPDATE, kind, name, ", ".join(differing(before[name], after[name]))))
    return tuple(changes)


def differing_fields(before: DataclassInstance, after: DataclassInstance) -> tuple[str, ...]:
    """Names of the fields in which two values of one dataclass differ."""
    names = (field.name for field in fields(before))
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
