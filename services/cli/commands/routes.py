"""`spendgate routes` and `status`: where calls may go, and the state of each service."""

from __future__ import annotations

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_names
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import fields_of, print_json, print_table, print_text, remark
from services.cli.route_status import (
    chain_text,
    condition_text,
    print_route_status,
    slots,
    switch_document,
    target_document,
    tier_document,
)
from services.cli.session import JsonOption
from services.cli.times import optional_rfc3339
from services.cli.unpriced_routes import unpriced_leads
from services.kernel.money import format_usd

_DIALECTS = enum_names(dialect_pb2.Dialect)


def routes(context: typer.Context, *, json: JsonOption = False) -> None:
    """Lists models with their targets and fallbacks, who leads now and why, how targets fare, and the providers.

    Example: spendgate routes
    """
    with connect(context) as gateway:
        models = read_list(gateway.router.ListModels, router.ListModelsRequest(), lambda page: page.models)
        providers = read_list(gateway.router.ListProviders, router.ListProvidersRequest(), lambda page: page.providers)
        state = gateway.router.GetRouteStatus(router.GetRouteStatusRequest()).status
        unpriced = gateway.quota.GetQuotaStatus(quota.GetQuotaStatusRequest()).quota_status.unpriced_targets
    passed_over = dict(unpriced_leads(models, unpriced))
    if json:
        tiers = {model.model: [tier_document(tier) for tier in model.tiers] for model in state.models}
        routed = [
            {**_model(model), "problem": passed_over.get(model.name), "tiers": tiers.get(model.name, [])}
            for model in models
        ]
        print_json(
            {
                "routes": routed,
                "providers": [_provider(one) for one in providers],
                "targets": [target_document(target) for target in state.targets],
                "switches": [switch_document(switch) for switch in state.switches],
            }
        )
    elif not models:
        print_text("No models yet: declare providers and models in a configuration and apply it.")
    else:
        rows = [(model.name, chain_text(model.targets), "; ".join(map(_fallback, model.fallbacks))) for model in models]
        print_table(("MODEL", "TARGETS", "FALLBACKS"), rows)
        for name, problem in passed_over.items():
            remark(f"warning: model {name}: {problem}: give it one under `prices`")
        print_route_status(state)
        print_text("")
        print_table(
            ("PROVIDER", "SPEAKS", "ADDRESS", "CREDENTIAL"),
            [
                (
                    one.name,
                    one.preset or _DIALECTS.get(one.protocol, ""),
                    one.base_url or "-",
                    one.credential_problem or "found",
                )
                for one in providers
            ],
        )


def status(context: typer.Context, *, json: JsonOption = False) -> None:
    """Shows the state of quota, router and ledger.

    Example: spendgate status --json
    """
    with connect(context) as gateway:
        router_answer = gateway.router.GetRouterStatus(router.GetRouterStatusRequest()).status
        facts = {
            "quota": _quota_status(gateway.quota.GetQuotaStatus(quota.GetQuotaStatusRequest()).quota_status),
            "router": _router_status(router_answer),
            "ledger": _ledger_status(gateway.ledger.GetLedgerStatus(ledger.GetLedgerStatusRequest()).status),
        }
    if json:
        print_json(facts)
        return
    rows = [
        (service, name.replace("_", " "), str(value))
        for service, known in facts.items()
        for name, value in known.items()
        if name != "nodes"
    ]
    rows.extend(
        ("envoy", node.epoch, node.refusal or f"has {node.version_acknowledged}") for node in router_answer.nodes
    )
    print_table(("SERVICE", "FACT", "VALUE"), rows)


def _quota_status(answer: quota.QuotaStatus) -> dict[str, object]:
    return {
        **fields_of(answer, "plan_version", "price_version", "virtual_keys", "policies", "open_reservations"),
        "settlement_lag_p95_ms": answer.settlement_lag_p95.ToMilliseconds(),
    }


def _router_status(answer: router.RouterStatus) -> dict[str, object]:
    return {
        **fields_of(answer, "version", "plan_version", "plan_version_taken"),
        "nodes": [
            {
                **fields_of(node, "epoch", "version_sent", "version_acknowledged"),
                "refusal": node.refusal or None,
                "connected_at": optional_rfc3339(node, "connect_time"),
            }
            for node in answer.nodes
        ],
    }


def _ledger_status(answer: ledger.LedgerStatus) -> dict[str, object]:
    return {
        **fields_of(answer, "price_version", "booked_calls", "unsettled_calls"),
        "booked_through": optional_rfc3339(answer, "booked_through_time"),
        **fields_of(answer, "unreadable_lines", "spool_backlog_bytes"),
        "checked_at": optional_rfc3339(answer, "check_time"),
        "checked_counters": answer.checked_counters,
        "drift_usd": format_usd(answer.drift_nano_usd),
        **fields_of(answer, "unpriced_counters", "repaired_counters", "swept_reservations"),
        **fields_of(answer, "dropped_spans", "refusals_without_spans"),
    }


def _model(model: router.Model) -> dict[str, object]:
    return {
        "model": model.name,
        "targets": slots(model.targets),
        "fallbacks": [
            {"to": slots(fallback.to), "when": condition_text(fallback.when) or None} for fallback in model.fallbacks
        ],
        "first_byte_timeout_ms": model.first_byte_timeout.ToMilliseconds() or None,
        "aliases": list(model.aliases),
    }


def _provider(provider: router.Provider) -> dict[str, object]:
    return {
        "name": provider.name,
        "preset": provider.preset or None,
        "protocol": _DIALECTS.get(provider.protocol),
        "base_url": provider.base_url or None,
        "credential_problem": provider.credential_problem or None,
        "allowed_headers": list(provider.headers.allow),
        "stops_on_disconnect": provider.stops_on_disconnect,
    }


def _fallback(fallback: router.Fallback) -> str:
    condition = condition_text(fallback.when)
    return f"{chain_text(fallback.to)}{f' when {condition}' if condition else ' on failure'}"
