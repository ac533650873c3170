"""Checking a web root through its server: the replies with which an update fails."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import itertools
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.keys import signer
from support.project import ROOT
from support.raw_server import RawServer
from support.releases import make, make_roms, with_recovery

from rbootimg.errors import UrlError
from rbootimg.release.check_http import check_url
from rbootimg.release.finding import Finding
from rbootimg.release.webroot import publish
from rbootimg.serve import faults
from rbootimg.serve.server import ServerOptions, serving

ROM = make_roms("1.0.0", 4096)[0]
LENGTH = f"Content-Length: {len(ROM)}"
SAMPLE_FAILS = "rBoot's OTA sample fails; rbootimg's update client handles it"
CLIENT_FAILS = "rbootimg's update client, which uses HTTP/1.0, fails; rBoot's OTA sample handles it"
WITHOUT = "without a manifest the content of the ROMs was not compared"


def of_both(path: str, text: str, fault: bool = True, client: bool = True, sample: bool = True) -> Finding:
    """A fault that both clients have, or as told."""
    return Finding(path, text, fault, client_fails=client, sample_fails=sample)


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "Connection: close", "", "")).encode()


class Server(RawServer):
    """A server that says what it is told to for rom0.bin, and the truth for all else.

    A reply in pieces has pauses between them; a None in it resets the connection.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reply: bytes | Iterable[bytes | None] = head(LENGTH) + ROM
        self.reply_to_1_0: bytes | None = None
        self.pause = 0.1
        self.requests: list[bytes] = []
        self.path = "rom0.bin"
        super().__init__()

    def answer(self, connection: socket.socket, request: bytes) -> None:
        self.requests.append(request)
        path = request.split()[1].decode().lstrip("/")
        if path == self.path and b" HTTP/1.0\r\n" in request and self.reply_to_1_0:
            connection.sendall(self.reply_to_1_0)
        elif path == self.path and isinstance(self.reply, bytes):
            connection.sendall(self.reply)
        elif path == self.path:
            self._send_pieces(connection, self.reply)
        else:
            data = (self.root / path).read_bytes()
            connection.sendall(head(f"Content-Length: {len(data)}") + data)

    def _send_pieces(self, connection: socket.socket, pieces: Iterable[bytes | None]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            try:
                if piece is None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    connection.sendall(piece)
            except OSError:  # the client has enough
                return
            time.sleep(self.pause)


class Endless:
    """A reply that begins with `begin` and never ends."""

    def __init__(self, begin: bytes, piece: bytes) -> None:
        self.begin, self.piece = begin, piece

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain([self.begin], itertools.repeat(self.piece))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    publish(tmp_path, [make("1.0.0", size=4096)])
    server = Server(tmp_path)
    yield server
    server.listener.close()


def test_a_plain_server_has_nothing_that_is_noteworthy(server: Server) -> None:
    assert check_url(server.url) == ()
    *both, update = server.requests
    assert update.split()[1:3] == [b"/update", b"HTTP/1.0"]
    assert [request.split()[2] for request in both] == [b"HTTP/1.1", b"HTTP/1.0"] * 6
    assert [request.split()[1] for request in both[::2]] == [
        b"/manifest.json",
        b"/version",
        b"/rom0.bin",
        b"/releases/1.0.0/rom0.bin",
        b"/rom1.bin",
        b"/releases/1.0.0/rom1.bin",
    ]


def test_data_files_are_fetched_and_compared(server: Server) -> None:
    path = "releases/1.1.0/ui.html"
    publish(server.root, [make("1.1.0", size=4096, files=(("ui.html", b"<p>"),))])
    server.path, server.reply = path, head("Content-Length: 3") + b"<p>"
    assert check_url(server.url) == ()
    assert server.requests[-3].split()[1] == server.requests[-2].split()[1] == f"/{path}".encode()
    server.reply = head("Content-Length: 3") + b"<a>"
    text = "not the file of the manifest: SHA-256 mismatch; one of the two is stale or corrupt"
    assert check_url(server.url) == (of_both(path, text),)


def test_the_recovery_rom_is_fetched_and_compared(server: Server) -> None:
    bundle = with_recovery("1.1.0", size=4096)
    publish(server.root, [bundle])
    data = bundle.contents["recovery.bin"]
    server.path, server.reply = "releases/1.1.0/recovery.bin", head(f"Content-Length: {len(data)}") + data
    assert check_url(server.url) == ()
    server.reply = head("Content-Length: 3") + data[:3]
    text = f"3 bytes, expected {len(data)} from the manifest; one of the two is stale or corrupt"
    assert check_url(server.url) == (of_both("releases/1.1.0/recovery.bin", text),)


def test_checksum_files_are_fetched_and_compared(server: Server) -> None:
    publish(server.root, [with_recovery("1.1.0", size=4096, checksum_files=True)])
    server.path = ""
    assert check_url(server.url) == ()
    asked = [request.split()[1].decode() for request in server.requests if b"sha256" in request]
    assert asked[::2] == [
        "/rom0.bin.sha256",
        "/releases/1.1.0/rom0.bin.sha256",
        "/rom1.bin.sha256",
        "/releases/1.1.0/rom1.bin.sha256",
        "/releases/1.1.0/recovery.bin.sha256",
    ]
    server.path, server.reply = "rom1.bin.sha256", head("Content-Length: 76") + b"0" * 64 + b"  rom1.bin\n"
    server.reply = head("Content-Length: 75") + b"0" * 64 + b"  rom1.bin\n"
    text = "not the checksum file of the manifest: SHA-256 mismatch; one of the two is stale or corrupt"
    assert check_url(server.url) == (of_both("rom1.bin.sha256", text),)


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Server]:
    publish(tmp_path, [make("1.0.0", size=4096, date="2026-11-27")], signer=signer())
    server = Server(tmp_path)
    server.path = ""
    yield server
    server.listener.close()


