"""Ed25519 on the chip: the right verdict on every signature, within what the chip has of flash, stack and time."""

from __future__ import annotations

import hashlib
import operator
import random
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from support import chip, ota_device
from support.ed25519 import (
    CHIP_SOURCES,
    INCLUDES,
    NEUTRAL,
    ORDER,
    SIGN,
    SMALL_ORDER_ENCODINGS,
    SMALL_ORDER_POINTS,
    Case,
    P,
    altered_cases,
    build_host_program,
    decode,
    forge,
    new_signer,
    openssl_accepts,
    refusal,
    run_host_program,
    vectors,
    verify,
)
from support.ota_host import HARNESS, SANITIZERS, SDK_COMPILER

from rbootimg.emulator.qemu import machine
from rbootimg.layout.model import LoaderOptions
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack

pytestmark = pytest.mark.needs("gcc", "xtensa-lx106-elf-gcc", "qemu-system-xtensa")

VECTORS = vectors()
RFC_2, RFC_1024 = VECTORS[1].case, VECTORS[3].case


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_host_program(tmp_path_factory.mktemp("fast"), "-O2")


@pytest.fixture(scope="module")
def checked_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under the sanitizers."""
    return build_host_program(tmp_path_factory.mktemp("checked"), *SANITIZERS, "-O2")


# Verdicts


def test_the_vectors_of_rfc_8032_and_wycheproof_have_their_verdicts(checked_program: Path) -> None:
    verdicts = verify(checked_program, [vector.case for vector in VECTORS])
    wrong = [vector.name for vector, is_valid in zip(VECTORS, verdicts) if is_valid != vector.is_valid]
    assert not wrong
    assert len(VECTORS) == 5 + 139


def test_verdicts_are_those_of_openssl_but_for_what_is_refused_on_purpose(program: Path) -> None:
    cases = list(altered_cases(3000, seed=1))
    accepted = [case for case in cases if openssl_accepts(case)]
    reasons = {case: refusal(case) for case in accepted}
    assert set(reasons.values()) == {None, "key not canonical", "key of small order", "R of small order"}
    for case, is_valid in zip(cases, verify(program, cases)):
        assert is_valid == (case in reasons and reasons[case] is None), case


@pytest.mark.parametrize("part", ["key", "signature", "message"])
def test_each_bit_counts(program: Path, part: str) -> None:
    data = getattr(VECTORS[4].case, part)
    number = int.from_bytes(data, "little")
    changed = [(number ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]
    assert not any(verify(program, [VECTORS[4].case._replace(**{part: each}) for each in changed]))


def test_with_a_key_of_small_order_nobody_can_forge(program: Path) -> None:
    """Each forged signature is one that OpenSSL accepts."""
    assert len(set(SMALL_ORDER_POINTS)) == 8
    forged = [forge(key, s, b"a forged release") for key in SMALL_ORDER_ENCODINGS for s in (0, 1, 12345)]
    assert all(map(openssl_accepts, forged))
    assert not any(verify(program, forged))


def test_with_a_key_that_was_never_set_nobody_can_forge(program: Path) -> None:
    signatures = [bytes(64), *(point + bytes(32) for point in SMALL_ORDER_ENCODINGS)]
    assert not any(verify(program, [Case(bytes(32), each, b"%d" % i) for each in signatures for i in range(8)]))


def test_a_signer_cannot_make_signatures_with_r_of_small_order(program: Path) -> None:
    signer = new_signer(0x123456789)
    made = [signer.sign(0, NEUTRAL, b"%d" % number) for number in range(3)]
    assert all(map(openssl_accepts, made))
    assert not any(verify(program, made))


def test_a_key_with_a_part_of_small_order_gets_the_verdicts_of_openssl(program: Path) -> None:
    """They depend on the message: the equation is the one without the cofactor, and k is reduced modulo L."""
    for torsion in SMALL_ORDER_POINTS[1:]:
        signer = new_signer(0x123456789, torsion)
        made = [signer.sign(7, other, b"%d" % number) for number in range(12) for other in (NEUTRAL, torsion)]
        verdicts = verify(program, made)
        assert verdicts == [openssl_accepts(case) for case in made]
        assert any(verdicts)
        assert not all(verdicts)


# Parts


def test_a_key_with_a_y_of_p_or_more_is_not_decoded(checked_program: Path) -> None:
    """Tested apart from signatures, as nobody can make one for such a key, unless its order is small."""
    encodings = [
        (number + sign).to_bytes(32, "little") for number in (*range(100), *range(P - 100, SIGN)) for sign in (0, SIGN)
    ]
    assert sum(decode(each) is not None for each in encodings[-2 * 19 :]) > 10
    canonical = [decode(each) is not None and int.from_bytes(each, "little") % SIGN < P for each in encodings]
    decoded = run_host_program(checked_program, (f"decode {each.hex()}" for each in encodings))
    assert [line == "1" for line in decoded] == canonical


LARGEST = (0x1FFF + 3 * 608, *[0x1FFF] * 19)
"""The largest limbs that an argument or a result may have."""


def limbs_of(number: int) -> list[int]:
    return [*(number >> 13 * place & 0x1FFF for place in range(19)), min(number >> 13 * 19, 0x1FFF)]


def number_of(limbs: Sequence[int]) -> int:
    return sum(limb << 13 * place for place, limb in enumerate(limbs))


@pytest.mark.parametrize("operation", [operator.mul, operator.add, operator.sub])
def test_field_elements_of_any_limbs_are_calculated_with(
    checked_program: Path, operation: Callable[[int, int], int]
) -> None:
    """No sum overflows, and results have no larger limbs than arguments may have."""
    chance = random.Random(1)
    elements = [[*LARGEST], [0] * 20, limbs_of(1)]
    elements += [[*LARGEST[:place], *[0] * (20 - place)] for place in range(1, 20)]
    elements += [[*[0] * place, *LARGEST[place:]] for place in range(1, 20)]
    elements += [[chance.randrange(limb + 1) for limb in LARGEST] for _ in range(60)]
    elements += [[chance.choice((0, limb)) for limb in LARGEST] for _ in range(60)]
    elements += [limbs_of(max(multiple * P + more, 0)) for multiple in range(33) for more in (-2, -1, 0, 1, 18, 19, 20)]
    pairs = [(one, other) for one in elements[:4] for other in elements]
    pairs += [(one, chance.choice(elements)) for one in elements]
    commands = [
        " ".join([operation.__name__, *(struct.pack("<20H", *limbs).hex() for limbs in pair)]) for pair in pairs
    ]
    for pair, line in zip(pairs, run_host_program(checked_program, commands), strict=True):
        *limbs, packed = line.split()
        result = [int(limb) for limb in limbs]
        expected = operation(*map(number_of, pair)) % P
        assert number_of(result) % P == int.from_bytes(bytes.fromhex(packed), "little") == expected, pair
        assert all(limb <= largest for limb, largest in zip(result, LARGEST)), pair


def test_sha_512_of_messages_of_any_length(checked_program: Path) -> None:
    messages = [bytes(range(256)) * 5, *(random.Random(size).randbytes(size) for size in range(300))]
    digests = run_host_program(checked_program, (f"sha512 {message.hex() or '-'}" for message in messages))
    assert digests == [hashlib.sha512(message).hexdigest() for message in messages]


# What it takes of the chip

OBJECTS = ("ota_ed25519.o", "ota_sha512.o", "ota_sha512_constants.o")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the objects, compiled as for the NONOS SDK."""
    directory = tmp_path_factory.mktemp("objects")
    subprocess.run([*SDK_COMPILER, *CHIP_SOURCES], cwd=directory, check=True)
    return directory


