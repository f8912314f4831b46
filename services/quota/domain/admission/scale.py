"""Scales: how many tokens a text makes. Measured calls teach this, for the estimate of unmeasured calls.

The tokens of a text grow with its bytes, and each call adds a constant: `per_call + per_byte * bytes`. The JSON around
a text in a request, for which nobody pays, makes `per_call` negative. Text that providers add makes it positive, and so
does hidden reasoning in an answer.

A scale is a straight line. We fit it to relative errors, because the estimate for a prompt of 100 bytes should be as
accurate as that for a megabyte. For each call, x is the inverse of its size, and y is its tokens per byte. `per_byte`
is the intercept of that line, and `per_call` is its slope. Means, variance and covariance have exponential weights and
are integers: tokens per byte and inverse bytes in millionths.
"""

from __future__ import annotations

from typing import NamedTuple, Self

from services.kernel.usage import MICRO, Line

_REMEMBERED = 16
"""The weight of a new call falls to one part in this many."""


_TRUSTED_CALLS = 4


_FURTHEST = 4
"""After the trusted calls, a call counts for at most this many times its expected tokens, and at least for that
fraction."""


_LARGEST_MICRO = 16 * MICRO


_LEAST_SPREAD = 50
"""In millionths of an inverse byte."""


_LEAST_PART = 4
"""We trust a fitted `per_call` as far as the inverse sizes spread wider than `_LEAST_SPREAD` and the mean divided by
this. If all sizes are similar, or above some 20 kB, a fit would only show chance, so the assumed value counts."""


class Assumed(NamedTuple):
    """The value of `per_call` that we assume until sizes reveal it."""

    per_call: int
    least: int
    """The lower bound of `per_call`."""


class Scale(NamedTuple):
    """The knowledge about one kind of text, in a form that can learn more."""

    calls: int = 0
    """The number of calls it learned from, counted up to `_REMEMBERED`."""
    ratio: int = 0
    """The mean of the tokens per byte."""
    inverse: int = 0
    """The mean of the inverse sizes."""
    spread: int = 0
    """The variance of the inverse sizes."""
    slope: int = 0
    """The covariance of inverse sizes and tokens per byte."""

    def line(self, assumed: Assumed) -> Line | None:
        """The fitted line; None before the first call."""
        if not self.calls:
            return None
        least = (_LEAST_SPREAD + self.inverse // _LEAST_PART) ** 2
        per_call = max(assumed.least, _divide(self.slope + assumed.per_call * least, self.spread + least))
        return Line(per_call, max(0, self.ratio - per_call * self.inverse))

    def after(self, text_bytes: int, tokens: int, assumed: Assumed) -> Self:
        """The scale after one more call with this many bytes, above 0, and this many tokens."""
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
            # West's recurrence: a new value adds the square of its distance from the previous mean.
            spread=_divide((calls - 1) * (self.spread + _divide(along * along, calls)), calls),
            slope=_divide((calls - 1) * (self.slope + _divide(along * up, calls)), calls),
        )


def _divide(number: int, by: int) -> int:
    """Divides and rounds to the nearest integer."""
    return (2 * number + by) // (2 * by)
