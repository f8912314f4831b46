"""What an operator configures of the ledger: price overrides and alert channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts go: exactly one of `url` and `webhook` is set."""

    name: str
    url: str = ""
    """An Apprise URL. May hold a secret."""
    webhook: str = ""
    secret_env: str = ""
    """Name of the variable that holds the webhook's signing secret."""


@dataclass(frozen=True, slots=True)
class PricedTarget:
    """A target of the route plan, and what the catalogue calls it."""

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
    name: str
    detail: str
    """Never a secret."""


def flat_price(
    *,
    input_price: int,
    output: int,
    cached_input: int | None = None,
    cache_write_5m: int | None = None,
    cache_write_1h: int | None = None,
    reasoning: int | None = None,
    request_nano_usd: int = 0,
) -> Price:
    """A price of one tier, in pico-USD per token. What is not given costs as much as what it is a part of."""

    def of(own: int | None, whole: int) -> PicoUsdPerToken:
        return PicoUsdPerToken(whole if own is None else own)

    tier = PriceTier(
        above_input_tokens=0,
        input=PicoUsdPerToken(input_price),
        cached_input=of(cached_input, input_price),
        cache_write_5m=of(cache_write_5m, input_price),
        cache_write_1h=of(cache_write_1h, input_price),
        output=PicoUsdPerToken(output),
        reasoning=of(reasoning, output),
    )
    return Price((tier,), NanoUsd(request_nano_usd))


def changes(old: Configuration, new: Configuration) -> list[Change]:
    """What becomes of each resource on the way from `old` to `new`, by kind and name."""
    return [*_changes("price", old.prices, new.prices), *_changes("alert channel", old.channels, new.channels)]


def _changes(kind: str, old: Mapping[str, Price | Channel], new: Mapping[str, Price | Channel]) -> list[Change]:
    found = []
    for name in sorted({*old, *new}):
        if name not in old:
            found.append(Change(Action.CREATE, kind, name, ""))
        elif name not in new:
            found.append(Change(Action.DELETE, kind, name, ""))
        elif old[name] != new[name]:
            found.append(Change(Action.UPDATE, kind, name, _detail(old[name], new[name])))
    return found


def _detail(old: Price | Channel, new: Price | Channel) -> str:
    fields = (
        ("url", "webhook", "secret_env")
        if isinstance(new, Channel)
        else ("input", "cached_input", "cache_write_5m", "cache_write_1h", "output", "reasoning")
    )
    was, becomes = (each.tiers[0] if isinstance(each, Price) else each for each in (old, new))
    differing = [name for name in fields if getattr(was, name) != getattr(becomes, name)]
    return ", ".join(differing) or "request"
