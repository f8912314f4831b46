"""What a token is here: up to six letters or digits, or one other sign, each with the white space before it.

Real tokenizers differ by vendor and model; a rule that anybody can apply by hand makes every count checkable.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])")
# Around each message: its role and its end.
MESSAGE_TOKENS = 4
# A picture costs the same whatever its size.
IMAGE_TOKENS = 85


def tokenize(text: str) -> tuple[str, ...]:
    """The tokens of `text`; joined they give the text back, but for white space at its end."""
    return tuple(_TOKEN.findall(text))


def count_tokens(text: str) -> int:
    """How many tokens `text` has."""
    return len(_TOKEN.findall(text))
