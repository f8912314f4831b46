"""Turns a denial into Envoy's answer: first the wording, then the envelope of the client's dialect."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import TRACE_ID_HEADER
from services.quota.domain.policies.denial import Deny
from services.quota.transport.call_trace import CallTrace
from services.quota.transport.check_answer import write_denial
from services.quota.transport.check_request import Check
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.dialects.envelopes import envelope_of
from services.quota.transport.dialects.wording import word
from services.quota.transport.limit_headers import limit_headers


def write_refusal(check: Check | None, deny: Deny, trace: CallTrace) -> bytes:
    """The bytes of the CheckResponse that refuses a call.

    `check`: None if we could not read the question itself. If it has no trace, the answer names none.
    """
    dialect = check.dialect if check else Dialect.OPENAI
    request_id = check.request_id if check else ""
    answer = envelope_of(dialect).refuse(word(deny, trace.trace_id), request_id)
    limits = limit_headers(dialect, deny.limit_statuses, deny.decided_at_ms)
    answer = replace(answer, headers=(*answer.headers, *_traced(trace), *limits))
    return write_denial(answer, deny, trace.of_refused(check, deny))


def write_free_answer(answer: HttpAnswer, trace: CallTrace) -> bytes:
    """The bytes of the CheckResponse for a request that quota answers itself, for example the list of models."""
    answer = replace(answer, headers=(*answer.headers, *_traced(trace)))
    return write_denial(answer, of_trace=trace.of_refused(None, None))


def _traced(trace: CallTrace) -> tuple[tuple[str, str], ...]:
    return ((TRACE_ID_HEADER, trace.trace_id),) if trace.trace_id else ()
