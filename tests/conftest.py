"""Rules of the whole test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from services.cli.__main__ import keep_grpc_out_of_forks
from tests.worlds.redis_process import RedisProcess

# Before any test module imports gRPC: tests fork as the supervisor does.
keep_grpc_out_of_forks()

# The machine decides how long an example takes. A slow or busy machine fails no test.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def _engines() -> Iterator[set[sa.Engine]]:
    """Every database engine that was used and is still open."""
    opened: set[sa.Engine] = set()

    def note(connection: sa.Connection) -> None:
        opened.add(connection.engine)

    sa.event.listen(sa.Engine, "engine_connect", note)
    yield opened
    sa.event.remove(sa.Engine, "engine_connect", note)
    for engine in opened:
        engine.dispose()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisProcess]:
    """A Redis that tests share: each has its own keys, and none stops it."""
    with RedisProcess() as process:
        yield process


@pytest.fixture(autouse=True)
def _close_databases(_engines: set[sa.Engine]) -> Iterator[None]:
    """Closes what a test opened. Since Python 3.13 a database that is collected while open is a warning."""
    before = set(_engines)
    yield
    for engine in _engines - before:
        engine.dispose()
        _engines.discard(engine)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was left out, so that nobody takes a green run for the whole."""
    if config.option.markexpr == "not full" and not config.option.collectonly:
        terminalreporter.write_line(
            "Not run: the tests that need programs of others (SDKs in Node, agents, another mock provider), or minutes."
            " `make test-all` installs what they need, and runs them too."
        )
