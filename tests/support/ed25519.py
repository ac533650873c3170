"""Ed25519 for the tests: the chip's code on the host, the curve's arithmetic, vectors, and altered signatures.

The arithmetic is that of RFC 8032, section 5.1, written for clarity and not for speed.
"""

from __future__ import annotations

import csv
import hashlib
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from support.ota_host import HARNESS, SOURCES, STRICT, UPDATE_SOURCES
from support.project import VECTORS

CHIP_SOURCES = tuple(UPDATE_SOURCES / name for name in ("ota_ed25519.c", "ota_sha512.c", "ota_sha512_constants.c"))
INCLUDES = (f"-I{UPDATE_SOURCES}", f"-I{SOURCES}")

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SIGN = 1 << 255
"""The bit of an encoding that is the sign of x."""


class Case(NamedTuple):
    key: bytes
    signature: bytes
    message: bytes


class Vector(NamedTuple):
    name: str
    is_valid: bool
    case: Case


def vectors() -> list[Vector]:
    """The vectors of RFC 8032 and of Wycheproof."""
    with open(VECTORS / "ed25519.tsv", newline="") as file:
        rows = list(csv.DictReader((line for line in file if line[0] != "#"), delimiter="\t"))
    return [
        Vector(
            row["name"],
            row["verdict"] == "valid",
            Case(*(bytes.fromhex(row[column]) for column in ("key", "signature", "message"))),
        )
        for row in rows
    ]


# The chip's implementation


def build_host_program(directory: Path, *options: str) -> Path:
    program = directory / "ed25519"
    sources = [HARNESS / "ed25519.c", *CHIP_SOURCES[1:]]
    command = ["gcc", *STRICT, *options, *INCLUDES, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run_host_program(program: Path, commands: Iterable[str]) -> list[str]:
    """The line that each command leads to. Fails on any finding of a sanitizer."""
    done = subprocess.run([program], input="\n".join(commands), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def verify(program: Path, cases: Sequence[Case]) -> list[bool]:
    lines = run_host_program(
        program, (f"verify {key.hex()} {sig.hex()} {text.hex() or '-'}" for key, sig, text in cases)
    )
    assert len(lines) == len(cases)
    return [line == "1" for line in lines]


def openssl_accepts(case: Case) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(case.key).verify(case.signature, case.message)
    except InvalidSignature:
        return False
    return True


# The curve

Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def multiply(factor: int, point: Point) -> Point:
    result = NEUTRAL
    for bit in f"{factor:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def encode(point: Point) -> bytes:
    x, y = point
    return (y + (x & 1) * SIGN).to_bytes(32, "little")


def decode(encoding: bytes) -> Point | None:
    """The point, also of an encoding that is not canonical; None if there is none."""
    number = int.from_bytes(encoding, "little")
    y = number % SIGN % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (x if x & 1 == number >> 255 else -x % P), y


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or NEUTRAL


def _small_order_points() -> tuple[Point, ...]:
    """The 8 points whose order divides 8."""
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            eighth = multiply(ORDER, point)
            if multiply(4, eighth) != NEUTRAL:
                return tuple(multiply(factor, eighth) for factor in range(8))
    raise AssertionError


SMALL_ORDER_POINTS = _small_order_points()
SMALL_ORDER_ENCODINGS = tuple(
    encoding
    for y in sorted({y for _, y in SMALL_ORDER_POINTS})
    for number in (y, y + P)
    for encoding in ((number + sign).to_bytes(32, "little") for sign in (0, SIGN) if number < SIGN)
)
"""All encodings of these points: 8 canonical ones, those with y + p, and those of x = 0 with the sign bit."""


def refusal(case: Case) -> str | None:
    """Why this signature is refused on purpose, whatever OpenSSL says; None if it is not."""
    if int.from_bytes(case.key, "little") % SIGN >= P:
        return "key not canonical"
    if decode(case.key) in SMALL_ORDER_POINTS:
        return "key of small order"
    if decode(case.signature[:32]) in SMALL_ORDER_POINTS:
        return "R of small order"
    return None


def hash_number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def forge(key: bytes, s: int, message: bytes) -> Case:
    """A signature for a key of small order, made without any secret: R is S B minus what k A is for the right k."""
    point = decode(key)
    assert point is not None
    (x, y), base = point, multiply(s, BASE)
    for factor in range(8):
        r = encode(add(base, multiply(factor, (-x % P, y))))
        if (hash_number(r, key, message) % ORDER - factor) % 8 == 0:
            return Case(key, r + s.to_bytes(32, "little"), message)
    return forge(key, s + 1, message)


class Signer(NamedTuple):
    """A key whose owner can also make signatures that no honest signer makes."""

    secret: int
    key: bytes

    def sign(self, r: int, torsion: Point, message: bytes) -> Case:
        """A signature with R = r B + torsion."""
        encoding = encode(add(multiply(r, BASE), torsion))
        s = (r + hash_number(encoding, self.key, message) * self.secret) % ORDER
        return Case(self.key, encoding + s.to_bytes(32, "little"), message)


def new_signer(secret: int, torsion: Point = NEUTRAL) -> Signer:
    """The signer with A = secret B + torsion."""
    return Signer(secret, encode(add(multiply(secret, BASE), torsion)))


# Altered signatures

_KEYS = 8


def altered_cases(count: int, seed: int) -> Iterator[Case]:
    """Signatures of which most are altered, each in a way chosen at random."""
    chance = random.Random(seed)
    keys = [Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)) for _ in range(_KEYS)]
    signers = [new_signer(chance.randrange(1, ORDER), torsion) for torsion in SMALL_ORDER_POINTS]

    def honest() -> Case:
        key, message = chance.choice(keys), chance.randbytes(chance.randrange(300))
        return Case(key.public_key().public_bytes_raw(), key.sign(message), message)

    for _ in range(count):
        # The last ones take longer, as they calculate points.
        (way,) = chance.choices(_WAYS, [1] * (len(_WAYS) - 2) + [0.2, 0.2])
        yield way(chance, honest(), chance.choice(signers))


