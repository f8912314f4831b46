from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.telemetry import Telemetry
from services.quota.transport.decision_span import DecisionSpans
from tests.worlds.quota import World, spend

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(("without_counters", "reason"), [(False, "within_limits"), (True, "allowance")])
def test_a_span_says_that_an_allowance_paid_for_the_call(*, without_counters: bool, reason: str) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = DecisionSpans(Telemetry(provider.get_tracer("test"), enabled=True, provider=provider))
    admitted = replace(World((spend("team", 9),)).let(), without_counters=without_counters)
    spans.finish(spans.start(TRACEPARENT), "dear", admitted)
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["spendgate.decision.reason"] == reason
