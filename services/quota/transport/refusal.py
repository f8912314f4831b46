"""Turns a denial into Envoy's answer: first the wording, then the envelope of the client's dialect."""

from __future__ import annotations

import re
from dataclasses import replace

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import TRACE_ID_HEADER
from services.quota.domain.policies.denial import Deny
from services.quota.transport.check_answer import write_denial
from services.quota.transport.check_request import Check
from services.quota.transport.dialects.envelopes import envelope_of
from services.quota.transport.dialects.wording import word
from services.quota.transport.limit_headers import limit_headers

_TRACEPARENT_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def write_refusal(check: Check | None, deny: Deny, traceparent: str) -> bytes:
    """The bytes of the CheckResponse that refuses a call.

    `check`: None if we could not read the question itself. `traceparent`: in the W3C format; if it is empty or
    malformed, the answer names no trace.
    """
    dialect = check.dialect if check else Dialect.OPENAI
    request_id = check.request_id if check else ""
    trace = _TRACEPARENT_FORM.fullmatch(traceparent)
    trace_id = trace[1] if trace else ""
    answer = envelope_of(dialect).refuse(word(deny, trace_id), request_id)
    traced = ((TRACE_ID_HEADER, trace_id),) if trace_id else ()
    limits = limit_headers(dialect, deny.limit_statuses, deny.decided_at_ms)
    return write_denial(replace(answer, headers=(*answer.headers, *traced, *limits)), deny)
