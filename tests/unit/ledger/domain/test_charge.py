from __future__ import annotations

from typing import Any

import pytest

from services.kernel.settlement import Most
from services.kernel.usage import INPUT, OUTPUT, Usage, UsageSource
from services.ledger.domain.charge import charge_call
from tests.worlds.spool_lines import NO_USAGE, PRICE, attempt, call, price_of

EXPECTED = Usage(900, 300)
EXPECTED_NANO_USD = 900 * 2_500 + 300 * 10_000


@pytest.mark.parametrize("status", [200, 500, 0])
def test_the_providers_word_wins_whatever_the_end(status: int) -> None:
    charge = charge_call(call(status=status, flags="DC"), (), price_of)

    assert charge.source is UsageSource.PROVIDER
    assert charge.cost_nano_usd == 1_000 * 2_500 + 100 * 10_000
    assert charge.target == "openai/gpt-4o"


def test_explicit_zeros_are_the_providers_word() -> None:
    charge = charge_call(call(input_tokens="0", output_tokens="0"), (), price_of)

    assert (charge.usage, charge.source, charge.cost_nano_usd) == (Usage(), UsageSource.PROVIDER, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": 400},
        {"status": 429, "flags": "URX"},
        {"status": 500},
        {"status": 500, "flags": "DC", "details": "downstream_remote_disconnect"},
        {"status": 307},
        {"status": 503, "flags": "UF,URX"},
        {"status": 503, "attempts": 0, "details": "lua_response"},
        {"status": 0, "attempts": 0, "flags": "DC"},
    ],
)
def test_a_call_for_which_no_provider_worked_costs_nothing(changed: dict[str, Any]) -> None:
    charge = charge_call(call(**NO_USAGE, **changed), (), price_of)

    assert (charge.usage, charge.source, charge.cost_nano_usd) == (Usage(), UsageSource.NONE, 0)


@pytest.mark.parametrize(
    "changed", [{"status": 504, "flags": "UT"}, {"status": 503, "flags": "UC"}, {"status": 0, "flags": "DC"}]
)
def test_a_request_that_went_out_and_had_no_answer_is_booked_as_expected(changed: dict[str, Any]) -> None:
    charge = charge_call(call(**NO_USAGE, **changed, bytes_sent=150), (), price_of)

    assert (charge.usage, charge.source) == (EXPECTED, UsageSource.ESTIMATED)
    assert charge.cost_nano_usd == EXPECTED_NANO_USD


@pytest.mark.parametrize(
    "changed",
    [
        {"status": 504},
        {"status": 408},
        {"status": 524},
        {"status": 499},
        {"status": 504, "flags": "DC", "details": "downstream_remote_disconnect"},
        {"status": 400, "usage": {"meter": "none", "error": "content_filter"}},
    ],
)
def test_an_error_after_which_a_provider_may_bill_is_booked_as_expected_and_the_rest_is_in_doubt(
    changed: dict[str, Any],
) -> None:
    held = {"held_input_tokens": 4_000, "held_output_tokens": 4_096}
    charge = charge_call(call(**NO_USAGE, **changed, **held, bytes_sent=150), (), price_of)

    assert (charge.usage, charge.source) == (EXPECTED, UsageSource.ESTIMATED)
    assert (charge.cost_nano_usd, charge.target) == (EXPECTED_NANO_USD, "openai/gpt-4o")
    assert charge.most == Most(4_000 * 2_500 + 4_096 * 10_000, 4_000, 4_096)


def test_what_a_provider_says_with_an_error_wins_over_every_estimate() -> None:
    charge = charge_call(call(status=504), (), price_of)

    assert (charge.source, charge.cost_nano_usd, charge.most) == (UsageSource.PROVIDER, 3_500_000, None)


@pytest.mark.parametrize("status", [408, 504, 524])
def test_an_earlier_attempt_whose_time_was_up_is_added_as_an_estimate(status: int) -> None:
    late = attempt(attempt=1, status=status)

    charge = charge_call(call(attempts=2, chain="openai/gpt-4o,openai/gpt-4o"), [late], price_of)

    assert (charge.cost_nano_usd, charge.source) == (3_500_000 + EXPECTED_NANO_USD, UsageSource.ESTIMATED)
    assert [part.attempt for part in charge.unanswered] == [1]


