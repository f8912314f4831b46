"""Converts messages of the admin API. An error names an unreadable field by its path in the request."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.type.v1 import configuration_pb2

from services.chassis.enums import enum_table
from services.kernel.change import Action, Change
from services.kernel.dialect import Dialect
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.preset import Preset
from services.router.domain.model import (
    DEFAULT_FIRST_BYTE_TIMEOUT_MS,
    Condition,
    Fallback,
    Measure,
    Model,
    TargetGroup,
    Term,
    WeightedTarget,
)
from services.router.domain.provider import Provider
from services.router.domain.secret import SecretReference, SecretSource

_E = TypeVar("_E", bound=StrEnum)

_TERM_FIELDS = {
    "budget_used_basis_points": Measure.BUDGET_USED,
    "error_rate_basis_points": Measure.ERROR_RATE,
    "latency_p95_ms": Measure.LATENCY_P95,
    "ttft_p95_ms": Measure.TTFT_P95,
}
_FIELD_OF_MEASURE = {measure: name for name, measure in _TERM_FIELDS.items()}
_ACTIONS = enum_table(configuration_pb2.Change.Action, Action)


def read_provider(field: str, message: pb.Provider) -> Provider:
    """Reads a provider.

    Raises:
        InvalidInput: a field has a value that it cannot have.
    """
    return Provider(
        name=message.name,
        api_key=_read_reference(f"{field}.api_key", message.api_key),
        preset=_choice(f"{field}.preset", Preset, message.preset),
        protocol=_choice(f"{field}.protocol", Dialect, message.protocol),
        base_url=message.base_url,
        allowed_headers=read_allowed(f"{field}.headers.allow", message.headers.allow),
        stops_on_disconnect=message.stops_on_disconnect,
    )


def read_model(field: str, message: pb.Model) -> Model:
    """Reads a model.

    Raises:
        InvalidInput: a field has a value that it cannot have.
    """
    return Model(
        name=message.name,
        targets=_read_groups(message.targets),
        fallbacks=tuple(
            Fallback(_read_groups(one.to), _read_condition(f"{field}.fallbacks[{at}].when", one.when))
            for at, one in enumerate(message.fallbacks)
        ),
        first_byte_timeout_ms=message.first_byte_timeout_ms or DEFAULT_FIRST_BYTE_TIMEOUT_MS,
    )


def write_provider(provider: Provider, credential_problem: str) -> pb.Provider:
    """Writes a provider for a list."""
    return pb.Provider(
        name=provider.name,
        preset=provider.preset or "",
        protocol=provider.protocol or "",
        base_url=provider.base_url,
        api_key=_write_reference(provider.api_key),
        credential_problem=credential_problem,
        headers=pb.ProviderHeaders(allow=provider.allowed_headers) if provider.allowed_headers else None,
        stops_on_disconnect=provider.stops_on_disconnect,
    )


def write_model(model: Model) -> pb.Model:
    """Writes a model for a list."""
    return pb.Model(
        name=model.name,
        targets=_write_groups(model.targets),
        fallbacks=[pb.Fallback(to=_write_groups(one.to), when=_write_condition(one.when)) for one in model.fallbacks],
        first_byte_timeout_ms=model.first_byte_timeout_ms,
    )


def write_change(change: Change) -> configuration_pb2.Change:
    """Writes a change for a report."""
    return configuration_pb2.Change(
        action=_ACTIONS.numbers[change.action], kind=change.kind, name=change.name, detail=change.detail
    )


def _choice(field: str, kind: type[_E], text: str) -> _E | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        known = ", ".join(kind)
        raise InvalidInput(field, f"{text[:80]!r} is unknown: write one of {known}") from error


def _read_reference(field: str, message: pb.SecretReference) -> SecretReference:
    match message.WhichOneof("source"):
        case "env":
            return SecretReference(SecretSource.ENV, message.env)
        case "file":
            return SecretReference(SecretSource.FILE, message.file)
        case "none" if message.none:
            return SecretReference(SecretSource.NONE)
        case _:
            raise InvalidInput(field, "say where the credential is: env, file, or none for a server without one")


def _write_reference(reference: SecretReference) -> pb.SecretReference:
    match reference.source:
        case SecretSource.ENV:
            return pb.SecretReference(env=reference.name)
        case SecretSource.FILE:
            return pb.SecretReference(file=reference.name)
        case SecretSource.NONE:
            return pb.SecretReference(none=True)


def _read_groups(messages: Iterable[pb.TargetGroup]) -> tuple[TargetGroup, ...]:
    return tuple(
        TargetGroup(tuple(WeightedTarget(one.target, one.weight or 1) for one in group.targets)) for group in messages
    )


def _write_groups(groups: Iterable[TargetGroup]) -> list[pb.TargetGroup]:
    return [
        pb.TargetGroup(
            targets=[pb.TargetGroup.WeightedTarget(target=one.target, weight=one.weight) for one in group.targets]
        )
        for group in groups
    ]


def _read_condition(field: str, message: pb.Condition) -> Condition:
    terms = tuple(_read_term(f"{field}.terms[{at}]", term) for at, term in enumerate(message.terms))
    return Condition(terms, all_terms=message.all)


def _read_term(field: str, message: pb.Condition.Term) -> Term:
    name = message.WhichOneof("term")
    if name is None:
        raise InvalidInput(field, f"a term needs one of {', '.join(_TERM_FIELDS)}")
    return Term(_TERM_FIELDS[name], getattr(message, name), message.over_seconds)


def _write_condition(condition: Condition) -> pb.Condition:
    terms = []
    for term in condition.terms:
        message = pb.Condition.Term(over_seconds=term.over_seconds)
        setattr(message, _FIELD_OF_MEASURE[term.measure], term.bound)
        terms.append(message)
    return pb.Condition(all=condition.all_terms, terms=terms)
