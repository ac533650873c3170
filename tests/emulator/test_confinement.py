"""What a ROM in the emulator can do to the host: nothing. The ROMs here try."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import chip
from support.project import ROOT, TOOL, Project

from rbootimg.emulator import confinement, qemu, rundir
from rbootimg.emulator.qemu import MASK_ROM, REPORT_SIZE, UART_HEAD, UART_TAIL, BootEnd, BootOptions, boot, machine
from rbootimg.errors import EmulatorError

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

NO_LANDLOCK = [sys.executable, str(ROOT / "tests" / "support" / "no_landlock.py")]

HOST = """
extern int ets_printf(const char *, ...);
extern int uart_tx_one_char(unsigned char);
extern int SPIWrite(unsigned, const void *, unsigned);
extern int SPIEraseSector(unsigned);
static unsigned number_of_error;
static int host(unsigned number, unsigned one, unsigned two, unsigned three, unsigned four)
{
    register unsigned a2 asm("a2") = number;
    register unsigned a3 asm("a3") = one;
    register unsigned a4 asm("a4") = two;
    register unsigned a5 asm("a5") = three;
    register unsigned a6 asm("a6") = four;
    asm volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5), "r"(a6) : "memory");
    number_of_error = a3;
    return a2;
}
#define OPEN(path, flags) host(5, (unsigned)(path), flags, 0600, 0)
"""
O_CREAT, O_DIRECTORY = 0o100, 0o200000


def rom(body: str) -> bytes:
    """A flash whose program does `body`."""
    return chip.flash(chip.compiled(f"{HOST} void call_user_start(void) {{ {body} }}"))


def opens(*tries: tuple[object, int]) -> list[str]:
    """What comes of each open of a path with flags: "refused" or "opened"."""
    calls = (f'ets_printf(OPEN("{path}", {flags}) < 0 ? "refused\\n" : "opened\\n");' for path, flags in tries)
    return answers(boot(rom("".join(calls)), BootOptions(timeout=30)).uart)


def answers(uart: str) -> list[str]:
    """What the program says, between what the mask ROM does."""
    return re.findall("refused|opened", uart)


# Files


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("the user's")
    file.chmod(0o666)
    return file


@pytest.mark.parametrize("flags", [0, 1, 2, O_CREAT | 1, O_CREAT | 2], ids=oct)
def test_no_file_of_the_host_is_opened(secret: Path, flags: int) -> None:
    relative = "../" * 20 + str(secret).lstrip("/")
    paths = [
        secret,
        relative,
        "/etc/hostname",
        "/etc/passwd",
        "/dev/tty",
        "/dev/zero",
        "/dev/null",
        "/dev/kmsg",
        "/usr/bin/env",
    ]
    paths += ["/proc/self/mem", "/proc/self/environ", "/proc/self/maps", f"/proc/{os.getpid()}/environ", "/sys/power"]
    paths += [Path.home() / "made by a ROM", secret.parent / "new", "/tmp/made-by-a-ROM", __file__, sys.executable]
    assert opens(*((path, flags) for path in paths)) == ["refused"] * len(paths)
    assert secret.read_text() == "the user's"
    assert [path for path in paths if "made" in str(path) and os.path.exists(path)] == []


def test_no_directory_is_opened_and_none_of_its_own_files_is_made() -> None:
    tries = [("/", O_DIRECTORY), (".", O_DIRECTORY), ("new", O_CREAT | 1), ("flash/..", 0), ("..", 0)]
    assert opens(*tries) == ["refused"] * len(tries)


def test_its_own_files_and_pipes_are_its_own() -> None:
    tries = [("flash", 2), ("report", 1), ("/dev/stdin", 0), ("/dev/stdout", 1)]
    assert opens(*tries) == ["opened"] * len(tries)


def test_a_link_in_its_directory_leads_nowhere(secret: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "link").symlink_to(secret)
    (directory / "up").symlink_to("..")
    calls = "".join(
        f'ets_printf(OPEN("{path}", 2) < 0 ? "refused\\n" : "opened\\n");' for path in ("link", "up/secret")
    )
    with machine(directory, rom(calls), ["uart-out=/dev/stdout"], ["-serial", "null"]) as qemu:
        qemu.wait(10)
        assert qemu.stdout is not None
        assert answers((qemu.stdout.read() or b"").decode()) == ["refused", "refused"]


def test_the_emulator_has_no_other_calls() -> None:
    known = (1, 3, 4, 5, 6, 19, 29)
    body = "for (unsigned n = 0; n < 1000; n++) if (" + " && ".join(f"n != {number}" for number in known)
    body += ') if (host(n, 1, 1, 1, 1) != -1) ets_printf("%d ", n); ets_printf("none\\n");'
    assert "\nnone\n" in boot(rom(body)).uart.replace("\r", "")


def test_no_variable_of_the_users_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "the user's")
    with machine(tmp_path, rom("for (;;);"), [], ["-serial", "null"]) as qemu:
        names = {word.split(b"=")[0] for word in Path(f"/proc/{qemu.pid}/environ").read_bytes().split(b"\0") if word}
    assert b"PATH" in names
    assert all(name == b"PATH" or name.startswith(b"LD_") for name in names)


# The walls themselves, without QEMU


def test_what_is_confined_reaches_neither_network_nor_processes(tmp_path: Path, secret: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "own").touch()
    (directory / "link").symlink_to(secret)
    name = f"rbootimg-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        tries: dict[str, tuple[int, Callable[[], object]]] = {  # and the ABI from which on it is refused
            "connect": (4, lambda: socket.create_connection(server.getsockname(), 2)),
            "bind": (4, lambda: socket.socket().bind(("127.0.0.1", 0))),
            "abstract": (6, lambda: socket.socket(socket.AF_UNIX).connect("\0" + name)),
            "signal": (6, lambda: os.kill(os.getppid(), 0)),
            "memory": (1, lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)),
            "truncate": (3, lambda: os.truncate(secret, 0)),
            "read": (1, lambda: os.open("link", os.O_RDONLY)),
            "make": (1, lambda: os.open("new", os.O_CREAT | os.O_WRONLY)),
            "symlink": (1, lambda: os.symlink(secret, "another")),
            "directory": (1, lambda: os.mkdir("directory")),
            "remove": (1, lambda: os.unlink("own")),
            "move": (1, lambda: os.rename("own", "other")),
            "list": (1, lambda: os.listdir("/")),
            "own": (999, lambda: os.close(os.open("own", os.O_RDWR | os.O_TRUNC))),
        }

        def attempt() -> None:
            confine()
            for what, (_, action) in tries.items():
                try:
                    action()
                except PermissionError:
                    os.write(1, f"{what} refused\n".encode())
                else:
                    os.write(1, f"{what} done\n".encode())
            os._exit(0)

        with confinement.child_setup(directory, sys.executable, MASK_ROM, 1 << 20) as confine:
            done = subprocess.run(["no"], cwd=directory, preexec_fn=attempt, stdout=subprocess.PIPE, check=True)
    abi = confinement.landlock_abi()
    expected = {what: "refused" if abi >= since else "done" for what, (since, _) in tries.items()}
    assert dict(line.split() for line in done.stdout.decode().splitlines()) == expected
    if abi >= 3:
        assert secret.read_text() == "the user's"


def test_it_confines_from_many_threads_at_once() -> None:
    flash = rom('ets_printf(OPEN("/etc/hostname", 0) < 0 ? "refused\\n" : "opened\\n");')
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: said.extend(answers(boot(flash, BootOptions(timeout=30)).uart)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["refused"] * 12


def test_the_emulator_dies_with_its_parent_and_leaves_no_core(tmp_path: Path) -> None:
    ready = rom('ets_printf("ready"); for (;;);')
    with machine(tmp_path, ready, ["uart-out=/dev/stdout"], ["-serial", "null"]) as qemu:
        assert qemu.stdout is not None
        assert select.select([qemu.stdout], [], [], 30)[0]
        assert resource.prlimit(qemu.pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(qemu.pid, resource.RLIMIT_FSIZE)[0] == REPORT_SIZE + 1
        status = Path(f"/proc/{qemu.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        command = Path(f"/proc/{qemu.pid}/cmdline").read_bytes()
    assert b"setpriv" not in command
    assert qemu.returncode == -signal.SIGKILL


def test_the_emulator_does_not_start_if_the_kernel_rejects_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "_ruleset", lambda *arguments: os.open("/dev/null", os.O_RDONLY))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(EmulatorError, match="cannot confine the emulator: the kernel rejects"):
        boot(rom("for (;;);"))
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_qemu_without_seccomp_is_not_asked_for_it(tmp_path: Path) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_bytes(b"\x7fELF and no such library")
    assert confinement.sandbox(str(qemu)) == ()


# What never ends


def peak() -> int:
    """The memory of this process in bytes."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]


