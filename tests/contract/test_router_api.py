"""The router's admin API and its receiver of attempts, seen from the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1 import router_service_pb2_grpc
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.router.v1.route_plan_service_pb2 import LEAD_REASON_ERRORS
from spendgate.type.v1 import configuration_pb2
from spendgate.type.v1.dialect_pb2 import DIALECT_GEMINI, DIALECT_OPENAI
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_MODEL, RESOURCE_KIND_PROVIDER
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from services.chassis.status import DETAILS_KEY
from services.chassis.well_known import duration
from services.router.domain.attempt import Attempt, Outcome
from services.router.usecases.attempt_log import HOLD_MS, Report
from services.router.usecases.attempt_stats import TargetFigures
from tests.worlds.router_server import EPOCH, Running, serving, until

UNHEARD: Any = 99
"""The number of an enum's member that only a later release knows."""
KEY = pb.SecretReference(env="LAB_KEY")
LAB = pb.Provider(name="lab", protocol=DIALECT_OPENAI, base_url="http://127.0.0.1:8081/v1", api_key=KEY)


def seconds(number: int) -> Duration:
    return Duration(seconds=number)


def slots(*names: str) -> list[ChainSlot]:
    return [ChainSlot(targets=[WeightedTarget(target=name)]) for name in names]


def whole_model() -> pb.Model:
    terms = [
        pb.Condition.Term(budget_used_basis_points=9_000),
        pb.Condition.Term(error_rate_basis_points=2_000, period=seconds(60)),
        pb.Condition.Term(latency_p95=seconds(8), period=seconds(300)),
        pb.Condition.Term(ttft_p95=seconds(2), period=seconds(60)),
    ]
    equals = ChainSlot(targets=[WeightedTarget(target=f"lab/{weight}", weight=weight) for weight in (1, 3)])
    return pb.Model(
        name="m",
        targets=[equals],
        fallbacks=[pb.Fallback(to=slots("lab/x", "lab/y"), when=pb.Condition(all=True, terms=terms))],
        first_byte_timeout=seconds(1),
        aliases=["c"],
    )


