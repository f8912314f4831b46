"""The booked estimate of a call that no provider measured, and the most that it can have taken."""

from __future__ import annotations

from typing import Any

import pytest

from services.kernel.settlement import Most
from services.kernel.usage import CACHED_INPUT, INPUT, OUTPUT, Usage, UsageSource
from services.ledger.domain.charge import Charge, charge_call
from services.ledger.domain.outcome import Outcome
from services.ledger.domain.unmeasured import UNBOUNDED_MOST
from tests.worlds.spool_lines import NO_USAGE, PRICE, attempt, call, price_of

LEFT: dict[str, Any] = {"flags": "DC", "details": "downstream_remote_disconnect"}
LEARNT: dict[str, Any] = {"answer_tokens": 64, "answer_microtokens_per_byte": 250_000}
HELD_INPUT, HELD_OUTPUT = 4_000, 4_096
INPUT_RATE, OUTPUT_RATE = 2_500, 10_000
"""Of the test's price, in nano-USD per token."""


def charged(usage: dict[str, Any] | None = None, *attempts: Any, **changed: Any) -> Charge:
    """Charges a stream that its client left, unless `changed` says otherwise."""
    fields = {"stream": True, "held_input_tokens": HELD_INPUT, "bytes_sent": 0, **LEARNT, **LEFT, **NO_USAGE}
    return charge_call(call(**{**fields, "usage": usage, **changed}), attempts, price_of)


def seen(content: int, text: int, sent: int) -> dict[str, Any]:
    return {"seen": {"events": content + 2, "content": content, "text": text, "bytes": sent}}


def test_the_output_of_a_stream_follows_from_the_text_that_was_seen() -> None:
    charge = charged(seen(40, 400, 8_000), bytes_sent=8_000)

    assert (charge.usage, charge.source) == (Usage(900, 64 + 100), UsageSource.ESTIMATED)


def test_text_that_was_sent_after_the_meter_reported_is_added_in_proportion() -> None:
    assert charged(seen(40, 400, 8_000), bytes_sent=10_000).usage.output_tokens == 64 + 125


def test_an_event_is_at_least_a_token() -> None:
    assert charged(seen(40, 40, 8_000), answer_tokens=0).usage.output_tokens == 40


def test_before_anything_is_learned_each_byte_of_text_is_a_token() -> None:
    charge = charged(seen(40, 400, 8_000), answer_tokens=None, answer_microtokens_per_byte=None)

    assert charge.usage.output_tokens == 400


@pytest.mark.parametrize("usage", [None, {"seen": {"events": 2, "content": 0, "text": 0, "bytes": 300}}])
def test_a_stream_without_text_is_booked_as_expected(usage: dict[str, Any] | None) -> None:
    assert charged(usage, bytes_sent=300).usage == Usage(900, 300)


def test_a_document_that_was_cut_was_made_whole_by_its_provider() -> None:
    assert charged(stream=False, bytes_sent=500).usage == Usage(900, 300)
    assert charged(stream=False, bytes_sent=4_400).usage == Usage(900, 64 + 1_000)


def test_the_provider_wins_with_what_it_reported_before_the_end() -> None:
    told = {"meter": "open", "input_tokens": 1_234, "cached_tokens": 1_000, "output_tokens": 1}

    charge = charged({**told, **seen(40, 400, 8_000)}, bytes_sent=8_000, dialect="anthropic")

    assert charge.usage == Usage(1_234, 164, {CACHED_INPUT: 1_000})


@pytest.mark.parametrize("dialect", ["gemini", "openai"])
@pytest.mark.parametrize(("told", "booked"), [(40, 40), (700, 700), (39, 164), (0, 164)])
def test_a_running_count_wins_over_the_text_unless_it_is_behind_the_events(
    dialect: str, told: int, booked: int
) -> None:
    usage = {"meter": "open", "input_tokens": 1_234, "output_tokens": told, **seen(40, 400, 8_000)}

    assert charged(usage, bytes_sent=8_000, dialect=dialect).usage.output_tokens == booked


@pytest.mark.parametrize("text", [400, 10**9])
def test_no_estimate_is_above_what_was_held(text: int) -> None:
    charge = charged(seen(40, text, 8_000), bytes_sent=10**9, held_output_tokens=120)

    assert charge.usage.output_tokens == 120


