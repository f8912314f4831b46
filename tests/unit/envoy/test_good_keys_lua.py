from __future__ import annotations

import pytest

from tests.worlds.lua_scripts import load_module

GOOD_KEYS = load_module("good_keys")


class Headers:
    """Of a request, as Envoy's Lua has them."""

    def __init__(self, **values: str) -> None:
        self._values = {name.replace("_", "-"): value for name, value in values.items()}

    def get(self, name: str) -> str | None:
        return self._values.get(name)


def shown(**values: str) -> str | None:
    found: str | None = GOOD_KEYS.shown(Headers(**values))
    return found


def test_a_key_is_known_until_its_time_is_over_and_no_longer() -> None:
    memory = GOOD_KEYS.memory(10, 30)
    memory.note("key", "holder", 1_000)
    assert memory.holder("key", 1_029) == "holder"
    assert memory.holder("key", 1_030) is None
    assert memory.holder("key", 1_029) is None, "it was forgotten"


def test_who_was_never_good_is_not_known() -> None:
    memory = GOOD_KEYS.memory(10, 30)
    memory.note("key", "holder", 1_000)
    for other in ("", "ke", "key ", "KEY", "key\n"):
        assert memory.holder(other, 1_000) is None


def test_a_key_that_was_refused_is_forgotten_at_once() -> None:
    memory = GOOD_KEYS.memory(10, 30)
    memory.note("key", "holder", 1_000)
    memory.forget("key")
    memory.forget("never seen")
    assert memory.holder("key", 1_000) is None


def test_a_good_answer_renews_the_time_and_counts_no_second_key() -> None:
    memory = GOOD_KEYS.memory(2, 30)
    for at_s in range(1_000, 1_100):
        memory.note("key", "holder", at_s)
    memory.note("other", "holder", 1_099)
    assert memory.holder("key", 1_128) == "holder"
    assert memory.holder("other", 1_128) == "holder"


def test_however_many_keys_come_the_memory_holds_only_so_many() -> None:
    memory = GOOD_KEYS.memory(5, 30)
    for number in range(1_003):
        memory.note(f"key-{number}", "holder", 1_000)
    known = [number for number in range(1_003) if memory.holder(f"key-{number}", 1_000)]
    assert 1 <= len(known) <= 5
    assert known[-1] == 1_002


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"authorization": "k"}, {"x_api_key": "k"}),
        ({"authorization": "k"}, {"authorization": "k", "x_goog_api_key": "k"}),
        ({"authorization": "k", "api_key": "l"}, {"authorization": "k", "x_api_key": "l"}),
        ({"authorization": "k"}, {"authorization": "k", "api_key": ""}),
    ],
)
def test_other_credentials_in_any_header_are_told_apart(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = shown(**one), shown(**other)
    assert first is not None
    # An empty header shows nothing.
    assert (first == second) is ({name for name in one if one[name]} == {name for name in other if other[name]})


def test_who_shows_nothing_or_too_much_is_never_known() -> None:
    assert shown(content_type="application/json") is None
    assert shown(authorization="k" * 2_000) is None
