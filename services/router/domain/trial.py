"""A trial: one real call to a provider, as small as it can be, and what was seen of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from services.kernel.dialect import Dialect
from services.kernel.endpoint import MODEL, VERB
from services.router.domain.address import Origin
from services.router.domain.provider import Face
from services.router.domain.secret import SecretReference

# Some models think before they write, and refuse a bound that leaves them no room.
_OUTPUT_TOKENS = 16
_PROMPT = "Say OK."
_MAX_MESSAGE_CHARS = 300
_SERVED = 200
# In an answer: the model, the usage, and in that the tokens read and written.
_PLACES = {
    Dialect.OPENAI: ("model", "usage", "prompt_tokens", "completion_tokens"),
    Dialect.ANTHROPIC: ("model", "usage", "input_tokens", "output_tokens"),
    Dialect.GEMINI: ("modelVersion", "usageMetadata", "promptTokenCount", "candidatesTokenCount"),
}


class Step(StrEnum):
    """The step in which a trial ended."""

    CREDENTIAL = "credential"
    """Finding the credential."""
    NAME = "name"
    """Resolving the name."""
    CONNECT = "connect"
    """Connecting."""
    TLS = "tls"
    """Agreeing on encryption, and checking the certificate."""
    ANSWER = "answer"
    """Waiting for an answer, or reading it."""
    DONE = "done"
    """None: the provider served the call."""


@dataclass(frozen=True, slots=True)
class Post:
    """The request of a trial."""

    origin: Origin
    path: str
    headers: Mapping[str, str] = field(repr=False)
    """With the credential."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call showed of a server. Times are milliseconds; what was not reached is 0 or empty."""

    step: Step
    address: str = ""
    connect_ms: int = 0
    tls_ms: int = 0
    tls_version: str = ""
    answer_ms: int = 0
    """From the request to the end of the answer."""
    status: int = 0
    body: bytes = b""
    error: str = ""
    """What the system said, if no answer came."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial and what follows from it."""

    target: str
    dialect: Dialect
    url: str
    credential: SecretReference
    seen: Seen
    served_model: str = ""
    """As the answer names it."""
    input_tokens: int | None = None
    """As the answer reports them. None: it does not."""
    output_tokens: int | None = None
    problem: str = ""
    """What went wrong, and what to do. Empty: nothing."""


def smallest_call(face: Face, model: str) -> tuple[str, bytes]:
    """Returns the path and the body of the smallest chat of a face."""
    message = [{"role": "user", "content": _PROMPT}]
    if face.dialect is Dialect.GEMINI:
        path = face.path.replace(MODEL, quote(model, safe="/")).replace(VERB, "generateContent")
        bound = {face.output_cap_field.rpartition(".")[2]: _OUTPUT_TOKENS}
        asked: dict[str, object] = {
            "contents": [{"role": "user", "parts": [{"text": _PROMPT}]}],
            "generationConfig": bound,
        }
        return path, json.dumps(asked).encode()
    of_chat = {"model": model, "messages": message, str(face.output_cap_field): _OUTPUT_TOKENS}
    return face.path, json.dumps(of_chat).encode()


def judged(trial: Trial, secret: str) -> Trial:
    """Returns the trial with what its answer says. `secret` is left out of every text."""
    seen, document = trial.seen, _document(trial.seen.body)
    if seen.step is not Step.DONE:
        return replace(trial, problem=_why_no_answer(trial))
    if seen.status != _SERVED:
        return replace(trial, problem=_why_refused(trial, _message(document, secret)))
    if document is None:
        return replace(trial, problem=f"{trial.url} answered 200 with something else than JSON: check base_url")
    model, usage, *counts = _PLACES[trial.dialect]
    used, served = document.get(usage), document.get(model)
    input_tokens, output_tokens = (_count(used.get(name)) if isinstance(used, dict) else None for name in counts)
    has_usage = input_tokens is not None and output_tokens is not None
    return replace(
        trial,
        served_model=_shown(served, secret) if isinstance(served, str) else "",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        problem="" if has_usage else "the answer reports no usage, so the gateway would estimate what calls cost",
    )


def _why_no_answer(trial: Trial) -> str:
    seen, what = trial.seen, trial.seen.error or "no reason given"
    match seen.step:
        case Step.CREDENTIAL:
            return what
        case Step.NAME:
            return (
                f"the name in {trial.url} gives no address to call: {what}. Check base_url and this host's name server"
            )
        case Step.CONNECT:
            return (
                f"nobody answers at {seen.address}: {what}. Does the server run, and are base_url and its port right?"
            )
        case Step.TLS:
            return (
                f"no encrypted connection: {what}. If its certificate is of an authority of your own, name that in "
                "SPENDGATE_PROVIDER_ROOTS"
            )
        case _:
            return f"it took the call and gave no whole answer: {what}"


def _why_refused(trial: Trial, message: str) -> str:
    status, said = trial.seen.status, f" It says: {message}" if message else ""
    if status == 401:
        # Vendors quote the key that they refuse.
        return f"the provider refuses the credential from {trial.credential}: put one that it accepts in its place"
    if status == 403:
        return f"the credential from {trial.credential} is not allowed to do this, or with this model"
    if status == 404:
        model = trial.target.partition("/")[2]
        return f"there is no model {model} or nothing at {trial.url}: check the model's name and base_url.{said}"
    if status == 429:
        return f"the credential is good, but its quota is used up or calls come too fast.{said}"
    if 300 <= status < 400:
        return "the server redirects, which the gateway never follows: write its final address as base_url"
    return f"the provider answered with status {status}.{said}"


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(document: dict[str, Any] | None, secret: str) -> str:
    error = (document or {}).get("error")
    text = error.get("message") if isinstance(error, dict) else error
    return _shown(text, secret) if isinstance(text, str) else ""


def _shown(text: str, secret: str) -> str:
    """Somebody else's text, in one line, without the credential."""
    clean = text.replace(secret, "***") if secret else text
    return "".join(one if one.isprintable() else " " for one in clean)[:_MAX_MESSAGE_CHARS]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
