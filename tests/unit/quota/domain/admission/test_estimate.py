from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.endpoint import Operation
from services.kernel.limit_kind import LimitKind
from services.kernel.money import PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import CACHE_WRITE_1H, INPUT
from services.quota.domain.admission.estimate import bound, expected_tokens, held_by_chain, is_boundable, most_of
from services.quota.domain.admission.learning import UsageSample, learn
from services.quota.domain.admission.request_facts import Amounts, RequestFacts, Tokens
from services.quota.domain.policies.limit_id import MAX_COUNT, MAX_SPEND_NANO_USD
from services.quota.domain.routing.target_facts import OUTPUT_CEILING_WHEN_UNKNOWN, TargetFacts
from tests.worlds.quota import CENT, CHEAP, DEAR, target

TARGET = TargetFacts(
    output_ceiling=4_096, context_window=128_000, image_tokens=10_000, price=DEAR, longest_output=4_096
)
UNKNOWN_WINDOW = replace(TARGET, context_window=0)


@pytest.mark.parametrize(
    ("facts", "input_tokens"),
    [
        (RequestFacts(2_000), 2_000),
        (RequestFacts(2_000, features=frozenset({"tools"})), 3_000),
        (RequestFacts(50_000, data_uri_bytes=48_000, images=2, features=frozenset({"images"})), 22_000),
        (RequestFacts(50_000, audio_bytes=48_000, features=frozenset({"audio"})), 50_000),
        (RequestFacts(2_000, growth_bytes=500), 2_500),
        (RequestFacts(2_000, unknown_members=("frobnicate",)), 128_000),
        (RequestFacts(2_000, features=frozenset({"files"})), 128_000),
        (RequestFacts(2_000, features=frozenset({"stored_input"})), 128_000),
        (RequestFacts(2_000, features=frozenset({"tools", "server_tools"})), 128_000),
        (RequestFacts(10_000_000), 128_000),
        (RequestFacts(10, data_uri_bytes=20, images=1), 10_000),
    ],
)
def test_the_input_is_bounded_by_bytes_images_and_the_context_window(facts: RequestFacts, input_tokens: int) -> None:
    assert bound(facts, TARGET).input == input_tokens


def test_without_a_known_window_bytes_are_the_bound_and_stored_input_has_none() -> None:
    stored = RequestFacts(2_000, features=frozenset({"stored_input"}))

    assert bound(RequestFacts(10_000_000), UNKNOWN_WINDOW).input == 10_000_000
    assert is_boundable(stored, TARGET)
    assert not is_boundable(stored, UNKNOWN_WINDOW)
    assert is_boundable(RequestFacts(2_000), UNKNOWN_WINDOW)


@pytest.mark.parametrize(
    ("asked", "choices", "output_tokens"),
    [(None, 1, 4_096), (100, 1, 100), (100, 3, 300), (999_999_999, 1, 4_096), (None, 2, 8_192), (0, 1, 0)],
)
def test_the_output_is_bounded_by_the_client_and_the_ceiling_for_each_choice(
    asked: int | None, choices: int, output_tokens: int
) -> None:
    assert bound(RequestFacts(10, max_output_tokens=asked, choices=choices), TARGET).output == output_tokens


def test_an_unknown_member_may_be_another_name_of_the_bound_on_output() -> None:
    facts = RequestFacts(10, max_output_tokens=5, choices=2, unknown_members=("n_tokens",))

    assert bound(facts, TARGET).output == 2 * 4_096
    assert is_boundable(facts, TARGET)
    assert not is_boundable(facts, UNKNOWN_WINDOW)
    unknown_ceiling = TargetFacts.of(target("lab/x", max_output_tokens=0), None)
    assert bound(facts, unknown_ceiling).output == 2 * unknown_ceiling.context_window


@pytest.mark.parametrize("operation", [each for each in Operation if not each.writes])
def test_vectors_are_no_output_whatever_else_the_request_says(operation: Operation) -> None:
    facts = RequestFacts(10, max_output_tokens=0, unknown_members=("n_tokens",), operation=operation)

    assert bound(facts, TARGET).output == 0
    assert bound(replace(facts, operation=Operation.CHAT), TARGET).output == 4_096


def test_facts_are_read_off_a_planned_target() -> None:
    assert TargetFacts.of(target("lab/x", max_output_tokens=0), None).output_ceiling == OUTPUT_CEILING_WHEN_UNKNOWN
    assert TargetFacts.of(target("lab/x"), DEAR) == TARGET
    assert TargetFacts.of(target("openai/gpt-4o-mini-2024-07-18"), DEAR).image_tokens == 48_169


