"""The drop-in for esptool2: its bytes, status and errors, by itself and under make."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.elf_builder import APP, DRAM, IRAM, IROM0, Sec, build_elf
from support.project import ROOT, VECTORS

from rbootimg.commands.esptool2 import Command, main
from rbootimg.errors import ElfError, FitError, RomError
from rbootimg.layout.params import FlashParams
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.esptool2 import BOOT1_IROM_OFFSET, boot1_image, header, lib, old_image, rom
from rbootimg.rom.pack import pack

with (VECTORS / "expected.tsv").open(newline="") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t"))
SECTIONS = (".text", ".data", ".rodata")
APP_ELF = parse_elf(build_elf(APP))

# No code for the flash, as rBoot and its second stage have none.
LOADER = (Sec(".text", IRAM, b"\xaa\xbb\xcc"), Sec(".rodata", DRAM, b"text"))

# `-boot0` of APP: what stands behind the flash code in a ROM.
OLD_IMAGE = (
    bytes.fromhex("e9 03 00 00 00 00 10 40")  # magic, 3 sections, QIO, 512 KB and 40 MHz, entry
    + bytes.fromhex("00 00 10 40 08 00 00 00 01 02 03 04 05 06 07 08")  # .text
    + bytes.fromhex("00 80 fe 3f 04 00 00 00 64 61 74 61")  # .data
    + bytes.fromhex("04 80 fe 3f 0c 00 00 00") + b"read only\0\0\0"  # .rodata, padded to 4
    + bytes(7)  # up to the last of 16 bytes
    + b"\xd1"  # the checksum
)  # fmt: skip


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The ELF file of APP, the only file in its directory."""
    path = tmp_path / "app.elf"
    path.write_bytes(build_elf(APP))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run esptool2, which must exit with 255 and print one line, on stderr; that line without its end."""
    assert main([str(argument) for argument in arguments]) == 255
    printed = capsys.readouterr()
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    assert not printed.out
    return printed.err[:-1]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, "cwd": ROOT}
    command = [sys.executable, "-B", "-m", "rbootimg.commands.esptool2", *map(str, arguments)]
    return subprocess.run(command, check=False, **{**settings, **options})


# The bytes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(list(row.values())[:3]))
def test_the_reference_packers_runs(row: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "output"
    command = ["-quiet", *row["arguments"].split(), VECTORS / row["elf"], output, *row["sections"].split()]
    if row["bytes"] == "error":
        assert refused(capsys, *command) == row["sha256"]
        assert not output.exists()
        return
    assert main([str(argument) for argument in command]) == 0
    data = output.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (int(row["bytes"]), row["sha256"])
    assert capsys.readouterr() == ("", "")


def test_boot0_is_the_ram_sections_alone() -> None:
    assert old_image(APP_ELF, SECTIONS) == OLD_IMAGE


def test_boot0_and_header_need_no_flash_code() -> None:
    loader = parse_elf(build_elf(LOADER))
    image = (
        bytes.fromhex("e9 01 02 4f 00 00 10 40 00 00 10 40 04 00 00 00")
        + bytes.fromhex("aa bb cc 00")
        + bytes(11)
        + bytes((0xEF ^ 0xAA ^ 0xBB ^ 0xCC,))
    )
    assert old_image(loader, [".text"], FlashParams(mode=2, size=4, freq=15)) == image
    assert b"0xaa, 0xbb, 0xcc," in header(loader, [".text"])


def test_boot1_has_the_flash_code_at_0x10000_unpadded() -> None:
    assert boot1_image(APP_ELF, SECTIONS) == OLD_IMAGE.ljust(0x10000, b"\xff") + b"code in the flash"


def test_boot1_takes_what_just_fits_and_refuses_more() -> None:
    # 8 bytes of header, 8 for the section, 1 for the checksum, which ends 16 bytes.
    def elf(size: int) -> bytes:
        return build_elf((Sec(".data", DRAM, b"\x01" * size), Sec(".irom0.text", IROM0, b"code")))

    full = boot1_image(parse_elf(elf(BOOT1_IROM_OFFSET - 20)), [".data"])
    assert full[BOOT1_IROM_OFFSET - 4 :] == b"\0\0\0\xefcode"
    with pytest.raises(
        FitError, match=r"RAM sections have 65,552 bytes, 16 more than fit before the flash code at 0x10000"
    ):
        boot1_image(parse_elf(elf(BOOT1_IROM_OFFSET - 16)), [".data"])


@pytest.mark.parametrize("irom_checksum", [False, True])
def test_boot2_is_what_pack_makes(irom_checksum: bool) -> None:
    params = FlashParams(mode=3, size=2, freq=1)
    assert rom(APP_ELF, SECTIONS, params, irom_checksum) == pack(APP_ELF, SECTIONS, params, irom_checksum)


def test_boot2_takes_sections_where_pack_refuses_them() -> None:
    high = parse_elf(build_elf((*APP, Sec(".high", 0x4010FC00, b"high"))))
    assert rom(high, [".high"]).sections[0].address == 0x4010FC00


def test_sections_come_in_the_order_given_and_as_often() -> None:
    image = rom(APP_ELF, [".data", ".text", ".data"])
    assert [section.address for section in image.sections] == [DRAM, IRAM, DRAM]


def test_more_sections_than_the_count_byte_holds_are_refused() -> None:
    assert old_image(APP_ELF, [".data"] * 255)[1] == 255
    with pytest.raises(RomError, match="256 RAM sections: expected 1-255"):
        old_image(APP_ELF, [".data"] * 256)


def test_lib_is_the_flash_code_alone() -> None:
    assert lib(APP_ELF) == b"code in the flash"


def test_header_is_c_with_crlf_and_16_bytes_a_line() -> None:
    elf = parse_elf(
        build_elf((Sec(".irom0.text", IROM0, bytes(range(17))), Sec(".rodata", 0x00ABCDEF, b"\xff")), IRAM + 4)
    )
    assert header(elf, [".irom0.text", ".rodata"]) == (
        b"const uint32_t entry_addr = 0x40100004;\r\n"
        b"\r\n"
        b"const uint32_t _irom0_text_addr = 0x40202010;\r\n"
        b"const uint32_t _irom0_text_len = 17;\r\n"
        b"const uint8_t  _irom0_text_data[] = {\r\n"
        b"  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,\r\n"
        b"  0x10,\r\n"
        b"};\r\n"
        b"\r\n"
        b"const uint32_t _rodata_addr = 0x00abcdef;\r\n"
        b"const uint32_t _rodata_len = 1;\r\n"
        b"const uint8_t  _rodata_data[] = {\r\n"
        b"  0xff,\r\n"
        b"};\r\n"
    )


def test_every_kind_needs_its_sections() -> None:
    loader = parse_elf(build_elf(LOADER))
    missing = r"^Section '\.irom0\.text' not found in elf file\.$"
    with pytest.raises(ElfError, match=missing):
        lib(loader)
    with pytest.raises(ElfError, match=missing):
        rom(loader, [".text"])
    with pytest.raises(ElfError, match=missing):
        boot1_image(loader, [".text"])
    for function in (header, old_image, boot1_image, rom):
        with pytest.raises(ElfError, match=r"^Section '\.nosuch' not found in elf file\.$"):
            function(APP_ELF, [".text", ".nosuch"])
        with pytest.raises(ElfError, match=r"^Section '\.bss' has no data to read\.$"):
            function(APP_ELF, [".bss"])


# The arguments


def command(*options: str) -> Command:
    return Command.from_arguments([*options, "in", "out", ".text"])


@pytest.mark.parametrize(
    ("option", "params"),
    [
        ("-qio", FlashParams(mode=0)),
        ("-qout", FlashParams(mode=1)),
        ("-dio", FlashParams(mode=2)),
        ("-dout", FlashParams(mode=3)),
        ("-256", FlashParams(size=1)),
        ("-512", FlashParams(size=0)),
        ("-1024", FlashParams(size=2)),
        ("-2048", FlashParams(size=3)),
        ("-2048b", FlashParams(size=5)),
        ("-4096", FlashParams(size=4)),
        ("-8192", FlashParams(size=8)),
        ("-16384", FlashParams(size=9)),
        ("-20", FlashParams(freq=2)),
        ("-26.7", FlashParams(freq=1)),
        ("-40", FlashParams(freq=0)),
        ("-80", FlashParams(freq=15)),
    ],
)
def test_flash_options(option: str, params: FlashParams) -> None:
    assert command("-bin", option).params == params


def test_the_defaults_are_boot0_qio_512_kb_40_mhz() -> None:
    assert command("-bin") == Command("-bin", "in", "out", (".text",), 0, FlashParams(0, 0, 0), False, False, False)


def test_options_come_in_any_order_and_the_last_of_those_that_exclude_each_other_counts() -> None:
    parsed = command("-80", "-boot1", "-dio", "-4096", "-bin", "-iromchksum", "-boot2", "-dout", "-1024", "-20")
    assert (parsed.boot, parsed.irom_checksum) == (2, True)
    assert parsed.params == FlashParams(mode=3, size=2, freq=2)


def test_options_end_at_the_first_name() -> None:
    assert Command.from_arguments(["-bin", "in", "out", ".text", "-quiet"]).sections == (".text", "-quiet")
    assert Command.from_arguments(["-lib", "--", "-in", "--"]) == Command("-lib", "-in", "--")


def test_options_of_other_kinds_are_taken_and_without_effect() -> None:
    assert command("-header", "-boot2", "-dio", "-iromchksum").convert(APP_ELF) == header(APP_ELF, [".text"])
    assert command("-bin", "-boot0", "-iromchksum").convert(APP_ELF) == old_image(APP_ELF, [".text"])


NO_KIND = "You must specify -bin OR -lib OR -header for build type."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-bin -what in out .text", "Unrecognised option '-what'."),
        ("-bin - out .text", "Unrecognised option '-'."),
        ("--help", "Unrecognised option '--help'."),
        ("in out .text", NO_KIND),
        ("-quiet", NO_KIND),
        ("--", NO_KIND),
        ("-bin -lib in out", NO_KIND),
        ("-bin -bin in out .text", NO_KIND),
        ("-quiet -debug -bin in out .text", "You cannot specify -quiet and -debug."),
        ("-lib in", "Not enough arguments supplied."),
        ("-bin in out", "Not enough arguments supplied."),
        ("-header in out", "Not enough arguments supplied."),
        ("-lib in out .irom0.text", "Too many arguments supplied."),
    ],
)
def test_wrong_usage_is_one_line_in_esptool2s_words(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *arguments.split()) == f"Error: {message}"


def test_no_arguments_print_the_usage_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 255
    printed = capsys.readouterr()
    assert printed.out.startswith("usage: esptool2 -lib")
    assert not printed.err
    for option in ("-boot1", "-qout", "-2048b", "-26.7", "-iromchksum", "-debug"):
        assert option in printed.out


# Files and messages


def test_success_is_said_unless_quiet(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = app.with_name("out.bin")
    assert main(["-lib", str(app), str(output)]) == 0
    assert capsys.readouterr() == (f"Successfully created '{output}'.\n", "")


def test_debug_prints_what_is_in_the_elf(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-debug", "-lib", str(app), str(app.with_name("out.bin"))]) == 0
    assert "entry: 0x40100000\n.text: 8 bytes at 0x40100000\n" in capsys.readouterr().out


def test_an_elf_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, reason in (("nowhere.elf", "No such file or directory"), (".", "Is a directory")):
        path = tmp_path / name
        line = refused(capsys, "-lib", path, tmp_path / "out")
        assert line == f"Error: Can't open elf file '{path}': {reason}."


@pytest.mark.parametrize("size", [0, 3, 40, 60, 200])
def test_a_damaged_elf_is_one_line(size: int, app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app.write_bytes(app.read_bytes()[:size])
    line = refused(capsys, "-bin", app, app.with_name("out"), ".text")
    assert line.startswith(f"Error: {app}: ")
    assert not app.with_name("out").exists()


def test_an_output_that_cannot_be_written_is_one_line(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output, reason in (
        (app.parent, "Is a directory"),
        (app.parent / "nowhere" / "out", f"there is no directory {app.parent / 'nowhere'}"),
        (app / "out", f"{app} is not a directory"),
        (Path("/dev/full"), "No space left on device"),
    ):
        line = refused(capsys, "-quiet", "-lib", app, output)
        assert line == f"Error: Failed to open output file '{output}' for writing: {reason}."
    assert list(app.parent.iterdir()) == [app]


def test_the_elf_is_not_replaced(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = app.with_name("link")
    link.symlink_to(app)
    for output in (app, link):
        assert "Refusing to overwrite the elf file" in refused(capsys, "-lib", app, output)
    assert app.read_bytes() == build_elf(APP)


def test_an_existing_output_stays_when_packing_fails_and_is_replaced_when_it_succeeds(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = app.with_name("out")
    output.write_bytes(b"what was there")
    refused(capsys, "-bin", app, output, ".text", ".nosuch")
    assert output.read_bytes() == b"what was there"
    assert main(["-quiet", "-lib", str(app), str(output)]) == 0
    assert output.read_bytes() == lib(APP_ELF)


def test_a_link_as_output_is_followed(app: Path) -> None:
    link, target = app.with_name("link"), app.with_name("target")
    link.symlink_to(target)
    assert main(["-quiet", "-lib", str(app), str(link)]) == 0
    assert link.is_symlink()
    assert target.read_bytes() == lib(APP_ELF)


def test_the_output_may_be_a_pipe(app: Path) -> None:
    done = run("-quiet", "-lib", app, "/dev/stdout")
    assert (done.returncode, done.stdout, done.stderr) == (0, "code in the flash", "")


def test_a_name_that_is_no_text_is_taken_and_shown(app: Path) -> None:
    output = os.fsencode(app.parent) + b"/\xff.bin"
    done = run("-lib", app, os.fsdecode(output))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\udcff.bin'" in done.stdout
    assert Path(os.fsdecode(output)).exists()


def test_nobody_listening_is_no_failure(app: Path) -> None:
    output = app.with_name("out")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as gone, open("/dev/full", "wb") as full:
        for nobody in (gone, full):
            done = run("-lib", app, output, stdout=nobody)
            assert (done.returncode, done.stderr) == (0, "")
            assert output.read_bytes() == lib(APP_ELF)
            output.unlink()
        assert run("-lib", app.with_name("nowhere"), output, stderr=gone).returncode == 255
    closed = run("-lib", app, output, preexec_fn=lambda: os.close(1))
    assert (closed.returncode, closed.stderr) == (0, "")


# Under make

LINKER_SCRIPT = """
MEMORY { dram : org = 0x3FFE8000, len = 0x14000
         iram : org = IRAM, len = 0x400
         irom : org = 0x40202010, len = 0x3C000 }