def _flip(chance: random.Random, data: bytes) -> bytes:
    bit = chance.randrange(8 * len(data))
    return (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")


def _with_s(case: Case, s: int) -> Case:
    return case._replace(signature=case.signature[:32] + s.to_bytes(32, "little"))


def _s(case: Case) -> int:
    return int.from_bytes(case.signature[32:], "little")


def _with_r(case: Case, r: bytes) -> Case:
    return case._replace(signature=r + case.signature[32:])


def _small(chance: random.Random) -> bytes:
    return chance.choice(SMALL_ORDER_ENCODINGS)


def _not_canonical(chance: random.Random) -> bytes:
    return (P + chance.randrange(19) + chance.choice((0, SIGN))).to_bytes(32, "little")


def _zero_bytes(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    end = chance.randrange(start, len(data)) + 1
    return data[:start] + bytes(end - start) + data[end:]


Way = Callable[[random.Random, Case, Signer], Case]
_WAYS: tuple[Way, ...] = (
    lambda chance, case, _: case,
    lambda chance, case, _: case._replace(signature=_flip(chance, case.signature)),
    lambda chance, case, _: case._replace(key=_flip(chance, case.key)),
    lambda chance, case, _: case._replace(message=_flip(chance, case.message + b"?")),
    lambda chance, case, _: case._replace(message=case.message[: chance.randrange(len(case.message) + 1)]),
    lambda chance, case, _: _with_s(case, _s(case) + chance.randrange(1, 15) * ORDER),
    lambda chance, case, _: _with_s(
        case, chance.choice((0, 1, ORDER - 1, ORDER, ORDER + 1, 2**252, 2**253 - 1, 2**256 - 1))
    ),
    lambda chance, case, _: _with_s(case, -_s(case) % ORDER),
    lambda chance, case, _: case._replace(signature=_zero_bytes(chance, case.signature)),
    lambda chance, case, _: case._replace(key=_zero_bytes(chance, case.key)),
    lambda chance, case, _: case._replace(signature=case.signature[32:] + case.signature[:32]),
    lambda chance, case, _: _with_r(case, _small(chance)),
    lambda chance, case, _: _with_r(case, _not_canonical(chance)),
    lambda chance, case, _: case._replace(key=_small(chance)),
    lambda chance, case, _: case._replace(key=_not_canonical(chance)),
    lambda chance, case, _: case._replace(key=chance.randbytes(32)),
    lambda chance, case, _: case._replace(signature=chance.randbytes(64)),
    lambda chance, case, _: Case(_small(chance), encode(NEUTRAL) + bytes(32), case.message),
    lambda chance, case, _: forge(_small(chance), chance.randrange(ORDER), case.message),
    lambda chance, case, signer: signer.sign(
        chance.choice((0, chance.randrange(ORDER))), chance.choice(SMALL_ORDER_POINTS), case.message
    ),
)
