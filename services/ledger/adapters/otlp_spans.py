"""One span of cost for each booked call, in the trace of the call.

Names follow OpenTelemetry's GenAI conventions (semantic-conventions-genai, in development; the Python constants are
deprecated as moved, so they stand here). No convention for cost is merged: `gen_ai.usage.cost.*` is the proposed one,
a double, and `spendgate.cost_nano_usd` is exact.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.trace import SpanKind, Status, StatusCode

from services.chassis.telemetry import Telemetry, in_context, parent_of
from services.kernel.money import NANO_PER_USD
from services.ledger.domain.entry import Entry

_log = logging.getLogger("spendgate.ledger.spans")

_NANO_PER_MILLI = 1_000_000
# The convention's names of vendors whose preset is called otherwise.
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
Attribute = str | int | float | bool


class OtlpCostSpans:
    """Writes the spans, as `ports.CostSpans`. Does nothing without a receiver."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def emit(self, entries: Sequence[Entry]) -> None:
        """Writes one span for each entry that belongs to a trace. Never raises."""
        if not self._telemetry.enabled:
            return
        for entry in entries:
            try:
                self._emit(entry)
            except Exception:  # noqa: BLE001  (a trace that fails must not hold up the books)
                _log.exception("no span for call %s", entry.id)

    def _emit(self, entry: Entry) -> None:
        call = entry.call
        parent = parent_of(call.trace_id, call.span_id)
        if parent is None:
            return
        span = self._telemetry.tracer.start_span(
            f"chat {call.model_requested}",
            context=in_context(parent),
            kind=SpanKind.CLIENT,
            start_time=call.time_ms * _NANO_PER_MILLI,
            attributes=attributes_of(entry),
        )
        if call.status >= 400 or not call.status:
            span.set_attribute("error.type", str(call.status) if call.status else "client_left")
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=entry.end_ms * _NANO_PER_MILLI)


def attributes_of(entry: Entry) -> dict[str, Attribute]:
    """What the span says. A cost that is unknown is left out, never zero."""
    call, charge = entry.call, entry.charge
    provider, _, model = charge.target.partition("/")
    attributes: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDER_NAMES.get(provider, provider),
        "gen_ai.request.model": call.model_requested,
        "gen_ai.request.stream": call.stream,
        "gen_ai.response.model": call.response_model or model,
        "gen_ai.usage.input_tokens": charge.usage.input_tokens,
        "gen_ai.usage.output_tokens": charge.usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": charge.usage.cached_input_tokens,
        "gen_ai.usage.cache_write.input_tokens": (
            charge.usage.cache_write_5m_tokens + charge.usage.cache_write_1h_tokens
        ),
        "gen_ai.usage.reasoning.output_tokens": charge.usage.reasoning_tokens,
        "spendgate.team": call.caller.team,
        "spendgate.project": call.caller.project,
        "spendgate.environment": call.caller.environment,
        "spendgate.user": call.caller.user,
        "spendgate.key.id": call.caller.key_id,
        "spendgate.model.served": charge.target,
        "spendgate.decision": call.decision,
        "spendgate.reservation.id": entry.id,
        "spendgate.usage.source": charge.source.value,
        "spendgate.attempts": call.attempts,
    }
    if call.policy:
        attributes["spendgate.policy"] = call.policy
    if charge.cost_nano_usd is not None:
        attributes["spendgate.cost_nano_usd"] = charge.cost_nano_usd
        attributes["gen_ai.usage.cost.amount"] = charge.cost_nano_usd / NANO_PER_USD
        attributes["gen_ai.usage.cost.currency"] = "USD"
        attributes["gen_ai.usage.cost.source"] = "local"
    return attributes
