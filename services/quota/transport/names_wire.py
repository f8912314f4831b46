"""Writes lists of names as one text, short enough for a line of the spool."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

# The other fields of a line need room beside it.
_CHARS_MAX = 1_000


def join_names(names: Sequence[str]) -> str:
    """Joins names by commas. Names that no longer fit are only counted."""
    ends = accumulate(len(name) + 1 for name in names)
    shown = sum(end <= _CHARS_MAX for end in ends)
    more = len(names) - shown
    return ",".join((*names[:shown], f"+{more}") if more else names)
