from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module, new_runtime, plain, table, wire
from tests.worlds.scanned import PATHS

SCAN = load_module("scan")
LUA = new_runtime()
REWRITE = load_module("rewrite", LUA)

MESSAGES = [{"role": "user", "content": 'a "model": "m" \\ é'}]
LAYOUTS = st.sampled_from([{"separators": (",", ":")}, {"indent": 2}])


def rewrite(
    body: dict[str, Any], *, force_usage: bool = False, layout: dict[str, Any] | None = None, **target: Any
) -> dict[str, Any]:
    dialect = "gemini" if "contents" in body else "openai"
    text = wire(json.dumps(body, ensure_ascii=False, **(layout or {})))
    _, spans, _ = SCAN.body(text, dialect, PATHS[dialect])
    spans = table(LUA, dict(spans.items()))
    rewritten: dict[str, Any] = json.loads(plain(REWRITE.body(text, table(LUA, target), spans, force_usage)))
    return rewritten


@given(
    st.permutations(["model", "messages", "stream", "max_tokens", "stream_options"]),
    st.sampled_from([None, {}, {"include_usage": False}, {"include_obfuscation": False}, {"include_usage": True}]),
    st.booleans(),
    LAYOUTS,
)
def test_only_what_quota_changed_is_changed(
    order: list[str], options: dict[str, Any] | None, capped: bool, layout: dict[str, Any]
) -> None:
    values = {"model": "m", "messages": MESSAGES, "stream": True, "max_tokens": 9, "stream_options": options}
    body = {name: values[name] for name in order}
    cap = {"output_cap": 5, "output_cap_field": "max_completion_tokens"} if capped else {}
    sent = rewrite(body, force_usage=True, layout=layout, model='new "model"', **cap)
    expected = body | {"model": 'new "model"', "stream_options": (options or {}) | {"include_usage": True}}
    if capped:
        del expected["max_tokens"]
        expected["max_completion_tokens"] = 5
    assert sent == expected


@pytest.mark.parametrize(
    ("given_caps", "field", "expected"),
    [
        ({"max_tokens": -1}, "max_tokens", {"max_tokens": 5}),
        ({}, "max_tokens", {"max_tokens": 5}),
        ({"max_tokens": 9}, "max_tokens", {"max_tokens": 5}),
        ({"max_tokens": None}, "max_tokens", {"max_tokens": 5}),
        ({"max_tokens": 9}, "max_completion_tokens", {"max_completion_tokens": 5}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, "max_tokens", {"max_tokens": 5, "max_completion_tokens": 5}),
        ({"max_tokens": 9, "max_completion_tokens": 3}, "max_tokens", {"max_tokens": 5, "max_completion_tokens": 3}),
    ],
)
def test_every_spelling_of_the_bound_is_bounded(
    given_caps: dict[str, Any], field: str, expected: dict[str, int]
) -> None:
    body = {"model": "m", "messages": MESSAGES}
    assert rewrite(body | given_caps, output_cap=5, output_cap_field=field) == body | expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, {"maxOutputTokens": 5}),
        ({"generationConfig": None}, {"maxOutputTokens": 5}),
        ({"generationConfig": {}}, {"maxOutputTokens": 5}),
        ({"generationConfig": {"topK": 1}}, {"topK": 1, "maxOutputTokens": 5}),
        ({"generationConfig": {"maxOutputTokens": 9, "topK": 1}}, {"topK": 1, "maxOutputTokens": 5}),
    ],
)
def test_geminis_bound_is_in_its_configuration(config: dict[str, Any] | None, expected: dict[str, int]) -> None:
    body = {"contents": []} | (config or {})
    sent = rewrite(body, output_cap=5, output_cap_field="generationConfig.maxOutputTokens")
    assert sent == {"contents": [], "generationConfig": expected}


def test_geminis_other_spelling_is_bounded_where_it_is() -> None:
    body = {"contents": [], "generation_config": {"max_output_tokens": 9}}
    sent = rewrite(body, output_cap=5, output_cap_field="generationConfig.maxOutputTokens")
    assert sent == {"contents": [], "generation_config": {"max_output_tokens": 5}}


def test_large_bounds_are_written_as_integers() -> None:
    body = {"model": "m", "messages": MESSAGES}
    sent = rewrite(body, output_cap=10**15, output_cap_field="max_tokens")
    assert sent["max_tokens"] == 10**15


@pytest.mark.parametrize(
    ("bound", "budget", "cap", "expected"),
    [
        # The budget keeps its share of the bound, and stays below it.
        (32_000, 31_999, 17_000, 16_999),
        (32_000, 31_999, 1_088, 1_087),
        (32_000, 24_000, 16_000, 12_000),
        # Between tool calls a model may think for more tokens than its answer may have.
        (4_096, 16_000, 3_000, 2_999),
        # The cap leaves room for it.
        (32_000, 10_000, 16_000, 10_000),
    ],
)
def test_a_thinking_budget_stays_below_the_bound(bound: int, budget: int, cap: int, expected: int) -> None:
    thinking = {"type": "enabled", "display": "omitted", "budget_tokens": budget}
    body = {"model": "m", "max_tokens": bound, "thinking": thinking, "messages": MESSAGES}
    sent = rewrite(body, output_cap=cap, output_cap_field="max_tokens")
    assert sent == body | {"max_tokens": cap, "thinking": thinking | {"budget_tokens": expected}}


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "adaptive"}, {}])
def test_thinking_without_a_budget_stays_as_it_is(thinking: dict[str, Any] | None) -> None:
    body = {"model": "m", "max_tokens": 9, "thinking": thinking, "messages": MESSAGES}
    assert rewrite(body, output_cap=5, output_cap_field="max_tokens") == body | {"max_tokens": 5}
