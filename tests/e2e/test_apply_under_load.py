"""`spendgate apply` and `keys` while clients call without a pause: each change is in force at once, no call is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from services.simulator.provider import Vendor
from services.simulator.server import Listener
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

IN_FORCE_S = 1.0
CHAT = "/v1/chat/completions"
CONFIGURATION: dict[str, Any] = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}, "openai/small": {"input": 1, "output": 10}},
    "teams": {"ds": {}, "other": {}},
    "policies": [
        {"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]},
        {"name": "other", "match": {"team": "other"}, "limits": [{"requests": 0, "per": "month"}]},
    ],
    "keys": [{"name": "busy", "team": "ds"}, {"name": "poor", "team": "other"}, {"name": "leaver", "team": "ds"}],
}


class Load:
    """Four clients that call without a pause, one of two with a stream; keeps every status.

    Another one asks for a model, which is free and quick, so it most likely meets a gap of milliseconds.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.statuses: list[int | str] = []
        self.listings: list[int | str] = []
        self._stopping = threading.Event()
        self._gateway = gateway
        self._threads = [threading.Thread(target=self._run, args=(at % 2 == 0,)) for at in range(4)]
        self._threads.append(threading.Thread(target=self._list_models))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def wait_for(self, calls: int) -> None:
        """Returns when this many more calls have ended."""
        enough, deadline = len(self.statuses) + calls, time.monotonic() + 20
        while len(self.statuses) < enough:
            assert time.monotonic() < deadline, self.statuses[-5:]
            time.sleep(0.05)

    def _list_models(self) -> None:
        with self._client() as client:
            while not self._stopping.is_set():
                try:
                    self.listings.append(client.get("/v1/models/tiny").status_code)
                except httpx.HTTPError as error:
                    self.listings.append(repr(error))

    def _client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self._gateway.secret('busy')}"}
        return httpx.Client(base_url=self._gateway.url, headers=headers, timeout=30)

    def _run(self, stream: bool) -> None:
        with self._client() as client:
            while not self._stopping.is_set():
                try:
                    answer = client.post(CHAT, json=_body("tiny", stream=stream))
                except httpx.HTTPError as error:
                    self.statuses.append(repr(error))
                else:
                    whole = not stream or answer.text.rstrip().endswith("[DONE]")
                    self.statuses.append(answer.status_code if whole else "cut")