def test_a_chain_holds_the_sum_of_its_attempts_but_one_request() -> None:
    facts = RequestFacts(1_000, max_output_tokens=1_000)

    held = held_by_chain(facts, (TARGET, replace(TARGET, price=CHEAP)))

    assert held == Amounts(CENT + CENT // 10, 2_000, 2_000, calls=1)


def test_an_absurd_request_holds_more_than_any_limit_and_less_than_a_counter() -> None:
    held = held_by_chain(RequestFacts(10**18, max_output_tokens=4_096, choices=10**18), (UNKNOWN_WINDOW,) * 3)

    for kind in (LimitKind.SPEND, LimitKind.TOKENS, LimitKind.INPUT_TOKENS, LimitKind.OUTPUT_TOKENS):
        assert max(MAX_COUNT, MAX_SPEND_NANO_USD) < held.of(kind) < 2**63


def test_an_unpriced_target_holds_tokens_but_no_money() -> None:
    assert held_by_chain(RequestFacts(10, max_output_tokens=5), (replace(TARGET, price=None),)) == Amounts(0, 10, 5)


def test_the_price_of_an_hour_of_caching_is_held_only_when_it_is_asked_for() -> None:
    rates = DEAR.tiers[0].rates
    dear_hour = Price((PriceTier(0, {**rates, CACHE_WRITE_1H: PicoUsdPerToken(2 * rates[INPUT])}),))
    facts = RequestFacts(1_000, max_output_tokens=0)
    hour = replace(facts, features=frozenset({"cache_control", "cache_1h"}))
    targets = (replace(TARGET, price=dear_hour),)

    assert held_by_chain(hour, targets).cost_nano_usd == 2 * held_by_chain(facts, targets).cost_nano_usd


def test_a_target_without_a_price_for_an_hour_of_caching_cannot_price_a_call_that_asks_for_it() -> None:
    facts = RequestFacts(1_000, features=frozenset({"cache_control", "cache_1h"}))

    assert most_of(replace(facts, features=frozenset({"cache_control"})), TARGET).cost_nano_usd is not None
    assert most_of(facts, TARGET).cost_nano_usd is None
    assert most_of(RequestFacts(1_000), replace(TARGET, price=None)).cost_nano_usd is None
    assert held_by_chain(facts, (TARGET,)).cost_nano_usd == 0


def test_an_amount_is_there_for_every_kind_of_limit() -> None:
    amounts = Amounts(cost_nano_usd=1, input_tokens=20, output_tokens=300)

    assert {kind: amounts.of(kind) for kind in LimitKind} == {
        LimitKind.SPEND: 1,
        LimitKind.TOKENS: 320,
        LimitKind.INPUT_TOKENS: 20,
        LimitKind.OUTPUT_TOKENS: 300,
        LimitKind.REQUESTS: 1,
        LimitKind.CONCURRENCY: 1,
        LimitKind.REQUEST_COST: 1,
        LimitKind.BURN_RATE: 0,
    }


def test_what_is_expected_never_exceeds_the_bound() -> None:
    facts = RequestFacts(1_001, max_output_tokens=55)

    assert expected_tokens(facts, TARGET, None) == Tokens(101, 6)
    assert expected_tokens(facts, TARGET, Tokens(300, 20)) == Tokens(300, 20)
    assert expected_tokens(facts, TARGET, Tokens(9_999, 9_999)) == Tokens(1_001, 55)


def took(input_tokens: int, output_tokens: int, *, cut: bool = False) -> UsageSample:
    return UsageSample("key", "model", Tokens(input_tokens, output_tokens), cut)


def test_learning_follows_what_calls_take_and_settles_on_it() -> None:
    learned = learn(None, took(800, 80))
    assert learned == Tokens(800, 80)
    assert learn(learned, took(0, 0)) == Tokens(700, 70)

    for _ in range(100):
        learned = learn(learned, took(100, 10))
    assert abs(learned.input - 100) <= 4
    assert abs(learned.output - 10) <= 4


def test_a_call_that_was_cut_can_only_raise_what_is_expected() -> None:
    learned = Tokens(800, 80)

    assert learn(learned, took(0, 40, cut=True)) == Tokens(700, 80)
    assert learn(learned, took(800, 160, cut=True)) == Tokens(800, 90)
    assert learn(None, took(800, 40, cut=True)) == Tokens(800, 40)
