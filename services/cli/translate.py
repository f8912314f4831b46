"""Turns the configuration file into requests for each service."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.dayofweek_pb2 import DayOfWeek
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.ledger.v1 import price_book_service_pb2 as prices
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.type.v1 import dialect_pb2, dimension_pb2
from spendgate.type.v1.attribution_pb2 import Attribution

from services.chassis.enums import enum_numbers, enum_table
from services.chassis.well_known import duration, usd
from services.cli.configuration.default_policies import policies_of
from services.cli.configuration.entries import (
    Chain,
    ChannelEntry,
    ConfigurationFile,
    KeyEntry,
    ModelEntry,
    ProvidedModelEntry,
    ProviderEntry,
    SecretReference,
    Term,
    When,
)
from services.cli.configuration.policy_entries import LimitEntry, PolicyEntry
from services.cli.configuration.price_entries import PriceEntry, RatesEntry
from services.cli.key_secrets import KeySecrets
from services.cli.limit_kinds import LIMIT_KINDS
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit

_DIALECTS = enum_numbers(dialect_pb2.Dialect)
_DIMENSIONS = enum_table(dimension_pb2.Dimension, Dimension)
_WINDOWS = enum_table(quota.WindowUnit, WindowUnit)
_MODES = enum_numbers(quota.QuotaPolicy.Mode)
_THRESHOLD_ACTIONS = enum_numbers(quota.Threshold.Action)


def ledger_request(file: ConfigurationFile, *, validate_only: bool) -> ledger.ApplyConfigurationRequest:
    """Prices and channels."""
    return ledger.ApplyConfigurationRequest(
        prices=[ledger.PriceOverride(target=target, price=_price(entry)) for target, entry in file.prices.items()],
        channels=[_channel(name, entry) for name, entry in file.channels.items()],
        validate_only=validate_only,
    )


def router_request(file: ConfigurationFile, *, validate_only: bool) -> router.ApplyConfigurationRequest:
    """Providers, models and listeners."""
    return router.ApplyConfigurationRequest(
        providers=[_provider(name, entry) for name, entry in file.providers.items()],
        models=[_model(name, entry) for name, entry in file.models.items()],
        listeners=[
            router.Listener(name=name, cors=router.Cors(origins=entry.cors.origins))
            for name, entry in file.listeners.by_name()
        ],
        validate_only=validate_only,
    )


def quota_request(
    file: ConfigurationFile, secrets: KeySecrets, *, validate_only: bool
) -> quota.ApplyConfigurationRequest:
    """Teams, policies and keys."""
    return quota.ApplyConfigurationRequest(
        organization=file.organization,
        teams=[
            quota.Team(name=name, projects=entry.projects, members=entry.members) for name, entry in file.teams.items()
        ],
        policies=quota_policies(file),
        keys=[
            quota.DeclaredKey(
                virtual_key=_key(entry),
                secret=secrets.by_key.get(entry.name, ""),
                secret_problem=secrets.problems.get(entry.name, ""),
            )
            for entry in file.keys
        ],
        environments=file.environments,
        models=list(file.models),
        validate_only=validate_only,
    )


def quota_policies(file: ConfigurationFile) -> list[quota.QuotaPolicy]:
    """Policies."""
    return [_policy(entry) for entry in policies_of(file)]


def _price(entry: PriceEntry) -> prices.TargetPrice:
    return prices.TargetPrice(
        tiers=[_rates(entry)],
        request_nano_usd=entry.request,
        service_tiers=[
            prices.ServiceTierPrice(service_tier=name, tiers=[_rates(rates)])
            for name, rates in entry.service_tiers.items()
        ],
    )


def _rates(entry: RatesEntry) -> prices.PriceTier:
    """Omits what the file omits. The price engine has the rules for absent rates."""
    return prices.PriceTier(rates=[prices.Rate(meter=name, pico_usd=rate) for name, rate in entry.pico_usd.items()])


def _channel(name: str, entry: ChannelEntry) -> ledger.AlertChannel:
    secret_env = entry.secret.env if entry.secret is not None else None
    return ledger.AlertChannel(name=name, url=entry.url or "", webhook=entry.webhook or "", secret_env=secret_env or "")


def _provider(name: str, entry: ProviderEntry) -> router.Provider:
    return router.Provider(
        name=name,
        preset=entry.preset or "",
        protocol=_DIALECTS[entry.protocol] if entry.protocol else dialect_pb2.DIALECT_UNSPECIFIED,
        base_url=entry.base_url or "",
        api_key=_secret_reference(entry.api_key),
        headers=router.ProviderHeaders(allow=entry.headers.allow) if entry.headers is not None else None,
        stops_on_disconnect=entry.stops_on_disconnect,
        models=[_provided_model(model, declared) for model, declared in entry.models.items()],
    )


def _provided_model(name: str, entry: ProvidedModelEntry) -> router.ProvidedModel:
    carries = None if entry.carries is None else router.ProvidedModel.Capabilities(features=entry.carries)
    return router.ProvidedModel(
        name=name,
        context_window_tokens=entry.context_window or 0,
        max_output_tokens=entry.max_output or 0,
        carries=carries,
    )


def _secret_reference(entry: SecretReference) -> router.SecretReference:
    if entry.env is not None:
        return router.SecretReference(env=entry.env)
    if entry.file is not None:
        return router.SecretReference(file=entry.file)
    return router.SecretReference(none=True)


def _model(name: str, entry: ModelEntry) -> router.Model:
    return router.Model(
        name=name,
        targets=_chain(entry.targets),
        fallbacks=[
            router.Fallback(to=_chain(fallback.to), when=_condition(fallback.when)) for fallback in entry.fallbacks
        ],
        first_byte_timeout=duration(entry.first_byte_timeout) if entry.first_byte_timeout else None,
        aliases=entry.aliases,
    )


def _chain(chain: Chain) -> list[ChainSlot]:
    return [
        ChainSlot(targets=[WeightedTarget(target=weighted.target, weight=weighted.weight) for weighted in slot.targets])
        for slot in chain
    ]


def _condition(when: When | None) -> router.Condition | None:
    if when is None:
        return None
    terms = [_term(term) for term in when.terms]
    return router.Condition(all=when.all is not None, terms=terms, team=when.team or "")


def _term(term: Term) -> router.Condition.Term:
    period = duration(term.over or 0)
    if term.budget_used is not None:
        return router.Condition.Term(budget_used_basis_points=term.budget_used)
    if term.error_rate is not None:
        return router.Condition.Term(error_rate_basis_points=term.error_rate, period=period)
    if term.latency_p95 is not None:
        return router.Condition.Term(latency_p95=duration(term.latency_p95), period=period)
    return router.Condition.Term(ttft_p95=duration(term.ttft_p95 or 0), period=period)


def _policy(entry: PolicyEntry) -> quota.QuotaPolicy:
    return quota.QuotaPolicy(
        name=entry.name,
        match=quota.Match(**{name: value for name, value in entry.match.model_dump().items() if value is not None}),
        each=_DIMENSIONS.numbers[entry.each] if entry.each else dimension_pb2.DIMENSION_UNSPECIFIED,
        limits=[_limit(limit) for limit in entry.limits],
        thresholds=[
            quota.Threshold(
                basis_points=threshold.at,
                notify=threshold.notify,
                action=_THRESHOLD_ACTIONS[threshold.action],
            )
            for threshold in sorted(entry.thresholds, key=lambda threshold: threshold.at)
        ],
        mode=_MODES[entry.mode],
        default=entry.default,
        exhausted_status=entry.exhausted_status,
        allows_unpriced=entry.unpriced == "allow",
        store_failure_allowance=usd(entry.on_store_failure.serve_up_to) if entry.on_store_failure else None,
        estimates_unmeasured=entry.unmeasured == "estimate",
        refuses_unknown_members=entry.unknown_members == "refuse",
    )


def _limit(entry: LimitEntry) -> quota.Limit:
    limit = quota.Limit(
        kind=LIMIT_KINDS.numbers[entry.kind],
        time_zone=entry.timezone or "",
        week_start=DayOfWeek.Value(entry.week_start.upper()) if entry.week_start else None,
        anchor_day=entry.anchor_day or 0,
        factor_percent=entry.burn_rate or 0,
        bound=quota.Limit.BOUND_SOFT if entry.bound == "soft" else quota.Limit.BOUND_UNSPECIFIED,
    )
    if entry.rolling is not None:
        limit.per = quota.WINDOW_UNIT_ROLLING
        limit.rolling_period.CopyFrom(duration(entry.rolling))
    elif entry.per is not None:
        limit.per = _WINDOWS.numbers[entry.per]
    if entry.kind.is_money:
        limit.amount.CopyFrom(usd(entry.value))
    else:
        limit.count = entry.value
    return limit


def _key(entry: KeyEntry) -> quota.VirtualKey:
    key = quota.VirtualKey(
        name=entry.name,
        attribution=Attribution(
            team=entry.team or "",
            project=entry.project or "",
            environment=entry.environment or "",
            user=entry.user or "",
        ),
        models=entry.models,
        unlimited=entry.unlimited,
    )
    if entry.expires is not None:
        moment = Timestamp()
        moment.FromDatetime(entry.expires)
        key.expire_time.CopyFrom(moment)
    return key
