"""Treemaps: areas in proportion, labels in their boxes, and a text that is XML whatever the names are."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbootimg.views import treemap
from rbootimg.views.treemap import COLOURS, TEXT_COLOUR, Cell, render

SVG = "{http://www.w3.org/2000/svg}"
CELLS = (Cell("loop", 600, "IRAM"), Cell("table", 300, "DRAM"), Cell("text", 100, "DRAM"))


@dataclass(frozen=True)
class Drawn:
    """A cell in the picture."""

    title: str
    fill: str
    x: float
    y: float
    width: float
    height: float
    labels: tuple[tuple[float, float, str], ...]

    @property
    def area(self) -> float:
        return self.width * self.height


def drawn(svg: str) -> list[Drawn]:
    return [_drawn(group) for group in ElementTree.fromstring(svg).iter(f"{SVG}g")]


def _drawn(group: ElementTree.Element) -> Drawn:
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
    labels = tuple(
        (float(text.attrib["x"]), float(text.attrib["y"]), text.text or "") for text in group.iter(f"{SVG}text")
    )
    return Drawn(group.findtext(f"{SVG}title") or "", rect.attrib["fill"], x, y, width, height, labels)


def many(count: int, seed: int = 1) -> list[Cell]:
    chance = random.Random(seed)
    names = ("IRAM", "DRAM", "flash")
    return [Cell(f"function_{at}", int(chance.paretovariate(0.9) * 8), chance.choice(names)) for at in range(count)]


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# The boxes


def test_areas_are_in_proportion_to_sizes() -> None:
    areas = {cell.title.split("\n")[0]: cell.area for cell in drawn(render(CELLS, "app"))}
    whole = sum(areas.values())
    assert {name: round(1000 * area / whole) for name, area in areas.items()} == {
        "loop": 600,
        "table": 300,
        "text": 100,
    }


def test_boxes_fill_the_picture_and_do_not_overlap() -> None:
    cells = drawn(render(many(60), "app", 1000, 648))
    assert sum(cell.area for cell in cells) == pytest.approx(1000 * 600, rel=0.01)
    for at, one in enumerate(cells):
        assert 0 <= one.x < one.x + one.width <= 1000.2
        assert 48 <= one.y < one.y + one.height <= 648.2
        for other in cells[at + 1 :]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(across, down) < 0.25


def test_boxes_are_nearly_square() -> None:
    ratios = sorted(max(cell.width / cell.height, cell.height / cell.width) for cell in drawn(render(many(60), "app")))
    assert ratios[len(ratios) // 2] < 1.6


def test_the_cells_of_a_group_stand_together_in_its_colour() -> None:
    cells = drawn(render(many(60), "app"))
    assert {cell.title.split("\n")[1].split(",")[0]: cell.fill for cell in cells} == {
        name: COLOURS[name] for name in ("IRAM", "DRAM", "flash")
    }
    for colour in {cell.fill for cell in cells}:
        same = [cell for cell in cells if cell.fill == colour]
        left, top = min(cell.x for cell in same), min(cell.y for cell in same)
        right, bottom = max(cell.x + cell.width for cell in same), max(cell.y + cell.height for cell in same)
        assert sum(cell.area for cell in same) == pytest.approx((right - left) * (bottom - top), rel=0.02)


def test_an_unknown_group_is_grey() -> None:
    assert drawn(render([Cell("a", 1, "PSRAM")], "app"))[0].fill == COLOURS["other"]


def test_what_is_too_small_to_see_becomes_one_box() -> None:
    cells = [Cell("large", 1_000_000, "flash"), *(Cell(f"tiny{at}", 2, "flash") for at in range(500))]
    titles = [cell.title for cell in drawn(render(cells, "app"))]
    assert titles == ["large\nflash, 1,000,000 bytes, 99.9 %", "(500 smaller)\nflash, 1,000 bytes, 0.1 %"]


def test_cells_without_a_size_are_left_out() -> None:
    assert len(drawn(render([*CELLS, Cell("nothing", 0, "IRAM"), Cell("less", -5, "IRAM")], "app"))) == len(CELLS)


def test_nothing_to_show_is_a_picture_with_a_title() -> None:
    svg = render([], "app.elf")
    assert not drawn(svg)
    assert ElementTree.fromstring(svg).findtext(f"{SVG}title") == "app.elf"


def test_the_order_of_the_cells_makes_no_difference() -> None:
    cells = many(200)
    assert render(reversed(cells), "app") == render(cells, "app")


# The text


def test_a_box_tells_its_name_its_size_and_its_share() -> None:
    cell = drawn(render(CELLS, "app"))[0]
    assert cell.title == "loop\nIRAM, 600 bytes, 60.0 %"
    assert [text for _, _, text in cell.labels] == ["loop", "600 bytes, 60.0 %"]


def test_the_legend_tells_the_share_of_each_region() -> None:
    texts = [text.text for text in ElementTree.fromstring(render(CELLS, "app.elf")).findall(f"{SVG}text")]
    assert texts == ["app.elf", "IRAM 600 bytes, 60.0 %", "DRAM 400 bytes, 40.0 %"]


def test_labels_stay_in_their_boxes() -> None:
    cells = [*many(300), Cell("a_" + "very_" * 50 + "long_name", 3000, "IRAM"), Cell("名前" * 40, 3000, "DRAM")]
    found = drawn(render(cells, "app"))
    assert any(text.endswith("…") for cell in found for _, _, text in cell.labels)
    for cell in found:
        for x, y, text in cell.labels:
            # 0.602 em of 12 pixels: DejaVu Sans Mono, the widest of the usual ones.
            columns = sum(1 if letter in "…" or letter.isascii() else 2 for letter in text)
            assert cell.x <= x <= x + columns * 0.602 * 12 <= cell.x + cell.width
            assert cell.y <= y - 12 < y + 3 <= cell.y + cell.height


def test_a_size_is_never_cut_short() -> None:
    for cell in drawn(render(many(300), "app")):
        size = re.search(r", ([0-9,]+) bytes", cell.title)
        assert size
        assert all(
            text in (size[1], f"{size[1]} bytes") or text.startswith(f"{size[1]} bytes, ")
            for _, _, text in cell.labels[1:]
        )


@pytest.mark.parametrize("colour", [*COLOURS.values(), "#ffffff"])
def test_text_stands_out_from_every_colour(colour: str) -> None:
    assert (luminance(colour) + 0.05) / (luminance(TEXT_COLOUR) + 0.05) >= 7


def test_the_picture_needs_nothing_else() -> None:
    svg = render([Cell("<script>alert(1)</script>", 5, "IRAM"), Cell('" onload="x', 5, "http://example.com")], "<&>")
    elements = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert elements == {f"{SVG}{name}" for name in ("svg", "g", "rect", "text", "title")}
    assert not re.search(r"<[^>]*(href|onload|url\(|style)[^>]*>", svg)


@given(
    st.lists(st.builds(Cell, st.text(), st.integers(-1, 2**32), st.text(max_size=5)), max_size=40),
    st.text(),
    st.integers(1, 2000),
    st.integers(1, 2000),
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_names_and_sizes_are_the_picture_is_xml(
    cells: list[Cell], title: str, width: int, height: int
) -> None:
    svg = render(cells, title, width, height)
    svg.encode()
    for cell in drawn(svg):
        assert min(cell.width, cell.height) >= 0


def test_a_hundred_thousand_names_take_no_time_to_speak_of() -> None:
    start = time.process_time()
    svg = treemap.render([Cell(f"f{at}", 1 + at % 7, "flash") for at in range(100_000)], "app")
    assert time.process_time() - start < 5
    assert len(svg) < 10_000_000
