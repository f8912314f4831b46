"""Envoy's own answers to clients: each error comes in the envelope of the client's dialect.

`request_info.lua` publishes the dialect. Before that script has run, the path shows the dialect. Later the path no
longer does, because each attempt rewrites it for its provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import struct_pb2, wrappers_pb2
from spendgate_envoy.envoy.config.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from services.kernel.dialect import Dialect
from services.kernel.endpoint import DIALECT_HEADERS, FIRST_DIALECT
from services.kernel.envoy_contract import REQUEST_NAMESPACE, TRACE_ID_HEADER, RequestKey
from services.router.adapters.envoy_resources_access_log import CHECK_BROKE, all_of, any_of, cel, metadata_is
from services.router.adapters.envoy_resources_endpoints import is_asked_in
from services.router.adapters.envoy_resources_missing import MISSING_ENDPOINT
from services.router.adapters.envoy_resources_routes import REQUEST_ID
from services.router.adapters.envoy_resources_traces import TRACE_ID
from services.router.adapters.envoy_resources_wire import header_option

# Quota and our scripts send complete answers, which pass unchanged. Quota's name their trace.
_QUOTAS = "response.code_details == 'ext_authz_denied'"
_OF_SCRIPTS = "response.code_details == 'lua_response'"
_NAMES = {TRACE_ID_HEADER: TRACE_ID, **REQUEST_ID}
# A client that retries after a chain would repeat the chain's work.
_CHAIN_SPENT = {
    "x-should-retry": "%CEL(upstream.request_attempt_count > 1 ? 'false' : '')%",
    "retry-after": "%CEL(upstream.request_attempt_count > 1 ? '' : '1')%",
}
_INVALID = "invalid_request_error"
# Some clients retry any error for ever unless they are told not to.
_IN_VAIN = {"x-should-retry": "false"}
_NOT_ASKED = "-"
# In the order in which their headers decide. Others are answered in the first dialect of the table.
_SHOWN_BY_HEADER = tuple(DIALECT_HEADERS.values())


@dataclass(frozen=True, slots=True)
class _Case:
    """One row of the table: which reply of Envoy's, and its text."""

    when: accesslog_pb2.AccessLogFilter
    status: int
    """The status for the client, instead of Envoy's own."""
    message: str
    code: str
    """OpenAI's `error.code`."""
    anthropic_type: str
    gemini_status: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def openai_type(self) -> str:
        return "server_error" if self.status >= 500 else _INVALID


def local_replies() -> hcm.LocalReplyConfig:
    """Returns the mappers of the data listener. The first match decides."""
    mappers = [
        hcm.ResponseMapper(filter=cel(_QUOTAS), headers_to_add=_options(REQUEST_ID)),
        hcm.ResponseMapper(filter=cel(_OF_SCRIPTS), headers_to_add=_options(_NAMES)),
    ]
    for case in _cases():
        mappers.extend(_mapper(case, dialect, all_of(case.when, _speaks(dialect))) for dialect in _SHOWN_BY_HEADER)
        mappers.append(_mapper(case, FIRST_DIALECT, case.when))
    return hcm.LocalReplyConfig(mappers=mappers)


