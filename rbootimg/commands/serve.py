"""`rbootimg serve`: the development server."""

from __future__ import annotations

import argparse

from ..serve import faults
from ..serve.server import ServerOptions
from ..views.server import serve_and_show
from ..views.tables import Heading, Table, plain
from ..webnames import STATUS_PAGE
from .arguments import byte_rate, converter, directory, port_number
from .common import web_root_argument

DESCRIPTION = (
    "Serve a web root to local devices until Ctrl-C, and show each transfer. For development; --fault injects failures "
    "seen in the field."
)

_FAULTS = plain((Heading("Faults for --fault:"), Table((), faults.HELP, "<<")))
EPILOG = f"""\
{_FAULTS}

Examples:
  rbootimg serve build/webroot --status
  rbootimg serve --fault 'rom1.bin=reset@5000' --rate 20k"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "directory", type=directory, nargs="?", metavar="WEBROOT", help="the web root, as with --web-root"
    )
    web_root_argument(either)
    parser.add_argument(
        "--host", default="0.0.0.0", help="listen on this address (default: all addresses of this machine)"
    )
    parser.add_argument(
        "--port", type=port_number, default=8080, help="listen on this port; 0 selects a free one (default: 8080)"
    )
    parser.add_argument(
        "--fault",
        type=converter(faults.parse),
        action="append",
        default=[],
        metavar="[PATH=]FAULT",
        help="inject a fault into all responses, or those for files that match PATH, e.g. 'rom1.bin=reset@5000' or "
        "'releases/*=404'; repeatable, see below",
    )
    parser.add_argument(
        "--rate", type=byte_rate, metavar="BYTES", help="limit each connection to BYTES per second, e.g. 20k"
    )
    parser.add_argument("--status", action="store_true", help=f"serve a page with the transfers at /{STATUS_PAGE}")


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    options.web_root = options.directory or options.web_root
    settings = ServerOptions(faults=tuple(options.fault), rate=options.rate, status_page=options.status)
    serve_and_show(options.web_root, options.host, options.port, settings)
