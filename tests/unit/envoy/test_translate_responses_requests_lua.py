"""Requests of Responses clients to providers that speak Chat, and by way of Chat to those that speak Messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.router.domain.translation import RESPONSES_TO_CHAT, Outcome
from tests.worlds.translators import RefusedError, translate_responses

PNG = "data:image/png;base64,QUJD"
PDF = "data:application/pdf;base64,JVBE"
TOOL = {"type": "function", "name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}


def asks(*items: Any, **members: Any) -> dict[str, Any]:
    return {"model": "m", "input": list(items) or "hi", **members}


def sent(*items: Any, provider: str = "openai", **members: Any) -> dict[str, Any]:
    return translate_responses(asks(*items, **members), provider).body


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def call(number: int, arguments: str = "{}") -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"t{number}",
        "name": "look",
        "arguments": arguments,
    }


def result(number: int, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"t{number}", "output": output}


def test_a_text_is_one_message_of_the_user_and_instructions_are_the_system_prompt() -> None:
    body = sent(instructions="be kind")
    assert body == {
        "model": "gpt",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
    }


def test_a_conversation_of_tools_keeps_its_order_and_every_digit() -> None:
    arguments = '{"n": 12345678901234567890, "q": "\\"\\\\é"}'
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": PNG}],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        said("well"),
        call(1, arguments),
        call(2),
        result(2, [{"type": "input_text", "text": "two"}, {"type": "input_image", "image_url": PNG, "detail": "low"}]),
        result(1, "one"),
        {"type": "message", "role": "user", "content": "and?"},
        said("done"),
    ]
    request = translate_responses(asks(*items, instructions="be kind"), "openai")
    system, user, assistant, second, first, picture, after, done = request.body["messages"]
    assert system == {"role": "system", "content": "be kind\n\nbe brief"}
    image = {"type": "image_url", "image_url": {"url": PNG}}
    assert user == {"role": "user", "content": [{"type": "text", "text": "look"}, image]}
    assert assistant["content"] == "well"
    assert [each["id"] for each in assistant["tool_calls"]] == ["t1", "t2"]
    assert assistant["tool_calls"][0]["function"] == {"name": "look", "arguments": arguments}
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "two"}
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "one"}
    assert picture["content"] == [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]
    assert (after["content"], done["content"]) == ("and?", "done")
    assert request.ignored == {"input.id", "input.status", "input.summary", "input.type=reasoning"}


def test_calls_in_rounds_are_answers_of_their_own() -> None:
    messages = sent({"role": "user", "content": "go"}, call(1), result(1, "a"), call(2), result(2, "b"))["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert [len(each.get("tool_calls", ())) for each in messages] == [0, 1, 0, 1, 0]


def test_a_system_message_within_the_conversation_keeps_its_place() -> None:
    body = sent({"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user", "content": "c"})
    assert [each["role"] for each in body["messages"]] == ["user", "system", "user"]


def test_files_reach_the_provider() -> None:
    part = {"type": "input_file", "filename": "a.pdf", "file_data": PDF}
    [message] = sent({"role": "user", "content": [part]})["messages"]
    assert message["content"] == [{"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}]
    [message] = sent({"role": "user", "content": [part]}, provider="anthropic")["messages"]
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    assert message["content"] == [{"type": "document", "source": source, "title": "a.pdf"}]


def test_tools_and_the_choice_among_them() -> None:
    plain = {"type": "function", "name": "b", "parameters": None, "strict": None}
    body = sent(tools=[TOOL, plain], tool_choice={"type": "function", "name": "look"}, parallel_tool_calls=False)
    function = {"name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert body["tools"][0] == {"type": "function", "function": function}
    assert body["tools"][1]["function"] == {"name": "b", "parameters": {"type": "object", "properties": {}}}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert body["parallel_tool_calls"] is False
    for word in ("auto", "none", "required"):
        assert sent(tools=[TOOL], tool_choice=word)["tool_choice"] == word
    assert "tools" not in sent(tools=[])


def test_the_form_of_the_answer() -> None:
    schema = {"name": "out", "description": "d", "schema": {"type": "object"}, "strict": True}
    form = sent(text={"format": {"type": "json_schema", **schema}})["response_format"]
    assert form == {"type": "json_schema", "json_schema": schema}
    assert sent(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(text={"format": {"type": "text"}})


def test_the_bound_on_output_is_the_smaller_of_the_clients_and_quotas() -> None:
    def bound(target: dict[str, Any], **members: Any) -> Any:
        return translate_responses(asks(**members), "openai", **target).body.get("max_completion_tokens")

    assert bound({}) is None
    assert bound({}, max_output_tokens=50) == 50
    assert bound({"output_cap": 20}, max_output_tokens=50) == 20
    assert bound({"output_cap": 80}, max_output_tokens=50) == 50
    assert bound({"output_cap": 80}) == 80
    # Messages always needs one.
    request = translate_responses(asks(), "anthropic", output_bound=80, output_cap=80)
    assert request.body["max_tokens"] == 80
    assert translate_responses(asks(max_output_tokens=50), "anthropic").body["max_tokens"] == 50


def test_words_that_both_dialects_have() -> None:
    asked = asks(
        temperature=1.5, top_p=0.5, user="u", service_tier="flex", reasoning={"effort": "minimal"}, stream=True
    )
    body = translate_responses(asked, "openai").body
    assert (body["temperature"], body["top_p"], body["user"]) == (1.5, 0.5, "u")
    assert (body["service_tier"], body["reasoning_effort"]) == ("flex", "minimal")
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    plain = translate_responses(asked, "openai", thinking="none", sampling=False, asks_for_usage=False)
    assert not plain.body.keys() & {"temperature", "top_p", "reasoning_effort", "stream_options"}
    assert plain.ignored == {"temperature", "top_p", "reasoning.effort"}
    assert "service_tier" not in sent(service_tier="auto")


def test_the_answer_repeats_the_request() -> None:
    asked = asks(
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        metadata={"a": "b"},
        temperature=0.5,
        max_output_tokens=50,
        instructions="be kind",
        text={"format": {"type": "json_schema", "name": "out", "schema": {"type": "object"}}},
        reasoning={"effort": "low", "summary": "auto"},
    )
    repeated = translate_responses(asked, "openai").known["repeated"]
    found = json.loads("{" + repeated.removeprefix(",") + "}")
    assert {name: value for name, value in found.items() if name in asked} == {
        name: value for name, value in asked.items() if name not in {"model", "input"}
    }
    assert (found["store"], found["background"], found["previous_response_id"]) == (False, False, None)


def test_signed_thoughts_come_back_to_a_provider_of_messages() -> None:
    blocks = [{"type": "thinking", "thinking": "hé\n", "signature": "s=="}, {"type": "redacted_thinking", "data": "x"}]
    sealed = "spendgate.thinking " + json.dumps(blocks)
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    items = [{"role": "user", "content": "go"}, thought, call(1), result(1, "a"), thought, call(2), result(2, "b")]
    request = translate_responses(asks(*items), "anthropic")
    for turn in (1, 3):
        assert request.body["messages"][turn]["content"][:2] == blocks
        assert request.body["messages"][turn]["content"][2]["type"] == "tool_use"
    assert "input.type=reasoning" not in request.ignored
    between = [{"role": "user", "content": "go"}, thought, call(1), thought, call(2), result(1, "a"), result(2, "b")]
    _, assistant, _ = translate_responses(asks(*between), "anthropic").body["messages"]
    kinds = ["thinking", "redacted_thinking", "tool_use"]
    assert [each["type"] for each in assistant["content"]] == kinds * 2
    # Another provider's mean nothing, and a provider of Chat takes none.
    assert "input.type=reasoning" in translate_responses(asks(*items), "openai").ignored
    foreign = thought | {"encrypted_content": "gAAAA"}
    assert "input.type=reasoning" in translate_responses(asks(foreign, call(1)), "anthropic").ignored


@pytest.mark.parametrize(
    "blocks",
    [
        '[{"type":"document","source":{"type":"url","url":"https://x"}}]',
        '[{"type":"thinking","thinking":"a","signature":"s"}',
        '[{"type":"thinking","thinking":{"a":1},"signature":"s"}]',
        '["x"]',
        "{}",
        "",
    ],
)
def test_nothing_else_comes_in_the_place_of_signed_thoughts(blocks: str) -> None:
    thought = {"type": "reasoning", "summary": [], "encrypted_content": f"spendgate.thinking {blocks}"}
    with pytest.raises(RefusedError, match="is not what the gateway wrote") as refused:
        sent(thought, provider="anthropic")
    assert refused.value.parameter == "input[0].encrypted_content"


def test_a_provider_of_messages_gets_what_it_gets_from_a_chat_client() -> None:
    asked = asks(
        {"role": "user", "content": "go"},
        call(1, '{"a":1}'),
        result(1, [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": PNG}]),
        instructions="be kind",
        tools=[TOOL],
        tool_choice="required",
        reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "out", "schema": {"type": "object"}}},
        service_tier="default",
    )
    request = translate_responses(asked, "anthropic")
    user, assistant, results = request.body["messages"]
    assert user["content"] == [{"type": "text", "text": "go"}]
    assert assistant["content"] == [{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}]
    assert [each["type"] for each in results["content"]] == ["tool_result", "image"]
    assert request.body["system"] == [{"type": "text", "text": "be kind"}]
    assert request.body["tool_choice"] == {"type": "any"}
    assert request.body["thinking"] == {"type": "enabled", "budget_tokens": 4096}
    assert request.body["output_config"]["format"]["type"] == "json_schema"
    forced = translate_responses(asks(text=asked["text"]), "anthropic", structured="tool")
    assert forced.forced == '"out"'


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        (
            {"text": {"format": {"type": "json_schema", "name": "o", "description": "d", "schema": {}}}},
            "text.format.description",
        ),
    ],
)
def test_what_a_provider_of_messages_ignores_has_the_clients_own_name(members: dict[str, Any], named: str) -> None:
    assert translate_responses(asks(**members), "anthropic", thinking="none").ignored == {named}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (
            asks({"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain;base64,QQ=="}]}),
            "input",
        ),
        (asks(call(1, "[]")), "input"),
        (asks(service_tier="flex"), "service_tier"),
    ],
)
def test_what_a_provider_of_messages_refuses_has_the_clients_own_name(asked: dict[str, Any], named: str) -> None:
    with pytest.raises(RefusedError, match=f"'{named}'") as refused:
        translate_responses(asked, "anthropic")
    assert refused.value.parameter == named


OUTCOMES = [each for each in RESPONSES_TO_CHAT.outcomes() if not each[0]]


@pytest.mark.parametrize("name", [name for _, name, outcome in OUTCOMES if outcome is Outcome.REFUSED])
def test_what_chat_cannot_say_is_refused_by_name(name: str) -> None:
    with pytest.raises(RefusedError, match=f"'{name}' is not possible here") as refused:
        translate_responses(asks(**{name: {"id": "x"}}), "openai")
    assert refused.value.parameter == name


@pytest.mark.parametrize("name", [name for _, name, outcome in OUTCOMES if outcome is Outcome.IGNORED])
def test_what_chat_has_nothing_like_is_ignored_and_noted(name: str) -> None:
    request = translate_responses(asks(**{name: "x"}), "openai")
    assert request.ignored == {name}
    assert request.body == sent()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"store": True}, "store"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["web_search_call.action.sources"]}, "include"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
    ],
)
def test_words_without_an_effect_are_noted(members: dict[str, Any], named: str) -> None:
    assert translate_responses(asks(**members), "openai").ignored == {named}


@pytest.mark.parametrize(
    "members",
    [
        {"store": False, "truncation": "disabled", "include": ["reasoning.encrypted_content"], "background": False},
        {"previous_response_id": None, "conversation": None, "prompt": None, "top_logprobs": 0},
    ],
)
def test_what_asks_for_nothing_is_neither_refused_nor_noted(members: dict[str, Any]) -> None:
    assert translate_responses(asks(**members), "openai").ignored == set()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (asks(invented=1), "invented"),
        (asks({"type": "item_reference", "id": "x"}), "input[0].type"),
        (asks({"type": "custom_tool_call", "call_id": "x", "name": "n", "input": "x"}), "input.input"),
        (asks({"role": "tool", "content": "x"}), "input[0].role"),
        (asks({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}), "input.content.file_id"),
        (
            asks({"role": "user", "content": [{"type": "input_image", "image_url": "f"}]}),
            "input[0].content[0].image_url",
        ),
        (asks({"role": "user", "content": [{"type": "input_file", "file_url": "f"}]}), "input.content.file_url"),
        (asks({"role": "user", "content": [{"type": "invented"}]}), "input[0].content[0].type"),
        (asks({"role": "user", "content": 5}), "input[0].content"),
        (asks({"role": "system", "content": [{"type": "input_image", "image_url": PNG}]}), "input[0].content"),
        (asks({"role": "user", "content": ""}), "input"),
        (asks("x"), "input"),
        (asks({"type": "function_call", "call_id": "a", "name": "b"}), "input[0].arguments"),
        (asks({"type": "function_call_output", "output": "b"}), "input[0].call_id"),
        (asks(tools=[{"type": "custom", "name": "x"}]), "tools[0].type"),
        (asks(tools=[{"type": "web_search"}]), "tools[0].type"),
        (asks(tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": []}), "tool_choice.mode"),
        (asks(tools=[TOOL], tool_choice={"type": "custom", "name": "x"}), "tool_choice.type"),
        (asks(text={"format": {"type": "grammar"}}), "text.format.type"),
        (asks(reasoning={"effort": "huge"}), "reasoning.effort"),
        (asks(include=["message.output_text.logprobs"]), "include[0]"),
        (asks(max_output_tokens=1.5), "max_output_tokens"),
        (asks(max_output_tokens=-1), "max_output_tokens"),
        (asks(stream="yes"), "stream"),
    ],
)
def test_requests_that_cannot_be_translated_are_refused_by_name(asked: dict[str, Any], named: str) -> None:
    for provider in ("openai", "anthropic"):
        with pytest.raises(RefusedError) as refused:
            translate_responses(asked, provider)
        assert refused.value.parameter == named
