"""Writes the answers to Envoy: the bytes of `envoy.service.auth.v3.CheckResponse`.

Most of an ALLOW is the same for every call of one model and chain. We serialise that part once and cache it for all
keys. We then append the attribution and the few other values that differ, as bytes (see `struct_wire`). This halves the
cost of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from google.protobuf import struct_pb2
from google.rpc import code_pb2, status_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2
from spendgate_envoy.envoy.type.v3 import http_status_pb2

from services.chassis.authorship import write_actor
from services.chassis.protobuf_wire import length_delimited
from services.kernel.change import Actor
from services.kernel.dialect import MODEL, VERB, VERBS, Dialect
from services.kernel.envoy_contract import (
    ACTOR_HEADER,
    CREDENTIAL_HEADERS,
    MODEL_REQUESTED_HEADER,
    OUTPUT_CAPPED_HEADER,
    AdmissionKey,
    TargetKey,
)
from services.quota.domain.admission.estimate import bound
from services.quota.domain.admission.evaluate import Attempt
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Deny
from services.quota.transport.call_trace import CallTrace
from services.quota.transport.check_request import Check
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.header_wire import headers_to_client
from services.quota.transport.limit_headers import budget_headers, limit_headers
from services.quota.transport.names_wire import join_names
from services.quota.transport.struct_wire import NumberEntry, string_entry
from services.quota.usecases.admit import Admitted

FirstByteTimeout = Callable[[str], int]
"""Returns how long an attempt for this model may take to its first byte, in milliseconds; 0: as long as the call."""

_MAX_REMEMBERED = 4_096
_RETRIES_HEADER = "x-envoy-max-retries"
_ATTEMPT_TIMEOUT_HEADER = "x-envoy-upstream-rq-per-try-timeout-ms"
_DYNAMIC_METADATA = external_auth_pb2.CheckResponse.DYNAMIC_METADATA_FIELD_NUMBER
_expected_input_tokens = NumberEntry(AdmissionKey.EXPECTED_INPUT_TOKENS)
_expected_output_tokens = NumberEntry(AdmissionKey.EXPECTED_OUTPUT_TOKENS)
_answer_tokens = NumberEntry(AdmissionKey.ANSWER_TOKENS)
_answer_microtokens_per_byte = NumberEntry(AdmissionKey.ANSWER_MICROTOKENS_PER_BYTE)
_held_output_tokens = NumberEntry(AdmissionKey.HELD_OUTPUT_TOKENS)
_held_input_tokens = NumberEntry(AdmissionKey.HELD_INPUT_TOKENS)
# Overwrites, so that no header of the client survives under the same name.
_OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class AllowWriter:
    """Writes answers that let a call through. Safe to use from several threads."""

    def __init__(self, first_byte_timeout_ms: FirstByteTimeout) -> None:
        self._first_byte_timeout_ms = first_byte_timeout_ms
        self._route_parts: dict[Any, bytes] = {}

    def write(self, admitted: Admitted, check: Check, trace: CallTrace) -> bytes:
        """The answer to one call."""
        if admitted.output_cap_tokens is not None:
            # Hardly any two calls get the same cut. Their routes would push reusable ones out of the cache.
            route = self._route_part(admitted, check)
        else:
            route = self._remembered_route_part(admitted, check)
        headers = headers_to_client(_answer_headers(admitted))
        return route + _call_part(admitted, check) + headers + trace.of_admitted(admitted)

    def _remembered_route_part(self, admitted: Admitted, check: Check) -> bytes:
        # Attempts hash by the identity of their targets. Every plan makes new targets, so the cache finds nothing
        # stale.
        key = (
            admitted.reservation.model,
            admitted.chain,
            admitted.downgraded,
            admitted.strip_usage,
            check.scan is not None and check.scan.facts.stream,
            check.wants_events,
        )
        route = self._route_parts.get(key)
        if route is None:
            if len(self._route_parts) >= _MAX_REMEMBERED:
                self._route_parts.clear()
            route = self._route_parts[key] = self._route_part(admitted, check)
        return route

    def _route_part(self, admitted: Admitted, check: Check) -> bytes:
        model = admitted.reservation.model
        headers = {_RETRIES_HEADER: str(len(admitted.chain) - 1)}
        timeout_ms = self._first_byte_timeout_ms(model)
        if timeout_ms:
            headers[_ATTEMPT_TIMEOUT_HEADER] = str(timeout_ms)
        metadata: dict[str, Any] = {
            AdmissionKey.MODEL: model,
            AdmissionKey.DECISION: "downgrade" if admitted.downgraded else "allow",
            AdmissionKey.CHAIN: ",".join(attempt.fit.target.name for attempt in admitted.chain),
            AdmissionKey.STRIP_USAGE: admitted.strip_usage,
            AdmissionKey.PRIORITY_GROUPS: [_priority_group(attempt) for attempt in admitted.chain],
            AdmissionKey.TARGETS: [_target(attempt, admitted, check) for attempt in admitted.chain],
        }
        stopping = [attempt.fit.target.name for attempt in admitted.chain if attempt.fit.target.stops_on_disconnect]
        if stopping:
            metadata[AdmissionKey.STOPS_ON_DISCONNECT] = ",".join(stopping)
        return _ok(headers, metadata).SerializeToString()


def write_denial(answer: HttpAnswer, deny: Deny | None = None, of_trace: Mapping[str, str] | None = None) -> bytes:
    """An answer that Envoy sends to the client itself. Its status may be 200, for example for the list of models.

    `of_trace`: metadata of its trace.
    """
    metadata: dict[str, Any] = {}
    if deny is not None:
        metadata = _known(
            {
                AdmissionKey.DECISION: "deny",
                AdmissionKey.KEY: deny.key,
                AdmissionKey.MODEL: deny.model,
                AdmissionKey.POLICY: deny.policy,
            }
        )
    return external_auth_pb2.CheckResponse(
        # Any code but OK makes Envoy send `denied_response`. Nobody sees the code itself.
        status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=http_status_pb2.StatusCode.ValueType(answer.status)),
            headers=_headers(answer.headers),
            body=answer.body,
        ),
        dynamic_metadata=_struct({**metadata, **(of_trace or {})}),
    ).SerializeToString()


def write_body_may_come(key: VirtualKey) -> bytes:
    """Lets the body follow if the key is good. It reserves nothing, and the credential stays for the later Check."""
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        # A changed header makes Envoy choose the route again. The next route takes a body of any size.
        ok_response=external_auth_pb2.OkHttpResponse(headers=_headers([(_RETRIES_HEADER, "0")])),
        dynamic_metadata=_struct({AdmissionKey.HOLDER: key.key_id}),
    ).SerializeToString()


def write_admin_allow(actor: Actor) -> bytes:
    """Lets an administrator through, removes the token, and passes the actor's name to the service."""
    return _ok({ACTOR_HEADER: write_actor(actor)}, {}).SerializeToString()


