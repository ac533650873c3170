"""The command line, run as a program."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.elf_builder import APP, EM_386, IRAM, IROM1, Sec, build_elf
from support.programs import run_module
from support.project import ROOT, VECTORS

import rbootimg
from rbootimg.analysis.identify import as_json, identify
from rbootimg.cli.parser import COMMANDS, command_parser
from rbootimg.rom import elf
from rbootimg.rom.entry import NO_SYMBOLS
from rbootimg.rom.format import RamSection, Rom
from rbootimg.rom.pack import pack

MIXED = VECTORS / "mixed.rom0.elf"
MIXED_ROM = pack(elf.parse_elf(MIXED.read_bytes())).to_bytes()


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, "cwd": ROOT}
    if options.keys() <= {"cwd", "env"}:
        return run_module("rbootimg", *map(str, arguments), **{"cwd": ROOT, **options})
    command = [sys.executable, "-B", "-m", "rbootimg", *map(str, arguments)]
    return subprocess.run(command, check=False, **{**settings, **options})


def refused(*arguments: object, **options: object) -> str:
    """Run rbootimg, which must exit with 1 and one line on stderr; return that line."""
    done = run(*arguments, **options)
    assert done.returncode == 1, done
    assert not done.stdout
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr[:-1]


def wrong_usage(*arguments: object) -> str:
    """Run rbootimg, which must exit with 2, its usage and an error; return the error."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert not done.stdout
    assert done.stderr.startswith("usage: rbootimg")
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The path of a ROM to write, in an empty directory."""
    directory = tmp_path / "output"
    directory.mkdir()
    return directory / "rom.bin"


@pytest.fixture
def rom(tmp_path: Path) -> Path:
    """A valid ROM."""
    path = tmp_path / "valid.bin"
    path.write_bytes(MIXED_ROM)
    return path


def created(output: Path) -> list[str]:
    """List the directory of the output, with hidden files."""
    return sorted(os.listdir(output.parent))


# pack


def test_pack_writes_the_rom_and_a_table(output: Path) -> None:
    done = run("pack", MIXED, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{output}: linked at 0x40202010\n"
        "  memory  bytes      of    %\n"
        "  IRAM       36  32,768  0.1\n"
        "  DRAM    1,232  81,920  1.5\n"
        "  flash     240\n"
    )
    # esptool2's bytes for its own defaults: vectors/expected.tsv.
    assert hashlib.sha256(output.read_bytes()).hexdigest().startswith("ff74a1b645c02ba6e62dc5caca08e360")
    assert created(output) == ["rom.bin"]


def test_pack_with_a_slot_checks_it_and_shows_its_usage(output: Path) -> None:
    done = run("pack", MIXED, "-o", output, "--slot", "0x2000:0x1000")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{output}: slot at 0x2000, linked at 0x40202010"
    assert lines[-1] == "  flash     240   4,096  5.9"


@pytest.mark.parametrize(
    ("options", "available"),
    [
        # Without a size: to the end of the megabyte, or to the SDK's sectors in a flash of known size.
        (("--slot", "0x82000"), "516,096"),
        (("--slot", "0x82000", "--flash-size", "1MB"), "495,616"),
        (("--slot", "0x82000:16KB", "--flash-size", "1MB"), "16,384"),
        (("--slot", "532480:16384"), "16,384"),
    ],
)
def test_a_slot_without_a_size_gets_the_largest_possible(
    output: Path, options: tuple[str, ...], available: str
) -> None:
    done = run("pack", VECTORS / "mixed.rom1.elf", "-o", output, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split()[:3] == ["flash", "240", available]


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        # esptool2's bytes for the same choices: vectors/expected.tsv.
        ("--irom-checksum", "5966527d4ebf81b5db85fba2fe152a0a"),
        (
            "--section .data --section .rodata --section .text --flash-size 4MB --flash-mode dio --flash-freq 80m",
            "73be25c5a1dfaa7d63ad5bfdb8435089",
        ),
        ("--irom-checksum --flash-size 1m --flash-mode QOUT --flash-freq 26M", "571906642554265fca16ab0fbde43a47"),
        ("--flash-size 16M", "d2f43107d7f02c11b5f3f4452e9ae890"),
    ],
)
def test_options_change_the_bytes_as_in_esptool2(output: Path, options: str, digest: str) -> None:
    done = run("pack", *options.split(), "--output", output, MIXED)
    assert (done.returncode, done.stderr) == (0, "")
    assert hashlib.sha256(output.read_bytes()).hexdigest().startswith(digest)


def test_warnings_go_to_stderr_and_are_not_errors(output: Path, tmp_path: Path) -> None:
    app = tmp_path / "app.elf"
    app.write_bytes(build_elf())
    done = run("pack", app, "-o", output, "--section", ".text", "--section", ".rodata")
    assert done.returncode == 0
    assert done.stderr == (
        f"rbootimg: {app}: warning: section .data (4 bytes at 0x3ffe8000) is not in the ROM; "
        "add it to the sections to load if the application needs it\n"
        f"rbootimg: {app}: warning: {NO_SYMBOLS}\n"
    )
    assert len(Rom.from_bytes(output.read_bytes()).sections) == 2


def test_pack_replaces_an_older_rom_in_one_step(output: Path) -> None:
    output.write_bytes(b"old")
    with open(output, "rb") as reader:
        assert run("pack", MIXED, "-o", output).returncode == 0
        assert reader.read() == b"old"
    assert output.read_bytes() == MIXED_ROM
    assert created(output) == ["rom.bin"]


def test_pack_writes_to_the_target_of_a_link(output: Path, tmp_path: Path) -> None:
    output.symlink_to(tmp_path / "target.bin")
    (tmp_path / "target.bin").write_bytes(b"old")
    assert run("pack", MIXED, "-o", output).returncode == 0
    assert output.is_symlink()
    assert (tmp_path / "target.bin").read_bytes() == MIXED_ROM


def test_pack_to_a_pipe_writes_only_the_rom() -> None:
    done = run("pack", MIXED, "-o", "/dev/stdout", text=False)
    assert done.returncode == 0
    assert done.stdout == MIXED_ROM


def test_pack_to_stdout_that_is_a_file_leaves_the_rom_in_it(output: Path) -> None:
    with open(output, "wb") as file:
        assert run("pack", MIXED, "-o", "/dev/stdout", stdout=file).returncode == 0
    assert output.read_bytes() == MIXED_ROM
    assert created(output) == ["rom.bin"]


# verify


def test_verify_describes_a_rom(rom: Path) -> None:
    done = run("verify", rom)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{rom}: ok, 240 bytes, entry 0x40100004, 112 bytes of irom, 3 RAM sections, checksum 0xe3 over RAM sections\n"
    )


def test_verify_finds_the_kind_of_checksum(rom: Path) -> None:
    rom.write_bytes(pack(elf.parse_elf(MIXED.read_bytes()), irom_checksum=True).to_bytes())
    done = run("verify", rom)
    assert done.returncode == 0
    assert done.stdout.endswith(" over RAM sections and irom\n")


def test_verify_prints_the_json_of_info(rom: Path) -> None:
    done = run("verify", "--json", rom)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "schema": 1,
        "file": str(rom),
        **as_json(identify(MIXED_ROM)),
    }
    assert done.stdout == run("info", "--json", rom).stdout
    assert done.stdout.startswith('{\n  "schema": 1,\n  "file": ')


def test_verify_accepts_the_output_of_pack(output: Path) -> None:
    assert run("pack", MIXED, "-o", output, "--irom-checksum").returncode == 0
    assert run("verify", output).returncode == 0


# Help


def test_help_lists_the_commands_by_group() -> None:
    done = run("--help", env={**os.environ, "COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n\nEmulate:\n  boot         run a flash image in QEMU\n  prove        verify in QEMU that " in done.stdout
    listed = re.findall(r"^  ([a-z0-9-]+)  +[a-z]", done.stdout.partition("\n\nBuild:\n")[2], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_each_command_lists_its_options() -> None:
    packing = run("pack", "--help").stdout
    for option in ("-o", "--section", "--flash-size", "--flash-mode", "--flash-freq", "--irom-checksum", "--slot"):
        assert f"\n  {option} " in packing or f"\n  {option}\n" in packing
    assert "--json" in run("verify", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [(("--help",), []), (("--version",), []), (("nosuch",), []), (("pack", "--help"), ["arguments", "common", "pack"])],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_only_the_module_of_the_command_is_loaded(arguments: tuple[str, ...], commands: list[str]) -> None:
    show = (
        "import sys\nfrom rbootimg.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    names = [name.removeprefix("rbootimg.commands.") for name in loaded.split() if "rbootimg.commands." in name]
    assert sorted(names) == commands


SLOW = {"dataclasses", "elftools", "esptool", "inspect", "jinja2", "rich", "shutil", "tomllib"}


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (("--version",), SLOW),
        (("verify", "ROM"), SLOW),
        (("info", "ROM"), SLOW),
        (("pack", MIXED, "-o", "OUTPUT"), {"esptool", "jinja2", "rich", "tomllib"}),  # pyelftools loads some of them
    ],
    ids=["version", "verify", "info", "pack"],
)
def test_a_quick_command_loads_no_slow_module(
    rom: Path, output: Path, arguments: tuple[object, ...], slow: set[str]
) -> None:
    names = {"ROM": rom, "OUTPUT": output}
    command = [sys.executable, "-X", "importtime", "-m", "rbootimg", *(str(names.get(at, at)) for at in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rsplit(maxsplit=1)[-1] for line in done.stderr.splitlines()}
    assert not loaded & slow


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "esptool2"])
def test_each_command_has_its_own_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: rbootimg {command} ")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "esptool2"])
def test_each_command_and_each_of_its_arguments_is_described(command: str) -> None:
    parser = command_parser(command)
    assert parser.description
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("columns", "longest"), [(80, 80), (200, 100)])
def test_the_help_of_each_command_fits_the_terminal(command: str, columns: int, longest: int) -> None:
    shown = run(command, "--help", env={**os.environ, "COLUMNS": str(columns)})
    assert max(map(len, shown.stdout.splitlines()), default=0) <= longest


def examples() -> list[str]:
    """The command lines at the end of the help of each command."""
    texts = (command_parser(command).epilog or "" for command in COMMANDS if command not in ("esptool2", "completion"))
    lines = (line for text in texts for line in text.replace("\\\n", "").splitlines())
    return [line.strip() for line in lines if line.startswith("  rbootimg ")]


@pytest.mark.parametrize("example", examples())
def test_each_example_in_a_help_is_a_valid_command_line(example: str) -> None:
    _, command, *arguments = shlex.split(example)
    assert command_parser(command).parse_args(arguments)


@pytest.mark.parametrize("command", ["pack", "publish", "flash", "boot", "prove", "check", "serve"])
def test_the_help_of_a_command_with_many_options_ends_with_examples(command: str) -> None:
    assert any(example.startswith(f"rbootimg {command} ") for example in examples())


def test_the_usage_lists_the_required_arguments_only() -> None:
    error = run("publish", env={**os.environ, "COLUMNS": "80"}).stderr
    assert error.splitlines()[:2] == [
        "usage: rbootimg publish [options] --app NAME --layout LAYOUT",
        "                        ROM.BIN [ROM.BIN ...]",
    ]


def test_version_is_the_packages() -> None:
    assert run("--version").stdout == f"rbootimg {rbootimg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "rbootimg: error: the following arguments are required: COMMAND"),
        (("nosuch",), "rbootimg: error: argument COMMAND: invalid choice: 'nosuch'"),
        (("verify",), "rbootimg verify: error: the following arguments are required: ROM.BIN"),
        (("pack", MIXED), "rbootimg pack: error: the following arguments are required: -o/--output"),
        (("verify", "a", "b"), "rbootimg verify: error: unrecognized arguments: b"),
        (("verify", "a", "--nosuch"), "rbootimg verify: error: unrecognized arguments: --nosuch"),
        (
            ("pack", MIXED, "-o", "rom.bin", "--flash-size", "3MB"),
            "rbootimg pack: error: argument --flash-size: unknown flash size '3MB': "
            "expected one of 256KB, 512KB, 1MB, 2MB, 4MB, 2MB-c1, 4MB-c1, 8MB, 16MB",
        ),
        (
            ("pack", MIXED, "-o", "rom.bin", "--flash-mode", "qoi"),
            "rbootimg pack: error: argument --flash-mode: invalid choice: 'qoi' (choose from",
        ),
        (
            ("pack", MIXED, "-o", "rom.bin", "--flash-freq", "40"),
            "rbootimg pack: error: argument --flash-freq: invalid choice: '40' (choose from",
        ),
        (
            ("pack", MIXED, "-o", "rom.bin", "--slot", "nonsense"),
            "rbootimg pack: error: argument --slot: invalid address or size 'nonsense': expected e.g. 0x2000, 8192 or "
            "8KB",
        ),
    ],
    ids=lambda value: " ".join(map(str, value[:1] + value[-2:])) if isinstance(value, tuple) else "",
)
def test_wrong_usage_has_status_2(tmp_path: Path, arguments: tuple[object, ...], error: str) -> None:
    # In a temporary directory, in case a wrong command line is accepted.
    in_directory = [tmp_path / argument if argument == "rom.bin" else argument for argument in arguments]
    assert wrong_usage(*in_directory).startswith(error)
    assert os.listdir(tmp_path) == []


# Invalid input


def truncated(path: Path) -> str:
    path.write_bytes(MIXED.read_bytes()[:5000])
    return "corrupt or truncated ELF"


def of_another_machine(path: Path) -> str:
    path.write_bytes(build_elf(machine=EM_386))
    return "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 32-bit little-endian 386"


def without_irom(path: Path) -> str:
    path.write_bytes(build_elf(APP[:2]))
    return "no section .irom0.text with data; sections with data: .text, .data"


def too_large_for_the_ram(path: Path) -> str:
    path.write_bytes(build_elf((Sec(".text", IRAM, bytes(0x8004)), *APP[1:])))
    return "section .text overflows IRAM by 4 bytes: ends at 0x40108004"


def empty(path: Path) -> str:
    path.write_bytes(b"")
    return "empty file"


def text(path: Path) -> str:
    path.write_bytes(b"int main(void) { return 0; }\n")
    return "not an ELF file"


def missing(path: Path) -> str:
    return "No such file or directory"


def directory(path: Path) -> str:
    path.mkdir()
    return "Is a directory"


def link_to_itself(path: Path) -> str:
    # Not even root can open it.
    path.symlink_to(path)
    return "Too many levels of symbolic links"


def below_a_file(path: Path) -> str:
    path.parent.rmdir()
    path.parent.write_bytes(b"")
    return "Not a directory"


UNREADABLE = (missing, directory, link_to_itself, below_a_file)
BAD_ELFS = (empty, text, truncated, of_another_machine, without_irom, too_large_for_the_ram)


@pytest.mark.parametrize("make", [*UNREADABLE, *BAD_ELFS], ids=lambda make: make.__name__)
def test_a_bad_elf_is_refused_in_one_line_and_an_older_rom_stays(
    tmp_path: Path, output: Path, make: Callable[[Path], str]
) -> None:
    path = tmp_path / "apps" / "app.elf"
    path.parent.mkdir()
    message = make(path)
    output.write_bytes(b"old")
    assert refused("pack", path, "-o", output).startswith(f"rbootimg: {path}: {message}")
    assert output.read_bytes() == b"old"
    assert created(output) == ["rom.bin"]


@pytest.mark.parametrize("make", UNREADABLE, ids=lambda make: make.__name__)
def test_a_rom_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], str]) -> None:
    path = tmp_path / "roms" / "rom.bin"
    path.parent.mkdir()
    message = make(path)
    assert refused("verify", path) == f"rbootimg: {path}: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated image: the header of the ROM ends at offset 0x8, but there are only 0x0 bytes"),
        (MIXED_ROM[:-1], "truncated image: the checksum ends at offset 0xf0, but there are only 0xef bytes"),
        (MIXED_ROM[:-1] + b"\0", "bad checksum 0x00 at offset 0xef: expected 0xe3"),
        (b"\x7fELF" + bytes(99), "ELF file, not a ROM; pack it first"),
    ],
    ids=["empty", "cut off", "checksum", "an ELF"],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_bad_rom_is_refused_in_one_line(rom: Path, options: tuple[str, ...], data: bytes, message: str) -> None:
    rom.write_bytes(data)
    done = run("verify", *options, rom)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rbootimg: {rom}: {message}")
    assert done.stderr.count("\n") == 1
    if options and data.startswith(MIXED_ROM[:1]):
        assert json.loads(done.stdout)["problems"][0].startswith(message)
    else:
        assert not done.stdout


def test_a_file_without_permission_is_refused_unless_one_may_read_it_anyway(rom: Path) -> None:
    rom.chmod(0)
    if os.access(rom, os.R_OK):  # root
        assert run("verify", rom).returncode == 0
    else:
        assert refused("verify", rom) == f"rbootimg: {rom}: Permission denied"


def test_an_application_for_another_slot_is_refused(output: Path, tmp_path: Path) -> None:
    app = tmp_path / "app.elf"
    app.write_bytes(build_elf((APP[0], Sec(".irom0.text", IROM1, b"code"))))
    assert refused("pack", app, "-o", output, "--slot", "0x2000") == (
        f"rbootimg: {app}: linked at 0x40282010 (slot at 0x82000), expected 0x40202010 for slot at 0x2000"
    )
    assert created(output) == []


def test_an_application_too_large_for_its_slot_is_refused(output: Path) -> None:
    big = VECTORS / "big.rom0.elf"
    assert refused("pack", big, "-o", output, "--slot", "0x2000:0x6e000") == (
        f"rbootimg: {big}: ROM has 450,704 bytes, 144 more than slot at 0x2000 holds (450,560)"
    )
    assert "invalid size 0xef: expected a multiple of the flash sector" in refused(
        "pack", MIXED, "-o", output, "--slot", "0x2000:239"
    )
    assert created(output) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--slot", "0x2100"),
            "at 0x2100: invalid address: expected a multiple of the flash sector (0x1000), e.g. 0x3000",
        ),
        (("--slot", "0x1000"), "at 0x1000 overlaps rBoot's config sector: expected 0x2000 or above"),
        (
            ("--slot", "0x102000", "--flash-size", "1MB"),
            "ends at 0x103000, past the end of the 1MB flash (0x100000 bytes)",
        ),
    ],
)
def test_an_invalid_slot_is_refused(output: Path, options: tuple[str, ...], message: str) -> None:
    done = run("pack", MIXED, "-o", output, *options)
    assert done.returncode in (1, 2)  # both the slot and the usage are wrong
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert created(output) == []


# Invalid output


def test_an_output_in_a_directory_that_does_not_exist_is_refused_by_its_name(output: Path) -> None:
    path = output.parent / "no" / "rom.bin"
    # The name from the command line, not the temporary file.
    assert refused("pack", MIXED, "-o", path) == f"rbootimg: {path}: there is no directory {path.parent}"
    assert created(output) == []


def test_an_output_that_is_a_directory_is_refused_by_its_name(output: Path) -> None:
    output.mkdir()
    assert refused("pack", MIXED, "-o", output) == f"rbootimg: {output}: Is a directory"
    assert created(output) == ["rom.bin"]
    assert os.listdir(output) == []


def test_a_full_disk_is_reported_with_the_outputs_name_and_an_older_rom_stays(output: Path) -> None:
    output.write_bytes(b"old")
    line = refused(
        "pack",
        VECTORS / "big.rom0.elf",
        "-o",
        output,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert output.read_bytes() == b"old"
    assert created(output) == ["rom.bin"]
    assert line == f"rbootimg: {output}: File too large"


def test_a_full_device_is_reported_with_its_name() -> None:
    assert refused("pack", MIXED, "-o", "/dev/full") == "rbootimg: /dev/full: No space left on device"


# Broken stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "ROM"),
        ("verify", "--json", "ROM"),
        ("pack", MIXED, "-o", "OUTPUT"),
        ("pack", "--help"),
        ("info", "ROM"),
    ],
    ids=["verify", "json", "pack", "help", "info"],
)
def test_a_closed_pipe_ends_quietly(rom: Path, output: Path, arguments: tuple[object, ...]) -> None:
    names = {"ROM": rom, "OUTPUT": output}
    reader, writer = os.pipe()
    os.close(reader)  # before the first write
    try:
        done = run(*(names.get(argument, argument) for argument in arguments), stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert created(output) == (["rom.bin"] if "OUTPUT" in arguments else [])


def test_a_rom_to_a_closed_pipe_ends_quietly() -> None:
    # More than a pipe buffers: the writer is still writing when the reader closes.
    command = [sys.executable, "-B", "-m", "rbootimg", "pack", str(VECTORS / "big.rom0.elf"), "-o", "/dev/stdout"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"\xea"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("pack", "--help"),
        ("pack", MIXED, "-o", "OUTPUT"),
        ("verify", "ROM"),
        ("verify", "--json", "ROM"),
        ("info", "ROM"),
        ("info", "--json", "ROM"),
        ("extract", "ROM", "-o", "OUTPUT"),
        ("compare", "ROM", "ROM"),
        ("layout", "1MB"),
        ("layout", "--svg", "1MB"),  # more than is buffered
        ("size", MIXED, "--json"),
        ("nginx-conf", "ROM"),
    ],
    ids=lambda arguments: " ".join(str(getattr(argument, "name", argument)) for argument in arguments),
)
def test_a_full_stdout_is_one_line_that_names_it(rom: Path, output: Path, arguments: tuple[object, ...]) -> None:
    names = {"ROM": rom, "OUTPUT": output}
    with open("/dev/full", "w") as full:
        done = run(*(names.get(argument, argument) for argument in arguments), stdout=full)
    assert (done.returncode, done.stderr) == (1, "rbootimg: stdout: No space left on device\n")


def test_without_a_stdout_there_is_no_traceback(rom: Path) -> None:
    done = run("verify", rom, stdout=None, preexec_fn=lambda: os.close(1))
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_a_name_that_stdout_cannot_show_gives_no_traceback(rom: Path) -> None:
    path = rom.with_name("größe.bin")
    path.write_bytes(MIXED_ROM)
    done = run("verify", path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert "e.bin: ok, 240 bytes" in done.stdout


def test_the_rom_does_not_overwrite_its_elf(output: Path) -> None:
    app = output.with_name("app.elf")
    app.write_bytes(MIXED.read_bytes())
    assert refused("pack", app, "-o", app) == (f"rbootimg: {app}: refusing to overwrite an input file")
    assert app.read_bytes() == MIXED.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("layout", "board.toml", "-o", "./board.toml"),
        ("size", "app.elf", "old.elf", "--svg", "old.elf"),
        ("size", "app.elf", "--map", "app.map", "--svg", "app.map"),
    ],
    ids=" ".join,
)
def test_an_output_does_not_overwrite_an_input(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    contents = {"board.toml": BOARD.encode(), "app.elf": MIXED.read_bytes(), "old.elf": MIXED.read_bytes()}
    contents["app.map"] = b".text 0x40100000 0x10\n"
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    line = refused(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert line == f"rbootimg: {arguments[-1].removeprefix('./')}: refusing to overwrite an input file"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_a_missing_output_directory_is_reported_as_it_was_written(tmp_path: Path) -> None:
    line = refused("pack", MIXED, "-o", "no/rom.bin", cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert line == "rbootimg: no/rom.bin: there is no directory no"


@pytest.mark.parametrize("command", ["verify", "extract", "compare"])
def test_an_elf_instead_of_a_rom_is_identified(rom: Path, command: str) -> None:
    others = [rom] if command == "compare" else []
    assert refused(command, MIXED, *others) == f"rbootimg: {MIXED}: ELF file, not a ROM; pack it first"


def test_verify_can_require_one_kind_of_checksum(rom: Path) -> None:
    assert run("verify", "--no-irom-checksum", rom).returncode == 0
    assert "the other kind of checksum" in refused("verify", "--irom-checksum", rom)


# layout

BOARD = 'flash_size = "512KB"\n[[slot]]\naddress = 0x2000\n'


def test_layout_draws_a_file_and_a_preset(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(BOARD)
    for name, flash in ((tmp_path / "board.toml", "qio, 512KB, 40m"), ("4MB-big", "qio, 4MB, 40m")):
        done = run("layout", name)
        assert done.returncode == 0
        assert done.stdout.startswith(f"{flash} flash; loader: ")
        assert "0x40202010  slot 0\n" in done.stdout


def test_layout_without_a_name_lists_the_presets() -> None:
    lines = run("layout").stdout.splitlines()
    assert "1MB          1MB flash, slots at 0x2000, 0x82000" in lines


def test_layout_writes_a_picture_or_the_sdks_partitions(tmp_path: Path) -> None:
    assert "LAYOUT is required with --svg" in wrong_usage("layout", "--svg")
    assert run("layout", "1MB", "--svg").stdout.startswith("<svg ")
    assert run("layout", "1MB", "--sdk-partitions", "-o", tmp_path / "partitions.h").stdout == ""
    assert "SYSTEM_PARTITION_CUSTOMER_BEGIN + 2, 0x00082000" in (tmp_path / "partitions.h").read_text()
    assert refused("layout", "512KB", "--sdk-partitions", "-o", tmp_path / "none.h").startswith(
        "rbootimg: 512KB: NONOS SDK 3 accepts no partition table for a 512KB flash: expected one of 1MB, "
    )
    assert not (tmp_path / "none.h").exists()


def test_layout_writes_the_schema_of_layout_files(tmp_path: Path) -> None:
    schema = (ROOT / "rbootimg" / "schemas" / "layout.schema.json").read_text()
    assert run("layout", "--schema").stdout == schema
    assert run("layout", "--schema", "-o", tmp_path / "layout.schema.json").stdout == ""
    assert (tmp_path / "layout.schema.json").read_text() == schema
    assert "--schema and LAYOUT are mutually exclusive" in wrong_usage("layout", "1MB", "--schema")


def test_an_invalid_layout_is_one_line(tmp_path: Path) -> None:
    assert "neither a file nor a preset: expected one of 512KB" in refused("layout", "3MB")
    assert "No such file" in refused("layout", tmp_path / "no.toml")
    assert "Is a directory" in refused("layout", tmp_path)
    bad = tmp_path / "bad.toml"
    for content, message in ((b"\xff", "not UTF-8"), (b"x", "invalid TOML"), (BOARD[:21].encode() * 2, "invalid TOML")):
        bad.write_bytes(content)
        assert message in refused("layout", bad)


# compare


def test_compare_accepts_one_application_for_two_slots(tmp_path: Path) -> None:
    other = tmp_path / "rom1.bin"
    other.write_bytes(pack(elf.parse_elf((VECTORS / "mixed.rom1.elf").read_bytes())).to_bytes())
    (tmp_path / "rom0.bin").write_bytes(MIXED_ROM)
    done = run("compare", tmp_path / "rom0.bin", other)
    assert done.returncode == 0
    assert done.stdout.endswith("words relocated by 0x80000, no other differences\n")


def test_compare_counts_a_single_word_in_the_singular(tmp_path: Path) -> None:
    for slot, address in enumerate((0x40202010, 0x40282010)):
        rom = Rom(0x40100000, address.to_bytes(4, "little") + b"code" * 3, (RamSection(0x40100000, b"code"),))
        (tmp_path / f"rom{slot}.bin").write_bytes(rom.to_bytes())
    done = run("compare", tmp_path / "rom0.bin", tmp_path / "rom1.bin")
    assert done.stdout == "1 word relocated by 0x80000, no other differences\n"


def test_compare_prints_other_differences(tmp_path: Path, rom: Path) -> None:
    good = Rom.from_bytes(MIXED_ROM)
    other = tmp_path / "other.bin"
    other.write_bytes(good._replace(entry=good.entry + 4, irom=good.irom[:-1] + b"x").to_bytes())
    done = run("compare", rom, other)
    assert done.returncode == 1
    assert "  entry point: 0x40100004 in the first, 0x40100008 in the second\n" in done.stdout
    assert "  irom+0x6f: 00 | 78\n" in done.stdout or "  irom+0x6f at 0x4020207f: 00 | 78\n" in done.stdout
    assert done.stderr == f"rbootimg: {rom}: not the same application as {other}\n"


@pytest.mark.parametrize(
    ("elfs", "name"),
    [
        (("--elf0", MIXED), " in in_flash+0x8"),
        (("--elf1", "OTHER"), " in in_flash+0x8"),
        (("--elf0", MIXED, "--elf1", "OTHER"), " in in_flash+0x8"),
        ((), ""),
    ],
    ids=["elf0", "elf1", "both", "none"],
)
def test_compare_names_the_symbols_from_the_elfs(
    tmp_path: Path, rom: Path, elfs: tuple[object, ...], name: str
) -> None:
    # Another build with a changed instruction of in_flash, whose bytes occur once in the ELF.
    data, code = MIXED.read_bytes(), Rom.from_bytes(MIXED_ROM).irom
    functions = [symbol for symbol in elf.elf_symbols(data) if symbol.name == "in_flash"]
    offset = functions[0].address + 8 - 0x40202010
    assert data.count(code[offset - 8 : offset + 8]) == 1
    at = data.index(code[offset - 8 : offset + 8]) + 8
    (tmp_path / "other.elf").write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
    other = tmp_path / "other.bin"
    assert run("pack", tmp_path / "other.elf", "-o", other).returncode == 0
    done = run("compare", rom, other, *(tmp_path / "other.elf" if value == "OTHER" else value for value in elfs))
    assert done.returncode == 1
    assert re.search(
        rf"^  irom\+{offset:#x} at {0x40202010 + offset:#x}{re.escape(name)}: .. \| ..$", done.stdout, re.M
    )


def test_compare_refuses_the_elf_of_another_rom(tmp_path: Path, rom: Path) -> None:
    assert refused("compare", rom, rom, "--elf1", VECTORS / "mixed.rom1.elf") == (
        f"rbootimg: {VECTORS}/mixed.rom1.elf: not the ELF of {rom}: the contents differ"
    )
    (tmp_path / "bad.elf").write_bytes(b"nothing")
    assert refused("compare", rom, rom, "--elf0", tmp_path / "bad.elf") == (
        f"rbootimg: {tmp_path}/bad.elf: not an ELF file"
    )


# info


def test_info_identifies_a_file(rom: Path) -> None:
    done = run("info", rom)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{rom}: rBoot ROM, valid\n  size      240 bytes\n")


def test_info_prints_json(rom: Path) -> None:
    values = json.loads(run("info", "--json", rom, "--slot", "0x2000:8KB").stdout)
    assert (values["file"], values["schema"], values["kind"]) == (str(rom), 1, "rom")
    assert values["slot"] == {"address": 0x2000, "size": 0x2000, "free": 0x2000 - 240}


@pytest.mark.parametrize(
    ("options", "free"),
    [
        (("--layout", "1MB"), "slot 0 at 0x2000, 524,048 bytes free"),
        (("--slot", "0x2000"), "slot at 0x2000, 1,040,144 bytes free"),
        (("--layout", "BOARD"), "slot 0 at 0x2000, 495,376 bytes free"),
    ],
    ids=["preset", "slot", "file"],
)
def test_info_shows_the_free_bytes_of_the_slot(tmp_path: Path, rom: Path, options: tuple[str, ...], free: str) -> None:
    (tmp_path / "board.toml").write_text(BOARD)
    done = run("info", rom, *(tmp_path / "board.toml" if option == "BOARD" else option for option in options))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  slot      {free}\n" in done.stdout


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_info_shows_a_bad_rom_and_fails_with_one_line(rom: Path, options: tuple[str, ...]) -> None:
    rom.write_bytes(MIXED_ROM[:-1] + b"\0")
    done = run("info", rom, "--slot", "0x82000", *options)
    assert done.returncode == 1
    assert done.stderr == (
        f"rbootimg: {rom}: bad checksum 0x00 at offset 0xef: expected 0xe3 (0xc3 with irom) (and 1 more)\n"
    )
    if options:
        assert len(json.loads(done.stdout)["problems"]) == 2
    else:
        assert done.stdout.startswith(f"{rom}: rBoot ROM, invalid\n  problem   bad checksum 0x00 at offset 0xef")


def test_info_of_an_unknown_file_is_one_line(tmp_path: Path, rom: Path) -> None:
    path = tmp_path / "file"
    unknown = "unknown file type: expected a ROM, flash image, boot config or ELF, got 74 65 78 74"
    for content, message in ((b"", "empty file"), (b"text", unknown)):
        path.write_bytes(content)
        assert refused("info", path).startswith(f"rbootimg: {path}: {message}")
    assert "rbootimg: 3MB: neither a file nor a preset" in refused("info", rom, "--layout", "3MB")
    assert "not allowed with argument" in wrong_usage("info", rom, "--layout", "1MB", "--slot", "0x2000")


@pytest.mark.parametrize("command", ["info", "extract"])
@pytest.mark.parametrize("make", UNREADABLE, ids=lambda make: make.__name__)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, make: Callable[[Path], str], command: str) -> None:
    path = tmp_path / "roms" / "rom.bin"
    path.parent.mkdir()
    message = make(path)
    assert refused(command, path) == f"rbootimg: {path}: {message}"


# extract


def test_extract_writes_each_section_and_a_table(tmp_path: Path, rom: Path) -> None:
    directory = tmp_path / "new" / "directory"
    done = run("extract", rom, "-o", directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{rom}: 4 files in {directory}\n"
        "  file                   address     bytes  memory\n"
        "  irom0.text.bin                       112  flash\n"
        "  section0-40100000.bin  0x40100000     36  IRAM\n"
        "  section1-3ffe8000.bin  0x3ffe8000      8  DRAM\n"
        "  section2-3ffe8008.bin  0x3ffe8008     20  DRAM\n"
    )
    good = Rom.from_bytes(MIXED_ROM)
    assert (directory / "irom0.text.bin").read_bytes() == good.irom
    names = sorted(os.listdir(directory))
    assert [(directory / name).read_bytes() for name in names[1:]] == [section.data for section in good.sections]


def test_extract_creates_a_directory_named_after_the_rom_and_replaces_its_files(tmp_path: Path, rom: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        assert run("extract", rom, cwd=tmp_path, env=environment).returncode == 0
    assert sorted(os.listdir(tmp_path / "valid-sections"))[0] == "irom0.text.bin"
    assert len(os.listdir(tmp_path / "valid-sections")) == 4


def test_extract_refuses_an_invalid_rom(tmp_path: Path, rom: Path) -> None:
    rom.write_bytes(MIXED_ROM[:-1])
    assert "truncated image: " in refused("extract", rom, "-o", tmp_path / "directory")
    assert not (tmp_path / "directory").exists()


def test_extract_to_a_file_is_one_line(tmp_path: Path, rom: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert refused("extract", rom, "-o", tmp_path / "file") == (f"rbootimg: {tmp_path}/file: not a directory")


# size


def test_size_shows_the_memory_usage_and_changes() -> None:
    output = run("size", MIXED).stdout
    assert re.search(r"^ +\d+ +32,768 +[\d.]+ +IRAM$", output, re.MULTILINE)
    assert re.search(r"DRAM +\.bss +zeroed$", output, re.MULTILINE)
    assert "IRAM" in run("size", MIXED, VECTORS / "big.rom0.elf").stdout


def test_size_prints_json_and_draws_a_picture(tmp_path: Path) -> None:
    done = run("size", MIXED, "--json", "--svg", tmp_path / "size.svg", "--by", "section")
    assert json.loads(done.stdout)["file"] == str(MIXED)
    assert "<svg" in (tmp_path / "size.svg").read_text()[:200]


def test_size_needs_maps_for_objects() -> None:
    for arguments in (("--by", "object"), ("--old-map", "x.map"), ("--top", "-1")):
        assert wrong_usage("size", MIXED, *arguments).startswith("rbootimg size: error: ")


def test_size_names_the_invalid_file(tmp_path: Path) -> None:
    (tmp_path / "old.elf").write_bytes(b"nothing")
    assert refused("size", MIXED, tmp_path / "old.elf") == f"rbootimg: {tmp_path}/old.elf: not an ELF file"
    assert "no-such.map: No such file" in refused("size", MIXED, "--map", tmp_path / "no-such.map")
