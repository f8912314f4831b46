"""Admin tokens, overrides and the audit log of quota: over a real server and a real store, as each kind of person."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from spendgate.quota.v1 import admin_service_pb2 as admin_pb
from spendgate.quota.v1 import admin_service_pb2_grpc, override_service_pb2_grpc
from spendgate.quota.v1 import override_service_pb2 as override_pb
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import audit_pb2, role_pb2
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_VIRTUAL_KEY

from services.kernel.envoy_contract import ACTOR_HEADER
from tests.worlds.quota_process import (
    ADMIN_TOKEN,
    MODEL,
    QuotaProcess,
    call,
    configuration,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
)

DAY_MS = 86_400_000
LEAD = ((ACTOR_HEADER, "team-admin:data-science:lead"), ("x-request-id", "req-7"))
STRANGER = ((ACTOR_HEADER, "team-admin:marketing:stranger"),)


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


def code_of(ask: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    code: grpc.StatusCode = raised.value.code()
    return code


def admin(quota: QuotaProcess) -> admin_service_pb2_grpc.AdminServiceStub:
    return admin_service_pb2_grpc.AdminServiceStub(quota.admin_channel)


def overrides(quota: QuotaProcess) -> override_service_pb2_grpc.OverrideServiceStub:
    return override_service_pb2_grpc.OverrideServiceStub(quota.admin_channel)


def in_ms(quota: QuotaProcess, span_ms: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMilliseconds(quota.clock.now_ms() + span_ms)
    return moment


def create(quota: QuotaProcess, name: str, role: role_pb2.Role.ValueType, team: str = "") -> str:
    token = admin_pb.AdminToken(name=name, role=role, team=team, expire_time=in_ms(quota, DAY_MS))
    return str(admin(quota).CreateAdminToken(admin_pb.CreateAdminTokenRequest(admin_token=token)).secret)


def ask(quota: QuotaProcess, token: str, path: str, method: str = "POST") -> Any:
    request = call(path=path, secret=token)
    request.attributes.request.http.method = method
    request.attributes.context_extensions["plane"] = "admin"
    return quota.check(request)


def test_a_token_passes_with_its_name_where_its_role_may_and_nowhere_else(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    secret = create(quota, "lead", role_pb2.ROLE_TEAM_ADMIN, "data-science")

    passed = ask(quota, secret, "/v1/virtualKeys/ci:rotate")
    told = {option.header.key: option.header.value for option in passed.ok_response.headers}
    assert told == {ACTOR_HEADER: "team-admin:data-science:lead"}
    assert "authorization" in passed.ok_response.headers_to_remove
    refused = ask(quota, secret, "/v1/quota:apply").denied_response
    assert refused.status.code == 403
    assert json.loads(refused.body)["code"] == 7
    root = ask(quota, ADMIN_TOKEN, "/v1/quota:apply")
    assert [option.header.value for option in root.ok_response.headers] == ["platform::root"]


def test_a_token_is_over_with_its_time_and_at_once_when_it_is_revoked(quota: QuotaProcess) -> None:
    brief, gone = (create(quota, name, role_pb2.ROLE_FINANCE) for name in ("brief", "gone"))
    for secret in (brief, gone):
        assert ask(quota, secret, "/v1/budgets", "GET").HasField("ok_response")

    admin(quota).RevokeAdminToken(admin_pb.RevokeAdminTokenRequest(name="gone"))
    assert ask(quota, gone, "/v1/budgets", "GET").denied_response.status.code == 401
    quota.clock.advance(DAY_MS - 1)
    assert ask(quota, brief, "/v1/budgets", "GET").HasField("ok_response")
    quota.clock.advance(1)
    expired = ask(quota, brief, "/v1/budgets", "GET").denied_response
    assert (expired.status.code, "Admin token brief expired on" in expired.body) == (401, True)
    (listed,) = admin(quota).ListAdminTokens(admin_pb.ListAdminTokensRequest()).admin_tokens
    assert (listed.name, listed.expired, listed.role) == ("brief", True, role_pb2.ROLE_FINANCE)


def test_tokens_and_overrides_survive_a_restart(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("p", 1)))
    secret = create(quota, "cfo", role_pb2.ROLE_FINANCE)
    granted = grant(quota, "p", 2)

    quota.restart()

    assert ask(quota, secret, "/v1/budgets", "GET").HasField("ok_response")
    assert list(overrides(quota).ListOverrides(override_pb.ListOverridesRequest()).overrides) == [granted]


def grant(
    quota: QuotaProcess, policy: str, dollars: int, *, metadata: Any = (), **changes: Any
) -> override_pb.Override:
    asked: dict[str, Any] = {
        "policy": policy,
        "amount": Money(currency_code="USD", units=dollars),
        "expire_time": in_ms(quota, 60_000),
        "reason": "a launch",
        **changes,
    }
    request = override_pb.GrantOverrideRequest(override=override_pb.Override(**asked))
    made: override_pb.Override = overrides(quota).GrantOverride(request, metadata=metadata).override
    return made


def test_an_override_is_in_force_in_the_next_call_and_in_every_list(quota: QuotaProcess) -> None:
    narrow = spend_policy("narrow", 0)
    narrow.match.environment = "prod"
    quota.quota.ApplyConfiguration(configuration(spend_policy("team", 5), narrow))
    assert quota.check(call()).denied_response.status.code == 429

    granted = grant(quota, "narrow", 1, metadata=LEAD)

    assert quota.check(call()).HasField("ok_response")
    assert (granted.actor, granted.limit_id, granted.scope) == (
        "lead",
        "spend/month/UTC",
        "team=data-science,environment=prod",
    )
    (budget,) = quota.quota.ListBudgets(pb.ListBudgetsRequest(policy="narrow")).budgets
    assert (budget.limit, budget.override, budget.override_expire_time) == (10**9, granted.name, granted.expire_time)
    tightest, team = quota.quota.GetEffectiveLimits(pb.GetEffectiveLimitsRequest(key="ds-prod"), metadata=LEAD).limits
    assert (tightest.policy, tightest.override, team.policy, team.override) == ("narrow", granted.name, "team", "")
    explained = quota.quota.Explain(pb.ExplainRequest(key="ds-prod", model=MODEL)).limits
    assert {(limit.policy, limit.limit) for limit in explained} == {("narrow", 10**9), ("team", 5 * 10**9)}

    # The file does not configure it: applying the file again leaves it, and removing its policy removes it.
    quota.quota.ApplyConfiguration(configuration(spend_policy("team", 4), narrow))
    assert len(overrides(quota).ListOverrides(override_pb.ListOverridesRequest()).overrides) == 1
    quota.quota.ApplyConfiguration(configuration(spend_policy("team", 4)))
    assert len(overrides(quota).ListOverrides(override_pb.ListOverridesRequest()).overrides) == 0


def test_beyond_the_cap_and_outside_the_team_is_permission_denied(quota: QuotaProcess) -> None:
    narrow = spend_policy("narrow", 0)
    narrow.match.environment = "prod"
    quota.quota.ApplyConfiguration(configuration(spend_policy("team", 5), narrow, keys=[key_in("data-science")]))

    denied = grpc.StatusCode.PERMISSION_DENIED
    assert code_of(lambda: grant(quota, "narrow", 6, metadata=LEAD)) is denied
    assert code_of(lambda: grant(quota, "narrow", 1, metadata=STRANGER)) is denied
    rotate = pb.RotateVirtualKeyRequest(name="ds-prod")
    assert code_of(lambda: quota.quota.RotateVirtualKey(rotate, metadata=STRANGER)) is denied
    limits = pb.GetEffectiveLimitsRequest(key="ds-prod")
    assert code_of(lambda: quota.quota.GetEffectiveLimits(limits, metadata=STRANGER)) is denied
    assert list(quota.quota.ListVirtualKeys(pb.ListVirtualKeysRequest(), metadata=STRANGER).virtual_keys) == []
    assert list(quota.quota.ListBudgets(pb.ListBudgetsRequest(), metadata=STRANGER).budgets) == []
    assert list(quota.quota.ListTeams(pb.ListTeamsRequest(), metadata=STRANGER).teams) == []
    assert list(quota.quota.ListQuotaPolicies(pb.ListQuotaPoliciesRequest(), metadata=STRANGER).quota_policies) == []


@pytest.mark.parametrize("header", ["", "platform", "platform:root", "::", "platform::", "a:b:c:d"])
def test_a_header_that_quota_did_not_write_is_no_administrator(quota: QuotaProcess, header: str) -> None:
    metadata = ((ACTOR_HEADER, header),)
    assert (
        code_of(lambda: quota.quota.ListTeams(pb.ListTeamsRequest(), metadata=metadata))
        is grpc.StatusCode.PERMISSION_DENIED
    )


def test_the_audit_log_comes_in_pages_newest_first_and_by_time_and_actor(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("ds", 1)))
    quota.clock.advance(1_000)
    since = in_ms(quota, 0)
    for number in range(5):
        key = pb.VirtualKey(name=f"key-{number}")
        key.attribution.team = "data-science"
        quota.quota.CreateVirtualKey(
            pb.CreateVirtualKeyRequest(virtual_key=key, reason=f"number {number}"), metadata=LEAD
        )

    names: list[str] = []
    token = ""
    for _ in range(3):
        page = admin(quota).ListAuditEntries(
            admin_pb.ListAuditEntriesRequest(page_size=2, page_token=token, start_time=since, actor="lead")
        )
        names += [entry.name for entry in page.audit_entries]
        token = page.next_page_token
    assert (names, token) == ([f"key-{number}" for number in (4, 3, 2, 1, 0)], "")

    (newest, *_) = admin(quota).ListAuditEntries(admin_pb.ListAuditEntriesRequest(page_size=1)).audit_entries
    assert (newest.actor, newest.role) == ("lead", role_pb2.ROLE_TEAM_ADMIN)
    assert (newest.action, newest.kind) == (audit_pb2.AuditEntry.ACTION_CREATE, RESOURCE_KIND_VIRTUAL_KEY)
    assert (newest.reason, newest.request_id, newest.before) == ("number 4", "req-7", "")
    assert json.loads(newest.after)["attribution"]["key"] == "key-4"
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for wrong in (
        admin_pb.ListAuditEntriesRequest(page_token="x"),
        admin_pb.ListAuditEntriesRequest(page_size=-1),
    ):
        assert code_of(partial(admin(quota).ListAuditEntries, wrong)) is invalid


@pytest.mark.parametrize("reason", ["x" * 513, "two\nlines", "a\x1b[2J"])
def test_a_reason_is_one_short_line(quota: QuotaProcess, reason: str) -> None:
    request = pb.CreateVirtualKeyRequest(virtual_key=pb.VirtualKey(name="k"), reason=reason)
    assert code_of(lambda: quota.quota.CreateVirtualKey(request)) is grpc.StatusCode.INVALID_ARGUMENT
