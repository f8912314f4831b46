from __future__ import annotations

import tracemalloc

from services.quota.adapters.packed_taught import PackedTaught
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.scale import Scale
from services.quota.domain.admission.unmeasured import Taught

_MOST_TOKENS = 2**63 - 1
_TAUGHT = Taught(Tokens(_MOST_TOKENS, 0), Scale(16, 16_000_000, 1_000_000, 10**12, -(10**13)), Scale(1, 2, 3, 4, 5))


def test_what_was_put_comes_back_as_it_was_whatever_its_size_and_sign() -> None:
    packed = PackedTaught(most=2)
    packed.put("key", "model", _TAUGHT)

    assert packed.get("key", "model") == _TAUGHT
    assert packed.typical("key", "model") == _TAUGHT.typical
    assert packed.get("key", "other") is None
    assert packed.typical("other", "model") is None


def test_names_of_models_that_look_like_parts_of_a_pair_stay_apart() -> None:
    packed = PackedTaught(most=2)
    packed.put("key", "a\0b", _TAUGHT)
    packed.put("", "key", Taught(Tokens(1, 2)))
    packed.put("key", "", Taught(Tokens(3, 4)))

    assert packed.typical("", "key") == Tokens(1, 2)
    assert packed.typical("key", "") == Tokens(3, 4)
    assert packed.make_room() == [("key", "a\0b")]
    assert packed.make_room() == []


def test_a_pair_takes_less_than_three_hundred_bytes() -> None:
    packed, pairs = PackedTaught(most=20_000), 20_000
    tracemalloc.start()
    try:
        for number in range(pairs):
            packed.put(f"key_{number:016x}", f"model-{number % 9}", _TAUGHT)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken / pairs < 300
