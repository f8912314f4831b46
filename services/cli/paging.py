"""Reads lists of the API page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from services.chassis.paging import MAX_PAGE_SIZE

Item = TypeVar("Item")
Page = TypeVar("Page", bound="PageOf")


class PageOf(Protocol):
    """An answer that may have a successor."""

    @property
    def next_page_token(self) -> str:
        """Empty on the last page."""
        ...


def all_pages(
    fetch: Callable[[int, str], Page], items: Callable[[Page], Iterable[Item]], limit: int | None = None
) -> Iterator[Item]:
    """Returns the items of all pages, at most `limit`. `fetch` takes a page size and a page token."""
    token, left = "", limit
    while left is None or left > 0:
        page = fetch(MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE), token)
        for item in items(page):
            if left == 0:
                return
            yield item
            left = None if left is None else left - 1
        token = page.next_page_token
        if not token:
            return
