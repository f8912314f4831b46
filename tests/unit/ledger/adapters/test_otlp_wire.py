"""Spans as bytes, as OpenTelemetry's own messages read them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status

from services.ledger.adapters.otlp_wire import (
    Attribute,
    Identity,
    Kind,
    attributes,
    export_request,
    span,
    uncached_text,
)

IDENTITY = Identity("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7")

texts = st.text(st.characters(codec="utf-8"), max_size=200)
values: st.SearchStrategy[Attribute] = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=20).map(tuple),
)


def read(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(read(each) for each in value.array_value.values)
    return getattr(value, kind)


@given(texts, st.dictionaries(texts, values), st.integers(0, 2**53), st.integers(0, 2**40))
def test_a_span_is_read_as_it_was_meant(name: str, said: dict[str, Attribute], start_us: int, length_us: int) -> None:
    made = Span.FromString(span(IDENTITY, name, Kind.CLIENT, (start_us, start_us + length_us), attributes(said)))

    assert (made.trace_id.hex(), made.span_id.hex(), made.parent_span_id.hex()) == IDENTITY[:3]
    assert (made.name, made.kind) == (name, Span.SPAN_KIND_CLIENT)
    assert (made.start_time_unix_nano, made.end_time_unix_nano) == (start_us * 1_000, (start_us + length_us) * 1_000)
    found = {each.key: read(each.value) for each in made.attributes}
    assert found == {name: value for name, value in said.items() if value != ""}
    assert {name: type(value) for name, value in found.items()} == {name: type(said[name]) for name in found}
    assert made.status.code == Status.STATUS_CODE_UNSET
    assert len(UnknownFieldSet(made)) == 0


def test_a_flag_and_a_number_that_are_equal_in_python_keep_their_types() -> None:
    said: dict[str, Attribute] = {"a": True, "b": 1, "c": 1.0}
    for order in (said, dict(reversed(said.items()))):
        made = Span.FromString(b"".join(attributes({"x": value}) for value in order.values()))
        assert [type(read(each.value)) for each in made.attributes] == [type(value) for value in order.values()]


@pytest.mark.parametrize("kind", Kind)
def test_kinds_are_those_of_the_standard(kind: Kind) -> None:
    made = Span.FromString(span(IDENTITY, "", kind, (1, 2), b""))
    assert Span.SpanKind.Name(made.kind) == f"SPAN_KIND_{kind.name}"


def test_a_failed_span_says_so() -> None:
    made = Span.FromString(span(IDENTITY, "", Kind.CLIENT, (1, 2), b"", failed=True))
    assert made.status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(("remote", "parent"), [(True, "00f067aa0ba902b7"), (False, "00f067aa0ba902b7"), (False, "")])
def test_a_span_says_whether_its_parent_is_elsewhere(*, remote: bool, parent: str) -> None:
    identity = IDENTITY._replace(parent_id=parent, is_parent_remote=remote)
    made = Span.FromString(span(identity, "", Kind.SERVER, (1, 2), b""))
    assert made.parent_span_id.hex() == parent
    assert made.flags & SpanFlags.SPAN_FLAGS_TRACE_FLAGS_MASK == 1
    assert made.flags & SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    assert bool(made.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK) is remote


def test_a_span_never_ends_before_it_begins() -> None:
    made = Span.FromString(span(IDENTITY, "", Kind.CLIENT, (20, 10), b""))
    assert made.start_time_unix_nano == made.end_time_unix_nano == 20_000


def test_a_request_has_the_spans_of_each_service_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=lab")
    first, second = (span(IDENTITY, name, Kind.CLIENT, (1, 2), uncached_text("is", name)) for name in ("a", "b"))
    request = ExportTraceServiceRequest.FromString(
        export_request([("one-service", [first, second]), ("another", [first]), ("none", [])])
    )

    found = {}
    for group in request.resource_spans:
        resource = {each.key: read(each.value) for each in group.resource.attributes}
        assert resource["deployment.environment"] == "lab"
        (scope,) = group.scope_spans
        assert scope.scope.name == "spendgate"
        found[resource["service.name"]] = [each.name for each in scope.spans]
    assert found == {"one-service": ["a", "b"], "another": ["a"]}
