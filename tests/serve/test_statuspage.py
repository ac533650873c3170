"""The status page: its JSON, and the page in a browser during transfers, with and without its script."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support import browser

from rbootimg.serve import faults, statuspage
from rbootimg.serve.devices import DeviceLog
from rbootimg.serve.events import Event, State, Transfer
from rbootimg.serve.server import STATUS_PAGE, ServerOptions, serving

in_browser = pytest.mark.needs("chromium")
views = pytest.mark.parametrize("view", browser.VIEWS, ids=str)
both_ways = pytest.mark.parametrize("scripts", [True, False], ids=["live", "without-scripts"])

SENDING = Transfer(2, "10.0.0.7", "clock/1.2.0 (slot 0)", "GET", "/rom1.bin", 200, 300_000, 100_000, 2.0)


def device_log(*transfers: Transfer) -> DeviceLog:
    log = DeviceLog(1_790_000_000)
    for transfer in transfers:
        log.add(transfer, 1_790_000_100.5)
    return log


# The JSON


def test_the_json_has_each_device_with_its_transfer_and_its_last_result() -> None:
    version = Transfer(1, "10.0.0.7", "clock/1.2.0 (slot 0)", "GET", "/version", 200, 6, 6, 0.01, State.DONE)
    state = json.loads(statuspage.status_json(device_log(version, SENDING), 1_790_000_110))
    (device,) = state.pop("devices")
    assert state.pop("rbootimg")
    assert state == {
        "schema": 1,
        "started": "2026-09-21T14:13:20.000Z",
        "time": "2026-09-21T14:15:10.000Z",
        "revision": 2,
        "totals": {"devices": 1, "active": 1, "done": 0, "failed": 0},
    }
    assert device == {
        "id": 1,
        "state": "active",
        "address": "10.0.0.7",
        "user_agent": "clock/1.2.0 (slot 0)",
        "app": "clock",
        "version": "1.2.0",
        "slot": 0,
        "requests": 2,
        "last_request": "2026-09-21T14:15:00.500Z",
        "transfer": {
            "number": 2,
            "method": "GET",
            "path": "/rom1.bin",
            "status": 200,
            "state": "sending",
            "size": 300_000,
            "sent": 100_000,
            "seconds": 2.0,
            "bytes_per_second": 50_000,
        },
        "result": {
            "number": 1,
            "method": "GET",
            "path": "/version",
            "status": 200,
            "state": "done",
            "size": 6,
            "sent": 6,
            "seconds": 0.01,
            "bytes_per_second": 600,
        },
        "text": {
            "address": "10.0.0.7",
            "app": "clock 1.2.0",
            "slot": "0",
            "path": "/rom1.bin",
            "progress": "33 % of 300,000 bytes",
            "result": "/version: done",
            "speed": "49 KB/s",
            "requests": "2",
        },
    }


def test_the_json_has_what_changed_after_a_revision() -> None:
    log = device_log(SENDING, Transfer(3, "10.0.0.8", "", "GET", "/no", 404, 68, 68, 0.1, State.DONE))
    changed = {since: json.loads(statuspage.status_json(log, 0, since))["devices"] for since in (0, 1, 2)}
    assert {since: [device["id"] for device in devices] for since, devices in changed.items()} == {
        0: [1, 2],
        1: [2],
        2: [],
    }
    assert changed[1][0]["app"] is changed[1][0]["slot"] is changed[1][0]["transfer"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 2.5, "2 d")],
)
def test_the_time_of_the_last_request_is_relative_and_exact(seconds: float, text: str) -> None:
    page = statuspage.status_page(device_log(SENDING), 1_790_000_100.5 + seconds)
    exact = "2026-09-21T14:15:00.500Z"
    assert f'<time datetime="{exact}" title="{exact}">{text} ago</time>' in page


# In a browser


def cells(window: Page) -> list[list[str]]:
    """The texts of the rows, without speeds and times."""
    rows = window.eval_on_selector_all("tbody tr", "rows => rows.map(row => [...row.cells].map(c => c.textContent))")
    return [[row[i] for i in (0, 1, 2, 3, 4, 6, 8)] for row in rows]


def totals(window: Page) -> dict[str, str]:
    return dict(zip(window.locator("dt").all_text_contents(), window.locator("dd").all_text_contents(), strict=True))


class Server:
    """A development server with devices that fetch from it."""

    def __init__(self, port: int, events: list[Event]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/{STATUS_PAGE}"
        self._events = events
        self._connections: list[socket.socket] = []

    def connect(self, path: str, agent: str) -> socket.socket:
        device = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self._connections.append(device)
        device.sendall(f"GET /{path} HTTP/1.0\r\nUser-Agent: {agent}\r\n\r\n".encode())
        return device

    def wait_for_events(self, path: str, is_there: Callable[[Transfer], bool]) -> None:
        end = time.monotonic() + 10
        while not any(isinstance(event, Transfer) and event.path == path and is_there(event) for event in self._events):
            assert time.monotonic() < end, self._events[-5:]
            time.sleep(0.01)

    def fetch(self, path: str, agent: str) -> None:
        device = self.connect(path, agent)
        while device.recv(65536):
            pass
        self.wait_for_events(f"/{path}", lambda event: event.state is not State.SENDING)

    def close(self) -> None:
        for device in self._connections:
            device.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose rom1.bin stalls after a third."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/rom0.bin").write_bytes(bytes(200_000))
    (tmp_path / "www/rom1.bin").write_bytes(bytes(300_000))
    (tmp_path / "www/version").write_text("1.0.0\n")
    options = ServerOptions(faults=(faults.parse("rom1.bin=stall@100000"),), status_page=True)
    events: list[Event] = []
    with serving(tmp_path / "www", options=options, on_event=events.append) as listening:
        server = Server(listening.port, events)
        yield server
        server.close()


@pytest.fixture
def devices(server: Server) -> Server:
    """With a device half-way, one that gave up, one that is done, and one that got a 404."""
    has_stalled = lambda event: event.sent == 100_000  # noqa: E731
    gone = server.connect("rom1.bin", "gone/1.0.0 (slot 0)")
    server.wait_for_events("/rom1.bin", has_stalled)
    gone.close()
    server.wait_for_events("/rom1.bin", lambda event: event.state is State.ABORTED)
    server.fetch("version", "<u>device")
    server.connect("rom1.bin", "<u>device")
    server.wait_for_events("/rom1.bin", lambda event: event.agent == "<u>device" and has_stalled(event))
    server.fetch("rom0.bin", "")
    server.fetch("no", "curl/8.0")
    return server


DEVICES = [
    ["127.0.0.1", "<u>device", "", "/rom1.bin", "33 % of 300,000 bytes", "/version: done", "2"],
    ["127.0.0.1", "curl 8.0", "", "/no", "68 bytes", "404 Not Found", "1"],
    ["127.0.0.1", "no User-Agent", "", "/rom0.bin", "200,000 bytes", "done", "1"],
    ["127.0.0.1", "gone 1.0.0", "0", "/rom1.bin", "300,000 bytes", "aborted at 100,000", "1"],
]


@in_browser
@both_ways
def test_the_page_has_each_device_in_a_row(devices: Server, chromium: Browser, scripts: bool) -> None:
    with browser.page(chromium, devices.url, scripts=scripts) as window:
        if scripts:
            window.wait_for_selector("#connection.live")
        assert cells(window) == DEVICES
        assert totals(window) == {"devices": "4", "active": "1", "done": "1", "failed": "2"}
        assert window.eval_on_selector(".active progress", "bar => [bar.max, bar.value]") == [300_000, 100_000]
        assert window.locator("progress:visible").count() == 1
        for speed in window.locator(".speed").all_text_contents():
            assert re.fullmatch(r"([\d,]+ KB/s)?", speed)


@in_browser
def test_the_page_follows_a_download_without_a_reload(server: Server, chromium: Browser) -> None:
    with browser.page(chromium, server.url) as window:
        window.wait_for_selector("#connection.live")
        assert window.is_visible("text=No requests yet")
        window.evaluate("document.body.dataset.loaded = 'once'")
        device = server.connect("rom1.bin", "clock/1.0.0 (slot 0)")
        window.wait_for_selector("tr.active >> text=33 % of 300,000 bytes")
        assert window.is_hidden("text=No requests yet")
        window.evaluate("document.querySelector('tbody tr').dataset.kept = 'yes'")
        device.close()
        window.wait_for_selector("tr.failed >> text=aborted at 100,000")
        assert window.text_content("#news") == "127.0.0.1: /rom1.bin: aborted at 100,000"
        server.fetch("version", "clock/1.1.0 (slot 1)")
        window.wait_for_selector("tr.done")
        assert cells(window) == [["127.0.0.1", "clock 1.1.0", "1", "/version", "6 bytes", "done", "2"]]
        assert window.get_attribute("tbody tr", "data-kept") == "yes"
        assert totals(window) == {"devices": "1", "active": "0", "done": "1", "failed": "0"}
        assert window.get_attribute("body", "data-loaded") == "once"
        window.wait_for_selector("text=/^[1-9] s ago$/")


@in_browser
def test_the_page_without_scripts_reloads_itself(server: Server, chromium: Browser) -> None:
    with browser.page(chromium, server.url, scripts=False) as window:
        assert window.inner_text("#connection noscript") == "reloads every 2 seconds"
        server.fetch("version", "clock/1.0.0 (slot 0)")
        window.wait_for_selector("tr.done")


@in_browser
def test_a_device_that_the_server_has_forgotten_leaves_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Browser
) -> None:
    monkeypatch.setattr("rbootimg.serve.server.DeviceLog", lambda started: DeviceLog(started, max_devices=1))
    with serving(tmp_path, options=ServerOptions(status_page=True)) as listening:
        server = Server(listening.port, [])
        with browser.page(chromium, server.url) as window:
            for agent, text in (("first/1.0.0", "first 1.0.0"), ("second/1.0.0", "second 1.0.0")):
                server.connect("version", agent).recv(1000)
                window.wait_for_selector(f"text={text}")
            window.wait_for_selector("text=first 1.0.0", state="detached")
        server.close()


@in_browser
def test_an_open_page_keeps_no_server_running_and_finds_the_next_one(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "version").write_text("1.0.0\n")
    options = ServerOptions(status_page=True)
    window = chromium.new_page()  # not browser.page(): the page complains that there is no server
    with serving(tmp_path, options=options) as listening:
        first = Server(listening.port, [])
        first.connect("version", "first/1.0.0").recv(1000)
        window.goto(first.url)
        window.wait_for_selector("#connection.live")
        window.wait_for_selector("text=first 1.0.0")
        start = time.monotonic()
    assert time.monotonic() - start < 2
    first.close()
    window.wait_for_selector("text=no reply from the server; retrying")
    assert window.is_visible("text=first 1.0.0")
    with serving(tmp_path, port=listening.port, options=options):
        second = Server(listening.port, [])
        second.connect("version", "second/1.0.0").recv(1000)
        window.wait_for_selector("text=second 1.0.0")
        window.wait_for_selector("text=first 1.0.0", state="detached")
        window.close()
        second.close()


@in_browser
@views
def test_two_hundred_devices_fit_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Browser, view: browser.View
) -> None:
    log = DeviceLog(time.time())
    for number in range(200):
        address, state = f"192.168.178.{number + 2}", (State.SENDING, State.DONE, State.ABORTED, State.DONE)[number % 4]
        agent = (
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101" if number % 9 == 0 else "valve/1.3.0 (slot 1)"
        )
        path = "/valve/releases/1.3.0-rc.1/rom1.bin" if number % 7 == 0 else "/rom1.bin"
        log.add(Transfer(number, address, agent, "GET", path, 200, 450_704, 200_000, 2.0, state), time.time())
    ipv6 = "fd00:1234:5678:9abc:def0:1234:5678:9abc"
    log.add(Transfer(200, ipv6, "a" * 80, "GET", f"/{'b' * 79}", 200, 450_704, 9, 2.0), time.time())
    monkeypatch.setattr("rbootimg.serve.server.DeviceLog", lambda _: log)
    with serving(tmp_path, options=ServerOptions(status_page=True)) as listening:
        url = f"http://127.0.0.1:{listening.port}/{STATUS_PAGE}"
        with browser.page(chromium, url, view) as window:
            window.wait_for_selector("#connection.live")
            assert window.locator("tbody tr").count() == 201
            assert browser.overflow(window) == 0
            window.evaluate("scrollTo(0, 3000)")
            assert window.locator("thead th" if view.width > 960 else "dl").first.bounding_box()["y"] >= 0
        assert browser.accessibility_faults(chromium, url, view) == []


@in_browser
@views
def test_the_page_without_a_device_is_accessible(server: Server, chromium: Browser, view: browser.View) -> None:
    assert browser.accessibility_faults(chromium, server.url, view) == []
