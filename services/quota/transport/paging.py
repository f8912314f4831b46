"""Pages of a list, as Google's API guide has them (AIP-158): a token says where the next page begins.

A token is the sort key of the last item shown, so that items which come or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.kernel.errors import InvalidInput

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000

T = TypeVar("T")


def page_of(
    items: Sequence[T], sort_key: Callable[[T], str], *, page_size: int, page_token: str
) -> tuple[Sequence[T], str]:
    """A page of `items`, which are sorted by `sort_key`, and the token of the next page, empty on the last.

    Raises:
        InvalidInput: the size is out of range, or the token is not one of ours.
    """
    size = check_page_size(page_size)
    if page_token:
        after = _decode(page_token)
        items = [item for item in items if sort_key(item) > after]
    page = items[:size]
    return page, _encode(sort_key(page[-1])) if len(items) > size else ""


def check_page_size(page_size: int) -> int:
    """The size to use: what was asked for, or the default for 0.

    Raises:
        InvalidInput: out of range.
    """
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidInput("page_size", f"must be 1 to {MAX_PAGE_SIZE}, not {page_size}")
    return page_size or DEFAULT_PAGE_SIZE


def _encode(sort_key: str) -> str:
    return base64.urlsafe_b64encode(sort_key.encode()).decode()


def _decode(page_token: str) -> str:
    try:
        return base64.b64decode(page_token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise InvalidInput("page_token", "is not a token of ours: pass it on as it came") from error