def _ok(headers: dict[str, str], metadata: dict[str, Any]) -> external_auth_pb2.CheckResponse:
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        ok_response=external_auth_pb2.OkHttpResponse(
            headers=_headers(headers.items()), headers_to_remove=CREDENTIAL_HEADERS
        ),
        dynamic_metadata=_struct(metadata),
    )


def _headers(headers: Iterable[tuple[str, str]]) -> list[base_pb2.HeaderValueOption]:
    return [
        base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value), append_action=_OVERWRITE)
        for name, value in headers
    ]


def _struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


# Each key has one, and each answer to a call of that key contains it.
@lru_cache(maxsize=_MAX_REMEMBERED)
def _attribution_part(attribution: Attribution) -> bytes:
    texts = {
        AdmissionKey.KEY_ID: attribution.key_id,
        AdmissionKey.KEY: attribution.key,
        AdmissionKey.TEAM: attribution.team,
        AdmissionKey.PROJECT: attribution.project,
        AdmissionKey.ENVIRONMENT: attribution.environment,
        AdmissionKey.USER: attribution.user,
    }
    return b"".join([string_entry(key, text) for key, text in texts.items() if text])


def _known(texts: dict[AdmissionKey, str]) -> dict[str, Any]:
    return {key: text for key, text in texts.items() if text}