ENTRY(call_user_start)
ets_printf = 0x400024cc;
SECTIONS {
  .data : ALIGN(4) { *(.data .data.*) } > dram
  .rodata : ALIGN(4) { *(.rodata .rodata.*) } > dram
  .bss : ALIGN(8) { *(.bss .bss.* COMMON) } > dram
  .text : ALIGN(4) { *(.literal .text .literal.* .text.*) } > iram
  .irom0.text : ALIGN(4) { *(.irom0.literal .irom0.text) } > irom
}
"""

SETTINGS = """
CC := xtensa-lx106-elf-gcc
LD := xtensa-lx106-elf-gcc
CFLAGS = -Os -nostdlib -ffreestanding -mlongcalls -mtext-section-literals -Wall -Werror
LDFLAGS = -nostdlib -Wl,--no-check-sections -u call_user_start -Wl,-static
build/%.o: %.c
\t@mkdir -p build
\t$(CC) -Ibuild $(CFLAGS) -c $< -o $@
"""


def make(directory: Path, *arguments: str, status: int = 0) -> str:
    """Run make in `directory` with this esptool2; what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {"ESPTOOL2": f"{sys.executable} -m rbootimg.commands.esptool2", "PYTHONPATH": str(ROOT)}
    command = ["make", *arguments]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.needs("make", "xtensa-lx106-elf-gcc")
