"""What the price catalogue knows of a vendor's models. It is part of this installation; nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from services.cli.problems import Misuse
from services.kernel.names import no_such
from services.kernel.preset import Preset

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices


@dataclass(frozen=True, slots=True)
class VendorModel:
    """A model of a vendor, with its published prices in dollars per million tokens. None: not published."""

    name: str
    context_window: int | None
    input: Decimal | None
    cached_input: Decimal | None
    output: Decimal | None
    has_tiers: bool
    """Long prompts cost more: the prices are those of short ones."""
    is_deprecated: bool


def vendor_models(vendor: str, now_ms: int) -> list[VendorModel]:
    """The models of a preset's vendor at a time, by name.

    Raises:
        Misuse: there is no such preset, or the catalogue does not know its vendor.
    """
    presets = {preset.value: preset for preset in Preset}
    if vendor not in presets:
        raise Misuse(no_such("preset", vendor, presets))
    known_as = presets[vendor].catalogue_provider
    if not known_as:
        raise Misuse(f"the catalogue does not know {vendor}: write the prices of its models under `prices`")
    return sorted(_models(known_as, datetime.fromtimestamp(now_ms / 1000, UTC)), key=lambda model: model.name)


def _models(known_as: str, now: datetime) -> Iterator[VendorModel]:
    # Imported here: no other command needs it.
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    for provider in get_snapshot().providers:
        for model in provider.models if provider.id == known_as else ():
            prices = model.get_prices(now)
            fresh, cached, output = (_rate(prices, name) for name in ("input_mtok", "cache_read_mtok", "output_mtok"))
            yield VendorModel(
                model.id,
                model.context_window,
                _base(fresh),
                _base(cached),
                _base(output),
                has_tiers=any(rate is not None and not isinstance(rate, Decimal) for rate in (fresh, cached, output)),
                is_deprecated=bool(model.deprecated),
            )


def _rate(prices: ModelPrice, name: str) -> Decimal | TieredPrices | None:
    rate: Decimal | TieredPrices | None = vars(prices).get(name)
    return rate


def _base(rate: Decimal | TieredPrices | None) -> Decimal | None:
    return rate if rate is None or isinstance(rate, Decimal) else rate.base
