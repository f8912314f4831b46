"""Makes the spans of a request from its lines: the call, the decision, each attempt, and what it cost.

Names follow OpenTelemetry's GenAI conventions (semantic-conventions-genai, in development; the Python constants are
deprecated as moved, so the names are spelled out here). The conventions have no name for cost yet:
`gen_ai.usage.cost.*` is proposed, a double, and `spendgate.cost_nano_usd` is exact. `docs/tracing.md` lists all.

Each span is its service's that did the work, so a trace shows where a call spent its time. No span has a prompt, an
answer or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

import orjson

from services.kernel.endpoint import ENDPOINTS, VERB, Operation
from services.kernel.money import NANO_PER_USD, format_usd
from services.kernel.spool_contract import DecidedKey
from services.kernel.trace_context import (
    CALL_SPAN,
    COST_SPAN,
    DECISION_SPAN,
    Sampling,
    TraceContext,
    begin_trace,
    read_traceparent,
    span_id,
)
from services.ledger.adapters.otlp_wire import Attribute, Identity, Kind, attribute, attributes, span, uncached_text
from services.ledger.domain.call import Caller, SpooledAttempt, SpooledCall
from services.ledger.domain.entry import Entry
from services.ledger.domain.outcome import Outcome
from services.ledger.domain.refusal import Refusal
from services.ledger.domain.traced import Traced

ENVOY, QUOTA, LEDGER = "spendgate-envoy", "spendgate-quota", "spendgate-ledger"
"""The services that spans belong to."""

MadeSpan = tuple[str, bytes]
"""A span and its service."""

_CALLERS_MAX = 4_096
# The convention's names for vendors whose preset has another name.
_PROVIDER_NAMES = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
}
_POLICIES = {"spendgate.policy.ids": DecidedKey.POLICIES, "spendgate.policy.shadowed": DecidedKey.SHADOWED}
# Each attempt rewrites the path, so a call's line has none.
_ROUTES = {
    (row.dialect.value, row.operation.value, streams): row.paths[-1].replace(VERB, verb)
    for row in ENDPOINTS
    for verb, streams in row.verbs.items() or (("", False), ("", True))
}
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#spans
_OPERATION_NAMES = {
    Operation.RESPOND.value: "chat",
    Operation.EMBED_BATCH.value: "embeddings",
    Operation.COMPLETE.value: "text_completion",
}
"""The convention's words for operations that it calls otherwise. It has none for some, and lets us use our own."""
# A duration in milliseconds is rounded down, and no span of a call may end after the call.
_ROUNDED_US = 999


def spans_by_part(traced: Traced, sampling: Sampling) -> Iterable[tuple[str, Callable[[], list[MadeSpan]]]]:
    """Yields each part of a batch: its name, and the function that makes its spans. Quota has the same `sampling`."""
    for entry in traced.entries:
        yield entry.id, partial(spans_of_entry, entry)
    for attempt in traced.attempts:
        yield attempt.request_id, partial(spans_of_attempt, attempt)
    for call in traced.unanswered:
        yield call.request_id, partial(spans_of_unanswered, call, sampling)
    for refusal in traced.refusals:
        yield refusal.request_id, partial(spans_of_refusal, refusal, sampling)


def spans_of_entry(entry: Entry) -> list[MadeSpan]:
    """Returns the spans of call, decision and cost; none if its trace is not recorded."""
    call, context = entry.call, entry.call.trace
    if context is None or not context.recorded:
        return []
    caller = _of_caller(call.caller)
    decided = _read_decided(call.decided)
    own = uncached_text("spendgate.reservation.id", entry.id) + caller
    made = [_call_span(call, context, own + attributes(_attributes_of_call(entry)))]
    if decided:
        said = attributes(_attributes_of_decision(call, decided))
        made.append(_decision_span(call.request_id, context, decided, own + said))
    made.append((LEDGER, _cost_span(entry, context, own)))
    return made


