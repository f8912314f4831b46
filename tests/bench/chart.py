"""Two diagrams in one SVG: where the CPU time of a call goes, and what is added to its latency.

The file needs nothing around it: it brings its colours for light and for dark, its own ground, and a description in
words for those who do not see it. Text is at least 13 of the 600 units that it is wide, so it can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import log10

WIDTH = 600
_LEFT, _RIGHT = 20.0, 580.0
_BAR_HEIGHT, _BAR_PITCH = 24, 54
_PLOT_LEFT, _PLOT_RIGHT, _PLOT_HEIGHT = 56.0, 412.0, 210.0
_LABEL_GAP = 19.0
_TICKS = tuple(factor * 10.0**power for power in range(-2, 6) for factor in (1, 3))
_LETTER = 7.6
"""Width of a letter of ordinary text, roughly."""

_COLOURS = "abcde"
_LIGHT = {"a": "#6e7781", "b": "#0969da", "c": "#bc4c00", "d": "#1a7f37", "e": "#8250df"}
_LIGHT |= {"ground": "#ffffff", "ink": "#1f2328", "soft": "#59636e", "grid": "#d1d9e0"}
_DARK = {"a": "#9198a1", "b": "#4493f8", "c": "#f0883e", "d": "#3fb950", "e": "#ab7df8"}
_DARK |= {"ground": "#0d1117", "ink": "#f0f6fc", "soft": "#9198a1", "grid": "#3d444d"}
_SHAPES = """text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
  font-variant-numeric:tabular-nums}
.title{font-size:17px;font-weight:600}.small,.in{font-size:13px}.strong,.in{font-weight:600}
.end{text-anchor:end}.mid{text-anchor:middle}.line{fill:none;stroke-width:2.5;stroke-linejoin:round}
.mark{stroke-width:2}.dashed{stroke-dasharray:7 5}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, made of parts."""

    name: str
    parts: Sequence[float]
    """In the order of the diagram's part names; 0 where it has none."""
    note: str
    """Written at the right, above the bar."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars that lie below each other."""

    title: str
    subtitle: str
    parts: Sequence[str]
    bars: Sequence[Bar]
    mark: tuple[float, str] | None = None
    """A line across all bars, with its text."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a point for each x."""

    name: str
    values: Sequence[float]
    colour: int
    """Number of a part's colour."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a logarithmic scale."""

    title: str
    subtitle: str
    across: str
    """What lies across, with its unit."""
    x: Sequence[float]
    lines: Sequence[Line]
    unit: str


def draw(bars: Bars, lines: Lines, words: str) -> str:
    """The SVG. `words` say what it shows to those who do not see it."""
    above, height_of_bars = _bars(bars, 34.0)
    below, bottom = _lines(lines, height_of_bars + 44.0)
    height = round(bottom + 20)
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
                f' viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title words">'
            ),
            f'<title id="title">{escape(bars.title)}; {escape(lines.title)}</title>',
            f'<desc id="words">{escape(words)}</desc>',
            f"<style>{_SHAPES}{_paint(_LIGHT)}",
            f"@media (prefers-color-scheme:dark){{{_paint(_DARK)}}}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            *above,
            *below,
            "</svg>",
            "",
        ]
    )


def _paint(colours: Mapping[str, str]) -> str:
    """Rules that colour everything. Spelt out, since not every renderer knows variables."""
    parts = "".join(
        f".{each}{{fill:{colours[each]}}}.line.{each}{{fill:none;stroke:{colours[each]}}}" for each in _COLOURS
    )
    return (
        f"text{{fill:{colours['ink']}}}text.soft{{fill:{colours['soft']}}}text.in{{fill:{colours['ground']}}}"
        f".ground{{fill:{colours['ground']};stroke:{colours['grid']}}}.grid{{stroke:{colours['grid']}}}"
        f".mark{{stroke:{colours['ink']}}}{parts}"
    )


