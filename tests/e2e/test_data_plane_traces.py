"""What Envoy does with traces: what it sends on, what it logs for the ledger's spans, and what its answers name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from services.kernel.trace_context import ALWAYS, begin_trace, span_id
from services.ledger.domain.call import SpooledAttempt, SpooledCall, parse_line
from tests.property.test_trace_context import REFUSED
from tests.worlds.data_plane import PROVIDER_KEY, VIRTUAL_KEY, DataPlane, read_all
from tests.worlds.data_plane_provider import Answer

pytestmark = pytest.mark.e2e

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
VALID = f"00-{TRACE_ID}-{PARENT_ID}-01"
CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "model": "main-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 36, "completion_tokens": 7, "total_tokens": 43},
}
DECIDED = '{"began_us":1,"took_us":2,"reason":"within_limits"}'


@pytest.fixture(scope="module")
def whole_plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("second")
        plane.publish()
        plane.wait(lambda: "second.openai" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(whole_plane: DataPlane) -> Iterator[DataPlane]:
    yield whole_plane
    whole_plane.clear()


def post(plane: DataPlane, **headers: str) -> httpx.Response:
    return plane.client.post("/v1/chat/completions", json=CHAT, headers=headers)


def parsed(line: dict[str, Any]) -> Any:
    return parse_line(line)


def test_each_attempt_sends_its_own_span_and_the_lines_say_what_spans_need(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second", traceparent=VALID, decided=DECIDED)
    plane.provider("main").answer = lambda _: Answer(status=500)
    plane.provider("second").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    request_id = post(plane, traceparent=VALID, tracestate="vendor=kept").headers["x-request-id"]

    (line,) = plane.calls()
    call: SpooledCall = parsed(line)
    attempts: list[SpooledAttempt] = [parsed(each) for each in plane.calls(2, kind="attempt")]
    assert (call.traceparent, call.decided, call.trace_id) == (VALID, DECIDED, TRACE_ID)
    expected = [f"00-{TRACE_ID}-{span_id(number, request_id)}-01" for number in (1, 2)]
    assert sorted(each.traceparent for each in attempts) == expected
    for name, sent in zip(("main", "second"), expected, strict=True):
        (received,) = plane.provider(name).received
        assert (received.headers["traceparent"], received.headers["tracestate"]) == (sent, "vendor=kept")
    # Each attempt lies within its call, to the microsecond.
    assert call.duration_us > 0
    for attempt in attempts:
        assert call.time_us <= attempt.time_us
        assert attempt.time_us + attempt.duration_us <= call.time_us + call.duration_us
        assert call.duration_ms <= call.duration_us / 1_000 < call.duration_ms + 2


def test_of_a_call_that_nobody_records_the_clients_own_header_passes(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", traceparent=f"{VALID[:-1]}0")
    post(plane, traceparent=VALID)
    (received,) = plane.provider("main").received
    assert received.headers["traceparent"] == VALID
    (line,) = plane.calls()
    assert parsed(line).traceparent == f"{VALID[:-1]}0"


def test_a_header_of_a_later_version_makes_no_line_too_long_to_be_booked(plane: DataPlane) -> None:
    """And what stands behind the part that we know may be a key."""
    plane.quota.decide = lambda _: plane.allow("main", traceparent=f"{VALID[:-1]}0")
    later = f"cc{VALID[2:]}-{VIRTUAL_KEY}{'x' * 20_000}"
    post(plane, traceparent=later)
    (line,) = plane.calls(1, kind="attempt")
    assert parsed(line).traceparent == later[:55]
    assert VIRTUAL_KEY not in plane.spool_text()
    assert plane.provider("main").received[0].headers["traceparent"] == later


HEADERS = [*REFUSED, VALID, f"00-{TRACE_ID}-{PARENT_ID}-ff", f"cc-{TRACE_ID}-{PARENT_ID}-00", f"cc{VALID[2:]}-later"]


@pytest.mark.parametrize("header", [header for header in HEADERS if header.isascii() and header == header.strip()])
def test_an_answer_of_envoys_own_names_the_same_trace_as_quota_would(plane: DataPlane, header: str) -> None:
    for answer in (
        plane.client.post("/nowhere", headers={"traceparent": header}),
        plane.client.post("/v1/chat/completions", content=b"{", headers={"traceparent": header}),
    ):
        assert answer.status_code in {400, 404}
        request_id = answer.headers["x-request-id"]
        context = begin_trace(header, request_id, ALWAYS)
        assert context is not None
        assert answer.headers["x-trace-id"] == context.trace_id
        assert answer.headers["request-id"] == request_id
        logged = plane.refused(answer).get("traceparent", "")
        assert begin_trace(logged, request_id, ALWAYS) == context


def test_two_headers_are_none_for_envoy_too(plane: DataPlane) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n"
    answer = read_all(plane, head + f"traceparent: {VALID}\r\n".encode() * 2 + b"\r\n")
    assert answer.headers["x-trace-id"] == answer.headers["x-request-id"].replace("-", "")


@pytest.mark.parametrize("given", [VALID, ""])
def test_a_call_that_quota_did_not_answer_names_its_trace(plane: DataPlane, given: str) -> None:
    def broken(_: Any) -> Any:
        raise grpc.RpcError

    plane.quota.decide = broken
    answer = post(plane, **({"traceparent": given} if given else {}))
    assert answer.status_code == 503
    context = begin_trace(given, answer.headers["x-request-id"], ALWAYS)
    assert context is not None
    assert answer.headers["x-trace-id"] == context.trace_id
    (line,) = plane.calls()
    assert begin_trace(line.get("traceparent") or "", line["id"], ALWAYS) == context


def test_an_answer_names_the_trace_that_quota_says_however_the_call_ends(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", traceparent=VALID, answer_headers={"x-trace-id": TRACE_ID})
    plane.provider("main").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    answered = post(plane, traceparent=VALID)
    plane.provider("main").hang_up = True
    cut = post(plane, traceparent=VALID)
    assert (answered.status_code, cut.status_code) == (200, 503)
    assert answered.headers.get_list("x-trace-id") == cut.headers.get_list("x-trace-id") == [TRACE_ID]


def test_no_key_is_in_any_line(plane: DataPlane) -> None:
    """Not even one that stands where a trace belongs."""
    plane.quota.decide = lambda _: plane.allow("main", traceparent=VALID, decided=DECIDED)
    for path in ("/v1beta/models/asked:generateContent", "/v1/chat/completions", "/v1/nothing"):
        for strange in (VIRTUAL_KEY, f"00-{VIRTUAL_KEY}-{PARENT_ID}-01", f"cc{VALID[2:]}-{VIRTUAL_KEY}"):
            answer = plane.client.post(
                f"{path}?key={VIRTUAL_KEY}", json={"contents": []}, headers={"traceparent": strange}
            )
            assert VIRTUAL_KEY not in str(answer.headers)
    plane.wait(lambda: plane.refused_text().count("\n") >= 3, "refusals are logged")
    logged = plane.spool_text() + plane.refused_text() + plane.envoy_log()
    assert VIRTUAL_KEY not in logged
    assert PROVIDER_KEY not in logged
