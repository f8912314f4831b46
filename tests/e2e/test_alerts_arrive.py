"""People hear of a budget before it ends, once each, whatever dies or fails meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.worlds.alert_receivers import Hook, Mailbox, hook, mailbox
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLS = 200
ASK: Any = [{"role": "user", "content": "Answer in 5 tokens."}]


def configuration(receiver: Hook, mails: Mailbox) -> dict[str, Any]:
    return {
        "models": {"chat": {"targets": ["openai/gpt-4o"]}},
        "teams": {"red": {}},
        "policies": [
            {
                "name": "red",
                "match": {"team": "red"},
                "limits": [{"requests": CALLS, "per": "month"}],
                "thresholds": [{"at": "80%", "notify": ["finance", "lead"]}],
            }
        ],
        "channels": {
            "finance": {"webhook": receiver.url, "secret": {"env": "HOOK_SECRET"}},
            "lead": {"url": mails.url},
        },
        "keys": [{"name": "red", "team": "red"}],
    }


def test_two_hundred_calls_that_cross_a_threshold_tell_each_recipient_once(
    tmp_path: Path, providers: Providers
) -> None:
    with hook() as receiver, mailbox() as mails:
        environment = {"HOOK_SECRET": SECRET}
        with run_gateway(tmp_path, configuration(receiver, mails), providers, environment=environment) as gateway:
            receiver.answers = [500, 500, 500]
            client = gateway.openai("red", max_retries=0)

            def ask(_: int) -> None:
                client.chat.completions.create(model="chat", messages=ASK, max_tokens=5)

            with ThreadPoolExecutor(20) as pool:
                asked = pool.map(ask, range(CALLS))
                wait_until(lambda: gateway.budget("red")["settled"] >= 40)
                kill_ledger(gateway)
                list(asked)
            wait_until(lambda: bool(receiver.posted))
            kill_ledger(gateway)
            wait_until(lambda: bool(receiver.taken and mails.mails))
            gateway.settle(CALLS)
            (alert,) = gateway.json("alerts", "list")["alerts"]
            assert alert["delivered_at"] is not None
            deliveries = gateway.json("alerts", "deliveries")["deliveries"]
            assert {(each["channel"], each["state"]) for each in deliveries} == {
                ("finance", "delivered"),
                ("lead", "delivered"),
            }
        # A kill between an answer and its record repeats the attempt under the same id, so a receiver can tell.
        assert len({each.headers["webhook-id"] for each in receiver.taken}) == 1
        assert len(mails.mails) == 1
    posted = receiver.taken[0]
    said = Webhook(SECRET).verify(posted.body, posted.headers)
    assert said["type"] == "budget.threshold"
    assert said["data"]["title"] == "red: 80% of requests per month used"


def kill_ledger(gateway: Gateway) -> None:
    pid = gateway.pids()["ledger"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gateway.pids().get("ledger", pid) != pid)


def wait_until(holds: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
