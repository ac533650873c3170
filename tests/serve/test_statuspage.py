"""The status page in a browser, during transfers."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support import browser

from rbootimg.serve import faults
from rbootimg.serve.events import Event, State, Transfer
from rbootimg.serve.server import STATUS_PAGE, ServerOptions, serving

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def url(tmp_path: Path, events: list[Event]) -> Iterator[str]:
    """The page of a server with a device half-way, one that gave up, one that is done and one that got a 404."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/rom1.bin").write_bytes(bytes(300_000))
    (tmp_path / "www/version").write_text("1.0.0\n")
    options = ServerOptions(faults=(faults.parse("rom1.bin=stall@100000"),), status_page=True)
    with serving(tmp_path / "www", options=options, on_event=events.append) as listening:
        devices = []
        for path, agent in (("rom1.bin", "left"), ("rom1.bin", "<u>device"), ("version", ""), ("no", "curl/8.0")):
            device = socket.create_connection(("127.0.0.1", listening.port), timeout=10)
            device.sendall(f"GET /{path} HTTP/1.0\r\nUser-Agent: {agent}\r\n\r\n".encode())
            received = 0
            while received < 100_000 and (data := device.recv(65536)):
                received += len(data)
            devices.append(device)
        devices[0].close()
        end = time.monotonic() + 10
        while sum(isinstance(event, Transfer) and event.state is not State.SENDING for event in events) < 3:
            assert time.monotonic() < end, events
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.port}/{STATUS_PAGE}"
        for device in devices:
            device.close()


def test_the_page_has_the_numbers_of_each_device(url: str, events: list[Event], chromium: Browser) -> None:
    with browser.page(chromium, url) as window:
        html = window.content()
    rows = [
        [unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in re.findall("<td.*?</td>", row, re.DOTALL)]
        for row in re.findall("<tr.*?</tr>", html, re.DOTALL)[1:]
    ]
    without_speed = [[*row[:5], row[6]] for row in rows]
    assert without_speed == [
        ["127.0.0.1", "left", "/rom1.bin", "200", "100,000 of 300,000", "aborted"],
        ["127.0.0.1", "<u>device", "/rom1.bin", "200", "100,000 of 300,000", "sending"],
        ["127.0.0.1", "", "/version", "200", "6 of 6", "done"],
        ["127.0.0.1", "curl/8.0", "/no", "404", "68 of 68", "done"],
    ]
    assert [re.fullmatch(r"[\d,]+ KB/s", row[5]) is not None for row in rows] == [True] * 4
    assert re.findall('class="[^"]*bad">([^<\n]+)', html) == ["aborted", "404"]
    values = [(int(most), int(value)) for most, value in re.findall('<progress max="(\\d+)" value="(\\d+)">', html)]
    assert values == [(300_000, 100_000), (300_000, 100_000), (6, 6), (68, 68)]
    assert {event.path for event in events if isinstance(event, Transfer)} == {"/rom1.bin", "/version", "/no"}


@pytest.mark.parametrize("view", browser.VIEWS, ids=str)
def test_a_browser_shows_it_without_a_complaint(url: str, view: browser.View, chromium: Browser) -> None:
    with browser.page(chromium, url, view) as window:
        assert browser.overflow(window) == 0