def _cases() -> list[_Case]:
    return [
        _unavailable(
            cel(f"response.code_details == '{CHECK_BROKE}'"),
            "The gateway cannot decide on this request now. Try again in a moment.",
            "policy_unavailable",
            {"retry-after": "1"},
        ),
        _unavailable(
            cel("response.code_details.startsWith('overload')"),
            "The gateway is overloaded. Try again in a moment.",
            "overloaded",
            {"retry-after": "1"},
        ),
        _Case(_is(404), 404, MISSING_ENDPOINT, "not_found", "not_found_error", "NOT_FOUND", _IN_VAIN),
        _Case(
            _is(405),
            405,
            "This endpoint takes POST only.",
            "method_not_allowed",
            _INVALID,
            "UNIMPLEMENTED",
            {"allow": "POST", **_IN_VAIN},
        ),
        _Case(
            _is(408),
            408,
            "The request did not arrive in time.",
            "request_timeout",
            "timeout_error",
            "DEADLINE_EXCEEDED",
        ),
        _invalid(
            _is(413),
            413,
            "The request's body is too large for this gateway.",
            "request_too_large",
            anthropic_type="request_too_large",
        ),
        _invalid(_is(431), 431, "The request's headers are too large.", "headers_too_large"),
        _Case(
            _is(504),
            504,
            "No provider answered in time.",
            "upstream_unavailable",
            "timeout_error",
            "DEADLINE_EXCEEDED",
            _CHAIN_SPENT,
        ),
        _unavailable(_between(502, 503), "No provider could be reached.", "upstream_unavailable", _CHAIN_SPENT),
        # The provider's credential, which Envoy has not got yet. The client's own was fine.
        _unavailable(_is(401), "The provider's credential is missing.", "upstream_unavailable"),
        _invalid(_between(400, 499), 400, "The request is not valid HTTP.", "bad_request"),
        _Case(_between(500, 599), 500, "The gateway failed.", "internal_error", "api_error", "INTERNAL"),
    ]


def _invalid(
    when: accesslog_pb2.AccessLogFilter, status: int, message: str, code: str, anthropic_type: str = _INVALID
) -> _Case:
    return _Case(when, status, message, code, anthropic_type, "INVALID_ARGUMENT", _IN_VAIN)


def _unavailable(
    when: accesslog_pb2.AccessLogFilter, message: str, code: str, headers: dict[str, str] | None = None
) -> _Case:
    return _Case(when, 503, message, code, "api_error", "UNAVAILABLE", headers or {})


def _mapper(case: _Case, dialect: Dialect, when: accesslog_pb2.AccessLogFilter) -> hcm.ResponseMapper:
    body = struct_pb2.Struct()
    body.update(_envelope(case, dialect))
    return hcm.ResponseMapper(
        filter=when,
        status_code=wrappers_pb2.UInt32Value(value=case.status),
        headers_to_add=_options(case.headers | _NAMES),
        body_format_override=substitution_format_string_pb2.SubstitutionFormatString(json_format=body),
    )


def _options(headers: dict[str, str]) -> list[base_pb2.HeaderValueOption]:
    return [header_option(name, value) for name, value in headers.items()]


def _envelope(case: _Case, dialect: Dialect) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        error = {"type": case.anthropic_type, "message": case.message}
        return {"type": "error", "error": error, "request_id": "%REQ(X-REQUEST-ID)%"}
    if dialect is Dialect.GEMINI:
        return {"error": {"code": case.status, "message": case.message, "status": case.gemini_status}}
    return {"error": {"message": case.message, "type": case.openai_type, "param": None, "code": case.code}}


def _speaks(dialect: Dialect) -> accesslog_pb2.AccessLogFilter:
    unscanned = metadata_is(REQUEST_NAMESPACE, RequestKey.DIALECT, _NOT_ASKED, or_absent=True)
    return any_of(metadata_is(REQUEST_NAMESPACE, RequestKey.DIALECT, dialect), all_of(unscanned, is_asked_in(dialect)))


def _is(code: int) -> accesslog_pb2.AccessLogFilter:
    return _compare(accesslog_pb2.ComparisonFilter.EQ, code)


def _between(first: int, last: int) -> accesslog_pb2.AccessLogFilter:
    return all_of(_compare(accesslog_pb2.ComparisonFilter.GE, first), _compare(accesslog_pb2.ComparisonFilter.LE, last))


def _compare(op: accesslog_pb2.ComparisonFilter.Op.ValueType, code: int) -> accesslog_pb2.AccessLogFilter:
    # Envoy requires a runtime key for the number. Nobody sets it.
    value = base_pb2.RuntimeUInt32(default_value=code, runtime_key="spendgate.unused")
    comparison = accesslog_pb2.ComparisonFilter(op=op, value=value)
    return accesslog_pb2.AccessLogFilter(status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=comparison))
