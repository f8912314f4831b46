from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from services.chassis.paging import MAX_PAGE_SIZE
from services.cli.paging import read_list

NUMBERS = list(range(2_500))


@dataclass
class Request:
    page_size: int = 0
    page_token: str = ""


@dataclass
class Answer:
    numbers: Sequence[int]
    next_page_token: str


@dataclass
class Server:
    """Lists numbers, in pages of the size asked for or of its own."""

    numbers: Sequence[int]
    own_size: int | None = None
    sizes: list[int] = field(default_factory=list)
    """The sizes that it was asked for."""

    def answer(self, request: Request) -> Answer:
        self.sizes.append(request.page_size)
        start = int(request.page_token or 0)
        end = start + (request.page_size if self.own_size is None else self.own_size)
        return Answer(self.numbers[start:end], str(end) if end < len(self.numbers) else "")

    def read(self, limit: int | None = None) -> list[int]:
        return read_list(self.answer, Request(), lambda page: page.numbers, limit)


def test_without_a_limit_every_item_is_read_once_in_the_largest_pages() -> None:
    server = Server(NUMBERS)

    assert server.read() == NUMBERS
    assert server.sizes == [MAX_PAGE_SIZE] * 3


@pytest.mark.parametrize("limit", [1, 999, 1_000, 1_001, 2_000, 2_500, 9_999])
def test_no_more_than_the_limit_is_asked_for_and_read(limit: int) -> None:
    server = Server(NUMBERS)

    assert server.read(limit) == NUMBERS[:limit]
    assert all(0 < size <= min(limit, MAX_PAGE_SIZE) for size in server.sizes)


def test_a_limit_of_nothing_asks_for_nothing() -> None:
    server = Server(NUMBERS)

    assert server.read(0) == []
    assert server.sizes == []


@pytest.mark.parametrize("own_size", [1, 7, 3_000])
def test_a_server_with_pages_of_its_own_size_changes_nothing(own_size: int) -> None:
    assert Server(NUMBERS[:50], own_size).read() == NUMBERS[:50]
    assert Server(NUMBERS[:50], own_size).read(20) == NUMBERS[:20]


def test_an_empty_page_is_not_the_last_one_while_it_names_another() -> None:
    answers = iter([Answer([], "next"), Answer([1], "")])

    assert read_list(lambda _: next(answers), Request(), lambda page: page.numbers) == [1]
