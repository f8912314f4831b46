"""The report says by itself when the machine was too restless for its figures."""

from __future__ import annotations

from tests.bench.noise import noise, waking
from tests.worlds.bench_run import Round, bench_run


def test_a_quiet_machine_is_called_quiet() -> None:
    said = noise(bench_run(Round(), Round(raw_us=105.0)), stolen=0.0)

    assert said.startswith("The machine was quiet: plain Envoy's own worst round is 1.1 times its best.")


def test_a_machine_on_which_plain_envoy_itself_doubles_is_called_noisy() -> None:
    said = noise(bench_run(Round(), Round(), Round(raw_us=200.0)), stolen=0.02)

    assert said.startswith("**The machine was noisy: plain Envoy's own worst round is 2.0 times its best.**")
    assert "2.0% of the machine's time" in said


def test_a_single_round_says_that_it_has_no_spread() -> None:
    assert noise(bench_run(Round()), stolen=0.0).startswith("**One round: these figures have no spread.**")


def test_the_page_says_what_it_costs_to_wake_a_core() -> None:
    said = waking(bench_run(Round(raw_us=100.0)), awake=False)

    assert "us of CPU time at 350 requests/s, and 100 us at saturation." in said
    assert said.startswith("The cores slept between calls")
    assert waking(bench_run(Round()), awake=True).startswith("The cores were kept from sleeping.")
