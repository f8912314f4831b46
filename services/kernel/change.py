"""Changes: how configured resources differ from one configuration to the next, and who changed them.

Every service answers `ApplyConfiguration` with changes and keeps them in its audit log, in the same form everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import compress, count
from operator import is_not
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


class AuditAction(StrEnum):
    """What an actor did to a resource, as the audit log keeps it."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ROTATE = "rotate"
    DISABLE = "disable"
    ENABLE = "enable"
    GRANT = "grant"
    REVOKE = "revoke"
    CLEAR = "clear"


class ResourceKind(StrEnum):
    """The kind of a resource, as the audit log keeps it: singular and lower case."""

    ORGANIZATION = "organization"
    ENVIRONMENT = "environment"
    TEAM = "team"
    POLICY = "policy"
    VIRTUAL_KEY = "virtual key"
    OVERRIDE = "override"
    ADMIN_TOKEN = "admin token"  # noqa: S105  (the name of a kind)
    DOUBT = "doubt"
    PROVIDER = "provider"
    MODEL = "model"
    LISTENER = "listener"
    TARGET = "target"
    PRICE = "price"
    ALERT_CHANNEL = "alert channel"


class Role(StrEnum):
    """What the holder of an admin token may do."""

    PLATFORM = "platform"
    """Everything."""
    TEAM_ADMIN = "team-admin"
    """Reads its own team's data, creates and disables its keys, and grants overrides within its cap."""
    FINANCE = "finance"
    """Reads everything and changes nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two configurations."""

    action: Action
    kind: ResourceKind
    name: str
    detail: str = ""
    """For an update: names of the changed fields, joined by commas. Never their values, since some are secrets."""


def only_in(things: Sequence[R], others: Sequence[R]) -> list[R]:
    """Returns those of `things` that are not among `others` as the same object, in their order. None occurs twice.

    A change of one of very many resources leaves the others the same objects. Whatever compares two configurations by
    name needs to look at no more than this leaves of each.
    """
    first = _same_at_start(things, others)
    last = min(_same_at_start(things[::-1], others[::-1]), len(things) - first, len(others) - first)
    same = set(map(id, others[first : len(others) - last]))
    return [thing for thing in things[first : len(things) - last] if id(thing) not in same]


def _same_at_start(things: Sequence[R], others: Sequence[R]) -> int:
    """How many objects at the start are the same. No line of Python runs for each."""
    return next(compress(count(), map(is_not, things, others)), min(len(things), len(others)))


def changes_between(
    kind: ResourceKind, before: Mapping[str, R], after: Mapping[str, R], differing: Callable[[R, R], tuple[str, ...]]
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


OWNER = Authorship(Actor("local", Role.PLATFORM))
"""A caller that reaches a service's own socket directly. Only the owner of the data directory can."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one resource, kept for good."""

    time_ms: int
    by: Authorship
    action: AuditAction
    kind: ResourceKind
    name: str
    before: str
    """JSON of the resource before. Empty if there was none. Never contains a secret."""
    after: str
    """JSON of the resource after. Empty if it is gone."""


NO_VERBS: Mapping[Action, AuditAction] = {}
Describe = Callable[[ResourceKind, str], str]
"""Returns the JSON of the resource of this kind and name, without secrets. Empty if there is none."""


def audit_entries(
    changes: Iterable[Change],
    before: Describe,
    after: Describe,
    *,
    by: Authorship,
    time_ms: int,
    verbs: Mapping[Action, AuditAction] = NO_VERBS,
) -> tuple[AuditEntry, ...]:
    """Returns an entry for each change. `verbs` names what the actor asked for, if that says more."""
    return tuple(
        AuditEntry(
            time_ms,
            by,
            verbs.get(change.action) or AuditAction(change.action),
            change.kind,
            change.name,
            before(change.kind, change.name),
            after(change.kind, change.name),
        )
        for change in changes
    )
