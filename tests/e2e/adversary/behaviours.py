"""Behaviours of clients and providers, besides the content of bodies.

Clients leave, again and again, early or late, one by one or all at once. Providers bill and then fail,
so that the next one of the chain does the work again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.e2e.adversary.attack import PATHS
from tests.e2e.adversary.http2 import send_http2
from tests.e2e.adversary.plane import CHAIN, CHAIN_LENGTHS, FIRST_BYTE_S, Plane, key_of
from tests.e2e.adversary.provider import MODELS, Failure, Manner
from tests.e2e.adversary.wire import Leaving, Request, send

WAVES = 10
# $0.50 of text and $0.50 of output: two of these calls are the whole limit.
_PROMPT_BYTES, _OUTPUT_TOKENS = 5_000, 2_500
# $0.15 and $0.15 for each attempt. A chain of three holds $0.90 and what surrounds the text.
_CHAINED_BYTES, _CHAINED_TOKENS = 1_500, 750
_SMALL_BYTES, _SMALL_TOKENS = 20, 5


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one client does in each wave."""

    name: str
    """A sentence."""
    leaving: Leaving = Leaving.NEVER
    stream: bool = True
    manner: Manner = field(default_factory=Manner)
    at_once: int = 1
    """Calls of a wave, all at the same time."""
    small_waves: int = 0
    """In its first waves it makes small, complete calls instead, from which the gateway may learn."""
    http2: bool = False
    chain: int = 1
    """Number of providers in the chain."""
    failing: int = 1
    """How many of them, from the first, have the manner."""
    once: bool = False
    """All of its calls are one wave."""
    reaches: int | None = 1
    """How many of them get a call. 0: the gateway never has a whole one. None: it depends on who is faster."""


