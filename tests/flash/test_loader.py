"""What a loader's bytes tell: its options, the ROMs that it would look for, and whether it goes with a layout."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import chip
from support.images import ALL_SIZES, BIG, CONFIG, IROM, OLD_SIZES, loader, rom

from rbootimg.errors import LoaderError
from rbootimg.flash.bootconfig import BootMode
from rbootimg.flash.loader import LoaderInfo, check_loader, default_roms, knows_size, read_options
from rbootimg.layout.model import GpioMode, LoaderOptions
from rbootimg.layout.params import FlashParams
from rbootimg.layout.presets import preset_layout
from rbootimg.rom.format import RamSection, old_image

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

LAYOUT = preset_layout("1MB")


def test_rboot_tells_the_options_it_was_built_with() -> None:
    assert read_options(loader()) == LoaderInfo("1.4.2", False, False, False, False, GpioMode.NONE)
    assert read_options(loader(BIG)) == LoaderInfo("1.4.2", True, False, False, False, GpioMode.NONE)
    assert read_options(loader(CONFIG, "RTC data", IROM)) == LoaderInfo("1.4.2", False, True, True, True, GpioMode.NONE)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("GPIO mode (16)", BootMode.GPIO_ROM),
        ("GPIO rom mode (16)", BootMode.GPIO_ROM),
        ("GPIO skip mode (0)", BootMode.GPIO_SKIP),
        ("RTC data", BootMode(0)),
    ],
)
def test_a_loader_with_gpio_boot_has_it_in_its_default_config(text: str, mode: BootMode) -> None:
    assert read_options(loader(text)).mode == mode


def test_options_are_unknown_if_the_loader_does_not_print_them() -> None:
    assert read_options(loader(version=None)) == LoaderInfo()
    assert read_options(loader(version="1.0.0")) == LoaderInfo("1.0.0"), "it had options, but did not name them"


def test_a_loader_of_unknown_version_that_names_options_names_all() -> None:
    assert read_options(loader(BIG, version=None)) == LoaderInfo(None, True, False, False, False, GpioMode.NONE)


@pytest.mark.parametrize(
    ("size", "big_flash", "second"),
    [
        ("256KB", False, 0x22000),
        ("512KB", False, 0x42000),
        ("1MB", False, 0x82000),
        ("4MB", False, 0x82000),
        ("2MB", True, 0x102000),
        ("4MB", True, 0x202000),
        ("8MB", True, 0x402000),
        ("16MB", True, 0x802000),
        ("16MB", False, 0x82000),
        ("2MB-c1", False, 0x82000),
        ("2MB-c1", True, 0x102000),
        ("4MB-c1", True, 0x202000),
    ],
)
def test_the_default_roms_are_rboots(size: str, big_flash: bool, second: int) -> None:
    params = FlashParams.from_names("qio", size, "40m")
    assert default_roms(params, big_flash) == (0x2000, second)
    is_new = size in ("8MB", "16MB", "2MB-c1", "4MB-c1")
    assert default_roms(params, big_flash, all_sizes=False) == (0x2000, 0x42000 if is_new else second)
    assert knows_size(params, all_sizes=False) is not is_new
    assert knows_size(params)


@pytest.mark.parametrize("code", [7, 10, 15])
def test_an_unknown_size_code_means_512_kb(code: int) -> None:
    assert default_roms(FlashParams(size=code), True) == (0x2000, 0x42000)
    assert not knows_size(FlashParams(size=code))


def test_a_loader_tells_which_flash_sizes_it_knows() -> None:
    assert read_options(loader(sizes=OLD_SIZES)).all_sizes is False
    assert read_options(loader(sizes=ALL_SIZES)).all_sizes is True
    assert read_options(loader(version="1.0.0", sizes=OLD_SIZES)) == LoaderInfo("1.0.0", all_sizes=False)
    assert read_options(loader()).all_sizes is None


@pytest.mark.parametrize("all_sizes", [True, False])
def test_our_own_loader_tells_it_as_rboot_does(all_sizes: bool) -> None:
    assert read_options(chip.loader(LoaderOptions(all_sizes=all_sizes))).all_sizes is all_sizes


# Checking it


def refused(data: bytes, options: LoaderOptions = LAYOUT.loader) -> str:
    with pytest.raises(LoaderError) as error:
        check_loader(data, replace(LAYOUT, loader=options))
    return str(error.value)


def test_a_loader_that_matches_the_layout_passes() -> None:
    assert check_loader(loader(), LAYOUT).version == "1.4.2"
    options = LoaderOptions(big_flash=True, irom_checksum=True, config_checksum=True)
    assert check_loader(loader(BIG, CONFIG, IROM), replace(LAYOUT, loader=options)).irom_checksum


def test_a_loader_without_version_matches_any_layout() -> None:
    check_loader(loader(version=None), LAYOUT)
    check_loader(loader(version=None), replace(LAYOUT, loader=LoaderOptions(irom_checksum=True, big_flash=True)))


def test_what_the_chip_would_not_start_is_refused() -> None:
    start = "the chip would not start this loader: "
    assert refused(rom(0)) == (start + "bad magic of the image: found 0xea at offset 0x0, expected 0xe9")
    assert refused(b"") == (
        start + "truncated image: the header of the image ends at offset 0x8, but there are only 0x0 bytes"
    )
    damaged = bytearray(loader())
    damaged[16] ^= 1
    assert refused(bytes(damaged)).startswith(start + "bad checksum 0x")
    assert refused(b"\xe9\0\0\0" + bytes(12)) == start + "image without RAM sections"


def test_a_loader_that_overlaps_the_config_is_refused() -> None:
    fits = old_image(0x40100000, (RamSection(0x40100000, bytes(0x1000 - 32)),))
    check_loader(fits.ljust(0x1000, b"\xff"), LAYOUT)
    assert refused(fits.ljust(0x1001, b"\xff")) == "loader has 4,097 bytes: expected at most 4,096"


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([IROM], {}, "with BOOT_IROM_CHKSUM, but the layout has irom_checksum = false: it would reject every ROM"),
        ([], {"irom_checksum": True}, "without BOOT_IROM_CHKSUM, but the layout has irom_checksum = true: it would"),
        ([BIG], {}, "with BOOT_BIG_FLASH, but the layout has big_flash = false: it would use another part"),
        ([], {"big_flash": True}, "without BOOT_BIG_FLASH, but the layout has big_flash = true: it would use another"),
        ([CONFIG], {}, "with BOOT_CONFIG_CHKSUM, but the layout has config_checksum = false: its config differs"),
        ([], {"config_checksum": True}, "without BOOT_CONFIG_CHKSUM, but the layout has config_checksum = true: its"),
    ],
)
def test_an_option_that_differs_from_the_layout_is_refused(
    texts: list[str], options: dict[str, bool], message: str
) -> None:
    line = refused(loader(*texts), LoaderOptions(**options))
    assert line.startswith(f"loader is built {message}")
    assert line.endswith("; change [loader] in the layout or use another loader")