def test_a_makefile_like_the_rboot_samples_makes_what_pack_makes(tmp_path: Path) -> None:
    (tmp_path / "rom0.ld").write_text(LINKER_SCRIPT.replace("IRAM", "0x40100000"))
    (tmp_path / "main.c").write_text(
        "extern int ets_printf(const char *, ...);\n"
        "int counter = 3;\n"
        '__attribute__((section(".irom0.text"), noinline)) void in_flash(void) { ets_printf("%d", counter++); }\n'
        "void call_user_start(void) { in_flash(); }\n"
    )
    (tmp_path / "Makefile").write_text(
        "ESPTOOL2 ?= ../esptool2/esptool2\n"
        "FW_SECTS = .text .data .rodata\n"
        "all: firmware/rom0.bin\n"
        f"{SETTINGS}\n"
        "build/%.elf: build/main.o\n"
        "\t$(LD) -T$(notdir $(basename $@)).ld $(LDFLAGS) -Wl,--start-group $^ -Wl,--end-group -o $@\n"
        "firmware/%.bin: build/%.elf\n"
        "\t@mkdir -p firmware\n"
        "\t$(ESPTOOL2) -quiet -bin -boot2 $^ $@ $(FW_SECTS)\n"
        ".SECONDARY:\n"
    )
    make(tmp_path)
    image = (tmp_path / "firmware/rom0.bin").read_bytes()
    assert image == pack(parse_elf((tmp_path / "build/rom0.elf").read_bytes()), SECTIONS).to_bytes()
    assert "Nothing to be done" in make(tmp_path)

    # The ROM that cannot be made is not lost, and not taken for made either.
    (tmp_path / "build/rom0.elf").touch()
    for _ in range(2):
        assert "Error: Section '.nosuch' not found in elf file." in make(tmp_path, "FW_SECTS=.text .nosuch", status=2)
    assert (tmp_path / "firmware/rom0.bin").read_bytes() == image


