"""A web root behind nginx: what a fleet gets while releases come and go."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.releases import make, make_roms

from rbootimg.release.check_http import check_url
from rbootimg.release.webroot import publish, rollback

pytestmark = pytest.mark.needs("nginx")

CLIENTS = 50
DOWNLOADS = 20_000
SIZE = 32768

CONFIG = """\
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; default_type application/octet-stream; keepalive_requests 1000000; sendfile on;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def nginx(root: Path, directory: Path) -> Iterator[int]:
    """nginx that serves `root`, with its own files in `directory`; the port."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert program, "these tests need nginx"
    port = free_port()
    user = "user root;" if Path("/proc/self").owner() == "root" else ""
    (directory / "nginx.conf").write_text(CONFIG.format(directory=directory, root=root, port=port, user=user))
    server = subprocess.Popen([program, "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "error.log"])
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.poll() is None, (directory / "error.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait(10)


class Client(threading.Thread):
    """A device that downloads without pause, and notes what is wrong with what it gets."""

    def __init__(self, port: int, known: set[bytes], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.known, self.stop = known, stop
        self.downloads = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                manifest = json.loads(self.get("manifest.json"))
                rom = manifest["roms"][self.downloads % 2]
                if hashlib.sha256(self.get(rom["path"])).hexdigest() != rom["sha256"]:
                    self.wrong.append(f"{rom['path']} is not that of its manifest")
                if self.get("version").decode().removesuffix("\n") not in VERSIONS:
                    self.wrong.append("version is of no release")
                for name in ("rom0.bin", "rom1.bin"):
                    if self.get(name) not in self.known:
                        self.wrong.append(f"{name} is in no release")
        except Exception as error:  # whatever it is, it is wrong
            self.wrong.append(repr(error))

    def get(self, path: str) -> bytes:
        self.connection.request("GET", f"/{path}")
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200 or len(body) != int(reply.headers["Content-Length"]):
            self.wrong.append(f"{path}: status {reply.status}, {len(body)} bytes")
        self.downloads += 1
        return body


VERSIONS = [f"1.{number}.0" for number in range(200)]


def test_a_fleet_always_gets_a_whole_release_while_releases_come_and_go(tmp_path: Path) -> None:
    root, directory = tmp_path / "www", tmp_path / "nginx"
    directory.mkdir()
    bundles = [make(version, size=SIZE) for version in VERSIONS]
    publish(root, bundles[:1])
    publish(root, bundles[1:2])
    known = {data for version in VERSIONS for data in make_roms(version, SIZE)}
    stop = threading.Event()
    switches = 0
    with nginx(root, directory) as port:
        clients = [Client(port, known, stop) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        deadline = time.monotonic() + 240
        for bundle in bundles[2:]:
            publish(root, [bundle])
            rollback(root)
            rollback(root, bundle.release.version)
            switches += 3
            if sum(client.downloads for client in clients) >= DOWNLOADS or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        while sum(client.downloads for client in clients) < DOWNLOADS and time.monotonic() < deadline:
            rollback(root)
            rollback(root, bundle.release.version)
        stop.set()
        for client in clients:
            client.join(30)
        found = check_url(f"http://127.0.0.1:{port}/")
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert sum(client.downloads for client in clients) >= DOWNLOADS
    assert min(client.downloads for client in clients) > 0
    assert switches >= 6
    assert [finding for finding in found if finding.fault] == []


@pytest.mark.parametrize("path", ["rom0.bin", "version"])
def test_a_client_that_asks_for_changes_gets_them_forth_and_back(tmp_path: Path, path: str) -> None:
    """Also within a second, and with ROMs of one size."""
    root, directory = tmp_path / "www", tmp_path / "nginx"
    directory.mkdir()
    publish(root, [make("1.0.0")])
    with nginx(root, directory) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def get(**headers: str) -> tuple[int, bytes, dict[str, str]]:
            connection.request(
                "GET", f"/{path}", headers={key.replace("_", "-"): text for key, text in headers.items()}
            )
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.getheaders())

        for step in (lambda: publish(root, [make("1.1.0")]), lambda: rollback(root)):
            _, before, headers = get()
            etag, modified = headers["ETag"], headers["Last-Modified"]
            assert get(If_None_Match=etag)[0] == get(If_Modified_Since=modified)[0] == 304
            step()
            for condition in ({"If_None_Match": etag}, {"If_Modified_Since": modified}):
                status, body, _ = get(**condition)
                assert status == 200
                assert body != before
