"""Access logs: the spool that the ledger books, the log of refusals, and the attempts for the router's statistics.

Each run of Envoy has one spool file, with both calls and attempts. Its fields are `SpoolKey`.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import struct_pb2, wrappers_pb2
from spendgate_envoy.envoy.config.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2, config_source_pb2, substitution_format_string_pb2
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2 as data_accesslog_pb2
from spendgate_envoy.envoy.extensions.access_loggers.file.v3 import file_pb2
from spendgate_envoy.envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from spendgate_envoy.envoy.extensions.access_loggers.grpc.v3 import als_pb2
from spendgate_envoy.envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2

from services.kernel.endpoint import ENDPOINTS, MODEL
from services.kernel.envoy_contract import (
    ADMISSION_NAMESPACE,
    ATTEMPT_NAMESPACE,
    OPERATION_PSEUDO_HEADER,
    PROVIDER_STATUS_HEADER,
    SCAN_NAMESPACE,
    TARGET_PSEUDO_HEADER,
    USAGE_BROKEN,
    USAGE_LINE,
    USAGE_NAMESPACE,
    AdmissionKey,
    AttemptKey,
    ScanKey,
)
from services.kernel.spool_contract import REFUSED_LOG, SPOOL_SUFFIX, SpoolKey
from services.router.adapters.envoy_resources_traces import CLIENTS_TRACEPARENT
from services.router.adapters.envoy_resources_wire import (
    grpc_cluster,
    metadata_text,
    milliseconds,
    pack,
)
from services.router.domain.snapshot import NodeSettings

ATTEMPT_REPORT_MS = 2_000
"""How often the router hears of an attempt that has not ended yet."""
ATTEMPT_LOG = "attempt"
"""log_name of the gRPC access log of attempts that the router receives."""
BROKEN_LOG = "broken"
"""log_name of the gRPC access log of calls whose answer was broken."""
_GRPC_LOG = "envoy.access_loggers.http_grpc"
CHECK_BROKE = "ext_authz_error"
"""Response code details of a request whose Check failed, was refused by a dead quota, or timed out."""
# No reservation has this value. Envoy's metadata filter ignores `invert`, so "absent" is written as "this, or absent".
_NO_RESERVATION = "-"
# The scripts have replaced the status of an answer that does not pass.
_ANSWER_HEADERS = ("retry-after", "retry-after-ms", PROVIDER_STATUS_HEADER)
_ALS_TIMEOUT_MS = 2_000
_ALS_FLUSH_MS = 200

# Free text from a client sometimes contains a key. A secret has 16 characters or more; words of a path have fewer,
# except for Gemini's models. Spool lines contain no such text, so calls that are served do not pay for this.
_WITHHELD = "'(withheld: it may hold a key)'"


def _may_hold_key(value: str, run: int) -> str:
    """Returns an expression for whether text has the prefix of our keys, or a long run without slash or blank.

    Envoy takes no expression of more than some hundred steps, so the character classes have few ranges.
    """
    return f"({value}.contains('spg_') || {value}.contains('spa_') || {value}.matches('[!-.0-~]{{{run}}}'))"


_PATH = "request.url_path"
_BEFORE_MODEL = sorted(
    {path.partition(MODEL)[0] for row in ENDPOINTS for path in row.paths + row.azure_paths if MODEL in path}
)
PATH_WITHOUT_KEYS = (
    f"%CEL({_PATH}.size() <= 256 && !{_may_hold_key(_PATH, 16)} ? {_PATH} : "
    + "".join(f"{_PATH}.startsWith('{before}') ? '{before}...' : " for before in _BEFORE_MODEL)
    + f"{_WITHHELD})%"
)
"""The path without its query, for logs. Withheld if it may hold a key."""
METHOD_WITHOUT_KEYS = "%CEL(request.method.matches('^[A-Z]{1,15}$') ? request.method : '-')%"
_AGENT = "request.useragent"
_USER_AGENT_WITHOUT_KEYS = (
    f"%CEL({_AGENT}.size() > 256 || {_may_hold_key(_AGENT, 24)} || "
    f"('authorization' in request.headers && request.headers['authorization'].endsWith({_AGENT})) ? "
    f"{_WITHHELD} : {_AGENT})%"
)

_COMMON: dict[str, str] = {
    SpoolKey.TIME: "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
    SpoolKey.REQUEST_ID: "%REQ(X-REQUEST-ID)%",
    SpoolKey.STATUS: "%RESPONSE_CODE%",
    SpoolKey.FLAGS: "%RESPONSE_FLAGS%",
    SpoolKey.DETAILS: "%RESPONSE_CODE_DETAILS%",
    SpoolKey.DURATION_MS: "%DURATION%",
    SpoolKey.FIRST_BYTE_MS: "%RESPONSE_DURATION%",
    SpoolKey.CLUSTER: "%UPSTREAM_CLUSTER%",
}
_ATTEMPT: dict[str, str] = {
    # The attempt's own stream has no count. The header that `target.lua` reads has it.
    SpoolKey.ATTEMPT: "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    SpoolKey.FAILURE: "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    SpoolKey.DURATION_US: "%COMMON_DURATION(DS_RX_BEG:US_RX_END:us)%",
    # The client's own header may pass, and a later version of it may be as long as headers are.
    SpoolKey.TRACEPARENT: "%REQ(TRACEPARENT):55%",
    SpoolKey.OPERATION: f"%REQ({OPERATION_PSEUDO_HEADER})%",
}
_ANSWER = f"metadata.filter_metadata['{ADMISSION_NAMESPACE}']"
_DURATION_US: dict[str, str] = {SpoolKey.DURATION_US: "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"}
# Each expression costs Envoy some microseconds, so other parties join what they have to say in one text (ADR 0027).
_CALL: dict[str, str] = {
    **_DURATION_US,
    SpoolKey.ATTEMPTS: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    SpoolKey.BYTES_SENT: "%BYTES_SENT%",
    SpoolKey.PROTOCOL: "%PROTOCOL%",
    SpoolKey.SDK_RETRY: "%REQ(X-STAINLESS-RETRY-COUNT):8%",
    SpoolKey.DROPPED: metadata_text(ATTEMPT_NAMESPACE, AttemptKey.DROPPED),
    SpoolKey.REQUESTED: metadata_text(SCAN_NAMESPACE, ScanKey.LOGGED),
    SpoolKey.USAGE: metadata_text(USAGE_NAMESPACE, USAGE_LINE),
}
_ADMITTED: dict[str, str] = {SpoolKey.ADMITTED: metadata_text(ADMISSION_NAMESPACE, AdmissionKey.ADMITTED)}
_OF_CLIENT: dict[str, str] = {
    SpoolKey.CLIENT_REQUEST_ID: metadata_text(SCAN_NAMESPACE, ScanKey.CLIENT_REQUEST_ID),
}
"""For requests that may have been refused before the scan. It says the same of all others in its text."""
_TRACEPARENT: dict[str, str] = {
    AdmissionKey.TRACEPARENT: (
        f"%CEL('{ADMISSION_NAMESPACE}' in metadata.filter_metadata && '{AdmissionKey.TRACEPARENT}' in {_ANSWER} ? "
        f"{_ANSWER}.{AdmissionKey.TRACEPARENT} : {CLIENTS_TRACEPARENT})%"
    ),
}
"""For requests that quota did not admit: its own answer if it refused, else the client's header."""
_REFUSED: dict[str, str] = {
    **_DURATION_US,
    **_TRACEPARENT,
    AdmissionKey.DECIDED: metadata_text(ADMISSION_NAMESPACE, AdmissionKey.DECIDED),
    SpoolKey.METHOD: METHOD_WITHOUT_KEYS,
    SpoolKey.PATH: PATH_WITHOUT_KEYS,
    SpoolKey.USER_AGENT: _USER_AGENT_WITHOUT_KEYS,
    **_OF_CLIENT,
}