def spans_of_attempt(attempt: SpooledAttempt) -> list[MadeSpan]:
    """Returns the span of an attempt; none if its trace is not recorded."""
    sent = read_traceparent(attempt.traceparent)
    if sent is None or sent.span_id != span_id(attempt.attempt, attempt.request_id):
        # The client's own header passed.
        return []
    failed = attempt.status >= 400 or not attempt.status
    operation = _operation_name(attempt.operation or Operation.CHAT.value)
    values: dict[str, Attribute] = {
        "gen_ai.operation.name": operation,
        "spendgate.attempt": attempt.attempt,
        **_status(attempt.status),
        "error.type": (str(attempt.status) if attempt.status else attempt.failure_kind) if failed else "",
    }
    identity = Identity(sent.trace_id, sent.span_id, span_id(CALL_SPAN, attempt.request_id))
    end_us = attempt.time_us + (attempt.duration_us or attempt.duration_ms * 1_000)
    name = f"{operation} {attempt.cluster}"
    return [
        (ENVOY, span(identity, name, Kind.CLIENT, (attempt.time_us, end_us), attributes(values), failed=failed)),
    ]


def spans_of_unanswered(call: SpooledCall, sampling: Sampling) -> list[MadeSpan]:
    """Returns the span of a call that quota did not answer in time; none if its trace is not recorded."""
    context = begin_trace(call.traceparent, call.request_id, sampling)
    if context is None or not context.recorded:
        return []
    values: dict[str, Attribute] = {
        "gen_ai.operation.name": _operation_name(call.operation),
        "gen_ai.request.model": call.model_requested,
    }
    return [_call_span(call, context, attributes(values))]


def spans_of_refusal(refusal: Refusal, sampling: Sampling) -> list[MadeSpan]:
    """Returns the span of a refused request, and of the decision if quota refused it; none if not recorded."""
    context = begin_trace(refusal.traceparent, refusal.request_id, sampling)
    if context is None or not context.recorded:
        return []
    decided = _read_decided(refusal.decided)
    said: dict[str, Attribute] = {}
    if decided:
        said = {
            "gen_ai.request.model": str(decided.get(DecidedKey.MODEL, "")),
            "spendgate.decision": "deny",
            "spendgate.decision.reason": str(decided.get(DecidedKey.REASON, "")),
            "spendgate.policy.binding": str(decided.get(DecidedKey.POLICY, "")),
        }
    end_us = refusal.time_us + (refusal.duration_us or refusal.duration_ms * 1_000 + _ROUNDED_US)
    values: dict[str, Attribute] = {"http.request.method": refusal.method, **_status(refusal.status), **said}
    name, times_us = f"{refusal.method} {refusal.path}", (refusal.time_us, end_us)
    identity = _identity(context, CALL_SPAN, refusal.request_id)
    failed = refusal.status >= 500
    made = [(ENVOY, span(identity, name, Kind.SERVER, times_us, attributes(values), failed=failed))]
    if decided:
        made.append(_decision_span(refusal.request_id, context, decided, attributes(said)))
    return made


def _operation_name(operation: str) -> str:
    return _OPERATION_NAMES.get(operation, operation)


def _call_span(call: SpooledCall, context: TraceContext, said: bytes) -> MadeSpan:
    route = _ROUTES.get((call.dialect, call.operation, call.stream), "")
    values: dict[str, Attribute] = {"http.request.method": "POST", "http.route": route, **_status(call.status)}
    failed = call.status >= 500 or not call.status or call.outcome is Outcome.PROVIDER_CUT
    identity = _identity(context, CALL_SPAN, call.request_id)
    made = span(identity, f"POST {route}", Kind.SERVER, _times_of(call), said + attributes(values), failed=failed)
    return ENVOY, made


def _decision_span(request_id: str, context: TraceContext, decided: Mapping[str, Any], said: bytes) -> MadeSpan:
    began_us = int(decided[DecidedKey.BEGAN_US])
    times_us = (began_us, began_us + int(decided.get(DecidedKey.TOOK_US, 0)))
    return QUOTA, span(_identity(context, DECISION_SPAN, request_id), "quota.reserve", Kind.SERVER, times_us, said)


def _cost_span(entry: Entry, context: TraceContext, own: bytes) -> bytes:
    call = entry.call
    values = attributes_of_cost(entry)
    failed = call.status >= 400 or not call.status
    if failed:
        values["error.type"] = str(call.status) if call.status else "client_left"
    elif call.outcome is Outcome.PROVIDER_CUT:
        failed, values["error.type"] = True, call.reading.error or str(call.outcome)
    identity, name = (
        _identity(context, COST_SPAN, call.request_id),
        f"{_operation_name(call.operation)} {call.model_requested}",
    )
    return span(identity, name, Kind.CLIENT, _times_of(call), own + attributes(values), failed=failed)