def test_without_a_bound_on_the_line_an_estimate_has_one_all_the_same() -> None:
    usage = seen(40, 10**9, 8_000)

    assert charged(usage, held_output_tokens=None, held_input_tokens=None).usage.output_tokens == 128_000


def test_a_client_that_leaves_may_be_billed_for_all_that_was_held() -> None:
    charge = charged(seen(40, 400, 8_000))

    assert charge.outcome is Outcome.CLIENT_CANCELLED
    assert charge.most == Most(HELD_INPUT * INPUT_RATE + HELD_OUTPUT * OUTPUT_RATE, HELD_INPUT, HELD_OUTPUT)


def test_input_that_the_provider_reported_is_no_doubt() -> None:
    told = {"meter": "open", "input_tokens": 1_234, "cached_tokens": 1_000, "output_tokens": 1}

    charge = charged({**told, **seen(40, 400, 8_000)})

    cached_rate = PRICE.tiers[0].rate(CACHED_INPUT)
    assert cached_rate is not None
    input_cost = 234 * INPUT_RATE + 1_000 * cached_rate // 1_000
    assert charge.cost_nano_usd == input_cost + 164 * OUTPUT_RATE
    assert charge.most == Most(input_cost + HELD_OUTPUT * OUTPUT_RATE, 1_234, HELD_OUTPUT)


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"status": 504, "flags": None, "details": "max_duration_timeout"}, Outcome.TIMEOUT),
        ({"status": 200, "flags": "UPE", "details": "upstream_reset_after_response_started{x}"}, Outcome.PROVIDER_CUT),
        ({"flags": None, "details": "via_upstream", "usage": {"meter": "none"}}, Outcome.COMPLETED),
        ({"flags": None, "details": "via_upstream", "usage": {"meter": "encoded"}}, Outcome.COMPLETED),
        ({"flags": None, "details": "via_upstream", "usage": {"meter": "failed"}}, Outcome.COMPLETED),
    ],
)
def test_no_end_without_a_count_bounds_the_output(changed: dict[str, Any], outcome: Outcome) -> None:
    charge = charged(**changed)

    assert charge.outcome is outcome
    assert charge.most is not None
    assert charge.most[1:] == (HELD_INPUT, HELD_OUTPUT)


@pytest.mark.parametrize(
    "changed",
    [
        {"flags": "UF,URX", "status": 503, "details": "x"},
        {"flags": "URX", "status": 500, "details": "via_upstream"},
        {"flags": None, "details": "via_upstream", "usage": {"meter": "whole", "input_tokens": 5, "output_tokens": 5}},
    ],
)
def test_what_is_known_leaves_no_doubt(changed: dict[str, Any]) -> None:
    assert charged(**changed).most is None


def test_an_attempt_that_was_not_answered_is_bounded_by_itself() -> None:
    hung = attempt(attempt=1, status=0, flags="UT")
    measured = {"meter": "whole", "input_tokens": 1_000, "output_tokens": 100}

    charge = charged(
        measured, hung, attempts=2, chain="openai/gpt-4o,openai/gpt-4o", flags=None, details="via_upstream"
    )

    held = HELD_INPUT * INPUT_RATE + HELD_OUTPUT * OUTPUT_RATE
    known = 1_000 * INPUT_RATE + 100 * OUTPUT_RATE
    assert charge.most == Most(known + held, 1_000 + HELD_INPUT, 100 + HELD_OUTPUT)


@pytest.mark.parametrize("features", ["audio", "files,tools", "server_tools", "of_tomorrow"])
def test_what_is_billed_by_more_than_tokens_has_no_bound_but_what_was_held(features: str) -> None:
    most = charged(features=features).most

    assert most is not None
    assert most.cost_nano_usd == -1


def test_a_target_without_a_price_has_no_bound_on_its_cost() -> None:
    assert charged(chain="lab/tiny").most == Most(-1, HELD_INPUT, HELD_OUTPUT)


def test_a_line_that_does_not_say_what_was_held_bounds_nothing_whatever_the_provider_reported() -> None:
    told = {"meter": "open", "input_tokens": 1_234, **seen(40, 400, 8_000)}

    for usage in (None, told):
        assert charged(usage, held_input_tokens=None).most == UNBOUNDED_MOST


