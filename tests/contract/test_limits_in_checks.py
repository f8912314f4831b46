"""What a Check says of the limits of a key: the same headers when a call passes and when it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate_envoy.envoy.config.core.v3 import base_pb2

from tests.worlds.quota_process import MODEL, QuotaProcess, call, configuration, planned_target, route_plan

LIMITED = pb.QuotaPolicy(
    name="limited",
    match=pb.Match(team="data-science"),
    limits=[
        pb.Limit(kind=pb.LIMIT_KIND_REQUESTS, count=2, per=pb.WINDOW_UNIT_DAY),
        pb.Limit(kind=pb.LIMIT_KIND_TOKENS, count=5_000, per=pb.WINDOW_UNIT_HOUR),
        pb.Limit(kind=pb.LIMIT_KIND_OUTPUT_TOKENS, count=900_000, per=pb.WINDOW_UNIT_HOUR),
    ],
)
OPENAI_LIMITS = {
    "x-ratelimit-limit-requests": "2",
    "x-ratelimit-remaining-requests": "1",
    "x-ratelimit-reset-requests": "4h0m0s",
    "x-ratelimit-limit-tokens": "5000",
    "x-ratelimit-remaining-tokens": "5000",
    "x-ratelimit-reset-tokens": "1h0m0s",
}
ANTHROPIC_LIMITS = {
    "anthropic-ratelimit-requests-limit": "2",
    "anthropic-ratelimit-requests-remaining": "1",
    "anthropic-ratelimit-requests-reset": "2026-11-24T00:00:00Z",
    "anthropic-ratelimit-tokens-limit": "5000",
    "anthropic-ratelimit-tokens-remaining": "5000",
    "anthropic-ratelimit-tokens-reset": "2026-11-23T21:00:00Z",
    "anthropic-ratelimit-output-tokens-limit": "900000",
    "anthropic-ratelimit-output-tokens-remaining": "900000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-23T21:00:00Z",
}


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        yield process


@pytest.mark.parametrize(
    ("dialect", "path", "limits"),
    [
        ("openai", "/v1/chat/completions", OPENAI_LIMITS),
        ("anthropic", "/v1/messages", ANTHROPIC_LIMITS),
        ("gemini", "/v1beta/models/tiny:generateContent", {}),
    ],
)
def test_an_answer_tells_our_limits_in_the_headers_of_its_vendor_when_it_passes_and_when_not(
    quota: QuotaProcess, dialect: str, path: str, limits: dict[str, str]
) -> None:
    limited = pb.QuotaPolicy()
    limited.CopyFrom(LIMITED)
    limited.name = f"limited-{dialect}"
    quota.publish(route_plan(f"limits-{dialect}", {MODEL: [planned_target("lab/tiny", dialect)]}))
    quota.quota.ApplyConfiguration(configuration(limited))
    ours = {
        "x-spendgate-model-requested": MODEL,
        "x-spendgate-policy": limited.name,
        "x-spendgate-budget-remaining": "1",
        "x-spendgate-budget-resets-at": "2026-11-24T00:00:00Z",
    }
    asked = call(path=path, dialect=dialect)
    options = quota.check(asked).ok_response.response_headers_to_add
    assert {option.header.key: option.header.value for option in options} == ours | limits
    assert {option.append_action for option in options} == {base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD}
    quota.check(asked)

    refused = {option.header.key: option.header.value for option in quota.check(asked).denied_response.headers}
    none_left = {name: "0" for name in (ours | limits) if "remaining" in name and "tokens" not in name}
    assert refused.items() >= (ours | limits | none_left).items()
