"""The development server's page of who fetches what; it shows itself anew each second, without a script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .transfers import State, Transfer

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The Content-Security-Policy that the page is right under."""

# On a phone each row is a box of its own.
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; font: 1rem/1.45 system-ui, sans-serif; color: #1b1f23;
  background: #ffffff; }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; text-align: left; overflow-wrap: anywhere; }
th { color: #57606a; font-weight: normal; white-space: nowrap; }
td { border-top: 1px solid #d0d7de; }
.whole { white-space: nowrap; }
.number { text-align: right; }
.bad { color: #b3261e; }
progress { display: block; width: 100%; min-width: 10rem; }
@media (max-width: 50rem) {
  tr { display: block; padding: .5rem 0; border-top: 1px solid #d0d7de; }
  .head { display: none; }
  td { display: inline-block; padding: 0 1rem 0 0; border: 0; }
  td:empty { display: none; }
  .progress { display: block; padding: 0; }
}
"""


def status_page(transfers: Iterable[Transfer]) -> bytes:
    """The page, as UTF-8."""
    rows = "".join(map(_row, transfers)) or '<tr><td colspan="7">no request yet</td></tr>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="1">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Else browsers ask for /favicon.ico.
        '<link rel="icon" href="data:,">\n'
        f"<title>rbootimg serve</title>\n<style>{_STYLE}</style>\n<h1>Devices</h1>\n<table>\n"
        '<tr class="head"><th>address<th>user agent<th>file<th>status<th>progress'
        '<th class="number">speed<th>state</tr>\n'
        f"{rows}</table>\n</html>\n"
    ).encode()


def _row(transfer: Transfer) -> str:
    status = "bad" if transfer.status >= 400 else ""
    state = "whole bad" if transfer.state is State.BROKEN else "whole"
    done = transfer.sent if transfer.size else 1
    return (
        f'<tr><td class="whole">{escape(transfer.address)}<td>{escape(transfer.agent)}<td>{escape(transfer.path)}'
        f'<td class="{status}">{transfer.status}'
        f'<td class="progress whole"><progress max="{transfer.size or 1}" value="{done}"></progress>'
        f"{transfer.sent:,} of {transfer.size:,}"
        f'<td class="whole number">{transfer.speed / 1024:,.0f} KB/s<td class="{state}">{transfer.state.value}</tr>\n'
    )
