"""Price options: parts of a request that change its price, and how we bound such calls.

One table says how to bound each option, if the target's price has a rate for it. Every other option that the scan names
has no price here: other models, searches without a bound, an answer fetched at another time, and so on. An enforced
limit on spend refuses such a call and names the option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

_MOST_USES = 1_000
"""The most uses of one tool of the provider. A larger number is not a useful bound."""


@dataclass(frozen=True, slots=True)
class Extras:
    """The amounts that options add to the bounds of a call."""

    service_tier: str = ""
    searches: int = 0
    readings: int = 1
    """How often the provider may read the input: once, and once more each time it runs a tool."""
    output_tokens: int = 0
    """Output tokens of each choice, on top of its bound."""
    speaks: bool = False
    """The answer may contain audio."""
    draws: bool = False
    """The answer may contain images."""
    unpriceable: str = ""
    """The first option without a price; empty if all have one."""


NO_EXTRAS = Extras()


_Judge = Callable[[Extras, str], Extras | None]
"""Adds an option, given the word or number after its name; None: the option has no price."""


# By what clients ask, not by what is configured. It is asked for each target of a chain.
@lru_cache(maxsize=4_096)
def extras_of(options: tuple[str, ...]) -> Extras:
    """The sum of all options of a request."""
    extras = NO_EXTRAS
    for option in options:
        judged = _judge(extras, option)
        extras = replace(extras, unpriceable=extras.unpriceable or option) if judged is None else judged
    return extras


def member_of(option: str) -> str:
    """The member of the request that an option stands for: "tools" for "tools.web_search=3"."""
    return option.partition("=")[0].partition(".")[0]


def _judge(extras: Extras, option: str) -> Extras | None:
    name, _, word = option.partition("=")
    if name in _TABLE:
        return _TABLE[name](extras, word)
    tool = name.removeprefix("tools.")
    if tool == name or not word.isdecimal() or not 0 < int(word) <= _MOST_USES:
        return None
    uses = int(word)
    if tool.startswith("web_search_"):
        return replace(extras, searches=extras.searches + uses, readings=extras.readings + uses)
    if tool.startswith("web_fetch_"):
        return replace(extras, readings=extras.readings + uses)
    return None


def _tier(extras: Extras, word: str) -> Extras | None:
    return replace(extras, service_tier=word) if word else None


def _predicted(extras: Extras, word: str) -> Extras | None:
    # No tokenizer makes more tokens than there are bytes.
    return replace(extras, output_tokens=extras.output_tokens + int(word)) if word.isdecimal() else None


def _spoken(extras: Extras, _: str) -> Extras:
    return replace(extras, speaks=True)


def _modality(extras: Extras, word: str) -> Extras | None:
    match word.lower():
        case "audio":
            return replace(extras, speaks=True)
        case "image":
            return replace(extras, draws=True)
        case _:
            return None


_TABLE: Mapping[str, _Judge] = {
    # The answer says which tier served. The bound is the more expensive one of that tier and the base.
    "service_tier": _tier,
    "serviceTier": _tier,
    # Providers bill the rejected part of a prediction as output.
    "prediction": _predicted,
    "audio": _spoken,
    "speechConfig": _spoken,
    "generationConfig.speechConfig": _spoken,
    "modalities": _modality,
    "responseModalities": _modality,
}
