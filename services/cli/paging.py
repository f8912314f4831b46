"""Reads lists of the API page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from services.chassis.paging import MAX_PAGE_SIZE


class ListRequest(Protocol):
    """Asks for a page of a list."""

    page_size: int
    page_token: str


class ListAnswer(Protocol):
    """A page of a list."""

    @property
    def next_page_token(self) -> str:
        """Empty on the last page."""
        ...


Item = TypeVar("Item")
Request = TypeVar("Request", bound=ListRequest)
Answer = TypeVar("Answer", bound=ListAnswer)


def read_list(
    method: Callable[[Request], Answer],
    request: Request,
    items: Callable[[Answer], Iterable[Item]],
    limit: int | None = None,
) -> list[Item]:
    """Returns the items of all pages, at most `limit`. Writes into `request` which page is next."""
    found: list[Item] = []
    while limit is None or len(found) < limit:
        request.page_size = MAX_PAGE_SIZE if limit is None else min(limit - len(found), MAX_PAGE_SIZE)
        answer = method(request)
        found.extend(items(answer))
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    return found[:limit]
