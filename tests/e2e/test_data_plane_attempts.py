"""Walking the chain: what ends an attempt, what the next one gets, and what is on record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from spendgate_envoy.envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from services.kernel.dialect import Dialect
from services.router.domain.attempt import Outcome
from services.router.transport.access_log_service import read_report
from tests.worlds.data_plane import PROVIDER_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.ports import free_port

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
SLOW_AFTER_150_MS = {"x-envoy-upstream-rq-per-try-timeout-ms": "150"}
SLOW_AFTER_1_S = {"x-envoy-upstream-rq-per-try-timeout-ms": "1000"}


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    # The two hundred threads of this process slow down the scripted quota.
    with DataPlane() as plane:
        for name in ("second", "third"):
            plane.add_provider(name)
        plane.add_dead_provider("dead", free_port())
        plane.add_provider("open", secret_name="")
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.publish()
        plane.wait(lambda: "third.openai" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


@pytest.mark.parametrize("status", [500, 502, 503, 529, 429, 401, 403, 404, 408, 409])
def test_a_failing_target_is_followed_by_the_next_in_the_same_request(plane: DataPlane, status: int) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").answer = lambda _: Answer(status=status)
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 200
    assert response.headers["x-spendgate-attempts"] == "2"
    assert response.headers["x-spendgate-model-served"] == "second/up"
    assert "x-should-retry" not in response.headers
    (seen,) = plane.provider("second").received
    assert seen.json == CHAT | {"model": "second-model"}
    assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEY}-second"
    assert seen.headers["host"] == "second.test"
    (call,) = plane.calls()
    assert (call["attempts"], call["chain"], call["cluster"]) == (2, "main/up,second/up", "second.openai")
    attempts = plane.calls(2, kind="attempt")
    assert [(line["attempt"], line["cluster"]) for line in attempts] == [("1", "main.openai"), ("2", "second.openai")]
    assert {line["id"] for line in attempts} == {call["id"]}
    assert attempts[1]["status"] == 200


def test_a_client_error_of_the_provider_is_the_clients_answer(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").answer = lambda _: Answer(status=400, body=b'{"error":{"message":"bad"}}')
    response = plane.client.post(PATH, json=CHAT)
    assert (response.status_code, response.text) == (400, '{"error":{"message":"bad"}}')
    assert plane.provider("second").received == []


def test_a_target_that_refuses_connections_is_followed_by_the_next(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("dead", "second")
    assert plane.client.post(PATH, json=CHAT).status_code == 200
    first, second = plane.calls(2, kind="attempt")
    assert (first["cluster"], first["status"], first["flags"]) == ("dead.openai", 0, "UF")
    assert first["failure"]
    assert (second["attempt"], second["status"]) == ("2", 200)


def test_a_target_that_breaks_off_before_its_answer_is_followed_by_the_next(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").hang_up = True
    assert plane.client.post(PATH, json=CHAT).status_code == 200
    assert len(plane.provider("second").received) == 1


def test_a_target_with_a_slow_first_byte_is_followed_by_the_next(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second", headers=SLOW_AFTER_150_MS)
    plane.provider("main").answer = lambda _: Answer(delay_s=3)
    before = time.monotonic()
    assert plane.client.post(PATH, json=CHAT).status_code == 200
    assert time.monotonic() - before < 1
    first, _ = plane.calls(2, kind="attempt")
    assert (first["status"], first["flags"]) == (0, "UT")


def test_the_timeout_of_the_first_byte_does_not_cut_an_answer_that_has_begun(plane: DataPlane) -> None:
    # Long enough for the first byte to arrive in time on a busy machine; the pause within the answer is longer still.
    plane.quota.decide = lambda _: plane.allow("main", "second", headers=SLOW_AFTER_1_S)
    plane.provider("main").answer = lambda _: Answer(
        headers={"content-type": "text/event-stream"}, chunks=(b"data: 1\n\n", 1.5, b"data: [DONE]\n\n")
    )
    response = plane.client.post(PATH, json=CHAT)
    assert response.text == "data: 1\n\ndata: [DONE]\n\n"
    assert plane.provider("second").received == []


def test_the_credential_of_one_provider_does_not_reach_the_next(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "open")
    plane.provider("main").answer = lambda _: Answer(status=500)
    assert plane.client.post(PATH, json=CHAT).status_code == 200
    (seen,) = plane.provider("open").received
    assert PROVIDER_KEY not in str(seen)


def test_nothing_is_tried_twice_when_quota_sets_no_number_of_retries(plane: DataPlane) -> None:
    allow = plane.allow("main", "second")
    del allow.ok_response.headers[:]
    allow.ok_response.headers.append(plane.allow("main", headers={"x-envoy-max-retries": "0"}).ok_response.headers[0])
    plane.quota.decide = lambda _: allow
    plane.provider("main").answer = lambda _: Answer(status=500)
    assert plane.client.post(PATH, json=CHAT).status_code == 500
    assert len(plane.provider("main").received) == 1


def test_a_spent_chain_tells_the_client_not_to_retry(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second", "third")
    for name in ("main", "second", "third"):
        plane.provider(name).answer = lambda _: Answer(status=500, body=b'{"error":{"message":"broken"}}')
    response = plane.client.post(PATH, json=CHAT)
    assert (response.status_code, response.headers["x-should-retry"]) == (500, "false")
    assert response.headers["x-spendgate-attempts"] == "3"


def test_a_spent_chain_of_dead_targets_says_so_too(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("dead", "dead")
    response = plane.client.post(PATH, json=CHAT)
    assert (response.status_code, response.headers["x-should-retry"]) == (503, "false")
    assert response.json()["error"]["code"] == "upstream_unavailable"


def test_a_single_target_leaves_retrying_to_the_client(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("dead")
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 503
    assert "x-should-retry" not in response.headers
    (call,) = plane.calls()
    assert (call["reservation"], call["status"], call["attempts"]) == ("rsv_1", 503, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_provider_credential_is_not_shown_to_the_client(plane: DataPlane, status: int) -> None:
    leaky = f'{{"error":{{"message":"Incorrect API key provided: {PROVIDER_KEY}"}}}}'.encode()
    plane.provider("main").answer = lambda _: Answer(status=status, body=leaky, headers={"www-authenticate": "x"})
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_unavailable"
    assert PROVIDER_KEY not in response.text + str(response.headers)


def test_an_allow_without_a_chain_reaches_no_provider(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", priority_groups=None)
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 503
    assert plane.provider("main").received == []


@pytest.mark.parametrize("targets", [None, [], [{"name": "x"}]])
def test_an_allow_without_a_usable_target_reaches_no_provider(plane: DataPlane, targets: Any) -> None:
    allow = plane.allow("main")
    allow.dynamic_metadata.update({"targets": targets})
    if targets is None:
        del allow.dynamic_metadata.fields["targets"]
    plane.quota.decide = lambda _: allow
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "upstream_unavailable"
    assert plane.provider("main").received == []


def test_an_unknown_cluster_in_the_chain_is_a_503(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", targets=[{"cluster": "unheard-of"}])
    response = plane.client.post(PATH, json=CHAT)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "upstream_unavailable"


def test_the_second_target_gets_the_body_as_the_client_sent_it(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow(
        "main",
        "second",
        "third",
        targets=[{"include_usage": True, "output_cap_field": "max_tokens", "output_cap": 5}, {"model": "asked"}, {}],
    )
    for name in ("main", "second"):
        plane.provider(name).answer = lambda _: Answer(status=500)
    plane.provider("third").answer = lambda _: WHOLE["stream"]
    sent = CHAT | {"stream": True}
    assert plane.client.post(PATH, json=sent).status_code == 200
    (first,), (second,), (third,) = (plane.provider(name).received for name in ("main", "second", "third"))
    assert first.json == sent | {
        "model": "main-model", "stream_options": {"include_usage": True}, "max_tokens": 5
    }  # fmt: skip
    assert second.json == sent
    assert third.json == sent | {"model": "third-model"}


def test_two_hundred_parallel_calls_are_served_although_the_primary_is_dead(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("dead", "second")
    plane.provider("second").answer = lambda _: Answer(delay_s=0.2)
    limits = httpx.Limits(max_connections=200)
    address = f"http://127.0.0.1:{plane.node.data_port}{PATH}"
    with httpx.Client(limits=limits, trust_env=False, timeout=20) as client, ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda _: client.post(address, json=CHAT).status_code, range(200)))
    assert statuses == [200] * 200


def test_attempts_are_reported_to_the_router(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").answer = lambda _: Answer(status=500)
    response = plane.client.post(PATH, json=CHAT)
    request_id = response.headers["x-request-id"]
    plane.wait(lambda: len(plane.reported(request_id)) == 2, "two attempts are reported")
    first, second = plane.reported(request_id)
    assert first.common_properties.upstream_cluster == "main.openai"
    assert (first.response.response_code.value, second.response.response_code.value) == (500, 200)
    assert first.common_properties.duration.nanos > 0


def test_a_provider_that_is_cut_off_mid_stream_leaves_an_aborted_answer_and_a_line(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(
        headers={"content-type": "text/event-stream"}, chunks=(b"data: 1\n\n",), cut=True
    )
    with pytest.raises(httpx.RemoteProtocolError):
        plane.client.post(PATH, json=CHAT)
    (call,) = plane.calls()
    assert (call["status"], call["details"].split("{")[0]) == (200, "upstream_reset_after_response_started")
    assert "input_tokens" not in call.get("usage", {})


def test_geminis_own_bound_is_written_into_its_configuration(plane: DataPlane) -> None:
    cap = {"output_cap_field": "generationConfig.maxOutputTokens", "output_cap": 7}
    plane.quota.decide = lambda _: plane.allow("gem", targets=[cap])
    plane.client.post("/v1beta/models/asked:generateContent", json={"contents": [], "generationConfig": {"topK": 1}})
    (seen,) = plane.provider("gem").received
    assert seen.json == {"contents": [], "generationConfig": {"maxOutputTokens": 7, "topK": 1}}


def reports(plane: DataPlane, response: httpx.Response) -> list[Any]:
    """What the router is told of the last attempt, once it has ended."""
    request_id = response.headers["x-request-id"]
    plane.wait(lambda: _has_ended(plane.reported(request_id)), "the attempt was reported")
    return plane.reported(request_id)


def reported_of_all(plane: DataPlane) -> list[Any]:
    """What the router is told of the calls of this test, however they ended."""
    ids = [check.attributes.request.http.headers["x-request-id"] for check in plane.quota.checks]
    return [entry for request_id in ids for entry in plane.reported(request_id)]


def _has_ended(entries: list[Any]) -> bool:
    return any(entry.common_properties.access_log_type == AccessLogType.UpstreamEnd for entry in entries)


def test_each_attempt_tells_the_router_its_own_target_and_no_provider(plane: DataPlane) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "dead", "second", targets=[{"name": "main/a"}, {}, {}])
    plane.provider("main").answer = lambda _: Answer(status=429, headers={"retry-after": "7"})
    response = plane.client.post(PATH, json=CHAT)
    plane.wait(lambda: len(plane.reported(response.headers["x-request-id"])) == 3, "three attempts were reported")
    first, dead, second = (read_report(each, 0) for each in plane.reported(response.headers["x-request-id"]))
    assert first is not None
    assert dead is not None
    assert second is not None
    assert (first.attempt.target, first.attempt.outcome) == ("main/a", Outcome.FAILED)
    assert first.attempt.retry_after_ms == 7_000
    assert (dead.attempt.target, dead.attempt.outcome) == ("dead/up", Outcome.FAILED)
    assert (second.attempt.target, second.attempt.outcome) == ("second/up", Outcome.SERVED)
    for name in ("main", "second"):
        (seen,) = plane.provider(name).received
        assert seen.headers["host"] == f"{name}.test"
        assert not [header for header in seen.headers if header.startswith((":", "x-spendgate", "spendgate"))]
        assert "/up" not in str(seen)
        assert "main/a" not in str(seen)


def test_an_attempt_that_lasts_is_reported_before_it_ends_and_has_one_line_in_the_spool(plane: DataPlane) -> None:
    plane.provider("main").answer = lambda _: Answer(delay_s=2.5)
    response = plane.client.post(PATH, json=CHAT)
    lasting, ended = (read_report(each, 0) for each in reports(plane, response))
    assert lasting is not None
    assert ended is not None
    assert lasting.key == ended.key
    assert (lasting.attempt.outcome, lasting.attempt.first_byte_ms) == (Outcome.OPEN, None)
    assert ended.attempt.outcome is Outcome.SERVED
    assert 2_500 <= (ended.attempt.first_byte_ms or 0) <= ended.attempt.took_ms
    plane.calls()
    assert len(plane.calls(kind="attempt")) == 1


def test_an_attempt_whose_client_left_is_neither_served_nor_failed(plane: DataPlane) -> None:
    stream = Answer(headers={"content-type": "text/event-stream"}, chunks=(b"data: 1\n\n", 3.0, b"data: [DONE]\n\n"))
    answers = iter([Answer(delay_s=3), stream])
    plane.provider("main").answer = lambda _: next(answers)
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            plane.client.post(PATH, json=CHAT, timeout=0.3)
    plane.wait(lambda: len(reported_of_all(plane)) == 2, "both attempts were reported")
    assert [report.attempt.outcome for each in reported_of_all(plane) if (report := read_report(each, 0))] == [
        Outcome.NEITHER,
        Outcome.NEITHER,
    ]


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
BROKEN = {
    "error event": Answer(
        headers={"content-type": "text/event-stream"},
        chunks=(EVENT, b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'),
    ),
    "no end mark": Answer(headers={"content-type": "text/event-stream"}, chunks=(EVENT,)),
    "cut": Answer(headers={"content-type": "text/event-stream"}, chunks=(EVENT,), cut=True),
    "an error with status 200": Answer(body=b'{"error":{"message":"no","type":"server_error","code":"server_error"}}'),
}
WHOLE = {
    "stream": Answer(headers={"content-type": "text/event-stream"}, chunks=(EVENT, END)),
    "document": Answer(
        body=b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    ),
    "a wrong request": Answer(status=400, body=b'{"error":{"message":"bad","type":"bad","code":"bad"}}'),
}


@pytest.mark.parametrize("kind", [*BROKEN, *WHOLE])
def test_the_router_learns_whether_an_answer_with_a_good_status_was_broken(plane: DataPlane, kind: str) -> None:
    plane.provider("main").answer = lambda _: (BROKEN | WHOLE)[kind]
    with contextlib.suppress(httpx.RemoteProtocolError):
        plane.client.post(PATH, json=CHAT | {"stream": kind != "document"})
    plane.calls()
    plane.wait(lambda: _has_ended(reported_of_all(plane)), "the attempt was reported")
    ends = {entry.common_properties.access_log_type for entry in reported_of_all(plane)}
    (report,) = (found for entry in reported_of_all(plane) if (found := read_report(entry, 0)))
    if kind in BROKEN and report.attempt.outcome is Outcome.SERVED:
        plane.wait(lambda: len(reported_of_all(plane)) == 2, "the broken answer was reported")
        assert {each.request.request_id for each in reported_of_all(plane)} == {report.request_id}
    else:
        assert ends == {AccessLogType.UpstreamEnd}
        assert (report.attempt.outcome is Outcome.FAILED) == (kind in BROKEN)