def call_logs(node: NodeSettings) -> list[accesslog_pb2.AccessLog]:
    """Returns the logs of the data listener. Each request goes to the spool or to the log of refusals, never to both.

    The spool gets the calls that quota reserved for, and those where Envoy never learned whether it did: a Check that
    broke, or a client that left during the Check (no status was sent). The ledger releases those by request id.
    """
    unreserved = metadata_is(ADMISSION_NAMESPACE, AdmissionKey.RESERVATION, _NO_RESERVATION, or_absent=True)
    broke = cel(_details_are(CHECK_BROKE))
    refused = all_of(unreserved, _status_is_sent(), cel(f"!({_details_are(CHECK_BROKE)})"))
    reserved = _metadata_present(ADMISSION_NAMESPACE, AdmissionKey.RESERVATION)
    return [
        _file(spool_path(node), _line("call", _COMMON | _CALL | _ADMITTED), reserved),
        _file(
            spool_path(node),
            _line("call", _COMMON | _CALL | _OF_CLIENT | _TRACEPARENT),
            all_of(unreserved, any_of(_status_is_zero(), broke)),
        ),
        _file(f"{node.log_dir}/{REFUSED_LOG}", _line("refused", _COMMON | _REFUSED), refused),
    ]


def attempt_logs(node: NodeSettings) -> list[accesslog_pb2.AccessLog]:
    """Returns the logs of the router filter, one line per attempt: for the ledger and the router's statistics."""
    to_router = _to_router(ATTEMPT_LOG)
    to_router.additional_request_headers_to_log.append(TARGET_PSEUDO_HEADER)
    to_router.additional_response_headers_to_log.extend(_ANSWER_HEADERS)
    return [
        _file(spool_path(node), _line("attempt", _COMMON | _ATTEMPT), _only_ends()),
        accesslog_pb2.AccessLog(name=_GRPC_LOG, typed_config=pack(to_router)),
    ]


