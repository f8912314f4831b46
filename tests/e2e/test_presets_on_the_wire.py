"""A provider gets the request that its vendor documents, and nothing of the client's own credential."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget

from services.kernel.dialect import Dialect
from services.kernel.preset import Preset
from tests.worlds.routed_plane import RoutedPlane, routed_plane

pytestmark = pytest.mark.e2e

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
GENERATE: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}]}
ON_THE_WIRE = {
    Preset.AZURE: ("/openai/v1", "/openai/v1/chat/completions", "api-key", "sk-provider"),
    Preset.BEDROCK: ("", "/v1/chat/completions", "authorization", "Bearer sk-provider"),
    Preset.VERTEX: (
        "/v1/projects/p/locations/l",
        "/v1/projects/p/locations/l/publishers/google/models/up:generateContent",
        "x-goog-api-key",
        "sk-provider",
    ),
    Preset.GROQ: ("/openai/v1", "/openai/v1/chat/completions", "authorization", "Bearer sk-provider"),
    Preset.PERPLEXITY: ("", "/chat/completions", "authorization", "Bearer sk-provider"),
    Preset.GEMINI: ("", "/v1beta/openai/chat/completions", "authorization", "Bearer sk-provider"),
}
"""By preset: the path of its address, the path of a call, and the one header with a credential."""
CREDENTIAL_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


def test_each_vendor_gets_the_path_and_the_credential_that_it_documents() -> None:
    async def scenario() -> None:
        async with routed_plane() as plane:
            plane.write_secret("key", "sk-provider")
            server = await plane.provider()
            providers, models = [], []
            for preset, (base, *_) in ON_THE_WIRE.items():
                address = f"http://127.0.0.1:{server.port}{base}"
                key = pb.SecretReference(file="key")
                providers.append(pb.Provider(name=preset, preset=preset, base_url=address, api_key=key))
                slot = ChainSlot(targets=[WeightedTarget(target=f"{preset}/up")])
                models.append(pb.Model(name=f"m-{preset}", targets=[slot]))
            await plane.apply(providers, models)
            await plane.until(plane.is_configured, "Envoy and quota have what was applied")
            for preset, (_, path, header, value) in ON_THE_WIRE.items():
                await ask(plane, preset)
                received = server.received[-1]
                assert received.path.partition("?")[0] == path
                credentials = {name: received.headers[name] for name in CREDENTIAL_HEADERS if name in received.headers}
                assert credentials == {header: value}
                assert "spg_test" not in str(received)
            # Envoy counts what it calls work in progress. Such a thing may change in any release.
            assert await plane.envoy_admin("/stats?filter=^server.wip_protos$") == "server.wip_protos: 0\n"

    asyncio.run(scenario())


async def ask(plane: RoutedPlane, preset: Preset) -> None:
    """Makes one call in the dialect of the preset's last face."""
    model = f"m-{preset}"
    path, body = "/v1/chat/completions", {**CHAT, "model": model}
    if preset.faces[-1].dialect is Dialect.GEMINI:
        path, body = f"/v1beta/models/{model}:generateContent", GENERATE
    answer = await plane.client.post(path, json=body, headers={"authorization": "Bearer spg_test_client"})
    assert answer.status_code == 200, answer.text
