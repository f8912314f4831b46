from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode

from services.chassis.telemetry import Telemetry
from services.ledger.adapters.otlp_spans import OtlpCostSpans, attributes_of
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from tests.unit.ledger.lines import EPOCH, call, price_of


def entry(**changed: Any) -> Entry:
    parsed = call(7, **changed)
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 0)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> OtlpCostSpans:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtlpCostSpans(Telemetry(provider.get_tracer("test"), enabled=True, provider=provider))


def test_the_span_of_a_call_is_a_child_of_envoys_and_lasts_as_long_as_the_call(
    spans: OtlpCostSpans, exporter: InMemorySpanExporter
) -> None:
    spans.emit([entry()])

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("chat gpt-4o", SpanKind.CLIENT)
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (7, 7)
    assert (span.start_time, span.end_time) == (1_795_464_000_123_000_000, 1_795_464_000_973_000_000)
    assert span.status.status_code is StatusCode.UNSET


def test_attributes_name_who_what_and_how_much_and_have_their_types() -> None:
    assert attributes_of(entry(cached_tokens="400", cache_creation_tokens="300", reasoning_tokens="60")) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.cache_write.input_tokens": 300,
        "gen_ai.usage.reasoning.output_tokens": 60,
        "gen_ai.usage.cost.amount": 0.003,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
        "spendgate.cost_nano_usd": 3_000_000,
        "spendgate.team": "data-science",
        "spendgate.project": "forecasting",
        "spendgate.environment": "prod",
        "spendgate.user": "ada@example.com",
        "spendgate.key.id": "key_1",
        "spendgate.model.served": "openai/gpt-4o",
        "spendgate.decision": "allow",
        "spendgate.policy": "ds-prod",
        "spendgate.reservation.id": "reservation-7",
        "spendgate.usage.source": "provider",
        "spendgate.attempts": 1,
    }


def test_an_unknown_cost_is_left_out() -> None:
    attributes = attributes_of(entry(chain="gemini/pro"))

    assert [name for name in attributes if "cost" in name] == []
    assert attributes["gen_ai.provider.name"] == "gcp.gemini"


@pytest.mark.parametrize(("status", "error"), [(500, "500"), (0, "client_left")])
def test_a_call_that_failed_says_so(
    spans: OtlpCostSpans, exporter: InMemorySpanExporter, status: int, error: str
) -> None:
    spans.emit([entry(status=status)])

    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == error


@pytest.mark.parametrize("trace_id", [None, "xyz", "0" * 32])
def test_a_call_without_a_trace_has_no_span(
    spans: OtlpCostSpans, exporter: InMemorySpanExporter, trace_id: str | None
) -> None:
    spans.emit([entry(trace_id=trace_id)])

    assert exporter.get_finished_spans() == ()


def test_a_tracer_that_fails_raises_nothing_and_the_next_call_has_its_span(
    spans: OtlpCostSpans, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "services.ledger.adapters.otlp_spans.attributes_of"
    with monkeypatch.context() as patch:
        patch.setattr(module, lambda _: 1 // 0)
        spans.emit([entry()])
    spans.emit([entry()])

    assert len(exporter.get_finished_spans()) == 1


def test_nothing_is_computed_without_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.adapters.otlp_spans.attributes_of", lambda _: pytest.fail("computed"))

    OtlpCostSpans(Telemetry(NoOpTracer(), enabled=False, provider=None)).emit([entry()])
