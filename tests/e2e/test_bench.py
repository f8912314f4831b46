"""The bench works: every server that it starts serves every one of its cases. The test measures no time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.cases import Case, pairs
from tests.bench.gateways import Bench, Gateway
from tests.bench.measure import drive

pytestmark = [pytest.mark.e2e, pytest.mark.full]


@pytest.fixture(scope="module")
def gateways() -> Iterator[list[Gateway]]:
    # A short path: the sockets of the gateway lie below it.
    with tempfile.TemporaryDirectory(prefix="sg-") as folder, ExitStack() as stack:
        yield Bench(Path(folder), None, None, stack).start_all()


def test_every_gateway_of_the_bench_serves_every_case(gateways: list[Gateway]) -> None:
    def calls(gateway: Gateway, case: Case) -> int:
        result = drive(gateway, case, rate_per_s=40, seconds=0.1, load_core=None, warmup_s=0.0)
        assert result.statuses == {"200": result.issued}
        return result.issued

    assert all(calls(gateway, case) >= 4 for gateway, case in pairs(gateways))