def about_update(text: str, fault: bool = True) -> Finding:
    return of_both("update", text, fault, client=fault, sample=False)


NUMBER = signer().public.number.hex()
NOTE = f"serial 1, issued 2026-11-27, signed with prod (key {NUMBER})"


def test_the_update_file_is_held_against_keys(signed: Server) -> None:
    prod, spare = signer().public, signer("spare").public
    assert check_url(signed.url) == (about_update(f"{NOTE}, not verified", fault=False),)
    assert check_url(signed.url, keys=[spare, prod]) == (about_update(NOTE, fault=False),)
    assert check_url(signed.url, keys=[spare]) == (
        about_update(f"{NOTE}, not verified", fault=False),
        about_update(f"signed with prod (key {NUMBER}): expected spare"),
    )
    data = (signed.root / "update").read_bytes()
    for old, new in ((b"issued 2026-11-27", b"issued 2026-11-28"), (b"serial 1\n", b"serial 2\n")):
        (signed.root / "update").write_bytes(data.replace(old, new))
        assert check_url(signed.url, keys=[prod])[-1] == about_update("invalid signature of prod")


def test_an_unsigned_or_missing_update_file_is_a_fault_with_a_key(server: Server, tmp_path: Path) -> None:
    assert check_url(server.url, keys=[signer().public]) == (about_update("not signed: expected a signature of prod"),)
    server.path, server.reply_to_1_0 = "update", head("Content-Length: 0", status="404 Not Found")
    assert check_url(server.url, keys=[signer().public]) == (about_update("status 404, expected 200"),)
    text = "status 404: devices that read it get no updates"
    assert check_url(server.url) == (of_both("update", text, fault=False, sample=False),)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"app blink", b"app clock", "application clock: expected blink as in the manifest; one of the two is stale"),
        (b"device esp8266", b"device lamp", "device class lamp: expected esp8266 as in the manifest; one of the two"),
        (b"version 1.0.0", b"version 0.9.0", "version 0.9.0: expected 1.0.0 as in the manifest; one of the two is st"),
        (b"rom 0 2000", b"rom 0 3000", "other ROMs than in the manifest; one of the two is stale"),
        (b"\nend\n", b"\nend", "corrupt update file: expected the lines app, device"),
        (b"rbootimg-update 1", b"<html>", "not an update file: expected 'rbootimg-update 1' in the first line"),
        (b"\nend\n", b"\nend\n" + b"x" * 4096, "update file too large: expected at most 4,096 bytes, got "),
    ],
)
def test_an_update_file_of_something_else_is_found(server: Server, old: bytes, new: bytes, text: str) -> None:
    data = (server.root / "update").read_bytes()
    assert old in data
    (server.root / "update").write_bytes(data.replace(old, new))
    (finding,) = check_url(server.url)
    assert finding.text.startswith(text)
    assert (finding.path, finding.fault, finding.client_fails, finding.sample_fails) == ("update", True, True, False)


