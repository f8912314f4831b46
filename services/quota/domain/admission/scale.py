"""How many tokens a text makes: learned from calls that providers measured, for those that nobody did.

The tokens of a text grow with its bytes, and each call has some beside: `per_call + per_byte * bytes`. What stands
around a text in a request, for which nobody pays, makes `per_call` negative, what providers add to it positive; an
answer of a model that reasons unseen has its reasoning there.

A scale is a straight line fitted to relative errors, since a prompt of 100 bytes is to be as right as one of a
megabyte: of each call the tokens that came on a byte are drawn over the inverse of its size. `per_byte` is where that
line begins, `per_call` how steep it is. Means, variance and covariance are weighted exponentially, in integers: tokens
per byte and the inverse of bytes in millionths.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from services.kernel.usage import MICRO, Line

_REMEMBERED = 16
"""The share of a call in what is known sinks to this fraction."""


_TRUSTED_CALLS = 4


_FURTHEST = 4
"""From then on no call counts as more than so many times what it was expected to have, or as less than that part."""


_LARGEST_MICRO = 16 * MICRO


_LEAST_SPREAD = 50
"""In millionths of a byte's inverse."""


_LEAST_PART = 4
"""Sizes tell `per_call` by themselves as far as their inverses are spread wider than that, and than one in so many of
their mean. Where all are much alike, or above some 20 kB, it would be read out of chance: the assumed one counts."""


class Assumed(NamedTuple):
    """What is taken for true of `per_call` before sizes tell."""

    per_call: int
    least: int
    """It is never below."""


class Scale(NamedTuple):
    """What is known, in a form in which more can be learned."""

    calls: int = 0
    """It was learned from so many, counted to `_REMEMBERED`."""
    ratio: int = 0
    """Mean of the tokens per byte."""
    inverse: int = 0
    """Mean of the sizes' inverses."""
    spread: int = 0
    """Their variance."""
    slope: int = 0
    """Covariance of both."""

    def line(self, assumed: Assumed) -> Line | None:
        """None while nothing is known."""
        if not self.calls:
            return None
        least = (_LEAST_SPREAD + self.inverse // _LEAST_PART) ** 2
        per_call = max(assumed.least, _divide(self.slope + assumed.per_call * least, self.spread + least))
        return Line(per_call, max(0, self.ratio - per_call * self.inverse))

    def after(self, text_bytes: int, tokens: int, assumed: Assumed) -> Self:
        """What is known after a call of this size, above 0, that took so many tokens."""
        ratio = min(tokens * MICRO // text_bytes, _LARGEST_MICRO)
        inverse = MICRO // text_bytes
        line = self.line(assumed)
        if line is not None and self.calls >= _TRUSTED_CALLS:
            typical = max(1, line.tokens(text_bytes)) * MICRO // text_bytes
            ratio = min(max(ratio, typical // _FURTHEST), typical * _FURTHEST)
        calls = min(self.calls + 1, _REMEMBERED)
        up, along = ratio - self.ratio, inverse - self.inverse
        return self._replace(
            calls=calls,
            ratio=self.ratio + _divide(up, calls),
            inverse=self.inverse + _divide(along, calls),
            # West's recurrence: what a new value adds is its distance from the mean before, twice.
            spread=_divide((calls - 1) * (self.spread + _divide(along * along, calls)), calls),
            slope=_divide((calls - 1) * (self.slope + _divide(along * up, calls)), calls),
        )


def _divide(number: int, by: int) -> int:
    """To the nearest whole number."""
    return (2 * number + by) // (2 * by)
