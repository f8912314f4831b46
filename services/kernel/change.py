"""Changes: what becomes of configured resources on the way from one configuration to the next, and by whose doing.

Every service answers `ApplyConfiguration` with them and keeps them in its audit log, so that they mean the same
wherever they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something on the admin plane."""

    name: str
    role: str
    team: str = ""
    """The one team that it may look at and change. Empty: it is not confined to one."""

    def may_touch(self, team: str) -> bool:
        """Whether what belongs to `team` is its business."""
        return not self.team or self.team == team


@dataclass(frozen=True, slots=True)
class Authorship:
    """Whose doing a change is, and why."""

    actor: Actor
    reason: str = ""
    request_id: str = ""
    """Of the request at the admin listener."""


OWNER = Authorship(Actor("local", "platform"))
"""Whoever comes to a service's own socket past the admin listener: only the owner of the data directory can."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one resource, to be kept for good."""

    time_ms: int
    by: Authorship
    action: str
    """An `Action`, or the verb of what was asked for: "rotate", "grant"."""
    kind: str
    name: str
    before: str
    """JSON of the resource, empty if there was none. Never a secret."""
    after: str
    """The same, empty if it is gone."""


NO_VERBS: Mapping[Action, str] = {}
Describe = Callable[[str, str], str]
"""JSON of the resource of this kind and name, without its secrets; empty if there is none."""


def audit_entries(
    changes: Iterable[Change],
    before: Describe,
    after: Describe,
    *,
    by: Authorship,
    time_ms: int,
    verbs: Mapping[Action, str] = NO_VERBS,
) -> tuple[AuditEntry, ...]:
    """An entry for each change. `verbs` are what was asked for, where that says more than the action itself."""
    return tuple(
        AuditEntry(
            time_ms,
            by,
            verbs.get(change.action, change.action),
            change.kind,
            change.name,
            before(change.kind, change.name),
            after(change.kind, change.name),
        )
        for change in changes
    )
