"""rbootimg: pack, prove and publish rBoot ROMs for the ESP8266. These names are the public API; all others may move.

Each is imported when it is first used, so that to import the package costs nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._version import __version__

if sys.platform == "win32":  # no traceback, which is all that an ImportError would come to
    raise SystemExit("rbootimg: there is no support for Windows itself; use it in WSL, the Windows Subsystem for Linux")

if TYPE_CHECKING:
    from .analysis.identify import identify
    from .analysis.size import measure
    from .emulator.proof import SlotProof, prove
    from .emulator.qemu import BootEnd, BootOptions, BootResult, boot
    from .errors import (
        CheckError,
        CheckoutError,
        ConfigError,
        ElfError,
        EmulatorError,
        FileSystemError,
        FitError,
        FlashError,
        Hint,
        LayoutError,
        LoaderError,
        LockError,
        ManifestError,
        PortError,
        ProofError,
        PublishError,
        RbootError,
        RomError,
        ScriptError,
        ServerError,
        SettingError,
        SigningError,
        UrlError,
        VersionError,
        WebRootError,
    )
    from .flash.bootconfig import BootConfig, BootMode
    from .flash.bootlogic import BootDecision, predict_boot
    from .flash.clientheader import client_header
    from .flash.image import FlashPiece, assemble, flash_pieces, make_boot_config, split
    from .flash.littlefs import make_file_system, read_file_system
    from .layout.model import FlashLayout, FlashRegion, GpioMode, LoaderOptions, Slot
    from .layout.params import FlashParams
    from .layout.presets import LAYOUT_PRESETS, preset_layout
    from .layout.sdk_partitions import sdk_partitions
    from .layout.tomlfile import parse_layout
    from .monitor.decoder import Frame, LogDecoder, LogLine, LogReport, ReportKind, decode_log
    from .monitor.elfs import ElfFinder, KnownElf, Origin, Running, known_elfs
    from .monitor.source import Location
    from .release.bundle import Bundle, RecoveryRom, ReleaseOptions, make_bundle
    from .release.check import check_web_root
    from .release.check_http import check_url
    from .release.finding import Finding
    from .release.history import History
    from .release.manifest import Release
    from .release.signify import PublicKey
    from .release.signing import CommandSigner, KeySigner, Signer, read_key, read_public_key
    from .release.update import Update, UpdateFile, parse_update_file
    from .release.webroot import Omission, Outcome, Published, list_releases, prune, publish, rollback
    from .rom.compare import compare_roms
    from .rom.elf import Elf, elf_symbols, parse_elf
    from .rom.format import RamSection, Rom
    from .rom.ldscript import slot_linker_script
    from .rom.linkaddress import find_link_address
    from .rom.pack import pack
    from .serve.server import ServerOptions, serving

_HOMES = {
    "analysis.identify": "identify",
    "analysis.size": "measure",
    "emulator.proof": "SlotProof prove",
    "emulator.qemu": "BootEnd BootOptions BootResult boot",
    "errors": "CheckError CheckoutError ConfigError ElfError EmulatorError FileSystemError FitError FlashError Hint "
    "LayoutError LoaderError LockError ManifestError PortError ProofError PublishError RbootError RomError ScriptError "
    "ServerError SettingError SigningError UrlError VersionError WebRootError",
    "flash.bootconfig": "BootConfig BootMode",
    "flash.bootlogic": "BootDecision predict_boot",
    "flash.clientheader": "client_header",
    "flash.image": "FlashPiece assemble flash_pieces make_boot_config split",
    "flash.littlefs": "make_file_system read_file_system",
    "layout.model": "FlashLayout FlashRegion GpioMode LoaderOptions Slot",
    "layout.params": "FlashParams",
    "layout.presets": "LAYOUT_PRESETS preset_layout",
    "layout.sdk_partitions": "sdk_partitions",
    "layout.tomlfile": "parse_layout",
    "monitor.decoder": "Frame LogDecoder LogLine LogReport ReportKind decode_log",
    "monitor.elfs": "ElfFinder KnownElf Origin Running known_elfs",
    "monitor.source": "Location",
    "release.bundle": "Bundle RecoveryRom ReleaseOptions make_bundle",
    "release.check": "check_web_root",
    "release.check_http": "check_url",
    "release.finding": "Finding",
    "release.history": "History",
    "release.manifest": "Release",
    "release.signify": "PublicKey",
    "release.signing": "CommandSigner KeySigner Signer read_key read_public_key",
    "release.update": "Update UpdateFile parse_update_file",
    "release.webroot": "Omission Outcome Published list_releases prune publish rollback",
    "rom.compare": "compare_roms",
    "rom.elf": "Elf elf_symbols parse_elf",
    "rom.format": "RamSection Rom",
    "rom.ldscript": "slot_linker_script",
    "rom.linkaddress": "find_link_address",
    "rom.pack": "pack",
    "serve.server": "ServerOptions serving",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "LAYOUT_PRESETS",
    "BootConfig",
    "BootDecision",
    "BootEnd",
    "BootMode",
    "BootOptions",
    "BootResult",
    "Bundle",
    "CheckError",
    "CheckoutError",
    "CommandSigner",
    "ConfigError",
    "Elf",
    "ElfError",
    "ElfFinder",
    "EmulatorError",
    "FileSystemError",
    "Finding",
    "FitError",
    "FlashError",
    "FlashLayout",
    "FlashParams",
    "FlashPiece",
    "FlashRegion",
    "Frame",
    "GpioMode",
    "Hint",
    "History",
    "KeySigner",
    "KnownElf",
    "LayoutError",
    "LoaderError",
    "LoaderOptions",
    "Location",
    "LockError",
    "LogDecoder",
    "LogLine",
    "LogReport",
    "ManifestError",
    "Omission",
    "Origin",
    "Outcome",
    "PortError",
    "ProofError",
    "PublicKey",
    "PublishError",
    "Published",
    "RamSection",
    "RbootError",
    "RecoveryRom",
    "Release",
    "ReleaseOptions",
    "ReportKind",
    "Rom",
    "RomError",
    "Running",
    "ScriptError",
    "ServerError",
    "ServerOptions",
    "SettingError",
    "Signer",
    "SigningError",
    "Slot",
    "SlotProof",
    "Update",
    "UpdateFile",
    "UrlError",
    "VersionError",
    "WebRootError",
    "__version__",
    "assemble",
    "boot",
    "check_url",
    "check_web_root",
    "client_header",
    "compare_roms",
    "decode_log",
    "elf_symbols",
    "find_link_address",
    "flash_pieces",
    "identify",
    "known_elfs",
    "list_releases",
    "make_boot_config",
    "make_bundle",
    "make_file_system",
    "measure",
    "pack",
    "parse_elf",
    "parse_layout",
    "parse_update_file",
    "predict_boot",
    "preset_layout",
    "prove",
    "prune",
    "publish",
    "read_file_system",
    "read_key",
    "read_public_key",
    "rollback",
    "sdk_partitions",
    "serving",
    "slot_linker_script",
    "split",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
