"""The list of models as quota answers it, over a real server and a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb

from services.kernel.dialect import Dialect
from tests.worlds.quota_process import (
    MODEL,
    SECRET,
    QuotaProcess,
    configuration,
    get,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
)


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        lab, google = planned_target("lab/tiny"), planned_target("google/gemini-x", "gemini")
        process.publish(route_plan("v1", {MODEL: [lab, google], "other": [lab]}))
        yield process


@pytest.mark.parametrize(
    ("path", "headers", "listed"),
    [
        ("/v1/models", {}, lambda body: [model["id"] for model in body["data"]]),
        (
            "/v1/models",
            {"authorization": "", "x-goog-api-key": SECRET},
            lambda body: [m["name"].split("/")[1] for m in body["models"]],
        ),
        ("/v1beta/models?pageSize=9", {}, lambda body: [model["name"].split("/")[1] for model in body["models"]]),
    ],
)
def test_the_list_of_models_is_filtered_to_the_key_and_reserves_nothing(
    quota: QuotaProcess, path: str, headers: dict[str, str], listed: Any
) -> None:
    quota.quota.ApplyConfiguration(
        configuration(spend_policy("zero", 0), keys=[key_in("data-science", models=[MODEL])])
    )
    before = quota.quota.GetQuotaStatus(pb.GetQuotaStatusRequest()).quota_status.open_reservations
    response = quota.check(get(path, headers))
    assert response.denied_response.status.code == 200
    assert listed(json.loads(response.denied_response.body)) == [MODEL]
    assert quota.quota.GetQuotaStatus(pb.GetQuotaStatusRequest()).quota_status.open_reservations == before


def test_a_model_that_a_dialect_cannot_call_is_not_in_its_list(quota: QuotaProcess) -> None:
    quota.publish(
        route_plan("v6", {MODEL: [planned_target("lab/tiny")], "claude": [planned_target("a/c", "anthropic")]})
    )
    quota.quota.ApplyConfiguration(configuration(keys=[key_in("data-science")]))
    asked: dict[Dialect, dict[str, str]] = {Dialect.OPENAI: {}, Dialect.ANTHROPIC: {"anthropic-version": "2023-06-01"}}
    listed = {
        dialect: [
            model["id"] for model in json.loads(quota.check(get("/v1/models", headers)).denied_response.body)["data"]
        ]
        for dialect, headers in asked.items()
    }
    assert listed == {Dialect.OPENAI: [MODEL], Dialect.ANTHROPIC: ["claude"]}


def test_one_model_is_shown_if_the_key_may_use_it(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(keys=[key_in("data-science", models=[MODEL])]))
    assert json.loads(quota.check(get(f"/v1/models/{MODEL}")).denied_response.body)["id"] == MODEL
    assert quota.check(get("/v1/models/other")).denied_response.status.code == 404
    assert quota.check(get(f"/v1/models/{MODEL}", secret="wrong-key-wrong-key")).denied_response.status.code == 401