def test_a_uart_without_end_is_kept_in_bounds() -> None:
    body = (
        "static char text[65536]; for (unsigned i = 0; i < sizeof text; i++) text[i] = i % 64 == 63 ? 10 : 65 + i % 26;"
    )
    body += (
        'ets_printf("the start\\n"); int out = OPEN("/dev/stdout", 1); for (;;) host(4, out, (unsigned)text, 65536, 0);'
    )
    before = peak()
    seen = 0

    def count(data: bytes) -> None:
        nonlocal seen
        seen += len(data)

    result = boot(rom(body), BootOptions(timeout=2), on_uart=count)
    assert result.ended == BootEnd.TIMEOUT
    assert seen > 4 * UART_TAIL
    assert "the start\n" in result.uart[:1000]
    omitted = int(re.findall(r"^\[([\d,]+) bytes omitted\]$", result.uart, re.MULTILINE)[0].replace(",", ""))
    note = len(f"\n[{omitted:,} bytes omitted]\n")
    assert len(result.uart) - note + omitted == seen
    assert len(result.uart) <= UART_HEAD + 2 * UART_TAIL + note
    assert peak() - before < 40 << 20


def test_the_expected_text_and_the_rom_are_found_in_omitted_output() -> None:
    body = "static char text[65536]; for (unsigned i = 0; i < sizeof text; i++) text[i] = i % 64 == 63 ? 10 : 65;"
    body += 'ets_printf("Booting rom 3 at\\n"); int out = OPEN("/dev/stdout", 1);'
    body += "for (int i = 0; i < 10; i++) host(4, out, (unsigned)text, 65536, 0);"
    body += 'ets_printf("Booting rom 2 at\\n");'
    body += "for (int i = 0; i < 99; i++) host(4, out, (unsigned)text, 65536, 0);"
    body += (
        'ets_printf("and now "); for (int i = 0; i < 5000000; i++) asm volatile(""); ets_printf("the end"); for (;;);'
    )
    result = boot(rom(body), BootOptions(until="and now the end", timeout=30))
    assert (result.ended, result.rom) == (BootEnd.UNTIL, 2)
    assert result.uart.endswith("and now the end")


