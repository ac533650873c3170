"""The configuration for nginx, in the real nginx, inside an http block as a distribution has it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nginx import NGINX, OUTER, free_port
from support.project import ROOT, segments

from rbootimg.errors import SettingError
from rbootimg.serve.nginx import configuration
from rbootimg.serve.server import serving

pytestmark = pytest.mark.needs("nginx")

ROM = os.urandom(300_000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A web root, and the port of an nginx with the configuration that the command prints for it."""
    directory = tmp_path_factory.mktemp("nginx")
    for name, data in {
        'web "root"/rom1.bin': ROM,
        'web "root"/clock/rom0.bin': b"clock",
        'web "root"/clock/index.html': b"<p>clock",
        'web "root"/manifest.json': b"{}" * 500,
        'web "root"/.rbootimg-1.tmp': b"half",
        'web "root"/.git/config': b"half",
        'web "root"/empty.bin': b"",
        'web "root"/empty/sub/rom0.bin': b"deep",
        'web "root"/style.css': b"p {}",
        'web "root"/NOTES.TXT': b"notes",
        'web "root"/picture.svg': b"<svg/>",
        "secret": b"from outside",
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    links = {"out": "/etc/passwd", "directory-out": directory, "gone": "nothing", "loop": "loop", "inside": "rom1.bin"}
    for name, target in links.items():
        (directory / 'web "root"' / name).symlink_to(target)
    os.mkfifo(directory / 'web "root"' / "pipe")
    port = free_port()
    printed = subprocess.run(
        [sys.executable, "-m", "rbootimg", "nginx-conf", 'web "root"', "--port", str(port)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    (directory / "site.conf").write_bytes(printed.stdout)
    (directory / "nginx.conf").write_text(OUTER.format(site=directory / "site.conf"))
    process = subprocess.Popen([NGINX, "-p", directory, "-c", directory / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        for _ in range(500):
            assert process.poll() is None, (process.communicate(), (directory / "error.log").read_text())
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        yield directory / 'web "root"', port
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def port(site: tuple[Path, int]) -> int:
    """That of nginx."""
    return site[1]


@pytest.fixture(scope="module")
def own_port(site: tuple[Path, int]) -> Iterator[int]:
    """That of the development server, which serves the same."""
    with serving(site[0]) as listening:
        yield listening.port


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@pytest.mark.parametrize("path", ["/rom1.bin", "/manifest.json"])
def test_nothing_is_compressed_or_chunked(port: int, path: str) -> None:
    response, body = ask(port, path, Accept_Encoding="gzip, deflate, br")
    assert response.status == 200
    assert response.getheader("Content-Length") == str(len(body))
    assert response.getheader("Content-Encoding") is None
    assert response.getheader("Transfer-Encoding") is None
    assert response.getheader("Cache-Control") == "no-cache"
    if path == "/rom1.bin":
        assert body == ROM
        assert response.getheader("Content-Type") == "application/octet-stream"


def test_a_device_gets_the_header_and_the_first_data_in_one_segment(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /clock/rom0.bin HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, data = client.recv(65536).partition(b"\r\n\r\n")
        assert head[9:12] == b"200"
        assert b"\r\nContent-Length: 5\r\n" in head
        assert data == b"clock"
        assert segments(client) == 1


def test_a_device_that_has_the_file_is_told_so(port: int) -> None:
    tag = ask(port, "/rom1.bin", "HEAD")[0].getheader("ETag")
    assert tag
    assert ask(port, "/rom1.bin", If_None_Match=tag)[0].status == 304


def test_ranges_are_as_from_the_development_server(port: int) -> None:
    response, body = ask(port, "/rom1.bin", Range="bytes=5-9")
    assert (response.status, body) == (206, ROM[5:10])
    response, body = ask(port, "/rom1.bin", Range="bytes=0-1,5-6")
    assert (response.status, body) == (200, ROM)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head(port: int, method: str) -> None:
    assert ask(port, "/rom1.bin", method)[0].status == 405


@pytest.mark.parametrize("path", ["/.rbootimg-1.tmp", "/.git/config", "/clock/../.git/config", "/%2egit/config", "/no"])
def test_hidden_files_are_not_there(port: int, path: str) -> None:
    response, body = ask(port, path)
    assert response.status == 404
    assert b"half" not in body


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/out"])
def test_nothing_from_outside(port: int, path: str) -> None:
    response, body = ask(port, path)
    assert response.status in (400, 404)
    assert b"from outside" not in body
    assert b"root:" not in body


def test_a_directory_has_its_index_and_no_list(port: int) -> None:
    assert ask(port, "/clock/")[1] == b"<p>clock"
    assert ask(port, "/clock")[0].getheader("Location") == "/clock/"
    assert ask(port, "/")[0].status == 404


PATHS = [
    "/rom1.bin",
    "/rom1.bin?a=b",
    "/rom1.bin/",
    "/rom1.bin/x",
    "/%72om1.bin",
    "//rom1.bin",
    "/./rom1.bin",
    "/empty.bin",
    "/manifest.json",
    "/style.css",
    "/NOTES.TXT",
    "/picture.svg",
    "/clock",
    "/clock/",
    "/clock/.",
    "/clock%2From0.bin",
    "/clock//index.html",
    "/",
    "/empty",
    "/empty/",
    "/no",
    "/no/",
    "/out",
    "/out/",
    "/directory-out",
    "/directory-out/",
    "/directory-out/secret",
    "/gone",
    "/loop",
    "/pipe",
    "/.git",
    "/.git/config",
    "/...",
    "/_status",
    "/..",
    "/../secret",
    "/%2e%2e/secret",
    "/%00",
    "/rom1.bin%00",
    "*",
    "rom1.bin",
    "http://a/rom1.bin",
    "http://a/../secret",
    "http://a",
]
METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "FROB")
RANGES = (
    "bytes=0-0",
    "Bytes=5-9",
    "bytes=299990-",
    "bytes=-7",
    "bytes=0-1,5-6",
    "bytes=300000-",
    "bytes=-0",
    "lines=0-5",
)
LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
CONDITIONS = (
    {"If_None_Match": "*"},
    {"If_None_Match": '"x"'},
    {"If_Match": "*"},
    {"If_Match": '"x"', "Range": "bytes=0-1"},
    {"If_Modified_Since": LONG_AGO},
    {"If_Modified_Since": "?"},
    {"If_Unmodified_Since": LONG_AGO},
    {"If_Range": '"x"', "Range": "bytes=0-1"},
    {"If_Range": LONG_AGO, "Range": "bytes=0-1"},
)
REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    *((method, path, {}) for path in PATHS for method in ("GET", "HEAD")),
    *((method, path, {}) for path in ("/rom1.bin", "/no", "/empty/", "/.git/config") for method in METHODS),
    *(("GET", path, {"Range": text}) for path in ("/rom1.bin", "/no") for text in RANGES),
    *(("GET", "/empty.bin", {"Range": text}) for text in ("bytes=0-", "bytes=-1")),
    *(("GET", path, headers) for path in ("/rom1.bin", "/no") for headers in CONDITIONS),
    *(("HEAD", "/rom1.bin", headers) for headers in CONDITIONS if "Range" not in headers),
]


def seen(port: int, method: str, path: str, headers: dict[str, str]) -> tuple[object, ...]:
    """What a device can see of a response; of a page for people only that it is complete."""
    response, body = ask(port, path, method, **headers)
    told = [response.getheader(name) for name in ("Allow", "Location", "Content-Range")]
    told += dict.fromkeys(response.headers.get_all("Cache-Control", []))  # which nginx says twice with a 416
    length = response.getheader("Content-Length")
    if response.status in (200, 206):
        return response.status, body, told, length, response.getheader("Content-Type")
    if response.status != 304:  # for which nginx has none
        assert int(str(length)) == len(body) or method == "HEAD"
    return response.status, told


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS)
def test_the_development_server_answers_the_same(
    port: int, own_port: int, method: str, path: str, headers: dict[str, str]
) -> None:
    assert seen(port, method, path, headers) == seen(own_port, method, path, headers)


def test_only_a_link_that_stays_inside_is_not_there(port: int, own_port: int) -> None:
    assert ask(own_port, "/inside")[1] == ROM
    assert ask(port, "/inside")[0].status == 404


@pytest.mark.parametrize("root", ["relative", "/a$b", "/a\nb"])
def test_a_directory_that_nginx_cannot_be_told_is_refused(root: str) -> None:
    with pytest.raises(SettingError, match="path not usable in an nginx configuration"):
        configuration(Path(root))


def test_a_name_that_would_be_configuration_is_refused() -> None:
    with pytest.raises(SettingError, match="invalid server name 'a; include /etc/passwd': expected a host name"):
        configuration(Path("/a"), server_name="a; include /etc/passwd")
    with pytest.raises(SettingError, match="invalid port 0: expected 1-65535"):
        configuration(Path("/a"), 0)


def test_the_name_and_the_port_are_in_it() -> None:
    text = configuration(Path("/srv/roms"), 8080, "roms.example.org")
    assert '\n    listen 8080;\n    server_name roms.example.org;\n    root "/srv/roms";\n' in text
