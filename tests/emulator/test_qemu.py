"""Boots of flash images: the loader in the emulator does what predict_boot() says, and nothing is left running."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import chip

from rbootimg.emulator import qemu
from rbootimg.emulator.qemu import BootEnd, BootOptions, Crash, PowerCut, boot
from rbootimg.errors import EmulatorError
from rbootimg.flash.bootconfig import BootConfig, BootMode, RtcData
from rbootimg.flash.bootlogic import predict_boot
from rbootimg.flash.loader import check_loader
from rbootimg.layout.model import GpioMode, LoaderOptions
from rbootimg.layout.params import FLASH_SIZES
from rbootimg.layout.presets import preset_layout
from rbootimg.rom.elf import Symbol
from rbootimg.rom.format import RamSection, Rom, old_image

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

DONE = bytes.fromhex("0df0") + b"\0\0"  # ret.n: an application that ends at once
SLOTS = (0x2000, 0x12000, 0x42000, 0x43000)

VARIANTS = {
    "plain": LoaderOptions(),
    "big flash": LoaderOptions(big_flash=True),
    "config checksum": LoaderOptions(config_checksum=True),
    "irom checksum": LoaderOptions(irom_checksum=True),
    "RTC": LoaderOptions(rtc=True),
    "GPIO rom": LoaderOptions(gpio="rom"),
    "GPIO rom at pin 0": LoaderOptions(gpio="rom", gpio_pin=0),
    "GPIO skip": LoaderOptions(gpio="skip"),
    "MAX_ROMS 8": LoaderOptions(max_roms=8),
    "big flash, old sizes": LoaderOptions(big_flash=True, all_sizes=False),
    "GPIO rom, old sizes": LoaderOptions(gpio="rom", all_sizes=False),
    "all": LoaderOptions(True, True, True, 8, True, "rom"),
    "all, skip": LoaderOptions(True, True, True, 8, True, "skip"),
}


# The loader and predict_boot()

ROMS = {
    (is_old, irom_checksum): (
        old_image(0x40100000, (RamSection(0x40100000, DONE),))
        if is_old
        else Rom(0x40100000, bytes(range(32)), (RamSection(0x40100000, DONE),), irom_checksum=irom_checksum).to_bytes()
    )
    for is_old in (False, True)
    for irom_checksum in (False, True)
}


@dataclass(frozen=True)
class Case:
    """A boot: what is in the flash, what the pins and RTC memory say. Short when it is shown."""

    variant: str
    size: int
    params: bytes
    pieces: dict[int, bytes]
    low: bool
    rtc: RtcData | None

    @property
    def options(self) -> LoaderOptions:
        return VARIANTS[self.variant]

    @property
    def flash(self) -> bytes:
        flash = bytearray(b"\xff" * self.size)
        loader = chip.loader(self.options)
        for address, data in {0: loader[:2] + self.params + loader[4:], **self.pieces}.items():
            flash[address : address + len(data)] = data[: self.size - address]
        return bytes(flash)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Flash images with a config and ROMs: valid, corrupt or hostile."""
    variant = draw(st.sampled_from(sorted(VARIANTS)))
    options = VARIANTS[variant]
    small = ("512KB", "512KB", "512KB", "1MB", "1MB", "2MB", "4MB")
    name = (
        draw(st.sampled_from((*small, *FLASH_SIZES))) if draw(st.integers(0, 3)) == 0 else draw(st.sampled_from(small))
    )
    size = FLASH_SIZES[name].bytes
    pieces: dict[int, bytes] = {}
    code = draw(st.sampled_from((FLASH_SIZES[name].code, FLASH_SIZES[name].code, *range(16))))
    params = bytes((draw(st.sampled_from((0, 1, 2, 3, 9))), code << 4 | draw(st.sampled_from((0, 1, 2, 15, 7)))))

    defaults = (0x2000, size // 2 + 0x2000, min(size, 0x100000) // 2 + 0x2000)
    places = [*SLOTS, *(place for place in defaults if place < size)]
    odd = st.integers(0x2000, size - 0x1000) | st.sampled_from((0x2004, 0x2001, 0x1F004, size - 0x1000, size - 16))
    addresses = draw(st.lists(st.sampled_from(places) | odd, max_size=options.max_roms, min_size=1))
    for address in addresses:
        if draw(st.integers(0, 3)) == 0:
            continue  # an empty slot
        fits = options.irom_checksum if draw(st.integers(0, 4)) else not options.irom_checksum
        rom = bytearray(ROMS[draw(st.integers(0, 4)) == 0, fits])
        if rom[0] == 0xE9 and address % 16:  # its checksum goes by the flash address
            rom = bytearray(_moved(bytes(rom), address))
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            # But not entry, load address and code: such an application may do anything.
            image = rom.index(0xE9)
            kept = (*range(image + 4, image + 12), *range(image + 16, image + 20))
            at = draw(st.sampled_from([at for at in range(len(rom)) if at not in kept]))
            rom[at] = draw(st.integers(0, 255))
            if rom.find(0xE9) < 0:
                break
        if draw(st.integers(0, 5)) == 0 and len(rom) > 64:  # a hostile length
            hostile = st.sampled_from((0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFF0, size, size - 0x2000, 1, 0, 0x30))
            struct.pack_into("<I", rom, draw(st.sampled_from((12, 60))), draw(hostile))
        part = rom[: draw(st.integers(0, len(rom)))] if draw(st.integers(0, 7)) == 0 else rom
        pieces[address] = bytes(part)

    kind = draw(st.sampled_from(("valid", "valid", "valid", "valid", "blank", "half", "noise", "magic")))
    hostile = st.sampled_from((0, 0xFFFFFFFF, size, size - 4, 0xFFFFFFFC, 0x1000, 1))
    roms = [draw(hostile) if draw(st.integers(0, 7)) == 0 else address for address in addresses]
    count = draw(st.sampled_from((len(roms),) * 12 + (0, 255, 1, 5)))
    current = draw(st.integers(0, max(len(roms) - 1, 0)) | st.sampled_from((len(roms), 254, 255)))
    gpio = draw(st.integers(0, len(roms)) | st.just(255))
    mode = draw(st.sampled_from((0, 1, 4, 5, 8, 12, 255)))
    table = [*roms, *(0,) * (options.max_roms - len(roms))]
    config = bytes((0xE1, 0x01, mode, current, gpio, count, 0, 0)) + struct.pack(f"<{len(table)}I", *table)
    checksum = 0xEF
    for byte in config:
        checksum ^= byte
    config += bytes((checksum ^ (draw(st.integers(0, 7)) == 0),)) + draw(st.binary(max_size=40))
    if kind == "half":
        config = config[: draw(st.integers(0, len(config)))]
    elif kind == "noise":
        config = draw(st.binary(max_size=64))
    elif kind == "magic":
        config = bytes((draw(st.sampled_from((0xE0, 0xFF, 0xE1))), draw(st.sampled_from((0, 2, 1))))) + config[2:]
    if kind != "blank":
        pieces[0x1000] = config
    modes = st.sampled_from((BootMode(0), BootMode.TEMP_ROM, BootMode.TEMP_ROM, BootMode.TEMP_ROM | BootMode.GPIO_ROM))
    asked = st.builds(RtcData, modes, st.just(BootMode(0)), st.integers(0, 255), st.integers(0, 4) | st.just(255))
    return Case(
        variant,
        size,
        params,
        pieces,
        options.gpio is not GpioMode.NONE and draw(st.booleans()),
        draw(st.none() | asked),
    )


def _moved(rom: bytes, address: int) -> bytes:
    end = 20  # header, section header, four bytes
    at = ((address + end) | 15) - address
    return rom[:end].ljust(at, b"\0") + rom[-1:]


def agree(case: Case) -> None:
    """Boot the flash, and compare what the loader does with predict_boot()."""
    flash, options, rtc = case.flash, case.options, case.rtc
    said = predict_boot(flash, options, case.low, rtc)
    # Another application may do anything: the boot ends when it starts.
    is_ours = said.rom is None or flash[said.image + 4 : said.image + 20] == ROMS[True, False][4:20]
    result = boot(flash, BootOptions(gpio_low=case.low, rtc=rtc, until=None if is_ours else "load addr"))
    if not is_ours:
        assert result.rom == said.rom
        return
    assert result.ended == BootEnd.DONE, (result.ended, result.uart)
    after_options = result.uart.split("\r\n\r\n")[-1].removesuffix("user code done\r\n")
    assert tuple(after_options.split("\r\n")[:-1]) == said.lines
    assert result.rom == said.rom
    expected = bytearray(flash)
    for address in said.erased:
        expected[address : address + 0x1000] = b"\xff" * max(0, min(0x1000, len(flash) - address))
    if said.config is not None:
        expected[0x1000:0x2000] = said.config
    assert result.flash == bytes(expected)
    erased = tuple(done.address for done in result.operations if done.kind == "erase" and done.address != 0x1000)
    assert erased == tuple(address for address in said.erased if address < len(flash))
    assert result.rtc == (said.rtc or rtc)
    assert [line for line in result.misuse if not line.startswith(("read", "erase"))] == []


@settings(
    deadline=None,
    max_examples=int(os.environ.get("TEST_FLASHES", "300")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(cases())
def test_the_loader_does_what_is_predicted(case: Case) -> None:
    agree(case)


@pytest.mark.parametrize("all_sizes", [True, False])
@pytest.mark.parametrize("big_flash", [True, False])
@pytest.mark.parametrize("name", ["2MB-c1", "4MB-c1", "8MB", "16MB"])
def test_both_know_the_new_flash_sizes_or_take_them_for_512_kb(name: str, big_flash: bool, all_sizes: bool) -> None:
    """A blank config, and a ROM where the default config has ROM 1."""
    size = FLASH_SIZES[name]
    usable = size.bytes if big_flash else 0x100000
    second = (usable if all_sizes else 0x80000) // 2 + 0x2000
    words = {(True, False): "big flash, old sizes", (True, True): "big flash", (False, True): "plain"}
    variant = words.get((big_flash, all_sizes), "GPIO rom, old sizes")
    case = Case(variant, size.bytes, bytes((0, size.code << 4)), {second: ROMS[False, False]}, False, None)
    agree(case)
    result = boot(case.flash)
    assert result.rom == 1
    megabits = size.bytes // 0x20000
    assert f"Flash Size:   {f'{megabits} Mbit' if all_sizes else 'unknown'}\r\n" in result.uart


def valid_flash(*slots: int, config: BootConfig | None = None) -> bytes:
    """A 512 KB flash with the plain loader and valid ROMs in `slots`."""
    pieces = dict.fromkeys(slots, ROMS[False, False])
    if config:
        pieces[0x1000] = config.to_bytes()
    return Case("plain", 0x80000, b"\0\0", pieces, False, None).flash


@pytest.mark.parametrize(
    ("slots", "config", "rom"),
    [
        ((0x2000, 0x42000), None, 0),  # the default config is written
        ((0x42000,), None, 1),  # and the fallback after it
        ((0x2000, 0x42000), BootConfig((0x2000, 0x3000, 0x42000), 1), 0),  # only the fallback
        ((0x42000,), BootConfig((0x3000, 0x42000), 0), 1),
    ],
    ids=["default", "default and fallback", "fallback", "fallback wraps"],
)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_after_a_power_cut_at_any_moment_the_next_boot_comes_up(
    slots: tuple[int, ...], config: BootConfig | None, rom: int, part: int
) -> None:
    flash = valid_flash(*slots, config=config)
    whole = boot(flash)
    assert whole.rom == rom
    assert len(whole.operations) >= 2
    for operation in range(1, len(whole.operations) + 1):
        cut = boot(flash, BootOptions(cut=PowerCut(operation, part)))
        assert cut.ended == BootEnd.POWER_CUT
        after = boot(cut.flash)
        assert after.ended == BootEnd.DONE
        assert after.rom is not None
        assert boot(after.flash).operations == (), "and nothing is left to repair after it"


def test_every_loader_fits_below_its_config() -> None:
    for options in VARIANTS.values():
        assert len(chip.loader(options)) <= 0x1000
    assert check_loader(chip.loader(VARIANTS["all"]), replace(preset_layout("4MB-big"), loader=VARIANTS["all"])).rtc


# What a boot tells

FOREVER = """
extern int ets_printf(const char *, ...);
extern int uart_rx_one_char(unsigned char *);
extern int uart_tx_one_char(unsigned char);
void call_user_start(void)
{
    unsigned char c;
    ets_printf("ready\\n");
    for (;;)
        if (uart_rx_one_char(&c) == 0)
            uart_tx_one_char(c - 32);
}
"""


@functools.cache
def forever() -> bytes:
    return chip.flash(chip.compiled(FOREVER))


def test_an_endless_program_is_ended_at_the_timeout() -> None:
    start = time.monotonic()
    result = boot(forever(), BootOptions(timeout=0.5))
    assert (result.ended, result.rom, result.crash) == (BootEnd.TIMEOUT, None, None)
    assert result.uart.endswith("ready\n")
    assert 0.5 <= time.monotonic() - start < 1.5
    assert boot(forever(), BootOptions(timeout=0.001)).ended == BootEnd.TIMEOUT


def test_a_boot_ends_when_the_expected_text_is_printed() -> None:
    start = time.monotonic()
    result = boot(forever(), BootOptions(until="HELLO", uart_input=b"hello", timeout=10))
    assert (result.ended, result.uart[-5:]) == (BootEnd.UNTIL, "HELLO")
    assert time.monotonic() - start < 5


def test_output_is_passed_on_as_it_comes() -> None:
    pieces: list[bytes] = []
    result = boot(forever(), BootOptions(until="ready"), on_uart=pieces.append)
    assert b"".join(pieces).decode() == result.uart


def test_a_keyboard_types_until_ctrl_c() -> None:
    ours, keyboard = os.pipe()

    def press(text: bytes) -> None:
        if b"ready" in text:
            os.write(keyboard, b"keys")
        if b"KEYS"[-1:] in text:
            os.write(keyboard, b"\x03")

    result = boot(forever(), BootOptions(timeout=float("inf")), on_uart=press, keyboard=ours)
    os.close(keyboard)
    os.close(ours)
    assert (result.ended, result.uart[-4:]) == (BootEnd.KEYBOARD, "KEYS")


def test_a_keyboard_that_ends_does_not_end_the_boot() -> None:
    ours, keyboard = os.pipe()
    os.write(keyboard, b"abc")
    os.close(keyboard)
    assert boot(forever(), BootOptions(until="ABC"), keyboard=ours).ended == BootEnd.UNTIL
    os.close(ours)


def test_a_crash_names_the_function_at_its_address() -> None:
    symbols = (Symbol("label", 0x1000, 0, "notype"), Symbol("f", 0x1010, 0x10, "func"))
    assert (
        Crash(0, 0x1010, 0, ()).describe(symbols)
        == "IllegalInstruction (illegal instruction) at 0x1010 (f), address 0x0"
    )
    assert (
        Crash(0, 0x101F, 0, ()).describe(symbols)
        == "IllegalInstruction (illegal instruction) at 0x101f (f+0xf), address 0x0"
    )
    assert (
        Crash(0, 0x1020, 0, ()).describe(symbols) == "IllegalInstruction (illegal instruction) at 0x1020, address 0x0"
    )
    assert (
        Crash(0, 0x1000, 0, ()).describe(symbols)
        == "IllegalInstruction (illegal instruction) at 0x1000 (label), address 0x0"
    )


# Nothing remains


def emulators() -> set[int]:
    """The QEMUs that are this process's children, or nobody's."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if fields["Name"].startswith("qemu-system-xt") and int(fields["PPid"]) in (1, os.getpid()):
                found.add(int(fields["Pid"]))
    return found


@pytest.mark.parametrize("options", [{}, {"timeout": 0.1}, {"until": "ready"}], ids=str)
def test_no_emulator_and_no_file_outlives_a_boot(
    options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = emulators()
    flash = forever() if options else chip.flash(chip.compiled("void call_user_start(void) {}"))
    boot(flash, BootOptions(**options))  # type: ignore[arg-type]
    assert emulators() == before
    assert list(tmp_path.iterdir()) == []


def test_no_emulator_outlives_an_exception() -> None:
    before = emulators()

    def fail(text: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        boot(forever(), on_uart=fail)
    assert emulators() == before


def test_no_emulator_outlives_a_killed_python(tmp_path: Path) -> None:
    (tmp_path / "flash").write_bytes(forever())
    code = "import sys; from rbootimg.emulator.qemu import BootOptions, boot; from pathlib import Path; boot("
    code += "Path(sys.argv[1]).read_bytes(), BootOptions(timeout=60), on_uart=lambda text: print(text, flush=True))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "flash"], stdout=subprocess.PIPE, text=True, env=environment
    ) as python:
        assert python.stdout is not None
        while "ready" not in python.stdout.readline():
            pass
        children = Path(f"/proc/{python.pid}/task/{python.pid}/children").read_text().split()
        assert children
        python.kill()
    deadline = time.monotonic() + 5
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_running(child) for child in children)


def is_running(process: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


# What cannot be booted


@pytest.mark.parametrize("size", [0, 0x1000, 0x20000, 0x80001, 0xC0000, 0x2000000])
def test_a_flash_has_the_size_of_a_chip(size: int) -> None:
    with pytest.raises(EmulatorError) as error:
        boot(bytes(size))
    assert str(error.value).startswith(f"flash size must be a power of two from 256 KB to 16 MB, got {size:,} bytes")


def test_without_qemu_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = forever()
    monkeypatch.setenv("PATH", "/nowhere")
    message = "qemu-system-xtensa not found on PATH; install it with `apt-get install qemu-system-misc`"
    with pytest.raises(EmulatorError, match=message):
        boot(flash)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no machine \"sim\"' >&2; exit 1", 'no machine "sim"'),
        ("exit 3", "status 3"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_qemu_that_fails_is_one_line(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "qemu-system-xtensa"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EmulatorError) as error:
        boot(forever())
    assert str(error.value) == f"qemu-system-xtensa failed: {message}"


@pytest.mark.parametrize("line", ["end nonsense", "end done\nwrite zz", "end done\ncrash 1", "end done\nspi 1"])
def test_a_corrupt_report_of_the_mask_rom_is_one_line(line: str) -> None:
    with pytest.raises(EmulatorError, match=r"^corrupt report of the mask ROM; check whether the ROM writes to"):
        qemu._result(f"{line}\n", qemu._Uart(), None, b"")
