"""The router's whole configuration, checked, and the differences between two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from services.kernel.change import Change, Describe, ResourceKind, changes_between, differing_fields
from services.kernel.errors import InvalidInput
from services.kernel.names import check_unique
from services.router.domain.listener import Listener, check_listener
from services.router.domain.model import Model, check_model_route
from services.router.domain.plan import check_every_fallback_counts
from services.router.domain.provider import Provider, check_provider

MAX_PROVIDERS = 1_000
MAX_MODELS = 10_000

Resource = Provider | Model | Listener


@dataclass(frozen=True, slots=True)
class Configuration:
    """Providers, models and listeners, each unique by name and sorted by it."""

    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()
    listeners: tuple[Listener, ...] = ()


EMPTY = Configuration()


def check_configuration(
    providers: Sequence[Provider], models: Sequence[Model], listeners: Sequence[Listener] = ()
) -> Configuration:
    """Builds a configuration from a request.

    Raises:
        InvalidInput: a part of it is wrong. The field is its path within the request.
    """
    _check_count("providers", len(providers), MAX_PROVIDERS)
    _check_count("models", len(models), MAX_MODELS)
    for at, provider in enumerate(providers):
        check_provider(f"providers[{at}]", provider)
    check_unique("providers", (provider.name for provider in providers))
    names = frozenset(provider.name for provider in providers)
    for at, model in enumerate(models):
        check_model_route(f"models[{at}]", model, names)
        check_every_fallback_counts(f"models[{at}]", model)
    check_unique("models", (model.name for model in models))
    _check_aliases(models)
    for at, listener in enumerate(listeners):
        check_listener(f"listeners[{at}]", listener)
    check_unique("listeners", (listener.name for listener in listeners))
    return Configuration(
        tuple(sorted(providers, key=_name)), tuple(sorted(models, key=_name)), tuple(sorted(listeners, key=_name))
    )


def differences(before: Configuration, after: Configuration) -> tuple[Change, ...]:
    """Lists how each resource changes: providers first, by name."""
    return (
        *_differences(ResourceKind.PROVIDER, before.providers, after.providers),
        *_differences(ResourceKind.MODEL, before.models, after.models),
        *_differences(ResourceKind.LISTENER, before.listeners, after.listeners),
    )


def describe(configuration: Configuration) -> Describe:
    """Returns the function that describes a resource for an audit entry. Credentials appear by reference only."""
    resources: Mapping[ResourceKind, Mapping[str, Resource]] = {
        ResourceKind.PROVIDER: {provider.name: provider for provider in configuration.providers},
        ResourceKind.MODEL: {model.name: model for model in configuration.models},
        ResourceKind.LISTENER: {listener.name: listener for listener in configuration.listeners},
    }

    def describe_one(kind: ResourceKind, name: str) -> str:
        found = resources[kind].get(name)
        return json.dumps(asdict(found), sort_keys=True) if found is not None else ""

    return describe_one


def _differences(kind: ResourceKind, before: Sequence[Resource], after: Sequence[Resource]) -> tuple[Change, ...]:
    old, new = ({resource.name: resource for resource in resources} for resources in (before, after))
    return changes_between(kind, old, new, differing_fields)


def _name(resource: Resource) -> str:
    return resource.name


def _check_aliases(models: Sequence[Model]) -> None:
    """Checks that no alias is the name, or an alias, of another model, or stands twice."""
    owners = {model.name: model.name for model in models}
    for at, model in enumerate(models):
        for place, alias in enumerate(model.aliases):
            if alias in owners:
                raise InvalidInput(
                    f"models[{at}].aliases[{place}]", f"{alias!r} reaches model {owners[alias]!r} already"
                )
            owners[alias] = model.name


def _check_count(field: str, count: int, bound: int) -> None:
    if count > bound:
        raise InvalidInput(field, f"{count} are too many: at most {bound}")
