from __future__ import annotations

from services.quota.domain.policies.burn_rate import MINUTE_MS, KeyRate, add_spend, allowed_per_minute

CENT = 10_000_000


def after(*minutes: int, start: KeyRate | None = None) -> KeyRate:
    """The rate of a key that spends these cents in successive minutes, and begins another minute."""
    rate = start
    first = rate.minute + 1 if rate else 0
    for number, cents in enumerate([*minutes, 0]):
        rate = add_spend(rate, cents * CENT, (first + number) * MINUTE_MS)
    assert rate is not None
    return rate


def test_a_minute_is_added_up_before_it_says_anything() -> None:
    rate = add_spend(add_spend(None, 3, 5), 4, MINUTE_MS - 1)

    assert rate == KeyRate(0, 7, 0)


def test_a_call_that_is_booked_late_counts_in_the_minute_at_hand() -> None:
    assert add_spend(KeyRate(9, 7, 1), 4, 8 * MINUTE_MS) == KeyRate(9, 11, 1)


def test_what_is_typical_follows_what_a_key_spends() -> None:
    steady = after(*[100] * 200)

    assert 99 * CENT <= steady.typical_nano_usd <= 100 * CENT


def test_idle_minutes_say_nothing() -> None:
    before = after(*[100] * 200)

    assert add_spend(before, CENT, 10_000 * MINUTE_MS).typical_nano_usd >= 80 * CENT


def test_a_loop_does_not_become_typical_while_it_runs() -> None:
    before = after(*[10] * 100)
    looped = after(*[100_000] * 5, start=before)

    assert looped.typical_nano_usd < 2 * before.typical_nano_usd


def test_a_new_key_is_held_to_the_floor_and_a_known_one_to_its_habit() -> None:
    assert allowed_per_minute(0, 50 * CENT, 1_000) == 500 * CENT
    assert allowed_per_minute(90 * CENT, 50 * CENT, 250) == 225 * CENT
