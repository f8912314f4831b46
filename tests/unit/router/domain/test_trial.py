from __future__ import annotations

import json
from typing import Any

import pytest

from services.kernel.dialect import Dialect
from services.kernel.preset import Preset
from services.router.domain.provider import Face, Provider, faces_of
from services.router.domain.secret import SecretReference, SecretSource
from services.router.domain.trial import Seen, Step, Trial, judged, smallest_call

SECRET = "sk-0123456789abcdef"
KEY = SecretReference(SecretSource.ENV, "LAB_KEY")
ANSWERS: dict[Dialect, Any] = {
    Dialect.OPENAI: {"model": "m-1", "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    Dialect.ANTHROPIC: {"model": "m-1", "usage": {"input_tokens": 3, "output_tokens": 2}},
    Dialect.GEMINI: {"modelVersion": "m-1", "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
}


def face_of(preset: Preset) -> Face:
    return faces_of(Provider("lab", KEY, preset=preset))[0]


def trial(seen: Seen, dialect: Dialect = Dialect.OPENAI) -> Trial:
    return judged(Trial("lab/m", dialect, "https://lab.example/v1/chat/completions", KEY, seen), SECRET)


def answered(status: int, document: object) -> Trial:
    return trial(Seen(Step.DONE, "10.0.0.1:443", status=status, body=json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("preset", "path", "bound"),
    [
        (Preset.OPENAI, "/v1/chat/completions", ["max_completion_tokens"]),
        (Preset.MISTRAL, "/v1/chat/completions", ["max_tokens"]),
        (Preset.ANTHROPIC, "/v1/messages", ["max_tokens"]),
        (Preset.GEMINI, "/v1beta/models/m:generateContent", ["generationConfig", "maxOutputTokens"]),
    ],
)
def test_the_smallest_call_goes_where_real_calls_go_and_is_bounded(preset: Preset, path: str, bound: list[str]) -> None:
    sent, body = smallest_call(face_of(preset), "m")
    place = json.loads(body)
    assert sent == path
    assert place.get("model", "m") == "m"
    for name in bound:
        place = place[name]
    assert place == 16


@pytest.mark.parametrize("dialect", Dialect)
def test_model_and_usage_are_read_in_each_dialect(dialect: Dialect) -> None:
    seen = Seen(Step.DONE, status=200, body=json.dumps(ANSWERS[dialect]).encode())
    found = trial(seen, dialect)
    assert (found.served_model, found.input_tokens, found.output_tokens, found.problem) == ("m-1", 3, 2, "")


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": 2}, 7])
def test_an_answer_without_whole_usage_is_a_problem(usage: object) -> None:
    assert "reports no usage" in answered(200, {"model": "m-1", "usage": usage}).problem


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "refuses the credential from environment variable LAB_KEY"),
        (403, "the credential from environment variable LAB_KEY is not allowed"),
        (404, "there is no model m or nothing at https://lab.example/v1/chat/completions: check the model's name"),
        (429, "the credential is good, but its quota is used up"),
        (307, "redirects, which the gateway never follows"),
        (400, "answered with status 400. It says: no such member"),
        (503, "answered with status 503"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, expected: str) -> None:
    assert expected in answered(status, {"error": {"message": "no such member"}}).problem


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_nothing_that_is_shown_repeats_the_credential(status: int) -> None:
    document = {"error": {"message": f"bad key\n{SECRET}"}, "model": SECRET, "usage": {}}
    found = answered(status, document)
    assert SECRET not in found.problem + found.served_model
    assert "\n" not in found.problem


def test_what_is_not_json_is_no_answer_of_a_model() -> None:
    assert "something else than JSON" in trial(Seen(Step.DONE, status=200, body=b"<html>")).problem


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step.NAME, "gives no address to call: it broke. Check base_url"),
        (Step.CONNECT, "nobody answers at 10.0.0.1:443: it broke. Does the server run"),
        (Step.TLS, "no encrypted connection: it broke. If its certificate is of an authority of your own"),
        (Step.ANSWER, "took the call and gave no whole answer: it broke"),
    ],
)
def test_a_step_that_fails_says_what_to_do(step: Step, expected: str) -> None:
    assert expected in trial(Seen(step, "10.0.0.1:443", error="it broke")).problem
