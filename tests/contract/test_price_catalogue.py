"""Our charge is the catalogue's own, to the nano-dollar, over usage as the providers' APIs report it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from genai_prices import extract_usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Tier, TieredPrices

from services.kernel.price import charge
from services.kernel.usage import (
    AUDIO_INPUT,
    AUDIO_OUTPUT,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED_AUDIO_INPUT,
    CACHED_IMAGE_INPUT,
    CACHED_INPUT,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    INPUT,
    METERS,
    REASONING,
    WEB_SEARCH,
    Usage,
    Whole,
)
from services.ledger.adapters.price_catalogue import GenaiPrices, UnchargeableError, compile_price
from tests.worlds.spool_lines import call

GOLDEN = Path(__file__).parent / "golden" / "usage"
TIME_MS = 1_795_464_000_000
VENDORS = {"openai": ("openai", "chat"), "anthropic": ("anthropic", "default"), "gemini": ("google", "default")}
CASES = [
    pytest.param(dialect, case, id=f"{dialect}-{at}-{case['model']}")
    for dialect in VENDORS
    for at, case in enumerate(orjson.loads((GOLDEN / f"{dialect}.json").read_bytes()))
]


@pytest.fixture(scope="module")
def catalogue() -> GenaiPrices:
    return GenaiPrices()


def as_envoy_reports(dialect: str, response: dict[str, Any]) -> dict[str, Any]:
    """What Envoy's token meter makes of a response: input with all cached tokens, output with all reasoning."""
    match dialect:
        case "openai":
            usage = response["usage"]
            return {
                "input_tokens": usage["prompt_tokens"],
                "output_tokens": usage["completion_tokens"],
                "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
                "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
            }
        case "anthropic":
            usage = response["usage"]
            read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
            return {
                "input_tokens": usage["input_tokens"] + read + written,
                "output_tokens": usage["output_tokens"],
                "cached_tokens": read,
                "cache_creation_tokens": written,
                "features": "cache_1h" if usage["cache_creation"]["ephemeral_1h_input_tokens"] else None,
            }
        case _:
            usage = response["usageMetadata"]
            thoughts = usage.get("thoughtsTokenCount", 0)
            return {
                "input_tokens": usage["promptTokenCount"],
                "output_tokens": usage["candidatesTokenCount"] + thoughts,
                "cached_tokens": usage.get("cachedContentTokenCount", 0),
                "reasoning_tokens": thoughts,
            }


def test_the_table_is_large() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(("dialect", "case"), CASES)
def test_a_reported_usage_is_charged_as_the_catalogue_charges_it(
    catalogue: GenaiPrices, dialect: str, case: dict[str, Any]
) -> None:
    provider, flavour = VENDORS[dialect]
    theirs = extract_usage(case["response"], provider_id=provider, api_flavor=flavour).calc_price(
        genai_request_timestamp=datetime.fromtimestamp(TIME_MS / 1000, UTC)
    )
    usage = call(**as_envoy_reports(dialect, case["response"])).usage
    price = catalogue.price(provider, case["model"], TIME_MS)

    assert usage is not None
    assert price is not None
    assert charge(usage, price) == math.ceil(theirs.total_price * 10**9) == case["cost_nano_usd"]


@pytest.mark.parametrize(("dialect", "case"), CASES)
def test_the_disjoint_parts_add_up_to_the_whole(dialect: str, case: dict[str, Any]) -> None:
    usage = call(**as_envoy_reports(dialect, case["response"])).usage

    assert usage is not None
    whole = dict.fromkeys(Whole, 0)
    for meter, count in usage.buckets.items():
        whole[METERS[meter].whole] += count
    assert (whole[Whole.INPUT], whole[Whole.OUTPUT]) == (usage.input_tokens, usage.output_tokens)