def test_an_update_file_from_a_cache_is_found(server: Server) -> None:
    data = (server.root / "update").read_bytes()
    server.path, server.reply_to_1_0 = "update", head(f"Content-Length: {len(data)}", "Age: 60") + data
    assert check_url(server.url) == (about_update("from a cache, 60 seconds old; send Cache-Control: no-cache"),)


def test_without_a_manifest_the_signature_is_checked_all_the_same(signed: Server) -> None:
    (signed.root / "manifest.json").write_text("{}")
    found = check_url(signed.url, keys=[signer("spare").public])
    assert about_update(f"signed with prod (key {NUMBER}): expected spare") in found


def test_the_request_is_that_of_rboots_sample(server: Server) -> None:
    check_url(server.url)
    lines = server.requests[4].decode().split("\r\n")
    assert lines == [
        "GET /rom0.bin HTTP/1.1",
        f"Host: {server.url[7:-1]}",
        "Connection: keep-alive",
        "Cache-Control: no-cache",
        "User-Agent: rBoot-Sample/1.0",
        "Accept: */*",
        "",
        "",
    ]


def test_the_other_request_is_that_of_the_example(server: Server) -> None:
    check_url(server.url)
    app = (ROOT / "examples/ota/app.c").read_text()
    end, request = re.findall(r"#define REQUEST(?:_END|\(file\)) ((?:.|\\\n)*?)\n\n?(?=#define|\n|static)", app)
    values = {"file": "rom0.bin", "SERVER_HOST": server.url[7:-1], "RBOOT_VERSION": "1.0.0", "REQUEST_END": end[1:-1]}
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\w+)', request)
    example = "".join(text or values.get(name, "") for text, name in words)
    assert server.requests[5].decode() == example.replace(r"\r\n", "\r\n")


