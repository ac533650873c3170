"""The development server's output: what it serves, and the transfers as a live table or one line each."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..serve.events import Event, Listening, State, Transfer, TransferLog
from ..serve.responses import answer, location
from ..serve.server import ServerOptions, serve
from ..webnames import STATUS_PAGE

if TYPE_CHECKING:
    from rich.table import Table

_EVERYWHERE = ("", "0.0.0.0", "::")


def serve_and_show(
    web_root: Path, host: str, port: int, options: ServerOptions, is_interrupted: Callable[[], bool] = lambda: False
) -> None:
    """Serve as serve() does, and show the transfers: a live table on a terminal, else a line for each event."""
    if sys.stdout is not None and sys.stdout.isatty():
        _show_table(web_root, host, port, options, is_interrupted)
        return

    def show(event: Event) -> None:
        if isinstance(event, Listening):
            print(introduction(web_root, event, options.status_page), flush=True)
        elif event.state is not State.SENDING or not event.seconds:
            print(line(event), flush=True)

    serve(web_root, host, port, options, show, is_interrupted)
    print("stopped", flush=True)


def _show_table(
    web_root: Path, host: str, port: int, options: ServerOptions, is_interrupted: Callable[[], bool]
) -> None:
    from rich.console import Console  # loads slowly; for terminals only
    from rich.live import Live

    log = TransferLog()
    console = Console()
    live = Live(
        get_renderable=lambda: table(log.rows()[-max(1, console.height - 6) :]), console=console, refresh_per_second=4
    )

    def show(event: Event) -> None:
        if isinstance(event, Listening):
            print(introduction(web_root, event, options.status_page), flush=True)
            live.start()
        else:
            log.add(event)

    try:
        serve(web_root, host, port, options, show, is_interrupted)
    finally:
        live.stop()
    print("stopped")


def introduction(web_root: Path, listening: Listening, with_status_page: bool = False) -> str:
    """List the URLs of the ROMs, and show the request that a device sends."""
    host = _own_address() if listening.host in _EVERYWHERE else listening.host
    url_host = f"[{host}]" if ":" in host else host
    url = f"http://{url_host}:{listening.port}"
    roms = sorted([*web_root.glob("rom*.bin"), *web_root.glob("*/rom*.bin")])
    paths = [rom.relative_to(web_root).as_posix() for rom in roms]
    answers = {location(path): answer(web_root, "HEAD", path, {}) for path in paths}
    sizes = {target: found.size for target, found in answers.items() if found.status == 200}
    lines = [f"Serving {web_root} at {url}/ until Ctrl-C"]
    lines += (f"  {url}{target}  {size:,} bytes" for target, size in sizes.items())
    if not sizes:
        lines.append("  no ROM published yet")
    if with_status_page:
        lines.append(f"  {url}/{STATUS_PAGE}  status of the transfers")
    asked = next((target for target in sizes if target.endswith("rom1.bin")), next(iter(sizes), "/rom1.bin"))
    lines += [
        f"A device connects to {host} port {listening.port} and sends these lines and an empty one, each with CR LF:",
        f"  GET {asked} HTTP/1.0",
        f"  Host: {url_host}" + f":{listening.port}" * (listening.port != 80),
        "  Connection: keep-alive",
        "  Cache-Control: no-cache",
        "  User-Agent: rBoot-Sample/1.0",
        "  Accept: */*",
    ]
    return "\n".join(lines)


def line(transfer: Transfer) -> str:
    """Format an event as one line."""
    text = f"{transfer.address}  {transfer.method} {transfer.path}  {transfer.status}  {transfer.state.value}"
    if transfer.state is State.ABORTED:
        text += f" at {transfer.sent:,} of {transfer.size:,} bytes"
    else:
        text += f", {transfer.size:,} bytes"
    if transfer.state is not State.SENDING:
        text += f" in {transfer.seconds:.1f} s, {transfer.speed / 1024:,.0f} KB/s"
    return f"{text}  {transfer.agent}".rstrip()


def table(transfers: Iterable[Transfer]) -> Table:
    """Create the table of the devices and their transfers."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table("address", "user agent", "file", "status", "", "bytes", "speed", "", box=None)
    colours = {State.SENDING: "cyan", State.DONE: "green", State.ABORTED: "red"}
    for transfer in transfers:
        good = transfer.status < 400
        grid.add_row(
            Text(transfer.address),
            Text(transfer.agent, overflow="ellipsis"),
            Text(transfer.path, overflow="ellipsis"),
            Text(str(transfer.status), style="" if good else "red"),
            ProgressBar(total=transfer.size or 1, completed=transfer.sent if transfer.size else 1, width=24),
            Text(f"{transfer.sent:,} of {transfer.size:,}"),
            Text(f"{transfer.speed / 1024:,.0f} KB/s"),
            Text(transfer.state.value, style=colours[transfer.state]),
        )
    return grid


def _own_address() -> str:
    """Return this machine's address in its network, by a UDP socket to TEST-NET-1 (RFC 5737), which sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