def _bars(bars: Bars, top: float) -> tuple[list[str], float]:
    most = max([sum(bar.parts) for bar in bars.bars] + ([bars.mark[0]] if bars.mark else []) + [1e-9])
    scale = (_RIGHT - _LEFT) / (most * 1.02)
    drawn = [*_heading(bars.title, bars.subtitle, top), *_legend(bars.parts, top + 46)]
    y = top + 62.0
    for bar in bars.bars:
        drawn += [_text(bar.name, _LEFT, y + 15, "strong"), _text(bar.note, _RIGHT, y + 15, "end")]
        x = _LEFT
        for number, part in enumerate(bar.parts):
            width = part * scale
            if width > 0:
                drawn.append(_rect(x, y + 21, width, _BAR_HEIGHT, _COLOURS[number]))
            label = f"{part:,.0f}"
            if width > _LETTER * len(label) + 6:
                drawn.append(_text(label, x + width / 2, y + 38, "in mid"))
            x += width
        if bars.mark:
            at = _LEFT + bars.mark[0] * scale
            drawn.append(_segment("mark", at, y + 18, at, y + 24 + _BAR_HEIGHT))
        y += _BAR_PITCH
    if bars.mark:
        x = _LEFT + bars.mark[0] * scale
        drawn.append(_text(bars.mark[1], *_beside(bars.mark[1], x, y + 10)))
        y += 12
    return drawn, y


def _beside(text: str, x: float, y: float) -> tuple[float, float, str]:
    """Where a text goes that belongs to a vertical line: to its left where the right has no room."""
    room = x + _LETTER * len(text) < _RIGHT
    return (x, y, "soft small") if room else (x, y, "soft small end")


def _lines(lines: Lines, top: float) -> tuple[list[str], float]:
    ticks = _ticks([value for line in lines.lines for value in line.values])
    plot_top = top + 40
    plot_bottom = plot_top + _PLOT_HEIGHT

    def at_y(value: float) -> float:
        span = log10(ticks[-1]) - log10(ticks[0])
        return plot_bottom - (log10(max(value, ticks[0])) - log10(ticks[0])) / span * _PLOT_HEIGHT

    def at_x(value: float) -> float:
        return _PLOT_LEFT + value / max(lines.x) * (_PLOT_RIGHT - _PLOT_LEFT)

    drawn = _heading(lines.title, lines.subtitle, top)
    for tick in ticks:
        drawn += [
            _segment("grid", _PLOT_LEFT, at_y(tick), _PLOT_RIGHT, at_y(tick)),
            _text(f"{tick:g}", _PLOT_LEFT - 8, at_y(tick) + 4, "soft small end"),
        ]
    drawn += [_text(f"{value:g}", at_x(value), plot_bottom + 20, "soft small mid") for value in lines.x]
    drawn.append(_text(lines.across, (_PLOT_LEFT + _PLOT_RIGHT) / 2, plot_bottom + 40, "soft small mid"))
    for line in lines.lines:
        points = [(at_x(x), at_y(value)) for x, value in zip(lines.x, line.values, strict=True)]
        drawn += _path(points, line)
    ends = [at_y(line.values[-1]) for line in lines.lines]
    for line, y in zip(lines.lines, _apart(ends), strict=True):
        value = line.values[-1]
        label = f"{line.name} {value:,.{0 if value >= 100 else 1}f} {lines.unit}"
        drawn.append(_text(label, _PLOT_RIGHT + 10, y + 5))
    return drawn, plot_bottom + 44


def _path(points: Sequence[tuple[float, float]], line: Line) -> Iterator[str]:
    colour = _COLOURS[line.colour]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = " dashed" if line.dashed else ""
    yield f'<polyline class="line{dashed} {colour}" points="{path}"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{colour}"/>'


def _ticks(values: Iterable[float]) -> list[float]:
    """The marks of a scale that holds these values; what is not above 0.1 lies on its lowest mark."""
    positive = [max(value, 0.1) for value in values] or [1.0]
    low = max(tick for tick in _TICKS if tick <= min(positive))
    high = min(tick for tick in _TICKS if tick >= max(*positive, low * 3))
    return [tick for tick in _TICKS if low <= tick <= high]


def _apart(heights: Sequence[float]) -> list[float]:
    """Moves labels down until none covers another."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    placed = list(heights)
    for upper, lower in pairwise(order):
        placed[lower] = max(placed[lower], placed[upper] + _LABEL_GAP)
    return placed


def _heading(title: str, subtitle: str, y: float) -> list[str]:
    return [_text(title, _LEFT, y, "title"), _text(subtitle, _LEFT, y + 20, "soft small")]


def _legend(names: Sequence[str], y: float) -> Iterator[str]:
    x = _LEFT
    for number, name in enumerate(names):
        yield _rect(x, y - 10, 11, 11, _COLOURS[number])
        yield _text(name, x + 16, y, "soft small")
        x += 16 + _LETTER * len(name) + 14


def _text(text: str, x: float, y: float, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{colour}"/>'


def _segment(kind: str, x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'
