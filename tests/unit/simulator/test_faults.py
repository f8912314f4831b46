from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Any

import anthropic
import httpx
import openai
import pytest

from services.simulator.faults import Fault, FaultKind, FaultScript, Latency, fault_from

HELLO: Any = [{"role": "user", "content": "Answer in 40 tokens."}]


def _ask(stage: Any, **options: Any) -> Any:
    return stage.openai().chat.completions.create(model="gpt-4o", messages=HELLO, **options)


def test_a_status_meets_the_next_requests_and_then_no_more(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.STATUS, times=2, status=429, retry_after_s=7))
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as limited:
            _ask(openai_stage)
        assert limited.value.response.headers["retry-after"] == "7"
    assert _ask(openai_stage).usage.completion_tokens == 40


def test_an_overloaded_vendor_says_so_in_its_own_words(anthropic_stage: Any) -> None:
    anthropic_stage.fault(Fault(FaultKind.STATUS, status=529))
    with pytest.raises(anthropic.InternalServerError) as overloaded:
        anthropic_stage.anthropic().messages.create(model="claude-haiku-4-5", messages=HELLO, max_tokens=50)
    assert overloaded.value.status_code == 529
    assert overloaded.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


def test_a_fault_for_one_model_leaves_the_others_alone(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.STATUS, times=None, model="gpt-4o-mini"))
    assert _ask(openai_stage).choices
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            openai_stage.openai().chat.completions.create(model="gpt-4o-mini", messages=HELLO)


def test_a_vendor_that_bills_more_than_it_was_allowed(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.OVERBILL, factor=6))
    assert _ask(openai_stage, max_tokens=50).usage.completion_tokens == 300
    assert _ask(openai_stage, max_tokens=50).usage.completion_tokens == 40


def test_a_slow_first_byte(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.SLOW_FIRST_BYTE, delay_ms=300))
    started = time.monotonic()
    _ask(openai_stage)
    assert time.monotonic() - started >= 0.3


def test_a_stalled_stream_pauses_after_some_events(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.STALL, after_events=3, delay_ms=300))
    moments = [time.monotonic() for _ in _ask(openai_stage, stream=True)]
    gaps = [late - early for early, late in itertools.pairwise(moments)]
    assert gaps.index(max(gaps)) == 2
    assert max(gaps) >= 0.25


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_answer_ends_in_the_middle(openai_stage: Any, stream: bool) -> None:
    openai_stage.fault(Fault(FaultKind.CUT, after_events=3))
    url = openai_stage.listener.url + "/v1/chat/completions"
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(
            url,
            headers={"authorization": "Bearer provider-key"},
            json={"model": "gpt-4o", "messages": HELLO, "stream": stream},
        )
    assert _ask(openai_stage).choices


def test_usage_can_be_missing(openai_stage: Any) -> None:
    openai_stage.fault(Fault(FaultKind.NO_USAGE, times=2))
    assert _ask(openai_stage).usage is None
    chunks = list(_ask(openai_stage, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_split_events_still_add_up(openai_stage: Any) -> None:
    whole = _ask(openai_stage).choices[0].message.content
    openai_stage.fault(Fault(FaultKind.SPLIT))
    chunks = list(_ask(openai_stage, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_a_closed_listener_refuses_and_answers_again_on_the_same_port(openai_stage: Any) -> None:
    openai_stage.listener.close()
    with pytest.raises(openai.APIConnectionError):
        _ask(openai_stage)
    openai_stage.listener.open()
    assert _ask(openai_stage).choices


def test_latency_has_the_median_and_the_95th_percentile_it_was_given() -> None:
    latency = Latency(first_byte_p50_ms=100, first_byte_p95_ms=300)
    source = random.Random(7)
    drawn = [latency.first_byte_s(source) for _ in range(20_000)]
    assert statistics.median(drawn) == pytest.approx(0.1, rel=0.05)
    assert statistics.quantiles(drawn, n=20)[-1] == pytest.approx(0.3, rel=0.05)
    assert Latency().first_byte_s(source) == 0


def test_a_script_serves_its_faults_in_order() -> None:
    script = FaultScript()
    script.add(Fault(FaultKind.CUT), fault_from({"kind": "status", "status": 503, "times": 2}))
    kinds = [fault.kind.value if fault else None for fault in (script.next_for("m") for _ in range(4))]
    assert kinds == ["cut", "status", "status", None]
    with pytest.raises(ValueError, match="nonsense"):
        fault_from({"kind": "status", "nonsense": 1})


def test_as_a_process_it_is_directed_over_its_control_api() -> None:
    environment = {**os.environ, "SPENDGATE_SIMULATOR_KEY": "provider-key"}
    with subprocess.Popen(
        [sys.executable, "-m", "services.simulator"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        client = openai.OpenAI(api_key="provider-key", base_url=urls["openai"] + "/v1", max_retries=0)
        httpx.post(urls["control"] + "/openai/faults", json=[{"kind": "status", "status": 500}]).raise_for_status()
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        httpx.put(urls["control"] + "/openai/listener", json={"open": False}).raise_for_status()
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        httpx.put(urls["control"] + "/openai/listener", json={"open": True}).raise_for_status()
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices
        requests = httpx.get(urls["control"] + "/openai/requests").json()["requests"]
        assert len(requests) == 2
        assert "provider-key" not in json.dumps(requests)
        assert httpx.post(urls["control"] + "/openai/faults", json=[{"kind": "x"}]).status_code == 400
        client.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0
