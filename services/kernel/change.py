"""Changes: how configured resources differ from one configuration to the next, and who changed them.

Every service answers `ApplyConfiguration` with changes and keeps them in its audit log, in the same form everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from services.kernel.repetition import Repeatable

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
    """For an update: names of the changed fields, joined by commas. Never their values, since some are secrets."""


def changes_between(
    kind: str, before: Mapping[str, R], after: Mapping[str, R], differing: Callable[[R, R], tuple[str, ...]]
) -> tuple[Change, ...]:
    """Lists how each resource of one kind changes, by name. `differing` names the differences of two unequal ones."""
    changes = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            changes.append(Change(Action.CREATE, kind, name))
        elif name not in after:
            changes.append(Change(Action.DELETE, kind, name))
        elif before[name] != after[name]:
            changes.append(Change(Action.UPDATE, kind, name, ", ".join(differing(before[name], after[name]))))
    return tuple(changes)


def given_fields(value: DataclassInstance) -> dict[str, Any]:
    """Returns the fields of a value by name, without those that follow from other fields."""
    return {field.name: getattr(value, field.name) for field in fields(value) if field.init}


def differing_fields(before: DataclassInstance, after: DataclassInstance) -> tuple[str, ...]:
    """Returns the names of the fields in which two values of one dataclass differ."""
    return tuple(name for name, value in given_fields(before).items() if getattr(after, name) != value)


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller on the admin plane."""

    name: str
    role: str
    team: str = ""
    """The one team that it may read and change. Empty when it is not confined to one."""

    def may_touch(self, team: str) -> bool:
        """Whether it may read and change what belongs to `team`."""
        return not self.team or self.team == team


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who made a change, and why."""

    actor: Actor
    reason: str = ""
    request_id: str = ""
    """Id that the admin listener gave the request."""
    repeatable: Repeatable | None = None
    """Set if the client gave the request an id of its own, so that it may repeat it."""


OWNER = Authorship(Actor("local", "platform"))
"""A caller that reaches a service's own socket directly. Only the owner of the data directory can."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one resource, kept for good."""

    time_ms: int
    by: Authorship
    action: str
    """An `Action`, or the requested verb: "rotate", "grant"."""
    kind: str
    name: str
    before: str
    """JSON of the resource before. Empty if there was none. Never contains a secret."""
    after: str
    """JSON of the resource after. Empty if it is gone."""


NO_VERBS: Mapping[Action, str] = {}
Describe = Callable[[str, str], str]
"""Returns the JSON of the resource of this kind and name, without secrets. Empty if there is none."""


def audit_entries(
    changes: Iterable[Change],
    before: Describe,
    after: Describe,
    *,
    by: Authorship,
    time_ms: int,
    verbs: Mapping[Action, str] = NO_VERBS,
) -> tuple[AuditEntry, ...]:
    """Returns an entry for each change. `verbs` gives some actions a more specific verb, e.g. "rotate"."""
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
