"""The update client for the NONOS SDK: it compiles without a warning, as does an application after the tutorial; and it
keeps to what the SDK allows."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import sdk
from support.images import rom
from support.ota_host import HARNESS, SANITIZERS, SDK_COMPILER, SOURCES, UPDATE_SOURCES, flash, reply
from support.project import ROOT, Project
from support.update_host import PROD, SPARE

from rbootimg.flash.clientheader import client_header
from rbootimg.layout.presets import preset_layout
from rbootimg.release.clientkeys import keys_header

pytestmark = pytest.mark.needs("gcc", "xtensa-lx106-elf-gcc")

PORT = SOURCES / "port" / "nonos" / "ota_port_nonos.c"
EXAMPLE = ROOT / "examples" / "ota"
UPDATE = [*sorted(UPDATE_SOURCES.glob("*.c")), UPDATE_SOURCES / "port" / "nonos" / "ota_update_port_nonos.c"]
CLIENT = [*sorted(SOURCES.glob("*.c")), PORT, *UPDATE]


@pytest.mark.parametrize("standard", ["gnu89", "c99", "gnu17"])
@pytest.mark.parametrize("options", [(), ("-DBOOT_CONFIG_CHKSUM", "-DBOOT_IROM_CHKSUM", "-DMAX_ROMS=8")])
def test_the_client_compiles_without_a_warning(tmp_path: Path, standard: str, options: tuple[str, ...]) -> None:
    sources = [*CLIENT, HARNESS / "sdk" / "user_main.c"]
    done = subprocess.run(
        [*SDK_COMPILER, f"-std={standard}", *options, *sources],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_all_its_code_is_in_the_flash(tmp_path: Path) -> None:
    subprocess.run([*SDK_COMPILER, *CLIENT], cwd=tmp_path, check=True)
    for source in CLIENT:
        sizes = subprocess.run(
            ["xtensa-lx106-elf-size", "-A", source.with_suffix(".o").name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        sections = dict(line.split()[:2] for line in sizes.stdout.splitlines() if line.startswith("."))
        assert sections.get(".text", "0") == "0", source.name
        assert sections.get(".data", "0") == "0", source.name


def test_nothing_is_added_to_an_address_of_code_before_the_linker_shortens_calls(tmp_path: Path) -> None:
    """It would not adjust such a sum, and rboot_ota_running_rom could take its own slot for the one before."""
    subprocess.run([*SDK_COMPILER, *CLIENT], cwd=tmp_path, check=True)
    objects = [source.with_suffix(".o").name for source in CLIENT]
    listed = subprocess.run(
        ["xtensa-lx106-elf-objdump", "-r", *objects], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    relocations = re.findall(r"R_XTENSA_32 +(\S+)", listed.stdout)
    assert any(target.startswith(".irom0.text") for target in relocations)
    assert not [target for target in relocations if re.search(r"[+-]0x[4-9a-f][0-9a-f]{7}$", target)]


def test_it_calls_nothing_beyond_the_sdk(tmp_path: Path) -> None:
    subprocess.run([*SDK_COMPILER, *CLIENT], cwd=tmp_path, check=True)
    objects = [source.with_suffix(".o").name for source in CLIENT]
    subprocess.run(["xtensa-lx106-elf-ld", "-r", "-o", "all.o", *objects], cwd=tmp_path, check=True)
    named = subprocess.run(
        ["xtensa-lx106-elf-nm", "-u", "all.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    undefined = {line.split()[-1] for line in named.stdout.splitlines()}
    known = ("espconn_", "spi_flash_", "system_rtc_mem_", "ets_timer_", "ets_mem")
    assert not {name for name in undefined if not name.startswith(known)} - {
        *("memcpy", "memset", "ets_strcmp"),
        *("system_get_rst_info", "system_restart", "system_soft_wdt_feed"),
    }


def test_the_example_is_built_on_the_sdk(project: Project, tmp_path: Path) -> None:
    """Without a warning, and with the SDK's init data in its flash."""
    copy = Project(project.directory / "ota")
    shutil.copytree(EXAMPLE, copy.directory, ignore=shutil.ignore_patterns("build", "*.o", ".sconsign.dblite"))
    said = copy.run(f"SDK_BASE={sdk.make(tmp_path / 'sdk')}", "SERVER=10.1.2.3:8080")
    assert (said.status, said.err) == (0, "")
    built = copy.read("build/nonos/app/rom1.bin")
    assert b"10.1.2.3\0" in built
    assert copy.read("build/nonos/flash.bin")[0xFC000:0xFC080] == bytes(range(5, 133))


