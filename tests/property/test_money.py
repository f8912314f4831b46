"""The hold covers the charge, whatever the price and however the tokens fall."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import MAX_NANO_USD, NanoUsd, PicoUsdPerToken, format_usd, parse_usd
from services.kernel.price import ANY_SERVICE_TIER, Bounds, Price, PriceTier, charge, charge_at_most
from services.kernel.usage import (
    CACHED_IMAGE_INPUT,
    CACHED_VIDEO_INPUT,
    INPUT,
    METERS,
    OUTPUT,
    Asked,
    Usage,
    Whole,
)
from services.quota.domain.admission.estimate import bound, held_by_chain
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.routing.target_facts import TargetFacts

PRICE = st.integers(0, 100_000_000).map(PicoUsdPerToken)
TOKENS = st.integers(0, 300_000)


SERVICE_TIERS = ("priority", "flex")
_PARTS = sorted(METERS.keys() - {INPUT, OUTPUT})


@st.composite
def tiers_of_prices(draw: st.DrawFn) -> tuple[PriceTier, ...]:
    """Input and output have a rate, any other meter may have one."""
    bounds = [0, *sorted(draw(st.sets(st.integers(1, 250_000), max_size=2)))]
    rates = st.fixed_dictionaries({INPUT: PRICE, OUTPUT: PRICE}, optional=dict.fromkeys(_PARTS, PRICE))
    return tuple(PriceTier(above, draw(rates)) for above in bounds)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    service_tiers = draw(st.dictionaries(st.sampled_from(SERVICE_TIERS), tiers_of_prices()))
    return Price(draw(tiers_of_prices()), NanoUsd(draw(st.integers(0, 10_000_000))), service_tiers)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Of any meters, in any service tier."""
    meters = draw(st.dictionaries(st.sampled_from(_PARTS), TOKENS, max_size=4))
    return Usage(
        input_tokens=draw(TOKENS) + sum(count for name, count in meters.items() if METERS[name].whole is Whole.INPUT),
        output_tokens=draw(TOKENS) + sum(count for name, count in meters.items() if METERS[name].whole is Whole.OUTPUT),
        meters=meters,
        service_tier=draw(st.sampled_from(("", "default", *SERVICE_TIERS))),
    )


def asked(usage: Usage, which: Asked, whole: Whole) -> int:
    """The part of a usage that only such a request can cause."""
    of_kind = [name for name, meter in METERS.items() if meter.asked is which and meter.whole is whole]
    return sum(usage.meters.get(name, 0) for name in of_kind)


def bounds_around(usage: Usage, slack: int, *, service_tier: str) -> Bounds:
    """Bounds that hold for a usage, each `slack` above it."""
    return Bounds(
        input_tokens=usage.input_tokens + slack,
        output_tokens=usage.output_tokens + slack,
        audio_input_tokens=asked(usage, Asked.WITH_AUDIO, Whole.INPUT),
        audio_output_tokens=asked(usage, Asked.WITH_AUDIO, Whole.OUTPUT),
        writes_cache_1h=asked(usage, Asked.FOR_AN_HOUR, Whole.INPUT) > 0,
        searches=asked(usage, Asked.WITH_SEARCH, Whole.NOTHING),
        service_tier=service_tier,
    )


@given(prices(), usages(), TOKENS)
def test_no_usage_within_the_bounds_costs_more_than_what_is_held(price: Price, usage: Usage, slack: int) -> None:
    for service_tier in (usage.service_tier, ANY_SERVICE_TIER):
        most = charge_at_most(bounds_around(usage, slack, service_tier=service_tier), price)
        cost = charge(usage, price)

        assert most is None or cost is None or cost <= most


@given(prices(), usages())
def test_what_is_bounded_has_a_cost_unless_it_has_pictures_or_the_unknown_in_it(price: Price, usage: Usage) -> None:
    unbounded = [name for name in usage.meters if METERS[name].asked is Asked.ALWAYS and not METERS[name].priced_as]
    most = charge_at_most(bounds_around(usage, 0, service_tier=usage.service_tier), price)

    assert most is None or unbounded or _is_cached_picture(usage) or charge(usage, price) is not None


def _is_cached_picture(usage: Usage) -> bool:
    return not usage.meters.keys().isdisjoint({CACHED_IMAGE_INPUT, CACHED_VIDEO_INPUT})


@given(prices(), usages(), TOKENS)
def test_a_call_in_a_service_tier_that_falls_back_to_the_base_costs_no_more_than_is_held(
    price: Price, usage: Usage, slack: int
) -> None:
    for service_tier in SERVICE_TIERS:
        most = charge_at_most(bounds_around(usage, slack, service_tier=service_tier), price)
        cost = charge(replace(usage, service_tier="standard"), price)

        assert most is None or cost is None or cost <= most


@given(usages())
def test_the_buckets_of_usage_add_up_to_its_total(usage: Usage) -> None:
    tokens = [count for name, count in usage.buckets.items() if METERS[name].whole is not Whole.NOTHING]

    assert sum(tokens) == usage.total_tokens


@given(
    st.lists(prices(), min_size=1, max_size=3),
    st.integers(0, 100_000),
    st.integers(0, 8_000) | st.none(),
    st.integers(1, 4),
    st.data(),
)
def test_a_chain_whose_every_attempt_was_billed_costs_no_more_than_it_holds(
    chain: list[Price], body_bytes: int, max_output_tokens: int | None, choices: int, data: st.DataObject
) -> None:
    facts = RequestFacts(body_bytes, choices=choices, max_output_tokens=max_output_tokens)
    targets = tuple(TargetFacts(4_096, 128_000, 10_000, price) for price in chain)
    held = held_by_chain(facts, targets)

    spent = 0
    for target, price in zip(targets, chain, strict=True):
        most = bound(facts, target)
        input_tokens, output_tokens = data.draw(st.integers(0, most.input)), data.draw(st.integers(0, most.output))
        spent += charge(Usage(input_tokens, output_tokens), price) or 0

    assert spent <= held.cost_nano_usd


@given(st.integers(0, MAX_NANO_USD))
def test_an_amount_that_is_written_reads_back_the_same(nano_usd: int) -> None:
    assert parse_usd(format_usd(nano_usd)) == nano_usd
