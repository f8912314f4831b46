"""Pages of a list, by Google's API guide (AIP-158): a token says where the next page begins.

A token holds the position of the last item shown, so items added or removed in between do not shift the pages. Clients
return it unchanged and must not interpret it.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.kernel.errors import InvalidInput

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
# A 64-bit number has at most 19 digits; none of ours comes near.
_MOST_DIGITS = 18

T = TypeVar("T")


def page_of(
    items: Sequence[T], position_of: Callable[[T], str], *, page_size: int, page_token: str
) -> tuple[Sequence[T], str]:
    """Returns a page of `items`, which are sorted by `position_of`, and the next page's token, empty on the last page.

    Raises:
        InvalidInput: the size is negative, or the token is not one of ours.
    """
    size = check_page_size(page_size)
    start = bisect_right(items, read_token(page_token), key=position_of) if page_token else 0
    page = items[start : start + size]
    return page, write_token(position_of(page[-1])) if start + size < len(items) else ""


def check_page_size(page_size: int) -> int:
    """Returns the page size to use: the default for 0, never more than `MAX_PAGE_SIZE`, as the guide says.

    Raises:
        InvalidInput: it is negative.
    """
    if page_size < 0:
        raise InvalidInput("page_size", f"{page_size} is negative: write 1 to {MAX_PAGE_SIZE}, or 0 for the default")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def write_token(position: str) -> str:
    """Returns the token of the page that begins after `position`."""
    return base64.urlsafe_b64encode(position.encode()).decode()


def read_token(page_token: str) -> str:
    """Returns the position after which the page begins.

    Raises:
        InvalidInput: the token is not one of ours.
    """
    try:
        return base64.b64decode(page_token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_token() from error


def write_parts(*parts: str) -> str:
    """Returns the token of the page that begins after a position of several texts without zero bytes."""
    return write_token("\0".join(parts))


def read_parts(page_token: str, *, count: int) -> list[str]:
    """Returns the `count` texts of the position after which the page begins.

    Raises:
        InvalidInput: the token is not one of ours.
    """
    parts = read_token(page_token).split("\0")
    if len(parts) != count:
        raise _bad_token()
    return parts


def write_position(position: Sequence[int]) -> str:
    """Returns the token of the page that begins after a position of several numbers; empty without a position."""
    return write_token(".".join(map(str, position))) if position else ""


def read_position(page_token: str, *, count: int) -> tuple[int, ...]:
    """Returns the `count` numbers of the position after which the page begins; none for the first page.

    Raises:
        InvalidInput: the token is not one of ours.
    """
    if not page_token:
        return ()
    parts = read_token(page_token).split(".")
    if len(parts) != count or not all(part.isascii() and part.isdecimal() for part in parts):
        raise _bad_token()
    if max(map(len, parts)) > _MOST_DIGITS:
        raise _bad_token()
    return tuple(map(int, parts))


def _bad_token() -> InvalidInput:
    return InvalidInput("page_token", "it is not from a previous answer: pass it on unchanged, or leave it empty")
