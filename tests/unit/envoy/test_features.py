"""The features that the scan finds are those that Python knows, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from services.kernel.dialect import CAPABILITIES, Feature

LUA = Path(__file__).parents[3] / "envoy" / "lua" / "dialect"
_SET = re.compile(r"features\.(\w+)")
_NAMED = re.compile(r'_url = "(\w+)"|input_video = "(\w+)"|features\[[^"\n]*"(\w+)" or "(\w+)"\]')


def test_every_feature_that_a_dialect_finds_has_a_name_in_python_and_the_other_way_round() -> None:
    text = "\n".join(path.read_text() for path in LUA.glob("*.lua"))
    found = {*_SET.findall(text), *(name for names in _NAMED.findall(text) for name in names if name)}
    assert found == {feature.value for feature in Feature}


def test_what_says_how_input_is_bounded_or_stored_is_nothing_that_a_model_lacks() -> None:
    assert {*Feature} - CAPABILITIES == {
        Feature.FILES,
        Feature.CACHE_CONTROL,
        Feature.CACHE_1H,
        Feature.STORED_INPUT,
        Feature.SERVER_TOOLS,
        Feature.BACKGROUND,
        Feature.COMPACTION,
        Feature.CUSTOM_TOOLS,
    }