def test_nearly_every_chat_model_of_the_three_vendors_has_a_price(catalogue: GenaiPrices) -> None:
    unpriced = [
        f"{provider.id}/{model.id}"
        for provider in get_snapshot().providers
        if provider.id in {"openai", "anthropic", "google"}
        for model in provider.models
        if catalogue.price(provider.id, model.id, TIME_MS) is None
    ]

    # What is left makes or hears images, sound and video, embeds, or moderates.
    chats = ("gpt-4", "gpt-5", "o1", "o3", "o4", "claude", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-3")
    others = ("audio", "image", "realtime", "transcribe", "tts", "live", "embedding", "omni")
    assert [
        name for name in unpriced if name.split("/")[1].startswith(chats) and not any(each in name for each in others)
    ] == []


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-of-tomorrow"), ("no-such-vendor", "gpt-4o")])
def test_an_unknown_model_or_vendor_has_no_price(catalogue: GenaiPrices, provider: str, model: str) -> None:
    assert catalogue.price(provider, model, TIME_MS) is None


def test_a_call_is_charged_as_of_the_moment_it_began(catalogue: GenaiPrices) -> None:
    january = int(datetime(2025, 1, 15, tzinfo=UTC).timestamp() * 1000)

    then, now = catalogue.price("openai", "o3", january), catalogue.price("openai", "o3", TIME_MS)

    assert then is not None
    assert now is not None
    assert (then.tiers[0].rate(INPUT), now.tiers[0].rate(INPUT)) == (10_000_000, 2_000_000)


TEXT = {"input_mtok": Decimal("2.5"), "output_mtok": Decimal(10)}


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ({"output_mtok": Decimal(1)}, "no price for input"),
        ({**TEXT, "output_citation_mtok": Decimal(30)}, "output_citation_mtok"),
        ({**TEXT, "audio_hours": Decimal("0.1")}, "audio_hours"),
        ({**TEXT, "cache_write_mtok": Decimal("0.08333333333333334")}, "finer than a pico-dollar"),
        ({**TEXT, "requests_kcount": TieredPrices(Decimal(1), [Tier(5, Decimal(2))])}, "has tiers"),
    ],
)
def test_what_cannot_be_charged_exactly_is_refused(published: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnchargeableError, match=reason):
        compile_price(published)


def test_what_the_catalogue_leaves_out_costs_as_documented_or_an_unknown_amount() -> None:
    (tier,) = compile_price(TEXT).tiers

    assert (tier.rate(CACHED_INPUT), tier.rate(CACHE_WRITE_5M), tier.rate(REASONING)) == (2_500_000, 2_500_000, 10**7)
    unknown = [meter for meter in METERS if tier.rate(meter) is None]
    assert {CACHE_WRITE_1H, AUDIO_INPUT, AUDIO_OUTPUT, IMAGE_INPUT, IMAGE_OUTPUT, WEB_SEARCH} <= set(unknown)


def test_sound_images_and_searches_have_the_prices_that_are_published(catalogue: GenaiPrices) -> None:
    flash = catalogue.price("google", "gemini-2.5-flash", TIME_MS)
    maker = catalogue.price("google", "gemini-3-pro-image-preview", TIME_MS)
    assert flash is not None
    assert maker is not None

    (tier,) = flash.tiers
    # $1 for sound, $0.10 cached, $0.30 for "text / image / video", $35 for a thousand searches.
    assert (tier.rate(AUDIO_INPUT), tier.rate(CACHED_AUDIO_INPUT)) == (1_000_000, 100_000)
    assert (tier.rate(IMAGE_INPUT), tier.rate(CACHED_IMAGE_INPUT)) == (300_000, 30_000)
    assert tier.rate(WEB_SEARCH) == 35_000_000_000
    assert tier.rate(AUDIO_OUTPUT) is None
    assert charge(Usage(0, 100, {IMAGE_OUTPUT: 100}), maker) == 100 * 120_000


def test_a_price_per_request_is_in_nano_dollars() -> None:
    assert compile_price({**TEXT, "requests_kcount": Decimal(5)}).request_nano_usd == 5_000_000