class TwoKeys:
    """The simulated OpenAI as it is while a key rotates: it takes the old one and the new one."""

    def __init__(self, providers: Providers) -> None:
        self._vendor = providers.by_vendor[Vendor.OPENAI]
        self.rotated = f"{self._vendor.api_key}-rotated"
        self.keys_seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves as an ASGI application."""
        headers = dict(scope["headers"])
        self.keys_seen.append(headers.get(b"authorization", b"").decode().removeprefix("Bearer "))
        if self.keys_seen[-1] == self.rotated:
            headers[b"authorization"] = f"Bearer {self._vendor.api_key}".encode()
        await self._vendor.app({**scope, "headers": list(headers.items())}, receive, send)


@pytest.fixture
def two_keys(providers: Providers) -> TwoKeys:
    return TwoKeys(providers)


@pytest.fixture
def gateway(tmp_path: Path, providers: Providers, two_keys: TwoKeys) -> Iterator[Gateway]:
    with Listener(two_keys) as listener:
        openai = {"preset": "openai", "base_url": f"{listener.url}/v1", "api_key": {"env": "OPENAI_API_KEY"}}
        configuration = {**CONFIGURATION, "providers": {"openai": openai}}
        with run_gateway(tmp_path, configuration, providers) as running:
            yield running


def test_every_change_is_in_force_within_a_second_and_no_call_is_lost(
    gateway: Gateway, two_keys: TwoKeys, tmp_path: Path
) -> None:
    with Load(gateway) as load:
        load.wait_for(20)

        assert _status(gateway, "poor", "tiny") == 429
        _change(gateway, tmp_path, policies=[CONFIGURATION["policies"][0], _requests_policy(1000)])
        _within_a_second(lambda: _status(gateway, "poor", "tiny") == 200, "the raised limit")

        assert _status(gateway, "busy", "small") == 404
        models = {**CONFIGURATION["models"], "small": {"targets": ["openai/small"]}}
        _change(gateway, tmp_path, models=models)
        _within_a_second(lambda: _status(gateway, "busy", "small") == 200, "the new model")

        (gateway.data_dir / "secrets" / "rotated").write_text(two_keys.rotated)
        openai = json.loads((tmp_path / "spendgate.yaml").read_text())["providers"]["openai"]
        _change(gateway, tmp_path, providers={"openai": {**openai, "api_key": {"file": "rotated"}}})
        _within_a_second(lambda: set(two_keys.keys_seen[-8:]) == {two_keys.rotated}, "the new key of the provider")

        assert _status(gateway, "leaver", "tiny") == 200
        gateway.json("keys", "disable", "leaver")
        _within_a_second(lambda: _status(gateway, "leaver", "tiny") in {401, 403}, "the disabled key")
        gateway.json("keys", "enable", "leaver")
        _within_a_second(lambda: _status(gateway, "leaver", "tiny") == 200, "the enabled key")

        load.wait_for(20)
    assert set(load.statuses) == set(load.listings) == {200}
    gateway.settle()
    total = gateway.usage()["total"]
    assert total["calls"] >= len(load.statuses)
    assert gateway.budget("everybody")["settled_usd"] == total["cost_usd"]


def test_a_key_ends_at_the_moment_that_it_was_given(gateway: Gateway) -> None:
    at = time.time() + 3
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    secret = gateway.json("keys", "create", "visitor", "--team", "ds", "--expires", moment)["secret"]
    assert _status(gateway, secret, "tiny") == 200
    end = int(at)
    while time.time() < end - 0.5:
        assert _status(gateway, secret, "tiny") == 200
        time.sleep(0.1)
    time.sleep(max(0, end - time.time()))
    _within_a_second(lambda: _status(gateway, secret, "tiny") == 401, "the end of the key")
    refusal = gateway.http(secret).post(CHAT, json=_body("tiny")).json()["error"]
    assert refusal["code"] == "expired_api_key"
    (listed,) = [key for key in gateway.json("keys", "list")["keys"] if key["name"] == "visitor"]
    assert listed["expires_at"] == moment


def test_a_provider_on_a_metadata_service_is_refused_and_nothing_changes(gateway: Gateway, tmp_path: Path) -> None:
    for url in ("http://169.254.169.254/v1", "http://[fe80::1]/v1", "http://0xa9fea9fe/v1", "http://metadata.goog/v1"):
        openai = json.loads((tmp_path / "spendgate.yaml").read_text())["providers"]["openai"]
        done = _apply(gateway, tmp_path, providers={"openai": {**openai, "base_url": url}})
        assert done.returncode in {1, 2}, url
        assert "metadata service" in done.stderr, done.stderr
    assert _status(gateway, "busy", "tiny") == 200


def _requests_policy(limit: int) -> dict[str, Any]:
    return {"name": "other", "match": {"team": "other"}, "limits": [{"requests": limit, "per": "month"}]}


def _change(gateway: Gateway, tmp_path: Path, **changes: Any) -> None:
    done = _apply(gateway, tmp_path, **changes)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "spendgate.yaml"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _apply(gateway: Gateway, tmp_path: Path, **changes: Any) -> Any:
    document: Mapping[str, Any] = json.loads((tmp_path / "spendgate.yaml").read_text()) | changes
    file = tmp_path / "changed.yaml"
    file.write_text(json.dumps(document))
    variables = {f"KEY_{name.upper()}": gateway.secret(name) for name in gateway.key_secrets}
    return gateway.run("apply", "-f", str(file), environment=variables)


def _within_a_second(holds: Callable[[], bool], what: str) -> None:
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < IN_FORCE_S, f"{what} was not in force after {IN_FORCE_S} s"
        time.sleep(0.02)


def _status(gateway: Gateway, key: str, model: str) -> int:
    return gateway.http(key).post(CHAT, json=_body(model)).status_code


def _body(model: str, *, stream: bool = False) -> dict[str, Any]:
    ask = [{"role": "user", "content": "Answer in 5 tokens."}]
    return {"model": model, "messages": ask, "max_tokens": 20, "stream": stream}