def run(folder: Path, scenario: Callable[[Running, Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with serving(folder) as running:
            await scenario(running, router_service_pb2_grpc.RouterServiceStub(running.channel))

    asyncio.run(whole())


def test_what_was_applied_is_listed_as_it_was_sent(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        providers = [
            LAB,
            pb.Provider(name="openai", preset="openai", api_key=pb.SecretReference(file="openai")),
            pb.Provider(
                name="open",
                protocol=DIALECT_GEMINI,
                base_url="http://h",
                api_key=pb.SecretReference(none=True),
                headers=pb.ProviderHeaders(allow=["http-referer", "x-title"]),
                stops_on_disconnect=True,
            ),
        ]
        sent = pb.ApplyConfigurationRequest(providers=providers, models=[whole_model()])
        answer = await api.ApplyConfiguration(sent)
        assert [(change.kind, change.name) for change in answer.changes] == [
            (RESOURCE_KIND_PROVIDER, "lab"),
            (RESOURCE_KIND_PROVIDER, "open"),
            (RESOURCE_KIND_PROVIDER, "openai"),
            (RESOURCE_KIND_MODEL, "m"),
        ]
        assert {change.action for change in answer.changes} == {configuration_pb2.Change.ACTION_CREATE}
        assert [warning.split(":")[0] for warning in answer.warnings] == ["provider openai"]
        listed = (await api.ListProviders(pb.ListProvidersRequest())).providers
        assert listed[2].credential_problem == "file secrets/openai is not set"
        listed[2].credential_problem = ""
        assert list(listed) == [LAB, providers[2], providers[1]]
        assert list((await api.ListModels(pb.ListModelsRequest())).models) == [
            pb.Model(
                name="m",
                targets=whole_model().targets,
                fallbacks=[
                    pb.Fallback(
                        to=[ChainSlot(targets=[WeightedTarget(target=name, weight=1)]) for name in ("lab/x", "lab/y")],
                        when=whole_model().fallbacks[0].when,
                    )
                ],
                first_byte_timeout=seconds(1),
                aliases=["c"],
            )
        ]
        assert (await api.ApplyConfiguration(sent)).changes == []

    run(tmp_path, scenario)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        answer = await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB], validate_only=True))
        assert len(answer.changes) == 1
        assert (await api.ListProviders(pb.ListProvidersRequest())).providers == []

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ApplyConfigurationRequest(providers=[pb.Provider(name="lab", preset="openai")]), "providers[0].api_key"),
        (
            pb.ApplyConfigurationRequest(providers=[pb.Provider(name="x", preset="azur", api_key=KEY)]),
            "providers[0].preset",
        ),
        (
            pb.ApplyConfigurationRequest(providers=[pb.Provider(name="x", preset="azure", api_key=KEY)]),
            "providers[0].base_url",
        ),
        (
            pb.ApplyConfigurationRequest(providers=[pb.Provider(name="x", base_url="http://h", api_key=KEY)]),
            "providers[0].preset",
        ),
        (
            pb.ApplyConfigurationRequest(
                providers=[pb.Provider(name="x", protocol=UNHEARD, base_url="http://h", api_key=KEY)]
            ),
            "providers[0].protocol",
        ),
        (
            pb.ApplyConfigurationRequest(
                providers=[
                    LAB,
                    pb.Provider(name="x", protocol=DIALECT_OPENAI, base_url="http://169.254.169.254", api_key=KEY),
                ]
            ),
            "providers[1].base_url",
        ),
        (
            pb.ApplyConfigurationRequest(models=[pb.Model(name="m", targets=slots("nobody/x"))]),
            "models[0].targets[0].targets[0].target",
        ),
        (
            pb.ApplyConfigurationRequest(
                providers=[LAB],
                models=[
                    pb.Model(
                        name="m",
                        targets=slots("lab/x"),
                        fallbacks=[
                            pb.Fallback(
                                to=slots("lab/y"), when=pb.Condition(terms=[pb.Condition.Term(period=seconds(1))])
                            )
                        ],
                    )
                ],
            ),
            "models[0].fallbacks[0].when.terms[0]",
        ),
    ],
)
def test_a_refusal_names_the_field(tmp_path: Path, request_: pb.ApplyConfigurationRequest, field: str) -> None:
    check_refusal(tmp_path, request_, field)


def check_refusal(tmp_path: Path, request_: pb.ApplyConfigurationRequest, field: str) -> None:
    async def scenario(running: Running, api: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.ApplyConfiguration(request_)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        trailers = dict(caught.value.trailing_metadata() or ())
        details = status_pb2.Status.FromString(trailers[DETAILS_KEY]).details
        bad_request = error_details_pb2.BadRequest()
        assert any(detail.Unpack(bad_request) for detail in details)
        assert [violation.field for violation in bad_request.field_violations] == [field]
        assert running.router.clusters == []

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("term", "field"),
    [
        (pb.Condition.Term(latency_p95=Duration(seconds=-1), period=seconds(60)), "latency_p95"),
        (pb.Condition.Term(latency_p95=Duration(nanos=1_500_000), period=seconds(60)), "latency_p95"),
        (pb.Condition.Term(latency_p95=Duration(seconds=1, nanos=-1), period=seconds(60)), "latency_p95"),
        (pb.Condition.Term(ttft_p95=seconds(10**9), period=seconds(60)), "ttft_p95"),
        (pb.Condition.Term(ttft_p95=Duration(), period=seconds(60)), "ttft_p95"),
        (pb.Condition.Term(error_rate_basis_points=1, period=Duration(seconds=1, nanos=500_000_000)), "period"),
        (pb.Condition.Term(error_rate_basis_points=1, period=seconds(3_601)), "period"),
        (pb.Condition.Term(error_rate_basis_points=1), "period"),
        (pb.Condition.Term(budget_used_basis_points=1, period=seconds(60)), "period"),
    ],
)
def test_a_condition_without_sense_is_refused_by_its_path(tmp_path: Path, term: pb.Condition.Term, field: str) -> None:
    fallback = pb.Fallback(to=slots("lab/y"), when=pb.Condition(terms=[term]))
    model = pb.Model(name="m", targets=slots("lab/x"), fallbacks=[fallback])
    wrong = pb.ApplyConfigurationRequest(providers=[LAB], models=[model])
    check_refusal(tmp_path, wrong, f"models[0].fallbacks[0].when.terms[0].{field}")