def test_the_rom_is_found_at_the_start_of_omitted_output() -> None:
    body = "static char text[65536]; for (unsigned i = 0; i < sizeof text; i++) text[i] = i % 64 == 63 ? 10 : 65;"
    body += 'ets_printf("Booting rom 1 at\\n"); int out = OPEN("/dev/stdout", 1);'
    body += "for (int i = 0; i < 99; i++) host(4, out, (unsigned)text, 65536, 0);"
    body += 'ets_printf("the end"); for (;;);'
    result = boot(rom(body), BootOptions(until="the end", timeout=30))
    assert (result.ended, result.rom) == (BootEnd.UNTIL, 1)


ENDLESS = {
    "erases": "for (;;) SPIEraseSector(5);",
    "a report": 'int r = OPEN("report", 1); for (;;) host(4, r, 0x3FFE8000, 0x10000, 0);',
}


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_files_that_grow_without_end_are_one_line(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(qemu, "REPORT_SIZE", 0x8000)  # or it takes 10 s
    with pytest.raises(EmulatorError) as error:
        boot(rom(body), BootOptions(timeout=120))
    assert str(error.value).startswith("too many writes and erases: the report is longer than 4 MB")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["uart", "flash"])
def test_no_other_file_grows_without_end(name: str, tmp_path: Path) -> None:
    body = f'static char text[65536]; int f = OPEN("{name}", 1); host(19, f, 0, 2, 0);'
    body += 'while (host(4, f, (unsigned)text, 65536, 0) > 0); ets_printf("full\\n"); for (;;);'
    options = ["-serial", "file:uart"]
    with machine(tmp_path, rom(body), ["uart-out=/dev/stdout"], options) as qemu:
        said = b""
        while b"full" not in said:
            assert qemu.stdout is not None
            assert select.select([qemu.stdout], [], [], 30)[0]
            said += os.read(qemu.stdout.fileno(), 100)
    assert (tmp_path / name).stat().st_size == REPORT_SIZE + 1


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/stdout"])
def test_a_rom_at_the_other_end_of_the_pipes_does_not_make_us_wait(path: str) -> None:
    # It fills what we write to, and reads what we would read.
    body = f'static char text[65536]; int f = OPEN("{path}", 2); '
    body += "for (;;) { host(4, f, (unsigned)text, 4096, 0); host(3, f, (unsigned)text, 4000, 0); }"
    start = time.monotonic()
    result = boot(rom(body), BootOptions(timeout=1, uart_input=b"x" * 100000))
    assert result.ended == BootEnd.TIMEOUT
    assert time.monotonic() - start < 5


