"""The documents of commands about people: admin tokens, overrides, the limits of a key, and the audit log."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from spendgate.ledger.v1 import ledger_service_pb2
from spendgate.quota.v1 import admin_service_pb2 as administration
from spendgate.quota.v1 import override_service_pb2 as overrides
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2
from spendgate.type.v1 import audit_pb2, role_pb2
from spendgate.type.v1.resource_kind_pb2 import (
    RESOURCE_KIND_POLICY,
    RESOURCE_KIND_PRICE,
    RESOURCE_KIND_PROVIDER,
    RESOURCE_KIND_TEAM,
    ResourceKind,
)
from spendgate.type.v1.role_pb2 import ROLE_PLATFORM

from services.kernel.errors import Unavailable
from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import StandIn


def time_of(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def usd(units: int, nanos: int) -> Money:
    return Money(currency_code="USD", units=units, nanos=nanos)


_PAGES: dict[str, Callable[..., Any]] = {
    "AdminService": administration.ListAuditEntriesResponse,
    "RouterService": router_service_pb2.ListAuditEntriesResponse,
    "LedgerService": ledger_service_pb2.ListAuditEntriesResponse,
}
TOKEN_MESSAGE = administration.AdminToken(
    name="ada", role=role_pb2.ROLE_TEAM_ADMIN, team="ds", hint="spa_ab...9xyz",
    expire_time=time_of(1_800_086_400),
    create_time=time_of(1_800_000_000),
)  # fmt: skip
TOKEN_DOCUMENT = {
    "name": "ada", "role": "team-admin", "team": "ds", "hint": "spa_ab...9xyz", "expires_at": "2027-01-16T08:00:00Z",
    "created_at": "2027-01-15T08:00:00Z", "expired": False,
}  # fmt: skip


def test_admin_tokens_are_made_listed_and_revoked(services: StandIn, cli: Cli) -> None:
    services.answers = {
        "AdminService.CreateAdminToken": administration.CreateAdminTokenResponse(
            admin_token=TOKEN_MESSAGE, secret="spa_secret"
        ),
        "AdminService.ListAdminTokens": administration.ListAdminTokensResponse(admin_tokens=[TOKEN_MESSAGE]),
        "AdminService.RevokeAdminToken": administration.RevokeAdminTokenResponse(admin_token=TOKEN_MESSAGE),
    }
    create = ("tokens", "create", "ada", "--role", "team-admin", "--team", "ds", "--expires", "1d", "--reason", "new")
    assert cli.json(*create) == {**TOKEN_DOCUMENT, "secret": "spa_secret"}
    assert cli.json("tokens", "list") == {"tokens": [TOKEN_DOCUMENT]}
    assert cli.json("tokens", "revoke", "ada", "--reason", "gone") == TOKEN_DOCUMENT
    (_, created), _, (_, revoked) = services.requests
    assert (created.admin_token.role, created.admin_token.team, created.reason) == (
        role_pb2.ROLE_TEAM_ADMIN,
        "ds",
        "new",
    )
    assert created.admin_token.expire_time == time_of(1_800_086_400)
    assert (revoked.name, revoked.reason) == ("ada", "gone")


def test_a_secret_whose_answer_got_lost_is_asked_for_again_without_a_word(services: StandIn, cli: Cli) -> None:
    answer = administration.CreateAdminTokenResponse(admin_token=TOKEN_MESSAGE, secret="spa_secret")
    services.answers = {"AdminService.CreateAdminToken": [Unavailable("quota restarts"), answer]}

    made = cli.json("tokens", "create", "ada", "--role", "team-admin", "--team", "ds", "--expires", "1d")

    assert made == {**TOKEN_DOCUMENT, "secret": "spa_secret"}
    (_, lost), (_, repeated) = services.requests
    assert lost == repeated
    assert uuid.UUID(lost.request_id).version == 4


def test_overrides_are_granted_listed_and_revoked(services: StandIn, cli: Cli) -> None:
    granted = overrides.Override(
        name="ovr_1", policy="ds", limit_id="spend/month/UTC", scope="team=ds", amount=usd(30, 5), reason="launch",
        actor="ada", expire_time=time_of(1_800_086_400), create_time=time_of(1_800_000_000),
    )  # fmt: skip
    document = {
        "name": "ovr_1", "policy": "ds", "limit_id": "spend/month/UTC", "scope": "team=ds", "limit_usd": "30.000000005",
        "reason": "launch", "actor": "ada", "until": "2027-01-16T08:00:00Z", "created_at": "2027-01-15T08:00:00Z",
    }  # fmt: skip
    services.answers = {
        "OverrideService.GrantOverride": overrides.GrantOverrideResponse(override=granted),
        "OverrideService.ListOverrides": overrides.ListOverridesResponse(overrides=[granted]),
        "OverrideService.RevokeOverride": overrides.RevokeOverrideResponse(override=granted),
    }
    grant = ("overrides", "grant", "ds", "--limit", "spend/month", "--until", "1d", "--reason", "launch")
    assert cli.json(*grant, "--usd", "30.000000005") == document
    assert cli.json("overrides", "list") == {"overrides": [document]}
    assert cli.json("overrides", "revoke", "ovr_1", "--reason", "over") == document
    (_, asked), _, (_, revoked) = services.requests
    assert (asked.override.policy, asked.override.limit_id, asked.override.reason) == ("ds", "spend/month", "launch")
    assert (asked.override.amount, asked.override.expire_time) == (usd(30, 5), time_of(1_800_086_400))
    assert (revoked.name, revoked.reason) == ("ovr_1", "over")
    for wrong in ((), ("--usd", "1", "--count", "1"), ("--usd", "much")):
        assert cli.text(*grant, *wrong)[0] == 2


def test_the_limits_of_a_key_have_the_shape_of_budgets(services: StandIn, cli: Cli) -> None:
    window: Any = {"window_start_time": time_of(1_798_761_600), "reset_time": time_of(1_801_440_000)}
    budget = quota.Budget(
        policy="ds", limit_kind=quota.LIMIT_KIND_REQUESTS, limit_id="requests/month/UTC", scope="team=ds", limit=10,
        settled=3, reserved=2, mode=quota.QuotaPolicy.MODE_ENFORCE, **window,
    )  # fmt: skip
    services.answers["QuotaService.GetEffectiveLimits"] = quota.GetEffectiveLimitsResponse(limits=[budget])
    assert cli.json("keys", "limits", "app", "--model", "gpt") == {
        "key": "app",
        "limits": [
            {
                "policy": "ds", "limit_kind": "requests", "limit_id": "requests/month/UTC", "scope": "team=ds",
                "mode": "enforce", "window_start": "2027-01-01T00:00:00Z", "resets_at": "2027-02-01T00:00:00Z",
                "limit": 10, "settled": 3, "reserved": 2, "doubt": 0, "remaining": 5, "override": None,
            }
        ],
    }  # fmt: skip


def test_the_audit_logs_of_three_services_are_one_list_newest_first(services: StandIn, cli: Cli) -> None:
    def entry(seconds: int, kind: ResourceKind.ValueType, **fields: Any) -> audit_pb2.AuditEntry:
        return audit_pb2.AuditEntry(
            change_time=time_of(seconds),
            actor="ada",
            role=ROLE_PLATFORM,
            action=audit_pb2.AuditEntry.ACTION_UPDATE,
            kind=kind,
            name="n",
            **fields,
        )

    policy = entry(
        1_800_000_002, RESOURCE_KIND_POLICY, reason="why", before='{"a": 1}', after='{"a": 2}', request_id="req-1"
    )
    lists = {
        "AdminService": [policy, entry(1_800_000_000, RESOURCE_KIND_TEAM)],
        "RouterService": [entry(1_800_000_003, RESOURCE_KIND_PROVIDER)],
        "LedgerService": [entry(1_800_000_001, RESOURCE_KIND_PRICE)],
    }
    services.answers = {
        f"{service}.ListAuditEntries": _PAGES[service](audit_entries=entries) for service, entries in lists.items()
    }
    listed = cli.json("audit", "--limit", "3", "--actor", "ada", "--since", "1d")["entries"]
    assert [entry["kind"] for entry in listed] == ["provider", "policy", "price"]
    assert listed[1] == {
        "time": "2027-01-15T08:00:02Z", "actor": "ada", "role": "platform", "action": "update", "kind": "policy",
        "name": "n", "reason": "why", "before": {"a": 1}, "after": {"a": 2}, "request_id": "req-1",
    }  # fmt: skip
    assert {request.actor for _, request in services.requests} == {"ada"}
    assert {request.start_time.seconds for _, request in services.requests} == {1_799_913_600}
