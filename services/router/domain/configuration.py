"""The whole of what the router was told, checked; and what distinguishes two such wholes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from services.kernel.errors import InvalidInput
from services.router.domain.model import Model, check_model_route
from services.router.domain.plan import check_every_fallback_counts
from services.router.domain.provider import Provider, check_provider

MAX_PROVIDERS = 1_000
MAX_MODELS = 10_000


@dataclass(frozen=True, slots=True)
class Configuration:
    """Providers and models, each unique by name and in the order of names."""

    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()


EMPTY = Configuration()


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
    """"provider" or "model"."""
    name: str
    detail: str = ""
    """Names of the fields that differ."""


def check_configuration(providers: Sequence[Provider], models: Sequence[Model]) -> Configuration:
    """Makes a configuration of what was sent.

    Raises:
        InvalidInput: something is wrong with it; the field is its path within the request.
    """
    _check_count("providers", len(providers), MAX_PROVIDERS)
    _check_count("models", len(models), MAX_MODELS)
    for at, provider in enumerate(providers):
        check_provider(f"providers[{at}]", provider)
    _check_unique("providers", [provider.name for provider in providers])
    names = frozenset(provider.name for provider in providers)
    for at, model in enumerate(models):
        check_model_route(f"models[{at}]", model, names)
        check_every_fallback_counts(f"models[{at}]", model)
    _check_unique("models", [model.name for model in models])
    return Configuration(tuple(sorted(providers, key=_name)), tuple(sorted(models, key=_name)))


def changes_between(before: Configuration, after: Configuration) -> tuple[Change, ...]:
    """What becomes of each resource: providers first, by name."""
    return (
        *_changes("provider", before.providers, after.providers),
        *_changes("model", before.models, after.models),
    )


def _changes(kind: str, before: Sequence[Provider | Model], after: Sequence[Provider | Model]) -> tuple[Change, ...]:
    old = {resource.name: resource for resource in before}
    new = {resource.name: resource for resource in after}
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            changes.append(Change(Action.CREATE, kind, name))
        elif name not in new:
            changes.append(Change(Action.DELETE, kind, name))
        elif old[name] != new[name]:
            changes.append(Change(Action.UPDATE, kind, name, _differing(old[name], new[name])))
    return tuple(changes)


def _differing(before: Provider | Model, after: Provider | Model) -> str:
    names = [field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name, None)]
    return f"changed: {', '.join(names)}"


def _name(resource: Provider | Model) -> str:
    return resource.name


def _check_count(field: str, count: int, bound: int) -> None:
    if count > bound:
        raise InvalidInput(field, f"{count} are too many: at most {bound}")


def _check_unique(field: str, names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for at, name in enumerate(names):
        if name in first:
            raise InvalidInput(f"{field}[{at}].name", f"{name!r} is there already, at {field}[{first[name]}]")
        first[name] = at
