"""What is held covers what is charged, whatever the price and however the tokens fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import MAX_NANO_USD, NanoUsd, PicoUsdPerToken, format_usd, parse_usd
from services.kernel.price import Price, PriceTier, charge, charge_at_most
from services.kernel.usage import Usage
from services.quota.domain.estimate import RequestFacts, TargetFacts, bound, held_by_chain

PRICE = st.integers(0, 100_000_000).map(PicoUsdPerToken)
TOKENS = st.integers(0, 300_000)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    bounds = [0, *sorted(draw(st.sets(st.integers(1, 250_000), max_size=2)))]
    tiers = tuple(PriceTier(above, *(draw(PRICE) for _ in range(6))) for above in bounds)
    return Price(tiers, NanoUsd(draw(st.integers(0, 10_000_000))))


@st.composite
def usages(draw: st.DrawFn, *, one_hour: bool = True) -> Usage:
    cached, written_5m, visible, reasoning = (draw(TOKENS) for _ in range(4))
    written_1h = draw(TOKENS) if one_hour else 0
    return Usage(
        input_tokens=draw(TOKENS) + cached + written_5m + written_1h,
        output_tokens=visible + reasoning,
        cached_input_tokens=cached,
        cache_write_5m_tokens=written_5m,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=reasoning,
    )


@given(prices(), usages(), TOKENS, TOKENS)
def test_no_usage_within_the_bounds_costs_more_than_what_is_held(
    price: Price, usage: Usage, more_input: int, more_output: int
) -> None:
    most = charge_at_most(
        usage.input_tokens + more_input, usage.output_tokens + more_output, price, writes_cache_1h=True
    )

    assert charge(usage, price) <= most


@given(prices(), usages(one_hour=False))
def test_without_an_hour_of_caching_its_price_need_not_be_held(price: Price, usage: Usage) -> None:
    assert charge(usage, price) <= charge_at_most(usage.input_tokens, usage.output_tokens, price, writes_cache_1h=False)


@given(usages())
def test_the_buckets_of_usage_add_up_to_its_total(usage: Usage) -> None:
    part = usage.buckets

    assert usage.total_tokens == (
        part.uncached_input
        + part.cached_input
        + part.cache_write_5m
        + part.cache_write_1h
        + part.visible_output
        + part.reasoning
    )


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
        spent += charge(Usage(input_tokens, output_tokens), price)

    assert spent <= held.spend_nano_usd


@given(st.integers(0, MAX_NANO_USD))
def test_an_amount_that_is_written_reads_back_the_same(nano_usd: int) -> None:
    assert parse_usd(format_usd(nano_usd)) == nano_usd