CHUNKED = head("Transfer-Encoding: chunked") + f"{len(ROM):x}\r\n".encode() + ROM + b"\r\n0\r\n\r\n"
ZIPPED = gzip.compress(ROM, mtime=0)


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        (head() + ROM, ["missing Content-Length; devices cannot tell where the file ends"]),
        (
            CHUNKED,
            [
                "Transfer-Encoding: chunked; devices would write the chunk sizes to the flash",
                "missing Content-Length; devices cannot tell where the file ends",
            ],
        ),
        (
            head("Content-Encoding: gzip", f"Content-Length: {len(ZIPPED)}") + ZIPPED,
            [
                "Content-Encoding: gzip, not requested; devices would write the encoded bytes to the flash",
                f"{len(ZIPPED)} bytes, expected 2,096 from the manifest; one of the two is stale or corrupt",
            ],
        ),
        (
            head("Location: https://x/rom0.bin", "Content-Length: 0", status="301 Moved"),
            ["redirect to https://x/rom0.bin (status 301); devices do not follow it"],
        ),
        (head("Content-Length: 4", status="404 Not Found") + b"none", ["status 404, expected 200"]),
        (head(LENGTH) + ROM[:100], [f"truncated after 100 bytes, {len(ROM) - 100:,} missing"]),
        (
            head(LENGTH) + bytes(len(ROM)),
            ["not the ROM of the manifest: SHA-256 mismatch; one of the two is stale or corrupt"],
        ),
        (head("Content-Length: 10") + ROM[:10], ["10 bytes, expected 2,096 from the manifest; one of the two is"]),
        (head(LENGTH, "Age: 3600") + ROM, ["from a cache, 3,600 seconds old; send Cache-Control: no-cache"]),
        (
            head(LENGTH, "Cache-Control: public, max-age=600") + ROM,
            ["may be cached for 600 seconds after a release; send Cache-Control: no-cache"],
        ),
        (
            head(LENGTH, "Expires: Thu, 01 Dec 2044 16:00:00 GMT") + ROM,
            ["may be cached until Thu, 01 Dec 2044 16:00:00 GMT; send Cache-Control: no-cache"],
        ),
        (head(LENGTH, "Cache-Control: no-cache", "Age: 0") + ROM, []),
        (
            head(LENGTH, f"X-Long: {'x' * 1400}") + ROM,
            [f"header of 1,470 bytes: expected at most 1,460; {SAMPLE_FAILS}"],
        ),
    ],
)
def test_what_a_device_would_choke_on_is_a_fault(server: Server, reply: bytes, texts: list[str]) -> None:
    server.reply = reply
    found = check_url(server.url)
    assert [(finding.path, finding.fault) for finding in found] == [("rom0.bin", True)] * len(texts)
    for finding, text in zip(found, texts):
        assert finding.text.startswith(text)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (
            head(LENGTH.lower()) + ROM,
            f"header line 'content-length: {len(ROM)}': expected the spelling 'Content-Length: '; {SAMPLE_FAILS}",
        ),
        (
            head(LENGTH.upper()) + ROM,
            f"header line 'CONTENT-LENGTH: {len(ROM)}': expected the spelling 'Content-Length: '; {SAMPLE_FAILS}",
        ),
        (
            head(LENGTH.replace(" ", "")) + ROM,
            f"header line 'Content-Length:{len(ROM)}': expected the spelling 'Content-Length: '; {SAMPLE_FAILS}",
        ),
        (
            head("X-Original-Content-Length: 9", LENGTH) + ROM,
            "header line 'X-Original-Content-Length: 9' before the Content-Length, for which the sample takes it; "
            f"{SAMPLE_FAILS}",
        ),
        (
            head("Server: x", status="100 Continue") + head(LENGTH) + ROM,
            f"invalid status line 'HTTP/1.1 100': expected 200 in bytes 9 to 11; {SAMPLE_FAILS}",
        ),
        (head(LENGTH).replace(b"\r\n", b"\n") + ROM, f"lines of the header do not end with CR LF; {SAMPLE_FAILS}"),
        (head(LENGTH).replace(b"\r\n", b"\n", 1) + ROM, f"lines of the header do not end with CR LF; {SAMPLE_FAILS}"),
        (
            [head(LENGTH)[:20], head(LENGTH)[20:] + ROM],
            f"first packet has only 20 of the header's 60 bytes; {SAMPLE_FAILS}",
        ),
        (
            [head(LENGTH)[:-1], head(LENGTH)[-1:] + ROM],
            f"first packet has only 59 of the header's 60 bytes; {SAMPLE_FAILS}",
        ),
    ],
)
def test_a_reply_that_rboots_sample_refuses_is_a_fault(server: Server, reply: bytes | list[bytes], text: str) -> None:
    server.reply = reply
    assert check_url(server.url) == (of_both("rom0.bin", text, client=False),)


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        (
            (head(LENGTH) + ROM).replace(b"1.1 200", b"1.1  200"),
            [
                "invalid status line 'HTTP/1.1  20': expected 200 in bytes 9 to 11",
                "invalid status line 'HTTP/1.1  200 OK': expected HTTP/1.0 or HTTP/1.1 and a status",
            ],
        ),
        (head("nocolon", LENGTH) + ROM, [f"invalid header line 'nocolon'; {CLIENT_FAILS}"]),
        (
            head(f"X-Long: {'x' * 5000}", LENGTH) + ROM,
            ["header of 5,070 bytes: expected at most 4,096 (rbootimg's update client), 1,460 (rBoot's OTA sample)"],
        ),
    ],
)
def test_who_fails_is_told(server: Server, reply: bytes, texts: list[str]) -> None:
    server.reply = reply
    assert [finding.text for finding in check_url(server.url)] == texts


def test_a_server_may_answer_http_1_0_in_another_way(server: Server) -> None:
    """As some do that want HTTP/1.1 or later; others send chunks to HTTP/1.1 alone."""
    server.reply, server.reply_to_1_0 = head(LENGTH) + ROM, head("Content-Length: 0", status="426 Upgrade Required")
    assert check_url(server.url) == (of_both("rom0.bin", f"status 426, expected 200; {CLIENT_FAILS}", sample=False),)
    server.reply, server.reply_to_1_0 = CHUNKED, server.reply
    found = check_url(server.url)
    assert [(finding.client_fails, finding.sample_fails) for finding in found] == [(False, True)] * 2
    assert found[0].text.endswith(f"chunk sizes to the flash; {SAMPLE_FAILS}")
    server.reply = server.reply_to_1_0.replace(ROM[:9], b"otherwise")
    (finding,) = check_url(server.url)
    assert finding.text.endswith(f"one of the two is stale or corrupt; {SAMPLE_FAILS}")