@pytest.mark.parametrize(
    "timeout",
    [Duration(), Duration(seconds=-1), Duration(nanos=1), seconds(10**6), Duration(seconds=1, nanos=2 * 10**9)],
)
def test_a_time_out_without_sense_is_refused_by_its_path(tmp_path: Path, timeout: Duration) -> None:
    model = pb.Model(name="m", targets=slots("lab/x"), first_byte_timeout=timeout)
    check_refusal(
        tmp_path, pb.ApplyConfigurationRequest(providers=[LAB], models=[model]), "models[0].first_byte_timeout"
    )


def test_without_a_time_out_the_default_holds(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        model = pb.Model(name="m", targets=slots("lab/x"))
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB], models=[model]))
        answer = await api.GetModel(pb.GetModelRequest(name="m"))
        assert answer.model.first_byte_timeout == seconds(120)

    run(tmp_path, scenario)


def test_one_provider_and_one_model_are_found_by_name(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        missing = pb.Provider(name="openai", preset="openai", api_key=pb.SecretReference(file="openai"))
        model = pb.Model(name="lab/tiny:8b", targets=slots("lab/x"))
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB, missing], models=[model]))
        assert (await api.GetProvider(pb.GetProviderRequest(name="lab"))).provider == LAB
        found = (await api.GetProvider(pb.GetProviderRequest(name="openai"))).provider
        assert found.credential_problem == "file secrets/openai is not set"
        assert (await api.GetModel(pb.GetModelRequest(name="lab/tiny:8b"))).model.name == "lab/tiny:8b"

        for ask, request, suggested in (
            (api.GetProvider, pb.GetProviderRequest(name="opneai"), "did you mean 'openai'?"),
            (api.GetProvider, pb.GetProviderRequest(), "known: lab, openai"),
            (api.GetModel, pb.GetModelRequest(name="lab/tiny:8B"), "did you mean 'lab/tiny:8b'?"),
            (api.GetModel, pb.GetModelRequest(name="x" * 100_000), "known: lab/tiny:8b"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(request)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            details = caught.value.details() or ""
            assert suggested in details
            assert len(details) < 300

    run(tmp_path, scenario)


def test_what_the_server_alone_sets_is_ignored_in_a_request(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        lab = pb.Provider()
        lab.CopyFrom(LAB)
        lab.credential_problem = "made up"
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[lab]))
        assert (await api.GetProvider(pb.GetProviderRequest(name="lab"))).provider == LAB

    run(tmp_path, scenario)


def test_lists_come_in_pages(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        models = [pb.Model(name=f"m{at}", targets=slots("lab/x")) for at in range(5)]
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB], models=models))
        names, token = [], ""
        while True:
            answer = await api.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
            names.append([one.name for one in answer.models])
            token = answer.next_page_token
            if not token:
                break
        assert names == [["m0", "m1"], ["m2", "m3"], ["m4"]]

    run(tmp_path, scenario)


def test_the_status_tells_what_each_envoy_and_quota_hold(tmp_path: Path) -> None:
    async def scenario(running: Running, api: Any) -> None:
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB]))
        publisher = running.router.publisher
        node = publisher.connect_node(EPOCH)
        node.sent = publisher.version
        publisher.refused(node, "Cluster: bad")
        status = (await api.GetRouterStatus(pb.GetRouterStatusRequest())).status
        assert status.version == status.nodes[0].version_sent != ""
        assert (status.nodes[0].epoch, status.nodes[0].version_acknowledged) == (EPOCH, "")
        assert status.nodes[0].refusal == "Cluster: bad"
        assert status.nodes[0].connect_time.ToMilliseconds() == running.router.clock.now_ms()
        assert status.plan_version == status.plan_version_taken == ""
        assert publisher.version is not None
        publisher.acknowledged(node, publisher.version)
        status = (await api.GetRouterStatus(pb.GetRouterStatusRequest())).status
        assert status.nodes[0].version_acknowledged == status.version
        assert status.nodes[0].refusal == ""
        assert publisher.plan is not None
        assert status.plan_version == publisher.plan.version

    run(tmp_path, scenario)


