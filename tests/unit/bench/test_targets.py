"""A target that the table calls met is one that the samples keep."""

from __future__ import annotations

import pytest

from tests.bench.samples import Samples
from tests.bench.targets import TARGETS, summed_up, targets_table
from tests.worlds.bench_run import Round, bench_run


def verdicts(samples: Samples) -> dict[str, str]:
    rows = [line.strip("| ").split(" | ") for line in targets_table(samples).splitlines()[2:]]
    return {row[0]: row[3] for row in rows}


def missed(samples: Samples) -> set[str]:
    return {what for what, verdict in verdicts(samples).items() if verdict != "met"}


def test_a_run_that_keeps_every_bound_meets_every_target() -> None:
    samples = bench_run(Round(), Round(), Round())

    assert missed(samples) == set()
    assert summed_up(samples) == f"This run met {len(TARGETS)} of the {len(TARGETS)} targets that it measured."


@pytest.mark.parametrize(
    ("broken", "whats"),
    [
        (Round(whole=1.1), {"CPU time of a call at saturation, against plain Envoy"}),
        (
            Round(stream=1.3),
            {
                f"CPU time of a stream of 100 chunks in Envoy, against JSON, {dialect}"
                for dialect in ("openai", "anthropic", "gemini")
            },
        ),
    ],
)
def test_a_run_beyond_a_bound_misses_that_target_and_no_other(broken: Round, whats: set[str]) -> None:
    assert missed(bench_run(broken, broken, broken)) == whats


def test_one_slow_round_of_three_misses_only_the_bound_of_the_worst_round() -> None:
    samples = bench_run(Round(), Round(added_p99=50.0), Round())

    assert missed(samples) == {"Added p99 at 350 requests/s, worst round"}


def test_a_slow_machine_does_not_move_what_is_measured_against_plain_envoy() -> None:
    assert missed(bench_run(Round(), Round(raw_us=900.0), Round(raw_us=300.0))) == set()


def test_memory_beyond_its_bound_is_not_met() -> None:
    assert missed(bench_run(Round(), resident_mib=351.0)) == {"Resident memory of everything, end of this run"}


def test_what_a_run_did_not_measure_is_neither_met_nor_missed() -> None:
    assert set(verdicts(Samples()).values()) == {"not measured"}
    assert summed_up(Samples()) == "This run met 0 of the 0 targets that it measured."
