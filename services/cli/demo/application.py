"""The team's applications: clients that know the gateway's base URL and a key, and nothing else."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from services.cli.demo.month import Task
from services.kernel.envoy_contract import ATTEMPTS_HEADER, MODEL_SERVED_HEADER

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """A call that was answered."""

    environment: str
    target: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Denied:
    """A call that was refused. The fields are those of OpenAI's error."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SdkDenial:
    """The official SDK's view of a refusal."""

    exception: str
    """Its class."""
    kind: str
    """Its `type`."""
    code: str
    requests: int
    """How many requests it sent, including retries."""


class Application:
    """Calls through the gateway at `url`. `keys` holds the virtual key of each environment."""

    def __init__(self, url: str, keys: Mapping[str, str]) -> None:
        self._base_url = f"{url}/v1"
        self._keys = keys
        self._client = httpx.Client(timeout=_TIMEOUT_S)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def call(self, task: Task) -> Served | Denied:
        """Makes one call, as any OpenAI client would.

        Raises:
            httpx.HTTPError: it was neither answered nor refused for its budget.
        """
        body: dict[str, Any] = {
            "model": task.model,
            "messages": [{"role": "user", "content": task.prompt}],
            "max_tokens": task.max_tokens,
        }
        if task.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        answer = self._client.post(
            f"{self._base_url}/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {self._keys[task.environment]}"},
        )
        if answer.status_code == 429:
            error = answer.json()["error"]
            return Denied(429, error["code"], error["message"], error.get("details", {}))
        answer.raise_for_status()
        usage = _usage_of_stream(answer.text) if task.stream else answer.json()["usage"]
        return Served(
            environment=task.environment,
            target=answer.headers[MODEL_SERVED_HEADER],
            attempts=int(answer.headers[ATTEMPTS_HEADER]),
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        )

    def call_with_sdk(self, task: Task) -> SdkDenial | None:
        """Calls with the official `openai` package and its default retries. Returns None if it is not installed.

        Raises:
            AssertionError: the call was not refused.
        """
        try:
            openai = importlib.import_module("openai")
        except ModuleNotFoundError:
            return None
        sent: list[object] = []
        http_client = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
        with openai.OpenAI(
            api_key=self._keys[task.environment], base_url=self._base_url, http_client=http_client
        ) as client:
            messages = [{"role": "user", "content": task.prompt}]
            try:
                client.chat.completions.create(model=task.model, messages=messages, max_tokens=task.max_tokens)
            except openai.APIStatusError as error:
                return SdkDenial(f"openai.{type(error).__name__}", str(error.type), str(error.code), len(sent))
        raise AssertionError("a call that no budget has room for was served")


def _usage_of_stream(text: str) -> dict[str, Any]:
    """Returns the usage in the last chunk of an OpenAI stream."""
    chunks = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    usage: dict[str, Any] = json.loads(chunks[-1])["usage"]
    return usage
