"""Tokens by the simulator's own rule: up to six letters or digits, or one other sign, with the white space before it.

Real tokenizers differ by vendor and model. Anybody can apply this rule by hand, so every count can be checked.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])")
# For each message: its role and its end.
MESSAGE_TOKENS = 4
# An image costs the same whatever its size.
IMAGE_TOKENS = 85


def tokenize(text: str) -> tuple[str, ...]:
    """Splits `text` into tokens. Joined, they restore the text except for trailing white space."""
    return tuple(_TOKEN.findall(text))


def count_tokens(text: str) -> int:
    """Counts the tokens of `text`."""
    return len(_TOKEN.findall(text))
