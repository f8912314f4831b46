"""A provider's prompt cache, by the vendors' published rules.

OpenAI and Gemini cache on their own: the longest known prefix of at least 1 024 tokens, in steps of 128. Anthropic
caches what the client marks: it reads the longest known marked prefix and writes up to the last mark, for five minutes
or an hour. Here nothing ever expires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage
from services.simulator.conversation import Conversation
from services.simulator.model import Reply

SMALLEST_PREFIX = 1024
_STEP = 128
# Number of distinct prefixes remembered. Beyond it, the cache forgets everything.
_CAPACITY = 100_000


class PromptCache:
    """The cache of one provider, for all its models."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def usage(self, conversation: Conversation, replies: Sequence[Reply]) -> Usage:
        """Returns the usage of a call, and remembers its prompt."""
        if len(self._known) > _CAPACITY:
            self._known.clear()
        size = len(conversation.prompt)
        read, written_5m, written_1h = 0, 0, 0
        if conversation.caches_by_itself:
            marks = list(range(SMALLEST_PREFIX, size + 1, _STEP))
            read = self._read(conversation, marks)
        elif conversation.breakpoints:
            marks = [point.position for point in conversation.breakpoints if point.position >= SMALLEST_PREFIX]
            read = self._read(conversation, marks)
            at = read
            for point in sorted(conversation.breakpoints, key=lambda each: each.position):
                if point.position > at and point.position >= SMALLEST_PREFIX:
                    written = point.position - at
                    written_5m += 0 if point.one_hour else written
                    written_1h += written if point.one_hour else 0
                    at = point.position
        return Usage(
            input_tokens=size,
            output_tokens=sum(reply.output_tokens for reply in replies),
            meters={
                CACHED_INPUT: read,
                CACHE_WRITE_5M: written_5m,
                CACHE_WRITE_1H: written_1h,
                REASONING: sum(reply.reasoning_tokens for reply in replies),
            },
        )

    def _read(self, conversation: Conversation, marks: Sequence[int]) -> int:
        """Returns the length of the longest known prefix that ends at a mark, and remembers all of them."""
        digest = hashlib.sha256(conversation.model.encode())
        longest, at = 0, 0
        for mark in sorted(marks):
            digest.update("\0".join(conversation.prompt[at:mark]).encode())
            at = mark
            key = digest.copy().digest()
            if key in self._known:
                longest = mark
            self._known.add(key)
        return longest
