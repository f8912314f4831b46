"""The running gateway's own account of itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router

from services.cli.diagnosis.alerts import examine_alerts
from services.cli.diagnosis.findings import Finding, Level
from services.cli.diagnosis.headers import examine_headers
from services.cli.gateway import Gateway
from services.cli.paging import read_list
from services.cli.provider_status import refusal_text
from services.cli.unpriced_routes import unpriced_leads

_BACKLOG_BYTES = 10 * 1024 * 1024
_SLOW_SETTLEMENT_MS = 5_000
_MOST_NAMED = 8
_REPLACE_IT = (
    "put one that it accepts in its place: the router reads files again within seconds, variables only when it starts. "
    "With status 403, the credential may be valid but not allowed to use the model"
)


def examine_gateway(gateway: Gateway) -> Iterator[Finding]:
    """Envoy, the plan, credentials, the ledger and quota."""
    yield from _envoys(gateway.router.GetRouterStatus(router.GetRouterStatusRequest()).status)
    yield from _credentials(gateway)
    books = gateway.ledger.GetLedgerStatus(ledger.GetLedgerStatusRequest()).status
    yield from _ledger(books)
    yield from examine_headers(books.dropped_headers)
    status = gateway.quota.GetQuotaStatus(quota.GetQuotaStatusRequest()).quota_status
    yield _quota(status)
    yield from _prices(gateway, status.unpriced_targets)
    yield from _keys(gateway)
    yield from examine_alerts(gateway)


def _envoys(status: router.RouterStatus) -> Iterator[Finding]:
    if not status.nodes:
        yield Finding("configuration of Envoy", Level.FAIL, "no Envoy is connected", "read logs/envoy.log")
    for node in status.nodes:
        name = f"configuration of Envoy {node.epoch}"
        if node.refusal:
            yield Finding(name, Level.FAIL, f"refused: {node.refusal}", "it keeps the previous one; report this")
        elif node.version_acknowledged != status.version:
            text = f"has {node.version_acknowledged or 'none'}, should have {status.version}"
            yield Finding(name, Level.WARN, text, "look again in a moment, then read logs/router.log")
        else:
            yield Finding(name, Level.OK, f"version {status.version} acknowledged")
    if status.plan_version != status.plan_version_taken:
        text = f"quota has plan {status.plan_version_taken or 'none'}, should have {status.plan_version}"
        yield Finding("plan", Level.WARN, text, "look again in a moment, then read logs/quota.log")
    else:
        yield Finding("plan", Level.OK, f"version {status.plan_version} is in force")


def _credentials(gateway: Gateway) -> Iterator[Finding]:
    request = router.ListProvidersRequest()
    for provider in read_list(gateway.router.ListProviders, request, lambda page: page.providers):
        name = f"credential of {provider.name}"
        if provider.credential_problem:
            remedy = "set it where `spendgate up` runs and start again, or put it into the secrets folder"
            yield Finding(name, Level.WARN, provider.credential_problem, remedy)
        elif provider.HasField("credential_refusal"):
            yield Finding(name, Level.FAIL, refusal_text(provider.credential_refusal), _REPLACE_IT)
        else:
            yield Finding(name, Level.OK, "found")


def _ledger(status: ledger.LedgerStatus) -> Iterator[Finding]:
    name = "ledger"
    if status.unreadable_lines:
        text = f"{status.unreadable_lines} lines of the spool could not be read and were set aside"
        yield Finding("spool", Level.WARN, text, "logs/ledger.log names their positions")
    if status.spool_backlog_bytes > _BACKLOG_BYTES:
        text = f"{status.spool_backlog_bytes // 1024} KiB of the spool are not booked yet"
        yield Finding(name, Level.WARN, text, "look again in a moment, then read logs/ledger.log")
    else:
        yield Finding(name, Level.OK, f"{status.booked_calls} calls booked, {status.unsettled_calls} not settled yet")


def _quota(status: quota.QuotaStatus) -> Finding:
    text = f"{status.virtual_keys} keys, {status.policies} policies, {status.open_reservations} calls in flight"
    lag_ms = status.settlement_lag_p95.ToMilliseconds()
    if lag_ms > _SLOW_SETTLEMENT_MS:
        slow = f"{text}; calls settle slowly ({lag_ms} ms)"
        return Finding("quota", Level.WARN, slow, "the ledger lags: read logs/ledger.log")
    return Finding("quota", Level.OK, text)


def _prices(gateway: Gateway, unpriced: Collection[str]) -> Iterator[Finding]:
    models = read_list(gateway.router.ListModels, router.ListModelsRequest(), lambda page: page.models)
    for name, problem in unpriced_leads(models, unpriced):
        yield Finding(f"prices of model {name}", Level.WARN, problem, "give it one under `prices`, 0 for what is free")


def _keys(gateway: Gateway) -> Iterator[Finding]:
    """Reports keys without limits: intended ones, and ones that are refused for it."""
    keys = read_list(gateway.quota.ListVirtualKeys, quota.ListVirtualKeysRequest(), lambda page: page.virtual_keys)
    unbounded = [key.name for key in keys if key.state == quota.VirtualKey.STATE_UNBOUNDED]
    if unbounded:
        remedy = "add a policy with a limit on spend, tokens or requests, or mark them `unlimited: true`"
        text = f"no enforced policy binds {_some(unbounded)}: all of their calls are refused"
        yield Finding("keys without a policy", Level.FAIL, text, remedy)
    unlimited = [key.name for key in keys if key.unlimited]
    if unlimited:
        text = f"{_some(unlimited)} may be used without any limit"
        yield Finding("unlimited keys", Level.WARN, text, "fine if intended; otherwise give them a policy")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else "")