def test_a_version_that_is_too_long_for_the_client_is_told(tmp_path: Path) -> None:
    for version, text in (
        (f"1.0.0-{'a' * 58}", "version of 64 characters: expected at most 63"),
        ("1.0.0-1234567890", "version with a number of more than 9 digits"),
    ):
        root = tmp_path / version
        bundle = make(version)
        for directory in (root, root / bundle.release.directory):
            directory.mkdir(parents=True, exist_ok=True)
            files = bundle.contents | {"manifest.json": bundle.release.to_json(), "version": f"{version}\n".encode()}
            for name, data in files.items():
                (directory / name).write_bytes(data)
        with serving(root) as at:
            found = check_url(f"http://127.0.0.1:{at.port}/")
        assert found[0] == of_both("version", f"{text}; {CLIENT_FAILS}", sample=False)
        text = "status 404: devices that read it get no updates"
        assert found[1:] == (of_both("update", text, fault=False, sample=False),)


def test_a_header_alone_in_the_first_packet_is_worth_one_note(tmp_path: Path) -> None:
    publish(tmp_path, [make("1.0.0", size=4096)])
    with serving(tmp_path, options=ServerOptions(faults=(faults.parse("rom*.bin=split@9999"),))) as at:
        found = check_url(f"http://127.0.0.1:{at.port}/")
    text = "first packet has only the header; rBoot's OTA sample handles it, but its first versions did not"
    assert found == (of_both("rom0.bin", text, fault=False, client=False, sample=False),)


def test_what_never_changes_may_be_kept_by_caches(server: Server) -> None:
    server.path = "releases/1.0.0/rom0.bin"
    server.reply = head(LENGTH, "Cache-Control: max-age=31536000, immutable", "Age: 9") + ROM
    assert check_url(server.url) == ()


def test_a_version_that_is_not_the_manifests_is_stale(server: Server) -> None:
    server.path, server.reply = "version", head("Content-Length: 6") + b"0.9.0\n"
    (finding,) = check_url(server.url)
    assert finding == of_both("version", r"b'0.9.0\n': expected 1.0.0 as in the manifest; one of the two is stale")


