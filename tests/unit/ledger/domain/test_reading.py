"""The meter's figures, as the ledger reads them. Whole answers: tests/contract/test_golden_answers.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.spool_contract import UsageKey
from services.kernel.usage import Usage, UsageSource
from services.ledger.domain.charge import charge_call
from services.ledger.domain.line_fields import UnreadableLineError
from services.ledger.domain.reading import ReadingState, Seen, read_answer
from tests.worlds.spool_lines import call, price_of

COUNTS = [name for name in UsageKey if name.endswith("_tokens") or name.startswith("web_")]
CUT: dict[str, Any] = {"stream": True, "flags": "DC", "bytes_sent": 4_000}


def test_all_that_was_published_is_read() -> None:
    reading = read_answer(
        {
            "meter": "open",
            "input_tokens": 36,
            "output_tokens": 7,
            "model": "gpt-x",
            "service_tier": "SERVICE_TIER_FLEX",
            "finish": "stop",
            "error": "overloaded",
            "seen": {"events": 9, "content": 8, "text": 70, "bytes": 2_000},
        }
    )

    assert reading.state is ReadingState.OPEN
    assert (reading.input_tokens, reading.output_tokens, reading.figures) == (
        36,
        7,
        {"input_tokens": 36, "output_tokens": 7},
    )
    assert (reading.model, reading.service_tier, reading.finish, reading.error) == (
        "gpt-x",
        "flex",
        "stop",
        "overloaded",
    )
    assert reading.seen == Seen(9, 8, 70, 2_000)


@pytest.mark.parametrize("state", ["open", "none", "encoded", "failed", "unheard-of", None])
def test_only_the_last_word_is_the_providers_count(state: str | None) -> None:
    assert call(usage={"meter": state, "input_tokens": 36, "output_tokens": 7}).usage is None
    assert call(usage={"meter": "whole", "input_tokens": 36, "output_tokens": 7}).usage == Usage(36, 7)


@pytest.mark.parametrize("told", [{"input_tokens": -1}, {"input_tokens": 1.5}, {"input_tokens": "9"}, {"model": 7}, {}])
def test_what_no_meter_can_have_published_is_left_out(told: dict[str, Any]) -> None:
    reading = call(usage={"meter": "whole", **told}).reading

    assert (reading.figures, reading.model, reading.usage) == ({}, "", None)


def test_a_usage_that_is_no_object_makes_the_line_unreadable() -> None:
    with pytest.raises(UnreadableLineError, match="usage is not an object"):
        call(usage="36")


@given(st.dictionaries(st.sampled_from(COUNTS), st.integers(0, 2**53 - 1)))
def test_any_figures_make_a_usage_that_holds_together(figures: dict[str, int]) -> None:
    usage = read_answer({"meter": "whole", "input_tokens": 0, **figures}).usage

    assert usage is not None
    assert usage.input_tokens >= figures.get("input_tokens", 0)
    assert usage.cached_input_tokens >= figures.get("cached_tokens", 0) or usage.input_tokens == figures["input_tokens"]


def test_a_call_that_was_cut_books_the_input_that_the_provider_reported_and_at_least_its_output() -> None:
    seen = {"events": 9, "content": 8, "text": 100, "bytes": 4_000}
    told = {"meter": "open", "input_tokens": 5_000, "output_tokens": 1, "cached_tokens": 4_000, "seen": seen}
    charge = charge_call(call(**CUT, usage=told, dialect="anthropic"), (), price_of)

    assert charge.source is UsageSource.ESTIMATED
    assert (charge.usage.input_tokens, charge.usage.cached_input_tokens) == (5_000, 4_000)
    assert charge.usage.output_tokens >= 100

    told = {"meter": "open", "input_tokens": 5_000, "output_tokens": 900}
    assert charge_call(call(**CUT, usage=told, dialect="gemini"), (), price_of).usage == Usage(5_000, 900)


def test_a_call_that_was_cut_before_a_figure_came_books_what_was_expected_of_its_input() -> None:
    charge = charge_call(call(**CUT, usage={"seen": {"events": 1}}, dialect="openai"), (), price_of)

    assert charge.usage.input_tokens == 900
