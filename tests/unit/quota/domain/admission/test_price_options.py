from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.money import PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.quota.domain.admission.estimate import bound, held_by_chain, most_of
from services.quota.domain.admission.price_options import NO_EXTRAS, Extras, extras_of, member_of
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.policy import Mode
from services.quota.domain.routing.target_facts import TargetFacts
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, CENT_FACTS, DEAR, World, spend

TARGET = TargetFacts(4_096, 128_000, 10_000, DEAR, 4_096)
RATES = DEAR.tiers[0].rates


def rated(**more: int) -> Price:
    return Price((PriceTier(0, {**RATES, **{name: PicoUsdPerToken(rate) for name, rate in more.items()}}),))


@pytest.mark.parametrize(
    ("options", "extras"),
    [
        ((), NO_EXTRAS),
        (("service_tier=priority",), Extras(service_tier="priority")),
        (("prediction=15000",), Extras(output_tokens=15_000)),
        (("audio", "modalities=audio"), Extras(speaks=True)),
        (("responseModalities=IMAGE",), Extras(draws=True)),
        (("tools.web_search_20250305=3",), Extras(searches=3, readings=4)),
        (("tools.web_fetch_20250910=2", "tools.web_search_20250305=3"), Extras(searches=3, readings=6)),
    ],
)
def test_what_is_in_the_table_is_bounded(options: tuple[str, ...], extras: Extras) -> None:
    assert extras_of(options) == extras


@pytest.mark.parametrize(
    "option",
    [
        "models", "plugins", "speed=fast", "inference_geo=us", "search_parameters", "deferred", "tools=web_search",
        "tools.web_search_20250305", "tools.web_search_20250305=1001", "tools.googleSearch", "tools.code_execution=5",
        "context_management=compact_20260112", "modalities=video", "prediction=", "service_tier=", "never_heard_of_it",
        "cache_control.ttl=1d", "mcp_servers",
    ],
)  # fmt: skip
def test_whatever_is_not_in_the_table_has_no_price(option: str) -> None:
    assert extras_of(("prediction=5", option)).unpriceable == option
    assert most_of(RequestFacts(10, price_options=(option,)), TARGET).cost_nano_usd is None


def test_a_service_tier_is_held_at_its_price_where_there_is_one() -> None:
    facts = replace(CENT_FACTS, price_options=("service_tier=priority",))
    priced = Price(DEAR.tiers, service_tiers={"priority": rated(input=2_000_000, output=18_000_000).tiers})

    assert most_of(facts, TARGET).cost_nano_usd is None
    assert most_of(facts, replace(TARGET, price=priced)).cost_nano_usd is not None
    assert held_by_chain(facts, (replace(TARGET, price=priced),)).cost_nano_usd == 2 * CENT


def test_a_search_is_held_with_its_fee_and_the_input_once_more_for_each() -> None:
    facts = replace(CENT_FACTS, features=frozenset({"server_tools"}), price_options=("tools.web_search_1=2",))
    target = replace(TARGET, price=rated(web_search=10_000_000_000))

    assert most_of(facts, TARGET).cost_nano_usd is None
    assert bound(facts, target).input == 3 * 128_000
    tokens = 3 * 128_000 * 1_000 + 1_000 * 9_000
    assert held_by_chain(facts, (target,)).cost_nano_usd == tokens + 2 * 10_000_000


def test_what_is_rejected_of_a_prediction_is_held_as_output_of_each_choice() -> None:
    facts = RequestFacts(10, max_output_tokens=100, choices=2, price_options=("prediction=500",))

    assert bound(facts, TARGET).output == 1_200


def test_sound_is_held_at_its_own_rate_and_never_at_that_of_text() -> None:
    heard = RequestFacts(1_000, audio_bytes=400, max_output_tokens=0, features=frozenset({"audio"}))
    spoken = RequestFacts(0, max_output_tokens=100, price_options=("modalities=audio",))
    fetched = RequestFacts(10, max_output_tokens=0, features=frozenset({"files"}))
    target = replace(TARGET, price=rated(audio_input=5_000_000, audio_output=20_000_000))

    assert most_of(heard, TARGET).cost_nano_usd is None
    assert most_of(spoken, TARGET).cost_nano_usd is None
    assert most_of(fetched, TARGET).cost_nano_usd is not None
    assert held_by_chain(heard, (target,)).cost_nano_usd == 600 * 1_000 + 400 * 5_000
    assert held_by_chain(spoken, (target,)).cost_nano_usd == 100 * 20_000
    # A file may be a recording.
    assert held_by_chain(fetched, (target,)).cost_nano_usd == 128_000 * 5_000


def test_pictures_in_the_answer_need_a_price() -> None:
    facts = RequestFacts(0, max_output_tokens=100, price_options=("responseModalities=IMAGE",))
    target = replace(TARGET, price=rated(image_output=30_000_000))

    assert most_of(facts, TARGET).cost_nano_usd is None
    assert held_by_chain(facts, (target,)).cost_nano_usd == 100 * 30_000


@pytest.mark.parametrize(
    ("option", "member"),
    [("speed=fast", "speed"), ("tools.web_search_20250305", "tools"), ("models", "models"),
     ("cache_control.ttl=1d", "cache_control")],
)  # fmt: skip
def test_an_option_belongs_to_a_member(option: str, member: str) -> None:
    assert member_of(option) == member


def test_an_enforced_limit_on_spend_refuses_by_name_and_no_other_limit_does() -> None:
    facts = replace(CENT_FACTS, price_options=("speed=fast",))
    refused = World((spend("month", 100),)).ask(facts=facts)

    assert isinstance(refused, Deny)
    assert (refused.denial, refused.parameter) == (Denial.NO_FIT_TARGET, "speed")
    assert "speed=fast" in refused.detail
    for policy in (replace(spend("month", 100), mode=Mode.SHADOW), replace(spend("month", 100), allows_unpriced=True)):
        assert isinstance(World((policy,)).ask(facts=facts), Admitted)
    assert isinstance(World().ask(facts=facts), Admitted)


def test_members_that_nobody_knows_hold_the_window_and_all_output() -> None:
    facts = replace(CENT_FACTS, unknown_members=("frobnicate",))
    most = 128_000 * 1_000 + 4_096 * 9_000

    assert held_by_chain(facts, (TARGET,)).cost_nano_usd == most
    admitted = World((spend("month", 100),)).ask(facts=facts)
    assert isinstance(admitted, Admitted)
    assert admitted.reservation.holds[0].held == most


@pytest.mark.parametrize("cents", [1, 5])
def test_400_000_tokens_on_an_untouched_budget_are_too_many_and_the_budget_is_not_exhausted(cents: int) -> None:
    world = World((spend("month", cents),))
    refused = world.ask(facts=RequestFacts(400_000, max_output_tokens=16))

    assert isinstance(refused, Deny)
    assert refused.denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET
    assert (refused.limit, refused.used, refused.reserved) == (cents * CENT, 0, 0)
    assert refused.requested == 128_000 * 1_000 + 16 * 9_000
