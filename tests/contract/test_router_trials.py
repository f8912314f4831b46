"""Where the names of providers lead, and the test of a provider, seen from the wire of the router's admin API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1.chain_pb2 import ChainSlot, WeightedTarget
from spendgate.type.v1.dialect_pb2 import DIALECT_ANTHROPIC, DIALECT_OPENAI

from tests.contract.test_router_api import KEY, run
from tests.worlds.ports import free_port
from tests.worlds.router_server import Running

USED = {"prompt_tokens": 3, "completion_tokens": 2, "input_tokens": 3, "output_tokens": 2}
SERVED = {"model": "tiny-1", "usage": USED}
Step = pb.TestProviderResponse


@contextmanager
def server(status: int, document: object) -> Iterator[tuple[int, list[Any]]]:
    """A server of one answer; yields its port and the requests that it got."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, dict(self.headers), json.loads(body)))
            answer = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the library)
            """Stays quiet."""

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield serving.server_address[1], received
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


def lab(port: int, protocol: Any = DIALECT_OPENAI, scheme: str = "http") -> pb.Provider:
    path = "/v1" if protocol == DIALECT_OPENAI else ""
    return pb.Provider(name="lab", protocol=protocol, base_url=f"{scheme}://127.0.0.1:{port}{path}", api_key=KEY)


def seen_of(folder: Path, provider: pb.Provider, model: str = "") -> pb.TestProviderResponse:
    """What a test of the provider shows. A model has its target `lab/tiny`."""
    found: list[pb.TestProviderResponse] = []

    async def scenario(_: Running, api: Any) -> None:
        chain = [ChainSlot(targets=[WeightedTarget(target="lab/tiny")])]
        applied = pb.ApplyConfigurationRequest(providers=[provider], models=[pb.Model(name="m", targets=chain)])
        await api.ApplyConfiguration(applied)
        found.append(await api.TestProvider(pb.TestProviderRequest(name="lab", model=model)))

    run(folder, scenario)
    return found[0]


@pytest.mark.parametrize(
    ("protocol", "path", "header", "value"),
    [
        (DIALECT_OPENAI, "/v1/chat/completions", "authorization", "Bearer sk-lab"),
        (DIALECT_ANTHROPIC, "/v1/messages", "x-api-key", "sk-lab"),
    ],
)
def test_one_small_call_with_the_credential_goes_where_real_calls_go(
    tmp_path: Path, protocol: Any, path: str, header: str, value: str
) -> None:
    with server(200, SERVED) as (port, received):
        seen = seen_of(tmp_path, lab(port, protocol))
    ((asked, headers, body),) = received
    assert (asked, headers[header], body["model"]) == (path, value, "tiny")
    assert (seen.step, seen.status, seen.served_model, seen.problem) == (Step.STEP_DONE, 200, "tiny-1", "")
    assert (seen.input_tokens, seen.output_tokens) == (3, 2)
    assert (seen.target, seen.address) == ("lab/tiny", f"127.0.0.1:{port}")
    assert seen.credential == "environment variable LAB_KEY"
    assert "sk-lab" not in str(seen)


def test_a_model_that_is_named_is_asked_for(tmp_path: Path) -> None:
    with server(200, SERVED) as (port, received):
        assert seen_of(tmp_path, lab(port), "other").target == "lab/other"
    assert received[0][2]["model"] == "other"


def test_a_refused_credential_is_named_by_where_it_is_kept(tmp_path: Path) -> None:
    with server(401, {"error": {"message": "Incorrect API key provided: sk-lab"}}) as (port, _):
        seen = seen_of(tmp_path, lab(port))
    assert (seen.step, seen.status) == (Step.STEP_DONE, 401)
    assert "environment variable LAB_KEY" in seen.problem
    assert "sk-lab" not in str(seen)


def test_a_missing_credential_makes_no_call(tmp_path: Path) -> None:
    with server(200, SERVED) as (port, received):
        provider = lab(port)
        provider.api_key.env = "NOT_SET"
        seen = seen_of(tmp_path, provider)
    assert seen.step == Step.STEP_CREDENTIAL
    assert "NOT_SET" in seen.problem
    assert received == []


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with server(307, {}) as (port, received):
        assert "redirects" in seen_of(tmp_path, lab(port)).problem
    assert len(received) == 1


def test_nobody_at_the_address_is_told_with_the_address(tmp_path: Path) -> None:
    port = free_port()
    seen = seen_of(tmp_path, lab(port))
    assert seen.step == Step.STEP_CONNECT
    assert f"nobody answers at 127.0.0.1:{port}: Connection refused" in seen.problem


def test_a_server_that_does_not_speak_tls_is_told_by_its_step(tmp_path: Path) -> None:
    with server(200, SERVED) as (port, _):
        seen = seen_of(tmp_path, lab(port, scheme="https"))
    assert seen.step == Step.STEP_TLS
    assert "SPENDGATE_PROVIDER_ROOTS" in seen.problem


def test_an_unknown_provider_and_one_without_a_model_are_refused(tmp_path: Path) -> None:
    async def scenario(_: Running, api: Any) -> None:
        await api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[lab(1)]))
        for name, code in (("lob", grpc.StatusCode.NOT_FOUND), ("lab", grpc.StatusCode.INVALID_ARGUMENT)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await api.TestProvider(pb.TestProviderRequest(name=name))
            assert caught.value.code() is code
            assert "lab" in str(caught.value.details())

    run(tmp_path, scenario)


def test_a_name_that_resolves_to_a_metadata_service_is_refused_by_its_path(tmp_path: Path) -> None:
    async def scenario(running: Running, api: Any) -> None:
        running.router.addresses["good.example"] = "10.0.0.1"
        running.router.addresses["bad.example"] = "169.254.169.254"
        for host in ("good.example", "bad.example"):
            lab = pb.Provider(name="lab", protocol=DIALECT_OPENAI, base_url=f"http://{host}/v1", api_key=KEY)
            asked = api.ApplyConfiguration(pb.ApplyConfigurationRequest(providers=[lab]))
            if host == "good.example":
                await asked
                continue
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asked
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "providers[0].base_url" in str(caught.value.details())
        (listed,) = (await api.ListProviders(pb.ListProvidersRequest())).providers
        assert listed.base_url == "http://good.example/v1"

    run(tmp_path, scenario)