def test_the_target_of_the_last_attempt_is_the_one_that_is_charged() -> None:
    charge = charge_call(call(attempts=2, chain="lab/tiny,openai/gpt-4o"), [attempt(attempt=1, status=500)], price_of)

    assert charge.target == "openai/gpt-4o"
    assert charge.cost_nano_usd == 1_000 * 2_500 + 100 * 10_000
    assert charge.unanswered == ()


@pytest.mark.parametrize("chain", ["lab/tiny", None])
def test_a_target_without_a_price_costs_an_unknown_amount_and_not_zero(chain: str | None) -> None:
    charge = charge_call(call(chain=chain), (), price_of)

    assert charge.cost_nano_usd is None
    assert charge.source is UsageSource.PROVIDER


@pytest.mark.parametrize("operation", ["count_tokens", "moderations"])
@pytest.mark.parametrize("chain", ["lab/tiny", "openai/gpt-4o"])
def test_a_call_that_no_vendor_charges_for_costs_nothing_whatever_the_price(chain: str, operation: str) -> None:
    free = call(chain=chain)._replace(operation=operation)

    assert charge_call(free, (), price_of).cost_nano_usd == 0
    assert charge_call(free._replace(operation="chat"), (), price_of).cost_nano_usd != 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_earlier_attempt_that_failed_with_a_status_costs_nothing(status: int) -> None:
    charge = charge_call(
        call(attempts=2, chain="openai/gpt-4o,openai/gpt-4o"), [attempt(attempt=1, status=status)], price_of
    )

    assert (charge.cost_nano_usd, charge.source) == (3_500_000, UsageSource.PROVIDER)


def test_an_earlier_attempt_that_was_refused_costs_nothing() -> None:
    refused = attempt(attempt=1, status=0, flags="UF", failure="connection refused")

    charge = charge_call(call(attempts=2, chain="openai/gpt-4o,openai/gpt-4o"), [refused], price_of)

    assert charge.cost_nano_usd == 3_500_000


def test_an_earlier_attempt_that_timed_out_is_added_as_an_estimate() -> None:
    hung = attempt(attempt=1, status=0, flags="UT")

    charge = charge_call(call(attempts=2, chain="openai/gpt-4o,openai/gpt-4o"), [attempt(attempt=2), hung], price_of)

    assert charge.cost_nano_usd == 3_500_000 + EXPECTED_NANO_USD
    assert charge.usage == Usage(1_900, 400)
    assert charge.source is UsageSource.ESTIMATED
    assert [(part.attempt, part.target, part.cost_nano_usd) for part in charge.unanswered] == [
        (1, "openai/gpt-4o", EXPECTED_NANO_USD)
    ]


def test_a_timed_out_attempt_at_a_target_without_a_price_makes_the_whole_cost_unknown() -> None:
    hung = attempt(attempt=1, status=0, flags="UT")

    charge = charge_call(call(attempts=2, chain="lab/tiny,openai/gpt-4o"), [hung], price_of)

    assert charge.cost_nano_usd is None
    assert charge.unanswered[0].cost_nano_usd is None


def test_a_call_that_ended_in_vain_after_a_timed_out_attempt_costs_that_attempt() -> None:
    hung = attempt(attempt=1, status=0, flags="UT")

    charge = charge_call(call(attempts=2, chain="openai/gpt-4o,lab/tiny", status=500, **NO_USAGE), [hung], price_of)

    assert (charge.usage, charge.source, charge.cost_nano_usd) == (EXPECTED, UsageSource.ESTIMATED, EXPECTED_NANO_USD)


def test_the_last_attempts_own_line_does_not_charge_it_twice() -> None:
    last = attempt(attempt=1, status=0, flags="UT")

    charge = charge_call(call(**NO_USAGE, status=504, flags="UT"), [last], price_of)

    assert charge.cost_nano_usd == EXPECTED_NANO_USD


def test_the_price_of_the_test_is_that_of_the_arithmetic() -> None:
    assert (PRICE.tiers[0].rate(INPUT), PRICE.tiers[0].rate(OUTPUT)) == (2_500_000, 10_000_000)
