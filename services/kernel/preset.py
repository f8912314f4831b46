"""Presets: one row for each vendor, with everything that differs between vendors.

The router reaches a vendor by its row, and the command line reads the names of presets from the configuration file. A
new vendor is one more row here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import NamedTuple, Self

from services.kernel.dialect import MODEL, VERB, Dialect, OutputCapField


class PresetFace(NamedTuple):
    """One way to reach a vendor: everything but its address."""

    dialect: Dialect
    path: str
    """Path of the chat endpoint. Gemini's contains "{model}" and "{verb}"."""
    output_cap_field: OutputCapField


@dataclass(frozen=True, slots=True)
class PresetRow:
    """The properties of a vendor."""

    base_url: str
    """Its address, in the form that its own SDK takes."""
    faces: tuple[PresetFace, ...]
    """Its own dialect comes first, because it carries most."""
    catalogue_provider: str
    """Its name in the price catalogue."""
    base_suffix: str = ""
    """The end of `base_url` that the paths of the faces contain, too."""


GEMINI_PATH = f"/v1beta/models/{MODEL}:{VERB}"


class Preset(StrEnum):
    """A vendor with known faces."""

    OPENAI = (
        "openai",
        PresetRow(
            "https://api.openai.com/v1",
            (PresetFace(Dialect.OPENAI, "/v1/chat/completions", OutputCapField.MAX_COMPLETION_TOKENS),),
            catalogue_provider="openai",
            base_suffix="/v1",
        ),
    )
    ANTHROPIC = (
        "anthropic",
        PresetRow(
            "https://api.anthropic.com",
            (
                PresetFace(Dialect.ANTHROPIC, "/v1/messages", OutputCapField.MAX_TOKENS),
                PresetFace(Dialect.OPENAI, "/v1/chat/completions", OutputCapField.MAX_TOKENS),
            ),
            catalogue_provider="anthropic",
        ),
    )
    GEMINI = (
        "gemini",
        PresetRow(
            "https://generativelanguage.googleapis.com",
            (
                PresetFace(Dialect.GEMINI, GEMINI_PATH, OutputCapField.MAX_OUTPUT_TOKENS),
                PresetFace(Dialect.OPENAI, "/v1beta/openai/chat/completions", OutputCapField.MAX_TOKENS),
            ),
            catalogue_provider="google",
        ),
    )

    base_url: str
    """See `PresetRow`."""
    faces: tuple[PresetFace, ...]
    catalogue_provider: str
    base_suffix: str

    def __new__(cls, value: str, row: PresetRow) -> Self:
        """Makes a member from its row."""
        member = str.__new__(cls, value)
        member._value_ = value
        for field in fields(row):
            setattr(member, field.name, getattr(row, field.name))
        return member