def _priority_group(attempt: Attempt) -> dict[str, Any]:
    # Envoy drops the whole list if a group has no name.
    return {"name": attempt.fit.target.name, "clusters": [{"cluster_name": attempt.fit.face.cluster, "weight": 1}]}


def _target(attempt: Attempt, admitted: Admitted, check: Check) -> dict[str, Any]:
    target, face = attempt.fit.target, attempt.fit.face
    facts: dict[str, Any] = {
        TargetKey.NAME: target.name,
        TargetKey.HOST: face.host,
        TargetKey.PATH: face.path,
    }
    if face.dialect is Dialect.GEMINI:
        facts[TargetKey.PATH] = _gemini_path(face.path, target.upstream_model, check)
    else:
        facts[TargetKey.MODEL] = target.upstream_model
    if face.dialect is Dialect.OPENAI and admitted.strip_usage:
        facts[TargetKey.INCLUDE_USAGE] = True
    if face.output_cap_field and attempt.output_cap_tokens is not None:
        facts[TargetKey.OUTPUT_CAP_FIELD] = face.output_cap_field
        facts[TargetKey.OUTPUT_CAP] = attempt.output_cap_tokens
    return facts


def _gemini_path(template: str, model: str, check: Check) -> str:
    """The path for Gemini. It keeps only `alt=sse` of the client's query, as `key=` may hold a virtual key."""
    streams = check.scan is not None and check.scan.facts.stream
    verb = next(verb for verb, verb_streams in VERBS.items() if verb_streams == streams)
    path = template.replace(MODEL, quote(model, safe="/")).replace(VERB, verb)
    return f"{path}?alt=sse" if streams and check.wants_events else path


def _call_part(admitted: Admitted, check: Check) -> bytes:
    reservation = admitted.reservation
    entries = [
        _attribution_part(reservation.attribution),
        string_entry(AdmissionKey.RESERVATION, reservation.id),
        _expected_input_tokens(reservation.expected_input_tokens),
        _expected_output_tokens(reservation.expected_output_tokens),
        _answer_tokens(admitted.answer.per_call),
        _answer_microtokens_per_byte(admitted.answer.per_byte_micro),
    ]
    if check.scan is not None:
        facts = check.scan.facts
        most = [bound(facts, attempt.fit.facts) for attempt in admitted.chain]
        if facts.unknown_members:
            held = max(tokens.output for tokens in most)
        else:
            held = max(attempt.output_bound(facts) for attempt in admitted.chain) * facts.choices
        entries.append(_held_output_tokens(held))
        if not facts.unknown_members and not facts.price_options:
            entries.append(_held_input_tokens(max(tokens.input for tokens in most)))
        entries.extend(
            string_entry(key, join_names(names))
            for key, names in (
                (AdmissionKey.UNKNOWN_MEMBERS, facts.unknown_members),
                (AdmissionKey.PRICE_OPTIONS, facts.price_options),
            )
            if names
        )
    if admitted.tightest is not None:
        entries.append(string_entry(AdmissionKey.POLICY, admitted.tightest.policy))
    if check.tags:
        entries.append(string_entry(AdmissionKey.TAGS, check.tags))
    if check.run:
        entries.append(string_entry(AdmissionKey.RUN, check.run))
    return length_delimited(_DYNAMIC_METADATA, b"".join(entries))


def _answer_headers(admitted: Admitted) -> Iterator[tuple[str, str]]:
    """The headers that the client gets however the call ends. Envoy adds the target and the number of attempts."""
    reservation, limit_statuses = admitted.reservation, admitted.limit_statuses
    yield MODEL_REQUESTED_HEADER, reservation.model
    if admitted.output_cap_tokens is not None:
        yield OUTPUT_CAPPED_HEADER, str(admitted.output_cap_tokens)
    if limit_statuses:
        yield from budget_headers(limit_statuses[0])
        yield from limit_headers(Dialect(reservation.dialect), limit_statuses, reservation.created_at_ms)
