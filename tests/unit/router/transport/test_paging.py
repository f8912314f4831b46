from __future__ import annotations

import pytest

from services.kernel.errors import InvalidInput
from services.router.transport.paging import page

NAMES = [f"n{at:04}" for at in range(2_500)]


def walk(names: list[str], page_size: int) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        chosen, token = page(names, str, page_size, token)
        pages.append(list(chosen))
    return pages


@pytest.mark.parametrize(
    ("page_size", "sizes"), [(0, [100] * 25), (1_000, [1_000, 1_000, 500]), (5_000, [1_000, 1_000, 500])]
)
def test_pages_cover_the_list_once(page_size: int, sizes: list[int]) -> None:
    pages = walk(NAMES, page_size)
    assert [len(one) for one in pages] == sizes
    assert [name for one in pages for name in one] == NAMES


def test_a_list_that_changes_between_pages_repeats_nothing() -> None:
    first, token = page(["a", "b", "c"], str, 2, "")
    second, _ = page(["a", "aa", "c", "d"], str, 2, token)
    assert [*first, *second] == ["a", "b", "c", "d"]


def test_an_empty_list_is_one_empty_page() -> None:
    assert page([], str, 0, "") == ([], "")


@pytest.mark.parametrize(
    ("page_size", "token", "field"), [(-1, "", "page_size"), (0, "n1", "page_token"), (0, "/w==", "page_token")]
)
def test_what_is_no_page_is_refused(page_size: int, token: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page(NAMES, str, page_size, token)
    assert caught.value.field == field