@pytest.mark.parametrize(
    "reply",
    [
        head(LENGTH).replace(b"1.1", b"1.0") + ROM,
        head(LENGTH, LENGTH) + ROM,
        head(LENGTH, f"Content-Length: 0{len(ROM)}") + ROM,
        head(LENGTH, "Content-Encoding:", "Content-Encoding: identity ") + ROM,
        head(LENGTH, "Server: a\r\n\tb") + ROM,
        head(*("X: x" for _ in range(200)), LENGTH) + ROM,
        head(LENGTH + " ") + ROM,
        head(LENGTH, "Transfer-Encoding: identity", "Content-Encoding: Identity") + ROM,
        head(LENGTH).replace(b"Connection: close", b"Connection: keep-alive") + ROM,
        head(LENGTH).replace(b"200 OK", b"200") + ROM,
        head(LENGTH, "Expires: Thu, 19 Nov 1981 08:52:00 GMT") + ROM,
        head(LENGTH, "Expires: 0") + ROM,
        head(LENGTH, "Date: Thu, 01 Dec 2044 16:00:00 GMT", "Expires: Thu, 01 Dec 2044 16:00:00 GMT") + ROM,
    ],
)
def test_what_a_device_takes_is_no_fault(server: Server, reply: bytes) -> None:
    server.reply = reply
    assert check_url(server.url) == ()


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        (head(LENGTH, "Content-Range: bytes 0-9/10", status="206 Partial") + ROM, ["status 206, expected 200"]),
        (head(status="304 Not Modified"), ["status 304, expected 200"]),
        (head(LENGTH, "Content-Length: 7") + ROM, ["different Content-Lengths: 2096 and 7; devices use one of them"]),
        (head(f"{LENGTH}, {len(ROM)}") + ROM, ["invalid Content-Length: 2096, 2096"]),
        (head(f"Content-Length: {'9' * 5000}") + ROM, ["invalid Content-Length: 999"]),
        (head("nocolon") + ROM, ["missing Content-Length; "]),
        (head(LENGTH) + ROM + b"\n", ["1 byte more than its Content-Length; devices never detect the end"]),
        (
            head(LENGTH, "Cache-Control: max-age=0, s-maxage=60") + ROM,
            ["may be cached for 60 seconds after a release; send Cache-Control: no-cache"],
        ),
        (
            CHUNKED[:-1000],
            ["Transfer-Encoding: chunked; ", "missing Content-Length; ", "truncated after 1,103 bytes: "],
        ),
        (ROM, ["reply is not HTTP: "]),
        (b"", ["request failed: the server closed the connection without a reply"]),
        (b"HTTP/2 200\r\n\r\n", ["reply is not HTTP: HTTP/2"]),
        (head(f"X: {'x' * 70000}", LENGTH) + ROM, ["reply is not HTTP: a header of more than 65,536 bytes"]),
        ([None], ["request failed: Connection reset by peer"]),
        ([head(LENGTH)[:30], None], ["request failed: Connection reset by peer"]),
        (
            [head(LENGTH) + ROM[:100], None],
            [f"truncated after 100 bytes, {len(ROM) - 100:,} missing: Connection reset by peer"],
        ),
    ],
)
def test_every_odd_reply_is_one_line_for_its_path(server: Server, reply: bytes | list[bytes], texts: list[str]) -> None:
    server.reply = reply
    found = check_url(server.url)
    for finding, text in zip(found, texts):
        assert finding.text.startswith(text)
    assert [finding.path for finding in found if finding.fault] == ["rom0.bin"] * len(found)
    assert len(found) >= len(texts)
    assert len(server.requests) == 13


def test_what_a_server_says_cannot_break_the_line_or_run_on(server: Server) -> None:
    server.reply = head(f"Location: /\x1b[2J\r\n {'x' * 9999}", status="302 Found")
    (finding,) = check_url(server.url)
    assert finding.text.startswith("redirect to /\ufffd[2J xxx")
    assert finding.text.isprintable()
    assert len(finding.text) < 300


def test_a_server_that_goes_away_is_told_for_what_was_not_fetched(server: Server) -> None:
    server.reply = (server.listener.close() or piece for piece in [head(LENGTH) + ROM])  # type: ignore[func-returns-value]
    found = check_url(server.url)
    paths = ["rom0.bin", "releases/1.0.0/rom0.bin", "rom1.bin", "releases/1.0.0/rom1.bin", "update"]
    assert [finding.path for finding in found] == paths
    assert {finding.text for finding in found} == {"request failed: Connection refused"}


def test_a_server_that_drips_is_given_up(server: Server) -> None:
    server.pause = 0.02
    texts = []
    for begin in (b"HTTP/1.1 200 OK\r\nX: ", head(LENGTH)):
        server.reply = Endless(begin, b"x")
        begun = time.monotonic()
        texts += [finding.text for finding in check_url(server.url, timeout=0.1) if finding.fault]
        assert time.monotonic() - begun < 5
    assert texts[0] == "request failed: incomplete after 1.2 seconds"
    assert texts[1].startswith("truncated after ")
    assert texts[1].endswith(" missing: incomplete after 1.2 seconds")
    assert len(texts) == 2


def test_an_endless_body_is_broken_off(server: Server) -> None:
    server.pause = 0
    server.reply = Endless(head(), bytes(1 << 20))
    assert [finding.text for finding in check_url(server.url) if finding.fault] == [
        "missing Content-Length; devices cannot tell where the file ends",
        "more than 16,777,216 bytes, the size of the largest flash",
    ]


