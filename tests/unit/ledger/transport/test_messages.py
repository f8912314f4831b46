from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_numbers
from services.kernel.errors import InvalidInput
from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage, UsageSource
from services.ledger.domain.call import Caller
from services.ledger.domain.entry import BookedAttempt, BookedCall
from services.ledger.domain.selection import SUM_DIMENSIONS
from services.ledger.transport.messages import call_message, usage_query

CALL = BookedCall(
    sequence=1,
    id="rsv_1",
    request_id="request",
    time_ms=1_795_464_000_123,
    caller=Caller("key-id", "key", "team", "project", "environment", "user"),
    model_requested="asked",
    model_served="lab/served",
    status=200,
    outcome="completed",
    usage_source=UsageSource.PROVIDER,
    usage=Usage(
        100, 40, {CACHED_INPUT: 20, CACHE_WRITE_5M: 3, CACHE_WRITE_1H: 4, REASONING: 5}, service_tier="priority"
    ),
    cost_nano_usd=7,
    trace_id="trace",
    duration_ms=850,
    first_byte_ms=120,
    decision="allow",
    dialect="openai",
    operation="responses",
    stream=True,
    tags="feature=search",
    run="nightly",
    retry_of="rsv_0",
    retry_count=2,
    retries=3,
    unknown_members=("new_member",),
    price_options=("service_tier=priority",),
    downgraded="budget",
    left_out=("lab/tiny=images",),
    attempts=(BookedAttempt("lab/served", 200, 800, 7, ""),),
)


def test_a_message_of_a_call_leaves_no_field_of_the_contract_out() -> None:
    message = call_message(CALL)
    filled = {field.name for field, _ in message.ListFields()}
    assert filled == set(message.DESCRIPTOR.fields_by_name)
    assert {field.name for field, _ in message.attribution.ListFields()} == set(
        message.attribution.DESCRIPTOR.fields_by_name
    )


def test_a_field_of_the_same_name_has_the_same_value() -> None:
    message = call_message(CALL)
    same = ("id", "request_id", "model_requested", "model_served", "status", "trace_id", "run")
    assert [getattr(message, name) for name in same] == [getattr(CALL, name) for name in same]
    assert (message.latency.ToMilliseconds(), message.first_byte_latency.ToMilliseconds()) == (850, CALL.first_byte_ms)
    assert message.attribution.user == "user"
    assert (list(message.unknown_members), message.retry_of, message.retries) == (["new_member"], "rsv_0", 3)


def test_what_the_books_say_in_texts_is_an_enum_on_the_wire() -> None:
    message = call_message(replace(CALL, decision="downgrade", dialect="gemini", outcome="client_cancelled"))

    assert (message.outcome, message.usage_source) == (pb.Call.OUTCOME_CLIENT_CANCELLED, pb.USAGE_SOURCE_PROVIDER)
    assert (message.decision, message.dialect) == (pb.Call.DECISION_DOWNGRADE, dialect_pb2.DIALECT_GEMINI)


@pytest.mark.parametrize("text", ["", "klingon"])
def test_a_text_that_nobody_wrote_or_that_is_unknown_has_no_number(text: str) -> None:
    attempt = BookedAttempt("lab/served", 0, 800, None, text)
    message = call_message(replace(CALL, decision=text, dialect=text, outcome=text, attempts=(attempt,)))

    assert (message.outcome, message.decision) == (pb.Call.OUTCOME_UNSPECIFIED, pb.Call.DECISION_UNSPECIFIED)
    assert (message.dialect, message.attempts[0].failure) == (0, pb.Attempt.FAILURE_UNSPECIFIED)


@pytest.mark.parametrize("kind", ["refused", "timeout", "reset"])
def test_each_failure_of_an_attempt_has_a_number(kind: str) -> None:
    message = call_message(replace(CALL, attempts=(BookedAttempt("lab/served", 0, 800, None, kind),)))

    assert message.attempts[0].failure == pb.Attempt.Failure.Value(f"FAILURE_{kind.upper()}")


def test_a_call_without_a_first_byte_has_no_time_to_it() -> None:
    assert not call_message(replace(CALL, first_byte_ms=0)).HasField("first_byte_latency")


@pytest.mark.parametrize(("numbers", "field"), [([1, 99], "group_by[1]"), ([0], "group_by[0]"), ([1, 1], "group_by")])
def test_a_dimension_is_refused_by_its_path(numbers: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        usage_query(pb.QueryUsageRequest(group_by=numbers))
    assert caught.value.field == field


def test_usage_is_summed_by_every_dimension_that_sums_have() -> None:
    query = usage_query(pb.QueryUsageRequest(group_by=enum_numbers(pb.UsageDimension).values()))

    assert set(query.group_by) == SUM_DIMENSIONS
