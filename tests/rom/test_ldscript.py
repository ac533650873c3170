"""Linker scripts: only the place of the flash code changes, and INCLUDEs are found."""

from __future__ import annotations

import pytest

from rbootimg.errors import ScriptError
from rbootimg.layout.model import Slot
from rbootimg.rom.ldscript import includes, slot_linker_script

SLOT0 = Slot(0x2000, 0x80000, 0)
SLOT1 = Slot(0x82000, 0x79000, 1)

# In the style of the SDK's eagle.app.v6.ld.
SCRIPT = b"""\
/* This linker script is for an application without OTA.
   irom0_0_seg : org = 0x40240000, len = 0x3C000 is where its flash code is. */
MEMORY
{
  dport0_0_seg :                      \torg = 0x3FF00000, len = 0x10
  dram0_0_seg :                       \torg = 0x3FFE8000, len = 0x14000
  iram1_0_seg :                       \torg = 0x40100000, len = 0x8000
  irom0_0_seg :                       \torg = 0x40240000, len = 0x3C000
}

PHDRS
{
  dport0_0_phdr PT_LOAD;
  dram0_0_phdr PT_LOAD;
  iram1_0_phdr PT_LOAD;
  irom0_0_phdr PT_LOAD;
}

ENTRY(call_user_start)
PROVIDE(_irom_length = LENGTH(irom0_0_seg));

SECTIONS
{
  .irom0.text : ALIGN(4)
  {
    _irom0_text_start = ABSOLUTE(.);
    *(.irom0.literal .irom.literal .irom.text.literal .irom0.text)
    _irom0_text_end = ABSOLUTE(.);
  } >irom0_0_seg :irom0_0_phdr
  .text : ALIGN(4) { *(.text .text.*) } >iram1_0_seg :iram1_0_phdr
  .data : ALIGN(4) { *(.data) } >dram0_0_seg :dram0_0_phdr
}

INCLUDE "../ld/eagle.rom.addr.v6.ld"
"""


def memory(region: str) -> bytes:
    return f"MEMORY {{ {region} }}\n".encode()


