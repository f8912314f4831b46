from __future__ import annotations

from typing import Any

import pytest

from services.kernel.usage import (
    AUDIO_INPUT,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED_AUDIO_INPUT,
    CACHED_INPUT,
    INPUT,
    METERS,
    OUTPUT,
    REASONING,
    WEB_SEARCH,
    Usage,
    add_up,
)


def test_buckets_are_the_disjoint_parts() -> None:
    meters = {CACHED_INPUT: 600, CACHE_WRITE_5M: 100, CACHE_WRITE_1H: 50, REASONING: 200, WEB_SEARCH: 3}
    usage = Usage(1_000, 500, meters)

    assert usage.buckets == {INPUT: 250, OUTPUT: 300, **meters}
    assert usage.total_tokens == 1_500


def test_what_is_zero_is_in_no_bucket() -> None:
    assert Usage(600, 0, {CACHED_INPUT: 600, REASONING: 0}).buckets == {CACHED_INPUT: 600}
    assert Usage(10, 5, {CACHED_INPUT: 0}) == Usage(10, 5)


def test_a_cached_part_is_cached_whatever_kind_of_content_it_is() -> None:
    usage = Usage(1_000, 0, {CACHED_INPUT: 100, CACHED_AUDIO_INPUT: 20, AUDIO_INPUT: 300})

    assert usage.cached_input_tokens == 120


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": -1},
        {"output_tokens": -1},
        {"input_tokens": 5, "meters": {CACHED_INPUT: -1}},
        {"output_tokens": 5, "meters": {REASONING: -1}},
        {"input_tokens": 5, "meters": {CACHED_INPUT: 6}},
        {"input_tokens": 5, "meters": {CACHED_INPUT: 2, CACHE_WRITE_5M: 2, CACHE_WRITE_1H: 2}},
        {"output_tokens": 5, "meters": {REASONING: 6}},
        {"output_tokens": 5, "meters": {"thoughts": 1}},
        {"input_tokens": 5, "meters": {INPUT: 5}},
    ],
)
def test_a_part_cannot_be_negative_or_larger_than_its_whole_or_of_no_meter(counts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Usage"):
        Usage(**counts)


def test_usages_add_up_meter_by_meter() -> None:
    total = add_up([Usage(10, 5, {CACHED_INPUT: 4}, "priority"), Usage(20, 6, {CACHED_INPUT: 1, REASONING: 6})])

    assert total == Usage(30, 11, {CACHED_INPUT: 5, REASONING: 6}, "priority")


def test_a_meter_is_priced_as_another_of_the_same_whole() -> None:
    for meter in METERS.values():
        if meter.priced_as:
            assert METERS[meter.priced_as].whole is meter.whole
