"""A web root through its server: what of the replies a device would choke on."""

from __future__ import annotations

import gzip
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from releases import make, make_roms

from rbootimg import faults
from rbootimg.errors import PublishError
from rbootimg.httpcheck import Finding, check_url
from rbootimg.server import Options, serving
from rbootimg.webroot import publish

ROM = make_roms("1.0.0", 4096)[0]
LENGTH = f"Content-Length: {len(ROM)}"


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "Connection: close", "", "")).encode()


class Server:
    """A server that says what it is told to for rom0.bin, and the truth for all else."""

    def __init__(self, root: Path) -> None:
        self.root, self.reply = root, head(LENGTH) + ROM
        self.requests: list[bytes] = []
        self.path = "rom0.bin"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(65536)
                self.requests.append(request)
                path = request.split()[1].decode().lstrip("/")
                if path == self.path:
                    connection.sendall(self.reply)
                else:
                    data = (self.root / path).read_bytes()
                    connection.sendall(head(f"Content-Length: {len(data)}") + data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    publish(tmp_path, [make("1.0.0", size=4096)])
    server = Server(tmp_path)
    yield server
    server.listener.close()


def test_a_plain_server_has_nothing_that_is_noteworthy(server: Server) -> None:
    assert check_url(server.url) == ()
    assert [request.split()[1] for request in server.requests] == [
        b"/manifest.json",
        b"/version",
        b"/rom0.bin",
        b"/releases/1.0.0/rom0.bin",
        b"/rom1.bin",
        b"/releases/1.0.0/rom1.bin",
    ]


def test_the_request_is_that_of_rboots_sample(server: Server) -> None:
    check_url(server.url)
    lines = server.requests[2].decode().split("\r\n")
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


CHUNKED = head("Transfer-Encoding: chunked") + f"{len(ROM):x}\r\n".encode() + ROM + b"\r\n0\r\n\r\n"
ZIPPED = gzip.compress(ROM, mtime=0)


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        (head() + ROM, ["has no Content-Length; a device does not know where it ends"]),
        (
            CHUNKED,
            [
                "has Transfer-Encoding: chunked; a device would write the chunk sizes to the flash",
                "has no Content-Length; a device does not know where it ends",
            ],
        ),
        (
            head("Content-Encoding: gzip", f"Content-Length: {len(ZIPPED)}") + ZIPPED,
            [
                "has Content-Encoding: gzip, unasked; a device would write that to the flash",
                f"has {len(ZIPPED)} bytes, not 2,096 as the manifest says; one of the two is stale or damaged",
            ],
        ),
        (
            head("Location: https://x/rom0.bin", "Content-Length: 0", status="301 Moved"),
            ["redirects to https://x/rom0.bin (status 301); no device follows"],
        ),
        (head("Content-Length: 4", status="404 Not Found") + b"none", ["has status 404, not 200"]),
        (head(LENGTH) + ROM[:100], [f"ends after 100 bytes, {len(ROM) - 100:,} too early"]),
        (
            head(LENGTH) + bytes(len(ROM)),
            ["is not the ROM of the manifest: its SHA-256 is another; one of the two is stale or damaged"],
        ),
        (head("Content-Length: 10") + ROM[:10], ["has 10 bytes, not 2,096 as the manifest says; one of the two is"]),
        (head(LENGTH, "Age: 3600") + ROM, ["comes from a cache, 3,600 seconds old; let it ask the server each time"]),
        (
            head(LENGTH, "Cache-Control: public, max-age=600") + ROM,
            ["may be served 600 seconds after a release; send Cache-Control: no-cache"],
        ),
        (
            head(LENGTH, "Expires: Thu, 01 Dec 2044 16:00:00 GMT") + ROM,
            ["may be served until Thu, 01 Dec 2044 16:00:00 GMT; send Cache-Control: no-cache"],
        ),
        (head(LENGTH, "Cache-Control: no-cache", "Age: 0") + ROM, []),
        (
            head(LENGTH, f"X-Long: {'x' * 1400}") + ROM,
            ["has a header of 1,470 bytes; rBoot's OTA sample wants it within 1,460"],
        ),
    ],
)
def test_what_a_device_would_choke_on_is_a_fault(server: Server, reply: bytes, texts: list[str]) -> None:
    server.reply = reply
    found = check_url(server.url)
    assert [(finding.path, finding.fault) for finding in found] == [("rom0.bin", True)] * len(texts)
    for finding, text in zip(found, texts):
        assert finding.text.startswith(text)


