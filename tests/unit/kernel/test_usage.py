from __future__ import annotations

import pytest

from services.kernel.usage import Usage, UsageBuckets


def test_buckets_are_the_disjoint_parts() -> None:
    usage = Usage(1_000, 500, 600, 100, 50, 200)

    assert usage.buckets == UsageBuckets(
        uncached_input=250,
        cached_input=600,
        cache_write_5m=100,
        cache_write_1h=50,
        visible_output=300,
        reasoning=200,
    )
    assert usage.total_tokens == 1_500


@pytest.mark.parametrize(
    "parts",
    [
        {"input_tokens": -1},
        {"output_tokens": -1},
        {"input_tokens": 5, "cached_input_tokens": -1},
        {"output_tokens": 5, "reasoning_tokens": -1},
        {"input_tokens": 5, "cached_input_tokens": 6},
        {"input_tokens": 5, "cached_input_tokens": 2, "cache_write_5m_tokens": 2, "cache_write_1h_tokens": 2},
        {"output_tokens": 5, "reasoning_tokens": 6},
    ],
)
def test_a_part_cannot_be_negative_or_larger_than_its_whole(parts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Usage"):
        Usage(**parts)
