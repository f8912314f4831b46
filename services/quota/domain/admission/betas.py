"""The header `anthropic-beta`, which can make a call larger than its body shows.

One table lists the known values. Most of them change what members of the body may say, and the scan judges those
members. An unknown value counts as an unknown member. Source: https://docs.anthropic.com/en/api/beta-headers
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A value is a name, usually followed by its release date.
_RELEASE = re.compile(r"-?20\d\d-?\d\d-?\d\d$")


_LONGEST_VALUE = 64


_MOST_VALUES = 32


_WIDER_WINDOWS = {"context-1m": 1_000_000}
"""The names that open a larger context window, with the window's tokens."""


_PLAIN = frozenset(
    {
        "advanced-tool-use",
        "claude-code",
        "code-execution",
        "computer-use",
        "context-management",
        "dev-full-thinking",
        "effort",
        "extended-cache-ttl",
        "fast-mode",
        "files-api",
        "fine-grained-tool-streaming",
        "interleaved-thinking",
        "max-tokens-3-5-sonnet",
        "mcp-client",
        "message-batches",
        "model-context-window-exceeded",
        "oauth",
        "output-128k",
        "pdfs",
        "prompt-caching",
        "prompt-caching-scope",
        "search-results",
        "skills",
        "structured-outputs",
        "token-counting",
        "token-efficient-tools",
        "tool-examples",
        "tool-search-tool",
        "web-fetch",
        "web-search",
    }
)
"""The names that change no bound. A longer answer stays within the ceiling that the gateway writes, and anything else
that costs more needs a member of the body."""


@dataclass(frozen=True, slots=True)
class Betas:
    """The meaning of all values of the header together."""

    window_tokens: int = 0
    """The context window that the values open; 0: the target's own."""
    unknown: tuple[str, ...] = ()
    """Unknown values, each as "anthropic-beta=value"."""


_NONE = Betas()


def read_betas(header: str) -> Betas:
    """Reads the header, a list of names separated by commas. Empty: the request has no such header."""
    if not header:
        return _NONE
    window_tokens = 0
    unknown: dict[str, None] = {}
    values = [value.strip().lower() for value in header.split(",")]
    for value in values:
        name = _RELEASE.sub("", value)
        if name in _WIDER_WINDOWS:
            window_tokens = max(window_tokens, _WIDER_WINDOWS[name])
        elif value and name not in _PLAIN and len(unknown) < _MOST_VALUES:
            unknown[f"anthropic-beta={value[:_LONGEST_VALUE]}"] = None
    return Betas(window_tokens, tuple(unknown))
