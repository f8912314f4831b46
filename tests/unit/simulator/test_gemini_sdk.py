from __future__ import annotations

from typing import Any

import httpx
import pytest
from google import genai
from google.genai import types

QUESTION = "Answer in 10 tokens, please."


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_an_answer_and_its_stream_agree(gemini_stage: Any, version: str) -> None:
    models = gemini_stage.gemini(version=version).models
    whole = models.generate_content(model="gemini-2.0-flash", contents=QUESTION)
    pieces = list(models.generate_content_stream(model="gemini-2.0-flash", contents=QUESTION))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert whole.usage_metadata.candidates_token_count == 10
    assert pieces[-1].usage_metadata == whole.usage_metadata
    assert len(pieces) > 1


def test_thoughts_are_counted_beside_the_candidates(gemini_stage: Any) -> None:
    usage = gemini_stage.gemini().models.generate_content(model="gemini-2.5-flash", contents=QUESTION).usage_metadata
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (10, 64)
    assert usage.total_token_count == usage.prompt_token_count + 74


def test_a_stream_without_sse_is_one_json_array(gemini_stage: Any) -> None:
    answer = httpx.post(
        gemini_stage.listener.url + "/v1beta/models/gemini-2.0-flash:streamGenerateContent?key=provider-key",
        json={"contents": [{"parts": [{"text": QUESTION}]}]},
    )
    assert [piece["usageMetadata"]["candidatesTokenCount"] for piece in answer.json()] == [4, 8, 10]


def test_tools_and_schemas(gemini_stage: Any) -> None:
    models = gemini_stage.gemini().models
    weather = types.FunctionDeclaration(
        name="get_weather",
        parameters=types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}),
    )
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[weather])])
    called = models.generate_content(model="gemini-2.0-flash", contents="Use get_weather.", config=config)
    assert called.function_calls[0].args == {"city": "simulated"}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[int])
    assert models.generate_content(model="gemini-2.0-flash", contents=QUESTION, config=config).parsed == [7]


def test_another_key_is_refused_in_the_vendors_words(gemini_stage: Any) -> None:
    with pytest.raises(genai.errors.ClientError) as refused:
        gemini_stage.gemini(key="wrong").models.generate_content(model="gemini-2.0-flash", contents=QUESTION)
    assert (refused.value.code, refused.value.status) == (401, "UNAUTHENTICATED")
