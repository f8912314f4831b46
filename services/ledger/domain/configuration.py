"""The ledger's configuration: price overrides and alert channels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.kernel.change import Change, Describe, ResourceKind, changes_between, differing_fields
from services.kernel.price import Price, PriceTier
from services.kernel.usage import METERS


@dataclass(frozen=True, slots=True)
class Channel:
    """A destination for alerts. Exactly one of `url` and `webhook` is set."""

    name: str
    url: str = ""
    """An Apprise URL. May hold a secret."""
    webhook: str = ""
    secret_env: str = ""
    """Name of the variable that holds the webhook's signing secret."""


@dataclass(frozen=True, slots=True)
class PricedTarget:
    """A target of the route plan and its names in the catalogue."""

    target: str
    """ "provider/model"."""
    catalogue_provider: str
    """Empty when the catalogue knows no such vendor."""
    upstream_model: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """All overrides and all channels, by name."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)


def differences(before: Configuration, after: Configuration) -> tuple[Change, ...]:
    """Lists how each resource changes, by kind and name."""
    return (
        *changes_between(ResourceKind.PRICE, before.prices, after.prices, _differing_prices),
        *changes_between(ResourceKind.ALERT_CHANNEL, before.channels, after.channels, differing_fields),
    )


def describe(configuration: Configuration) -> Describe:
    """Returns the function that describes a resource of this configuration for an audit entry."""

    def describe_one(kind: ResourceKind, name: str) -> str:
        if kind is ResourceKind.PRICE:
            price = configuration.prices.get(name)
            return json.dumps(_written(price), sort_keys=True) if price is not None else ""
        channel = configuration.channels.get(name)
        return json.dumps(_without_secrets(channel), sort_keys=True) if channel is not None else ""

    return describe_one


def warnings_of(configuration: Configuration) -> tuple[str, ...]:
    """Warns about accepted settings that need attention. Each sentence says what to do."""
    return tuple(
        f"alerts to channel {channel.name} are not signed: give it a secret"
        for channel in configuration.channels.values()
        if channel.webhook and not channel.secret_env
    )


def _without_secrets(channel: Channel) -> dict[str, str]:
    """Both addresses can hold a secret, so only the kind of service and the webhook's host remain."""
    return {
        "name": channel.name,
        "url": urlsplit(channel.url).scheme,
        "webhook": urlsplit(channel.webhook).hostname or "",
        "secret_env": channel.secret_env,
    }


def _written(price: Price) -> dict[str, object]:
    return {
        "tiers": _tiers_written(price.tiers),
        "request_nano_usd": price.request_nano_usd,
        "service_tiers": {name: _tiers_written(tiers) for name, tiers in price.service_tiers.items()},
    }


def _tiers_written(tiers: Iterable[PriceTier]) -> list[dict[str, int]]:
    return [{"above_input_tokens": tier.above_input_tokens, **tier.rates} for tier in tiers]


def _differing_prices(before: Price, after: Price) -> tuple[str, ...]:
    """Compares overrides, which have one tier."""
    old, new = before.tiers[0].rates, after.tiers[0].rates
    changed = [name for name in METERS if old.get(name) != new.get(name)]
    if before.request_nano_usd != after.request_nano_usd:
        changed.append("request")
    if before.service_tiers != after.service_tiers:
        changed.append("service_tiers")
    return tuple(changed)
