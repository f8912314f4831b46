from __future__ import annotations

from typing import Any

import pytest

from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage
from services.ledger.domain.call import SpooledAttempt, parse_line
from services.ledger.domain.line_fields import UnreadableLineError
from tests.worlds.spool_lines import NO_USAGE, attempt, attempt_fields, call, call_fields


def test_a_line_of_a_call_is_read_whole() -> None:
    parsed = call(7)

    assert (parsed.request_id, parsed.reservation) == ("request-7", "reservation-7")
    assert parsed.time_ms == 1_795_464_000_123
    assert parsed.chain == ("openai/gpt-4o", "lab/tiny")
    assert parsed.usage == Usage(input_tokens=1_000, output_tokens=100)
    assert parsed.expected == Usage(input_tokens=900, output_tokens=300)
    assert parsed.caller.user == "ada@example.com"
    assert parsed.prefixes == ("0123456789abcdef", "", "", "")


@pytest.mark.parametrize(
    ("fields", "operation"),
    [({}, "chat"), ({"operation": "embeddings"}, "embeddings"), ({"dialect": None}, "")],
    ids=["without a mark", "marked", "unread"],
)
def test_a_call_asks_for_a_chat_unless_it_is_marked_and_its_body_was_read(
    fields: dict[str, Any], operation: str
) -> None:
    assert call(7, **fields).operation == operation


def test_a_line_of_an_attempt_is_read_whole() -> None:
    assert attempt(7, 2, status=503, flags="UC", failure="-") == SpooledAttempt(
        request_id="request-7",
        attempt=2,
        time_ms=1_795_464_000_130,
        time_us=1_795_464_000_130_000,
        status=503,
        flags="UC",
        details="via_upstream",
        duration_ms=800,
        first_byte_ms=110,
        cluster="openai.openai",
        failure="",
    )


@pytest.mark.parametrize("unknown", [None, "-", "", "absent"])
def test_a_value_that_envoy_does_not_know_is_empty_or_zero(unknown: str | None) -> None:
    fields = call_fields(bytes_sent=unknown, policy=unknown if unknown != "" else None)
    if unknown == "absent":
        del fields["bytes_sent"], fields["policy"]

    parsed = parse_line(fields)

    assert not isinstance(parsed, SpooledAttempt)
    assert (parsed.bytes_sent, parsed.policy) == (0, "")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": "other"}, "kind"),
        ({"kind": None}, "kind"),
        ({"id": None}, "id"),
        ({"time": None}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-11-23T20:00:00.123"}, "time"),
        ({"time": 12}, "time"),
        ({"status": "abc"}, "status"),
        ({"status": -1}, "status"),
        ({"status": True}, "status"),
        ({"status": 1.5}, "status"),
        ({"status": [200]}, "status"),
        ({"bytes_sent": 2**63}, "bytes_sent"),
        ({"input_tokens": "9" * 30}, "input_tokens"),
        ({"team": 5}, "team"),
        ({"team": {"name": "x"}}, "team"),
        ({"tags": "x" * 5_000}, "tags"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
def test_a_wrong_field_is_named_and_never_quoted(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(UnreadableLineError) as caught:
        parse_line(call_fields(**changed))

    assert str(caught.value).startswith(named)
    assert "yesterday" not in str(caught.value)


@pytest.mark.parametrize("number", [0, 1_001])
def test_an_attempt_has_a_sane_number(number: int) -> None:
    with pytest.raises(UnreadableLineError):
        parse_line(attempt_fields(attempt=number))


@pytest.mark.parametrize("status", ["1", "COMPLETE", 1])
def test_a_complete_extraction_counts_as_the_providers_report_zeros_included(status: str | int) -> None:
    assert call(usage_status=status, input_tokens="0", output_tokens="0").usage == Usage()


@pytest.mark.parametrize(
    "changed", [NO_USAGE, {"usage_status": "2"}, {"usage_status": "PARTIAL"}, {**NO_USAGE, "usage_status": "1"}]
)
def test_an_incomplete_extraction_does_not_count_as_the_providers_report(changed: dict[str, Any]) -> None:
    assert call(**changed).usage is None


def test_written_cache_is_for_an_hour_only_if_the_request_says_so() -> None:
    written: dict[str, Any] = {"cached_tokens": "200", "cache_creation_tokens": "300"}

    assert call(**written).usage == Usage(1_000, 100, {CACHED_INPUT: 200, CACHE_WRITE_5M: 300})
    assert call(**written, features="cache_1h,tools").usage == Usage(
        1_000, 100, {CACHED_INPUT: 200, CACHE_WRITE_1H: 300}
    )


def test_a_whole_that_is_smaller_than_its_part_was_counted_without_it() -> None:
    assert call(output_tokens="10", reasoning_tokens="90").usage == Usage(1_000, 100, {REASONING: 90})
    assert call(input_tokens="10", cached_tokens="90").usage == Usage(100, 100, {CACHED_INPUT: 90})
