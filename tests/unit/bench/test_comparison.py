"""The tables of other gateways say what each costs, what it does for that, and what it could not do."""

from __future__ import annotations

import pytest

from tests.bench.cases import PEAK, SLOW
from tests.bench.driver import Result
from tests.bench.gateways import Gateway
from tests.bench.peers.comparison import compared, enforced, rest
from tests.bench.peers.peer import Enforces, Missing, Peer
from tests.bench.samples import Samples
from tests.worlds.bench_run import Round, bench_run

PEER = Peer(
    Gateway("Other", 1), "1.2", Enforces("one key", "none", "nothing", "none"), "it does less than it should here"
)


@pytest.fixture
def samples() -> Samples:
    """Two rounds in which the other gateway takes forty times a plain Envoy's CPU time."""
    measured = bench_run(Round(), Round(raw_us=200.0))
    for raw_us in (100.0, 200.0):
        measured.cpu_us["Other", PEAK, "other"].append(40 * raw_us)
        measured.peak_per_s["Other"].append(250.0)
        for case in SLOW:
            measured.note("Other", case.name, Result(issued=1, mean_ms=20.3, p50_ms=20.3, p99_ms=30.6))
    measured.resident_mib["Other", "other"] = 345.0
    return measured


def test_a_peer_stands_beside_ours_and_a_plain_envoy(samples: Samples) -> None:
    rows = compared(samples, [PEER], {}).splitlines()

    assert "| Other | 6,000 (4,000 to 8,000) | 40.0x (40.0 to 40.0) | 250 (250 to 250) | 345 |" in rows
    assert any(row.startswith("| plain Envoy | 150 (100 to 200) | 1.0x") for row in rows)
    assert any(row.startswith("| **Spendgate, everything on** | 1,440 (960 to 1,920) | 9.6x") for row in rows)
    assert "| Other |" + " 20.00 / 30.00 (worst 30.00) |" * 4 in rows


def test_a_rate_that_a_peer_could_not_serve_has_no_figure(samples: Samples) -> None:
    rows = compared(samples, [PEER], {("Other", "350/s"): "it broke"}).splitlines()

    assert "| Other |" + " 20.00 / 30.00 (worst 30.00) |" * 3 + " not served |" in rows


def test_what_each_does_stands_there_with_why_another_is_missing() -> None:
    text = enforced([PEER], [Missing("Third", "no package has it.")])

    assert "| Other | 1.2 | one key | none | nothing | none |" in text.splitlines()
    assert "* **Other:** it does less than it should here" in text.splitlines()
    assert "* **Third** was not measured: no package has it." in text.splitlines()


def test_the_next_load_waits_until_a_gateway_has_finished_the_calls_of_the_last() -> None:
    used_s = [0.0, 0.4, 0.4, 0.7, 0.7, 0.71]
    waited: list[float] = []

    rest(lambda: {"worker": used_s.pop(0)}, waited.append)

    assert used_s == []
    assert len(waited) == 3


def test_a_gateway_that_is_never_idle_does_not_stop_the_bench() -> None:
    seconds = iter(range(10_000))
    waited: list[float] = []

    rest(lambda: {"worker": float(next(seconds))}, waited.append)

    assert 30 <= sum(waited) <= 120
