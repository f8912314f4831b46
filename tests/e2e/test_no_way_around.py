"""A key whose budget is zero finds no way to what costs money: whatever the path, the method, the headers or the body.

Counting and moderations cost nothing, and no limit on spend refuses what costs nothing.
"""

from __future__ import annotations

import http.client
import json
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from services.kernel.endpoint import ENDPOINTS, MODEL, VERB
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ASK = [{"role": "user", "content": "hi"}]
TARGETS = {"gpt": "openai/gpt", "claude": "anthropic/claude", "gem": "gemini/gem"}
CONFIGURATION = {
    "models": {model: {"targets": [target]} for model, target in TARGETS.items()},
    "prices": {target: {"input": 1, "output": 1} for target in TARGETS.values()},
    "policies": [{"name": "nothing", "match": {"key": "poor"}, "limits": [{"spend": 0, "per": "month"}]}],
    "keys": [{"name": "poor"}, {"name": "rich", "unlimited": True}],
}
# By the name of the endpoint: a path, a model that is asked there through a translator, what it is asked, and the
# vendor that then answers.
TRANSLATED: dict[str, tuple[str, str, dict[str, Any], Vendor]] = {
    "openai": ("/v1/chat/completions", "claude", {"messages": ASK}, Vendor.ANTHROPIC),
    "anthropic": ("/v1/messages", "gpt", {"messages": ASK, "max_tokens": 5}, Vendor.OPENAI),
    "openai-responses": ("/v1/responses", "claude", {"input": "hi"}, Vendor.ANTHROPIC),
}
AZURE = {
    "deployment": "/openai/deployments/gpt/chat/completions",
    **{
        path.removeprefix("/openai/").replace("/", "-"): path
        for row in ENDPOINTS
        for path in row.azure_paths
        if MODEL not in path
    },
}
# A path that each route of Envoy takes, by the route's name. Only quota's answer leads to a translated route, or to one
# for large bodies. A client cannot name them, but asks at their paths for every model.
PATHS = {
    **{
        f"{row.name}{kind}": path.replace(MODEL, "gem").replace(VERB, verb)
        for row in ENDPOINTS
        for kind, path in zip(("", "-large", "-method"), (row.paths[-1], row.paths[-1], row.paths[0]), strict=True)
        for verb in row.verbs or ("",)
    },
    **{f"{client}-translated": path for client, (path, *_) in TRANSLATED.items()},
    **{
        f"azure-{name}{kind}": path for name, path in AZURE.items() for kind in ("", "-large", "-translated", "-method")
    },
    "models": "/v1/models/gpt",
    "budget": "/v1/budget",
    "nothing": "/v1/images/generations",
}
FREE = ("/count_tokens", ":countTokens", "/moderations")
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "post", "BREW")
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"x-http-method-override": "POST", "x-original-url": "/v1/chat/completions", "x-rewrite-url": "/v1/messages"},
    {"x-envoy-original-path": "/v1/chat/completions", "x-envoy-max-retries": "9", "x-envoy-decorator-operation": "x"},
    {"x-spendgate-budget-remaining": "9", "x-spendgate-key": "rich", "x-spendgate-cluster": "openai.openai"},
    {
        "x-spendgate-translated": "true",
        "x-spendgate-translation": "anthropic",
        "x-envoy-dynamic-metadata": "translated",
    },
    {"content-type": "text/plain"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"anthropic-version": "2023-06-01", "x-goog-api-key": "x", "api-key": "y"},
    {"host": "api.openai.com", "x-forwarded-host": "api.openai.com"},
    {"expect": "100-continue"},
    {"upgrade": "websocket", "connection": "upgrade"},
)
BODIES: tuple[bytes, ...] = (
    b"",
    *(
        json.dumps(
            {"model": model, "messages": ASK, "contents": [{"parts": [{"text": "hi"}]}], "max_tokens": 5, **more}
        ).encode()
        for model in TARGETS
        for more in ({}, {"stream": True})
    ),
    b'{"model":"gpt","input":"hi"}',
    b'{"model":"claude","input":"hi"}',
    b'{"model":"gpt","input":"hi","background":true,"stream":true}',
    b'{"model":"gpt","prompt":["hi"]}',
    b'{"content":{"parts":[{"text":"hi"}]}}',
    b'{"requests":[{"model":"models/gem","content":{"parts":[{"text":"hi"}]}}]}',
    b'{"model":"gpt","model":"gem","messages":[]}',
    b"[]",
    b"not json",
)
ENCODED = {"/": "%2F", ".": "%2e", "v": "%76", ":": "%3A"}
SEED, ROUNDS = 13, 1_500


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("around"), CONFIGURATION, vendors) as running:
        yield running


