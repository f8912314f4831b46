from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.worlds.gateway import RUNNING, Providers, simulated_providers
from tests.worlds.real_model import RealModel, run_real_model
from tests.worlds.redis_process import RedisProcess


@pytest.fixture(scope="session")
def vendors() -> Iterator[Providers]:
    with simulated_providers() as providers:
        yield providers


@pytest.fixture
def providers(vendors: Providers) -> Iterator[Providers]:
    vendors.reset()
    yield vendors
    vendors.reset()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


@pytest.fixture(scope="session")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealModel]:
    with run_real_model(tmp_path_factory.mktemp("llama"), "key-of-the-real-model") as model:
        yield model


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests come in any order, but for files that tell one story: each of their tests goes on where the last ended."""
    for item in items:
        if item.get_closest_marker("story"):
            item.add_marker(pytest.mark.random_order(disabled=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend((f"gateway at {gateway.url}", gateway.logs()) for gateway in RUNNING)
    return report
