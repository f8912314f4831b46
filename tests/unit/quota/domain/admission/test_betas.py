from __future__ import annotations

import pytest

from services.quota.domain.admission.betas import Betas, read_betas
from services.quota.domain.admission.estimate import bound
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.routing.target_facts import TargetFacts

TARGET = TargetFacts(
    output_ceiling=8_192, context_window=200_000, image_tokens=10_000, price=None, longest_output=8_192
)


@pytest.mark.parametrize("header", ["context-1m-2025-08-07", "effort-2025-11-24, Context-1M-2025-08-07", "context-1m"])
def test_a_header_that_opens_a_wider_window_lets_the_whole_body_count(header: str) -> None:
    betas = read_betas(header)
    large = RequestFacts(body_bytes=700_000, max_output_tokens=10, window_tokens=betas.window_tokens)

    assert betas == Betas(window_tokens=1_000_000)
    assert bound(large, TARGET).input == 700_000


def test_without_it_no_prompt_is_larger_than_the_window() -> None:
    assert bound(RequestFacts(body_bytes=700_000, max_output_tokens=10), TARGET).input == 200_000


def test_what_is_in_no_body_counts_up_to_the_wider_window() -> None:
    facts = RequestFacts(body_bytes=500, features=frozenset({"files"}), window_tokens=1_000_000)

    assert bound(facts, TARGET).input == 1_000_000


@pytest.mark.parametrize(
    "header", ["", " , ", "interleaved-thinking-2025-05-14,files-api-2025-04-14", "claude-code-20250219"]
)
def test_what_the_table_knows_changes_no_bound(header: str) -> None:
    assert read_betas(header) == Betas()


def test_a_value_that_nobody_knows_counts_like_a_member_that_nobody_knows() -> None:
    unknown = read_betas("context-2m-2027-01-01,effort-2025-11-24").unknown
    facts = RequestFacts(body_bytes=500, max_output_tokens=10, unknown_members=unknown)

    assert unknown == ("anthropic-beta=context-2m-2027-01-01",)
    assert bound(facts, TARGET).input == 200_000


def test_a_header_of_nothing_but_unknown_values_stays_small() -> None:
    unknown = read_betas(",".join(f"{number}-{'x' * 500}" for number in range(200))).unknown

    assert len(unknown) <= 32
    assert max(map(len, unknown)) < 100