def tool(name: str, *arguments: str, directory: Path) -> str:
    command = [f"xtensa-lx106-elf-{name}", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("standard", ["gnu89", "c99", "gnu17"])
def test_it_compiles_without_a_warning(tmp_path: Path, standard: str) -> None:
    sources = CHIP_SOURCES
    command = [*SDK_COMPILER, f"-std={standard}", *map(str, sources)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_takes_less_than_6_kb_of_flash_and_no_other_memory(objects: Path) -> None:
    sizes: dict[str, int] = {}
    for line in tool("size", "-A", *OBJECTS, directory=objects).splitlines():
        if line.startswith("."):
            section, size, *_ = line.split()
            sizes[section] = sizes.get(section, 0) + int(size)
    assert 4000 < sum(size for section, size in sizes.items() if section.startswith(".irom")) < 5500
    ram = (".text", ".data", ".rodata", ".bss", ".literal")
    assert not [section for section, size in sizes.items() if section.startswith(ram) and size]


def test_it_needs_no_library(objects: Path) -> None:
    """Not for 64-bit numbers either; what it needs is in the mask ROM."""
    tool("ld", "-r", "-o", "all", *OBJECTS, directory=objects)
    undefined = {line.split()[-1] for line in tool("nm", "-u", "all", directory=objects).splitlines()}
    assert undefined <= {"memcpy", "memset"}


def test_what_is_read_from_the_flash_is_read_in_words(objects: Path) -> None:
    """Loads of bytes from there are an exception on the chip, but not in the emulator."""
    for source in CHIP_SOURCES:
        constants = re.findall(r"(\w+) \w+\[\w+\] ICACHE_RODATA_ATTR", source.read_text())
        assert set(constants) <= {"uint32", "ota_uint64"}, source.name
        assert len(constants) == source.read_text().count("ICACHE_RODATA_ATTR")
    for name, functions in {
        "ota_ed25519.o": ["is_below", "reduce", "unpack"],
        "ota_sha512.o": ["add_block", "ota_sha512_init"],
    }.items():
        for function in functions:
            code = tool("objdump", "-d", "-j", ".irom0.text", f"--disassemble={function}", name, directory=objects)
            assert re.search(r"\bl32i", code), function
            assert not re.search(r"\b(l8ui|l16ui|l16si)\b", code), function


class Run(NamedTuple):
    """One verification in the emulator: instructions, the longest time between calls of idle, and bytes of stack."""

    is_valid: bool
    instructions: float
    longest_stretch: float
    stack: int


CHIP_CASES = """
#include "rboot-types.h"
static const struct test_case {{ const uint8 *key, *signature, *message; uint32 size; }} CASES[] = {{ {} }};
"""
LOOP_INSTRUCTIONS = 2_000_000
"""The instructions of the harness's loop, by which ticks are converted."""


def run_in_emulator(cases: Sequence[Case]) -> list[Run]:
    def c_bytes(data: bytes) -> str:
        return '(const uint8 *)"' + "".join(f"\\{byte:03o}" for byte in data) + '"'

    rows = (f"{{{', '.join(map(c_bytes, case))}, {len(case.message)}}}" for case in cases)
    source = CHIP_CASES.format(", ".join(rows)) + (HARNESS / "ed25519_chip.c").read_text()
    built = chip.compiled(source, *map(str, CHIP_SOURCES), *INCLUDES)
    flash = ota_device.flash(ota_device.loader(LoaderOptions()), {0: pack(parse_elf(built)).to_bytes()})
    settings = ["resets=0", "uart-in=/dev/stdin", "uart-out=/dev/stdout"]
    with tempfile.TemporaryDirectory() as directory:
        # With -icount the virtual time, and so CCOUNT, is the number of instructions.
        with machine(Path(directory), flash, settings, ["-serial", "null", "-icount", "shift=0"]) as qemu:
            assert qemu.stdout is not None
            qemu.wait(120)
            output = (qemu.stdout.read() or b"").decode()
        assert "\nend done" in (Path(directory) / "report").read_text(), output
    (calibration,) = re.findall(r"^calibration (\d+)$", output, re.MULTILINE)
    tick = LOOP_INSTRUCTIONS / int(calibration)
    return [
        Run(verdict == "1", int(ticks) * tick, int(stretch) * tick, int(stack))
        for verdict, ticks, stretch, stack in re.findall(r"^case (\d) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    ]


def chosen_cases() -> list[tuple[bool, Case]]:
    """Vectors of each kind, and signatures that are refused at each place where the code can return."""
    by_kind: dict[str, list[tuple[bool, Case]]] = {}
    for vector in VECTORS:
        kind = re.sub(r"\d+", "", vector.name) if vector.name.startswith("Wycheproof") else vector.name
        by_kind.setdefault(kind, []).append((vector.is_valid, vector.case))
    chosen = [case for cases in by_kind.values() for case in cases[:3]]
    case = RFC_2
    s = int.from_bytes(case.signature[32:], "little")
    refused = [
        case._replace(signature=case.signature[:32] + (s + ORDER).to_bytes(32, "little")),
        case._replace(key=(2).to_bytes(32, "little")),  # no point
        case._replace(key=(P + 3).to_bytes(32, "little")),
        case._replace(key=b"\xff" * 32),
        case._replace(message=b"\xff" * 1024),
        new_signer(5).sign(0, NEUTRAL, b"R of small order"),
        *(forge(key, 1, b"") for key in SMALL_ORDER_ENCODINGS[:8:3]),
    ]
    return [*chosen, *((False, each) for each in refused)]


ChipRuns = list[tuple[bool, Case, Run]]
"""Each with the verdict that it must have."""


@pytest.fixture(scope="module")
def chip_runs() -> ChipRuns:
    """All in one boot."""
    chosen = chosen_cases()
    runs = run_in_emulator([case for _, case in chosen])
    assert len(runs) == len(chosen) > 30
    return [(is_valid, case, run) for (is_valid, case), run in zip(chosen, runs)]


def test_the_emulator_has_the_same_verdicts(chip_runs: ChipRuns) -> None:
    assert [run.is_valid for _, _, run in chip_runs] == [is_valid for is_valid, _, _ in chip_runs]


def test_a_verification_takes_at_most_1_5_kb_of_stack(chip_runs: ChipRuns) -> None:
    """Also of a signature that is not valid."""
    assert 1000 < max(run.stack for _, _, run in chip_runs) < 1400


def test_a_verification_of_1_kb_takes_less_than_18_million_instructions(
    chip_runs: ChipRuns,
) -> None:
    """Which is 225 ms at 80 MHz and one cycle each; the limit is 32 million."""
    assert max(run.instructions for _, _, run in chip_runs) < 18e6
    (longest,) = (run.instructions for _, case, run in chip_runs if case == RFC_1024)
    assert longest > 10e6, "the measurement counts"


def test_the_watchdog_is_fed_at_least_every_50_ms(chip_runs: ChipRuns) -> None:
    assert 0.5e6 < max(run.longest_stretch for _, _, run in chip_runs) < 0.05 * 80e6 / 2