@pytest.mark.parametrize(
    ("slot", "line"),
    [
        (SLOT0, b"  irom0_0_seg :                       \torg = 0x40202010, len = 0x7fff0"),
        (SLOT1, b"  irom0_0_seg :                       \torg = 0x40282010, len = 0x78ff0"),
        # In the second megabyte: the flash window shows it at the same addresses as the first.
        (Slot(0x102000, 0xFE000), b"  irom0_0_seg :                       \torg = 0x40202010, len = 0xfdff0"),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_one_line_gets_the_slots_place_and_no_other_changes(slot: Slot, line: bytes, line_end: bytes) -> None:
    base = SCRIPT.replace(b"\n", line_end)
    before, after = base.split(line_end), slot_linker_script(base, slot).split(line_end)
    assert len(before) == len(after)
    changed = [number for number, pair in enumerate(zip(before, after)) if pair[0] != pair[1]]
    assert [before[number] for number in changed] == [
        b"  irom0_0_seg :                       \torg = 0x40240000, len = 0x3C000"
    ]
    assert after[changed[0]] == line


def test_a_script_made_for_a_slot_serves_as_base_for_another() -> None:
    assert slot_linker_script(slot_linker_script(SCRIPT, SLOT0), SLOT1) == slot_linker_script(SCRIPT, SLOT1)
    assert slot_linker_script(slot_linker_script(SCRIPT, SLOT1), SLOT1) == slot_linker_script(SCRIPT, SLOT1)


def test_bytes_of_any_encoding_stay_as_they_are() -> None:
    comment = b"/* caf\xe9 \xff\x00 \xe4\xb8 */\n"
    assert (
        slot_linker_script(comment + SCRIPT + comment, SLOT0) == comment + slot_linker_script(SCRIPT, SLOT0) + comment
    )


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("irom0_0_seg : org = 0x40240000, len = 0x3C000", "irom0_0_seg : org = 0x40202010, len = 0x7fff0"),
        ("irom0_0_seg:org=0x40240000,len=0x3C000", "irom0_0_seg:org=0x40202010,len=0x7fff0"),
        ("irom0_0_seg (rx) : org = 0x1, len = 0x2", "irom0_0_seg (rx) : org = 0x40202010, len = 0x7fff0"),
        ("irom0_0_seg(rx!w): org = 0x1, len = 0x2", "irom0_0_seg(rx!w): org = 0x40202010, len = 0x7fff0"),
        ("irom0_0_seg : ORIGIN = 0x1, LENGTH = 2", "irom0_0_seg : ORIGIN = 0x40202010, LENGTH = 0x7fff0"),
        ("irom0_0_seg : o = 0x1, l = 1M", "irom0_0_seg : o = 0x40202010, l = 0x7fff0"),
        ("irom0_0_seg : org = 0x1 len = 0x2", "irom0_0_seg : org = 0x40202010 len = 0x7fff0"),
        ("irom0_0_seg : org = 0x40200000 + 0x10, len = 512K - 16", "irom0_0_seg : org = 0x40202010, len = 0x7fff0"),
        ("irom0_0_seg : org = (0x40200000 + 0x10), len = 1<<19", "irom0_0_seg : org = 0x40202010, len = 0x7fff0"),
        ("irom0_0_seg : org = FLASH, len = SIZE / 2", "irom0_0_seg : org = 0x40202010, len = 0x7fff0"),
        (
            "irom0_0_seg : org = ORIGIN(flash) + 0x10, len = LENGTH(flash) - 16",
            "irom0_0_seg : org = 0x40202010, len = 0x7fff0",
        ),
        ("irom0_0_seg :\n  org = 0x1,\n  len = 0x2", "irom0_0_seg :\n  org = 0x40202010,\n  len = 0x7fff0"),
        (
            "irom0_0_seg /* here */ : org = 0x1 /* was */, len = /* and */ 0x2 /* end */",
            "irom0_0_seg /* here */ : org = 0x40202010 /* was */, len = /* and */ 0x7fff0 /* end */",
        ),
        # What comes behind it on the line is not part of its length.
        (
            "a : org = 1, len = 2 irom0_0_seg : org = 3, len = 4 b : org = 5, len = 6",
            "a : org = 1, len = 2 irom0_0_seg : org = 0x40202010, len = 0x7fff0 b : org = 5, len = 6",
        ),
        (
            "irom0_0_seg : org = 3, len = 512K - 16 z : org = 5, len = 6",
            "irom0_0_seg : org = 0x40202010, len = 0x7fff0 z : org = 5, len = 6",
        ),
        # Names that only contain it are others.
        (
            "my_irom0_0_seg : org = 1, len = 2 irom0_0_seg : org = 3, len = 4 irom0_0_segment : org = 5, len = 6",
            "my_irom0_0_seg : org = 1, len = 2 irom0_0_seg : org = 0x40202010, len = 0x7fff0 "
            "irom0_0_segment : org = 5, len = 6",
        ),
    ],
)
def test_all_that_ld_allows_to_be_written_is_understood(region: str, expected: str) -> None:
    assert slot_linker_script(memory(region), SLOT0) == memory(expected)


def test_parentheses_may_be_nested() -> None:
    base = memory("irom0_0_seg : org = ((0x40200000 + 0x2000) + 0x10), len = (512 * (1K)) - 16")
    assert slot_linker_script(base, SLOT0) == memory("irom0_0_seg : org = 0x40202010, len = 0x7fff0")


@pytest.mark.parametrize(
    ("comment", "where"),
    [
        ("/* irom0_0_seg : org = 1, len = 2 */", "before"),
        ("/* irom0_0_seg : org = 1, len = 2 */", "after"),
        ("/* 'unbalanced \" quote */ /* irom0_0_seg : org = 1, len = 2 */", "before"),
        ("/* several\n * lines\n irom0_0_seg : org = 1, len = 2\n **/", "before"),
        ("/* never closed: irom0_0_seg : org = 1, len = 2", "after"),
    ],
)
def test_comments_are_ignored_and_kept(comment: str, where: str) -> None:
    parts = [memory("irom0_0_seg : org = 3, len = 4"), comment.encode()]
    expected = [memory("irom0_0_seg : org = 0x40202010, len = 0x7fff0"), comment.encode()]
    if where == "before":
        parts.reverse()
        expected.reverse()
    assert slot_linker_script(b"\n".join(parts), SLOT0) == b"\n".join(expected)