def test_a_broken_manifest_is_no_end_of_the_check(server: Server) -> None:
    """What is wrong with its reply is told, and the other files are looked at as far as that goes without it."""
    server.path = "manifest.json"
    manifest = (server.root / "manifest.json").read_bytes()
    for reply, texts in (
        (head("Location: /x", "Content-Length: 0", status="302 Found"), ["redirects to /x (status 302)", "cannot be"]),
        (head(f"Content-Length: {len(manifest)}") + manifest[:99], ["ends after 99 bytes", "cannot be read: the man"]),
        (
            head("Content-Encoding: gzip", f"Content-Length: {len(ZIPPED)}") + ZIPPED,
            ["has Content-Encoding: gzip", "cannot be read: the manifest is not JSON; so the ROMs are compared with"],
        ),
        (head("Content-Length: 4") + b"404!", ["cannot be read: the manifest is not JSON"]),
    ):
        server.reply = reply
        server.requests.clear()
        found = check_url(server.url)
        assert [finding.path for finding in found] == ["manifest.json"] * len(texts)
        for finding, text in zip(found, texts):
            assert finding.text.startswith(text)
        assert [request.split()[1] for request in server.requests][1:] == [b"/version", b"/rom0.bin", b"/rom1.bin"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("split@20", "has its header in pieces, the first of 20 bytes; rBoot's OTA sample fails"),
        ("lower-case", "spells content-length; rBoot's OTA sample finds Content-Length only and fails"),
        ("reset@9", "breaks off after "),
        ("truncate@9", "ends after 9 bytes, 2,087 too early"),
        ("flip@9", "is not the ROM of the manifest"),
        ("chunked", "has Transfer-Encoding: chunked"),
        ("500", "has status 500, not 200"),
        ("redirect", "redirects to /rom0.bin?redirected (status 302); no device follows"),
        ("404-as-200", "has 68 bytes, not 2,096 as the manifest says"),
        ("stall@9", "stalls after 9 bytes"),
    ],
)
def test_our_own_servers_faults_are_found(server: Server, fault: str, text: str) -> None:
    with serving(server.root, options=Options(faults=(faults.parse(f"rom0.bin={fault}"),))) as listening:
        found = check_url(f"http://127.0.0.1:{listening.port}/", timeout=1)
    assert {(finding.path, finding.fault) for finding in found} == {("rom0.bin", True)}
    assert found[0].text.startswith(text)


def test_a_server_without_faults_has_nothing_that_is_noteworthy(server: Server) -> None:
    with serving(server.root) as listening:
        assert check_url(f"http://127.0.0.1:{listening.port}/") == ()


def test_a_length_without_a_blank_is_not_found_by_rboots_sample(server: Server) -> None:
    server.reply = head(LENGTH.replace(" ", "")) + ROM
    (finding,) = check_url(server.url)
    assert finding.text == "has no blank behind Content-Length:, without which rBoot's OTA sample does not find it"


def test_one_file_without_a_reply_is_no_end_of_the_check(server: Server) -> None:
    for reply, text in (
        (b"", "gives no reply: Remote end closed connection"),
        (b"nonsense\r\n\r\n", "gives no reply: "),
    ):
        server.reply = reply
        (finding,) = check_url(server.url)
        assert finding.path == "rom0.bin"
        assert finding.text.startswith(text)


def test_what_never_changes_may_be_kept_by_caches(server: Server) -> None:
    server.path = "releases/1.0.0/rom0.bin"
    server.reply = head(LENGTH, "Cache-Control: max-age=31536000, immutable", "Age: 9") + ROM
    assert check_url(server.url) == ()


def test_a_version_that_is_not_the_manifests_is_stale(server: Server) -> None:
    server.path, server.reply = "version", head("Content-Length: 6") + b"0.9.0\n"
    (finding,) = check_url(server.url)
    assert finding == Finding("version", r"is b'0.9.0\n', not that of the manifest; one of the two is stale")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (lambda server: "www", "this is no URL of a web root"),
        (lambda server: "ftp://x/", "this is no URL of a web root"),
        (lambda server: "http://127.0.0.1:1/", "no reply for /manifest.json: Connection refused"),
        (
            lambda server: "http://127.0.0.1:99999999/",
            "^this is no URL of a web root: Port out of range 0-65535; write",
        ),
        (lambda server: "http://x:abc/", "^this is no URL of a web root: Port could not be cast"),
        (lambda server: "http://[::1", "^this is no URL of a web root: Invalid IPv6 URL; write one such as"),
        (lambda server: "http://u:p@x/", "^a web root's URL has no user, query or fragment; write one such as"),
        (lambda server: f"{server.url}?a", "^a web root's URL has no user, query or fragment"),
        (lambda server: "http://a b/", "^no reply for /manifest.json: "),
    ],
)
def test_without_a_server_there_is_one_line(server: Server, url: Callable[[Server], str], message: str) -> None:
    with pytest.raises(PublishError, match=message):
        check_url(url(server))


def test_without_a_manifest_there_is_one_line(server: Server) -> None:
    server.path, server.reply = "manifest.json", head("Content-Length: 4", status="404 Not Found") + b"none"
    with pytest.raises(PublishError, match=r"^no manifest\.json to go by: status 404; give the URL of the app"):
        check_url(server.url)


def test_a_server_that_stalls_is_told(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PublishError, match="timed out"):
        check_url(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.2)


def test_pythons_own_server_will_do(tmp_path: Path) -> None:
    publish(tmp_path, [make("1.0.0"), make("2.0.0", "a b")])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert check_url(f"http://127.0.0.1:{server.server_port}/a b") == ()
        server.shutdown()
