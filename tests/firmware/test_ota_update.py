"""The client's parser for update files, on the host with the sanitizers: it accepts what the one in Python accepts."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ota_host
from support.updates import CHANGES, FULL, MINIMAL, TEXT, changed, updates

from rbootimg.errors import ManifestError
from rbootimg.release.update import ROLLOUT_ALL, Update, parse_update

OWN_VERSION, SLOT = "1.2.9", 1  # of tests/ota/update.c

Ask = Callable[[bytes], str]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks the client's parser."""
    program = tmp_path_factory.mktemp("update") / "program"
    sources = [ota_host.HARNESS / "update.c", *(ota_host.SOURCES / name for name in ("ota_update.c", "ota_version.c"))]
    command = ["gcc", *ota_host.STRICT, *ota_host.SANITIZERS, f"-I{ota_host.SOURCES}", *sources, "-o", program]
    subprocess.run(command, check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout

        def answer(data: bytes) -> str:
            process.stdin.write(len(data).to_bytes(4, "little") + data)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return process.stdout.readline().decode().rstrip("\n")  # type: ignore[union-attr]

        yield answer
        process.stdin.close()
        assert process.wait(10) == 0


def expected(data: bytes) -> str:
    """What the client should print, by the parser in Python."""
    try:
        update = parse_update(data)
    except ManifestError:
        return "refused"
    return described(update)


def described(update: Update) -> str:
    rollout = ROLLOUT_ALL if update.rollout is None else update.rollout
    withdrawn = int(OWN_VERSION in update.withdrawn)
    words = [update.app, update.device, update.version, update.serial, rollout, withdrawn]
    for rom in update.roms:
        if rom.slot == SLOT:
            words += [f"{rom.flash_address:x}", f"{rom.slot_size:x}", rom.size, rom.sha256]
    return " ".join(map(str, words))


def test_it_reads_what_is_written(ask: Ask) -> None:
    assert ask(MINIMAL.to_bytes()) == described(MINIMAL)
    assert ask(TEXT.encode()) == described(FULL)
    assert described(FULL).startswith("blink esp8266 1.3.0 17 2500 1 82000 79000 450704 ")


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_it_refuses_any_other_form(old: str, new: str, ask: Ask) -> None:
    assert ask(changed(old, new)) == "refused"


@given(update=updates)
@settings(deadline=None)
def test_both_read_the_same(update: Update, ask: Ask) -> None:
    assert ask(update.to_bytes()) == described(update)


def test_they_agree_on_each_file_with_one_byte_changed_or_without_its_end(ask: Ask) -> None:
    data = FULL.to_bytes()
    for at in range(len(data)):
        for byte in (0, 9, 10, 13, 32, 43, 45, 46, 48, 57, 97, 103, 127, 255, data[at] ^ 1, data[at] ^ 0x20):
            other = data[:at] + bytes([byte]) + data[at + 1 :]
            assert ask(other) == expected(other)
        assert ask(data[:at]) == "refused"


pieces = st.sampled_from([f"{line}\n" for line in TEXT.splitlines()]) | st.sampled_from(
    ["withdrawn 1.2.3\n", "rollout 0\n", "rom 7 0 0 0 ", "delta ", "end\n", "app ", " ", "\n", "0", "1.2.9", "a" * 64]
)


@given(text=st.lists(pieces, max_size=16).map("".join))
@settings(deadline=None, max_examples=500)
def test_they_agree_on_lines_in_any_order(text: str, ask: Ask) -> None:
    assert ask(text.encode()) == expected(text.encode())


@given(update=updates, data=st.data())
@settings(deadline=None, max_examples=500)
def test_they_agree_on_files_with_changes(update: Update, data: st.DataObject, ask: Ask) -> None:
    text = bytearray(update.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        with contextlib.suppress(IndexError):
            match data.draw(st.integers(0, 2)):
                case 0:
                    text[at] = data.draw(st.integers(0, 255))
                case 1:
                    text.insert(at, data.draw(st.sampled_from(b"0123456789abcdefAZ-+. \n\0")))
                case _:
                    del text[at]
    assert ask(bytes(text)) == expected(bytes(text))
