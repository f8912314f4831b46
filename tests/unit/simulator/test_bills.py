"""What a simulated provider charges, whether or not its client got the answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Bill
from tests.unit.simulator.conftest import KEY, Stage

ASKED_TOKENS = 40
QUESTION = f"Answer in {ASKED_TOKENS} tokens."
TOKENS_OF_AN_EVENT = 4
HEAD_EVENTS = {"openai": 1, "anthropic": 3, "gemini": 0}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
}


@pytest.fixture(params=["openai", "anthropic", "gemini"])
def stage(request: pytest.FixtureRequest) -> Stage:
    found: Stage = request.getfixturevalue(f"{request.param}_stage")
    return found


def body(stage: Stage) -> dict[str, object]:
    if stage.provider.vendor == "gemini":
        return {"contents": [{"parts": [{"text": QUESTION}]}]}
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": "m", "max_tokens": 100, "stream": True, "messages": messages}


def leave_after(stage: Stage, content_events: int) -> Bill:
    """Reads a stream until it stalls after this many events with text, hangs up, and waits for the bill."""
    vendor = stage.provider.vendor
    events = HEAD_EVENTS[vendor] + content_events
    stage.fault(Fault(FaultKind.STALL, after_events=events, delay_ms=300))
    headers = {"authorization": f"Bearer {KEY}", "x-goog-api-key": KEY, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=stage.listener.url, headers=headers, timeout=5) as client:
        with client.stream("POST", PATHS[vendor], json=body(stage)) as answer:
            read = b""
            for piece in answer.iter_raw():
                read += piece
                if read.count(b"\n\n") + read.count(b"\r\n\r\n") >= events:
                    break
        return wait_for(lambda: stage.provider.bills[-1] if stage.provider.bills else None)


def wait_for(found: Callable[[], Bill | None]) -> Bill:
    deadline = time.monotonic() + 5
    while (bill := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return bill


@pytest.mark.parametrize("content_events", [1, 4, 9])
def test_a_provider_that_stops_bills_what_it_had_made_when_its_client_hung_up(
    stage: Stage, content_events: int
) -> None:
    bill = leave_after(stage, content_events)

    assert bill.usage.output_tokens == content_events * TOKENS_OF_AN_EVENT


def test_a_provider_that_goes_on_bills_the_whole_answer(stage: Stage) -> None:
    stage.provider.stops = False

    assert leave_after(stage, 2).usage.output_tokens == ASKED_TOKENS


def test_an_answer_that_was_read_is_billed_as_it_says(openai_stage: Stage) -> None:
    answer = openai_stage.openai().chat.completions.create(model="m", messages=[{"role": "user", "content": QUESTION}])

    (bill,) = openai_stage.provider.bills
    assert answer.usage is not None
    assert (bill.usage.input_tokens, bill.usage.output_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def test_a_provider_that_does_not_say_what_it_took_bills_it_all_the_same(openai_stage: Stage) -> None:
    openai_stage.fault(Fault(FaultKind.NO_USAGE))
    openai_stage.openai().chat.completions.create(model="m", messages=[{"role": "user", "content": QUESTION}])

    assert openai_stage.provider.bills[0].usage.output_tokens == ASKED_TOKENS