@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        ("redirect", ["redirect to /manifest.json?redirected (status 302); devices do not follow it", WITHOUT]),
        ("500", ["status 500, expected 200", WITHOUT]),
        ("404", ["status 404, expected 200", WITHOUT]),
        ("404-as-200", [f"manifest: not JSON; {WITHOUT}"]),
        (
            "truncate@100",
            ["truncated after 100 bytes, ", f"manifest: not JSON; {WITHOUT}"],
        ),
        (
            "reset@100",
            ["truncated after 100 bytes, ", f"manifest: not JSON; {WITHOUT}"],
        ),
        ("stall@100", ["truncated after 100 bytes, ", f"manifest: not JSON; {WITHOUT}"]),
    ],
)
def test_a_manifest_that_is_hit_is_told_and_the_rest_is_looked_at(tmp_path: Path, fault: str, texts: list[str]) -> None:
    publish(tmp_path, [make("1.0.0", size=4096)])
    told = [faults.parse(text) for text in (f"manifest.json={fault}", "version=404-as-200", "rom1.bin=lower-case")]
    with serving(tmp_path, options=ServerOptions(faults=tuple(told))) as at:
        found = check_url(f"http://127.0.0.1:{at.port}/", timeout=0.5)
    mine = [finding for finding in found if finding.path == "manifest.json"]
    assert [finding.text.startswith(text) for finding, text in zip(mine, texts)] == [True] * len(mine)
    assert mine[0].fault
    assert [(finding.path, finding.text[:16]) for finding in found if finding.path != "manifest.json"] == [
        ("version", "invalid version:"),
        ("rom1.bin", "header line 'con"),
    ]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("split@20", "first packet has only 20 of the header's "),
        (
            "lower-case",
            "header line 'content-length: 2096': expected the spelling 'Content-Length: '; ",
        ),
        ("reset@9", "truncated after 9 bytes, 2,087 missing: "),
        ("truncate@9", "truncated after 9 bytes, 2,087 missing"),
        ("stall@9", "truncated after 9 bytes, 2,087 missing: timed out"),
        ("flip@9", "not the ROM of the manifest"),
        ("chunked", "Transfer-Encoding: chunked"),
        ("500", "status 500, expected 200"),
        ("redirect", "redirect to /rom0.bin?redirected (status 302); devices do not follow it"),
        ("404-as-200", "68 bytes, expected 2,096 from the manifest"),
    ],
)
def test_our_own_servers_faults_are_found(server: Server, fault: str, text: str) -> None:
    with serving(server.root, options=ServerOptions(faults=(faults.parse(f"rom0.bin={fault}"),))) as at:
        found = check_url(f"http://127.0.0.1:{at.port}/", timeout=1)
    assert {(finding.path, finding.fault) for finding in found} == {("rom0.bin", True)}
    assert found[0].text.startswith(text)


def test_our_own_server_without_faults_has_nothing_that_is_noteworthy(server: Server) -> None:
    with serving(server.root) as at:
        assert check_url(f"http://127.0.0.1:{at.port}/") == ()


def test_without_a_manifest_a_rom_must_still_be_one(server: Server) -> None:
    (server.root / "manifest.json").write_bytes(b"{}")
    server.reply = head("Content-Length: 4") + b"none"
    text = "invalid ROM: truncated image: the header of the ROM ends at offset 0x8, but there are only 0x4 bytes"
    assert check_url(server.url) == (
        of_both("manifest.json", f"manifest: missing 'schema': expected a number; {WITHOUT}"),
        of_both("rom0.bin", text),
    )


@pytest.mark.parametrize("fault", ["chunked", "lower-case", "split@20"])
def test_a_manifest_that_can_be_read_all_the_same_is_gone_by(tmp_path: Path, fault: str) -> None:
    publish(tmp_path, [make("1.0.0", size=4096)])
    told = tuple(faults.parse(text) for text in (f"manifest.json={fault}", "releases/*/rom1.bin=flip@50"))
    with serving(tmp_path, options=ServerOptions(faults=told)) as at:
        *mine, last = check_url(f"http://127.0.0.1:{at.port}/")
    assert {(finding.path, finding.fault) for finding in mine} == {("manifest.json", True)}
    assert last.path == "releases/1.0.0/rom1.bin"


