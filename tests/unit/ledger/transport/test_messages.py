from __future__ import annotations

from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage, UsageSource
from services.ledger.domain.call import Caller
from services.ledger.domain.entry import BookedAttempt, BookedCall
from services.ledger.transport.messages import call_message

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
    stream=True,
    tags="feature=search",
    run="nightly",
    retry_of="rsv_0",
    retry_count=2,
    retries=3,
    unknown_members=("new_member",),
    price_options=("service_tier=priority",),
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
    same = ("id", "request_id", "model_requested", "model_served", "status", "outcome", "trace_id", "decision", "run")
    assert [getattr(message, name) for name in same] == [getattr(CALL, name) for name in same]
    assert (message.usage_source, message.latency_ms, message.attribution.user) == ("provider", 850, "user")
    assert (list(message.unknown_members), message.retry_of, message.retries) == (["new_member"], "rsv_0", 3)
