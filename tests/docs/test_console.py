"""The comparison of a page with what its commands print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import console

DIGEST, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("", ""),
        ("a\nb\n", "a\nb"),
        ("a  b\n", "a b"),
        ("rom0.bin 160 B\n", "rom0.bin 1,234 B"),
        ("  12.5 %\n", "   1.5 %"),
        (f"x {DIGEST}\n", f"x {OTHER}"),
        ("a\nb\nc\nd\n", "a\n…\nd"),
        ("a\nd\n", "a\n…\nd"),
        ("CC  main.o -Os\n", "CC  … -Os"),
    ],
)
def test_output_that_matches(output: str, shown: str) -> None:
    assert console.matches(output, shown)


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("a\n", ""),
        ("", "a"),
        ("a\nb\n", "a"),
        ("a\n", "a\nb"),
        ("slot 0 at 0x2000\n", "slot 1 at 0x2000"),
        ("0x82000\n", "0x2000"),
        ("version 1.2.0\n", "version 1.3.0"),
        ("ab\n", "a b"),
        (f"x {DIGEST[:-1]}\n", f"x {OTHER}"),
        ("CC\nmain.o\n", "CC … main.o"),
    ],
)
def test_output_that_does_not_match(output: str, shown: str) -> None:
    assert not console.matches(output, shown)


PAGE = """# Page

<!-- file: src/main.c -->
```c
int a;
```

<!-- run: echo hidden >hidden.txt -->

```console
$ cat src/main.c \\
    hidden.txt
int a;
hidden
$ cd src
```

<!-- append to: main.c -->
```c
int b;
```

<!-- not run: no device -->
```console
$ flash
```

<!-- exit status: 3 -->
```console
$ grep -c int main.c
3
$ (exit 3)
```

```text
$ not a command
```
"""


def test_a_page_is_done_in_one_shell(tmp_path: Path) -> None:
    results = console.run(PAGE, tmp_path, os.environ)
    assert [(ran.command.text, ran.output, ran.status) for ran in results[1:]] == [
        ("cat src/main.c \\\n    hidden.txt", "int a;\nhidden\n", 0),
        ("cd src", "", 0),
        ("grep -c int main.c", "2\n", 0),
        ("(exit 3)", "", 3),
    ]
    assert [ran.is_as_shown for ran in results] == [True, True, True, False, True]
    assert console.with_outputs(PAGE, results) == PAGE.replace("main.c\n3\n", "main.c\n2\n")


def test_a_command_that_does_not_end_is_no_success(tmp_path: Path) -> None:
    page = "```console\n$ echo a\na\n$ sleep 60\n$ echo b\nb\n```\n"
    first, *others = console.run(page, tmp_path, os.environ, seconds=1)
    assert first.is_as_shown
    assert [(ran.status, ran.is_as_shown) for ran in others] == [(None, False)] * 2
