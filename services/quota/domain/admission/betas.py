"""What the header `anthropic-beta` switches on that makes a call larger than its body tells.

One table of the values that are known. Most change what members of the body may say, and the scan judges those. A value
that nobody here knows counts as a member that nobody knows. Source: https://docs.anthropic.com/en/api/beta-headers
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A value is a name and, mostly, the day of its release.
_RELEASE = re.compile(r"-?20\d\d-?\d\d-?\d\d$")


_LONGEST_VALUE = 64


_MOST_VALUES = 32


_WIDER_WINDOWS = {"context-1m": 1_000_000}
"""Names with the tokens of the window that they open."""


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
"""Names that change the bound of no call: a longer answer stays within the ceiling that the gateway writes, and what
else costs more is asked for by a member of the body."""


@dataclass(frozen=True, slots=True)
class Betas:
    """What the values of the header come to."""

    window_tokens: int = 0
    """The context window that they open; 0: the target's own."""
    unknown: tuple[str, ...] = ()
    """Values that nobody here knows, each as "anthropic-beta=value"."""


_NONE = Betas()


def read_betas(header: str) -> Betas:
    """Reads the value of the header, which lists names joined by commas. Empty: there is none."""
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
