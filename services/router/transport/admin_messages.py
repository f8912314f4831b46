"""Converts messages of the admin API. An error names an unreadable field by its path in the request."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from spendgate.router.v1 import chain_pb2
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import duration, read_duration, timestamp
from services.kernel.dialect import Dialect
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.preset import Preset
from services.router.domain.listener import Listener
from services.router.domain.model import (
    DEFAULT_FIRST_BYTE_TIMEOUT_MS,
    ChainSlot,
    Condition,
    Fallback,
    Measure,
    Model,
    Term,
    WeightedTarget,
)
from services.router.domain.provided_model import ProvidedModel
from services.router.domain.provider import Provider
from services.router.domain.secret import SecretReference, SecretSource
from services.router.usecases.credential_refusals import CredentialRefusal

_E = TypeVar("_E", bound=StrEnum)

_TERM_FIELDS = {
    "budget_used_basis_points": Measure.BUDGET_USED,
    "error_rate_basis_points": Measure.ERROR_RATE,
    "latency_p95": Measure.LATENCY_P95,
    "ttft_p95": Measure.TTFT_P95,
}
_FIELD_OF_MEASURE = {measure: name for name, measure in _TERM_FIELDS.items()}
DIALECTS = enum_table(dialect_pb2.Dialect, Dialect)
"""The dialects on the wire."""


def read_provider(field: str, message: pb.Provider) -> Provider:
    """Reads a provider.

    Raises:
        InvalidInput: a field has a value that it cannot have.
    """
    return Provider(
        name=message.name,
        api_key=_read_reference(f"{field}.api_key", message.api_key),
        preset=_choice(f"{field}.preset", Preset, message.preset),
        protocol=_read_dialect(f"{field}.protocol", message.protocol),
        base_url=message.base_url,
        allowed_headers=read_allowed(f"{field}.headers.allow", message.headers.allow),
        stops_on_disconnect=message.stops_on_disconnect,
        models=tuple(_read_provided(one) for one in message.models),
    )


def read_model(field: str, message: pb.Model) -> Model:
    """Reads a model.

    Raises:
        InvalidInput: a field has a value that it cannot have.
    """
    return Model(
        name=message.name,
        targets=_read_chain(message.targets),
        fallbacks=tuple(
            Fallback(_read_chain(one.to), _read_condition(f"{field}.fallbacks[{at}].when", one.when))
            for at, one in enumerate(message.fallbacks)
        ),
        first_byte_timeout_ms=read_duration(f"{field}.first_byte_timeout", message.first_byte_timeout)
        if message.HasField("first_byte_timeout")
        else DEFAULT_FIRST_BYTE_TIMEOUT_MS,
        aliases=tuple(message.aliases),
    )


def read_listener(message: pb.Listener) -> Listener:
    """Reads what a configuration says of a listener."""
    return Listener(message.name, tuple(message.cors.origins))


def write_provider(provider: Provider, credential_problem: str, refusal: CredentialRefusal | None) -> pb.Provider:
    """Writes a provider for an answer."""
    return pb.Provider(
        name=provider.name,
        preset=provider.preset or "",
        protocol=DIALECTS.numbers[provider.protocol] if provider.protocol else dialect_pb2.DIALECT_UNSPECIFIED,
        base_url=provider.base_url,
        api_key=_write_reference(provider.api_key),
        credential_problem=credential_problem,
        headers=pb.ProviderHeaders(allow=provider.allowed_headers) if provider.allowed_headers else None,
        stops_on_disconnect=provider.stops_on_disconnect,
        credential_refusal=_write_refusal(refusal) if refusal is not None else None,
        models=[_write_provided(one) for one in provider.models],
    )


def _write_refusal(refusal: CredentialRefusal) -> pb.CredentialRefusal:
    return pb.CredentialRefusal(
        status=refusal.status,
        attempts=refusal.attempts,
        first_time=timestamp(refusal.first_ms),
        last_time=timestamp(refusal.last_ms),
    )


def _read_provided(message: pb.ProvidedModel) -> ProvidedModel:
    carries = tuple(message.carries.features) if message.HasField("carries") else None
    return ProvidedModel(message.name, message.context_window_tokens, message.max_output_tokens, carries)


def _write_provided(model: ProvidedModel) -> pb.ProvidedModel:
    carries = None if model.carries is None else pb.ProvidedModel.Capabilities(features=model.carries)
    return pb.ProvidedModel(
        name=model.name,
        context_window_tokens=model.context_window,
        max_output_tokens=model.max_output,
        carries=carries,
    )


def write_model(model: Model) -> pb.Model:
    """Writes a model for an answer."""
    return pb.Model(
        name=model.name,
        targets=write_chain(model.targets),
        fallbacks=[pb.Fallback(to=write_chain(one.to), when=_write_condition(one.when)) for one in model.fallbacks],
        first_byte_timeout=duration(model.first_byte_timeout_ms),
        aliases=model.aliases,
    )


def write_chain(chain: Iterable[ChainSlot]) -> list[chain_pb2.ChainSlot]:
    """Writes the slots of a chain."""
    return [
        chain_pb2.ChainSlot(
            targets=[chain_pb2.WeightedTarget(target=one.target, weight=one.weight) for one in slot.targets]
        )
        for slot in chain
    ]


def _choice(field: str, kind: type[_E], text: str) -> _E | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        known = ", ".join(kind)
        raise InvalidInput(field, f"{text[:80]!r} is unknown: write one of {known}") from error


def _read_dialect(field: str, number: int) -> Dialect | None:
    if not number:
        return None
    dialect = DIALECTS.members.get(number)
    if dialect is None:
        raise InvalidInput(field, f"{number} is no dialect: write one of {', '.join(Dialect)}")
    return dialect


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


def _read_chain(messages: Iterable[chain_pb2.ChainSlot]) -> tuple[ChainSlot, ...]:
    return tuple(
        ChainSlot(tuple(WeightedTarget(one.target, one.weight or 1) for one in slot.targets)) for slot in messages
    )


def _read_condition(field: str, message: pb.Condition) -> Condition:
    terms = tuple(_read_term(f"{field}.terms[{at}]", term) for at, term in enumerate(message.terms))
    return Condition(terms, all_terms=message.all, team=message.team)


def _read_term(field: str, message: pb.Condition.Term) -> Term:
    name = message.WhichOneof("term")
    if name is None:
        raise InvalidInput(field, f"a term needs one of {', '.join(_TERM_FIELDS)}")
    value = getattr(message, name)
    bound = read_duration(f"{field}.{name}", value) if isinstance(value, Duration) else value
    period_ms = read_duration(f"{field}.period", message.period)
    if period_ms % 1_000:
        raise InvalidInput(f"{field}.period", "write whole seconds")
    return Term(_TERM_FIELDS[name], bound, period_ms // 1_000)


def write_term(term: Term) -> pb.Condition.Term:
    """Writes a term of a condition."""
    message = pb.Condition.Term(period=duration(term.over_seconds * 1_000) if term.over_seconds else None)
    name = _FIELD_OF_MEASURE[term.measure]
    if isinstance(getattr(message, name), Duration):
        getattr(message, name).CopyFrom(duration(term.bound))
    else:
        setattr(message, name, term.bound)
    return message


def _write_condition(condition: Condition) -> pb.Condition:
    terms = [write_term(term) for term in condition.terms]
    return pb.Condition(all=condition.all_terms, terms=terms, team=condition.team)
