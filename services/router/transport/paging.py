"""Pages of lists that are ordered by name (AIP-158)."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.kernel.errors import InvalidInput

T = TypeVar("T")

_DEFAULT_SIZE = 100
_MAX_SIZE = 1_000


def page(items: Sequence[T], name_of: Callable[[T], str], page_size: int, page_token: str) -> tuple[Sequence[T], str]:
    """The items after the token, and the token of the next page, empty when there is none.

    A token names the last item of its page, so a list that changes in between neither repeats nor loses an item.

    Raises:
        InvalidInput: a negative size, or a token that was not made here.
    """
    if page_size < 0:
        raise InvalidInput("page_size", f"write 1 to {_MAX_SIZE}, or 0 for {_DEFAULT_SIZE}")
    size = min(page_size or _DEFAULT_SIZE, _MAX_SIZE)
    start = bisect_right(items, _decode(page_token), key=name_of) if page_token else 0
    chosen = items[start : start + size]
    has_more = start + size < len(items)
    return chosen, _encode(name_of(chosen[-1])) if has_more else ""


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("page_token", "not a token of an answer before: leave it empty to start anew") from error
