"""What a request may ask for that changes its price, and how such a call is bounded.

One table: what is in it is bounded as it says, wherever the target's price has a rate for it. Whatever else the scan
names (other models, searches without a bound, an answer that is fetched another time ...) has no price here. Under an
enforced limit on spend such a call is refused by the option's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

_MOST_USES = 1_000
"""Of one tool of the provider. What is more bounds nothing."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What options add to the bounds of a call."""

    service_tier: str = ""
    searches: int = 0
    readings: int = 1
    """How often the provider may read the input: once, and once more for each use of a tool that it runs."""
    output_tokens: int = 0
    """Of each choice, on top of its bound."""
    speaks: bool = False
    """The answer may be sound."""
    draws: bool = False
    """The answer may be images."""
    unpriceable: str = ""
    """The first option that has no price, empty when all have one."""


NO_EXTRAS = Extras()


_Judge = Callable[[Extras, str], Extras | None]
"""What an option adds, given the word or number behind its name; None: nothing has a price for it."""


@lru_cache(maxsize=4_096)
def extras_of(options: tuple[str, ...]) -> Extras:
    """What the options of a request add together."""
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
    # The answer says which tier served; the bound is the dearer of that and the base.
    "service_tier": _tier,
    "serviceTier": _tier,
    # What is rejected of a prediction is billed as output.
    "prediction": _predicted,
    "audio": _spoken,
    "speechConfig": _spoken,
    "generationConfig.speechConfig": _spoken,
    "modalities": _modality,
    "responseModalities": _modality,
}