_SLOW_STREAM = Manner(event_s=0.02)
BEHAVIOURS = (
    Behaviour("leaves as soon as it has asked", Leaving.AT_ONCE, manner=_SLOW_STREAM, reaches=None),
    Behaviour("leaves before all of its body is sent", Leaving.BEFORE_BODY_ENDS, reaches=0),
    Behaviour("leaves after the head of the answer", Leaving.AFTER_HEAD, manner=_SLOW_STREAM),
    Behaviour("leaves after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM),
    Behaviour("leaves after some events", Leaving.AFTER_HALF, manner=_SLOW_STREAM),
    Behaviour("leaves an unstreamed call once it is asked for", Leaving.ONCE_ASKED, stream=False,
              manner=Manner(head_s=0.6)),
    Behaviour("leaves streams before their head", Leaving.ONCE_ASKED, manner=Manner(head_s=0.6)),
    Behaviour("makes small calls, then leaves large streams after the first event", Leaving.AFTER_FIRST_EVENT,
              manner=_SLOW_STREAM, small_waves=4),
    Behaviour("makes small calls, then leaves large unstreamed calls", Leaving.ONCE_ASKED, stream=False,
              manner=Manner(head_s=0.6), small_waves=4),
    Behaviour("leaves ten streams at once after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM,
              at_once=10),
    Behaviour("reads slowly", Leaving.SLOWLY),
    Behaviour("makes ten complete calls at once", at_once=10, stream=False),
    Behaviour("resets HTTP/2 streams after the first event", Leaving.AFTER_FIRST_EVENT, manner=_SLOW_STREAM,
              http2=True),
    Behaviour("resets HTTP/2 streams once they are asked for", Leaving.ONCE_ASKED, manner=_SLOW_STREAM, http2=True),
    Behaviour("resets unstreamed HTTP/2 calls once they are asked for", Leaving.ONCE_ASKED, stream=False,
              manner=Manner(head_s=0.6), http2=True),
    Behaviour("is told nothing of usage in a stream", manner=Manner(usage=False)),
    Behaviour("is told nothing of usage in a whole answer", stream=False, manner=Manner(usage=False)),
    Behaviour("makes small calls, then large ones of which no usage is told", manner=Manner(usage=False),
              small_waves=4),
    *(
        Behaviour(f"makes small calls, then large ones that are done and answered with {status}", stream=stream,
                  manner=Manner(fails=Failure.STATUS, status=status), small_waves=2)
        for status, stream in ((504, False), (504, True), (408, False), (524, False), (520, False))
    ),
)  # fmt: skip
# All providers of a chain.
_ALL = max(CHAIN_LENGTHS)
# Longer than the gateway holds the head of a stream whose content has come, on any machine.
_CUT_S = 1
# A provider that does not answer in time has to do the work while nobody listens.
_LATE = Manner(head_s=FIRST_BYTE_S + 0.5, goes_on=True)
CHAINED = tuple(
    Behaviour(f"is failed by {failing} of {length} providers with {how}", stream=stream, manner=manner, at_once=4,
              chain=length, failing=failing, once=once, reaches=reaches and min(reaches, length),
              # After small calls the gateway books little of large ones that nobody measured: doubt has the rest.
              small_waves=0 if once else 2)
    for length in CHAIN_LENGTHS
    for failing in (length - 1, length)
    for how, stream, manner, once, reaches in (
        # An error counts as unbilled once it has arrived (docs/security.md). Until then its cost is held.
        ("an error", False, Manner(fails=Failure.STATUS, head_s=0.5), True, _ALL),
        ("a time-out of its proxy", False, Manner(fails=Failure.STATUS, status=504), False, _ALL),
        ("a hang-up before the head", False, Manner(fails=Failure.CUT_BEFORE), False, _ALL),
        ("a hang-up before the head of a stream", True, Manner(fails=Failure.CUT_BEFORE), False, _ALL),
        # The head of a stream is held until its content comes (docs/adr/0035), so another may answer until then.
        ("a hang-up before the content of a stream", True, Manner(fails=Failure.CUT_OPENING, cut_s=0.1), False, _ALL),
        # A client that has the head of an answer gets no other answer.
        ("a hang-up within an answer", False, Manner(fails=Failure.CUT_WITHIN), False, 1),
        ("a hang-up within a stream", True, Manner(fails=Failure.CUT_WITHIN, cut_s=_CUT_S), False, 1),
        # The hang-up comes with the content. If it is faster than the head, which is held, another answers.
        ("a hang-up within the first burst of a stream", True, Manner(fails=Failure.CUT_WITHIN), False, None),
        ("an answer that comes too late", False, _LATE, False, _ALL),
        ("a stream that comes too late", True, _LATE, False, _ALL),
    )
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
        """Distinguishes it from all others."""
        end = "goes on" if self.goes_on else "stops"
        return f"{self.behaviour.name}: {self.dialect}, the provider {end}"

    @property
    def mark(self) -> str:
        """The mark in the text of its calls."""
        return f"mark-{self.number}-{CHAIN[0]}"


_EACH = [
    *((behaviour, dialect, on) for behaviour in BEHAVIOURS for dialect in MODELS for on in (True, False)),
    *((behaviour, dialect, True) for behaviour in CHAINED for dialect in MODELS),
]
CASES = tuple(Case(number, *each) for number, each in enumerate(_EACH))


@dataclass(frozen=True, slots=True)
class Toll:
    """The result of a case."""

    billed_nano_usd: int
    """The bill of all providers together."""
    reached: int
    """How many providers it reached."""


def run(plane: Plane, cases: Sequence[Case]) -> dict[str, Toll]:
    """Runs all waves of all cases, side by side; first, while the machine has little to do, those of one wave."""
    _run_wave(plane, [case for case in cases if case.behaviour.once])
    for wave in range(WAVES):
        _run_wave(plane, [case for case in cases if not case.behaviour.once], wave)
    # Hundreds of calls at once may find a busy machine's gateway undecided (503). Such a client asks again.
    _run_wave(plane, [case for case in cases if case.behaviour.reaches not in {_reached(plane, case), None}], WAVES)
    return {case.title: Toll(plane.books.billed(case.mark), _reached(plane, case)) for case in cases}


def _run_wave(plane: Plane, cases: Sequence[Case], wave: int = 0) -> None:
    for case in cases:
        _give_manners(plane, case, small=wave < case.behaviour.small_waves)
    asyncio.run(_wave(plane, cases, wave))
    plane.wait_until_settled()


def _reached(plane: Plane, case: Case) -> int:
    return sum(case.mark in provider.served for provider in plane.providers.values())


def _give_manners(plane: Plane, case: Case, *, small: bool) -> None:
    for kind in CHAIN[: case.behaviour.failing]:
        manner = Manner() if small else replace(case.behaviour.manner, goes_on=case.goes_on)
        plane.providers[kind].manners[case.mark] = manner


async def _wave(plane: Plane, cases: Sequence[Case], wave: int) -> None:
    await asyncio.gather(*(_call(plane, case, wave) for case in cases for _ in range(case.behaviour.at_once)))


async def _call(plane: Plane, case: Case, wave: int) -> None:
    small = wave < case.behaviour.small_waves
    leaving = Leaving.NEVER if small else case.behaviour.leaving
    length = case.behaviour.chain
    model = plane.chain(length, case.dialect) if length > 1 else plane.model(CHAIN[0], case.dialect)
    served = plane.providers[CHAIN[0]].served
    before = served[case.mark]
    request = _request(model, case, lambda: served[case.mark] > before, small=small)
    secret = plane.gateway.secret(key_of(case.number))
    if case.behaviour.http2 and not small:
        await send_http2(plane.gateway.url, secret, request, leaving)
    else:
        await send(plane.gateway.url, secret, request, leaving)


def _request(model: str, case: Case, is_asked: Callable[[], bool], *, small: bool) -> Request:
    size, bound = (
        (_SMALL_BYTES, _SMALL_TOKENS)
        if small
        else (_PROMPT_BYTES, _OUTPUT_TOKENS)
        if case.behaviour.chain == 1
        else (_CHAINED_BYTES, _CHAINED_TOKENS)
    )
    text = f"{case.mark} " + "x" * size
    stream, path = case.behaviour.stream, PATHS[case.dialect].replace("@MODEL@", model)
    if case.dialect == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse") if stream else path
        body: dict[str, Any] = {
            "contents": [{"parts": [{"text": text}]}],
            "generationConfig": {"maxOutputTokens": bound},
        }
        return Request(path, json.dumps(body).encode(), is_asked=is_asked)
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "messages": messages, "max_tokens": bound, "stream": stream}
    return Request(path, json.dumps(body).encode(), is_asked=is_asked)
