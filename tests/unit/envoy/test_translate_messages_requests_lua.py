"""Requests of Messages clients to providers that speak Chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.router.domain.translation import MESSAGES_TO_CHAT, Outcome
from tests.worlds.lua_scripts import load_module
from tests.worlds.translators import RefusedError, translate

HELLO = {"role": "user", "content": "hi"}
MARK = {"type": "ephemeral"}


def asks(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": list(messages or (HELLO,)), **members}


def sent(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return translate(asks(*messages, **members), "openai").body


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def test_a_conversation_of_tools_keeps_its_order_and_every_digit() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"n": 12345678901234567890, "q": '"\\é'}}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [text("one "), text("two"), picture]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "broke", "is_error": True},
        text("and?"),
    ]
    body = sent(
        {"role": "user", "content": [text("look"), picture]},
        {"role": "assistant", "content": [text("well"), use, use | {"id": "t2", "input": {}}]},
        {"role": "user", "content": results},
        system=[text("be"), text("kind")],
    )
    system, user, assistant, first, second, after = body["messages"]
    assert system == {"role": "system", "content": "be\n\nkind"}
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert user["content"] == [text("look"), url]
    assert assistant["content"] == "well"
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == use["input"]
    assert assistant["tool_calls"][1]["function"]["arguments"] == "{}"
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "one two"}
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "The tool failed: broke"}
    assert after == {"role": "user", "content": [url, text("and?")]}


def test_tools_and_the_choice_among_them() -> None:
    tool = {"name": "a", "description": "d", "input_schema": {"type": "object"}, "strict": True, "type": "custom"}
    body = sent(tools=[tool])
    function = {"name": "a", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]
    for choice, expected in (
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "a"}, {"type": "function", "function": {"name": "a"}}),
    ):
        assert sent(tools=[tool], tool_choice=choice)["tool_choice"] == expected
    assert (
        sent(tools=[tool], tool_choice={"type": "auto", "disable_parallel_tool_use": True})["parallel_tool_calls"]
        is False
    )


def test_documents_become_files_and_texts() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    body = sent(
        {
            "role": "user",
            "content": [
                {"type": "document", "source": pdf, "title": "a.pdf"},
                {"type": "document", "source": plain},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            ],
        }
    )
    assert body["messages"][0]["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        text("words"),
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


def test_what_only_one_vendor_understands_is_left_out_and_noted() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    request = translate(
        asks(
            {"role": "user", "content": [text("hi", cache_control=MARK)]},
            {"role": "assistant", "content": [thinking, text("yes")]},
            HELLO,
            top_k=4,
            system=[text("s", cache_control=MARK)],
        ),
        "openai",
    )
    assert request.ignored == {
        "messages.content.cache_control",
        "messages.content.signature",
        "messages.content.thinking",
        "messages.content.type=thinking",
        "system.cache_control",
        "top_k",
    }
    assert "hm" not in request.text
    assert "ephemeral" not in request.text


def test_thinking_becomes_an_effort_where_the_model_takes_one() -> None:
    def effort(**members: Any) -> str | None:
        found: str | None = sent(**members).get("reasoning_effort")
        return found

    for budget, word in ((1_024, "low"), (5_000, "medium"), (30_000, "high")):
        assert effort(thinking={"type": "enabled", "budget_tokens": budget}) == word
    assert effort(thinking={"type": "adaptive"}) is None
    assert effort(thinking={"type": "adaptive"}, output_config={"effort": "max"}) == "high"
    assert effort(thinking={"type": "disabled"}) is None
    other = translate(asks(thinking={"type": "enabled", "budget_tokens": 5_000}), "openai", thinking="none")
    assert "reasoning_effort" not in other.body
    assert other.ignored == {"thinking"}


def test_words_of_one_dialect_become_those_of_the_other() -> None:
    schema = {"type": "object"}
    body = sent(
        stop_sequences=["x"],
        metadata={"user_id": "u"},
        service_tier="standard_only",
        temperature=0.25,
        top_p=0.5,
        stream=True,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert body["stop"] == ["x"]
    assert body["user"] == "u"
    assert body["service_tier"] == "default"
    assert (body["temperature"], body["top_p"]) == (0.25, 0.5)
    assert body["stream_options"] == {"include_usage": True}
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert "stream_options" not in translate(asks(stream=True), "openai", asks_for_usage=False).body


def test_a_model_that_takes_no_sampling_gets_none() -> None:
    request = translate(asks(temperature=0.25, top_p=1), "openai", sampling=False)
    assert request.ignored == {"temperature"}
    assert not {"temperature", "top_p"} & request.body.keys()


def test_no_answer_may_be_longer_than_quota_granted() -> None:
    assert sent(max_tokens=700)["max_completion_tokens"] == 700
    capped = translate(asks(max_tokens=700), "openai", output_bound=500, output_bound_name="max_tokens").body
    assert capped["max_tokens"] == 500
    assert "max_completion_tokens" not in capped


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"speed": "fast"}, "speed"),
        ({"stop_sequences": list("abcde")}, "stop_sequences"),
        ({"never_heard_of": 1}, "never_heard_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages.content.source.file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]},
            "messages[0].content[0].source.type",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(members: dict[str, Any], name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        translate(asks() | members, "openai")
    assert refused.value.parameter == name
    assert name in str(refused.value)


def scanned_members() -> set[str]:
    return {member["name"] for _, member in load_module("dialect/anthropic").body.members.items()}


def test_every_member_that_the_scan_knows_is_in_no_list_twice_and_does_what_its_list_says() -> None:
    lists = [(name, outcome) for place, name, outcome in MESSAGES_TO_CHAT.outcomes() if place == ""]
    assert len(dict(lists)) == len(lists)
    assert {name for name, _ in lists} <= scanned_members()
    for name in scanned_members() - {each for each, outcome in lists if outcome is Outcome.CARRIED}:
        body = asks() | {name: {"some": "thing"}}
        if (name, Outcome.IGNORED) in lists:
            request = translate(body, "openai")
            assert request.ignored == {name}
            assert "some" not in request.text
        else:
            with pytest.raises(RefusedError):
                translate(body, "openai")
