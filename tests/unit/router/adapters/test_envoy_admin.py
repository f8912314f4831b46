from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.router.adapters.envoy_admin import EnvoyAdmin


async def ask(folder: Path, statistics: str) -> bool:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(statistics)}\r\n\r\n{statistics}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / "a.sock")
    try:
        return await EnvoyAdmin(folder / "a.sock").is_warming()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("statistics", "warming"),
    [
        ("cluster_manager.warming_clusters: 0\n", False),
        ("cluster_manager.warming_clusters: 2\n", True),
        ("", False),
    ],
)
def test_envoy_is_warming_while_it_counts_a_warming_cluster(tmp_path: Path, statistics: str, warming: bool) -> None:
    assert asyncio.run(ask(tmp_path, statistics)) is warming


def test_without_an_envoy_nothing_is_waited_for(tmp_path: Path) -> None:
    assert asyncio.run(EnvoyAdmin(tmp_path / "nobody.sock").is_warming()) is False