URL = "invalid URL: "


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("www", f"{URL}missing http:// or host; use one such as http://192.168.7.5/"),
        ("", f"{URL}missing http:// or host"),
        ("ftp://x/", f"{URL}missing http:// or host"),
        ("http:///x", f"{URL}missing http:// or host"),
        ("http://[::1", f"{URL}Invalid IPv6 URL; use one such as http://192.168.7.5/"),
        ("http://x:99999/", f"{URL}Port out of range 0-65535"),
        ("http://x:abc/", f"{URL}Port could not be cast to integer value as 'abc'"),
        ("http://a b/", f"{URL}invalid host name 'a b'"),
        ("http://bücher.invalid/", f"{URL}invalid host name 'bücher.invalid'"),
        ("http://a..b/", f"{URL}invalid host name 'a..b'"),
        (f"http://{'a' * 64}/", f"{URL}invalid host name '{'a' * 64}'"),
        ("http://127.0.0.1/\n", f"{URL}control character"),
        ("http://127.0.0.1/ a\x7f", f"{URL}control character"),
        ("http://me:secret@127.0.0.1/", f"{URL}devices do not send a user name and password"),
        ("http://@127.0.0.1/", f"{URL}devices do not send a user name and password"),
        ("http://127.0.0.1/?app=blink", f"{URL}devices do not send a query or fragment"),
        ("http://127.0.0.1/#top", f"{URL}devices do not send a query or fragment"),
        (
            "http://127.0.0.1:1/",
            "manifest.json: request failed: Connection refused; check the URL and that the server is running",
        ),
        (f"http://[fe80::1%{'a' * 64}]:1/", "manifest.json: request failed: "),
        ("http://[1::2::3]/", URL),
        ("http://[::1]:1/", "manifest.json: request failed: "),
        ("https://127.0.0.1:1/", "manifest.json: request failed: Connection refused"),
        ("http://127.0.0.1:1/\udcff ü", "manifest.json: request failed: Connection refused"),
        ("http://no.such.host.invalid/", "manifest.json: request failed: "),
    ],
)
def test_an_invalid_url_or_a_missing_server_is_one_line(url: str, message: str) -> None:
    with pytest.raises(UrlError) as error:
        check_url(url)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_ipv6_address_may_do_without_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def connect(address: tuple[str, int], *_: object) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    for url in ("http://[::1]/", "https://[::2]/", "http://[::3]:81/"):
        with pytest.raises(UrlError):
            check_url(url)
    assert asked == [("::1", 80), ("::2", 443), ("::3", 81)]


def test_where_there_is_nothing_there_is_one_line(tmp_path: Path) -> None:
    with serving(tmp_path) as at, pytest.raises(UrlError) as error:
        check_url(f"http://127.0.0.1:{at.port}/x")
    assert str(error.value) == "no manifest.json: status 404; use the URL of the application's directory"


def test_a_server_that_stalls_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = check_url(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)
    paths = ["manifest.json", "version", "rom0.bin", "rom1.bin", "update"]
    assert [finding.path for finding in found if finding.fault] == paths
    assert {finding.text for finding in found if finding.fault} == {"request failed: timed out"}


@contextlib.contextmanager
def pythons(directory: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Python's own server, and its port."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=directory)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_pythons_own_server_will_do(tmp_path: Path) -> None:
    publish(tmp_path, [make("1.0.0"), make("2.0.0", "a b")])
    with pythons(tmp_path) as port:
        found = check_url(f"http://127.0.0.1:{port}/a b")
    assert [finding for finding in found if finding.fault] == []


@pytest.mark.needs("openssl")
def test_a_server_that_speaks_tls_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web_root, certificate, key = tmp_path / "www", tmp_path / "certificate.pem", tmp_path / "key.pem"
    publish(web_root, [make("1.0.0", size=4096)])
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with pythons(web_root, context) as port:
        url = f"https://localhost:{port}/"
        with pytest.raises(UrlError, match=r"manifest.json: request failed: certificate not trusted: self"):
            check_url(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert check_url(url) == (
            of_both(url, "rBoot's OTA sample does not support TLS: devices need another client", False, False, False),
        )
        (web_root / "rom1.bin").write_bytes(b"x")
        assert [finding.text[:18] for finding in check_url(url) if finding.fault] == ["1 byte, expected 2"]
    with pythons(web_root) as port, pytest.raises(UrlError, match=r"manifest\.json: request failed: TLS error: "):
        check_url(f"https://localhost:{port}/")