def broken_log() -> accesslog_pb2.AccessLog:
    """Returns the log of calls whose answer was broken although its status was good.

    The attempt's own log cannot tell: it sees no metadata, and of the answer only the head.
    """
    only = all_of(_metadata_present(USAGE_NAMESPACE, USAGE_BROKEN), _status(accesslog_pb2.ComparisonFilter.LE, 299))
    return accesslog_pb2.AccessLog(name=_GRPC_LOG, filter=only, typed_config=pack(_to_router(BROKEN_LOG)))


def _to_router(log_name: str) -> als_pb2.HttpGrpcAccessLogConfig:
    return als_pb2.HttpGrpcAccessLogConfig(
        common_config=als_pb2.CommonGrpcAccessLogConfig(
            log_name=log_name,
            transport_api_version=config_source_pb2.V3,
            grpc_service=grpc_cluster("router", _ALS_TIMEOUT_MS),
            buffer_flush_interval=milliseconds(_ALS_FLUSH_MS),
        )
    )


def spool_path(node: NodeSettings) -> str:
    """Returns the spool file of this run of Envoy."""
    return f"{node.spool_dir}/{node.epoch}{SPOOL_SUFFIX}"


def cel(expression: str) -> accesslog_pb2.AccessLogFilter:
    """Passes requests that a CEL expression holds for. It costs more than native filters: place it after them."""
    return accesslog_pb2.AccessLogFilter(
        extension_filter=accesslog_pb2.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=pack(cel_pb2.ExpressionFilter(expression=expression)),
        )
    )


def metadata_is(namespace: str, key: str, value: str, *, or_absent: bool = False) -> accesslog_pb2.AccessLogFilter:
    """Passes requests whose dynamic metadata has the string `value`."""
    matcher = value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact=value))
    return _metadata(namespace, key, matcher, or_absent=or_absent)


def _only_ends() -> accesslog_pb2.AccessLogFilter:
    """Passes attempts that have ended, and not the reports before."""
    return accesslog_pb2.AccessLogFilter(
        log_type_filter=accesslog_pb2.LogTypeFilter(types=[data_accesslog_pb2.AccessLogType.UpstreamEnd])
    )


def _details_are(details: str) -> str:
    return f"response.code_details == '{details}'"


def _metadata(
    namespace: str, key: str, value: value_pb2.ValueMatcher, *, or_absent: bool
) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(
        metadata_filter=accesslog_pb2.MetadataFilter(
            matcher=metadata_pb2.MetadataMatcher(
                filter=namespace,
                path=[metadata_pb2.MetadataMatcher.PathSegment(key=key)],
                value=value,
            ),
            match_if_key_not_found=wrappers_pb2.BoolValue(value=or_absent),
        )
    )


def _metadata_present(namespace: str, key: str) -> accesslog_pb2.AccessLogFilter:
    return _metadata(namespace, key, value_pb2.ValueMatcher(present_match=True), or_absent=False)


def _status_is_zero() -> accesslog_pb2.AccessLogFilter:
    return _status(accesslog_pb2.ComparisonFilter.EQ, 0)


def _status_is_sent() -> accesslog_pb2.AccessLogFilter:
    return _status(accesslog_pb2.ComparisonFilter.GE, 1)


def _status(op: accesslog_pb2.ComparisonFilter.Op.ValueType, status: int) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(
        status_code_filter=accesslog_pb2.StatusCodeFilter(
            comparison=accesslog_pb2.ComparisonFilter(
                op=op, value=base_pb2.RuntimeUInt32(default_value=status, runtime_key="spendgate.unused")
            )
        )
    )


def any_of(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    """Passes requests that any of `filters` passes."""
    return accesslog_pb2.AccessLogFilter(or_filter=accesslog_pb2.OrFilter(filters=filters))


def all_of(*filters: accesslog_pb2.AccessLogFilter) -> accesslog_pb2.AccessLogFilter:
    """Passes requests that all `filters` pass."""
    return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=filters))


def _line(kind: str, fields: Mapping[str, str]) -> struct_pb2.Struct:
    line = struct_pb2.Struct()
    line.update({SpoolKey.KIND: kind, SpoolKey.VERSION: 1})
    line.update({str(name): operator for name, operator in fields.items()})
    return line


def _file(
    path: str, line: struct_pb2.Struct, only: accesslog_pb2.AccessLogFilter | None = None
) -> accesslog_pb2.AccessLog:
    config = file_pb2.FileAccessLog(
        path=path,
        log_format=substitution_format_string_pb2.SubstitutionFormatString(json_format=line, omit_empty_values=True),
    )
    return accesslog_pb2.AccessLog(name="envoy.access_loggers.file", filter=only, typed_config=pack(config))
