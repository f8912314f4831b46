"""`spendgate routes` and `status`: where calls may go, and the state of each service."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router

from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import fields_of, print_json, print_result, print_table, print_text, remark
from services.cli.problems import Misuse
from services.cli.provider_status import provider_document, provider_row
from services.cli.route_status import (
    chain_text,
    condition_text,
    print_route_status,
    slots,
    switch_document,
    target_document,
    tier_document,
)
from services.cli.session import JsonOption, ReasonOption
from services.cli.times import optional_rfc3339
from services.cli.unpriced_routes import unpriced_leads
from services.kernel.money import format_usd


def routes(
    context: typer.Context,
    action: Annotated[
        str, typer.Argument(metavar="[drain|undrain]", help="What to do with a target. Default: show all routes.")
    ] = "",
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help="A target, such as openai/gpt-4o.")] = "",
    *,
    force: Annotated[bool, typer.Option("--force", help="Drain even the last usable target of a model.")] = False,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Lists models with their targets and fallbacks, who leads now and why, how targets fare, and the providers.

    `drain` takes a target out of every chain, and calls in flight go on. `undrain` lets it in again. Neither changes
    the configuration file, and applying that changes neither.

    Example: spendgate routes drain openai/gpt-4o --reason "maintenance"
    """
    if action:
        _change(context, action, target, force=force, reason=reason, json=json)
        return
    if force or reason:
        raise Misuse("--force and --reason go with `drain` or `undrain`")
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
                "providers": [provider_document(one) for one in providers],
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
            [provider_row(one) for one in providers],
        )


def _change(context: typer.Context, action: str, target: str, *, force: bool, reason: str, json: bool) -> None:
    """Drains a target, or lets it in again."""
    if action not in {"drain", "undrain"}:
        raise Misuse(f"{action!r} is unknown: write `drain TARGET` or `undrain TARGET`, or nothing to show all routes")
    if not target:
        raise Misuse(f"name a target: spendgate routes {action} provider/model")
    if action == "undrain" and force:
        raise Misuse("--force goes with `drain`")
    without: list[str] = []
    with connect(context) as gateway:
        if action == "drain":
            request = router.DrainTargetRequest(target=target, force=force, reason=reason)
            without = list(gateway.router.DrainTarget(request).models_without_target)
        else:
            gateway.router.UndrainTarget(router.UndrainTargetRequest(target=target, reason=reason))
    document = {"target": target, "drained": action == "drain", "models_without_target": without}
    told = f"target {target} {'takes no more calls' if action == 'drain' else 'takes calls again'}"
    print_result(document, f"{told}{f'; without any target: {chr(44).join(without)}' if without else ''}", as_json=json)


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


def _fallback(fallback: router.Fallback) -> str:
    condition = condition_text(fallback.when)
    return f"{chain_text(fallback.to)}{f' when {condition}' if condition else ' on failure'}"
