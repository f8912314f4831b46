"""The chart can be read: by eye, in words, and by every renderer that takes SVG."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tests.bench import figures
from tests.bench.chart import WIDTH, Bar, Bars, Line, Lines, draw
from tests.worlds.bench_run import Round, bench_run

SVG = "{http://www.w3.org/2000/svg}"
LETTER = 9.0
"""Width of a letter of the widest text that is not a title."""


def bars(*totals: float) -> Bars:
    return Bars(
        "Cost",
        "us",
        ("one", "two"),
        [Bar(f"bar {total:g}", (total / 2, total / 2), "") for total in totals],
        (50.0, "target"),
    )


def lines(*values: list[float]) -> Lines:
    drawn = [Line(f"line {number}", each, number % 5) for number, each in enumerate(values)]
    return Lines("Latency", "ms", "requests/s", [10.0, 100.0, 350.0], drawn, "ms")


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  (our own text)


def texts(root: ET.Element) -> list[ET.Element]:
    return list(root.iter(f"{SVG}text"))


def test_the_chart_of_a_run_says_in_words_what_it_shows() -> None:
    root = parsed(figures.drawn(bench_run(Round(), Round())))

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title words"
    words = root.findtext(f"{SVG}desc") or ""
    assert "the gateway, with everything on 960 us, 9.6x" in words
    assert "gateway p99 3.0, 3.0, 3.0, 3.0" in words


def test_a_bar_is_as_long_as_its_parts_are_large() -> None:
    root = parsed(draw(bars(10.0, 80.0), lines([1.0, 2.0, 3.0]), ""))
    widths = [float(rect.get("width", 0)) for rect in root.iter(f"{SVG}rect") if rect.get("height") == "24.0"]

    short, long = sum(widths[:2]), sum(widths[2:])
    assert long == pytest.approx(8 * short, rel=0.01)


@pytest.mark.parametrize("high", [0.01, 0.9, 12.0, 1_250.0, 90_000.0])
def test_every_point_and_every_text_lies_inside_whatever_was_measured(high: float) -> None:
    root = parsed(draw(bars(high, 3 * high), lines([-1.0, 0.0, high], [high, high, high], [0.5, 1.0, high]), ""))
    height = float(root.get("height", 0))

    for point in root.iter(f"{SVG}circle"):
        assert 0 < float(point.get("cx", -1)) < WIDTH
        assert 0 < float(point.get("cy", -1)) < height
    for text in texts(root):
        x, width = float(text.get("x", -1)), LETTER * len(text.text or "")
        kinds = (text.get("class") or "").split()
        left = x - width if "end" in kinds else x - width / 2 if "mid" in kinds else x
        assert left > -LETTER
        if "title" not in kinds:
            assert left + width < WIDTH + LETTER
        assert 0 < float(text.get("y", -1)) < height


def test_lines_that_end_together_have_labels_apart() -> None:
    root = parsed(draw(bars(1.0), lines(*([5.0, 5.0, 5.0] for _ in range(4))), ""))
    heights = sorted(float(text.get("y", 0)) for text in texts(root) if (text.text or "").startswith("line "))

    assert all(lower - upper >= 18 for upper, lower in pairwise(heights))


def test_each_colour_is_told_for_light_and_for_dark() -> None:
    style = parsed(draw(bars(1.0), lines([1.0, 1.0, 1.0]), "")).findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")

    for kind in (".a{", ".b{", ".c{", ".d{", ".e{", "text{", ".ground{", ".grid{", ".mark{"):
        assert kind in light
        assert kind in dark


def test_names_cannot_break_out_of_the_chart() -> None:
    svg = draw(Bars("<b>", "&", ("x",), [Bar("</svg>", (1.0,), '"')]), lines([1.0, 1.0, 1.0]), "<!--")

    assert "</svg>" in [text.text for text in texts(parsed(svg))]
