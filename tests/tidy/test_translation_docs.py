"""The guide lists what a translation carries, ignores and refuses, as the table has it."""

from __future__ import annotations

from pathlib import Path

from services.router.domain.translation import LACKS, TRANSLATIONS, Members, Translation

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "translation.md"


def shown(names: str) -> str:
    return " ".join(f"`{name}`" for name in sorted(names.split()))


def row(place: str, members: Members) -> str:
    where = f"`{place}`" if place else "the body"
    return f"| {where} | {shown(members.carried)} | {shown(members.ignored)} | {shown(members.refused)} |"


def rows_of(translation: Translation) -> list[str]:
    return [row(place, members) for place, members in translation.objects.items()]


def test_the_guide_lists_every_member_of_every_object() -> None:
    lines = GUIDE.read_text().splitlines()
    for translation in TRANSLATIONS:
        rows = rows_of(translation)
        first = lines.index(rows[0])
        assert lines[first : first + len(rows)] == rows


def test_the_guide_names_what_no_translation_carries() -> None:
    assert shown(" ".join(LACKS)) in GUIDE.read_text()
