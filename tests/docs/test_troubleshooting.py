"""Troubleshooting explains every message of the code on the device; its other messages are those of the code."""

from __future__ import annotations

import ast
import itertools
import re
from functools import cache

import pytest
from markdown_it import MarkdownIt
from support.project import ROOT

from rbootimg.emulator.qemu import BootEnd
from rbootimg.rom.causes import CAUSES

PACKAGE = ROOT / "rbootimg"
FIRMWARE = PACKAGE / "firmware"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")

OURS = "Messages of rbootimg"
"""The section whose headings are messages of the Python code, with … for values."""

TOKENS = MarkdownIt().enable("table").parse(PAGE)


@cache
def literals() -> frozenset[str]:
    """All that the page shows as code: words in a line, and the lines of blocks."""
    inline = (part.content for token in TOKENS for part in token.children or () if part.type == "code_inline")
    blocks = (line for token in TOKENS if token.type == "fence" for line in token.content.splitlines())
    return frozenset(text.strip() for text in itertools.chain(inline, blocks))


def headings(section: str) -> list[str]:
    """The code in the headings of a section."""
    found, current = [], ""
    for opened, inline in itertools.pairwise(TOKENS):
        if opened.type == "heading_open":
            if opened.tag == "h2":
                current = inline.content
            elif current == section:
                found += [part.content for part in inline.children or () if part.type == "code_inline"]
    assert found, section
    return found


def strings(source: str) -> list[str]:
    """The string literals of C code, those that follow one another as one."""
    joined = re.sub(r'"\s*\n\s*"', "", source)
    return [text.encode().decode("unicode_escape") for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined)]


def printed(name: str, *functions: str) -> list[str]:
    """The lines that calls of `functions` in a C file print, as formats."""
    source = (FIRMWARE / name).read_text(encoding="utf-8")
    calls = re.findall(rf"\b(?:{'|'.join(functions)})\((.*?)\);", source, re.DOTALL)
    lines = (line.strip() for call in calls for text in strings(call) for line in text.splitlines())
    return [line for line in dict.fromkeys(lines) if line]


def is_on_page(line: str) -> bool:
    """Whether the page shows a line that is printed with this format."""
    values = {"d": r"-?\d+", "u": r"\d+", "x": "[0-9a-f]+", "s": ".+"}
    parts = re.split(r"%(?:\d*)([duxs])", line)
    pattern = "".join(values[part] if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return any(re.fullmatch(pattern, text) for text in literals())


LOADER = printed("loader/loader.c", "ets_printf")
MASK_ROM = printed("maskrom/maskrom.c", "rom_ets_printf")
MISUSE = [line.removeprefix("misuse ") for line in printed("maskrom/maskrom.c", "report") if line.startswith("misuse ")]


@pytest.mark.parametrize("line", [*LOADER, *MASK_ROM, *MISUSE])
def test_every_message_of_the_loader_and_of_the_emulated_mask_rom_is_explained(line: str) -> None:
    assert is_on_page(line)


def test_the_messages_of_the_loader_were_found() -> None:
    assert {"No good rom available.", "rBoot Option: RTC data", "Rom %d at %x is bad."} <= set(LOADER)
    assert {"csum err", "user code done"} <= set(MASK_ROM)
    assert "cache: megabyte %u is outside the flash" in MISUSE


def reasons() -> list[tuple[str, str]]:
    """The update client's reasons: the name and the message of each."""
    header = (FIRMWARE / "ota" / "rboot-ota.h").read_text(encoding="utf-8")
    names = re.findall(r"^    (OTA_[A-Z_]+)", header.partition("typedef enum {")[2].partition("}")[0], re.MULTILINE)
    texts = strings((FIRMWARE / "ota" / "rboot-ota-text.c").read_text(encoding="utf-8"))
    texts.remove("rboot-ota.h")
    assert texts.pop() == "unknown reason"
    return list(zip(names, texts, strict=True))


@pytest.mark.parametrize(("name", "text"), reasons())
def test_every_reason_of_the_update_client_has_a_heading_with_its_name_below(name: str, text: str) -> None:
    assert text in headings("The update client")
    _, _, entry = PAGE.partition(f"\n### `{text}`\n\n")
    assert entry.startswith(f"`{name}`"), f"{text} is followed by {entry[:30]!r}"


def test_the_numbers_of_the_reasons_are_those_that_devices_send() -> None:
    rows = re.findall(r"^\| (\d+) \| `(OTA_[A-Z_]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert [(name, text) for _, name, text in rows] == reasons()[1:]
    assert [int(number) for number, _, _ in rows] == list(range(1, len(reasons())))


@pytest.mark.parametrize("cause", CAUSES)
def test_every_exception_that_the_emulator_names_is_in_the_table(cause: int) -> None:
    name = CAUSES[cause].name
    assert re.search(rf"^\| {cause} \| `{name}` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("end", BootEnd)
def test_every_end_of_a_run_in_the_emulator_is_explained(end: BootEnd) -> None:
    assert end.text in literals()


@cache
def messages() -> tuple[str, ...]:
    """The strings of each Python module except docstrings, with … for each value that is not a constant."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]
    constants = {
        target.id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def rendered(node: ast.AST) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(map(rendered, node.values))
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
            return constants.get(node.value.id, "…")
        match node:
            case ast.FormattedValue(ast.Call(ast.Name("counted"), [_, ast.Constant(noun)])):
                return f"… {noun}s"
        return "…"

    docstrings = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return tuple(
        "\n".join(
            rendered(node)
            for node in ast.walk(tree)
            if isinstance(node, (ast.JoinedStr, ast.Constant)) and node not in docstrings
        )
        for tree in trees
    )


@pytest.mark.parametrize("text", headings(OURS))
def test_every_message_of_rbootimg_on_the_page_is_in_the_code(text: str) -> None:
    parts = [part for part in text.split("…") if part.strip()]
    assert any(all(part in module for part in parts) for module in messages())


def test_no_message_is_explained_twice() -> None:
    found = [heading.content for opened, heading in itertools.pairwise(TOKENS) if opened.type == "heading_open"]
    assert sorted(found) == sorted(set(found))
