"""The documents that scripts build on: exactly one on standard output, of exactly this shape."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.router.v1.route_plan_service_pb2 import LEAD_REASON_ERRORS
from spendgate.type.v1.attribution_pb2 import Attribution

from services.chassis.well_known import duration, usd
from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import StandIn

WHO = Attribution(key_id="key_1", key="app", team="ds", project="p", environment="prod", user="ada@example.com")


def _time(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


def _usd(units: int, nanos: int = 0) -> Money:
    return Money(currency_code="USD", units=units, nanos=nanos)


def test_budgets_are_dollars_in_nine_digits_or_plain_integers(services: StandIn, cli: Cli) -> None:
    window: Any = {"window_start_time": _time(1_798_761_600), "reset_time": _time(1_801_440_000)}
    spend = quota.Budget(
        policy="ds", limit_kind=quota.LIMIT_KIND_SPEND, scope="team=ds", limit=2_000_000_000_000,
        settled=1_234_567_891, reserved=1, doubt=8, mode=quota.QuotaPolicy.MODE_ENFORCE, limit_id="spend/month/UTC",
        **window,
    )  # fmt: skip
    counted = quota.Budget(
        policy="ds", limit_kind=quota.LIMIT_KIND_INPUT_TOKENS, scope="team=ds", limit=100,
        settled=90, reserved=20, mode=quota.QuotaPolicy.MODE_SHADOW, limit_id="input_tokens/hour",
        override="ovr_1", override_expire_time=_time(1_800_000_600), **window,
    )  # fmt: skip
    services.answers["QuotaService.ListBudgets"] = [
        quota.ListBudgetsResponse(budgets=[spend], next_page_token="more"),
        quota.ListBudgetsResponse(budgets=[counted]),
    ]
    times = {"window_start": "2027-01-01T00:00:00Z", "resets_at": "2027-02-01T00:00:00Z"}
    assert cli.json("budgets", "--policy", "ds") == {
        "budgets": [
            {
                "policy": "ds", "limit_kind": "spend", "scope": "team=ds", "mode": "enforce", **times,
                "limit_usd": "2000.000000000", "settled_usd": "1.234567891", "reserved_usd": "0.000000001",
                "doubt_usd": "0.000000008", "remaining_usd": "1998.765432100", "limit_id": "spend/month/UTC",
                "override": None,
            },
            {
                "policy": "ds", "limit_kind": "input_tokens", "scope": "team=ds", "mode": "shadow", **times,
                "limit": 100, "settled": 90, "reserved": 20, "doubt": 0, "remaining": 0,
                "limit_id": "input_tokens/hour", "override": {"name": "ovr_1", "until": "2027-01-15T08:10:00Z"},
            },
        ]
    }  # fmt: skip
    assert [request.page_token for _, request in services.requests] == ["", "more"]
    assert {request.policy for _, request in services.requests} == {"ds"}


def test_adjustments_are_in_dollars_or_plain_integers_with_their_reason(services: StandIn, cli: Cli) -> None:
    where: dict[str, Any] = {
        "policy": "ds",
        "scope": "team=ds",
        "window_start_time": _time(1_798_761_600),
        "adjust_time": _time(1_800_000_000),
    }
    spend = quota.Adjustment(
        limit_kind=quota.LIMIT_KIND_SPEND, limit_id="spend/month/UTC", settled_before=1, settled_after=2_000_000_001,
        reason=quota.Adjustment.REASON_DRIFT, **where,
    )  # fmt: skip
    counted = quota.Adjustment(
        limit_kind=quota.LIMIT_KIND_REQUESTS, limit_id="requests/month/UTC", settled_after=7,
        reason=quota.Adjustment.REASON_BACKFILL, **where,
    )  # fmt: skip
    services.answers["QuotaService.ListAdjustments"] = quota.ListAdjustmentsResponse(adjustments=[spend, counted])
    common = {
        "policy": "ds", "scope": "team=ds", "window_start": "2027-01-01T00:00:00Z",
        "adjusted_at": "2027-01-15T08:00:00Z",
    }  # fmt: skip
    assert cli.json("adjustments") == {
        "adjustments": [
            {
                **common, "limit_kind": "spend", "limit": "spend/month/UTC", "settled_before_usd": "0.000000001",
                "settled_after_usd": "2.000000001", "reason": "drift",
            },
            {
                **common, "limit_kind": "requests", "limit": "requests/month/UTC", "settled_before": 0,
                "settled_after": 7, "reason": "backfill",
            },
        ]
    }  # fmt: skip


def test_usage_has_one_key_for_each_dimension_and_a_total(services: StandIn, cli: Cli) -> None:
    sums = {"calls": 3, "input_tokens": 40, "output_tokens": 50, "cost": _usd(1, 5), "unpriced_calls": 1}
    sums |= {"retries": 1, "logical_calls": 2}
    services.answers["LedgerService.QueryUsage"] = ledger.QueryUsageResponse(
        rows=[ledger.UsageRow(values=["ds", "gpt"], **sums)], total=ledger.UsageRow(**sums)
    )
    expected = {
        "calls": 3, "input_tokens": 40, "cached_input_tokens": 0, "output_tokens": 50, "cost_usd": "1.000000005",
        "unpriced_calls": 1, "retries": 1, "logical_calls": 2,
    }  # fmt: skip
    assert cli.json("usage", "--by", "team,model", "--since", "7d", "--where", "status=200") == {
        "usage": [{"team": "ds", "model": "gpt", **expected}],
        "total": expected,
    }
    ((_, request),) = services.requests
    assert list(request.group_by) == [ledger.USAGE_DIMENSION_TEAM, ledger.USAGE_DIMENSION_MODEL]
    assert request.start_time.ToJsonString() == "2027-01-08T08:00:00Z"
    assert not request.HasField("end_time")
    assert request.filter == "status=200"


@pytest.mark.parametrize(
    ("decision", "word", "target"),
    [
        (quota.ExplainResponse.DECISION_ALLOW, "allow", "openai/gpt-4o"),
        (quota.ExplainResponse.DECISION_DOWNGRADE, "downgrade", "openai/gpt-4o-mini"),
        (quota.ExplainResponse.DECISION_DENY, "deny", None),
    ],
)
def test_explain_names_the_decision_and_every_limit(
    services: StandIn, cli: Cli, decision: quota.ExplainResponse.Decision.ValueType, word: str, target: str | None
) -> None:
    limit = quota.ExplainResponse.AppliedLimit(
        policy="ds", limit_kind=quota.LIMIT_KIND_REQUESTS, used_basis_points=8050, binding=True, limit=60, doubt=7
    )
    services.answers["QuotaService.Explain"] = quota.ExplainResponse(
        decision=decision,
        reason="Because.",
        target=target or "",
        limits=[limit],
        others=[quota.ExplainResponse.OtherPolicy(policy="red", reason="it is for team red")],
        on_store_failure="It is refused.",
        on_unknown_members="It is held.",
        on_unmeasured="It is reserved.",
    )
    assert cli.json("explain", "--key", "app", "--model", "gpt") == {
        "decision": word,
        "reason": "Because.",
        "target": target,
        "policies": [
            {
                "policy": "ds", "limit_kind": "requests", "limit": 60, "doubt": 7, "used_ratio": 0.805,
                "override_until": None, "binding": True, "bound": "hard",
            }
        ],
        "others": [{"policy": "red", "reason": "it is for team red"}],
        "on_store_failure": "It is refused.",
        "on_unknown_members": "It is held.",
        "on_unmeasured": "It is reserved.",
    }  # fmt: skip


def test_policies_tell_their_status_and_when_they_last_matched(services: StandIn, cli: Cli) -> None:
    active = quota.PolicyStatus(
        state=quota.PolicyStatus.STATE_ACTIVE, matched_calls=7, last_matched_time=_time(1_800_000_000)
    )
    unreachable = quota.PolicyStatus(state=quota.PolicyStatus.STATE_UNREACHABLE)
    services.answers["QuotaService.ListQuotaPolicies"] = quota.ListQuotaPoliciesResponse(
        quota_policies=[
            quota.QuotaPolicy(
                name="ds", store_failure_allowance=usd(2_500_000_000), refuses_unknown_members=True, status=active
            ),
            quota.QuotaPolicy(name="red", estimates_unmeasured=True, status=unreachable),
        ],
    )
    assert cli.json("policies") == {
        "policies": [
            {
                "policy": "ds",
                "status": "active",
                "matched_calls": 7,
                "last_matched_time": "2027-01-15T08:00:00Z",
                "on_store_failure": {"serve_up_to_usd": "2.500000000"},
                "unmeasured": "reserve",
                "unknown_members": "refuse",
            },
            {
                "policy": "red",
                "status": "unreachable",
                "matched_calls": 0,
                "last_matched_time": None,
                "on_store_failure": "deny",
                "unmeasured": "estimate",
                "unknown_members": "hold",
            },
        ]
    }


def test_a_secret_is_shown_with_name_and_id_and_nothing_else(services: StandIn, cli: Cli) -> None:
    key = quota.VirtualKey(name="ci", key_id="key_2")
    services.answers["QuotaService.CreateVirtualKey"] = quota.CreateVirtualKeyResponse(
        virtual_key=key, secret="spg_live_x"
    )
    services.answers["QuotaService.RotateVirtualKey"] = quota.RotateVirtualKeyResponse(
        virtual_key=key, secret="spg_live_x"
    )
    expected = {"name": "ci", "key_id": "key_2", "secret": "spg_live_x"}
    options = ("--team", "ds", "--model", "gpt", "--model", "tiny", "--expires", "30d", "--test")
    assert cli.json("keys", "create", "ci", *options) == expected
    assert cli.json("keys", "rotate", "ci", "--grace", "60") == expected
    (_, created), (_, rotated) = services.requests
    assert created.secret_kind == quota.SECRET_KIND_TEST
    assert (created.virtual_key.attribution.team, list(created.virtual_key.models)) == ("ds", ["gpt", "tiny"])
    assert created.virtual_key.expire_time.ToJsonString() == "2027-02-14T08:00:00Z"
    assert (rotated.name, rotated.grace_period.ToTimedelta()) == ("ci", timedelta(minutes=1))


def test_keys_are_listed_without_secrets(services: StandIn, cli: Cli) -> None:
    key = quota.VirtualKey(
        name="app", key_id="key_1", hint="spg_live_ab...9xyz", attribution=WHO, models=["gpt"],
        state=quota.VirtualKey.STATE_WITHOUT_SECRET, create_time=_time(1_800_000_000),
    )  # fmt: skip
    services.answers["QuotaService.ListVirtualKeys"] = quota.ListVirtualKeysResponse(virtual_keys=[key])
    assert cli.json("keys", "list") == {
        "keys": [
            {
                "name": "app", "key_id": "key_1", "hint": "spg_live_ab...9xyz", "team": "ds", "project": "p",
                "environment": "prod", "user": "ada@example.com", "models": ["gpt"], "state": "without_secret",
                "unlimited": False,
                "expires_at": None, "created_at": "2027-01-15T08:00:00Z",
            }
        ]
    }  # fmt: skip


def test_a_key_is_disabled_and_enabled_and_tells_its_state(services: StandIn, cli: Cli) -> None:
    key: dict[str, Any] = {"name": "app", "key_id": "key_1"}
    services.answers["QuotaService.DisableVirtualKey"] = quota.DisableVirtualKeyResponse(
        virtual_key=quota.VirtualKey(**key, state=quota.VirtualKey.STATE_DISABLED)
    )
    services.answers["QuotaService.EnableVirtualKey"] = quota.EnableVirtualKeyResponse(
        virtual_key=quota.VirtualKey(**key, state=quota.VirtualKey.STATE_ACTIVE)
    )
    assert cli.json("keys", "disable", "app", "--reason", "leaked") == {**key, "state": "disabled"}
    assert cli.json("keys", "enable", "app", "--reason", "found") == {**key, "state": "active"}
    assert [(request.name, request.reason) for _, request in services.requests] == [("app", "leaked"), ("app", "found")]


def _route_status(slot: ChainSlot) -> router.RouteStatus:
    term = router.Condition.Term(error_rate_basis_points=2000, period=duration(10_000))
    figures = [router.TermFigure(term=term, attempts=20, bad_attempts=9)]
    tier = router.RouteStatus.Tier(
        chain=[slot], reason=LEAD_REASON_ERRORS, lead_time=_time(1_798_761_600), figures=figures, probed_slots=[slot]
    )
    fared = router.RouteStatus.Target(
        target="openai/gpt-4o",
        attempts=20,
        failed_attempts=9,
        latency_p95=duration(700),
        out_until_time=_time(1_798_761_600),
    )
    switch = router.RouteSwitch(
        model="gpt", previous_slot=slot, slot=slot, reason=LEAD_REASON_ERRORS, figures=figures,
        switch_time=_time(1_798_761_600), direction=router.RouteSwitch.DIRECTION_LEFT,
    )  # fmt: skip
    return router.RouteStatus(
        models=[router.RouteStatus.Model(model="gpt", tiers=[tier])], targets=[fared], switches=[switch]
    )


def test_routes_show_chains_conditions_and_missing_credentials(services: StandIn, cli: Cli) -> None:
    slot = ChainSlot(targets=[WeightedTarget(target="openai/gpt-4o", weight=2)])
    when = router.Condition(terms=[router.Condition.Term(budget_used_basis_points=7500)])
    model = router.Model(name="gpt", targets=[slot], fallbacks=[router.Fallback(to=[slot], when=when)])
    provider = router.Provider(
        name="openai",
        preset="openai",
        credential_problem="environment variable K is not set",
        credential_refusal=router.CredentialRefusal(
            status=401, attempts=3, first_time=_time(1_798_761_600), last_time=_time(1_798_761_660)
        ),
        headers=router.ProviderHeaders(allow=["x-title"]),
        stops_on_disconnect=True,
    )
    services.answers["RouterService.ListModels"] = router.ListModelsResponse(models=[model])
    services.answers["RouterService.ListProviders"] = router.ListProvidersResponse(providers=[provider])
    services.answers["QuotaService.GetQuotaStatus"] = quota.GetQuotaStatusResponse(
        quota_status=quota.QuotaStatus(unpriced_targets=["openai/gpt-4o"])
    )
    services.answers["RouterService.GetRouteStatus"] = router.GetRouteStatusResponse(status=_route_status(slot))
    chain = [[{"target": "openai/gpt-4o", "weight": 2}]]
    saw = [{"term": "error rate >= 20% over 10 s", "attempts": 20, "bad_attempts": 9}]
    assert cli.json("routes") == {
        "routes": [
            {
                "model": "gpt", "targets": chain, "first_byte_timeout_ms": None, "aliases": [], "problem": None,
                "fallbacks": [{"to": chain, "when": "budget used >= 75%"}],
                "tiers": [
                    {
                        "from_percent": 0, "chain": chain, "reason": "errors",
                        "leads_since": "2027-01-01T00:00:00Z", "figures": saw, "probed": chain,
                    }
                ],
            }
        ],
        "targets": [
            {
                "target": "openai/gpt-4o", "attempts": 20, "failed_attempts": 9, "latency_p95_ms": 700,
                "ttft_p95_ms": None, "drained_since": None, "out_until": "2027-01-01T00:00:00Z",
            }
        ],
        "switches": [
            {
                "model": "gpt", "from_percent": 0, "direction": "left", "previous": chain[0], "leads": chain[0],
                "reason": "errors", "figures": saw, "switched_at": "2027-01-01T00:00:00Z",
            }
        ],
        "providers": [
            {
                "name": "openai", "preset": "openai", "protocol": None, "base_url": None,
                "credential_problem": "environment variable K is not set",
                "credential_refusal": {
                    "status": 401, "attempts": 3,
                    "first_at": "2027-01-01T00:00:00Z", "last_at": "2027-01-01T00:01:00Z",
                },
                "allowed_headers": ["x-title"],
                "stops_on_disconnect": True,
            }
        ],
    }  # fmt: skip
