"""The router's admin API and its receiver of attempts, seen from the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1 import router_service_pb2_grpc
from spendgate.type.v1 import configuration_pb2
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from services.chassis.status import DETAILS_KEY
from services.router.usecases.attempt_stats import Tally
from tests.worlds.router_server import EPOCH, Running, serving, until

KEY = pb.SecretReference(env="LAB_KEY")
LAB = pb.Provider(name="lab", protocol="openai", base_url="http://127.0.0.1:8081/v1", api_key=KEY)
Groups = list[pb.TargetGroup]


def groups(*names: str) -> Groups:
    return [pb.TargetGroup(targets=[pb.TargetGroup.WeightedTarget(target=name)]) for name in names]


def whole_model() -> pb.Model:
    terms = [
        pb.Condition.Term(budget_used_basis_points=9_000),
        pb.Condition.Term(error_rate_basis_points=2_000, over_seconds=60),
        pb.Condition.Term(latency_p95_ms=8_000, over_seconds=300),
        pb.Condition.Term(ttft_p95_ms=2_000, over_seconds=60),
    ]
    equals = pb.TargetGroup(
        targets=[pb.TargetGroup.WeightedTarget(target=f"lab/{weight}", weight=weight) for weight in (1, 3)]
    )
    return pb.Model(
        name="m",
        targets=[equals],
        fallbacks=[pb.Fallback(to=groups("lab/x", "lab/y"), when=pb.Condition(all=True, terms=terms))],
        first_byte_timeout_ms=1_000,
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
                protocol="gemini",
                base_url="http://h",
                api_key=pb.SecretReference(none=True),
                headers=pb.ProviderHeaders(allow=["http-referer", "x-title"]),
                stops_on_disconnect=True,
            ),
        ]
        sent = pb.ApplyConfigurationRequest(providers=providers, models=[whole_model()])
        answer = await api.ApplyConfiguration(sent)
        assert [(change.kind, change.name) for change in answer.changes] == [
            ("provider", "lab"),
            ("provider", "open"),
            ("provider", "openai"),
            ("model", "m"),
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
                        to=[
                            pb.TargetGroup(targets=[pb.TargetGroup.WeightedTarget(target=name, weight=1)])
                            for name in ("lab/x", "lab/y")
                        ],
                        when=whole_model().fallbacks[0].when,
                    )
                ],
                first_byte_timeout_ms=1_000,
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
            pb.ApplyConfigurationRequest(providers=[pb.Provider(name="x", preset="azure", api_key=KEY)]),
            "providers[0].preset",
        ),
        (
            pb.ApplyConfigurationRequest(
                providers=[
                    LAB,
                    pb.Provider(name="x", protocol="openai", base_url="http://169.254.169.254", api_key=KEY),
                ]
            ),
            "providers[1].base_url",
        ),
        (
            pb.ApplyConfigurationRequest(models=[pb.Model(name="m", targets=groups("nobody/x"))]),
            "models[0].targets[0].targets[0].target",
        ),
        (
            pb.ApplyConfigurationRequest(
                providers=[LAB],
                models=[
                    pb.Model(
                        name="m",
                        targets=groups("lab/x"),
                        fallbacks=[
                            pb.Fallback(
                                to=groups("lab/y"), when=pb.Condition(terms=[pb.Condition.Term(over_seconds=1)])
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


def test_lists_come_in_pages(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        models = [pb.Model(name=f"m{at}", targets=groups("lab/x")) for at in range(5)]
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
        status = await api.GetRouterStatus(pb.GetRouterStatusRequest())
        assert status.version == status.nodes[0].version_sent != ""
        assert (status.nodes[0].epoch, status.nodes[0].version_acknowledged) == (EPOCH, "")
        assert status.nodes[0].refusal == "Cluster: bad"
        assert status.nodes[0].connect_time.ToMilliseconds() == running.router.clock.now_ms()
        assert status.plan_version == status.plan_version_taken == ""
        assert publisher.version is not None
        publisher.acknowledged(node, publisher.version)
        status = await api.GetRouterStatus(pb.GetRouterStatusRequest())
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
            made.common_properties.upstream_cluster = "lab.openai"
            made.common_properties.access_log_type = kind
            made.common_properties.start_time.FromMilliseconds(now_ms - 50)
            made.common_properties.duration.FromMilliseconds(50)
            made.response.response_code.value = status
            return made

        kinds = accesslog_pb2.AccessLogType
        message = als_pb2.StreamAccessLogsMessage()
        message.http_logs.log_entry.extend(
            [entry(kinds.UpstreamPoolReady, 0), entry(kinds.UpstreamEnd, 200), entry(kinds.UpstreamEnd, 503)]
        )
        stub: Any = als_pb2_grpc.AccessLogServiceStub(running.channel)
        call = stub.StreamAccessLogs()
        await call.write(message)
        await until(lambda: running.stats.tally("lab.openai", now_ms, 60).attempts)
        assert running.stats.tally("lab.openai", now_ms, 60) == Tally(attempts=2, failures=1, duration_ms=100)
        await call.done_writing()
        await call

    run(tmp_path, scenario)
