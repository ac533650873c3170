"""rBoot's rules, one by one. test_qemu.py compares them with the emulated loader."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.images import loader
from support.images import rom as real_rom

from rbootimg.flash.bootconfig import BootConfig, BootMode, RtcData
from rbootimg.flash.bootlogic import predict_boot
from rbootimg.layout.model import LoaderOptions
from rbootimg.layout.params import FlashParams

SIZE = 0x100000
SLOTS = (0x2000, 0x22000, 0x42000)
PLAIN = LoaderOptions()
GPIO = LoaderOptions(gpio="rom")
RTC = LoaderOptions(rtc=True)


def rom(irom_checksum: bool = False) -> bytes:
    return real_rom(0, irom_checksum=irom_checksum)  # where it is linked for is nothing to a loader


def flash(
    roms: dict[int, bytes] | None = None, config: bytes | None = None, params: FlashParams | None = None
) -> bytes:
    """A 1 MB flash with `roms` by address."""
    chip = bytearray(b"\xff" * SIZE)
    header = loader()
    chip[: len(header)] = header[:2] + (params or FlashParams.from_names("qio", "1MB", "40m")).to_bytes() + header[4:]
    if config is not None:
        chip[0x1000 : 0x1000 + len(config)] = config
    for address, data in (roms or {}).items():
        chip[address : address + len(data)] = data
    return bytes(chip)


def three(current: int = 0, bad: tuple[int, ...] = (), **values: object) -> bytes:
    """A flash with three ROMs, those in `bad` with a wrong checksum."""
    config = BootConfig(SLOTS, current, **values).to_bytes()  # type: ignore[arg-type]
    images = {}
    for number, address in enumerate(SLOTS):
        data = rom()
        images[address] = data[:-1] + bytes((data[-1] ^ 1,)) if number in bad else data
    return flash(images, config)


def test_a_blank_config_becomes_rboots_default() -> None:
    decision = predict_boot(flash({0x82000: rom()}))
    assert decision.lines == (
        "Writing default boot config.",
        "Rom 0 at 2000 is bad.",
        f"Booting rom 1 at 82000, load addr {decision.image:x}.",
    )
    assert decision.rom == 1
    assert decision.address == 0x82000
    assert decision.config is not None
    assert BootConfig.from_bytes(decision.config) == BootConfig((0x2000, 0x82000), 1)
    assert decision.config[24:] == b"\xff" * (4096 - 24), "the rest of the sector is the application's"


@pytest.mark.parametrize(
    ("size", "big_flash", "second"),
    [
        ("512KB", False, 0x42000),
        ("4MB", False, 0x82000),
        ("4MB", True, 0x202000),
        ("8MB", False, 0x82000),
        ("8MB", True, 0x402000),
        ("16MB", True, 0x802000),
        ("2MB-c1", True, 0x102000),
        ("2MB-c1", False, 0x82000),
        ("4MB-c1", True, 0x202000),
    ],
)
def test_the_default_config_depends_on_the_size_at_flash_0(size: str, big_flash: bool, second: int) -> None:
    chip = flash(params=FlashParams.from_names("qio", size, "40m"))
    decision = predict_boot(chip, LoaderOptions(big_flash=big_flash))
    assert decision.lines == (
        "Writing default boot config.",
        "Rom 0 at 2000 is bad.",
        f"Rom 1 at {second:x} is bad.",
        "No good rom available.",
    )


@pytest.mark.parametrize("size", ["8MB", "16MB", "2MB-c1", "4MB-c1"])
@pytest.mark.parametrize("big_flash", [False, True])
def test_to_an_older_loader_the_new_sizes_are_512_kb(size: str, big_flash: bool) -> None:
    chip = flash(params=FlashParams.from_names("qio", size, "40m"))
    options = LoaderOptions(big_flash=big_flash, all_sizes=False, gpio="rom")
    decision = predict_boot(chip, options)
    assert decision.config is not None
    assert BootConfig.from_bytes(decision.config).roms == (0x2000, 0x42000)
    erases = BootConfig(SLOTS, mode=BootMode.GPIO_ERASES_SDK).to_bytes()
    chip = flash({0x2000: rom()}, erases, FlashParams.from_names("qio", size, "40m"))
    assert predict_boot(chip, options, gpio_low=True).erased == (0x7F000, 0x7E000, 0x7D000, 0x7C000)


def test_the_current_rom_starts_and_nothing_is_written() -> None:
    decision = predict_boot(three(current=2))
    assert (decision.rom, decision.config, decision.rtc, decision.erased) == (2, None, None, ())
    assert decision.lines == (f"Booting rom 2 at 42000, load addr {decision.image:x}.",)
    assert three()[decision.image] == 0xE9
    assert decision.entry == struct.unpack_from("<I", three(), decision.image + 4)[0]


def test_an_old_rom_has_no_irom_before_it() -> None:
    image = rom()
    old = image[image.index(b"\xe9", 16) :]
    # The position of its checksum depends on the absolute flash address.
    decision = predict_boot(flash({0x2000: old}, BootConfig((0x2000,)).to_bytes()))
    assert (decision.rom, decision.image) == (0, 0x2000)


@pytest.mark.parametrize(
    ("current", "bad", "chosen", "tried"),
    [
        (0, (0,), 2, (0,)),
        (1, (1,), 0, (1,)),
        (1, (0, 1), 2, (1, 0)),
        (2, (1, 2), 0, (2, 1)),
        (1, (0, 1, 2), None, (1, 0, 2)),
    ],
)
def test_after_a_bad_rom_the_previous_number_is_tried(
    current: int, bad: tuple[int, ...], chosen: int | None, tried: tuple[int, ...]
) -> None:
    decision = predict_boot(three(current, bad))
    assert decision.rom == chosen
    assert decision.lines[: len(tried)] == tuple(f"Rom {n} at {SLOTS[n]:x} is bad." for n in tried)
    if chosen is None:
        assert decision.lines[-1] == "No good rom available."
        assert decision.config is None
    else:
        assert decision.config is not None
        assert BootConfig.from_bytes(decision.config).current_rom == chosen


@pytest.mark.parametrize("current", [3, 4, 255])
def test_an_invalid_current_rom_becomes_0(current: int) -> None:
    chip = bytearray(three())
    chip[0x1003] = current
    decision = predict_boot(bytes(chip))
    assert decision.lines[0] == "Invalid rom selected, defaulting to 0."
    assert decision.rom == 0
    assert decision.config is not None
    assert decision.config[3] == 0


def test_a_count_of_0_tries_rom_0_and_stops() -> None:
    chip = bytearray(three())
    chip[0x1005] = 0
    assert predict_boot(bytes(chip)).rom == 0
    chip[0x2000] = 0
    assert predict_boot(bytes(chip)).lines == (
        "Invalid rom selected, defaulting to 0.",
        "Rom 0 at 2000 is bad.",
        "No good rom available.",
    )


def test_a_count_beyond_max_roms_reads_on_in_the_sector() -> None:
    chip = bytearray(three(current=0, bad=(0,)))
    chip[0x1005] = 255
    struct.pack_into("<I", chip, 0x1000 + 8 + 4 * 250, SLOTS[2])
    decision = predict_boot(bytes(chip))
    assert decision.rom == 250
    assert len(decision.lines) == 1 + 4 + 1, "254 to 251 are blank"


@pytest.mark.parametrize("address", [0, 0xFFFFFFFF, 0xFFFFFFFC, SIZE, SIZE - 4, 0x1000])
def test_an_address_without_a_rom_is_bad(address: int) -> None:
    assert predict_boot(flash(config=BootConfig((address,)).to_bytes())).rom is None


def test_a_length_beyond_the_flash_is_bad() -> None:
    for length in (0xFFFFFFF0, SIZE, 0x7FFFFFFF):
        chip = bytearray(three())
        struct.pack_into("<I", chip, 0x2000 + 12, length)
        assert predict_boot(bytes(chip)).rom == 2
        assert predict_boot(bytes(chip), LoaderOptions(irom_checksum=True)).rom is None


def test_with_the_irom_checksum_only_such_roms_are_good() -> None:
    options = LoaderOptions(irom_checksum=True)
    with_irom, without = rom(irom_checksum=True), rom()
    config = BootConfig((0x2000,)).to_bytes()
    assert predict_boot(flash({0x2000: with_irom}, config), options).rom == 0
    assert predict_boot(flash({0x2000: with_irom}, config)).rom is None
    assert predict_boot(flash({0x2000: without}, config), options).rom is None
    damaged = bytearray(with_irom)
    damaged[20] ^= 1
    assert predict_boot(flash({0x2000: bytes(damaged)}, config), options).rom is None


def test_with_the_config_checksum_a_config_without_one_is_none() -> None:
    options = LoaderOptions(config_checksum=True, max_roms=6)
    config = BootConfig(SLOTS, 1)
    images = {address: rom() for address in SLOTS}
    assert predict_boot(flash(images, config.to_bytes(6, True)), options).lines[0].startswith("Booting rom 1")
    decision = predict_boot(flash(images, config.to_bytes(4)), options)
    assert decision.lines[0] == "Writing default boot config."
    assert decision.config is not None
    assert BootConfig.from_bytes(decision.config, 6, True).roms == (0x2000, 0x82000)


def test_a_low_pin_chooses_the_gpio_rom_without_fallback() -> None:
    chip = three(gpio_rom=2)
    assert predict_boot(chip, GPIO).rom == 0
    decision = predict_boot(chip, GPIO, gpio_low=True)
    assert decision.lines[0] == "Booting GPIO-selected rom."
    assert decision.rom == 2
    assert decision.config is not None
    assert decision.config[3] == 2, "it is the current ROM from now on"
    assert predict_boot(chip, PLAIN, gpio_low=True).rom == 0
    assert predict_boot(three(bad=(2,), gpio_rom=2), GPIO, gpio_low=True).lines == (
        "Booting GPIO-selected rom.",
        "GPIO boot rom (2) is bad.",
    )
    hostile = bytearray(chip)
    hostile[0x1004] = 3
    assert predict_boot(bytes(hostile), GPIO, gpio_low=True).lines == ("Invalid GPIO rom selected.",)


def test_a_low_pin_skips_to_the_next_rom() -> None:
    skip = LoaderOptions(gpio="skip")
    assert predict_boot(three(current=0), skip, gpio_low=True).rom == 1
    assert predict_boot(three(current=2), skip, gpio_low=True).rom == 0
    assert predict_boot(three(current=0, bad=(1,)), skip, gpio_low=True).rom == 0
    assert predict_boot(three(current=1), skip).rom == 1


def test_a_low_pin_can_erase_the_sdks_config() -> None:
    decision = predict_boot(three(mode=BootMode.GPIO_ERASES_SDK), GPIO, gpio_low=True)
    assert decision.lines[1] == "Erasing SDK config sectors before booting."
    assert decision.erased == (0xFF000, 0xFE000, 0xFD000, 0xFC000)


def test_a_temp_rom_boots_once_and_without_fallback() -> None:
    asked = RtcData(next_mode=BootMode.TEMP_ROM, temp_rom=2)
    decision = predict_boot(three(), RTC, rtc=asked)
    assert decision.lines[0] == "Booting temp rom."
    assert (decision.rom, decision.config) == (2, None)
    assert decision.rtc == RtcData(last_mode=BootMode.TEMP_ROM, last_rom=2)
    assert predict_boot(three(), RTC, rtc=decision.rtc).rom == 0
    assert predict_boot(three(), PLAIN, rtc=asked).rom == 0, "a loader without RTC data does not know"

    bad = predict_boot(three(bad=(2,)), RTC, rtc=asked)
    assert bad.lines == ("Booting temp rom.", "Temp boot rom (2) is bad.")
    assert bad.rtc == replace(asked, next_mode=BootMode(0))
    none = predict_boot(three(), RTC, rtc=replace(asked, temp_rom=3))
    assert (none.lines, none.rtc) == (("Invalid temp rom selected.",), None)


OPTIONS = st.builds(
    LoaderOptions,
    big_flash=st.booleans(),
    irom_checksum=st.booleans(),
    config_checksum=st.booleans(),
    max_roms=st.sampled_from([2, 4, 255]),
    rtc=st.booleans(),
    gpio=st.sampled_from(["", "rom", "skip"]),
    all_sizes=st.booleans(),
)
CHANGES = st.lists(
    st.tuples(st.sampled_from([0x1000, 0x2000, 0x22000]), st.integers(0, 80), st.integers(0, 255)), max_size=6
)


@given(OPTIONS, CHANGES, st.booleans())
def test_any_flash_leads_to_a_decision(options: LoaderOptions, changes: list[tuple[int, ...]], low: bool) -> None:
    chip = bytearray(three())
    for place, offset, value in changes:
        chip[place + offset] = value
    decision = predict_boot(bytes(chip), options, low)
    assert (decision.rom is not None) == decision.lines[-1].startswith(f"Booting rom {decision.rom} at ")
    if decision.config is not None:
        again = bytes(chip[:0x1000]) + decision.config + bytes(chip[0x2000:])
        assert predict_boot(again, options).config is None or decision.rom is None, "it is written once"
