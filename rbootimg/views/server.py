"""The development server's output: what it serves, and the transfers as a live table or one line each.

The table always has the address, the file and the state of a transfer in full; the other columns if there is room.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..serve.events import Event, Listening, State, Transfer, TransferLog
from ..serve.responses import answer, location
from ..serve.server import ServerOptions, serve
from ..text import counted
from ..webnames import STATUS_PAGE
from .terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_EVERYWHERE = ("", "0.0.0.0", "::")

_MAX_TRANSFERS = 1000
_COLUMNS = ("address", "user agent", "file", "state", "progress", "bytes", "speed")
_OPTIONAL = ("user agent", "bytes", "progress", "speed")
"""The columns that a narrow terminal lacks, the most important first."""
_GAP = 2
_BAR_WIDTHS = (10, 40)
"""The least and the greatest width of a progress bar."""


def serve_and_show(
    web_root: Path, host: str, port: int, options: ServerOptions, is_interrupted: Callable[[], bool] = lambda: False
) -> None:
    """Serve as serve() does, and show the transfers: a live table on a terminal, else a line for each event."""
    if is_terminal():
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

    log = TransferLog(_MAX_TRANSFERS)
    console = Console()
    live = Live(
        get_renderable=lambda: screen(log.rows(), console.width, console.height),
        console=console,
        refresh_per_second=4,
        vertical_overflow="crop",
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
        text += f" at {transfer.sent:,} of {counted(transfer.size, 'byte')}"
    else:
        text += f", {counted(transfer.size, 'byte')}"
    if transfer.state is not State.SENDING:
        text += f" in {transfer.seconds:.1f} s, {transfer.speed / 1024:,.0f} KB/s"
    return f"{text}  {transfer.agent}".rstrip()


def screen(transfers: Iterable[Transfer], width: int, height: int) -> RenderableType:
    """Create the table of the transfers that fit the terminal, those in progress and the newest first.

    A line below it counts the rest.
    """
    from rich.console import Group
    from rich.text import Text

    ordered = sorted(transfers, key=lambda transfer: (transfer.state is not State.SENDING, -transfer.number))
    available = max(1, height - 2)  # below the head, and above the line of the cursor
    if len(ordered) <= available:
        return table(ordered, width)
    rows = max(1, available - 1)
    counts = Counter(transfer.state for transfer in ordered[rows:])
    states = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    return Group(table(ordered[:rows], width), Text(f"and {len(ordered) - rows} more: {states}", style="dim"))


def table(transfers: Iterable[Transfer], width: int) -> Table:
    """Create the table of transfers, with the columns for which a terminal `width` columns wide has room."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    transfers = [*transfers]
    rows = [_cells(transfer) for transfer in transfers]
    widths = {name: max([len(name), *(row[name].cell_len for row in rows if name in row)]) for name in _COLUMNS}
    names, free = _fitting(widths | {"progress": _BAR_WIDTHS[0]}, width)
    bar_width = min(_BAR_WIDTHS[0] + free, _BAR_WIDTHS[1])
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for name in names:
        grid.add_column("" if name == "progress" else name, no_wrap=name != "file", overflow="fold")
    for transfer, row in zip(transfers, rows):
        total = transfer.size or 1
        bar = ProgressBar(total=total, completed=transfer.sent if transfer.size else 1, width=bar_width)
        grid.add_row(*(bar if name == "progress" else row[name] for name in names))
    return grid


def _fitting(widths: Mapping[str, int], width: int) -> tuple[Sequence[str], int]:
    """Return the names of the columns that fit, and the width that they leave."""
    names = {*_COLUMNS} - {*_OPTIONAL}
    free = width - sum(widths[name] + _GAP for name in names) + _GAP
    for name in _OPTIONAL:
        if widths[name] + _GAP <= free:
            names.add(name)
            free -= widths[name] + _GAP
    return [name for name in _COLUMNS if name in names], max(free, 0)


def _cells(transfer: Transfer) -> Mapping[str, Text]:
    from rich.text import Text

    colours = {State.SENDING: "cyan", State.DONE: "green", State.ABORTED: "red"}
    state, colour = transfer.state.value, colours[transfer.state]
    if transfer.status >= 400:
        state, colour = f"status {transfer.status}", "red"
    elif transfer.size and transfer.state is not State.DONE:
        state += f" {100 * transfer.sent // transfer.size}%"
    return {
        "address": Text(transfer.address),
        "file": Text(transfer.path),
        "state": Text(state, style=colour),
        "bytes": Text(f"{transfer.sent:,} of {transfer.size:,}"),
        "speed": Text(f"{transfer.speed / 1024:,.0f} KB/s"),
        "user agent": Text(transfer.agent),
    }


def _own_address() -> str:
    """Return this machine's address in its network, by a UDP socket to TEST-NET-1 (RFC 5737), which sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
