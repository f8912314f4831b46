"""How the router speaks ADS, seen from the wire: acknowledgements, refusals, resubscriptions, order, versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc.aio
import pytest
from spendgate_envoy.envoy.config.cluster.v3.cluster_pb2 import Cluster
from spendgate_envoy.envoy.config.listener.v3.listener_pb2 import Listener
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from services.kernel.change import OWNER
from services.router.transport.ads_session import CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE
from tests.worlds.router import lab, model
from tests.worlds.router_server import HandPlayedEnvoy, Running, named, serving, until

ONE_SECRET = "one.gemini@127.0.0.1:8081"
TWO_SECRET = "two.gemini@127.0.0.1:8081"


def run(folder: Path, scenario: Callable[[Running], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with serving(folder) as running:
            await scenario(running)

    asyncio.run(whole())


def apply(running: Running, *providers: str, key: str = "LAB_KEY") -> None:
    """One model for each of the providers."""
    running.router.administrator.apply(
        [lab(name, key=key) for name in providers],
        [model(name, f"{name}/x") for name in providers],
        validate_only=False,
        by=OWNER,
    )


def test_an_envoy_gets_everything_in_order_and_then_the_plan_is_in_force(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.ask(CLUSTER_TYPE)
        clusters = await envoy.next(CLUSTER_TYPE)
        assert named(clusters, Cluster).keys() == {"one.gemini"}
        await envoy.acknowledge(CLUSTER_TYPE)
        await envoy.ask(SECRET_TYPE, ONE_SECRET)
        secret = named(await envoy.next(SECRET_TYPE), Secret)[ONE_SECRET]
        assert secret.generic_secret.secret.inline_string == "sk-lab"
        await envoy.acknowledge(SECRET_TYPE)
        await envoy.ask(LISTENER_TYPE)
        listeners = named(await envoy.next(LISTENER_TYPE), Listener)
        assert listeners["data"].stat_prefix == "local-1795464000000"
        await envoy.acknowledge(LISTENER_TYPE)
        await envoy.ask(ROUTE_TYPE, "data")
        await envoy.next(ROUTE_TYPE)
        assert running.router.publisher.plan is None
        await envoy.acknowledge(ROUTE_TYPE)
        await until(lambda: running.router.planned == {"one.gemini"})
        assert await envoy.hears_nothing()

    run(tmp_path, scenario)


def test_a_cluster_whose_secret_is_not_acknowledged_is_not_planned(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        await until(lambda: running.router.planned == {"one.gemini"})
        apply(running, "one", "two")
        await envoy.next(CLUSTER_TYPE)
        await envoy.acknowledge(CLUSTER_TYPE)
        assert await envoy.hears_nothing()
        assert running.router.planned == {"one.gemini"}
        await envoy.ask(SECRET_TYPE, ONE_SECRET, TWO_SECRET)
        assert len((await envoy.next(SECRET_TYPE)).resources) == 2
        assert running.router.planned == {"one.gemini"}
        await envoy.acknowledge(SECRET_TYPE)
        await until(lambda: running.router.planned == {"one.gemini", "two.gemini"})

    run(tmp_path, scenario)


def test_a_cluster_that_is_still_warming_is_not_planned(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        running.warming.now = True
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        assert await envoy.hears_nothing()
        assert running.router.planned == set()
        running.warming.now = False
        await until(lambda: running.router.planned == {"one.gemini"})

    run(tmp_path, scenario)


def test_only_what_changed_is_sent(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        apply(running, "one")
        assert await envoy.hears_nothing()
        running.router.vault.values["LAB_KEY"] = "sk-rotated"
        running.router.administrator.reread_credentials()
        rotated = named(await envoy.next(SECRET_TYPE), Secret)[ONE_SECRET]
        assert rotated.generic_secret.secret.inline_string == "sk-rotated"
        await envoy.acknowledge(SECRET_TYPE)
        assert await envoy.hears_nothing()

    run(tmp_path, scenario)


def test_a_refusal_is_shown_keeps_the_plan_and_is_not_sent_again(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        await until(lambda: running.router.planned == {"one.gemini"})
        apply(running, "one", "two")
        await envoy.next(CLUSTER_TYPE)
        await envoy.refuse(CLUSTER_TYPE, "two.gemini: no such thing")
        node = running.router.publisher.nodes[0]
        await until(lambda: node.refusal == "Cluster: two.gemini: no such thing")
        assert await envoy.hears_nothing()
        assert running.router.planned == {"one.gemini"}
        running.router.administrator.apply([lab("one")], [model("other", "one/x")], validate_only=False, by=OWNER)
        assert named(await envoy.next(CLUSTER_TYPE), Cluster).keys() == {"one.gemini"}
        await envoy.acknowledge(CLUSTER_TYPE)
        await until(lambda: node.refusal == "")
        plan = running.router.publisher.plan
        assert plan is not None
        assert [one.model for one in plan.plan.models] == ["other"]

    run(tmp_path, scenario)


def test_a_request_that_was_overtaken_says_nothing(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        await until(lambda: running.router.planned == {"one.gemini"})
        old_nonce = envoy.nonces[CLUSTER_TYPE]
        apply(running, "one", "two")
        await envoy.next(CLUSTER_TYPE)
        await envoy.ask(CLUSTER_TYPE, nonce=old_nonce)
        await envoy.ask(CLUSTER_TYPE, nonce=old_nonce, refusal="of what came before")
        await envoy.ask(SECRET_TYPE, ONE_SECRET, TWO_SECRET)
        await envoy.next(SECRET_TYPE)
        await envoy.acknowledge(SECRET_TYPE)
        assert await envoy.hears_nothing()
        assert running.router.publisher.nodes[0].refusal == ""
        assert running.router.planned == {"one.gemini"}
        await envoy.acknowledge(CLUSTER_TYPE)
        await until(lambda: running.router.planned == {"one.gemini", "two.gemini"})

    run(tmp_path, scenario)


def test_other_names_are_answered_though_nothing_changed(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one", "two")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.ask(CLUSTER_TYPE)
        await envoy.next(CLUSTER_TYPE)
        await envoy.ask(SECRET_TYPE, ONE_SECRET)
        assert named(await envoy.next(SECRET_TYPE), Secret).keys() == {ONE_SECRET}
        await envoy.ask(SECRET_TYPE, ONE_SECRET, TWO_SECRET)
        assert named(await envoy.next(SECRET_TYPE), Secret).keys() == {ONE_SECRET, TWO_SECRET}
        await envoy.ask(SECRET_TYPE, TWO_SECRET)
        assert named(await envoy.next(SECRET_TYPE), Secret).keys() == {TWO_SECRET}
        await envoy.ask(SECRET_TYPE)
        assert await envoy.hears_nothing()

    run(tmp_path, scenario)


def test_a_secret_that_does_not_exist_is_answered_when_it_does(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.ask(SECRET_TYPE, ONE_SECRET)
        assert await envoy.hears_nothing()
        apply(running, "one")
        assert named(await envoy.next(SECRET_TYPE), Secret).keys() == {ONE_SECRET}

    run(tmp_path, scenario)


def test_each_envoy_gets_its_own_epoch_and_all_must_acknowledge(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        first = HandPlayedEnvoy(running.channel)
        second = HandPlayedEnvoy(running.channel, "other-1795464000001")
        await first.take_everything(ONE_SECRET)
        await until(lambda: running.router.planned == {"one.gemini"})
        await second.ask(LISTENER_TYPE)
        assert named(await second.next(LISTENER_TYPE), Listener)["data"].stat_prefix == "other-1795464000001"
        apply(running, "one", "two")
        await first.next(CLUSTER_TYPE)
        await first.acknowledge(CLUSTER_TYPE)
        await first.ask(SECRET_TYPE, ONE_SECRET, TWO_SECRET)
        await first.next(SECRET_TYPE)
        await first.acknowledge(SECRET_TYPE)
        assert await first.hears_nothing()
        assert running.router.planned == {"one.gemini"}
        await second.leave()
        await until(lambda: running.router.planned == {"one.gemini", "two.gemini"})

    run(tmp_path, scenario)


def test_after_a_reconnect_everything_is_sent_again(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        apply(running, "one")
        envoy = HandPlayedEnvoy(running.channel)
        await envoy.take_everything(ONE_SECRET)
        await envoy.leave()
        await until(lambda: not running.router.publisher.nodes)
        await HandPlayedEnvoy(running.channel).take_everything(ONE_SECRET)

    run(tmp_path, scenario)


@pytest.mark.parametrize("epoch", ["", "local", "../../etc-1795464000000", "a/b-1795464000000", "local-12"])
def test_a_node_without_an_epoch_is_turned_away(tmp_path: Path, epoch: str) -> None:
    async def scenario(running: Running) -> None:
        envoy = HandPlayedEnvoy(running.channel, epoch)
        await envoy.ask(CLUSTER_TYPE)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await envoy.next(CLUSTER_TYPE)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert running.router.publisher.nodes == []

    run(tmp_path, scenario)