def test_the_price_of_the_test_is_that_of_the_arithmetic() -> None:
    tier = PRICE.tiers[0]
    assert (tier.rates[INPUT], tier.rates[OUTPUT]) == (INPUT_RATE * 1_000, OUTPUT_RATE * 1_000)


STOPS: dict[str, Any] = {
    "stops_on_disconnect": "openai/gpt-4o",
    "protocol": "HTTP/1.1",
    "bytes_sent": 8_000,
    "duration_ms": 5_000,
    "first_byte_ms": 1_000,
}
COUNTED = {"meter": "open", "input_tokens": 1_234, "output_tokens": 400, **seen(40, 400, 8_000)}
"""A running count of 400 tokens in 40 events and 4 s."""
UNCOUNTED = {**COUNTED, "output_tokens": 1}


def most_output(usage: dict[str, Any] | None, **changed: Any) -> int:
    most = charged(usage, **{**STOPS, **changed}).most
    assert most is not None
    return most.output_tokens


def test_of_a_provider_that_stops_a_running_count_and_a_second_more_is_the_most() -> None:
    assert most_output(COUNTED, dialect="gemini") == 400 + 100 + 1
    assert charged(COUNTED, **STOPS, dialect="gemini").usage.output_tokens == 400


def test_of_a_provider_that_stops_each_byte_of_text_is_a_token_and_what_the_meter_had_not_reported_a_quarter_more() -> (
    None
):
    made = 400 + 400 // 4 + 64

    assert most_output(UNCOUNTED, dialect="anthropic") == made + made // 4 + 1


def test_the_shorter_a_stream_the_more_of_it_is_under_way() -> None:
    one_event = {**COUNTED, "output_tokens": 10, **seen(1, 10, 400)}

    assert most_output(one_event, dialect="gemini", bytes_sent=400) == 10 + 40 + 1
    assert most_output(COUNTED, dialect="gemini", duration_ms=1_050) == HELD_OUTPUT


@pytest.mark.parametrize(
    ("usage", "changed"),
    [
        (COUNTED, {"stops_on_disconnect": None}),
        (COUNTED, {"stops_on_disconnect": "lab/tiny"}),
        (COUNTED, {"attempts": 2, "chain": "openai/gpt-4o,lab/dear"}),
        (COUNTED, {"stream": False}),
        (COUNTED, {"protocol": "HTTP/2"}),
        (COUNTED, {"protocol": None}),
        (COUNTED, {"bytes_sent": 65_537}),
        (COUNTED, {"meter": "failed"}),
        ({**COUNTED, **seen(0, 0, 300)}, {}),
        (COUNTED, {"flags": "UPE", "details": "upstream_reset_after_response_started{x}"}),
        (COUNTED, {"flags": "DC", "details": "downstream_local_disconnect(drain)"}),
        (UNCOUNTED, {"dialect": "openai"}),
        (UNCOUNTED, {"dialect": "gemini"}),
        (UNCOUNTED, {"dialect": "anthropic", "features": "thinking"}),
        (UNCOUNTED, {"dialect": "anthropic", "features": "tools"}),
        (UNCOUNTED, {"dialect": "anthropic", "features": "images,of_tomorrow"}),
    ],
)
def test_where_what_was_seen_does_not_bound_what_was_made_the_most_is_what_was_held(
    usage: dict[str, Any], changed: dict[str, Any]
) -> None:
    figures = {**usage, "meter": changed.pop("meter", usage["meter"])}

    assert most_output(figures, **{"dialect": "gemini", **changed}) == HELD_OUTPUT


def test_a_call_that_took_too_long_is_hung_up_on_by_the_gateway() -> None:
    ended: dict[str, Any] = {"status": 200, "flags": None, "details": "max_duration_timeout"}

    assert most_output(COUNTED, dialect="gemini", **ended) == 400 + 100 + 1


@pytest.mark.parametrize("text", [400, 60_000])
def test_what_was_seen_of_a_provider_that_stops_is_never_above_what_was_held(text: int) -> None:
    usage = {**UNCOUNTED, **seen(40, text, 8_000)}

    assert most_output(usage, dialect="anthropic") <= HELD_OUTPUT


def test_the_bound_of_a_provider_that_stops_is_that_of_its_cost_too() -> None:
    charge = charged(COUNTED, **STOPS, dialect="gemini")

    assert charge.most is not None
    assert charge.most.cost_nano_usd == 1_234 * INPUT_RATE + 501 * OUTPUT_RATE
