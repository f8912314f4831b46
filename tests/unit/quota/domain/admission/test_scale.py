from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.usage import MICRO, Line
from services.quota.domain.admission.scale import Assumed, Scale

REQUEST = Assumed(per_call=-16, least=-1_000)
ENVELOPE_BYTES, ROLE_TOKENS = 90, 4


def tokens_of(body_bytes: int, source: random.Random) -> int:
    """A body of text with four and a half bytes to the token, give or take, in its JSON."""
    text = (body_bytes - ENVELOPE_BYTES) / 4.5
    return round(text * source.uniform(0.97, 1.03)) + ROLE_TOKENS


def taught(sizes: list[int], seed: int = 1) -> Line:
    source = random.Random(seed)
    scale = Scale()
    for size in sizes:
        scale = scale.after(size, tokens_of(size, source), REQUEST)
    line = scale.line(REQUEST)
    assert line is not None
    return line


def is_within(line: Line, size: int, percent: int) -> bool:
    true = (size - ENVELOPE_BYTES) / 4.5 + ROLE_TOKENS
    return abs(line.tokens(size) - true) <= max(1, true * percent / 100)


@pytest.mark.parametrize("sizes", [[200] * 20, [230 + 3 * at for at in range(20)], [400, 4_000] * 10, [100_000] * 20])
def test_twenty_calls_of_any_size_tell_the_tokens_of_a_megabyte(sizes: list[int]) -> None:
    assert is_within(taught(sizes), 1_000_000, percent=5)


def test_twenty_calls_of_all_sizes_tell_the_tokens_of_each() -> None:
    source = random.Random(7)
    sizes = [round(math.exp(source.uniform(math.log(200), math.log(1_000_000)))) for _ in range(20)]

    line = taught(sizes)

    assert [size for size in (200, 500, 2_000, 50_000, 1_000_000) if not is_within(line, size, percent=5)] == []


def test_nothing_is_known_before_the_first_call() -> None:
    assert Scale().line(REQUEST) is None


def test_a_call_that_is_not_like_the_others_counts_no_more_than_four_times_what_it_was_expected_to_have() -> None:
    scale = Scale()
    for _ in range(20):
        scale = scale.after(1_000, 200, REQUEST)
    for outlier in (0, 1_000_000):
        line = scale.after(1_000, outlier, REQUEST).line(REQUEST)
        assert line is not None
        assert 150 < line.tokens(1_000) < 250


def test_what_a_key_sends_may_change_and_is_learned_again() -> None:
    scale = Scale()
    for tokens in [250] * 50 + [700] * 60:
        scale = scale.after(1_000, tokens, REQUEST)

    line = scale.line(REQUEST)

    assert line is not None
    assert 680 < line.tokens(1_000) < 710


def test_a_line_rounds_up_and_is_never_below_zero() -> None:
    assert Line(0, 1).tokens(1) == 1
    assert Line(3, MICRO // 4).tokens(9) == 6
    assert Line(-16, MICRO // 4).tokens(8) == 0


@given(st.lists(st.tuples(st.integers(1, 2**31), st.integers(0, 2**53)), max_size=60))
def test_whatever_is_learned_fits_into_the_table_and_gives_no_negative_estimate(calls: list[tuple[int, int]]) -> None:
    scale = Scale()
    for size, tokens in calls:
        scale = scale.after(size, tokens, REQUEST)
    assert all(-(2**63) <= part < 2**63 for part in scale)
    line = scale.line(REQUEST)
    assert (line is None) == (not calls)
    if line is not None:
        assert line.per_byte_micro >= 0
        assert all(line.tokens(size) >= 0 for size in (0, 1, 100, 2**31))
