"""The vendors' own SDKs read our refusals: they raise the right exception, and send no useless request."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as gemini_errors
from google.genai import types as gemini_types

from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.transport.dialects import anthropic as anthropic_dialect
from services.quota.transport.dialects import gemini as gemini_dialect
from services.quota.transport.dialects import openai as openai_dialect
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.dialects.wording import word
from tests.worlds.replay_server import ReplayServer

SECRET = "spg_live_0123456789abcdefghijklmnopqrstuv123456"
REQUEST_ID = "0f1e2d3c-0000-4000-8000-000000000001"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def _waits_ms(denial: Denial) -> int | None:
    """Longer than an SDK should wait, or short."""
    if denial is Denial.BURN_RATE:
        return 60_000
    return 10 if denial.transient else None


def deny(denial: Denial) -> Deny:
    return Deny(
        denial,
        model="claude-sonnet-4",
        key="ds-prod",
        policy="data-science-prod",
        scope="team=data-science,environment=prod",
        limit_kind=LimitKind.SPEND,
        limit=2_000 * NANO_PER_USD,
        used=2_000 * NANO_PER_USD,
        reserved=5,
        requested=7,
        window_start_ms=1_793_505_600_000,
        resets_at_ms=1_796_101_200_000,
        retry_after_ms=_waits_ms(denial),
    )


# How the SDKs present each refusal. `requests` is how often an SDK with its default of two retries asks.
TABLE = """
denial                           status requests openai_type           openai_code                      anthropic_type        gemini_status       exception
policy_unavailable               503    3        server_error          policy_unavailable               api_error             UNAVAILABLE         InternalServerError
malformed                        400    1        invalid_request_error malformed_request                invalid_request_error INVALID_ARGUMENT    BadRequestError
missing_key                      401    1        invalid_request_error invalid_api_key                  authentication_error  UNAUTHENTICATED     AuthenticationError
invalid_key                      401    1        invalid_request_error invalid_api_key                  authentication_error  UNAUTHENTICATED     AuthenticationError
disabled_key                     401    1        invalid_request_error invalid_api_key                  authentication_error  UNAUTHENTICATED     AuthenticationError
expired_key                      401    1        invalid_request_error expired_api_key                  authentication_error  UNAUTHENTICATED     AuthenticationError
model_not_allowed                403    1        invalid_request_error model_not_allowed                permission_error      PERMISSION_DENIED   PermissionDeniedError
model_not_found                  404    1        invalid_request_error model_not_found                  not_found_error       NOT_FOUND           NotFoundError
upstream_unavailable             503    3        server_error          upstream_unavailable             api_error             UNAVAILABLE         InternalServerError
no_fit_target                    400    1        invalid_request_error unsupported_parameter            invalid_request_error INVALID_ARGUMENT    BadRequestError
unbounded_key                    403    1        invalid_request_error unbounded_key                    permission_error      PERMISSION_DENIED   PermissionDeniedError
unknown_member                   400    1        invalid_request_error unsupported_parameter            invalid_request_error INVALID_ARGUMENT    BadRequestError
unpriced_model                   404    1        invalid_request_error model_not_found                  not_found_error       NOT_FOUND           NotFoundError
request_cost_limit               400    1        invalid_request_error request_cost_limit_exceeded      invalid_request_error INVALID_ARGUMENT    BadRequestError
budget_exhausted                 429    1        insufficient_quota    insufficient_quota               rate_limit_error      RESOURCE_EXHAUSTED  RateLimitError
request_exceeds_remaining_budget 429    1        insufficient_quota    request_exceeds_remaining_budget rate_limit_error      RESOURCE_EXHAUSTED  RateLimitError
burn_rate                        429    1        requests              rate_limit_exceeded              rate_limit_error      RESOURCE_EXHAUSTED  RateLimitError
rate_limited                     429    3        requests              rate_limit_exceeded              rate_limit_error      RESOURCE_EXHAUSTED  RateLimitError
reservation_contention           429    3        requests              rate_limit_exceeded              rate_limit_error      RESOURCE_EXHAUSTED  RateLimitError
"""  # noqa: E501  (a table is read by its columns)
_HEAD, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = {Denial(row[0]): dict(zip(_HEAD, row, strict=True)) for row in _ROWS}
every_denial = pytest.mark.parametrize("denial", Denial)


def test_the_table_knows_every_denial() -> None:
    assert set(CASES) == set(Denial)


def ask_openai(url: str, *, stream: bool = False) -> None:
    with openai.OpenAI(api_key=SECRET, base_url=f"{url}/v1") as client:
        client.chat.completions.create(
            model="claude-sonnet-4", messages=[{"role": "user", "content": "hi"}], stream=stream
        )


def ask_anthropic(url: str) -> None:
    with anthropic.Anthropic(api_key=SECRET, base_url=url) as client:
        client.messages.create(model="claude-sonnet-4", max_tokens=5, messages=[{"role": "user", "content": "hi"}])


def open_gemini(url: str) -> contextlib.closing[genai.Client]:
    return contextlib.closing(genai.Client(api_key=SECRET, http_options=gemini_types.HttpOptions(base_url=url)))


def ask_gemini(url: str) -> None:
    with open_gemini(url) as client:
        client.models.generate_content(model="claude-sonnet-4", contents="hi")


def raised_by(answer: HttpAnswer, ask: Callable[[str], None]) -> tuple[Any, int]:
    """The exception that asking raises, and how many requests the server saw."""
    with ReplayServer(answer) as server:
        try:
            ask(server.url)
        except (openai.APIStatusError, anthropic.APIStatusError, gemini_errors.APIError) as error:
            return error, len(server.paths)
    pytest.fail("nothing was raised")


@every_denial
def test_the_openai_sdk_raises_what_the_table_says(denial: Denial) -> None:
    case = CASES[denial]
    error, requests = raised_by(openai_dialect.refuse(word(deny(denial), TRACE_ID), REQUEST_ID), ask_openai)
    assert type(error).__name__ == case["exception"]
    assert str(error.status_code) == case["status"]
    assert (error.type, error.code) == (case["openai_type"], case["openai_code"])
    assert error.request_id == REQUEST_ID
    assert error.body["details"]["reason"] == denial
    assert error.body["details"]["trace_id"] == TRACE_ID
    assert requests == int(case["requests"])


@every_denial
def test_the_anthropic_sdk_raises_what_the_table_says(denial: Denial) -> None:
    case = CASES[denial]
    error, requests = raised_by(anthropic_dialect.refuse(word(deny(denial), TRACE_ID), REQUEST_ID), ask_anthropic)
    assert isinstance(error, getattr(anthropic, case["exception"]))
    assert (str(error.status_code), error.type) == (case["status"], case["anthropic_type"])
    assert error.error_code == case["openai_code"]
    assert error.request_id == REQUEST_ID
    assert requests == int(case["requests"])


@every_denial
def test_the_gemini_sdk_raises_what_the_table_says(denial: Denial) -> None:
    case = CASES[denial]
    error, requests = raised_by(gemini_dialect.refuse(word(deny(denial), TRACE_ID), REQUEST_ID), ask_gemini)
    expected = gemini_errors.ServerError if case["status"].startswith("5") else gemini_errors.ClientError
    assert isinstance(error, expected)
    assert (str(error.code), error.status) == (case["status"], case["gemini_status"])
    assert error.details["error"]["code"] == error.code
    assert error.details["error"]["details"][0]["reason"] == denial.upper()
    # This SDK does not retry by itself.
    assert requests == 1


LASTING = (Denial.BUDGET_EXHAUSTED, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET)


@pytest.mark.parametrize("denial", LASTING)
def test_a_policy_may_say_402_which_every_sdk_raises_once(denial: Denial) -> None:
    wording = word(dataclasses.replace(deny(denial), exhausted_status=402), TRACE_ID)
    code = CASES[denial]["openai_code"]

    error, requests = raised_by(openai_dialect.refuse(wording, REQUEST_ID), ask_openai)
    assert type(error) is openai.APIStatusError
    assert (error.status_code, error.type, error.code, requests) == (402, "insufficient_quota", code, 1)
    assert error.response.headers["x-should-retry"] == "false"

    error, requests = raised_by(anthropic_dialect.refuse(wording, REQUEST_ID), ask_anthropic)
    assert (type(error).__name__, error.status_code) == ("PaymentRequiredError", 402)
    assert (error.type, error.error_code, requests) == ("billing_error", code, 1)

    error, requests = raised_by(gemini_dialect.refuse(wording, REQUEST_ID), ask_gemini)
    assert isinstance(error, gemini_errors.ClientError)
    assert (error.code, error.status, requests) == (402, "RESOURCE_EXHAUSTED", 1)
    assert error.details["error"]["code"] == 402


@pytest.mark.parametrize("denial", [denial for denial in Denial if denial not in LASTING])
def test_a_refusal_that_is_not_for_good_keeps_its_status(denial: Denial) -> None:
    wording = word(dataclasses.replace(deny(denial), exhausted_status=402), TRACE_ID)
    assert wording.classification == word(deny(denial), TRACE_ID).classification


@pytest.mark.parametrize(("retry_after_ms", "expected"), [(20_000, False), (20_001, True)])
def test_only_a_wait_of_at_most_twenty_seconds_is_left_to_the_sdk(retry_after_ms: int, expected: bool) -> None:
    headers = dict(word(dataclasses.replace(deny(Denial.RATE_LIMITED), retry_after_ms=retry_after_ms), "").headers)
    assert (headers.get("x-should-retry") == "false") is expected
    assert headers["retry-after-ms"] == str(retry_after_ms)
    assert int(headers["retry-after"]) * 1_000 >= retry_after_ms


def test_a_stream_that_is_refused_raises_before_it_begins() -> None:
    answer = openai_dialect.refuse(word(deny(Denial.BUDGET_EXHAUSTED), TRACE_ID), REQUEST_ID)
    error, requests = raised_by(answer, partial(ask_openai, stream=True))
    assert isinstance(error, openai.RateLimitError)
    assert requests == 1


@pytest.mark.parametrize(("retry_after_ms", "expected"), [(10, 3), (1_500_000, 1)])
def test_a_rate_limit_is_retried_only_if_the_wait_is_short(retry_after_ms: int, expected: int) -> None:
    limited = dataclasses.replace(deny(Denial.RATE_LIMITED), retry_after_ms=retry_after_ms)
    error, requests = raised_by(anthropic_dialect.refuse(word(limited, ""), REQUEST_ID), ask_anthropic)
    assert isinstance(error, anthropic.RateLimitError)
    assert requests == expected


def test_the_sdks_read_the_list_of_models() -> None:
    names = ["claude-sonnet-4", "tiny"]
    with (
        ReplayServer(openai_dialect.list_models(names, REQUEST_ID)) as server,
        openai.OpenAI(api_key=SECRET, base_url=f"{server.url}/v1") as client,
    ):
        assert [model.id for model in client.models.list()] == names
    with (
        ReplayServer(anthropic_dialect.list_models(names, REQUEST_ID)) as server,
        anthropic.Anthropic(api_key=SECRET, base_url=server.url) as claude,
    ):
        assert [(model.type, model.id) for model in claude.models.list()] == [("model", name) for name in names]
    with (
        ReplayServer(gemini_dialect.list_models(names, REQUEST_ID)) as server,
        open_gemini(server.url) as gemini,
    ):
        assert [model.name for model in gemini.models.list()] == [f"models/{name}" for name in names]


def test_the_sdks_read_one_model() -> None:
    with (
        ReplayServer(openai_dialect.show_model("tiny", REQUEST_ID)) as server,
        openai.OpenAI(api_key=SECRET, base_url=f"{server.url}/v1") as client,
    ):
        assert client.models.retrieve("tiny").id == "tiny"
    with (
        ReplayServer(anthropic_dialect.show_model("tiny", REQUEST_ID)) as server,
        anthropic.Anthropic(api_key=SECRET, base_url=server.url) as claude,
    ):
        assert claude.models.retrieve("tiny").display_name == "tiny"
    with (
        ReplayServer(gemini_dialect.show_model("tiny", REQUEST_ID)) as server,
        open_gemini(server.url) as gemini,
    ):
        assert gemini.models.get(model="tiny").name == "models/tiny"
