"""The development server, asked over real sockets."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import pty
import random
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from support.project import ROOT, segments

from rbootimg.errors import ServerError
from rbootimg.serve import faults
from rbootimg.serve.events import Event, Listening, State, Transfer, TransferLog
from rbootimg.serve.server import ServerOptions, serving
from rbootimg.views import server

ROM = random.Random(1).randbytes(300_000)
SECRET = b"from outside"
SAMPLE = (
    b"GET /rom1.bin HTTP/1.0\r\nHost:\r\nConnection: keep-alive\r\nUser-Agent: rBoot-Sample/1.0\r\nAccept: */*\r\n\r\n"
)


@pytest.fixture
def web_root(tmp_path: Path) -> Path:
    root = tmp_path / "web root"
    (root / "clock").mkdir(parents=True)
    (tmp_path / "web root2").mkdir()
    (tmp_path / "web root2" / "secret").write_bytes(SECRET)
    (tmp_path / "secret").write_bytes(SECRET)
    (root / "rom1.bin").write_bytes(ROM)
    (root / "rom0.bin").write_bytes(ROM[::-1])
    (root / "clock" / "rom0.bin").write_bytes(b"clock")
    (root / "clock" / "index.html").write_text("<p>clock")
    (root / "empty.bin").write_bytes(b"")
    (root / "version").write_text("1.2.3\n")
    (root / ".hidden").write_bytes(SECRET)
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "directory-out").symlink_to(tmp_path)
    (root / "inside").symlink_to("clock/rom0.bin")
    os.mkfifo(root / "pipe")
    return root


class Desk:
    """A server, what it tells, and clients."""

    def __init__(self) -> None:
        self.port = 0
        self.events: list[Event] = []

    @property
    def ends(self) -> list[Transfer]:
        return [event for event in self.events if isinstance(event, Transfer) and event.state is not State.SENDING]

    def wait_for(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not true():
            assert time.monotonic() < end, self.events[-5:]
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, request: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return until_the_end(client)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body


def until_the_end(client: socket.socket) -> bytes:
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        received += b"(reset)"
    return received


@contextmanager
def running(web_root: Path, *fault: str, **settings: object) -> Iterator[Desk]:
    desk = Desk()
    options = ServerOptions(faults=tuple(map(faults.parse, fault)), **settings)
    with serving(web_root, options=options, on_event=desk.events.append) as listening:
        desk.port = listening.port
        yield desk


@pytest.fixture
def desk(web_root: Path) -> Iterator[Desk]:
    with running(web_root) as desk:
        yield desk


# What a device needs


def test_the_sample_of_rboot_gets_its_rom_as_its_client_needs_it(desk: Desk) -> None:
    with desk.connect() as client:
        client.sendall(SAMPLE)
        first = client.recv(65536)
        head, _, data = first.partition(b"\r\n\r\n")
        assert head[9:12] == b"200"
        assert b"\r\nContent-Length: 300000\r\n" in head
        assert data
        assert data + until_the_end(client) == ROM


@pytest.mark.parametrize(
    "request_bytes", [b"GET /version HTTP/1.0\r\n\r\n", b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"]
)
def test_the_header_and_the_first_data_are_one_segment(desk: Desk, request_bytes: bytes) -> None:
    with desk.connect() as client:
        client.sendall(request_bytes)
        assert client.recv(65536).endswith(b"\r\n\r\n1.2.3\n")
        assert segments(client) == 1


@pytest.mark.parametrize("size", [536, 1460])
def test_a_devices_first_segment_is_full(desk: Desk, size: int) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, size)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * size)
        client.settimeout(10)
        client.connect(("127.0.0.1", desk.port))
        client.sendall(SAMPLE)
        first = client.recv(size)
        assert len(first) > size - 50
        assert first.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("request_line", [b"GET /rom1.bin HTTP/1.0\r\n\r\n", b"GET /rom1.bin HTTP/1.0\nHost: a\n\n"])
def test_old_and_plain_clients_are_served_and_the_connection_is_closed(desk: Desk, request_line: bytes) -> None:
    response = desk.raw(request_line)
    assert response.partition(b"\r\n\r\n")[2] == ROM
    assert b"\r\nConnection: close\r\n" in response


def test_a_client_that_closes_its_half_is_served(desk: Desk) -> None:
    with desk.connect() as client:
        client.sendall(SAMPLE)
        client.shutdown(socket.SHUT_WR)
        assert until_the_end(client).endswith(b"\r\n\r\n" + ROM)


def test_nothing_is_chunked_or_compressed(desk: Desk) -> None:
    response, body = desk.ask("/rom1.bin", Accept_Encoding="gzip, br", TE="chunked")
    assert body == ROM
    assert response.getheader("Content-Length") == "300000"
    assert response.getheader("Transfer-Encoding") is None
    assert response.getheader("Content-Encoding") is None
    assert response.getheader("Cache-Control") == "no-cache"


def test_a_connection_can_be_kept(desk: Desk) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=10)
    for path, body in {
        "/rom1.bin": ROM,
        "/version": b"1.2.3\n",
        "/no": None,
        "/empty.bin": b"",
        "/rom0.bin": ROM[::-1],
    }.items():
        connection.request("GET", path)
        used = connection.sock
        received = connection.getresponse().read()
        assert body is None or received == body
        assert connection.sock is used
    connection.close()


def test_pipelined_requests_are_answered_in_order(desk: Desk) -> None:
    one = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
    response = desk.raw(3 * one + one.replace(b"version", b"inside").replace(b"a\r\n", b"a\r\nConnection: close\r\n"))
    assert [part.partition(b"\r\n\r\n")[2] for part in response.split(b"HTTP/1.1 200 OK")[1:]] == [b"1.2.3\n"] * 3 + [
        b"clock"
    ]


def test_head_is_get_without_the_body(desk: Desk) -> None:
    get, _ = desk.ask("/rom1.bin")
    head, body = desk.ask("/rom1.bin", "HEAD")
    assert body == b""
    without_date = [[item for item in response.getheaders() if item[0] != "Date"] for response in (get, head)]
    assert without_date[0] == without_date[1]
    assert desk.raw(b"HEAD /no HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


def test_a_download_that_began_before_a_rom_was_replaced_ends_with_the_old_bytes(web_root: Path) -> None:
    with running(web_root, rate=600_000) as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        first = client.recv(1000)
        (web_root / "new").write_bytes(b"new")
        (web_root / "new").replace(web_root / "rom1.bin")
        assert (first + until_the_end(client)).endswith(ROM)
        assert desk.ask("/rom1.bin")[1] == b"new"


def test_a_file_truncated_during_the_transfer_aborts_it(web_root: Path) -> None:
    with running(web_root, rate=600_000) as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        client.recv(1000)
        os.truncate(web_root / "rom1.bin", 100_000)
        assert len(until_the_end(client)) < 200_000
        desk.wait_for(lambda: desk.ends)
        assert desk.ends[0].state is State.ABORTED


def test_a_directory_has_its_index_and_no_list(desk: Desk) -> None:
    assert desk.ask("/clock/")[1] == b"<p>clock"
    response, _ = desk.ask("/clock")
    assert (response.status, response.getheader("Location")) == (301, "/clock/")
    assert desk.ask("/")[0].status == 404


def test_the_rate_is_kept(web_root: Path) -> None:
    with running(web_root, rate=200_000) as desk:
        start = time.monotonic()
        assert desk.ask("/rom1.bin")[1] == ROM
        assert 1.3 < time.monotonic() - start < 3


# Ranges and conditions


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=299990-", 299_990, 300_000),
        ("bytes=-7", 299_993, 300_000),
        ("bytes=1-999999", 1, 300_000),
        ("Bytes=0-0", 0, 1),
    ],
)
def test_a_range(desk: Desk, text: str, start: int, end: int) -> None:
    response, body = desk.ask("/rom1.bin", Range=text)
    assert (response.status, body) == (206, ROM[start:end])
    assert response.getheader("Content-Range") == f"bytes {start}-{end - 1}/300000"
    assert response.getheader("Content-Length") == str(end - start)


@pytest.mark.parametrize(
    "text",
    ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "lines=0-5", "bytes=x", "bytes=1 0-1 5", f"bytes={'9' * 5000}-"],
)
def test_anything_but_one_range_gets_the_complete_file(desk: Desk, text: str) -> None:
    response, body = desk.ask("/rom1.bin", Range=text)
    assert (response.status, body) == (200, ROM)


@pytest.mark.parametrize("text", ["bytes=300000-", "bytes=-0"])
def test_a_range_outside_is_416(desk: Desk, text: str) -> None:
    response, _ = desk.ask("/rom1.bin", Range=text)
    assert (response.status, response.getheader("Content-Range")) == (416, "bytes */300000")


def test_a_device_that_has_the_file_is_told_so(desk: Desk) -> None:
    response, _ = desk.ask("/rom1.bin")
    tag, modified = response.getheader("ETag"), response.getheader("Last-Modified")
    assert tag is not None
    assert modified is not None
    for condition in ({"If_None_Match": f'"x", W/{tag}'}, {"If_None_Match": "*"}, {"If_Modified_Since": modified}):
        assert desk.ask("/rom1.bin", **condition)[0].status == 304
        assert desk.ask("/rom1.bin", "HEAD", **condition)[0].status == 304
    old = formatdate(0, usegmt=True)
    for condition in (
        {"If_None_Match": '"x"', "If_Modified_Since": modified},
        {"If_Modified_Since": old},
        {"If_Modified_Since": "?"},
    ):
        assert desk.ask("/rom1.bin", **condition)[1] == ROM


def test_a_range_of_an_old_file_gets_the_complete_new_one(desk: Desk) -> None:
    response, _ = desk.ask("/rom1.bin")
    tag, modified = str(response.getheader("ETag")), str(response.getheader("Last-Modified"))
    for validator in (tag, modified):
        assert desk.ask("/rom1.bin", Range="bytes=0-1", If_Range=validator)[0].status == 206
    for validator in ('"x"', formatdate(0, usegmt=True)):
        assert desk.ask("/rom1.bin", Range="bytes=0-1", If_Range=validator)[0].status == 200


def test_who_goes_on_with_another_file_is_told_so(desk: Desk) -> None:
    response, _ = desk.ask("/rom1.bin")
    tag, modified = str(response.getheader("ETag")), str(response.getheader("Last-Modified"))
    old = formatdate(0, usegmt=True)
    for condition in ({"If_Match": '"x"'}, {"If_Match": f"W/{tag}"}, {"If_Unmodified_Since": old}):
        assert desk.ask("/rom1.bin", Range="bytes=0-1", **condition)[0].status == 412
    for condition in (
        {"If_Match": f'"x", {tag}', "If_Unmodified_Since": old},
        {"If_Match": "*"},
        {"If_Unmodified_Since": modified},
        {"If_Unmodified_Since": "?"},
    ):
        assert desk.ask("/rom1.bin", Range="bytes=0-1", **condition)[0].status == 206


def test_a_file_that_was_replaced_has_another_tag(desk: Desk, web_root: Path) -> None:
    before = desk.ask("/version", "HEAD")[0].getheader("ETag")
    (web_root / "new").write_text("1.2.4\n")
    os.utime(web_root / "new", ns=(0, (web_root / "version").stat().st_mtime_ns))
    (web_root / "new").replace(web_root / "version")
    assert desk.ask("/version", "HEAD")[0].getheader("ETag") != before


# What is refused


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FROB"])
def test_only_get_and_head(desk: Desk, method: str) -> None:
    response, _ = desk.ask("/rom1.bin", method)
    assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")


TRAVERSALS = [
    "/../secret",
    "/clock/../../secret",
    "/%2e%2e/secret",
    "/%2E%2E%2Fsecret",
    "/..%2fsecret",
    "/clock/..%2f..%2fsecret",
    "/%252e%252e/secret",
    "/%c0%ae%c0%ae/secret",
    "/..\\secret",
    "/..%5csecret",
    "\\..\\secret",
    "/../web%20root2/secret",
    "//secret",
    "//../secret",
    "/./../secret",
    "/.../secret",
    "/..;/secret",
    "/..?/secret",
    "/out",
    "/out/",
    "/directory-out/secret",
    "/directory-out/web%20root2/secret",
    "/.hidden",
    "/%2ehidden",
    "/clock/../.hidden",
    "/secret%00",
    "/rom1.bin%00",
    "/../secret%00.bin",
    "http://a/../secret",
    "http://a//secret",
    "http:///secret",
    "file:///etc/passwd",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/proc/self/environ",
    "*",
    "a:80",
    "http://[/secret",
    "secret",
    "../secret",
    "/pipe",
    "/" + "a" * 300,
    "/" + "a/" * 3000,
    "/" + "../" * 2000 + "etc/passwd",
]


@pytest.mark.parametrize("target", TRAVERSALS, ids=range(len(TRAVERSALS)))
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nothing_from_outside_the_web_root(desk: Desk, web_root: Path, target: str, version: str) -> None:
    for asked in (target, target.replace("secret", str(web_root.parent / "secret"))):
        response = desk.raw(f"GET {asked} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert response[9:12] in (b"400", b"404"), response[:200]
        assert b"\r\nContent-Length: " in response
        assert SECRET not in response
        assert b"root:" not in response


def test_a_link_that_stays_inside_and_an_absolute_uri_are_served(desk: Desk) -> None:
    assert desk.ask("/inside")[1] == b"clock"
    assert desk.raw(b"GET http://device/clock//./rom0.bin?a=/../b HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nclock")


def test_a_web_root_may_be_a_link_and_may_be_replaced(web_root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(web_root)
    with running(link) as desk:
        assert desk.ask("/rom1.bin")[1] == ROM
        link.unlink()
        assert desk.ask("/rom1.bin")[0].status == 404
        link.mkdir()
        (link / "rom1.bin").write_bytes(b"new")
        assert desk.ask("/rom1.bin")[1] == b"new"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 20_000, 414),
        (b"GET /rom1.bin HTTP/1.0\r\nX: " + b"a" * 20_000, 431),
        (b"GET /rom1.bin HTTP/1.0\r\n" + b"X: a\r\n" * 5_000, 431),
        (b"GET /rom1.bin HTTP/1.1\r\n\r\n", 400),
        (b"GET /rom1.bin HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /rom1.bin\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /rom1.bin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /rom1.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"GET /rom1.bin HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (
            b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"PUT /rom1.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 405),
    ],
)
def test_a_request_that_cannot_be_is_answered_and_the_connection_closed(
    desk: Desk, request_bytes: bytes, status: int
) -> None:
    response = desk.raw(request_bytes)
    assert response[9:12] == str(status).encode()
    assert b"\r\nConnection: close\r\n" in response
    assert not response.endswith(b"(reset)")


def test_a_request_with_a_body_ends_the_connection(desk: Desk) -> None:
    smuggled = (
        b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nGET /rom0.bin HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    response = desk.raw(smuggled)
    assert response.count(b"HTTP/1.1") == 1
    assert b"\r\nConnection: close\r\n" in response
    assert response.endswith(b"1.2.3\n")


@pytest.mark.parametrize("between", [b"\r\n", b"\n\n", b"\r\n" * 1000])
def test_empty_lines_before_and_after_a_request_are_passed_over(desk: Desk, between: bytes) -> None:
    one = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
    with desk.connect() as client:
        for _ in range(3):
            client.sendall(between + one + between)
            assert client.recv(65536).endswith(b"\r\n\r\n1.2.3\n")
        client.sendall(between)
        client.shutdown(socket.SHUT_WR)
        assert until_the_end(client) == b""
    response = desk.raw(between.join([b"", one, one, one.replace(b"a\r\n", b"a\r\nConnection: close\r\n"), b""]))
    assert response.count(b"200 OK") == 3
    assert b"400" not in response


def test_nothing_but_files_is_served(desk: Desk, web_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(web_root)  # as its path may be too long for a socket's
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("socket")
    (web_root / "device").symlink_to("/dev/zero")
    if os.getuid() == 0:
        (web_root / "device").unlink()
        with contextlib.suppress(PermissionError):  # as in a container
            os.mknod(web_root / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    (web_root / "directory" / "index.html").mkdir(parents=True)
    for path in ("/socket", "/device", "/pipe", "/directory/", "/directory/index.html/"):
        assert desk.ask(path)[0].status == 404


# Slow and many clients


def test_a_request_that_does_not_come_to_its_end_is_answered_with_408(web_root: Path) -> None:
    with running(web_root, request_seconds=0.3) as desk, desk.connect() as client:
        for byte in b"GET / HTTP":
            client.sendall(bytes([byte]))
            time.sleep(0.01)
        assert until_the_end(client)[9:12] == b"408"


def test_an_idle_connection_is_closed_without_a_word(web_root: Path) -> None:
    with running(web_root, request_seconds=0.3) as desk:
        assert desk.raw(b"") == b""


def test_a_client_that_takes_nothing_is_dropped(web_root: Path) -> None:
    (web_root / "rom1.bin").write_bytes(bytes(20_000_000))
    with running(web_root, stall_seconds=0.5) as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        desk.wait_for(lambda: desk.ends)
        assert desk.ends[0].state is State.ABORTED
        assert desk.ends[0].sent < 20_000_000


def test_a_client_that_is_slow_but_goes_on_is_not_dropped(web_root: Path) -> None:
    """Its few bytes do not make room for a piece, but each of them counts."""
    (web_root / "rom1.bin").write_bytes(bytes(20_000_000))
    with running(web_root, stall_seconds=0.5) as desk:
        with socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect(("127.0.0.1", desk.port))
            client.sendall(SAMPLE)
            for _ in range(80):
                assert client.recv(1460)
                time.sleep(0.03)
            assert not desk.ends
            desk.wait_for(lambda: desk.ends)  # as it takes no more
        assert desk.ends[0].state is State.ABORTED
        assert 80_000 < desk.ends[0].sent < 200_000


def test_a_client_that_has_taken_too_little_of_a_small_rom_is_not_done(web_root: Path) -> None:
    """By then the kernel has all data, which does not mean that the client received it."""
    with running(web_root, stall_seconds=0.5) as desk:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", desk.port))
        client.sendall(SAMPLE)
        desk.wait_for(lambda: desk.ends)
        client.close()
        assert desk.ends[0].state is State.ABORTED
        assert desk.ends[0].sent < 100_000


def test_a_client_that_closes_its_half_and_then_disconnects_is_noticed_at_once(web_root: Path) -> None:
    with running(web_root) as desk:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", desk.port))
            client.sendall(SAMPLE)
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
            time.sleep(0.3)
        start = time.monotonic()
        desk.wait_for(lambda: desk.ends)
        assert desk.ends[0].state is State.ABORTED
        assert time.monotonic() - start < 2


@contextmanager
def full(web_root: Path) -> Iterator[tuple[Desk, list[socket.socket]]]:
    """A server with three places, and the clients that have them."""
    with running(web_root, connections=3) as desk, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(desk.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000)[9:12] == b"200"
        yield desk, clients


def open_sockets() -> int:
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.lexists(link))


def test_more_connections_than_allowed_are_turned_away_and_others_served_later(web_root: Path) -> None:
    with full(web_root) as (desk, clients):
        assert desk.raw(SAMPLE)[9:12] == b"503"
        for client in clients:
            client.close()
        desk.wait_for(lambda: desk.raw(b"GET /version HTTP/1.0\r\n\r\n").endswith(b"1.2.3\n"))


def test_a_rejected_client_gets_a_complete_response_and_is_reported(web_root: Path) -> None:
    with full(web_root) as (desk, _):
        response, body = desk.ask("/rom1.bin", User_Agent="late")
        assert (response.status, response.getheader("Connection")) == (503, "close")
        assert body == b"<!DOCTYPE html>\n<title>503 Service Unavailable</title>\n<h1>503 Service Unavailable</h1>\n"
        assert response.getheader("Retry-After") == "5"
        desk.wait_for(lambda: len(desk.ends) == 4)
        last = desk.ends[-1]
        assert (last.agent, last.path, last.status, last.sent, last.state) == (
            "late",
            "/rom1.bin",
            503,
            len(body),
            State.DONE,
        )
        assert desk.raw(b"HEAD /rom1.bin HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2] == b""


def test_who_is_turned_away_is_not_reset_whatever_it_sent(web_root: Path) -> None:
    with full(web_root) as (desk, _):
        for _ in range(50):
            response = desk.raw(b"PUT /rom1.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
            assert response.startswith(b"HTTP/1.1 503 ")
            assert response.endswith(b"</h1>\n")


def test_not_many_wait_to_be_turned_away(web_root: Path) -> None:
    with full(web_root) as (desk, _), contextlib.ExitStack() as stack:
        before = open_sockets()
        for _ in range(50):
            stack.enter_context(desk.connect())
        desk.wait_for(lambda: open_sockets() == before + 50 + 3)
        assert desk.raw(SAMPLE)[9:12] == b"503"


def test_a_connection_that_only_lingers_takes_no_place(web_root: Path) -> None:
    with running(web_root, connections=3) as desk, contextlib.ExitStack() as stack:
        before = open_sockets()
        for _ in range(50):
            client = stack.enter_context(desk.connect())
            client.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            assert until_the_end(client).endswith(b"1.2.3\n")
            assert open_sockets() <= before + len(desk.ends) + 3 + 3


def malformed(number: int) -> bytes:
    """A request that a few accidents have happened to, or no request at all."""
    chance = random.Random(number)
    targets = [*[b"/rom1.bin", b"/version"] * 20, *(target.encode() for target in TRAVERSALS)]
    headers = [
        b"Host: a",
        b"Range: bytes=0-9",
        b"If-None-Match: *",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
    ]
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(3000))
    lines = [b"GET " + chance.choice(targets) + b" HTTP/1." + chance.choice([b"0", b"1"])]
    data = bytearray(b"\r\n".join([*lines, *chance.sample(headers, chance.randrange(4)), b"", b""]))
    for _ in range(chance.randrange(1, 8)):
        place = chance.randrange(len(data))
        accident = chance.randrange(4)
        if accident == 0:
            data[place] = chance.randrange(256)
        elif accident == 1:
            del data[place : place + chance.randrange(1, 9)]
            data += b"\r"
        elif accident == 2:
            data[place:place] = chance.choice([b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b"%", b"/../", b"\xff" * 9])
        else:
            data[place:place] = data[: chance.randrange(500)]
    return bytes(data)


def test_a_thousand_malformed_requests_do_no_harm(desk: Desk) -> None:
    outside = (SECRET, b"root:")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(1000):
        with desk.connect() as client:
            try:
                client.sendall(malformed(number))
                client.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # it has answered before it was sent all
            response = until_the_end(client)
            assert not any(text in response for text in outside), malformed(number)
            assert response == b"" or response.startswith((b"HTTP/1.1 ", b"(reset)")), malformed(number)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
    assert desk.ask("/rom1.bin")[1] == ROM
    statuses = {end.status for end in desk.ends}
    assert {200, 400, 404} <= statuses
    assert 500 not in statuses


# Faults, as a client sees them


def test_a_status_can_be_a_fault(web_root: Path) -> None:
    with running(web_root, "rom1.bin=404", "rom0.bin=500", "version=404-as-200") as desk:
        assert desk.ask("/rom1.bin")[0].status == 404
        assert desk.ask("/rom0.bin")[0].status == 500
        response, body = desk.ask("/version")
        assert response.status == 200
        assert b"404 Not Found" in body
        assert desk.ask("/inside")[1] == b"clock"


def test_a_redirect_leads_to_the_file(web_root: Path) -> None:
    with running(web_root, "redirect") as desk:
        response, _ = desk.ask("/clock/rom0.bin")
        assert (response.status, response.getheader("Location")) == (302, "/clock/rom0.bin?redirected")
        assert desk.ask("/clock/rom0.bin?redirected")[1] == b"clock"


def test_a_truncated_response_ends_cleanly_at_its_byte(web_root: Path) -> None:
    with running(web_root, "truncate@100000") as desk:
        head, _, body = desk.raw(SAMPLE).partition(b"\r\n\r\n")
        assert b"Content-Length: 300000" in head
        assert body == ROM[:100_000]
        desk.wait_for(lambda: desk.ends)
        assert (desk.ends[0].state, desk.ends[0].sent) == (State.ABORTED, 100_000)


def test_a_response_is_reset_at_its_byte(web_root: Path) -> None:
    with running(web_root, "reset@100000") as desk:
        assert desk.raw(SAMPLE).partition(b"\r\n\r\n")[2] == ROM[:100_000] + b"(reset)"


def test_a_stall_lasts_as_long_as_it_says(web_root: Path) -> None:
    with running(web_root, "stall@1000:1") as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        client.settimeout(0.4)
        received = client.recv(65536)
        with pytest.raises(TimeoutError):
            client.recv(65536)
        assert received.endswith(b"\r\n\r\n" + ROM[:1000])
        client.settimeout(10)
        assert (received + until_the_end(client)).endswith(ROM)


@pytest.mark.parametrize("more", [b"", b"\r\n", SAMPLE])
def test_a_stall_for_ever_ends_when_the_client_gives_up(web_root: Path, more: bytes) -> None:
    with running(web_root, "stall@1000") as desk:
        with desk.connect() as client:
            client.sendall(SAMPLE)
            client.recv(65536)
            client.sendall(more)
            time.sleep(0.3)
            assert not desk.ends
        desk.wait_for(lambda: desk.ends)
        assert (desk.ends[0].state, desk.ends[0].sent) == (State.ABORTED, 1000)


def test_one_byte_is_flipped(web_root: Path) -> None:
    with running(web_root, "flip@123456") as desk:
        body = desk.ask("/rom1.bin")[1]
        assert len(body) == len(ROM)
        assert [place for place in range(len(ROM)) if body[place] != ROM[place]] == [123_456]


def test_chunked_encoding_can_be_read_by_those_clients_that_support_it(web_root: Path) -> None:
    with running(web_root, "chunked") as desk:
        response, body = desk.ask("/rom1.bin")
        assert body == ROM
        assert response.getheader("Content-Length") is None
        assert desk.raw(SAMPLE).endswith(b"\r\n0\r\n\r\n")  # HTTP/1.0, which has no such thing


@pytest.mark.parametrize(
    "at", [f"{kind.value}{'@0' * kind.has_offset}" for kind in faults.FaultKind if kind.value != "split"]
)
def test_a_fault_keeps_head_and_304_without_a_body_and_the_connection_usable(web_root: Path, at: str) -> None:
    head = b"HEAD /rom1.bin HTTP/1.1\r\nHost: a\r\n\r\n"
    unchanged = b"GET /rom1.bin HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n"
    last = b"HEAD /version HTTP/1.0\r\n\r\n"
    with running(web_root, f"rom1.bin={at}") as desk:
        requests = head + (b"" if at in [kind.value for kind in faults.STATUS] else unchanged) + head + last
        response = desk.raw(requests)
        assert response.count(b"HTTP/1.1 ") == response.count(b"\r\n\r\n") == requests.count(b"\r\n\r\n")
        after_heads = response.split(b"\r\n\r\n")[1:]
        assert [after[:4] for after in after_heads] == [b"HTTP"] * (len(after_heads) - 1) + [b""]


def test_header_names_come_in_lower_case(web_root: Path) -> None:
    with running(web_root, "lower-case") as desk:
        head = desk.raw(SAMPLE).partition(b"\r\n\r\n")[0]
        assert b"\r\ncontent-length: 300000\r\n" in head
        assert b"Content-Length" not in head


@pytest.mark.parametrize("at", [9, 30, 9999])
def test_the_header_comes_in_two_segments(web_root: Path, at: int) -> None:
    with running(web_root, f"split@{at}") as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        first = client.recv(65536)
        assert len(first) == at if at < 9999 else first.endswith(b"\r\n\r\n")
        assert segments(client) == 1
        assert (first + until_the_end(client)).endswith(b"\r\n\r\n" + ROM)


def test_bursts_come_as_a_device_gets_them(web_root: Path) -> None:
    (web_root / "rom1.bin").write_bytes(ROM[:40_000])
    with running(web_root, "bursts") as desk, desk.connect() as client:
        client.sendall(SAMPLE)
        received = []
        while data := client.recv(65536):
            received.append(data)
        assert [len(data) for data in received[:-1]] == [5840] * (len(received) - 1)
        assert b"".join(received).endswith(ROM[:40_000])


# What it tells


def test_each_response_is_told_from_its_beginning_to_its_end(web_root: Path) -> None:
    with running(web_root, rate=200_000) as desk:
        desk.ask("/rom1.bin", User_Agent="rBoot-Sample/1.0")
        desk.wait_for(lambda: desk.ends)
        listening, first, *between, last = desk.events
        assert listening == Listening("127.0.0.1", desk.port)
        assert first == Transfer(1, "127.0.0.1", "rBoot-Sample/1.0", "GET", "/rom1.bin", 200, 300_000)
        assert len(between) >= 3
        progress = [transfer.sent for transfer in (first, *between, last)]
        assert progress == sorted(progress)
        assert (last.state, last.sent) == (State.DONE, 300_000)
        assert 100_000 < last.speed < 210_000


def test_a_device_that_disconnects_is_reported_as_aborted(web_root: Path) -> None:
    with running(web_root, rate=100_000) as desk:
        with desk.connect() as client:
            client.sendall(SAMPLE)
            client.recv(65536)
            time.sleep(0.05)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        desk.wait_for(lambda: desk.ends)
        assert desk.ends[0].state is State.ABORTED
        assert 0 < desk.ends[0].sent < 200_000


def test_what_a_client_says_of_itself_cannot_write_to_the_terminal(desk: Desk) -> None:
    desk.raw(b"GET /version HTTP/1.0\r\nUser-Agent: \x1b[2Jme\xff" + b"x" * 200 + b"\r\n\r\n")
    desk.wait_for(lambda: desk.ends)
    assert desk.ends[0].agent.startswith("\ufffd[2Jmeÿx")
    assert len(desk.ends[0].agent) == 80


def test_the_status_page_is_off_unless_asked_for(desk: Desk) -> None:
    assert desk.ask("/_status")[0].status == 404
    desk.wait_for(lambda: desk.ends)
    assert (desk.ends[0].path, desk.ends[0].status) == ("/_status", 404)


@pytest.fixture
def status_desk(web_root: Path) -> Iterator[Desk]:
    with running(web_root, status_page=True) as desk:
        yield desk


def test_the_status_page_shows_each_device(status_desk: Desk) -> None:
    assert b"No requests yet" in status_desk.ask("/_status")[1]
    status_desk.ask("/rom1.bin", User_Agent="<script>")
    status_desk.wait_for(lambda: status_desk.ends)
    _, body = status_desk.ask("/_status")
    assert b'<td class="app">&lt;script&gt;</td>' in body
    assert b'<td class="path">/rom1.bin</td>' in body
    assert b'<td class="result">done</td>' in body


def test_the_status_page_is_json_too(status_desk: Desk) -> None:
    status_desk.ask("/rom1.bin", User_Agent="clock/1.2.0 (slot 0)")
    status_desk.wait_for(lambda: status_desk.ends)
    response, body = status_desk.ask("/_status/devices.json")
    state = json.loads(body)
    assert response.getheader("Content-Type") == "application/json; charset=utf-8"
    assert (state["schema"], state["totals"]) == (1, {"devices": 1, "active": 0, "done": 1, "failed": 0})
    assert [(device["version"], device["slot"]) for device in state["devices"]] == [("1.2.0", 0)]
    assert json.loads(status_desk.ask(f"/_status/devices.json?since={state['revision']}")[1])["devices"] == []


@pytest.mark.parametrize(
    "name", ["", "/", "/devices.json", "/live.js", "/style.css", "/icon.svg", "/no", "/../_status"]
)
def test_nothing_of_the_status_page_is_a_request_of_a_device(status_desk: Desk, name: str) -> None:
    response, _ = status_desk.ask(f"/_status{name}")
    assert response.status == {"/no": 404, "/../_status": 400}.get(name, 200)
    status_desk.ask("/version")
    status_desk.wait_for(lambda: status_desk.ends)
    assert [end.path for end in status_desk.ends] == ["/version"]


@pytest.mark.parametrize("name", ["", "/devices.json", "/live.js"])
def test_the_status_page_has_a_strict_policy_and_holds_no_connection(status_desk: Desk, name: str) -> None:
    response, _ = status_desk.ask(f"/_status{name}", Connection="keep-alive")
    policy = response.getheader("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "unsafe" not in policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Connection") == "close"


def test_the_rate_and_the_faults_are_for_devices_alone(web_root: Path) -> None:
    with running(web_root, "404", status_page=True, rate=1000) as desk:
        start = time.monotonic()
        response, body = desk.ask("/_status/live.js")
        assert (response.status, len(body) > 3000) == (200, True)
        assert time.monotonic() - start < 2


def test_the_log_has_the_latest_of_each_device_up_to_the_maximum() -> None:
    log = TransferLog(max_rows=3)
    transfers = [Transfer(number, "a", "b", "GET", f"/{number % 5}", 200, 1) for number in range(20)]
    for transfer in transfers:
        log.add(transfer)
    log.add(Transfer(3, "a", "b", "GET", "/4", 200, 1))  # a late word of an earlier one
    assert log.rows() == tuple(transfers[-3:])


SENDING = Transfer(1, "10.0.0.7", "rBoot-Sample/1.0", "GET", "/rom1.bin", 200, 400_000, 100_000, 2.0)


def on_screen(transfers: list[Transfer], width: int, height: int = 24) -> list[str]:
    """The lines of the live table on a terminal of this size."""
    from rich.console import Console

    with open(os.devnull, "w") as nowhere:
        console = Console(width=width, record=True, file=nowhere)
        console.print(server.screen(transfers, width, height))
    return console.export_text().splitlines()


def test_the_table_has_a_row_for_each_device() -> None:
    other = Transfer(2, "10.0.0.8", "[red]me", "GET", "/no", 404, 0, 0, 0.1, State.DONE)
    _, first, second = on_screen([SENDING, other], 120)
    assert first.split()[:5] == ["10.0.0.7", "rBoot-Sample/1.0", "/rom1.bin", "sending", "25%"]
    assert first.split()[-5:] == ["100,000", "of", "400,000", "49", "KB/s"]
    assert second.split()[:5] == ["10.0.0.8", "[red]me", "/no", "status", "404"]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_has_the_complete_address_file_and_state_at_any_width(width: int) -> None:
    address, path = "2001:db8:85a3:8d3:1319:8a2e:370:7348", "/living-room-thermostat/rom1.bin"
    transfer = dataclasses.replace(SENDING, address=address, path=path, agent="thermostat/1.2.0 (slot 0)")
    lines = on_screen([transfer], width)
    assert max(map(len, lines)) <= width
    assert lines[1].startswith(f"{address}  ")
    assert "sending 25%" in lines[1]
    file = lines[0].index("file")
    assert "".join(line[file:].split("  ")[0].strip() for line in lines[1:]) == path
    assert ("thermostat/1.2.0 (slot 0)" in lines[1]) == (width == 200)
    assert ("100,000 of 400,000" in lines[1]) == (width == 200)


def test_two_hundred_devices_are_the_active_ones_the_newest_ones_and_a_count() -> None:
    done = [
        dataclasses.replace(SENDING, number=number, address=f"10.0.0.{number}", state=State.DONE)
        for number in range(2, 200)
    ]
    lines = on_screen([SENDING, *done, dataclasses.replace(SENDING, number=200, state=State.ABORTED)], 80, 10)
    assert len(lines) == 9
    addresses = [line.split()[0] for line in lines[1:-1]]
    assert addresses == ["10.0.0.7", "10.0.0.7", *(f"10.0.0.{number}" for number in range(199, 194, -1))]
    assert lines[-1] == "and 193 more: 193 done"


# The command


@contextmanager
def command(
    *arguments: str, stdout: int = subprocess.PIPE, before: tuple[str, ...] = (), **variables: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "rbootimg", "serve", "--host", "127.0.0.1", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly_even_in_the_middle_of_a_download(web_root: Path, number: int) -> None:
    with command(str(web_root), "--port", "0", "--rate", "20k") as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http://127.0.0.1:")[1].split("/")[0])
        lines = [process.stdout.readline() for _ in range(10)]
        assert lines[1] == f"  http://127.0.0.1:{port}/rom0.bin  300,000 bytes\n"
        assert lines[4:6] == ["  GET /rom1.bin HTTP/1.0\n", f"  Host: 127.0.0.1:{port}\n"]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(SAMPLE)
            client.recv(1000)
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
        assert (process.returncode, err) == (0, "")
        started, aborted, stopped = out.splitlines()
        assert started == "127.0.0.1  GET /rom1.bin  200  sending, 300,000 bytes  rBoot-Sample/1.0"
        assert aborted.startswith("127.0.0.1  GET /rom1.bin  200  aborted at ")
        assert stopped == "stopped"


def test_the_introduction_lists_what_can_be_fetched_and_nothing_else(web_root: Path, tmp_path: Path) -> None:
    (web_root / "rom2.bin").symlink_to("gone")
    (web_root / "rom3.bin").symlink_to("rom3.bin")
    (web_root / "rom4.bin").mkdir()
    (web_root / "rom5.bin").symlink_to(tmp_path / "secret")
    (web_root / "rom6.bin").symlink_to("clock/rom0.bin")
    os.mkfifo(web_root / "rom7.bin")
    (web_root / "loop").symlink_to("loop")
    (web_root / ".git").mkdir()
    (web_root / ".git" / "rom0.bin").write_bytes(b"hidden")
    (web_root / os.fsdecode(b"rom 8\xff.bin")).write_bytes(b"odd")
    with running(web_root) as desk:
        lines = server.introduction(web_root, Listening("127.0.0.1", desk.port)).split("\n")[1:6]
        expected = {"clock/rom0.bin": 5, "rom%208%FF.bin": 3, "rom0.bin": 300_000, "rom1.bin": 300_000, "rom6.bin": 5}
        assert lines == [f"  http://127.0.0.1:{desk.port}/{name}  {size:,} bytes" for name, size in expected.items()]
        for name, size in expected.items():
            assert len(desk.ask(f"/{name}")[1]) == size


def test_what_may_not_be_read_does_not_stop_the_server(web_root: Path) -> None:
    (web_root / "lost+found").mkdir(mode=0)
    (web_root / "rom0.bin").chmod(0)
    lines = as_nobody(web_root, lambda: server.introduction(web_root, Listening("127.0.0.1", 80)))
    assert lines.split("\n")[1:4] == [
        "  http://127.0.0.1:80/clock/rom0.bin  5 bytes",
        "  http://127.0.0.1:80/rom1.bin  300,000 bytes",
        "A device connects to 127.0.0.1 port 80 and sends these lines and an empty one, each with CR LF:",
    ]


def test_a_terminal_has_a_live_table(web_root: Path) -> None:
    own, its = pty.openpty()
    os.set_blocking(own, False)
    seen = b""

    def shown(text: bytes) -> bool:
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen += os.read(own, 65536)
        return text in seen

    with command(str(web_root), "--port", "0", "--rate", "200k", stdout=its, TERM="xterm", COLUMNS="120") as process:
        desk = Desk()
        desk.wait_for(lambda: shown(b"Accept: */*\r\n"))
        desk.port = int(seen.split(b"http://127.0.0.1:")[1].split(b"/")[0])
        with desk.connect() as client:
            client.sendall(SAMPLE)
            desk.wait_for(lambda: shown(b"sending"))
            until_the_end(client)
        desk.wait_for(lambda: shown(b"300,000 of 300,000"))
        assert b"rBoot-Sample/1.0" in seen
        process.send_signal(signal.SIGINT)
        desk.wait_for(lambda: shown(b"stopped\r\n"))
        assert process.wait(timeout=10) == 0
    os.close(own)
    os.close(its)


def refused(*arguments: str) -> str:
    with command(*arguments) as process:
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (1, "")
        assert err.count("\n") == 1
        return err


def test_a_port_in_use_is_one_line(web_root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port}: cannot listen: address in use" in refused(str(web_root), "--port", str(port))


@pytest.mark.parametrize("host", ["..", "a" * 64])
def test_a_host_that_cannot_be_is_one_line(web_root: Path, host: str) -> None:
    assert f": {host!r}: invalid host name: expected a name or an address, e.g. 0.0.0.0\n" in refused(
        str(web_root), "--port", "0", "--host", host
    )


def test_a_shell_that_allows_few_open_files_does_not_make_connections_fewer(web_root: Path) -> None:
    few = ("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh")
    with command(str(web_root), "--port", "0", before=few) as process, contextlib.ExitStack() as stack:
        assert process.stdout is not None
        desk = Desk()
        desk.port = int(process.stdout.readline().split("http://127.0.0.1:")[1].split("/")[0])
        for _ in range(100):
            stack.enter_context(desk.connect())
        assert desk.raw(SAMPLE).endswith(ROM)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1] == ""


def test_a_missing_web_root_is_one_line(tmp_path: Path) -> None:
    assert refused(f"{tmp_path}/no") == (f"rbootimg: {tmp_path}/no: no such directory; publish a release to it first\n")


def test_the_web_root_is_named_as_for_other_commands(web_root: Path, tmp_path: Path) -> None:
    for arguments, variables in (
        (["--web-root", str(web_root)], {"RBOOT_WEBROOT": str(tmp_path / "no")}),
        ([], {"RBOOT_WEBROOT": str(web_root)}),
        ([str(web_root)], {"RBOOT_WEBROOT": str(tmp_path / "no")}),
    ):
        with command("--port", "0", *arguments, **variables) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"Serving {web_root} at http://127.0.0.1:")
    with command(str(web_root), "--web-root", str(web_root)) as process:
        assert "not allowed with" in process.communicate(timeout=10)[1]
        assert process.returncode == 2


def test_a_web_root_that_cannot_be_served_is_one_line(web_root: Path) -> None:
    assert refused(str(web_root / "version")).endswith("version: not a directory\n")
    web_root.chmod(0o300)

    def start() -> str:
        with pytest.raises(ServerError) as error, serving(web_root):
            pass
        return str(error.value)

    assert "directory not readable; change its mode" in as_nobody(web_root, start)


def as_nobody(web_root: Path, ask: Callable[[], str]) -> str:
    """What `ask` returns to a user who is not allowed everything, as root is."""
    for path in web_root.parents:
        if path.stat().st_uid == os.getuid():
            path.chmod(0o755)
    own, its = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            os.write(its, ask().encode())
        finally:
            os._exit(0)
    os.close(its)
    with open(own, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--fault", "404@5", ""),
        ("--rate", "0", "invalid rate '0': expected bytes per second > 0, e.g. 20k"),
        ("--rate", "fast", "invalid rate 'fast': expected bytes per second > 0, e.g. 20k"),
        ("--port", "65536", "invalid port '65536': expected 0-65535"),
        ("--port", "http", "invalid port 'http': expected 0-65535"),
    ],
)
def test_wrong_usage_is_reported(web_root: Path, option: str, value: str, message: str) -> None:
    with command(str(web_root), option, value) as process:
        _, err = process.communicate(timeout=10)
        assert process.returncode == 2
        assert f"argument {option}: {message}" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("rom2.bin=404", "fault 404: no such file 'rom2.bin'; similar: "),
        ("/rom1.bin=reset@5", "fault reset: no such file '/rom1.bin'; similar: 'rom1.bin', "),
        ("clock/../rom1.bin=404", "fault 404: no such file 'clock/../rom1.bin'; similar: "),
        ("../secret=404", "fault 404: no such file '../secret'; "),
        (".hidden=404", "fault 404: no such file '.hidden'; "),
        ("out=404", "fault 404: no such file 'out'; "),
        ("directory-out/*=404", "fault 404: no file matches 'directory-out/*'; "),
        ("releases/*=404", "fault 404: no file matches 'releases/*'; "),
    ],
)
def test_a_fault_for_no_file_of_the_web_root_is_an_error(web_root: Path, fault: str, message: str) -> None:
    with command(str(web_root), "--port", "0", "--fault", "rom1.bin=404", "--fault", fault) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"rbootimg: {web_root}: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "fault",
    ["rom1.bin=404", "clock/=404", "clock=404", "cloc?/*=404", "inside=404", "loop/rom0.bin=404", "*=404"],
)
def test_a_fault_for_a_served_path_is_accepted(web_root: Path, fault: str) -> None:
    (web_root / "loop").symlink_to(".")
    (web_root / "clock/loop").symlink_to("..")
    with running(web_root, fault, "*/rom0.bin=500") as desk:
        path = fault.partition("=")[0].replace("?", "k").replace("*", "rom0.bin")
        assert desk.ask(f"/{path}")[0].status == 404


def test_a_pattern_also_matches_files_that_are_published_later(web_root: Path) -> None:
    with running(web_root, "*.bin=500") as desk:
        (web_root / "rom2.bin").write_bytes(b"new")
        assert desk.ask("/rom2.bin")[0].status == 500


def test_a_server_in_a_thread_says_why_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no such directory"), serving(tmp_path / "no"):
        pass
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match="in use"), serving(tmp_path, port=port):
            pass


def test_a_listener_that_fails_ends_the_server(web_root: Path) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Transfer):
            raise ValueError(event.path)

    def fetch() -> None:
        with (
            serving(web_root, on_event=fail) as listening,
            socket.create_connection(("127.0.0.1", listening.port)) as client,
        ):
            client.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            until_the_end(client)

    with pytest.raises(ValueError, match="/version"):
        fetch()