def test_at13_no_byte_that_costs_something_reaches_a_provider_for_a_key_without_budget(
    gateway: Gateway, providers: Providers
) -> None:
    assert _route_names(gateway) == set(PATHS)
    _send(gateway, "rich", Request("POST", PATHS["openai"], {}, BODIES[1]))
    assert [len(providers.requests(vendor)) for vendor in Vendor].count(1) == 1, "what arrives is seen"
    providers.reset()
    for path, model, asked, vendor in TRANSLATED.values():
        body = json.dumps({"model": model, **asked}).encode()
        assert _send(gateway, "rich", Request("POST", path, {}, body)) == 200
        assert [each for each in Vendor if providers.requests(each)] == [vendor], "a translation is asked for"
        providers.reset()

    served: set[str] = set()
    for request in _attempts():
        status = _send(gateway, "poor", request)
        reached = [each for vendor in Vendor for each in providers.requests(vendor)]
        charged = [each for each in reached if not each.path.endswith(FREE)]
        assert not charged, f"{request} reached {charged}"
        if reached:
            providers.reset()
        elif status == 200:
            served.add(request.path)
    # At a budget of zero, quota gives every answer.
    assert served
    assert {path for path in served if not re.search(r"[/\\](models|budget)", unquote(path))} == set()


def _attempts() -> Iterator[Request]:
    for path in sorted(set(PATHS.values())):
        for trick in _tricks(path):
            for method in METHODS:
                yield Request(method, trick, {}, BODIES[1])
        for headers in HEADERS:
            for body in BODIES:
                yield Request("POST", path, headers, body)
    draw = random.Random(SEED)
    for _ in range(ROUNDS):
        path = draw.choice(_tricks(draw.choice(sorted(PATHS.values()))))
        path = _with_noise(path, draw)
        yield Request(draw.choice(METHODS), path, draw.choice(HEADERS), draw.choice(BODIES))


def _tricks(path: str) -> list[str]:
    first, rest = path[1:].split("/", 1)
    return [
        path,
        f"{path}/",
        f"/{path}",
        f"/{first}//{rest}",
        f"/{first}/./{rest}",
        f"/{first}/x/../{rest}",
        f"/x/../..{path}",
        f"/{first}%2F{rest}",
        f"/{first}%2f..%2f{first}/{rest}",
        f"/{first}/%2e%2e{path}",
        f"/{first}\\{rest}",
        f"{path};x=1",
        f"{path}%00",
        f"{path}%20",
        f"{path}?key=x&alt=sse&model=gpt",
        f"{path}#fragment",
        f"{path}?/../../v1/messages",
        path.upper(),
        path.title(),
        f"http://api.openai.com{path}",
        f"{path}:generateContent",
        f"{path}{path}",
    ]


def _with_noise(path: str, draw: random.Random) -> str:
    at = draw.randrange(len(path))
    choice = draw.randrange(4)
    if choice == 0:
        return path[:at] + ENCODED.get(path[at], path[at]) + path[at + 1 :]
    if choice == 1:
        return path[:at] + draw.choice(["/", "//", ".", "..", "%", ":", "?", "models/", "v1/"]) + path[at:]
    return path[:at] + path[at].swapcase() + path[at + 1 :] if choice == 2 else path


def _send(gateway: Gateway, key: str, request: Request) -> int:
    """Sends a request exactly as it is given; 0 when Envoy hung up on it."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    secret = f"Bearer {gateway.secret(key)}"
    headers = {"host": address.netloc, "authorization": secret, "content-type": "application/json", **request.headers}
    try:
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**headers, "content-length": str(len(request.body))}.items():
            connection.putheader(name, value)
        connection.endheaders(request.body)
        response = connection.getresponse()
        response.read()
    except (ConnectionError, http.client.HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


def _route_names(gateway: Gateway) -> set[str]:
    dump: Any = json.loads(gateway.ask_envoy("/config_dump?resource=dynamic_route_configs"))
    configurations = [each["route_config"] for each in dump["configs"]]
    (data,) = [each for each in configurations if each["name"] == "data"]
    return {route["name"] for host in data["virtual_hosts"] for route in host["routes"]}
