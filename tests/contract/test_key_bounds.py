"""No key is unlimited by accident, whatever way it is asked for: over the API, past the command line and its checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import attribution_pb2

from services.kernel.envoy_contract import ACTOR_HEADER
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    call,
    configuration,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
)

LEAD = ((ACTOR_HEADER, "team-admin:data-science:lead"),)
OTHER = "other"
DIALECTS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": f"/v1beta/models/{MODEL}:x"}


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        targets = {MODEL: planned_target("lab/tiny"), OTHER: planned_target("lab/other")}
        faces = [planned_target("lab/tiny", dialect).faces[0] for dialect in ("anthropic", "gemini")]
        targets[MODEL].faces.extend(faces)
        process.publish(route_plan("plan-1", {model: [target] for model, target in targets.items()}))
        yield process


def refusal(ask: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    return raised.value.code(), str(raised.value.details())


def create(quota: QuotaProcess, name: str = "new", metadata: Any = (), **changes: Any) -> str:
    unlimited, models = changes.pop("unlimited", False), changes.pop("models", [])
    who = attribution_pb2.Attribution(**{"team": "data-science", **changes})
    key = pb.VirtualKey(name=name, attribution=who, unlimited=unlimited, models=models)
    request = pb.CreateVirtualKeyRequest(virtual_key=key)
    return str(quota.quota.CreateVirtualKey(request, metadata=metadata).secret)


def test_a_key_that_nothing_binds_is_neither_declared_nor_created(quota: QuotaProcess) -> None:
    sent = configuration()
    sent.keys[0].virtual_key.unlimited = False
    code, text = refusal(lambda: quota.quota.ApplyConfiguration(sent))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("keys[0]: virtual key ds-prod: no enforced policy bounds what it can take")
    assert list(quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest()).virtual_keys) == []

    of_prod = spend_policy("prod", 1)
    of_prod.match.environment = "prod"
    quota.quota.ApplyConfiguration(configuration(of_prod))
    for environment in ("dev", "staging", ""):
        code, text = refusal(lambda name=environment: create(quota, environment=name))  # type: ignore[misc]
        assert (code, "no enforced policy bounds" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert quota.check(call(secret=create(quota, environment="prod"))).HasField("ok_response")
    assert quota.check(call(secret=create(quota, "free", unlimited=True))).HasField("ok_response")
    listed = quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest()).virtual_keys
    assert [key.name for key in listed if key.unlimited] == ["free"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_that_nothing_binds_any_more_is_refused_in_its_dialect(quota: QuotaProcess, dialect: str) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("ds", 5)))
    secret = create(quota)
    ask = call(secret=secret, dialect=dialect, path=DIALECTS[dialect])
    assert quota.check(ask).HasField("ok_response")

    quota.quota.ApplyConfiguration(configuration())

    denied = quota.check(ask).denied_response
    assert denied.status.code == 403
    assert (
        f"API key new has no limit for model {MODEL}: no policy in force bounds"
        in json.loads(denied.body)["error"]["message"]
    )
    explained = quota.quota.Explain(pb.ExplainRequest(key="new", model=MODEL))
    assert explained.decision == pb.ExplainResponse.DECISION_DENY
    assert explained.reason.startswith(
        "Refused, unbounded key: no enforced policy bounds what such calls can take; add"
    )


def test_each_model_is_judged_by_itself(quota: QuotaProcess) -> None:
    of_model = spend_policy("of-model", 5)
    of_model.match.model = MODEL
    applied = quota.quota.ApplyConfiguration(configuration(of_model))

    assert [warning.split(":")[0] for warning in applied.warnings] == ["Virtual key ds-prod is refused for other"]
    assert quota.check(call()).HasField("ok_response")
    assert quota.check(call(model=OTHER)).denied_response.status.code == 403


def test_a_limit_that_bounds_nothing_does_not_make_the_default_step_back(quota: QuotaProcess) -> None:
    default, flat = spend_policy("default", 0), spend_policy("flat", 0)
    default.default = True
    del flat.limits[:]
    flat.limits.add(kind=pb.LIMIT_KIND_CONCURRENCY, count=5)

    quota.quota.ApplyConfiguration(configuration(default, flat))

    denied = json.loads(quota.check(call()).denied_response.body)["error"]["details"]
    assert (denied["reason"], denied["policy"]) == ("budget_exhausted", "default")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"environment": "staging"}, "would get past the policies of team data-science"),
        ({"environment": ""}, "would get past the policies of team data-science"),
        ({"environment": "Prod"}, "there is no environment 'Prod': did you mean 'prod'?"),
        ({"project": "vision"}, "there is no project of team data-science 'vision'"),
        ({"user": "stranger@example.com"}, "there is no member of team data-science 'stranger@example.com'"),
        ({"models": ["tinny"]}, "there is no model 'tinny': did you mean 'tiny'?"),
        ({"unlimited": True}, "only the platform role may let a key work without limits"),
        ({"team": ""}, "belongs to no team"),
        ({"team": "vision"}, "belongs to team vision"),
    ],
)
def test_a_team_admin_gets_no_key_beyond_what_its_team_is_allowed(
    quota: QuotaProcess, changed: dict[str, Any], text: str
) -> None:
    dev, prod, default = spend_policy("ds-dev", 1), spend_policy("ds-prod", 1), spend_policy("default-staging", 250)
    dev.match.environment, prod.match.environment = "dev", "prod"
    default.match.CopyFrom(pb.Match(environment="staging"))
    default.default = True
    sent = configuration(dev, prod, default, keys=[key_in("data-science")])
    sent.teams.add(name="vision", projects=["vision"], members=["stranger@example.com"])
    quota.quota.ApplyConfiguration(sent)

    assert create(quota, "dev", LEAD, environment="dev", user="ada@example.com")
    code, told = refusal(lambda: create(quota, "new", LEAD, **{"environment": "dev", **changed}))

    assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
    assert text in told
