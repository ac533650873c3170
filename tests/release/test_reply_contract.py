"""What servers answer, in tests/replies: `check --url` and the update client in C must agree on what the client takes.

Both are the real ones: check_url() fetches from a server that sends the reply, the client is built for the host. Each
reply is to a request for `version`, whose 1.0.0 is newer than the device.
"""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ota_host import HARNESS, REASONS, SANITIZERS, SOURCES, STRICT, Host, build
from support.project import ROOT
from support.raw_server import RawServer
from support.releases import make

from rbootimg.release.check_http import check_url, inspect_reply
from rbootimg.release.finding import Finding
from rbootimg.release.http import CLIENT, fetch, split_url
from rbootimg.release.httpreply import read_as_client
from rbootimg.release.webroot import publish

pytestmark = pytest.mark.needs("gcc")

REPLIES = {path.stem: path.read_bytes() for path in sorted((ROOT / "tests" / "replies").glob("*.http"))}

# Who takes what. All other replies are taken by neither.
_BOTH = """
    empty-coding folded folded-empty header-1460 identity-coding identity-coding-blanks identity-transfer-coding
    identity-twice keep-alive latin-value length-after long-reason long-zeros many-headers no-coding no-reason
    empty-reason odd-reason plain same-length-twice same-length-zeros version-1.0
"""
_CLIENT = """
    continue folded-colon header-1461 header-4096 interim interim-twice length-in-value lone-lf lower-case mixed-case
    mixed-lf no-blank other-length-first tab
"""
_SAMPLE = """
    blank-before-another control-in-name control-in-reason control-in-value cr-cr-lf delete-in-value
    empty-transfer-coding folded-first http-1.2 latin-name lone-cr no-colon no-name parenthesis-name status-tab
"""
TAKEN = {*_BOTH.split(), *_CLIENT.split()}
TAKEN_BY_SAMPLE = {*_BOTH.split(), *_SAMPLE.split()}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("harness"), HARNESS / "harness.c")


