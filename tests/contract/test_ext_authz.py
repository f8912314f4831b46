"""Envoy's question and quota's answer: bytes in, bytes out, over a real server and a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from spendgate.quota.v1 import reservation_service_pb2 as reservation_pb
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.kernel.envoy_contract import CREDENTIAL_HEADERS, EPOCH_HEADER
from tests.worlds.joined import joined
from tests.worlds.quota_process import (
    ADMIN_TOKEN,
    EPOCH,
    MODEL,
    SECRET,
    TRACEPARENT,
    QuotaProcess,
    call,
    configuration,
    get,
    key_in,
    planned_target,
    route_plan,
    spend_policy,
    token_policy,
)

GEMINI_PATH = "/v1beta/models/tiny:generateContent"
SPARE = planned_target("spare/small", stops_on_disconnect=True)


@pytest.fixture
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        lab, spare = planned_target("lab/tiny"), SPARE
        google = planned_target("google/gemini-x", "gemini")
        process.publish(route_plan("v1", {MODEL: [lab, spare, google], "other": [lab]}))
        yield process


def metadata_of(response: auth_pb.CheckResponse) -> dict[str, Any]:
    return joined(json_format.MessageToDict(response.dynamic_metadata), "admitted")


def headers_of(response: Any) -> dict[str, str]:
    return {option.header.key: option.header.value for option in response.headers}


def error_of(response: auth_pb.CheckResponse) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(response.denied_response.body)["error"]
    return error


def test_an_allowed_call_carries_its_reservation_its_owner_and_its_chain(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("carries", 1)))
    metadata = metadata_of(quota.check(call()))
    assert metadata.pop("reservation").startswith("rsv_")
    assert metadata.pop("key_id").startswith("key_")
    names = ("lab/tiny", "tiny", "lab"), ("spare/small", "small", "spare")
    assert metadata == {
        "key": "ds-prod",
        "team": "data-science",
        "environment": "prod",
        "model": MODEL,
        "decision": "allow",
        "policy": "carries",
        "chain": "lab/tiny,spare/small",
        "stops_on_disconnect": "spare/small",
        "expected_input_tokens": 200,
        "expected_output_tokens": 100,
        "held_input_tokens": 200,
        "held_output_tokens": 100,
        "answer_tokens": 0,
        "answer_microtokens_per_byte": 1_000_000,
        "strip_usage": False,
        "priority_groups": [
            {"name": name, "clusters": [{"cluster_name": f"{provider}.openai", "weight": 1}]}
            for name, _, provider in names
        ],
        "targets": [
            {
                "name": name,
                "host": f"{provider}.example",
                "path": "/v1/chat/completions",
                "model": model,
            }
            for name, model, provider in names
        ],
    }


def test_retries_and_timeouts_of_the_client_are_overwritten(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    response = quota.check(call(headers={"x-envoy-max-retries": "50"}))
    assert headers_of(response.ok_response) == {
        "x-envoy-max-retries": "1",
        "x-envoy-upstream-rq-per-try-timeout-ms": "30000",
    }
    overwrite = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    assert {option.append_action for option in response.ok_response.headers} == {overwrite}


def test_every_credential_is_removed_from_the_request(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    assert tuple(quota.check(call()).ok_response.headers_to_remove) == CREDENTIAL_HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET} "},
        {"authorization": "Basic dTpw", "x-api-key": SECRET},
        {"authorization": "", "x-api-key": SECRET},
        {"authorization": "", "api-key": SECRET},
        {"authorization": "", "x-goog-api-key": SECRET},
    ],
)
def test_a_key_is_taken_from_wherever_an_sdk_puts_it(quota: QuotaProcess, headers: dict[str, str]) -> None:
    quota.quota.ApplyConfiguration(configuration())
    assert quota.check(call(headers=headers)).HasField("ok_response")


def test_answers_to_two_calls_differ_in_what_is_theirs_alone(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("differ", 1)))
    first, second = metadata_of(quota.check(call())), metadata_of(quota.check(call()))
    changed = {key for key in first if first[key] != second[key]}
    assert changed == {"reservation"}


def test_a_key_that_moved_to_another_team_is_not_answered_from_memory(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    assert metadata_of(quota.check(call()))["team"] == "data-science"
    moved = configuration(keys=[key_in("other-team")])
    moved.teams.add(name="other-team")
    quota.quota.ApplyConfiguration(moved)
    assert metadata_of(quota.check(call()))["team"] == "other-team"


def test_another_plan_is_not_answered_from_memory(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    quota.check(call(model="other"))
    quota.publish(route_plan("v2", {MODEL: [planned_target("lab/tiny")], "other": [planned_target("new/one")]}))
    try:
        assert metadata_of(quota.check(call(model="other")))["targets"][0]["host"] == "new.example"
    finally:
        lab, spare = planned_target("lab/tiny"), SPARE
        google = planned_target("google/gemini-x", "gemini")
        quota.publish(route_plan("v3", {MODEL: [lab, spare, google], "other": [lab]}))


@pytest.mark.parametrize(("asked", "stripped"), [(None, True), (False, True), (True, False)])
def test_usage_is_forced_on_streams_and_stripped_unless_asked_for(
    quota: QuotaProcess, asked: bool | None, stripped: bool
) -> None:
    quota.quota.ApplyConfiguration(configuration())
    metadata = metadata_of(quota.check(call(stream=True, include_usage=asked)))
    assert metadata["strip_usage"] is stripped
    assert [target.get("include_usage", False) for target in metadata["targets"]] == [stripped, stripped]


def test_a_provider_that_reports_usage_unasked_is_not_asked(quota: QuotaProcess) -> None:
    mistral = planned_target("mistral/small")
    mistral.faces[0].usage_unasked = True
    quota.publish(route_plan("v6", {MODEL: [mistral, planned_target("lab/tiny")]}))
    quota.quota.ApplyConfiguration(configuration())
    metadata = metadata_of(quota.check(call(stream=True)))
    assert [target.get("include_usage", False) for target in metadata["targets"]] == [False, True]


def test_an_output_bound_is_written_where_the_client_set_none_or_a_larger_one(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("capped", 100)))
    for unbounded in (None, 1_000_000):
        first = metadata_of(quota.check(call(max_output_tokens=unbounded)))["targets"][0]
        assert (first["output_cap_field"], first["output_cap"]) == ("max_tokens", 4_096)
    assert "output_cap" not in metadata_of(quota.check(call(max_output_tokens=4_096)))["targets"][0]


def test_a_call_that_is_cut_says_so_in_every_attempt_and_to_the_client(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(token_policy("narrow", 1_000)))
    response = quota.check(call(body_bytes=100, choices=2, max_output_tokens=None))
    metadata = metadata_of(response)
    # Two attempts, each with the input and two answers.
    assert [target["output_cap"] for target in metadata["targets"]] == [200, 200]
    assert metadata["held_output_tokens"] == 400
    told = {option.header.key: option.header.value for option in response.ok_response.response_headers_to_add}
    assert told["x-spendgate-output-capped"] == "200"


def test_a_call_that_would_fit_with_less_output_is_told_how_much(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(token_policy("too-narrow", 150)))
    error = error_of(quota.check(call(body_bytes=100, max_output_tokens=None)))
    assert error["details"]["max_affordable_output_tokens"] == 50
    assert "Set max_tokens to at most 50 or shorten" in error["message"]


@pytest.mark.parametrize(
    ("path", "stream", "upstream"),
    [
        (GEMINI_PATH, False, "/v1beta/models/gemini-x:generateContent"),
        (f"{GEMINI_PATH}?key=virtual-key&alt=sse", False, "/v1beta/models/gemini-x:generateContent"),
        (f"{GEMINI_PATH}?alt=sse&key=virtual-key", True, "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        (GEMINI_PATH, True, "/v1beta/models/gemini-x:streamGenerateContent"),
    ],
)
def test_a_gemini_call_goes_to_the_path_of_its_model_and_verb(
    quota: QuotaProcess, path: str, stream: bool, upstream: str
) -> None:
    quota.quota.ApplyConfiguration(configuration())
    (target,) = metadata_of(quota.check(call(path=path, dialect="gemini", stream=stream)))["targets"]
    assert target["path"] == upstream
    assert "model" not in target


def test_tags_and_run_go_into_the_record_when_they_are_well_formed(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    tags = f"feature=search, bad\tone=1,nothing, step=2,{'x' * 60}=toolong"
    metadata = metadata_of(quota.check(call(headers={"x-spendgate-tags": tags, "x-spendgate-run": "run-7"})))
    assert (metadata["tags"], metadata["run"]) == ("feature=search,step=2", "run-7")
    assert "run" not in metadata_of(quota.check(call(headers={"x-spendgate-run": 'a\n{"forged": 1}'})))


def test_the_reservation_knows_the_request_and_the_run_of_envoy(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("knows", 1)))
    reservation = metadata_of(quota.check(call(request_id="req-known")))["reservation"]
    asked = reservation_pb.ListOverdueReservationsRequest(ended_epochs=[EPOCH], page_size=1000)
    listed = {each.reservation: each for each in quota.reservations.ListOverdueReservations(asked).reservations}
    assert listed[reservation].request_id == "req-known"
    assert listed[reservation].chain == ["lab/tiny", "spare/small"]


@pytest.mark.parametrize(
    ("path", "envelope"),
    [("/v1/chat/completions", "code"), ("/v1/messages", "type"), (GEMINI_PATH, "status")],
)
def test_a_call_whose_body_cannot_be_read_is_refused_in_its_dialect(
    quota: QuotaProcess, path: str, envelope: str
) -> None:
    unreadable = call(path=path)
    unreadable.attributes.ClearField("metadata_context")
    response = quota.check(unreadable)
    assert response.denied_response.status.code == 400
    assert envelope in error_of(response)


def test_a_model_that_is_not_text_makes_a_call_unreadable(quota: QuotaProcess) -> None:
    assert quota.check(call(model=7)).denied_response.status.code == 400


@pytest.mark.parametrize(("secret", "code"), [("", "invalid_api_key"), ("x" * 5_000, "invalid_api_key")])
def test_a_call_without_a_key_that_we_know_is_refused(quota: QuotaProcess, secret: str, code: str) -> None:
    response = quota.check(call(secret=secret))
    assert response.denied_response.status.code == 401
    assert error_of(response)["code"] == code


def test_a_budget_that_is_used_up_refuses_with_its_figures_and_serves_again_once_raised(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("spent", 0, nanos=1_000_000)))
    reservation = metadata_of(quota.check(call()))["reservation"]
    settlement = reservation_pb.Settlement(reservation=reservation, cost_nano_usd=1_000_000, reported=True)
    settlement.end_time.FromMilliseconds(quota.clock.now_ms())
    quota.reservations.SettleReservations(reservation_pb.SettleReservationsRequest(settlements=[settlement]))

    response = quota.check(call(headers={"traceparent": TRACEPARENT}))
    assert response.denied_response.status.code == 429
    headers = headers_of(response.denied_response)
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
    assert headers["x-trace-id"] == TRACEPARENT.split("-")[1]
    error = error_of(response)
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert error["message"] == (
        "Budget spent is exhausted: $0.001000000 of $0.001 spent this month; it resets on 2026-12-01T00:00:00Z."
    )
    assert error["details"] == {
        "reason": "budget_exhausted",
        "policy": "spent",
        "scope": "team=data-science",
        "limit_kind": "spend",
        "limit": "0.001000000",
        "used": "0.001000000",
        "reserved": "0.000000000",
        "doubt": "0.000000000",
        "requested": "0.000202000",
        "window_start": "2026-11-01T00:00:00Z",
        "resets_at": "2026-12-01T00:00:00Z",
        "trace_id": TRACEPARENT.split("-")[1],
    }
    assert quota.check(get("/v1/models")).denied_response.status.code == 200
    assert metadata_of(response)["decision"] == "deny"
    assert "reservation" not in metadata_of(response)

    quota.quota.ApplyConfiguration(configuration(spend_policy("spent", 1)))
    assert quota.check(call()).HasField("ok_response")


def test_a_call_that_only_calls_in_flight_keep_out_is_told_to_try_again(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("busy", 0, nanos=1_000_000)))
    assert quota.check(call()).HasField("ok_response")
    response = quota.check(call())
    assert error_of(response)["code"] == "rate_limit_exceeded"
    headers = headers_of(response.denied_response)
    assert headers["retry-after-ms"] == "250"
    assert "x-should-retry" not in headers


def test_a_target_without_a_price_is_refused_under_a_spend_policy(quota: QuotaProcess) -> None:
    quota.ledger.unpriced.add("free/lunch")
    quota.publish(route_plan("v4", {MODEL: [planned_target("free/lunch")]}))
    quota.quota.ApplyConfiguration(configuration(spend_policy("priced", 1)))
    try:
        response = quota.check(call())
        assert response.denied_response.status.code == 404
        assert error_of(response)["details"]["reason"] == "unpriced_model"
    finally:
        lab, spare = planned_target("lab/tiny"), SPARE
        google = planned_target("google/gemini-x", "gemini")
        quota.publish(route_plan("v5", {MODEL: [lab, spare, google], "other": [lab]}))


def admin_call(token: str) -> auth_pb.CheckRequest:
    request = call(path="/spendgate.quota.v1.QuotaService/ListTeams", secret=token)
    request.attributes.context_extensions["plane"] = "admin"
    return request


def test_the_admin_plane_takes_the_admin_token_and_nothing_else(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration())
    allowed = quota.check(admin_call(ADMIN_TOKEN))
    assert allowed.HasField("ok_response")
    assert "authorization" in allowed.ok_response.headers_to_remove
    for wrong in (SECRET, "", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "0"):
        assert quota.check(admin_call(wrong)).denied_response.status.code == 401
    assert quota.check(call(secret=ADMIN_TOKEN)).denied_response.status.code == 401


def test_no_answer_repeats_a_secret(quota: QuotaProcess) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("quiet", 0)))
    wrong = "wrong-0123456789abcdef"
    asked = [call(), call(secret=wrong), call(model="none"), admin_call(wrong), get("/v1/models", secret=wrong)]
    for request in asked:
        answer = quota.raw_check(request.SerializeToString(), metadata=((EPOCH_HEADER, EPOCH),))
        for secret in (SECRET, wrong):
            for length in (len(secret), 8):
                assert secret[:length].encode() not in answer
                assert secret[-length:].encode() not in answer


def test_what_is_no_question_at_all_is_answered_with_a_refusal(quota: QuotaProcess) -> None:
    answer = auth_pb.CheckResponse.FromString(quota.raw_check(b"\xff\xff\xff"))
    assert answer.denied_response.status.code == 503
    assert error_of(answer)["code"] == "policy_unavailable"
