from __future__ import annotations

import pytest

from services.chassis.paging import page_of, read_position, write_position, write_token
from services.kernel.errors import InvalidInput

NAMES = [f"n{at:04}" for at in range(2_500)]


def walk(names: list[str], page_size: int) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        chosen, token = page_of(names, str, page_size=page_size, page_token=token)
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
    first, token = page_of(["a", "b", "c"], str, page_size=2, page_token="")
    second, _ = page_of(["a", "aa", "c", "d"], str, page_size=2, page_token=token)
    assert [*first, *second] == ["a", "b", "c", "d"]


def test_an_empty_list_is_one_empty_page() -> None:
    assert page_of([], str, page_size=0, page_token="") == ([], "")


@pytest.mark.parametrize(
    ("page_size", "token", "field"), [(-1, "", "page_size"), (0, "n1", "page_token"), (0, "/w==", "page_token")]
)
def test_what_is_no_page_is_refused(page_size: int, token: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_of(NAMES, str, page_size=page_size, page_token=token)
    assert caught.value.field == field


@pytest.mark.parametrize("position", [(0,), (7,), (1_800_000_000_000, 42)])
def test_a_position_comes_back_from_its_token(position: tuple[int, ...]) -> None:
    assert read_position(write_position(position), count=len(position)) == position


def test_the_first_page_begins_after_no_position_and_the_last_page_names_none() -> None:
    assert read_position("", count=2) == ()
    assert write_position(()) == ""


@pytest.mark.parametrize("text", ["1", "1.2.3", "1.", "-1.2", "1.2e3", "1. 2", "1.\u0662", f"1.{'9' * 19}", ""])
def test_a_token_of_another_list_is_no_position_of_this_one(text: str) -> None:
    token = write_token(text) or "AA=="
    with pytest.raises(InvalidInput) as caught:
        read_position(token, count=2)
    assert caught.value.field == "page_token"
