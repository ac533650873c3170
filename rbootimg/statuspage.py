"""The development server's page of who fetches what; it shows itself anew each second, without a script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .transfers import Transfer

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The Content-Security-Policy that the page is right under."""

_STYLE = (
    "body{font:16px sans-serif;margin:1em}table{border-collapse:collapse}"
    "th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}td.n{text-align:right}"
)


def status_page(transfers: Iterable[Transfer]) -> bytes:
    """The page, as UTF-8."""
    rows = "".join(map(_row, transfers)) or '<tr><td colspan="7">no request yet</td></tr>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="1">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>rbootimg serve</title>\n<style>{_STYLE}</style>\n<h1>Devices</h1>\n<table>\n"
        "<tr><th>address<th>user agent<th>file<th>status<th>progress<th>speed<th>state</tr>\n"
        f"{rows}</table>\n</html>\n"
    ).encode()


def _row(transfer: Transfer) -> str:
    return (
        f"<tr><td>{escape(transfer.address)}<td>{escape(transfer.agent)}<td>{escape(transfer.path)}"
        f'<td>{transfer.status}<td><progress max="{transfer.size or 1}" value="{transfer.sent}"></progress> '
        f'{transfer.sent:,} of {transfer.size:,}<td class="n">{transfer.speed / 1024:,.0f} KB/s'
        f"<td>{transfer.state.value}</tr>\n"
    )
