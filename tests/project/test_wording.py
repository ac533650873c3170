"""The words that this project does not use: in strings, docstrings and comments of its Python code."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT

# What was written, and what people of this field expect. A plain "there is no X" is good English.
BETTER = {
    r"\b(is|are|be|was|as|of|has|have) no (?!longer|more|matter|one\b|effect\b|attribute\b|\{)": "not a X, invalid X",
    r"; write \b": "expected Y",
    r"\bbehind\b": "after, past the end",
    r"\bstands?\b|\bstood\b": "is, is at",
    r"\blies\b": "is at",
    r"\bsound\b": "valid",
    r"\bdamaged?\b": "corrupt",
    r"\bcut (off|short)\b": "truncated",
    r"\bwhole\b": "complete, entire",
    r"\b(taken|takes?) back\b": "rolled back",
    r"\b(broken|breaks?|broke) off\b": "aborted, interrupted",
    r"\bputs? (it )?right\b|\bmend(s|ed|ing)?\b": "repair",
    r"\banew\b": "again",
    r"\b(on|for|of) the desk\b": "local, for development",
    r"\ball the same\b": "override, nevertheless",
    r"\bwill do\b": "is accepted",
    r"\bwhat (is not|lacks?|has no|is left|is wrong|is there|is in it)\b": "name the file, the image, the option",
    r"\bwhoever\b|\bwho (wants|reads|prints|looks|can|has|asks|publishes|writes)\b": "name the noun",
    r"\bno text\b": "an empty string",
    r"\bnot known\b": "unknown",
    r"\b(is|are|could not|cannot) (to )?be told\b": "say what happens",
    r"\bgo(es)? out\b": "is published",
    r"\bfolders?\b": "directory",
}
# Texts that are not ours to choose.
ALLOWED = {
    ("rom/esptool2.py", "has no data to read"): "as esptool2 prints it",
}
FILES = sorted(path for name in ("rbootimg", "site_scons") for path in (ROOT / name).rglob("*.py"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(
                tokenize, "FSTRING_MIDDLE", None
            ):
                yield token.start[0], token.string


def old_words(path: Path) -> Iterator[str]:
    for line, text in texts(path):
        plain = re.sub(r"(?i)\bthere (is|are|was) no\b", "without", text)
        for pattern, better in BETTER.items():
            for match in re.finditer(pattern, plain):
                around = plain[max(match.start() - 20, 0) : match.end() + 20]
                if not any(str(path).endswith(name) and words in plain for name, words in ALLOWED):
                    yield f"{path}:{line}: {around!r}: write rather: {better}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_and_docstrings_use_the_words_of_the_field(path: Path) -> None:
    assert not list(old_words(path))


@pytest.mark.parametrize(
    "line",
    [
        'raise Error(f"{text!r} is no port; write a number")',
        "x = 1  # the bytes behind the end",
        '"""The release that was taken back."""',
        "raise Error('for the desk')",
    ],
)
def test_old_words_are_found_in_strings_and_comments(tmp_path: Path, line: str) -> None:
    (tmp_path / "module.py").write_text(f"{line}\n")
    assert list(old_words(tmp_path / "module.py"))


def test_other_words_and_names_are_not(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text('behind = "there is no application; the file is valid"\n')
    assert not list(old_words(tmp_path / "module.py"))
