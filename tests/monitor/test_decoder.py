"""Crashes as the SDK, the Arduino core, Sming and the emulator print them, decoded to functions and lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import crashes

from rbootimg.monitor.decoder import LogLine, LogReport, ReportKind, decode_log
from rbootimg.monitor.elfs import ElfFinder, KnownElf, Running
from rbootimg.monitor.lines import Kind, kind_of, printed_version
from rbootimg.views.monitor import report_lines

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")


@pytest.fixture
def elfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    for slot in (0, 1):
        Path(f"rom{slot}.elf").write_bytes(crashes.elf(slot))
    return [Path("rom0.elf"), Path("rom1.elf")]


def store(slot: int) -> int:
    return crashes.address(crashes.elf(slot), "record") + 4


def returns(slot: int) -> tuple[int, int]:
    """The return addresses in run() and in call_user_start()."""
    from rbootimg.monitor.source import Program

    program = Program(Path(f"rom{slot}.elf"))

    def last_call(name: str, size: int) -> int:
        start = crashes.address(crashes.elf(slot), name)
        return [address for address in range(start, start + size) if program.is_return_address(address)][-1]

    return last_call("run", 0x30), last_call("call_user_start", 0x20)


def reports(log: str, *paths: Path) -> list[LogReport]:
    finder = ElfFinder([KnownElf(path) for path in paths])
    return [each for each in decode_log(log.splitlines(), finder) if isinstance(each, LogReport)]


def lines_of(report: LogReport) -> list[tuple[str | None, int | None]]:
    return [(place.function, place.line) for frame in report.frames for place in frame.places]


@pytest.mark.parametrize("rom", [0, 1])
def test_an_exception_of_the_sdk_is_decoded_with_the_elf_of_the_booted_rom(elfs: list[Path], rom: int) -> None:
    [report] = reports(crashes.boot_log(rom) + crashes.exception(store(rom)), *elfs)
    assert report.kind is ReportKind.EXCEPTION
    assert (report.cause, report.address, report.running.rom) == (29, 0, rom)
    assert report.elf
    assert report.elf.path == elfs[rom]
    assert ("record", crashes.RECORD) in lines_of(report)
    shown = report_lines(report)
    assert shown[0] == "StoreProhibited: store to an invalid address, address 0x0 (a null pointer)"
    assert shown[-1] == f"ELF: rom{rom}.elf"


@pytest.mark.parametrize(
    "start", ["Fatal exception (28): ", "Exception (28):", "Fatal exception 28(LoadProhibitedCause):"]
)
def test_all_spellings_of_the_line_before_are_known(elfs: list[Path], start: str) -> None:
    log = f"{start}\nepc1={store(0):#010x} epc2=0x00000000 epc3=0x00000000 excvaddr=0x00000024 depc=0x00000000\n"
    [report] = reports(log, *elfs)
    assert (report.cause, report.address) == (28, 0x24)


def test_without_a_booting_line_the_address_says_which_elf(elfs: list[Path]) -> None:
    [report] = reports(crashes.exception(store(1)), *elfs)
    assert report.elf
    assert report.elf.path == elfs[1]


def test_a_stack_dump_of_the_arduino_core_shows_the_calls(elfs: list[Path]) -> None:
    first, second = returns(0)
    log = (
        crashes.boot_log(0)
        + "Soft WDT reset\n\n>>>stack>>>\n\nctx: cont\nsp: 3ffffca0 end: 3fffffc0 offset: 01a0\n"
        + f"3ffffe40:  3fff34cc 3ffeed38 {first:08x} 00000000  \n"
        + f"3ffffe50:  {store(0):08x} 00000000 3fff30e4 {second:08x}  \n"
        + "<<<stack<<<\nafter\n"
    )
    [report] = reports(log, *elfs)
    assert report.kind is ReportKind.STACK
    assert lines_of(report) == [("run", crashes.CALL), ("call_user_start", crashes.START)]
    assert [frame.address for frame in report.frames] == [first, second]


def test_a_report_of_a_stack_comes_after_its_last_line(elfs: list[Path]) -> None:
    finder = ElfFinder([KnownElf(path) for path in elfs])
    log = f"3ffffe40:  00000000 00000000 00000000 {returns(0)[0]:08x}\nnext line\n"
    kinds = [type(each) for each in decode_log(log.splitlines(), finder)]
    assert kinds == [LogLine, LogReport, LogLine]


def test_a_dump_of_sming_has_the_caller_in_r00(elfs: list[Path]) -> None:
    first, second = returns(1)
    log = (
        crashes.boot_log(1)
        + f"***** Fatal exception 28\npc={store(1):#010x} sp=0x3ffffc10 excvaddr=0x00000068\n"
        + "ps=0x00000030 sar=0x00000000 vpri=0x3ff1fe00\n"
        + f"r00: {first:#010x}=1076104072 r01: 0x3ffffc10=1073740816 r02: 0x00000000=         0\n\nStack dump:\n"
        + "================\n"
        + f"3ffff900:  4000e1c3 00000030 00000004 {second:08x}  \n"
        + "================\n"
    )
    exception, stack = reports(log, *elfs)
    assert (exception.cause, exception.address, exception.frames[0].role) == (28, 0x68, "pc")
    assert lines_of(stack) == [("run", crashes.CALL), ("call_user_start", crashes.START)]


def test_time_stamps_of_other_programs_do_not_matter(elfs: list[Path]) -> None:
    log = crashes.boot_log(0) + crashes.exception(store(0)) + f"3ffffe40:  00000000 {returns(0)[0]:08x}\n"
    stamped = "".join(f"13:44:46.912 -> {line}\n" for line in log.splitlines())
    exception, stack = reports(stamped, *elfs)
    assert (exception.running.rom, len(stack.frames)) == (0, 1)


def test_what_was_decoded_before_is_not_decoded_again(elfs: list[Path]) -> None:
    log = crashes.boot_log(0) + crashes.exception(store(0))
    again = "\n".join((log, *(f"    {line}" for line in report_lines(reports(log, *elfs)[0]))))
    assert len(reports(again, *elfs)) == 1


def test_a_watchdog_reset_names_the_rom(elfs: list[Path]) -> None:
    log = crashes.boot_log(1) + "sensor 1.2.0\n\n ets Jan  8 2013,rst cause:4, boot mode:(3,6)\n\nwdt reset\n"
    finder = ElfFinder([KnownElf(elfs[1], app="sensor", version="1.2.0", slot=1)])
    [report] = [each for each in decode_log(log.splitlines(), finder) if isinstance(each, LogReport)]
    assert report.running == Running(1, 0x82000, "sensor", "1.2.0")
    assert report_lines(report) == [
        "hardware watchdog reset of sensor 1.2.0, ROM 1: the code hung, or did not return to the SDK"
    ]


def test_an_address_in_the_mask_rom_is_said_to_be_there(elfs: list[Path]) -> None:
    [report] = reports(crashes.boot_log(0) + crashes.exception(0x4000E1C3, 28), *elfs)
    assert "epc1  0x4000e1c3  in the mask ROM" in report_lines(report)
    assert not any("not in the code" in remark for remark in report.remarks)


def test_an_elf_that_does_not_match_is_reported(elfs: list[Path]) -> None:
    [report] = reports(crashes.boot_log(0) + crashes.exception(0x40278000), *elfs)
    assert report.remarks == ("0x40278000 is not in the code of this ELF: it is not that of the running ROM",)


def test_ordinary_output_is_left_alone(elfs: list[Path]) -> None:
    text = ["pc 40202014", "address: 12345678", "3ffe8000: no words", "epc", "", "Exception handling is on"]
    finder = ElfFinder([KnownElf(path) for path in elfs])
    assert [each.text for each in decode_log(text, finder) if isinstance(each, LogLine)] == text
    assert not reports("\n".join(text), *elfs)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("sensor 1.2.0", ("sensor", "1.2.0")),
        ("Sensor version: v1.2.0-rc.1 starting", ("sensor", "1.2.0-rc.1")),
        ("\rversion 1.2.0, ROM 1", (None, "1.2.0")),
        ("SDK version:2.2.1(cfd48f3)", None),
        ("rBoot v1.4.2 - richardaburton@gmail.com", None),
        ("sensors 1.2.0", None),
        ("sensor 1.2", None),
        ("sensor 10.0.0.1", None),
    ],
)
def test_the_version_line_of_an_application(line: str, found: tuple[str | None, str] | None) -> None:
    assert printed_version(line, ("sensor",)) == found


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Booting rom 0 at 2000, load addr 2040.", Kind.BOOT),
        ("Rom 1 at 82000 is bad.", Kind.WARNING),
        ("wdt reset", Kind.WARNING),
        ("Fatal exception (28): ", Kind.CRASH),
        ("3ffffe40:  00000000 40202014", Kind.STACK),
        ("temperature 21", Kind.TEXT),
    ],
)
def test_lines_have_a_kind(line: str, kind: Kind) -> None:
    assert kind_of(line) is kind