def test_no_network_and_no_password_can_be_built_into_a_rom(project: Project, tmp_path: Path) -> None:
    copy = Project(project.directory / "ota")
    shutil.copytree(EXAMPLE, copy.directory, ignore=shutil.ignore_patterns("build", "*.o", ".sconsign.dblite"))
    said = copy.run(f"SDK_BASE={sdk.make(tmp_path / 'sdk')}", "WIFI_SSID=home", "WIFI_PASSWORD=hunter2hunter2")
    assert (said.status, said.err) == (1, "")
    assert said.out == "ota: the Wi-Fi network is not built in; type `wifi SSID PASSWORD` on the device's UART\n"
    assert not copy.exists("build")


def test_a_layout_that_the_sdk_would_refuse_is_one_line(project: Project, tmp_path: Path) -> None:
    copy = Project(project.directory / "ota")
    shutil.copytree(EXAMPLE, copy.directory, ignore=shutil.ignore_patterns("build", "*.o", ".sconsign.dblite"))
    copy.write("nonos/board.toml", 'flash_size = "512KB"\n')
    said = copy.run(f"SDK_BASE={sdk.make(tmp_path / 'sdk')}")
    assert (said.status, said.err) == (1, "")
    assert said.out.startswith("ota: nonos/board.toml: NONOS SDK 3 accepts no partition table for a 512KB flash")


SIZES_SCRIPT = """
SECTIONS
{
  . = 0x40202010; .irom : { *(.irom0.literal .irom.literal .irom.text.literal .irom0.text .irom.text) }
  . = 0x3FFE8000; .dram : { *(.data .rodata .rodata.* .bss COMMON) }
  . = 0x40100000; .iram : { *(.text .literal) }
}
"""


def sizes(directory: Path, *functions: str, keys: bool = False) -> tuple[int, int, int]:
    """IRAM, DRAM and flash of what an application links that calls these functions of the client."""
    (directory / "rboot-layout.h").write_text(client_header(preset_layout("1MB"), has_keys=keys))
    if keys:
        (directory / "rboot-keys.h").write_text(keys_header([PROD.public, SPARE.public]))
    (directory / "sizes.ld").write_text(SIZES_SCRIPT)
    subprocess.run([*SDK_COMPILER, "-DRBOOT_LAYOUT", "-I.", *CLIENT], cwd=directory, check=True)
    objects = [source.with_suffix(".o").name for source in CLIENT]
    sdk.run_tool(directory, "ar", "rcs", "libota.a", *objects)
    wanted = [option for function in functions for option in ("-u", function)]
    options = ["-T", "sizes.ld", "--unresolved-symbols=ignore-all", "-e", functions[0]]
    sdk.run_tool(directory, "ld", *options, *wanted, "libota.a", "-o", "all.elf")
    listed = subprocess.run(
        ["xtensa-lx106-elf-size", "-A", directory / "all.elf"], capture_output=True, text=True, check=True
    ).stdout
    found = {name: int(size) for name, size, *_ in (line.split() for line in listed.splitlines() if line[:1] == ".")}
    return found.get(".iram", 0), found[".dram"], found[".irom"]


OLD = ("rboot_ota_start", "rboot_ota_check_version", "rboot_ota_switch", "rboot_ota_confirm")
NEW = ("rboot_update_start", "rboot_update_confirm_after_check")