def test_attempts_that_ended_are_counted(tmp_path: Path) -> None:
    async def scenario(running: Running, _: Any) -> None:
        now_ms = running.router.clock.now_ms()

        def entry(kind: accesslog_pb2.AccessLogType.ValueType, status: int) -> accesslog_pb2.HTTPAccessLogEntry:
            made = accesslog_pb2.HTTPAccessLogEntry()
            made.request.request_id = f"request-{kind}-{status}"
            made.request.request_headers[":spendgate-target"] = "lab/tiny"
            made.common_properties.upstream_cluster = "lab.openai"
            made.common_properties.access_log_type = kind
            made.common_properties.start_time.FromMilliseconds(now_ms - 50)
            made.common_properties.duration.FromMilliseconds(50)
            made.common_properties.time_to_first_upstream_rx_byte.FromMilliseconds(40)
            made.common_properties.time_to_last_upstream_rx_byte.FromMilliseconds(50)
            made.response.response_code.value = status
            return made

        kinds = accesslog_pb2.AccessLogType
        message = als_pb2.StreamAccessLogsMessage()
        message.http_logs.log_entry.extend(
            [
                entry(kinds.UpstreamPoolReady, 0),
                entry(kinds.UpstreamEnd, 200),
                entry(kinds.UpstreamEnd, 201),
                entry(kinds.DownstreamEnd, 201),
                entry(kinds.UpstreamEnd, 503),
            ]
        )
        stub: Any = als_pb2_grpc.AccessLogServiceStub(running.channel)
        call = stub.StreamAccessLogs()
        await call.write(message)
        await until(lambda: running.stats.figures("lab/tiny").failures == 1)
        running.router.clock.advance(HOLD_MS)
        running.log.tick()
        assert running.stats.figures("lab/tiny") == TargetFigures(3, 1, latency_p95_ms=50, ttft_p95_ms=40)
        await call.done_writing()
        await call

    run(tmp_path, scenario)


def test_routes_say_who_leads_since_when_and_why(tmp_path: Path) -> None:
    when = pb.Condition(terms=[pb.Condition.Term(error_rate_basis_points=2_000, period=duration(10_000))])
    first, second = (ChainSlot(targets=[WeightedTarget(target=name, weight=1)]) for name in ("lab/first", "lab/second"))
    route = pb.Model(name="m", targets=[first], fallbacks=[pb.Fallback(to=[second], when=when)])

    async def scenario(running: Running, api: Any) -> None:
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[LAB], models=[route]))
        status = (await api.GetRouteStatus(pb.GetRouteStatusRequest())).status
        assert [list(tier.chain) for tier in status.models[0].tiers] == [[first, second]]
        assert not status.models[0].tiers[0].HasField("lead_time")
        now_ms = running.router.clock.now_ms()
        for at in range(5):
            failed = Attempt("lab/first", now_ms, 10, 5, Outcome.FAILED, retry_after_ms=9_000 if at == 4 else 0)
            running.log.take([Report(str(at), failed)])
        running.follow()
        running.router.clock.advance(9_000)
        running.follow()
        running.log.take([Report("6", Attempt("lab/second", now_ms, 10, 5, Outcome.FAILED, retry_after_ms=1_000))])
        status = (await api.GetRouteStatus(pb.GetRouteStatusRequest())).status
        [tier] = status.models[0].tiers
        assert (list(tier.chain), list(tier.probed_slots)) == ([second, first], [first])
        assert (tier.reason, tier.lead_time.ToMilliseconds()) == (LEAD_REASON_ERRORS, now_ms)
        figure = pb.TermFigure(term=when.terms[0], attempts=5, bad_attempts=5)
        assert list(tier.figures) == [figure]
        fared = {target.target: target for target in status.targets}
        assert (fared["lab/first"].attempts, fared["lab/first"].failed_attempts) == (5, 5)
        assert not fared["lab/first"].HasField("latency_p95")
        assert fared["lab/second"].out_until_time.ToMilliseconds() == now_ms + 10_000
        [switch] = status.switches
        assert (switch.model, switch.previous_slot, switch.slot) == ("m", first, second)
        assert (switch.direction, list(switch.figures)) == (pb.RouteSwitch.DIRECTION_LEFT, [figure])

    run(tmp_path, scenario)
