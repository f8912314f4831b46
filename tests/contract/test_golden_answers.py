"""The meter and the ledger together read a hundred awkward answers right, however they arrive.

The same answers go through the real Envoy in `tests/e2e/test_golden_answers.py`.
"""

from __future__ import annotations

import random

import pytest

from services.kernel.price import charge
from services.ledger.domain.call import SpooledCall
from tests.worlds.golden_answers import GoldenAnswer, load_answers, pieces_of
from tests.worlds.lua_meter import Metered, cut, meter
from tests.worlds.spool_lines import call

ANSWERS = load_answers()
# Longer ones are cut at random places only.
SMALL_BYTES = 4_000
EVERY_PLACE_BYTES = 1_500
RANDOM_PLACES = 20
CHUNK_BYTES = 16_384


def through(answer: GoldenAnswer, pieces: list[str], *, strip: bool = False) -> Metered:
    return meter(answer.dialect, pieces, stream=answer.stream, strip=strip, choices=1)


def booked(answer: GoldenAnswer, metered: Metered) -> SpooledCall:
    """The call as the ledger reads its line."""
    return call(usage=metered.told, dialect=answer.dialect, stream=answer.stream)


def test_the_corpus_is_large() -> None:
    assert len(ANSWERS) >= 150
    assert {(answer.dialect, answer.stream) for answer in ANSWERS} == {
        (dialect, stream) for dialect in ("openai", "anthropic", "gemini") for stream in (False, True)
    }


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
@pytest.mark.parametrize("how", ["whole", "byte by byte", "in random pieces", "in large chunks"])
def test_an_answer_costs_what_it_costs_however_it_arrives(answer: GoldenAnswer, how: str) -> None:
    text = answer.body.decode("latin-1")
    if how == "byte by byte":
        pieces = list(text) if len(text) <= SMALL_BYTES else [text]
    elif how == "in random pieces":
        draw = random.Random(answer.name)
        pieces = cut(text, [draw.randrange(len(text)) for _ in range(RANDOM_PLACES)])
    else:
        size = CHUNK_BYTES if how == "in large chunks" else len(text)
        pieces = [piece.decode("latin-1") for piece in pieces_of(answer.body, size)]

    metered = through(answer, pieces)
    read = booked(answer, metered)

    assert metered.passed == answer.seen_from("lab").decode("latin-1")
    assert (metered.told.get("meter"), read.usage) == (answer.state, answer.usage)
    cost = None if read.usage is None else charge(read.usage, answer.price)
    assert cost == answer.nano_usd


@pytest.mark.parametrize("answer", [each for each in ANSWERS if len(each.body) <= EVERY_PLACE_BYTES], ids=str)
def test_an_answer_in_two_pieces_is_read_as_a_whole_one_wherever_it_is_cut(answer: GoldenAnswer) -> None:
    text = answer.body.decode("latin-1")
    for strip in {False, answer.stream and answer.dialect == "openai"}:
        whole = through(answer, [text], strip=strip)
        for place in range(1, len(text)):
            parts = through(answer, [text[:place], text[place:]], strip=strip)
            assert (place, parts._replace(first=())) == (place, whole._replace(first=()))


@pytest.mark.parametrize("answer", [each for each in ANSWERS if each.passed != each.body], ids=str)
def test_a_client_who_did_not_ask_for_usage_is_sent_everything_else(answer: GoldenAnswer) -> None:
    text = answer.body.decode("latin-1")
    for pieces in ([text], list(text)):
        assert through(answer, pieces, strip=True).passed == answer.passed.decode("latin-1")
