"""Requests for completions, and those that cost nothing: what bounds them, and what the meter reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worlds.lua_meter import meter
from tests.worlds.lua_scripts import load_module, new_runtime, plain, wire

LUA = new_runtime()
SCAN = load_module("scan", LUA)
PATH = "/v1/completions"


def inspect(body: dict[str, Any], path: str = PATH) -> dict[str, Any]:
    request, _, _ = SCAN.body(wire(json.dumps(body)), "openai", path)
    found: dict[str, Any] = plain(request)
    return found


def refused(body: str, path: str = PATH) -> str:
    passed, problem = LUA.globals().pcall(SCAN.body, wire(body), "openai", path)
    assert not passed
    return str(plain(problem.message))


@pytest.mark.parametrize(
    ("prompt", "more", "answers"),
    [
        ("once", {}, 1),
        ([1, 2, 3], {}, 1),
        (["a", "b"], {}, 2),
        ([[1, 2], [3]], {}, 2),
        ([[1, 2], "b", 7, "]"], {}, 4),
        (["a", 'b"],["c'], {"n": 2, "best_of": 3}, 6),
        ([], {}, 1),
        ([[[1]], [2]], {}, 3),
    ],
)
def test_each_prompt_of_a_list_gets_its_own_answers(prompt: Any, more: dict[str, Any], answers: int) -> None:
    found = inspect({"model": "m", "prompt": prompt, "max_tokens": 5, **more})

    assert found.get("choices", 1) == answers
    assert (found["max_output_tokens"], found["operation"]) == (5, "completions")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"model":"m"}', "'prompt' must be a text, tokens, or a list of either."),
        ('{"model":"m","prompt":{}}', "'prompt' must be a text, tokens, or a list of either."),
        ('{"model":"m","prompt":[["a]","b"]]}', "A list within 'prompt' must hold tokens."),
        ('{"model":"m","prompt":"x","n_predict":9}', "'n_predict' in the body must be written 'max_tokens'."),
        ('{"model":"m","prompt":"x","n":-1}', "'n' must be a positive integer."),
    ],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused(body: str, told: str) -> None:
    assert told in refused(body)


def test_an_object_among_the_prompts_reaches_beyond_the_body() -> None:
    assert inspect({"model": "m", "prompt": [{"prompt_embeds": "x"}]})["unknown_members"] == "prompt.prompt_embeds"


@pytest.mark.parametrize("strip", [False, True])
def test_the_meter_reads_a_stream_and_takes_out_usage_that_nobody_asked_for(strip: bool) -> None:
    pieces = [{"choices": [{"index": 0, "text": f"piece {number}", "finish_reason": None}]} for number in range(5)]
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13}}
    events = [f"data: {json.dumps(each)}\n\n" for each in [*pieces, usage]]
    metered = meter("completions", [*events, "data: [DONE]\n\n"], stream=True, strip=strip)

    assert ("usage" in metered.passed) is not strip
    told = metered.told
    assert (told["meter"], told["input_tokens"], told["output_tokens"], told["seen"]["content"]) == ("whole", 4, 9, 5)


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/messages/count_tokens", {"model": "m", "messages": [], "tools": [{"type": "x"}]}, "m"),
        ("/v1/moderations", {"model": "m", "input": ["a"]}, "m"),
        ("/v1alpha/models/m:countTokens", {"contents": [{"parts": [{"text": "x"}]}]}, "m"),
    ],
)
def test_a_call_that_costs_nothing_says_only_its_model(path: str, body: dict[str, Any], model: str) -> None:
    found = inspect(body, path)

    assert (found["model"], found["stream"]) == (model, False)


def test_a_free_call_needs_a_model_and_names_it_once() -> None:
    assert refused('{"input":"x"}', "/v1/moderations") == "You must name a model."
    assert "named in the path" in refused('{"model":"other"}', "/v1/models/m:countTokens")


@pytest.mark.parametrize("answer", [{"input_tokens": 4096}, {"totalTokens": 9}, {"usage": {"prompt_tokens": 5}}])
def test_what_an_answer_counts_is_not_what_it_took(answer: dict[str, Any]) -> None:
    told = meter("counting", [json.dumps(answer)], stream=False).told

    assert told == {"meter": "whole", "input_tokens": 0, "output_tokens": 0}
