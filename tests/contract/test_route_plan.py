"""The stream on which quota learns where calls may go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spendgate.router.v1 import route_plan_service_pb2 as pb
from spendgate.router.v1 import route_plan_service_pb2_grpc
from spendgate.type.v1.dialect_pb2 import DIALECT_ANTHROPIC, DIALECT_OPENAI

from services.chassis.well_known import duration
from services.kernel.change import OWNER
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import LeadReason
from services.kernel.preset import Preset
from services.quota.adapters.plan_stream import read_plan
from services.router.domain.health import Left
from services.router.domain.lead import Probe
from services.router.domain.model import ChainSlot
from services.router.domain.plan import ModelPlan, RoutePlan, TeamTiers, Tier
from services.router.domain.provided_model import ProvidedModel
from services.router.transport.route_plan_service import plan_message
from services.router.usecases.publish import VersionedPlan
from tests.worlds.router import Router, budget, fallback, group, lab, model, vendor
from tests.worlds.router_server import EPOCH, QUIET_S, TIMEOUT_S, Running, serving, until


class HandPlayedQuota:
    """Watches the plan."""

    def __init__(self, running: Running) -> None:
        stub: Any = route_plan_service_pb2_grpc.RoutePlanServiceStub(running.channel)
        self._call = stub.WatchRoutePlan()
        self._reading: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        await self._call.write(pb.WatchRoutePlanRequest())

    async def plan(self) -> pb.RoutePlan:
        reading = self._reading or asyncio.ensure_future(self._call.read())
        self._reading = None
        response: pb.WatchRoutePlanResponse = await asyncio.wait_for(reading, TIMEOUT_S)
        return response.plan

    async def hears_nothing(self) -> bool:
        self._reading = self._reading or asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait([self._reading], timeout=QUIET_S)
        return not done

    async def take(self, plan: pb.RoutePlan) -> None:
        await self._call.write(pb.WatchRoutePlanRequest(version_taken=plan.version))

    def leave(self) -> None:
        self._call.cancel()


def run(folder: Path, scenario: Callable[[Running], Awaitable[None]], router: Router | None = None) -> None:
    async def whole() -> None:
        async with serving(folder, router) as running:
            await scenario(running)

    asyncio.run(whole())


def envoy_acknowledges(running: Running) -> None:
    publisher = running.router.publisher
    node = publisher.nodes[0] if publisher.nodes else publisher.connect_node(EPOCH)
    assert publisher.version is not None
    publisher.acknowledged(node, publisher.version)


def test_the_plan_says_all_that_quota_needs(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        route = model(
            "claude",
            "anthropic/claude-sonnet-4-5",
            fallbacks=(fallback("anthropic/claude-haiku-4-5", when=budget(7_500)), fallback("lab/tiny")),
        )
        declared = ProvidedModel("tiny", context_window=4_096, max_output=512, carries=("tools",))
        own = replace(lab(), protocol=Dialect.OPENAI, stops_on_disconnect=True, models=(declared,))
        running.router.administrator.apply([vendor(Preset.ANTHROPIC), own], [route], validate_only=False, by=OWNER)
        envoy_acknowledges(running)
        quota = HandPlayedQuota(running)
        await quota.start()
        plan = await quota.plan()
        assert plan.version
        [planned] = plan.models
        assert (planned.model, planned.first_byte_timeout.ToMilliseconds()) == ("claude", 120_000)
        chains = {
            tier.from_basis_points: [[(one.target, one.weight) for one in slot.targets] for slot in tier.chain]
            for tier in planned.tiers
        }
        assert chains == {
            0: [
                [("anthropic/claude-sonnet-4-5", 1)],
                [("anthropic/claude-haiku-4-5", 1)],
                [("lab/tiny", 1)],
            ],
            7_500: [[("anthropic/claude-haiku-4-5", 1)], [("lab/tiny", 1)]],
        }
        assert [target.name for target in plan.targets] == [
            "anthropic/claude-haiku-4-5",
            "anthropic/claude-sonnet-4-5",
            "lab/tiny",
        ]
        haiku, _, tiny = plan.targets
        assert (haiku.upstream_model, haiku.catalogue_provider) == ("claude-haiku-4-5", "anthropic")
        assert (haiku.max_output_tokens, haiku.context_window_tokens) == (64_000, 200_000)
        assert (list(haiku.lacks), haiku.output_known) == (["audio", "video"], True)
        assert (tiny.max_output_tokens, tiny.context_window_tokens, tiny.output_known) == (512, 4_096, True)
        assert list(tiny.lacks) == ["audio", "documents", "images", "response_format", "thinking", "video"]
        assert read_plan(plan).targets["lab/tiny"].lacks == frozenset(tiny.lacks)
        assert (haiku.stops_on_disconnect, tiny.stops_on_disconnect) == (False, True)
        assert [(face.dialect, face.operation) for face in haiku.faces] == [
            (DIALECT_ANTHROPIC, pb.OPERATION_CHAT),
            (DIALECT_ANTHROPIC, pb.OPERATION_COUNT),
            (DIALECT_OPENAI, pb.OPERATION_CHAT),
            (DIALECT_OPENAI, pb.OPERATION_RESPOND),
        ]
        assert tiny.faces[0] == pb.PlannedTarget.Face(
            dialect=DIALECT_OPENAI,
            cluster="lab.openai",
            host="127.0.0.1:8081",
            path="/v1/chat/completions",
            output_cap_field=pb.PlannedTarget.OUTPUT_CAP_FIELD_MAX_TOKENS,
            operation=pb.OPERATION_CHAT,
        )
        [translated] = [face for face in tiny.faces if face.HasField("translation")]
        assert (translated.dialect, translated.cluster) == (DIALECT_ANTHROPIC, "lab.anthropic")
        assert translated.translation == pb.PlannedTarget.Translation(to=DIALECT_OPENAI)
        [translated] = [face for face in haiku.faces if face.HasField("translation")]
        assert (translated.operation, translated.cluster) == (pb.OPERATION_RESPOND, "anthropic.openai-responses")
        assert translated.translation.to == DIALECT_ANTHROPIC
        assert translated.output_cap_field == pb.PlannedTarget.OUTPUT_CAP_FIELD_MAX_TOKENS

    run(tmp_path, scenario, Router(ANTHROPIC_API_KEY="sk-ant"))


def test_a_model_without_a_usable_target_is_in_the_plan_with_the_providers_that_lack_a_credential(
    tmp_path: Path,
) -> None:
    async def scenario(running: Running) -> None:
        route = model("claude", "anthropic/claude-sonnet-4-5")
        running.router.administrator.apply([vendor(Preset.ANTHROPIC)], [route], validate_only=False, by=OWNER)
        envoy_acknowledges(running)
        quota = HandPlayedQuota(running)
        await quota.start()
        plan = await quota.plan()
        assert not plan.targets
        [planned] = read_plan(plan).models.values()
        assert (planned.model, planned.tiers, planned.providers_without_credential) == ("claude", (), ("anthropic",))

    run(tmp_path, scenario)


def test_quota_hears_of_a_plan_only_when_it_changes(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        quota = HandPlayedQuota(running)
        await quota.start()
        assert await quota.hears_nothing()
        administrator = running.router.administrator
        administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
        assert await quota.hears_nothing()
        envoy_acknowledges(running)
        first = await quota.plan()
        administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
        assert await quota.hears_nothing()
        administrator.apply([lab()], [model("n", "lab/x")], validate_only=False, by=OWNER)
        second = await quota.plan()
        assert [one.model for one in second.models] == ["n"]
        assert first.version != second.version

    run(tmp_path, scenario)


def test_only_after_quota_took_the_new_plan_is_the_old_cluster_removed(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        router = running.router
        router.administrator.apply([lab("old")], [model("m", "old/x")], validate_only=False, by=OWNER)
        envoy_acknowledges(running)
        quota = HandPlayedQuota(running)
        await quota.start()
        await quota.take(await quota.plan())
        router.administrator.apply([lab("new")], [model("m", "new/x")], validate_only=False, by=OWNER)
        envoy_acknowledges(running)
        plan = await quota.plan()
        router.publisher.tick()
        router.clock.advance(1_000)
        router.publisher.tick()
        assert router.clusters == ["new.gemini", "old.gemini"]
        await quota.take(plan)
        await until(lambda: router.publisher.plan_version_taken == plan.version)
        router.clock.advance(1_000)
        router.publisher.tick()
        assert router.clusters == ["new.gemini"]

    run(tmp_path, scenario)


def test_a_quota_that_comes_back_gets_the_plan_again(tmp_path: Path) -> None:
    async def scenario(running: Running) -> None:
        running.router.administrator.apply([lab()], [model("m", "lab/x")], validate_only=False, by=OWNER)
        envoy_acknowledges(running)
        versions = []
        for _ in range(2):
            quota = HandPlayedQuota(running)
            await quota.start()
            versions.append((await quota.plan()).version)
            quota.leave()
            await until(lambda: not running.router.publisher.watchers)
        assert versions[0] == versions[1]

    run(tmp_path, scenario)


def test_quota_reads_who_leads_why_and_which_slots_calls_may_try() -> None:
    sick, tiny = group(("a/x", 3), "b/x"), group("lab/tiny")
    left = Left(1, LeadReason.LATENCY, (), 4_000)
    tier = Tier(0, (tiny, sick), LeadReason.LATENCY, (Probe(sick, left, sick), Probe(tiny, left, ChainSlot(()))))
    cheap = Tier(7_500, (tiny,), LeadReason.BUDGET)
    message = plan_message(VersionedPlan("1", RoutePlan((ModelPlan("m", (tier, cheap), 1_000),), ())))
    first, second = read_plan(message).models["m"].tiers
    assert (first.reason, second.reason) == (LeadReason.LATENCY, LeadReason.BUDGET)
    (probe,) = first.probes
    assert [(one.target, one.weight) for one in probe.slot.targets] == [("a/x", 3), ("b/x", 1)]
    assert (probe.every_ms, second.probes) == (4_000, ())


def test_a_plan_of_a_release_without_reasons_still_says_that_the_budget_leads() -> None:
    tiers = [pb.Tier(), pb.Tier(from_basis_points=7_500)]
    planned = pb.ModelPlan(model="m", tiers=tiers, first_byte_timeout=duration(1_000))
    read = read_plan(pb.RoutePlan(version="1", models=[planned])).models["m"].tiers
    assert [tier.reason for tier in read] == [None, LeadReason.BUDGET]


def test_quota_reads_the_tiers_of_teams() -> None:
    tiny, small = group("lab/tiny"), group("lab/small")
    planned = ModelPlan("m", (Tier(0, (tiny,)),), 1_000, of_teams=(TeamTiers("ds", (Tier(0, (small,)),)),))
    message = plan_message(VersionedPlan("1", RoutePlan((planned,), ())))
    read = read_plan(message).models["m"]
    assert [tier.chain[0].targets[0].target for tier in read.tiers_for("ds")] == ["lab/small"]
    assert [tier.chain[0].targets[0].target for tier in read.tiers_for("web")] == ["lab/tiny"]
