"""The trace of a question from Envoy, and what the answer says about it.

Quota writes no span. It tells Envoy which trace the call belongs to and what it decided. Envoy logs both, and the
ledger makes the spans from its lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache

import orjson
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.chassis.protobuf_wire import length_delimited
from services.kernel.envoy_contract import TRACE_ID_HEADER, AdmissionKey, LeadReason
from services.kernel.limit_kind import LimitKind
from services.kernel.spool_contract import AdmittedKey, DecidedKey
from services.kernel.trace_context import Sampling, TraceContext, begin_trace
from services.quota.domain.policies.denial import Deny
from services.quota.domain.policies.limit_id import kind_of
from services.quota.transport.check_request import Check, withhold_key
from services.quota.transport.header_wire import header_place, ok_response
from services.quota.transport.names_wire import join_names
from services.quota.transport.struct_wire import string_place
from services.quota.usecases.admit import Admitted

_log = logging.getLogger("spendgate.quota.traces")

NowUs = Callable[[], int]
"""Returns microseconds since 1970 UTC."""

_TO_REMOVE = external_auth_pb2.OkHttpResponse.HEADERS_TO_REMOVE_FIELD_NUMBER
_DYNAMIC_METADATA = external_auth_pb2.CheckResponse.DYNAMIC_METADATA_FIELD_NUMBER
_REMEMBERED = 4_096
# The beginning of a JSON object, and a part from its middle. To format a member of an enumeration takes a microsecond.
_TIMES = f'{{"{DecidedKey.BEGAN_US}":%d,"{DecidedKey.TOOK_US}":%d,'
_AMOUNTS = f'"{DecidedKey.HELD_NANO_USD}":%d,"{DecidedKey.OUTPUT_CAP_TOKENS}":%d,'
_UNRECORDED = f'"{AdmittedKey.TRACEPARENT}":"%s"'
_RECORDED = f'{_UNRECORDED},"{AdmittedKey.DECIDED}":%s'
_traceparent = string_place(AdmissionKey.TRACEPARENT)
_trace_id = header_place(TRACE_ID_HEADER)
# Without a parent, the client's header belongs to no trace, and must not reach a provider.
_FORGET_CLIENTS = ok_response(b"".join(length_delimited(_TO_REMOVE, name) for name in (b"traceparent", b"tracestate")))


class CallTrace:
    """The trace of one question, from its arrival to the answer."""

    __slots__ = ("_began_us", "_context", "_now_us")

    def __init__(self, context: TraceContext | None, now_us: NowUs) -> None:
        """`context`: None if nothing is known about the request."""
        self._context = context
        self._now_us = now_us
        self._began_us = now_us() if context is not None and context.recorded else 0

    @property
    def trace_id(self) -> str:
        """32 digits in hex; empty if there is no trace."""
        return self._context.trace_id if self._context is not None else ""

    def fields_of_admitted(self) -> bytes:
        """Fields of the CheckResponse for an admitted call."""
        context = self._context
        if context is None:
            return b""
        metadata = length_delimited(_DYNAMIC_METADATA, _traceparent(str(context)))
        fields = metadata + ok_response(_trace_id(context.trace_id))
        return fields if context.parent_id else fields + _FORGET_CLIENTS

    def members_of_admitted(self, admitted: Admitted) -> str:
        """What the line of an admitted call says, as members of a JSON object. Empty if there is no trace."""
        context = self._context
        if context is None:
            return ""
        if not context.recorded:
            return _UNRECORDED % str(context)
        decided = self._decided(lambda: _said_of_admitted(admitted))
        return _RECORDED % (str(context), decided) if decided else _UNRECORDED % str(context)

    def of_refused(self, check: Check | None, deny: Deny | None) -> dict[str, str]:
        """Metadata for a request that quota answers itself. `deny`: None if it was not a refusal."""
        context = self._context
        if context is None:
            return {}
        metadata: dict[str, str] = {AdmissionKey.TRACEPARENT: str(context)}
        if deny is not None and context.recorded:
            credential = check.credential if check is not None else ""
            metadata[AdmissionKey.DECIDED] = self._decided(lambda: _said_of_denied(deny, credential))
        return metadata

    def _decided(self, say: Callable[[], str]) -> str:
        """The decision, as JSON. Empty if that fails: no call is refused for the sake of a span."""
        try:
            took_us = max(self._now_us() - self._began_us, 0)
            return _TIMES % (self._began_us, took_us) + say()
        except Exception:  # noqa: BLE001  (whatever the cause, the decision stands)
            _log.exception("a decision has no span")
            return ""


class CallTraces:
    """Finds the trace of each question."""

    def __init__(self, sampling: Sampling, now_us: NowUs) -> None:
        self._sampling = sampling
        self._now_us = now_us
        self.unknown = CallTrace(None, now_us)
        """The trace of every unreadable question."""

    def begin(self, check: Check) -> CallTrace:
        """The trace of a question. Its time begins now."""
        return CallTrace(begin_trace(check.traceparent, check.request_id, self._sampling), self._now_us)


def _said_of_admitted(admitted: Admitted) -> str:
    """The rest of a JSON object."""
    holds, admission = admitted.reservation.holds, admitted.admission
    cap = (admission.facts.max_output_tokens or 0) if admission.cut else 0
    held = max([hold.held for hold in holds if _is_of_spend(hold.counter.limit_id)], default=0)
    refusals = admission.shadowed
    shadowed = tuple([refusal.limit.counter.policy for refusal in refusals]) if refusals else ()
    texts = _texts(_reason(admitted), tuple([hold.counter.policy for hold in holds]), shadowed)
    return _AMOUNTS % (held, cap) + texts


# Calls of one key mostly have the same.
@lru_cache(_REMEMBERED)
def _texts(reason: str, policies: tuple[str, ...], shadowed: tuple[str, ...]) -> str:
    texts = {
        DecidedKey.REASON: reason,
        DecidedKey.POLICIES: join_names(tuple(dict.fromkeys(policies))),
        DecidedKey.SHADOWED: join_names(tuple(dict.fromkeys(shadowed))),
    }
    return _rest_of_object(texts)


@lru_cache(_REMEMBERED)
def _is_of_spend(limit_id: str) -> bool:
    return kind_of(limit_id) is LimitKind.SPEND


def _reason(admitted: Admitted) -> str:
    if admitted.without_counters:
        return "allowance"
    reason = admitted.lead_reason
    if reason is LeadReason.BUDGET:
        return "budget_used"
    return reason or "within_limits"


def _said_of_denied(deny: Deny, credential: str) -> str:
    """The rest of a JSON object."""
    texts = {
        DecidedKey.REASON: deny.denial.value,
        DecidedKey.POLICY: deny.policy,
        # The client's own text, if there is no such model.
        DecidedKey.MODEL: withhold_key(deny.model, credential),
    }
    return _rest_of_object(texts)


def _rest_of_object(texts: Mapping[DecidedKey, str]) -> str:
    return orjson.dumps({name.value: text for name, text in texts.items() if text}).decode()[1:]
