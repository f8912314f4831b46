from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anthropic
import openai
import pytest
from google import genai

from services.kernel.clock import ManualClock
from services.simulator.faults import Fault
from services.simulator.provider import SimulatedProvider, Vendor
from services.simulator.server import Listener

KEY = "provider-key"
Client = TypeVar("Client")


@dataclass
class Stage:
    provider: SimulatedProvider
    listener: Listener
    clients: list[Any] = field(default_factory=list)

    def fault(self, *faults: Fault) -> None:
        self.provider.faults.add(*faults)

    def openai(self, path: str = "/v1", key: str = KEY) -> openai.OpenAI:
        return self._keep(openai.OpenAI(api_key=key, base_url=self.listener.url + path, max_retries=0, timeout=5))

    def anthropic(self, key: str = KEY) -> anthropic.Anthropic:
        return self._keep(anthropic.Anthropic(api_key=key, base_url=self.listener.url, max_retries=0, timeout=5))

    def gemini(self, key: str = KEY, version: str = "v1beta") -> genai.Client:
        options = genai.types.HttpOptions(base_url=self.listener.url, api_version=version, timeout=5000)
        return self._keep(genai.Client(api_key=key, http_options=options))

    def _keep(self, client: Client) -> Client:
        self.clients.append(client)
        return client


def _stage(vendor: Vendor) -> Iterator[Stage]:
    provider = SimulatedProvider(vendor, KEY, ManualClock())
    with Listener(provider.app) as listener:
        stage = Stage(provider, listener)
        yield stage
        for client in stage.clients:
            client.close()


@pytest.fixture
def openai_stage() -> Iterator[Stage]:
    yield from _stage(Vendor.OPENAI)


@pytest.fixture
def anthropic_stage() -> Iterator[Stage]:
    yield from _stage(Vendor.ANTHROPIC)


@pytest.fixture
def gemini_stage() -> Iterator[Stage]:
    yield from _stage(Vendor.GEMINI)
