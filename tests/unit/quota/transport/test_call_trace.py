"""What quota tells Envoy of the trace of a call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.kernel.trace_context import ALWAYS, BY_CLIENT, NEVER, Sampling
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.transport.call_trace import CallTrace, CallTraces
from services.quota.transport.check_request import Check, read_check
from services.quota.transport.refusal import write_refusal
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import World, spend
from tests.worlds.quota_process import SECRET, call

REQUEST_ID = "5ca9213f-1b1f-4da9-99f1-e8d52416c941"
OWN_TRACE = REQUEST_ID.replace("-", "")
TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BEGAN_US = 1_795_464_000_000_123


def ticking() -> Iterator[int]:
    """A clock by which a decision takes 350 us."""
    while True:
        yield BEGAN_US
        yield BEGAN_US + 350


def trace_of(check: Check, sampling: Sampling = ALWAYS) -> CallTrace:
    return CallTraces(sampling, ticking().__next__).begin(check)


def asked(traceparent: str = "", **scan: Any) -> Check:
    headers = {"traceparent": traceparent} if traceparent else {}
    return read_check(call(headers=headers, request_id=REQUEST_ID, **scan).SerializeToString())


def told(admitted: Admitted, traceparent: str = "", sampling: Sampling = ALWAYS) -> auth_pb.CheckResponse:
    """What the answer says, with what the line says as its metadata."""
    trace = trace_of(asked(traceparent), sampling)
    members = json.loads(f"{{{trace.members_of_admitted(admitted)}}}")
    response = auth_pb.CheckResponse.FromString(trace.fields_of_admitted())
    assert {**metadata(response), **members} == {**members, **metadata(response)}
    response.dynamic_metadata.update(members)
    return response


def metadata(response: auth_pb.CheckResponse) -> dict[str, Any]:
    return json_format.MessageToDict(response.dynamic_metadata)


@pytest.fixture
def admitted() -> Admitted:
    return World((spend("team", 9),)).let()


def test_a_recorded_call_says_its_trace_and_what_was_decided(admitted: Admitted) -> None:
    response = told(admitted, f"00-{TRACE}-{CLIENT}-00")

    said = metadata(response)
    decided = said.pop("decided")
    assert said == {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
    assert decided.pop("held_nano_usd") > 0
    assert decided == {
        "began_us": BEGAN_US,
        "took_us": 350,
        "reason": "within_limits",
        "policies": "team",
        "output_cap_tokens": 0,
    }
    (header,) = response.ok_response.response_headers_to_add
    assert (header.header.key, header.header.value) == ("x-trace-id", TRACE)
    assert not response.ok_response.headers_to_remove


@pytest.mark.parametrize(("flags", "sampling"), [("01", NEVER), ("00", BY_CLIENT)])
def test_a_call_that_is_not_recorded_only_names_its_trace(admitted: Admitted, flags: str, sampling: Sampling) -> None:
    response = told(admitted, f"00-{TRACE}-{CLIENT}-{flags}", sampling)

    assert metadata(response) == {"traceparent": f"00-{TRACE}-{CLIENT}-00"}
    assert response.ok_response.response_headers_to_add[0].header.value == TRACE


@pytest.mark.parametrize("traceparent", ["", f"00-{TRACE}-{CLIENT}-01-more"])
def test_without_a_parent_a_trace_begins_and_the_clients_headers_end(admitted: Admitted, traceparent: str) -> None:
    response = told(admitted, traceparent)

    assert metadata(response)["traceparent"] == f"00-{OWN_TRACE}-{'0' * 16}-01"
    assert response.ok_response.response_headers_to_add[0].header.value == OWN_TRACE
    assert list(response.ok_response.headers_to_remove) == ["traceparent", "tracestate"]


def test_an_allowance_that_paid_for_the_call_is_said(admitted: Admitted) -> None:
    without_counters = replace(admitted, without_counters=True)
    assert metadata(told(without_counters))["decided"]["reason"] == "allowance"


def test_a_decision_that_cannot_be_told_is_still_answered(admitted: Admitted, caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(admitted, reservation=replace(admitted.reservation, holds=None))  # type: ignore[arg-type]

    assert metadata(told(broken)) == {"traceparent": f"00-{OWN_TRACE}-{'0' * 16}-01"}
    assert "a decision has no span" in caplog.text


@pytest.mark.parametrize("model", [SECRET, f"gpt-{SECRET}", "spg_live_somebody-elses"])
def test_a_refusal_says_why_without_a_key_that_the_client_took_for_a_model(model: str) -> None:
    check = asked(model=model)
    deny = Deny(Denial.MODEL_NOT_FOUND, model=model, policy="")
    response = auth_pb.CheckResponse.FromString(write_refusal(check, deny, trace_of(check)))

    decided = json.loads(metadata(response)["decided"])
    assert decided == {"began_us": BEGAN_US, "took_us": 350, "reason": "model_not_found", "model": "(withheld)"}
    headers = {each.header.key: each.header.value for each in response.denied_response.headers}
    assert headers["x-trace-id"] == OWN_TRACE
    assert json.loads(response.denied_response.body)["error"]["details"]["trace_id"] == OWN_TRACE


def test_a_question_that_nobody_can_read_has_no_trace() -> None:
    trace = CallTraces(ALWAYS, ticking().__next__).unknown
    response = auth_pb.CheckResponse.FromString(write_refusal(None, Deny(Denial.POLICY_UNAVAILABLE), trace))

    assert metadata(response) == {"decision": "deny"}
    assert "x-trace-id" not in {each.header.key for each in response.denied_response.headers}
