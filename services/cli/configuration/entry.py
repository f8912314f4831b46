"""What all entries of the configuration file share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """Base of all entries: no unknown fields, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def at_least_one(values: tuple[object, ...]) -> tuple[object, ...]:
    """Refuses an empty list."""
    if not values:
        raise ValueError("give at least one")
    return values