# Directories of killed runs


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_next_run_removes_what_a_killed_one_left(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    flash = tmp_path_factory.mktemp("flash") / "flash"
    flash.write_bytes(rom('ets_printf("ready\\n"); for (;;);'))
    code = "import sys, pathlib; from rbootimg.emulator.qemu import BootOptions, boot\n"
    code += "flash = pathlib.Path(sys.argv[1]).read_bytes()\n"
    code += "boot(flash, BootOptions(timeout=60), on_uart=lambda text: print(text, flush=True))"
    environment = {**os.environ, "TMPDIR": str(base)}
    with subprocess.Popen([sys.executable, "-c", code, flash], stdout=subprocess.PIPE, env=environment) as python:
        assert python.stdout is not None
        python.stdout.readline()
        (left,) = base.iterdir()
        with rundir.run_directory() as other:
            assert left.exists(), "it is in use"
        assert not other.exists()
        python.kill()
    assert left.exists()
    with rundir.run_directory() as directory:
        assert list(base.iterdir()) == [directory]


def test_only_run_directories_are_removed(base: Path, secret: Path) -> None:
    (base / "rbootimg-run-file").write_text("a file")
    (base / "elsewhere").mkdir()
    (base / "elsewhere" / "kept").touch()
    (base / "rbootimg-run-link").symlink_to("elsewhere")
    (base / "rbootimg-other").mkdir()
    ours = base / "rbootimg-run-ours"
    ours.mkdir()
    (ours / "link").symlink_to(secret.parent / "elsewhere")
    rundir.sweep(str(base))
    assert sorted(path.name for path in base.iterdir()) == [
        *("elsewhere", "rbootimg-other", "rbootimg-run-file", "rbootimg-run-link", "secret")
    ]
    assert (base / "elsewhere" / "kept").exists()


def test_a_directory_of_another_user_is_left_alone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "rbootimg-run-theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    rundir.sweep(str(base))
    assert (base / "rbootimg-run-theirs").exists()


def test_a_directory_that_is_swept_before_it_is_locked_is_made_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = tempfile.mkdtemp

    def swept_at_once(**options: str) -> str:
        made.append(real(**options))
        if len(made) == 1:
            rundir.sweep(str(base))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_once)
    with rundir.run_directory() as directory:
        assert directory.is_dir()
        assert len(made) == 2
        lock = os.open(directory, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)


# Kernels that cannot, and RBOOT_CONFINE


@pytest.fixture
def flash_file(tmp_path: Path) -> Path:
    file = tmp_path / "flash.bin"
    file.write_bytes(rom('ets_printf("Booting rom 0\\n");'))
    return file


def run(*command: object, choice: str | None = None, landlock: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RBOOT_CONFINE"}
    if choice is not None:
        environment["RBOOT_CONFINE"] = choice
    start = [] if landlock else NO_LANDLOCK
    words = [*start, sys.executable, "-m", "rbootimg", *map(str, command)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("choice", [None, "", "auto", "always"])
def test_boot_is_confined_without_a_message(flash_file: Path, choice: str | None) -> None:
    done = run("boot", flash_file, choice=choice)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_landlock_boot_warns_in_one_line(flash_file: Path) -> None:
    done = run("boot", flash_file, landlock=False)
    assert done.returncode == 0
    assert done.stderr == f"rbootimg: warning: {confinement.WARNING}\n"
    assert "ended       application returned" in done.stdout


def test_without_landlock_always_refuses(flash_file: Path) -> None:
    done = run("boot", flash_file, choice="always", landlock=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"rbootimg: {flash_file}: cannot confine the emulator: the kernel lacks Landlock")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("boot",), ("prove", "--layout", "1MB", "--elf", "no.elf")])
def test_an_invalid_choice_is_one_line(command: tuple[str, ...], flash_file: Path) -> None:
    done = run(command[0], flash_file, *command[1:], choice="never")
    assert done.returncode == 1
    assert done.stderr == "rbootimg: RBOOT_CONFINE: invalid value 'never': expected auto or always\n"


def scons(project: Project, *arguments: str, landlock: bool = True, **variables: str) -> tuple[int, str, str]:
    start = [] if landlock else NO_LANDLOCK
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("RBOOT")}
    done = subprocess.run(
        [*start, sys.executable, "-m", "SCons", "-Q", *arguments],
        cwd=project.directory,
        env={**surroundings, **variables},
        input="\x03",  # Ctrl-C ends a boot
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_scons_confines_proofs_and_boots_too(project: Project) -> None:
    project.write(
        "SConstruct",
        f"env = Environment({TOOL})\nroms = env.RbootApp('app', 'main.c')\n"
        "env.RbootApp('other', 'main.c')\nenv.RbootFlashImage('flash.bin', roms)\n",
    )
    status, _, err = scons(project, "RBOOT_CONFINE=always", "prove", landlock=False)
    assert status == 2
    assert "cannot confine the emulator: the kernel lacks Landlock" in err
    status, _, err = scons(project, "prove", landlock=False, RBOOT_CONFINE="always")
    assert status == 2, "the shell's variable counts too"
    status, _, err = scons(project, "prove", "boot", landlock=False)
    assert (status, err) == (0, f"rboot: warning: {confinement.WARNING}\n")
    scons(project, "-c")
    assert scons(project, "RBOOT_CONFINE=always", "prove", "boot")[::2] == (0, "")
    status, _, err = scons(project, "RBOOT_CONFINE=never", "boot")
    assert status == 2
    assert "RBOOT_CONFINE: invalid value 'never': expected auto or always" in err