@pytest.mark.needs("make", "xtensa-lx106-elf-gcc")
def test_a_makefile_like_rboots_includes_the_header_and_packs_the_loader(tmp_path: Path) -> None:
    (tmp_path / "loader.ld").write_text(LINKER_SCRIPT.replace("IRAM", "0x40100000"))
    (tmp_path / "stage2.ld").write_text(LINKER_SCRIPT.replace("IRAM", "0x4010FC00"))
    (tmp_path / "stage2.c").write_text("void call_user_start(void (*app)(void)) { app(); }\n")
    (tmp_path / "loader.c").write_text(
        "#include <stdint.h>\n"
        '#include "stage2.h"\n'
        "void call_user_start(void) {\n"
        "    volatile uint8_t *to = (volatile uint8_t *)_text_addr;\n"
        "    for (uint32_t i = 0; i < _text_len; i++) to[i] = _text_data[i];\n"
        "    ((void (*)(void))entry_addr)();\n"
        "}\n"
    )
    (tmp_path / "Makefile").write_text(
        "ESPTOOL2 ?= ../esptool2/esptool2\n"
        "E2_OPTS = -quiet -bin -boot0 -1024 -dio\n"
        "all: loader.bin\n"
        f"{SETTINGS}\n"
        "build/%.elf: build/%.o\n"
        "\t$(LD) -T$*.ld $(LDFLAGS) $< -o $@\n"
        "build/stage2.h: build/stage2.elf\n"
        "\t$(ESPTOOL2) -quiet -header $< $@ .text\n"
        "build/loader.o: build/stage2.h\n"
        "%.bin: build/%.elf\n"
        "\t$(ESPTOOL2) $(E2_OPTS) $< $@ .text .rodata\n"
    )
    make(tmp_path, "build/loader.elf", "loader.bin")
    stage2 = parse_elf((tmp_path / "build/stage2.elf").read_bytes())
    assert (tmp_path / "build/stage2.h").read_bytes() == header(stage2, [".text"])
    code = stage2.find(".text")
    assert code is not None
    assert code.address == 0x4010FC00
    image = (tmp_path / "loader.bin").read_bytes()
    assert image[:4] == bytes((0xE9, 2, 2, 0x20))
    assert code.data in image
