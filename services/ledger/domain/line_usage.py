"""Reads the usage in a call's line, in the meter's form and in that of the previous release."""

from __future__ import annotations

from collections.abc import Mapping

from services.kernel.spool_contract import SpoolKey, UsageKey
from services.ledger.domain.earlier_line import EarlierKey
from services.ledger.domain.line_fields import UnreadableLineError, is_known, read_counts
from services.ledger.domain.reading import Reading, ReadingState, read_answer

_COMPLETE = frozenset({"1", "COMPLETE"})
_FIGURES_BEFORE = {
    EarlierKey.INPUT_TOKENS.value: UsageKey.INPUT_TOKENS.value,
    EarlierKey.OUTPUT_TOKENS.value: UsageKey.OUTPUT_TOKENS.value,
    EarlierKey.CACHED_TOKENS.value: UsageKey.CACHED_TOKENS.value,
    EarlierKey.CACHE_CREATION_TOKENS.value: UsageKey.CACHE_WRITE_TOKENS.value,
    EarlierKey.REASONING_TOKENS.value: UsageKey.REASONING_TOKENS.value,
}
"""Fields that the previous release wrote where there is one object now."""


def read_usage(fields: Mapping[str, object], features: str, response_model: str) -> Reading:
    """Reads what the meter reported about an answer. The last two are fields of the same line.

    Raises:
        UnreadableLineError: a figure is not a whole number, or is out of range.
    """
    reported = fields.get(SpoolKey.USAGE.value)
    if isinstance(reported, Mapping):
        return read_answer(reported)
    if is_known(reported):
        raise UnreadableLineError(f"{SpoolKey.USAGE} is not an object")
    return _reading_before(fields, features, response_model)


def _reading_before(fields: Mapping[str, object], features: str, response_model: str) -> Reading:
    """Reads the figures of the previous release, if Envoy's own meter had read the whole answer.

    They do not say how long the provider caches: for an hour if the request asks for that, else for five minutes.
    """
    if str(fields.get(EarlierKey.USAGE_STATUS)) not in _COMPLETE:
        return Reading(model=response_model)
    counts = read_counts(fields, tuple(_FIGURES_BEFORE))
    known = {
        figure: count
        for (name, figure), count in zip(_FIGURES_BEFORE.items(), counts, strict=True)
        if is_known(fields.get(name))
    }
    written = known.get(UsageKey.CACHE_WRITE_TOKENS)
    if written and "cache_1h" in features.split(","):
        known[UsageKey.CACHE_WRITE_1H_TOKENS] = written
    return Reading(ReadingState.WHOLE, known, response_model)
