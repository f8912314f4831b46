"""Writes the answers to Envoy: the bytes of `envoy.service.auth.v3.CheckResponse`.

Most of an ALLOW is the same for every call of one model and chain. We serialise that part once and cache it for all
keys. We then append the few values that differ, as bytes (see `struct_wire`). This halves the cost of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from google.protobuf import struct_pb2
from google.rpc import code_pb2, status_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2
from spendgate_envoy.envoy.type.v3 import http_status_pb2

from services.chassis.authorship import write_actor
from services.chassis.line_text import write_line_text
from services.chassis.protobuf_wire import length_delimited
from services.kernel.change import Actor
from services.kernel.dialect import Dialect, TranslationKey
from services.kernel.endpoint import ENDPOINTS, MODEL, VERB, Operation
from services.kernel.envoy_contract import (
    ACTOR_HEADER,
    CREDENTIAL_HEADERS,
    MODEL_REQUESTED_HEADER,
    OUTPUT_CAPPED_HEADER,
    AdmissionKey,
    TargetKey,
)
from services.quota.domain.admission.evaluate import Attempt
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Deny
from services.quota.domain.routing.plan import Translation
from services.quota.transport.admitted_line import write_members, write_members_of_route
from services.quota.transport.call_trace import CallTrace
from services.quota.transport.check_request import Check
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.header_wire import HeadersToClient
from services.quota.transport.limit_headers import NEVER_REPEAT, budget_headers, limit_headers
from services.quota.transport.struct_wire import string_place
from services.quota.usecases.admit import Admitted

FirstByteTimeout = Callable[[str], int]
"""Returns how long an attempt for this model may take to its first byte, in milliseconds; 0: as long as the call."""

_MAX_REMEMBERED = 4_096
_CHAT_VERBS = {
    verb: streams for row in ENDPOINTS if row.operation is Operation.CHAT for verb, streams in row.verbs.items()
}
_RETRIES_HEADER = "x-envoy-max-retries"
_ATTEMPT_TIMEOUT_HEADER = "x-envoy-upstream-rq-per-try-timeout-ms"
_DYNAMIC_METADATA = external_auth_pb2.CheckResponse.DYNAMIC_METADATA_FIELD_NUMBER
_key_id = string_place(AdmissionKey.KEY_ID)
_reservation = string_place(AdmissionKey.RESERVATION)
_admitted = string_place(AdmissionKey.ADMITTED)
# Overwrites, so that no header of the client survives under the same name.
_OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class AllowWriter:
    """Writes answers that let a call through. Safe to use from several threads."""

    def __init__(self, first_byte_timeout_ms: FirstByteTimeout) -> None:
        self._first_byte_timeout_ms = first_byte_timeout_ms
        self._routes: dict[Any, _Route] = {}
        self._headers_to_client = HeadersToClient(NEVER_REPEAT | {OUTPUT_CAPPED_HEADER})

    def write(self, admitted: Admitted, check: Check, trace: CallTrace) -> bytes:
        """The answer to one call."""
        # Hardly any two calls get the same cut. Their routes would push reusable ones out of the cache.
        of_route = self._route if admitted.admission.cut else self._remembered_route
        route = of_route(admitted, check)
        members = [route.members, *write_members(admitted, check)]
        of_trace = trace.members_of_admitted(admitted)
        if of_trace:
            members.append(of_trace)
        metadata = (
            _key_id(admitted.reservation.attribution.key_id)
            + _reservation(admitted.reservation.id)
            + _admitted(write_line_text(",".join(members)))
        )
        headers = self._headers_to_client(_answer_headers(admitted))
        return route.fields + length_delimited(_DYNAMIC_METADATA, metadata) + headers + trace.fields_of_admitted()

    def _remembered_route(self, admitted: Admitted, check: Check) -> _Route:
        # Attempts hash by the identity of their targets. Every plan makes new targets, so the cache finds nothing
        # stale.
        admission, stream = admitted.admission, check.scan is not None and check.scan.facts.stream
        key = (
            admitted.reservation.model,
            admission.attempts,
            admission.lead_reason,
            admitted.strip_usage,
            stream,
            check.passed_query if "?" in check.path else "",
        )
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= _MAX_REMEMBERED:
                self._routes.clear()
            route = self._routes[key] = self._route(admitted, check)
        return route

    def _route(self, admitted: Admitted, check: Check) -> _Route:
        model = admitted.reservation.model
        headers = {_RETRIES_HEADER: str(len(admitted.chain) - 1)}
        timeout_ms = self._first_byte_timeout_ms(model)
        if timeout_ms:
            headers[_ATTEMPT_TIMEOUT_HEADER] = str(timeout_ms)
        metadata: dict[str, Any] = {
            **({AdmissionKey.DOWNGRADED: admitted.lead_reason.value} if admitted.lead_reason else {}),
            AdmissionKey.STRIP_USAGE: admitted.strip_usage,
            **({AdmissionKey.TRANSLATED: True} if _is_translated(admitted) else {}),
            AdmissionKey.PRIORITY_GROUPS: [_priority_group(attempt) for attempt in admitted.chain],
            AdmissionKey.TARGETS: [_target(attempt, admitted, check) for attempt in admitted.chain],
        }
        return _Route(_ok(headers, metadata).SerializeToString(), write_members_of_route(admitted))


@dataclass(frozen=True, slots=True)
class _Route:
    """The part of an answer that depends on the model and the chain."""

    fields: bytes
    """Fields of the CheckResponse."""
    members: str
    """Of `AdmittedKey`, in JSON."""


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


def _known(texts: dict[AdmissionKey, str]) -> dict[str, Any]:
    return {key: text for key, text in texts.items() if text}


def _is_translated(admitted: Admitted) -> bool:
    return any(attempt.fit.face.translation is not None for attempt in admitted.chain)


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
    if face.translation is not None:
        facts[TargetKey.TRANSLATION] = _translation(attempt, face.translation)
        return facts | {TargetKey.MODEL: target.upstream_model}
    if face.dialect is Dialect.GEMINI:
        facts[TargetKey.PATH] = _gemini_path(face.path, target.upstream_model, check)
    elif check.passed_query:
        facts[TargetKey.PATH] = f"{face.path}?{check.passed_query}"
    if face.dialect is not Dialect.GEMINI or face.operation is not Operation.CHAT:
        facts[TargetKey.MODEL] = target.upstream_model
    if face.dialect is Dialect.OPENAI and admitted.strip_usage and not face.usage_unasked:
        facts[TargetKey.INCLUDE_USAGE] = True
    if face.output_cap_field and attempt.output_cap_tokens is not None:
        facts[TargetKey.OUTPUT_CAP_FIELD] = face.output_cap_field
        facts[TargetKey.OUTPUT_CAP] = attempt.output_cap_tokens
    return facts


def _translation(attempt: Attempt, translation: Translation) -> dict[str, Any]:
    fit, granted = attempt.fit, attempt.output_cap_tokens
    return {
        **({TranslationKey.OUTPUT_CAP: granted} if granted is not None else {}),
        # Messages needs a bound always. Without a smaller one it is what the call holds.
        TranslationKey.OUTPUT_BOUND: granted or fit.facts.output_ceiling,
        TranslationKey.OUTPUT_BOUND_NAME: fit.face.output_cap_field,
        TranslationKey.THINKING: translation.thinking or "none",
        TranslationKey.STRUCTURED: "tool" if translation.structured_by_tool else "native",
        TranslationKey.SAMPLING: translation.takes_sampling,
        TranslationKey.ASKS_FOR_USAGE: not fit.face.usage_unasked,
    }


def _gemini_path(template: str, model: str, check: Check) -> str:
    """The path for Gemini."""
    streams = check.scan is not None and check.scan.facts.stream
    verb = next(verb for verb, verb_streams in _CHAT_VERBS.items() if verb_streams == streams)
    path = template.replace(MODEL, quote(model, safe="/")).replace(VERB, verb)
    return f"{path}?{check.passed_query}" if streams and check.passed_query else path


def _answer_headers(admitted: Admitted) -> list[tuple[str, str]]:
    """The headers that the client gets however the call ends. Envoy adds the target and the number of attempts."""
    reservation, admission = admitted.reservation, admitted.admission
    headers = [(MODEL_REQUESTED_HEADER, reservation.model)]
    if admission.cut:
        headers.append((OUTPUT_CAPPED_HEADER, str(admission.output_cap_tokens)))
    if limit_statuses := admission.limit_statuses:
        headers += budget_headers(limit_statuses[0])
        headers += limit_headers(reservation.dialect, limit_statuses, reservation.created_at_ms)
    return headers
