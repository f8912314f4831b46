"""What clients do besides sending bodies: they leave, again and again, early or late, one by one or all at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.e2e.adversary.attack import PATHS
from tests.e2e.adversary.http2 import send_http2
from tests.e2e.adversary.plane import Plane, key_of
from tests.e2e.adversary.provider import MODELS, Manner
from tests.e2e.adversary.temperaments import Temperament
from tests.e2e.adversary.wire import Leaving, Request, send

WAVES = 10
# $0.50 of text and $0.50 of output: two of these calls are the whole limit.
_PROMPT_BYTES, _OUTPUT_TOKENS = 5_000, 2_500
_SMALL_BYTES, _SMALL_TOKENS = 20, 5
_TEMPERAMENT = Temperament.NODE


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one client does in each wave."""

    name: str
    """A sentence."""
    leaving: Leaving = Leaving.NEVER
    leave_after_s: float = 0
    stream: bool = True
    manner: Manner = field(default_factory=Manner)
    at_once: int = 1
    """Calls of a wave, all at the same time."""
    small_waves: int = 0
    """In its first waves it makes small, complete calls instead, from which the gateway may learn."""
    http2: bool = False


_SLOW_STREAM = Manner(event_s=0.02)
BEHAVIOURS = (
    Behaviour("leaves as soon as it has asked", Leaving.AT_ONCE, manner=_SLOW_STREAM),
    Behaviour("leaves before all of its body is sent", Leaving.BEFORE_BODY_ENDS),
    Behaviour("leaves after the head of the answer", Leaving.AFTER_HEAD, manner=_SLOW_STREAM),
    Behaviour("leaves after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM),
    Behaviour("leaves after some events", Leaving.AFTER_HALF, manner=_SLOW_STREAM),
    Behaviour("leaves an unstreamed call after 0.3 s", Leaving.AT_ONCE, 0.3, stream=False, manner=Manner(head_s=0.6)),
    Behaviour("leaves streams after 0.3 s without a head", Leaving.AT_ONCE, 0.3, manner=Manner(head_s=0.6)),
    Behaviour("makes small calls, then leaves large streams after the first event", Leaving.AFTER_FIRST_EVENT,
              manner=_SLOW_STREAM, small_waves=4),
    Behaviour("makes small calls, then leaves large unstreamed calls", Leaving.AT_ONCE, 0.3, stream=False,
              manner=Manner(head_s=0.6), small_waves=4),
    Behaviour("leaves ten streams at once after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM,
              at_once=10),
    Behaviour("reads slowly", Leaving.SLOWLY),
    Behaviour("makes ten complete calls at once", at_once=10, stream=False),
    Behaviour("resets HTTP/2 streams after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM,
              http2=True),
    Behaviour("resets HTTP/2 streams at once", Leaving.AT_ONCE, 0.1, manner=_SLOW_STREAM, http2=True),
    Behaviour("resets unstreamed HTTP/2 calls after 0.3 s", Leaving.AT_ONCE, 0.3, stream=False,
              manner=Manner(head_s=0.6), http2=True),
    Behaviour("is told nothing of usage in a stream", manner=Manner(usage=False)),
    Behaviour("is told nothing of usage in a whole answer", stream=False, manner=Manner(usage=False)),
    Behaviour("makes small calls, then large ones of which no usage is told", manner=Manner(usage=False),
              small_waves=4),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour in one dialect, before a provider that stops when its client hangs up, or does not."""

    number: int
    behaviour: Behaviour
    dialect: str
    goes_on: bool

    @property
    def title(self) -> str:
        """Tells it from all others."""
        end = "goes on" if self.goes_on else "stops"
        return f"{self.behaviour.name}: {self.dialect}, the provider {end}"

    @property
    def mark(self) -> str:
        """What its calls carry in their text."""
        return f"mark-{self.number}-{_TEMPERAMENT}"


_EACH = [(behaviour, dialect, on) for behaviour in BEHAVIOURS for dialect in MODELS for on in (True, False)]
CASES = tuple(Case(number, *each) for number, each in enumerate(_EACH))


def run(plane: Plane, cases: Sequence[Case]) -> dict[str, int]:
    """What was billed for each case, in nano-USD, after all waves."""
    manners = plane.providers[_TEMPERAMENT].manners
    for wave in range(WAVES):
        for case in cases:
            small = wave < case.behaviour.small_waves
            manners[case.mark] = Manner() if small else replace(case.behaviour.manner, goes_on=case.goes_on)
        asyncio.run(_wave(plane, cases, wave))
        plane.wait_until_settled()
    return {case.title: plane.books.billed(case.mark) for case in cases}


async def _wave(plane: Plane, cases: Sequence[Case], wave: int) -> None:
    await asyncio.gather(*(_call(plane, case, wave) for case in cases for _ in range(case.behaviour.at_once)))


async def _call(plane: Plane, case: Case, wave: int) -> None:
    small = wave < case.behaviour.small_waves
    leaving = Leaving.NEVER if small else case.behaviour.leaving
    request = _request(plane.model(_TEMPERAMENT, case.dialect), case, small=small)
    secret = plane.gateway.secret(key_of(case.number))
    if case.behaviour.http2 and not small:
        await send_http2(plane.gateway.url, secret, request, leaving)
    else:
        await send(plane.gateway.url, secret, request, leaving)


def _request(model: str, case: Case, *, small: bool) -> Request:
    text = f"{case.mark} " + "x" * (_SMALL_BYTES if small else _PROMPT_BYTES)
    bound = _SMALL_TOKENS if small else _OUTPUT_TOKENS
    stream, path = case.behaviour.stream, PATHS[case.dialect].replace("@MODEL@", model)
    if case.dialect == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse") if stream else path
        body: dict[str, Any] = {
            "contents": [{"parts": [{"text": text}]}],
            "generationConfig": {"maxOutputTokens": bound},
        }
        return Request(path, json.dumps(body).encode(), leave_after_s=case.behaviour.leave_after_s)
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "max_tokens": bound, "stream": stream}
    return Request(path, json.dumps(body).encode(), leave_after_s=case.behaviour.leave_after_s)