def test_a_comments_sign_in_a_file_name_begins_no_comment() -> None:
    base = b'INCLUDE "strange/*name.ld"\n' + memory("irom0_0_seg : org = 3, len = 4") + b'INCLUDE "end*/.ld"\n'
    assert b"irom0_0_seg : org = 0x40202010, len = 0x7fff0" in slot_linker_script(base, SLOT0)
    assert includes(base) == ("strange/*name.ld", "end*/.ld")


@pytest.mark.parametrize("region", ["org = 1", "len = 2, org = 1", "org = a ? b : c, len = 2"])
def test_a_region_that_cannot_be_read_is_refused_as_such(region: str) -> None:
    with pytest.raises(
        ScriptError, match=r"^unsupported syntax for region irom0_0_seg: expected `org = \.\.\., len = \.\.\.`$"
    ):
        slot_linker_script(memory(f"irom0_0_seg : {region}"), SLOT0)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (b"", "no memory region irom0_0_seg"),
        (b"SECTIONS { .text : { *(.text) } >irom0_0_seg :irom0_0_phdr }", "no memory region irom0_0_seg"),
        (memory("iram1_0_seg : org = 0x40100000, len = 0x8000"), "no memory region irom0_0_seg"),
        (b"/* " + memory("irom0_0_seg : org = 1, len = 2") + b" */", "no memory region irom0_0_seg"),
        (
            memory("irom0_0_seg : org = 1, len = 2 irom0_0_seg : org = 1, len = 2"),
            "2 memory regions irom0_0_seg",
        ),
        (memory("irom0_0_seg : org = 1, len = 2") * 3, "3 memory regions irom0_0_seg"),
    ],
)
def test_a_script_without_exactly_one_such_region_is_refused(script: bytes, found: str) -> None:
    with pytest.raises(ScriptError) as refused:
        slot_linker_script(script, SLOT0)
    assert str(refused.value) == (f"{found} with org and len: expected exactly one, as in the SDK's eagle.app.v6.ld")


@pytest.mark.parametrize(
    "text",
    [
        b"a" * 50_000,
        b"a+" * 25_000,
        b"a " * 25_000,
        b"(" * 50_000,
        b"(" + b"(x)" * 15_000,
        b"((x)" * 15_000,
        b"/*" * 25_000,
        b'"' * 50_001,
    ],
    ids=lambda text: text[:6].decode(),
)
def test_a_long_line_of_nonsense_is_refused_and_not_pondered(text: bytes) -> None:
    with pytest.raises(ScriptError):
        slot_linker_script(b"irom0_0_seg : org = " + text, SLOT0)


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (b"", ()),
        (SCRIPT, ("../ld/eagle.rom.addr.v6.ld",)),
        (SCRIPT.replace(b"\n", b"\r\n"), ("../ld/eagle.rom.addr.v6.ld",)),
        (b"INCLUDE eagle.rom.addr.v6.ld", ("eagle.rom.addr.v6.ld",)),
        (b"INCLUDE eagle.rom.addr.v6.ld\r\n", ("eagle.rom.addr.v6.ld",)),
        (b'INCLUDE\t"with a blank.ld"', ("with a blank.ld",)),
        (b"INCLUDE\n  next-line.ld\n", ("next-line.ld",)),
        (b'INCLUDE b.ld\nMEMORY { INCLUDE "a.ld" }\nINCLUDE ../c.ld;\n', ("b.ld", "a.ld", "../c.ld")),
        (b"INCLUDE twice.ld\nINCLUDE twice.ld\n", ("twice.ld", "twice.ld")),
        (b"INCLUDE commented.ld/* why */\n", ("commented.ld",)),
        (b"/* INCLUDE no.ld */ INCLUDE yes.ld /* INCLUDE no.ld\nINCLUDE no.ld */\n", ("yes.ld",)),
        (b"PROVIDE(INCLUDED = 1); MY_INCLUDE = 2; NOINCLUDE x.ld\n", ()),
    ],
)
def test_the_scripts_that_are_included_are_found(script: bytes, names: tuple[str, ...]) -> None:
    assert includes(script) == names


def test_an_included_name_of_another_encoding_still_names_the_file() -> None:
    # As os.fsdecode gives it, so that open() finds the file.
    assert includes(b"INCLUDE caf\xe9.ld\n") == ("caf\udce9.ld",)
