from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from services.cli.supervisor.open_files import connections_within, raise_limit

ROOT = Path(__file__).resolve().parents[4]
LIMIT = "envoy.resource_limits.listener.data.connection_limit"


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [
        (1_024, 1_048_576, 65_536),
        (1_024, 4_096, 4_096),
        (20_000, 20_000, 20_000),
        (1_024, resource.RLIM_INFINITY, 65_536),
        (100_000, 200_000, 100_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 65_536),
    ],
)
def test_as_many_files_may_be_opened_as_the_system_allows_within_reason(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert raise_limit() == allowed
    assert raised == ([(allowed, hard)] if soft != resource.RLIM_INFINITY and soft < allowed else [])


@pytest.mark.parametrize(("files", "connections"), [(1_024, 614), (20_000, 12_000), (65_536, 12_000)])
def test_clients_leave_files_for_providers_and_for_the_admin_plane(files: int, connections: int) -> None:
    (layer,) = json.loads(connections_within(files))["layered_runtime"]["layers"]
    (limit,) = layer["static_layer"].items()
    assert limit == (LIMIT, connections)


def test_the_bootstrap_alone_bounds_both_planes_too() -> None:
    text = (ROOT / "envoy" / "bootstrap.yaml").read_text()
    assert f"{LIMIT}: 12000\n" in text
    assert "envoy.resource_limits.listener.admin.connection_limit: " in text
