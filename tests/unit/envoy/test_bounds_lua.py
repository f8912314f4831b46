"""The bounds that a request sets on its output, as all readers of numbers understand them."""

from __future__ import annotations

import pytest

from tests.worlds.scanned import chat, inspect, refused


def test_a_cache_prewarm_passes_in_the_dialect_that_has_it() -> None:
    assert inspect(chat(max_tokens=0), "anthropic")["max_output_tokens"] == 0
    assert "'max_tokens'" in refused(chat(max_tokens=0))
    assert "'max_tokens'" in refused(chat(max_tokens=-1), "anthropic")
    assert "'maxOutputTokens'" in refused({"contents": [], "generationConfig": {"maxOutputTokens": 0}}, "gemini")


@pytest.mark.parametrize(
    "number",
    ["1e2", "1E2", "4.5", "0.0", "4.", "-4.0", "-1.0", "-0", "00", "1e400", "+1", "0x10", "NaN", "Infinity", '"4"'],
)
def test_a_bound_that_readers_round_in_their_own_ways_is_refused(number: str) -> None:
    for name in ("max_tokens", "max_completion_tokens", "n"):
        refused(f'{{"model":"m","messages":[],"{name}":{number}}}')


@pytest.mark.parametrize("number", ["100", "100.0", "100.000"])
def test_a_whole_number_with_a_point_is_a_bound(number: str) -> None:
    body = f'{{"model":"m","messages":[],"max_tokens":{number},"n":2.0}}'
    assert (inspect(body)["max_output_tokens"], inspect(body)["choices"]) == (100, 2)
    assert inspect(body, "anthropic")["max_output_tokens"] == 100


@pytest.mark.parametrize(
    "bounds", [{"max_tokens": -1}, {"max_completion_tokens": -1}, {"max_tokens": -1, "max_completion_tokens": 100}]
)
def test_a_bound_of_minus_one_is_none(bounds: dict[str, int]) -> None:
    assert "max_output_tokens" not in inspect(chat(**bounds))


def test_the_larger_of_two_bounds_counts() -> None:
    assert inspect(chat(max_tokens=10, max_completion_tokens=100))["max_output_tokens"] == 100
    assert inspect(chat(n=2, best_of=20))["choices"] == 20
    thinks = {"type": "enabled", "budget_tokens": 32_000}
    assert inspect(chat(max_tokens=1_024, thinking=thinks), "anthropic")["max_output_tokens"] == 32_000
