"""The router configures the real Envoy while calls go through it: none of them may notice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.type.v1.dialect_pb2 import DIALECT_OPENAI

from tests.worlds.data_plane_provider import Answer, Provider
from tests.worlds.http_server import Received
from tests.worlds.routed_plane import EPOCH, RoutedPlane, routed_plane

pytestmark = pytest.mark.e2e

_CALLS_PER_SECOND = 60
_LONG_CALL_S = 0.6


@dataclass
class Load:
    """Calls for one model at a steady rate, and their results."""

    plane: RoutedPlane
    statuses: Counter[int] = field(default_factory=Counter)
    servers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)

    async def drive(self) -> None:
        """Calls until cancelled. Every fifth call is a long one, in flight while the configuration changes."""
        count = 0
        while True:
            count += 1
            call = asyncio.create_task(self._call("long" if count % 5 == 0 else "short"))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.sleep(1 / _CALLS_PER_SECOND)

    async def finish(self) -> None:
        """Waits for the calls in flight."""
        await asyncio.gather(*self._calls)

    async def _call(self, length: str) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": length}]}
        response = await self.plane.client.post(
            "/v1/chat/completions", json=body, headers={"authorization": "Bearer spg_live_x"}
        )
        self.statuses[response.status_code] += 1
        if response.status_code == 200:
            self.servers[response.json()["server"]] += 1
        else:
            self.failures.append(f"{response.status_code} {response.text[:300]} {dict(response.headers)}")


@asynccontextmanager
async def under_load(plane: RoutedPlane) -> AsyncIterator[Load]:
    load = Load(plane)
    driver = asyncio.create_task(load.drive())
    try:
        yield load
    finally:
        driver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await driver
        await load.finish()


def serve(provider: Provider, name: str, *keys: str, path: str = "/v1/chat/completions") -> None:
    """Makes a provider answer with its name, but only to clients with one of its keys."""

    def answer(request: Received) -> Answer:
        if request.path != path:
            return Answer(status=404, body=b'{"error": {"message": "wrong path"}}')
        if request.headers.get("authorization") not in {f"Bearer {key}" for key in keys}:
            return Answer(status=401, body=b'{"error": {"message": "wrong key"}}')
        delay_s = _LONG_CALL_S if request.json["messages"][0]["content"] == "long" else 0.0
        return Answer(body=f'{{"server": "{name}", "usage": null}}'.encode(), delay_s=delay_s)

    provider.answer = answer


def lab(name: str, provider: Provider) -> pb.Provider:
    # A name takes Envoy longer than an address: it has to be resolved before calls may be sent there.
    host = "localhost" if name == "two" else "127.0.0.1"
    return pb.Provider(
        name=name,
        protocol=DIALECT_OPENAI,
        base_url=f"http://{host}:{provider.port}/v1",
        api_key=pb.SecretReference(file=name),
    )


def to(*names: str) -> pb.Model:
    return pb.Model(
        name="m",
        targets=[ChainSlot(targets=[WeightedTarget(target=f"{name}/up")]) for name in names],
    )


async def labs(plane: RoutedPlane, *names: str) -> list[tuple[Provider, pb.Provider]]:
    """Providers that each accept the key in the file of their name."""
    made = []
    for name in names:
        provider = await plane.provider()
        serve(provider, name, f"sk-{name}")
        plane.write_secret(name, f"sk-{name}\n")
        made.append((provider, lab(name, provider)))
    return made


async def settled(plane: RoutedPlane) -> None:
    """Waits until Envoy and quota have all that was applied."""

    await plane.until(plane.is_configured, "Envoy and quota have what was applied")


def test_clusters_come_and_go_and_a_key_rotates_without_a_lost_call() -> None:
    async def scenario() -> None:
        async with routed_plane() as plane:
            [(_, one), (second, two)] = await labs(plane, "one", "two")
            await plane.apply([one], [to("one")])
            await settled(plane)
            async with under_load(plane) as load:
                await plane.until(lambda: load.servers["one"] >= 20, "calls are served")
                await plane.apply([one, two], [to("two")])
                await plane.until(lambda: load.servers["two"] >= 20, "the new provider serves")
                await plane.apply([two], [to("two")])
                await plane.until(lambda: _holds(plane, {"two.openai", "two.anthropic"}), "the old cluster is removed")
                # Both keys are good while a key is rotated, as with every provider that lets one rotate.
                serve(second, "two", "sk-two", "sk-rotated")
                plane.write_secret("two", "sk-rotated")
                rotated = "Bearer sk-rotated"
                await plane.until(
                    lambda: second.received[-1].headers["authorization"] == rotated, "the new key is in use"
                )
                serve(second, "two", "sk-rotated")
                served = load.servers["two"]
                await plane.until(lambda: load.servers["two"] >= served + 20, "the new key serves")
            assert load.failures == []
            assert set(load.statuses) == {200}

    asyncio.run(scenario())


async def _holds(plane: RoutedPlane, clusters: set[str]) -> bool:
    return await plane.envoy_clusters() == clusters


def test_many_changes_in_a_row_lose_no_call() -> None:
    async def scenario() -> None:
        async with routed_plane() as plane:
            made = await labs(plane, "one", "two", "three")
            providers = [provider for _, provider in made]
            await plane.apply(providers[:1], [to("one")])
            await settled(plane)
            async with under_load(plane) as load:
                for turn in range(24):
                    first, second = turn % 3, (turn + 1) % 3
                    chosen = [providers[first], providers[second]]
                    await plane.apply(chosen, [to(*(provider.name for provider in chosen))])
                    await asyncio.sleep(0.1)
                await settled(plane)
            assert load.failures == []
            assert set(load.servers) == {"one", "two", "three"}

    asyncio.run(scenario())


def test_a_provider_moves_to_another_address_with_another_key_and_no_call_notices() -> None:
    async def scenario() -> None:
        async with routed_plane() as plane:
            [(_, here)] = await labs(plane, "one")
            elsewhere = await plane.provider()
            serve(elsewhere, "elsewhere", "sk-elsewhere", path="/api/v1/chat/completions")
            plane.write_secret("elsewhere", "sk-elsewhere")
            there = pb.Provider()
            there.CopyFrom(here)
            there.base_url = f"http://127.0.0.1:{elsewhere.port}/api/v1"
            there.api_key.file = "elsewhere"
            await plane.apply([here], [to("one")])
            await settled(plane)
            async with under_load(plane) as load:
                for turn in range(6):
                    await plane.apply([there if turn % 2 == 0 else here], [to("one")])
                    await asyncio.sleep(0.4)
                await settled(plane)
            assert load.failures == []
            assert set(load.servers) == {"one", "elsewhere"}
            assert {request.headers["authorization"] for request in elsewhere.received} == {"Bearer sk-elsewhere"}

    asyncio.run(scenario())


def test_what_envoy_refuses_stops_nothing_and_the_next_version_recovers() -> None:
    async def scenario() -> None:
        # Roots that do not exist make every TLS cluster one that Envoy refuses.
        async with routed_plane(SPENDGATE_PROVIDER_ROOTS="/nowhere/roots.pem") as plane:
            [(_, one), (_, two)] = await labs(plane, "one", "two")
            await plane.apply([one], [to("one")])
            await settled(plane)
            before = plane.quota.plan
            bad = pb.Provider(
                name="bad",
                protocol=DIALECT_OPENAI,
                base_url="https://127.0.0.1:1/v1",
                api_key=pb.SecretReference(none=True),
            )
            async with under_load(plane) as load:
                await plane.apply([one, bad], [to("bad", "one")])

                async def refused() -> bool:
                    return "/nowhere/roots.pem" in (await plane.status()).nodes[0].refusal

                await plane.until(refused, "the refusal is shown")
                await plane.until(lambda: load.servers["one"] >= 20, "calls are served")
                assert plane.quota.plan == before
                await plane.apply([one, two], [to("two")])
                await plane.until(lambda: load.servers["two"] >= 20, "the next version is in force")
                assert (await plane.status()).nodes[0].refusal == ""
            assert load.failures == []

    asyncio.run(scenario())


def test_traffic_goes_on_while_the_router_is_dead_and_through_its_return() -> None:
    async def scenario() -> None:
        async with routed_plane() as plane:
            [(_, one), (_, two)] = await labs(plane, "one", "two")
            await plane.apply([one], [to("one")])
            await settled(plane)
            async with under_load(plane) as load:
                plane.kill("router", signal.SIGKILL)
                served = load.servers["one"]
                await plane.until(lambda: load.servers["one"] >= served + 20, "calls are served")
                plane.start_router()
                await settled(plane)
                assert [node.epoch for node in (await plane.status()).nodes] == [EPOCH]
                await plane.apply([two], [to("two")])
                await plane.until(lambda: load.servers["two"] >= 20, "the router that came back configures")
            assert load.failures == []

    asyncio.run(scenario())
