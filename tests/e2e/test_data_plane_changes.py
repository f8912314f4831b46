"""Configuration that changes while calls go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Self

import httpx
import pytest

from tests.worlds.data_plane import PROVIDER_KEY, DataPlane

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
LISTENERS = ("listener_manager.listener_added", "listener_manager.listener_modified")


@pytest.fixture(scope="module")
def plane() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        yield plane


def counters(plane: DataPlane) -> list[str]:
    return [line for line in plane.envoy_admin("/stats").splitlines() if line.startswith(LISTENERS)]


class Load:
    """Calls without a pause from another thread."""

    def __init__(self, plane: DataPlane) -> None:
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(f"http://127.0.0.1:{plane.node.data_port}{PATH}",))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self, address: str) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._stop.is_set():
                self.statuses.append(client.post(address, json=CHAT).status_code)


def test_no_call_is_lost_and_no_listener_touched_while_providers_and_keys_change(plane: DataPlane) -> None:
    before = counters(plane)
    with Load(plane) as load:
        for number in range(5):
            name = f"new{number}"
            plane.add_provider(name)
            plane.publish()
            plane.wait(lambda name=name: f"{name}.openai" in plane.envoy_admin("/clusters"), f"{name} is known")  # type: ignore[misc]
            plane.quota.decide = lambda _, name=name: plane.allow(name)  # type: ignore[misc]
            plane.wait(lambda name=name: len(plane.provider(name).received) > 3, f"{name} is called")  # type: ignore[misc]
        plane.quota.decide = lambda _: plane.allow("main")
    assert set(load.statuses) == {200}
    assert len(load.statuses) > 20
    assert counters(plane) == before
    assert plane.router.refusals == []


def test_a_rotated_credential_is_used_without_touching_anything_else(plane: DataPlane) -> None:
    before = counters(plane)
    plane.secrets["main"] = f"Bearer {PROVIDER_KEY}-rotated"
    plane.publish()

    def rotated() -> bool:
        plane.client.post(PATH, json=CHAT)
        return plane.provider("main").received[-1].headers["authorization"].endswith("-rotated")

    plane.wait(rotated, "the new credential is used")
    assert counters(plane) == before


def test_calls_go_on_with_the_last_configuration_while_the_router_is_away() -> None:
    with DataPlane() as plane:
        plane.run(plane.stop_serving("router.sock"))
        assert plane.client.post(PATH, json=CHAT).status_code == 200


def test_a_quota_that_is_away_is_a_503_at_once() -> None:
    with DataPlane() as plane:
        plane.run(plane.stop_serving("quota.sock"))
        response = plane.client.post(PATH, json=CHAT)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "policy_unavailable")
    assert response.elapsed.total_seconds() < 0.4
    assert response.headers["retry-after"] == "1"