class Server(RawServer):
    """Sends `reply` for `version`, to HTTP/1.0 `reply_to_1_0` if that is given, and the truth for all else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reply = b""
        self.reply_to_1_0: bytes | None = None
        super().__init__()

    def answer(self, connection: socket.socket, request: bytes) -> None:
        _, path, protocol = request.split(b"\r\n")[0].decode().split(" ")
        if path == "/version":
            old = protocol == "HTTP/1.0" and self.reply_to_1_0 is not None
            connection.sendall(self.reply_to_1_0 or b"" if old else self.reply)
        else:
            data = (self.root / path.lstrip("/")).read_bytes()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("www")
    publish(root, [make("1.0.0")])
    server = Server(root)
    yield server
    server.listener.close()


def taken_by_client(program: Path, replies: Sequence[bytes], piece: int = 65535) -> list[str]:
    """What the client in C makes of each: OK, or the reason why not."""
    host = Host(program)
    for reply in replies:
        host.do("check 0.9.0", "connected")
        if reply:
            host.data(reply, piece)
        host.do("closed", "run", "reason")
    lines = [line for line in host.run() if line.startswith(("version", "reason"))]
    assert len(lines) == 2 * len(replies)
    for found, why in zip(lines[::2], lines[1::2]):
        assert (found != "version 1 2 ") == (why == "reason 0 done"), (found, why)
    return [REASONS[int(line.split()[1])] for line in lines[1::2]]


def taken_by_check(server: Server, reply: bytes) -> tuple[bool, bool]:
    """Whether check_url finds that the client accepts the reply for `version`, and that the sample does."""
    server.reply = reply
    parts = split_url(server.url)
    found = [*inspect_reply("version", fetch(parts, "version", 5), fetch(parts, "version", 5, CLIENT), None)]
    return not any(finding.client_fails for finding in found), not any(finding.sample_fails for finding in found)


def test_each_reply_of_the_list_is_decided() -> None:
    assert len(REPLIES) > 90
    assert REPLIES.keys() > TAKEN | TAKEN_BY_SAMPLE


@pytest.mark.parametrize("piece", [65535, 1])
def test_the_client_takes_what_the_list_says(program: Path, piece: int) -> None:
    whole = {name: reply for name, reply in REPLIES.items() if piece > 1 or name != "surplus"}
    found = taken_by_client(program, [*whole.values()], piece)
    assert {name for name, why in zip(whole, found) if why == "OK"} == TAKEN


def test_a_reply_comes_to_the_same_wherever_its_header_is_split(program: Path) -> None:
    small = {name: reply for name, reply in REPLIES.items() if 0 < len(reply) < 150}
    lines = Host(program).do(*(f"http {reply.hex()}" for reply in small.values())).run()
    assert len(lines) == len(small) > 80
    for (name, reply), line in zip(small.items(), lines):
        assert line.startswith("http "), (name, line)
        if name in TAKEN:
            assert line == f"http 0 1 6 {len(reply) - 6}"


def test_the_fuzzers_target_runs_clean_with_the_list(tmp_path: Path) -> None:
    program = tmp_path / "program"
    sources = [HARNESS / "fuzz_http.c", HARNESS / "run_corpus.c", SOURCES / "ota_http.c"]
    command = ["gcc", *STRICT, *SANITIZERS, f"-I{SOURCES}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    paths = []
    for at in (0, 20, 45, 255):  # the end of the first packet
        for name, reply in REPLIES.items():
            paths.append(tmp_path / f"{at}-{name}")
            paths[-1].write_bytes(bytes([at]) + reply[:65000])
    done = subprocess.run([program, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{len(paths)}\n")


def test_bytes_after_the_end_are_not_waited_for(program: Path) -> None:
    """A surplus that does not arrive with the last bytes goes unnoticed."""
    assert taken_by_client(program, [REPLIES["surplus"]], 1) == ["OK"]
    assert taken_by_client(program, [REPLIES["surplus"]]) == ["EXCESS_DATA"]


@pytest.mark.parametrize("name", REPLIES)
def test_check_tells_which_client_accepts_each_reply(server: Server, name: str) -> None:
    server.reply, server.reply_to_1_0 = REPLIES[name], None
    found = [finding for finding in check_url(server.url) if finding.fault]
    assert {finding.path for finding in found} <= {"version"}
    assert any(finding.client_fails for finding in found) == (name not in TAKEN)
    assert any(finding.sample_fails for finding in found) == (name not in TAKEN_BY_SAMPLE)
    for finding in found:
        assert finding.client_fails or finding.sample_fails
        assert finding.text.isprintable()
        assert finding.text.endswith("; rBoot's OTA sample fails; rbootimg's update client handles it") == (
            name in TAKEN
        )
        assert finding.text.endswith("fails; rBoot's OTA sample handles it") == (name in TAKEN_BY_SAMPLE)


def test_a_server_that_refuses_http_1_0_serves_only_the_sample(server: Server, program: Path) -> None:
    for name in ("upgrade-required", "not-supported"):
        server.reply, server.reply_to_1_0 = REPLIES["plain"], REPLIES[name]
        status = REPLIES[name][9:12].decode()
        client_fails = "rbootimg's update client, which uses HTTP/1.0, fails; rBoot's OTA sample handles it"
        text = f"status {status}, expected 200; {client_fails}"
        assert check_url(server.url) == (Finding("version", text, client_fails=True, sample_fails=False),)
        assert taken_by_client(program, [server.reply_to_1_0]) == ["STATUS"]
    server.reply, server.reply_to_1_0 = REPLIES["chunked"], REPLIES["version-1.0"]
    assert {(finding.client_fails, finding.sample_fails) for finding in check_url(server.url)} == {(False, True)}
    server.reply_to_1_0 = None


# Random replies

PARTS = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b": ", b",", b"\0", b"\x7f", b"\xe4", b"0", b"6", b"7", b"+", b"-", b"0x",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 ", b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 204 \r\n", b"Content-Length: 6\r\n",
    b"content-length:7\r\n", b"Content-Length:", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: \r\n", b"Content-Encoding: gzip\r\n", b"identity", b"\r\n\r\n", b"\r\n ", b"X: y\r\n",
    b"X: " + b"x" * 2600 + b"\r\n", b"6\r\n1.0.0\n\r\n0\r\n\r\n", b"1.0.0\n",
)  # fmt: skip


LINES = (
    b"X: y", b"X:", b"X: Content-Length: 9", b"X-Content-Length: 9", b"Content-Lengths: 9", b"Server: \xe4\t", b" more",
    b"\t", b"Content-Length: 6", b"content-length:\t006 ", b"Content-Encoding:", b"Content-Encoding: identity",
    b"Transfer-Encoding: Identity\t", b"Content-Encodin: gzip", b"Transfer-Encodings: chunked", b"!#$%&'*+-.^_`|~: x",
)  # fmt: skip
RARE = (
    b"Content-Length: 7", b"Content-Length: 6,6", b"Content-Length: ", b"Content-Length: 6 6", b"Content-Length : 6",
    b"Transfer-Encoding:", b"Transfer-Encoding: chunked", b"Content-Encoding: identity,",
    b"Content-Encoding: ident ity", b"Content-Encoding: identity identity",
    b"X", b": x", b"X\t: y", b"X: \x0b", b"X: " + b"y" * 4000, b"(: x",
)  # fmt: skip
STARTS = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK",
)


def composed(chance: random.Random) -> bytes:
    """A reply with most lines as they may be."""
    lines = [chance.choice(LINES if chance.random() < 0.95 else RARE) for _ in range(chance.randint(0, 6))]
    lines.insert(chance.randint(0, len(lines)), b"Content-Length: 6")
    reply = b"".join(line + chance.choice((b"\r\n",) * 9 + (b"\n",)) for line in (chance.choice(STARTS), *lines, b""))
    if chance.random() < 0.2:
        at = chance.randint(0, len(reply))
        reply = reply[:at] + bytes([chance.randrange(256)]) + reply[at + chance.randint(0, 1) :]
    return reply + (b"1.0.0\n" if chance.random() < 0.95 else b"1.0.0\n"[: chance.randint(0, 6)] + b"\r\n" * 3)


def mutated(chance: random.Random) -> bytes:
    """A reply of the list with up to three places changed, most of them in the header and at the ends of lines."""
    known = [name for name in REPLIES if len(REPLIES[name]) < 5000 and (name in TAKEN or chance.random() < 0.3)]
    reply = REPLIES[chance.choice(known)]
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = [at + 1 for at, byte in enumerate(reply) if byte in b"\n:"] or [0]
        at = chance.choice(places) if chance.random() < 0.6 else chance.randint(0, len(reply))
        end = min(at + chance.choice((0, 0, 0, 1, 1, 2)), len(reply))
        reply = reply[:at] + chance.choice((b"", *PARTS, bytes([chance.randrange(256)]))) + reply[end:]
    return reply


def assert_agreed(program: Path, server: Server, replies: Sequence[bytes]) -> int:
    """Assert that both decide the same about each reply; return how many are accepted."""
    server.reply_to_1_0 = None
    found = taken_by_client(program, replies)
    for reply, why in zip(replies, found):
        # The client also accepts the reply if the body is not a version, which another part of check_url reports. An
        # empty body is a fault of the reply for check_url.
        taken = why == "OK" or (why == "NOT_A_VERSION" and read_as_client(reply).length > 0)
        assert taken_by_check(server, reply)[0] == taken, (why, reply)
    return sum(why in ("OK", "NOT_A_VERSION") for why in found)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_both_agree_on_any_reply(program: Path, server: Server, seed: int) -> None:
    chance = random.Random(seed)
    replies = [chance.choice((composed, mutated))(chance) for _ in range(40)]
    assert assert_agreed(program, server, replies) > 0