@pytest.mark.parametrize(
    ("row", "functions", "keys"),
    [
        ("the client with its port for the NONOS SDK", OLD, False),
        ("signed updates, built without keys", NEW, False),
        ("signed updates, with 2 keys", NEW, True),
    ],
)
def test_its_size_is_what_the_documentation_says(
    tmp_path: Path, row: str, functions: tuple[str, ...], keys: bool
) -> None:
    """But for what another version of the compiler makes of it."""
    iram, dram, flash = sizes(tmp_path, *functions, keys=keys)
    page = (ROOT / "docs" / "how-to" / "update-client.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    said = [int(number.replace(",", "")) for number in re.findall(r"\| ([0-9,]+)(?: bytes)?", line)]
    assert said == [iram, pytest.approx(dram, rel=0.03), pytest.approx(flash, rel=0.03)]


def test_signed_updates_stay_small(tmp_path: Path) -> None:
    iram, dram, flash = sizes(tmp_path, *NEW, keys=True)
    assert iram == 0
    assert dram < 6_200
    assert flash < 17_900


def test_an_application_without_signed_updates_pays_nothing_for_them(tmp_path: Path) -> None:
    sizes(tmp_path, *OLD)
    symbols = subprocess.run(
        ["xtensa-lx106-elf-nm", tmp_path / "all.elf"], capture_output=True, text=True, check=True
    ).stdout
    linked = {line.split()[-1] for line in symbols.splitlines() if line.split()[-2] not in "Uw"}
    assert "rboot_ota_start" in linked
    assert not {name for name in linked if name.startswith(("rboot_update", "ota_ed25519", "ota_sha512", "ota_store"))}


# On the host, with an SDK that does what its documentation says

NOT_FOUND = b"HTTP/1.1 404 No\r\n\r\n"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("nonos") / "program"
    options = ["-std=c99", *SANITIZERS, "-Wall", "-Wextra", "-Werror", "-D__ets__"]
    sources = [HARNESS / "nonos.c", *CLIENT]
    subprocess.run(
        ["gcc", *options, f"-I{SOURCES}", f"-I{UPDATE_SOURCES}", f"-I{HARNESS / 'sdk'}", *sources, "-o", program],
        check=True,
    )
    return program


@pytest.fixture
def happen(program: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """What comes of all these things, one after the other; what is bytes the server sends."""

    def happen(*things: str | bytes) -> list[str]:
        (tmp_path / "flash").write_bytes(flash())
        arguments = []
        for number, thing in enumerate(things):
            if isinstance(thing, bytes):
                (tmp_path / f"reply{number}").write_bytes(thing)
            arguments.append(f"reply{number}" if isinstance(thing, bytes) else thing)
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "misuse" not in done.stdout
        return done.stdout.splitlines()

    return happen


@pytest.mark.parametrize("ends", [["closed", "run"], ["fire", "fire", "closed", "run"]])  # by the server, by the client
def test_an_update_on_the_sdk(happen: Callable[..., list[str]], tmp_path: Path, ends: list[str]) -> None:
    body = rom(1, "big")
    lines = happen("start", "connected", reply(body), *ends)
    assert lines[:3] == ["connect 80", "start 1", "send 26"]
    assert ("disconnect" in lines) == (ends[0] == "fire")
    assert lines[-1] == "callback 1 done"
    assert (tmp_path / "flash").read_bytes()[0x82000 : 0x82000 + len(body)] == body


def test_a_connection_is_closed_from_a_timer(happen: Callable[..., list[str]]) -> None:
    """The SDK forbids to disconnect in its callbacks."""
    lines = happen("start", "connected", NOT_FOUND, "fire", "fire", "closed", "fire", "start")
    why = "callback 0 HTTP status is not 200"
    assert lines[3:] == ["fire 1", "disconnect", "fire 1", why, "fire 1", "connect 80", "start 1"]


def test_a_connection_that_fails(happen: Callable[..., list[str]]) -> None:
    assert happen("start", "failed", "run")[-1] == "callback 0 no connection to the server"
    assert happen("start", "connected", "failed", "run", "start")[-3:] == [
        "callback 0 connection lost",
        "connect 80",
        "start 1",
    ]


TIMEOUT = ["fire"] * 21
LEFT = [*TIMEOUT, "fire", "fire"]
WHY = "callback 0 timeout: server silent or too slow"


def test_an_attempt_that_is_given_up_does_not_get_in_the_way_of_the_next(happen: Callable[..., list[str]]) -> None:
    """The SDK cannot stop trying: it is disconnected as soon as it has a connection."""
    lines = happen("start", *LEFT, "start", "late", "connected", "fire", "connected", reply(), "closed", "run")
    after = lines[lines.index(WHY) :]
    assert after[:6] == [WHY, "fire 1", "connect 80", "start 1", "disconnect", "fire 1"]
    assert "callback 1 done" in after
    assert after.count("send 26") == 1


@pytest.mark.parametrize("what", [["closed"], ["failed"], ["connected"], ["closed", "late", "closed"], [reply()]])
def test_what_the_sdk_says_late_does_not_reach_the_next(happen: Callable[..., list[str]], what: list[str]) -> None:
    first = ["start", "connected", NOT_FOUND, "fire", "fire", "fire"]
    lines = happen(*first, "start", "late", *what, "connected", reply(), "closed", "run")
    assert lines.count("callback 0 HTTP status is not 200") == 1
    assert lines.count("callback 1 done") == 1


def test_what_comes_twice_counts_once(happen: Callable[..., list[str]]) -> None:
    lines = happen("start", "connected", "connected", NOT_FOUND, "closed", "closed", "failed", "run")
    assert lines.count("send 26") == 1
    assert [line for line in lines if line.startswith("callback")] == ["callback 0 HTTP status is not 200"]


def test_a_close_that_is_never_reported_ends_by_itself(happen: Callable[..., list[str]]) -> None:
    once = ["start", "connected", NOT_FOUND, "run"]
    lines = happen(*once, *once, *once, "start", "connected", reply(), "closed", "run")
    assert lines.count("disconnect") == lines.count("abort") == 3
    assert lines[-1] == "callback 1 done"


def test_an_attempt_that_is_never_reported_ends_by_itself(happen: Callable[..., list[str]]) -> None:
    lines = happen("start", *LEFT, "start", *LEFT, "start", "run", "start")
    place = len(lines) - 1 - lines[::-1].index("start 0")
    assert lines[place + 1 :] == ["abort", "abort", "connect 80", "start 1"]


def test_a_disconnect_that_fails_does_not_block_updates_for_ever(happen: Callable[..., list[str]]) -> None:
    lines = happen("disconnect-fails", *["start", "connected", NOT_FOUND, "run"] * 3, "start")
    assert lines.count("disconnect") == 3
    assert lines[-3:] == ["callback 0 HTTP status is not 200", "connect 80", "start 1"]


ONCE = ["start", "connected", NOT_FOUND]
ENDED = ["closed", "fire"]


def test_what_is_aborted_is_the_sdks_until_its_task_has_reported_it(happen: Callable[..., list[str]]) -> None:
    """Found: a structure was used again, cleared, between espconn_abort and the callback that the SDK's task makes."""
    lines = happen(*ONCE, "fire", "fire", "fire", *ONCE, *ENDED, "fire", "start", "aborted", "start")
    assert lines[lines.index("abort") :] == ["abort", "fire 1", "start 0", "connect 80", "start 1"]


def test_a_close_that_is_in_progress_is_waited_for(happen: Callable[..., list[str]]) -> None:
    """Found: ESPCONN_INPROGRESS was taken for a connection that the SDK does not know."""
    lines = happen("closes", *ONCE, "fire", "fire", "fire", *ONCE, *ENDED, "start", "run", "start")
    assert lines[-4:] == ["start 0", "abort", "connect 80", "start 1"]


def test_a_connection_that_the_sdk_holds_for_ever_is_passed_over(happen: Callable[..., list[str]]) -> None:
    """Found: the SDK refuses a structure that is still in its list, and the port tried that one for ever."""
    lines = happen(
        *ONCE, "lost", "run", *ONCE, "fire", "fire", *ENDED, "start", "start", "connected", reply(), "closed", "run"
    )
    assert lines.count("start 0") == 1
    assert lines[-1] == "callback 1 done"


def test_an_attempt_without_memory_is_the_sdks_until_it_has_ended(happen: Callable[..., list[str]]) -> None:
    """Found: the SDK keeps what it had no memory to send a SYN for, and the port cleared it."""
    lines = happen("no-memory", "start", "start", "run")
    assert lines[:4] == ["connect 80", "start 0", "connect 80", "start 1"]
    assert lines[4] == "disconnect"


def test_an_attempt_without_memory_is_ended_from_a_timer(happen: Callable[..., list[str]]) -> None:
    once = ["no-memory", "start", "fire", "closed"]
    lines = happen(*once, *once, *once, "start", "connected", reply(), "closed", "run")
    assert lines[:12] == ["connect 80", "start 0", "disconnect", "fire 1"] * 3
    assert lines[-1] == "callback 1 done"


def test_an_attempt_without_a_network_leaves_nothing(happen: Callable[..., list[str]]) -> None:
    lines = happen("no-route", "start", "no-route", "start", "fire", "start", "connected", reply(), "closed", "run")
    assert lines[:5] == ["connect 80", "start 0", "connect 80", "start 0", "fire 0"]
    assert lines[-1] == "callback 1 done"


def test_a_request_that_cannot_be_sent_ends_the_connection_from_a_timer(happen: Callable[..., list[str]]) -> None:
    lines = happen("send-fails", "start", "connected", "fire", "fire", "closed", "run")
    assert lines == [
        "connect 80",
        "start 1",
        "send 26",
        "fire 1",
        "disconnect",
        "fire 1",
        "callback 0 connection lost",
    ]


# The names of hosts


def test_a_name_is_resolved_and_a_timer_goes_on(happen: Callable[..., list[str]]) -> None:
    assert happen("update", "updates.example", "fire", "resolved", "fire") == [
        "start 1",
        "resolve updates.example",
        "fire 1",
        "connect 10.0.0.2:80",
        "fire 1",
    ]


def test_a_name_that_the_sdk_knows_already_needs_no_callback(happen: Callable[..., list[str]]) -> None:
    assert "connect 10.0.0.1:80" in happen("known", "update", "updates.example", "fire", "fire")


@pytest.mark.parametrize("answer", [["unknown"], []], ids=["unknown", "no answer"])
def test_a_name_without_an_address(happen: Callable[..., list[str]], answer: list[str]) -> None:
    lines = happen("update", "updates.example", "fire", *answer, "run")
    assert lines[-1] == "result 4 host not found"


def test_a_resolver_that_fails_at_once(happen: Callable[..., list[str]]) -> None:
    assert happen("no-resolver", "update", "updates.example", "run")[-1] == "result 4 host not found"


def test_a_late_answer_about_another_host_is_ignored(happen: Callable[..., list[str]]) -> None:
    lines = happen("update", "old.example", "run", "update", "new.example", "fire", "resolved", "run")
    assert not [line for line in lines if line.startswith("connect")]
    assert lines.count("result 4 host not found") == 2
    lines = happen("update", "old.example", "run", "update", "new.example", "fire", "unknown", "resolved", "fire")
    assert lines[-2:] == ["connect 10.0.0.2:80", "fire 1"]


def test_a_late_answer_about_the_same_host_counts_once(happen: Callable[..., list[str]]) -> None:
    once = ["update", "updates.example", "fire"]
    lines = happen(*once, "run", *once, "resolved", "fire", "failed", "run", "resolved", "run")
    assert lines.count("connect 10.0.0.2:80") == 1


def test_the_last_crash_is_told(happen: Callable[..., list[str]]) -> None:
    for reason, told in ((0, ""), (1, "; reset 1 40201234"), (2, "; reset 2 40201234"), (4, ""), (6, "")):
        lines = happen("crashed", str(reason), "update", "10.0.0.1", "fire", "connected")
        assert f"agent rboot-update/1 (app blink; version 1.0.0; slot 0{told})" in lines
