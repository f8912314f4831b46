"""What the clients in Python have in common: jobs in, answers out, and what a job is.

A job is a call, a stream or a loop over the tool `get_weather`:

    {"do": "plain" | "stream" | "loop", "url": ..., "secret": ..., "dialect": ..., "model": ..., "prompt": ...}

`url` is the gateway's, without a path. An answer tells the text and, where the library tells them, the tokens.

This runs in environments that have nothing of ours: it imports the standard library alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

WEATHER = "rain"
MAX_TURNS = 20


class Job(NamedTuple):
    """What to do."""

    do: str
    url: str
    """Of the gateway, without a path."""
    secret: str
    """Of a virtual key."""
    dialect: str
    """`openai`, `responses`, `anthropic` or `gemini`: which of the library's models is used."""
    model: str
    prompt: str


class Answer(NamedTuple):
    """What the library told."""

    text: str
    input_tokens: int | None = None
    """None: the library does not tell."""
    output_tokens: int | None = None


def serve(work: Callable[[Job], Answer]) -> None:
    """Does a job for each line of standard input."""
    answers = sys.stdout
    # What a library prints is none of our answers.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"value": work(Job(**json.loads(line)))._asdict()}
        except Exception as error:  # noqa: BLE001 -- whatever it raises is what the program gets
            answer = {"error": _described(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _described(error: BaseException) -> dict[str, Any]:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    statuses = [
        status
        for each in causes
        for status in (getattr(each, "status_code", None), getattr(each, "code", None))
        if isinstance(status, int)
    ]
    return {"kind": type(error).__name__, "message": str(error), "status": statuses[0] if statuses else None}
