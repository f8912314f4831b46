"""Envoy's question before a body comes: is the key good?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.kernel.envoy_contract import KEY_STAGE, STAGE_EXTENSION
from tests.worlds.joined import joined
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    planned_target,
    route_plan,
    spend_policy,
)

GEMINI_PATH = "/v1beta/models/tiny:generateContent"


@pytest.fixture(scope="module")
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("v1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


def metadata_of(response: auth_pb.CheckResponse) -> dict[str, Any]:
    return joined(json_format.MessageToDict(response.dynamic_metadata), "admitted")


def asking_for_the_key(**question: Any) -> auth_pb.CheckRequest:
    """What Envoy asks before the body comes."""
    request = call(**question)
    request.attributes.metadata_context.Clear()
    request.attributes.context_extensions[STAGE_EXTENSION] = KEY_STAGE
    return request


def test_the_body_of_a_good_key_may_come_and_nothing_is_reserved_for_it(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("before-the-body", 1)))
    response = quota.check(asking_for_the_key())
    assert response.status.code == 0
    assert metadata_of(response) == {"holder": metadata_of(quota.check(call()))["key_id"]}
    assert list(response.ok_response.headers_to_remove) == []
    (budget,) = quota.quota.ListBudgets(pb.ListBudgetsRequest()).budgets
    reserved = budget.reserved
    quota.check(asking_for_the_key())
    (budget,) = quota.quota.ListBudgets(pb.ListBudgetsRequest()).budgets
    assert budget.reserved == reserved


@pytest.mark.parametrize(
    ("path", "secret", "code"),
    [
        ("/v1/chat/completions", "wrong", "invalid_api_key"),
        ("/v1/messages", "wrong", None),
        (GEMINI_PATH, "", None),
    ],
)
def test_a_bad_key_is_refused_before_the_body_as_it_is_after_it(
    quota: QuotaProcess, path: str, secret: str, code: str | None
) -> None:
    quota.quota.ApplyConfiguration(configuration())
    before, behind = (
        quota.check(asking_for_the_key(path=path, secret=secret)),
        quota.check(call(path=path, secret=secret)),
    )
    assert before == behind
    assert before.denied_response.status.code == 401
    assert code is None or json.loads(before.denied_response.body)["error"]["code"] == code