def _identity(context: TraceContext, number: int, request_id: str) -> Identity:
    own = span_id(number, request_id)
    if number == CALL_SPAN:
        return Identity(context.trace_id, own, context.parent_id, is_parent_remote=bool(context.parent_id))
    return Identity(context.trace_id, own, span_id(CALL_SPAN, request_id))


def _times_of(call: SpooledCall) -> tuple[int, int]:
    return call.time_us, call.time_us + (call.duration_us or call.duration_ms * 1_000 + _ROUNDED_US)


def _status(status: int) -> dict[str, Attribute]:
    """The status under its current name, and under the older one by which many backends still search."""
    return {"http.response.status_code": status, "http.status_code": status} if status else {}


def _read_decided(text: str) -> dict[str, Any]:
    return orjson.loads(text) if text else {}


@lru_cache(_CALLERS_MAX)
def _of_caller(caller: Caller) -> bytes:
    return b"".join(
        attribute(name, value)
        for name, value in (
            ("spendgate.key.id", caller.key_id),
            ("spendgate.team", caller.team),
            ("spendgate.project", caller.project),
            ("spendgate.environment", caller.environment),
            ("spendgate.user", caller.user),
        )
        if value
    )


def _attributes_of_call(entry: Entry) -> dict[str, Attribute]:
    call = entry.call
    values: dict[str, Attribute] = {
        "gen_ai.operation.name": _operation_name(call.operation),
        "gen_ai.request.model": call.model_requested,
        "gen_ai.response.model": call.response_model,
        "spendgate.target": call.chain[call.attempts - 1] if 1 <= call.attempts <= len(call.chain) else "",
        "spendgate.attempts": call.attempts,
        "spendgate.decision": call.decision,
        "spendgate.policy.binding": call.policy,
    }
    if call.usage is not None:
        values["gen_ai.usage.input_tokens"] = call.usage.input_tokens
        values["gen_ai.usage.output_tokens"] = call.usage.output_tokens
    return values


def _attributes_of_decision(call: SpooledCall, decided: Mapping[str, Any]) -> dict[str, Attribute]:
    values: dict[str, Attribute] = {
        "gen_ai.request.model": call.model_requested,
        "spendgate.decision": call.decision,
        "spendgate.decision.reason": str(decided.get(DecidedKey.REASON, "")),
        "spendgate.policy.binding": call.policy,
        "spendgate.reservation.amount_usd": format_usd(int(decided.get(DecidedKey.HELD_NANO_USD, 0))),
        "spendgate.chain": call.chain,
    }
    for name, key in _POLICIES.items():
        if joined := decided.get(key):
            values[name] = tuple(str(joined).split(","))
    if cap := decided.get(DecidedKey.OUTPUT_CAP_TOKENS):
        values["spendgate.output_cap_tokens"] = int(cap)
    return values


def attributes_of_cost(entry: Entry) -> dict[str, Attribute]:
    """Returns the attributes of the cost's span, except for its caller and reservation. An unknown cost is left out."""
    call, charge = entry.call, entry.charge
    provider, _, model = charge.target.partition("/")
    usage = charge.usage
    values: dict[str, Attribute] = {
        "gen_ai.operation.name": _operation_name(call.operation),
        "gen_ai.provider.name": _PROVIDER_NAMES.get(provider, provider),
        "gen_ai.request.model": call.model_requested,
        "gen_ai.request.stream": call.stream,
        "gen_ai.response.model": call.response_model or model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "spendgate.model.served": charge.target,
        "spendgate.decision": call.decision,
        "spendgate.usage.source": charge.source.value,
        "spendgate.attempts": call.attempts,
        "spendgate.policy": call.policy,
    }
    if charge.cost_nano_usd is not None:
        values["spendgate.cost_nano_usd"] = charge.cost_nano_usd
        values["gen_ai.usage.cost.amount"] = charge.cost_nano_usd / NANO_PER_USD
        values["gen_ai.usage.cost.currency"] = "USD"
        values["gen_ai.usage.cost.source"] = "local"
    return values
