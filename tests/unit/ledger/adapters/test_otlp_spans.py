from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from services.ledger.adapters.otlp_spans import OtlpCostSpans, attributes_of, span_of
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from tests.worlds.spool_lines import EPOCH, call, price_of

MODULE = "services.ledger.adapters.otlp_spans"


def entry(number: int = 7, **changed: Any) -> Entry:
    parsed = call(number, **changed)
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 0)


def span(**changed: Any) -> Span:
    made = span_of(entry(**changed))
    assert made is not None
    return made


def written(span: Span) -> dict[str, Any]:
    """Attributes as they were written, with their types."""
    values = {each.key: each.value for each in span.attributes}
    assert len(values) == len(span.attributes)
    return {name: getattr(value, value.WhichOneof("value") or "") for name, value in values.items()}


class Receiver:
    """Takes spans once `is_open` is set; while `is_broken` it fails instead."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_broken = False
        self.requests: list[ExportTraceServiceRequest] = []

    def __call__(self, request: ExportTraceServiceRequest) -> None:
        self.is_open.wait(10)
        if self.is_broken:
            raise ConnectionError
        self.requests.append(request)

    @property
    def trace_ids(self) -> list[int]:
        """Of all spans received, in order."""
        return [
            int.from_bytes(span.trace_id)
            for request in self.requests
            for span in request.resource_spans[0].scope_spans[0].spans
        ]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def spans(receiver: Receiver) -> Iterator[OtlpCostSpans]:
    writing = OtlpCostSpans("spendgate-ledger", receiver)
    writing.start()
    yield writing
    receiver.is_open.set()
    writing.stop()


def test_the_span_of_a_call_is_a_child_of_envoys_and_lasts_as_long_as_the_call() -> None:
    made = span()

    assert (made.name, made.kind) == ("chat gpt-4o", Span.SPAN_KIND_CLIENT)
    assert (made.trace_id, made.parent_span_id) == ((7).to_bytes(16), (7).to_bytes(8))
    assert len(made.span_id) == 8
    assert made.span_id != span().span_id
    assert (made.start_time_unix_nano, made.end_time_unix_nano) == (
        1_795_464_000_123_000_000,
        1_795_464_000_973_000_000,
    )
    assert made.status.code == Status.STATUS_CODE_UNSET


def test_attributes_are_written_with_their_types() -> None:
    booked = entry()
    expected = attributes_of(booked)

    found = written(span())

    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


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
def test_a_call_that_failed_says_so(status: int, error: str) -> None:
    made = span(status=status)

    assert made.status.code == Status.STATUS_CODE_ERROR
    assert written(made)["error.type"] == error


@pytest.mark.parametrize("trace_id", [None, "xyz", "0" * 32, "7" * 30])
def test_a_call_without_a_trace_has_no_span(trace_id: str | None) -> None:
    assert span_of(entry(trace_id=trace_id)) is None


def test_a_batch_is_sent_in_one_request_that_names_the_service(spans: OtlpCostSpans, receiver: Receiver) -> None:
    spans.emit([entry(1), entry(2, trace_id=None), entry(3)])
    spans.stop()

    assert receiver.trace_ids == [1, 3]
    (request,) = receiver.requests
    resource = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "spendgate-ledger"


def test_a_span_that_fails_takes_no_other_along(
    spans: OtlpCostSpans, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_the_first(booked: Entry) -> dict[str, Any]:
        return {"of": booked.id} if booked.call.trace_id.endswith("2") else {"of": str(1 // 0)}

    monkeypatch.setattr(f"{MODULE}.attributes_of", fails_for_the_first)
    spans.emit([entry(1), entry(2)])
    spans.stop()

    assert receiver.trace_ids == [2]


def test_a_receiver_that_breaks_is_complained_of_once_and_gets_the_next_batch(
    spans: OtlpCostSpans, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.is_open.clear()
    receiver.is_broken = True
    for number in (1, 2):
        spans.emit([entry(number)])
    receiver.is_open.set()
    spans.stop()
    assert [record.message for record in caplog.records] == [
        "the receiver of traces takes no spans: ConnectionError; they are dropped"
    ]

    receiver.is_broken = False
    again = OtlpCostSpans("spendgate-ledger", receiver)
    again.start()
    again.emit([entry(3)])
    again.stop()
    assert receiver.trace_ids == [3]


def test_a_slow_receiver_holds_nobody_up_and_what_does_not_fit_is_dropped(
    spans: OtlpCostSpans, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.is_open.clear()
    for number in range(1, 101):
        spans.emit([entry(number)])
    receiver.is_open.set()
    spans.stop()

    assert receiver.trace_ids[:10] == list(range(1, 11))
    assert len(receiver.trace_ids) < 100
    assert "dropped" in caplog.text


def test_nothing_is_computed_without_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.attributes_of", lambda _: pytest.fail("computed"))

    silent = OtlpCostSpans("spendgate-ledger", None)
    silent.start()
    silent.emit([entry()])
    silent.stop()
