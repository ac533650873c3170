"""`rbootimg serve`: a web root, served to the devices on the desk."""

from __future__ import annotations

import argparse

from ..serve import faults
from ..serve.server import STATUS_PAGE, ServerOptions
from ..views.server import serve_and_show
from .arguments import byte_rate, converter, directory, port_number
from .common import web_root_argument

DESCRIPTION = (
    "Serve a web root to the devices on the desk until Ctrl-C, and show each of them live; "
    "with --fault do on purpose what goes wrong in the field."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("folder", type=directory, nargs="?", metavar="WEBROOT", help="the same as --web-root")
    web_root_argument(either)
    parser.add_argument("--host", default="0.0.0.0", help="the address to listen at (default: all of this machine)")
    parser.add_argument("--port", type=port_number, default=8080, help="the port; 0 takes a free one (default: 8080)")
    parser.add_argument(
        "--fault",
        type=converter(faults.parse),
        action="append",
        default=[],
        metavar="[PATH=]FAULT",
        help="for every file, or for those like PATH, such as 'rom1.bin=reset@5000' or 'releases/*=404', of which one "
        f"must be there when the server starts; repeat it. {faults.HELP}",
    )
    parser.add_argument(
        "--rate", type=byte_rate, metavar="BYTES", help="limit each connection to BYTES per second, e.g. 20k"
    )
    parser.add_argument("--status", action="store_true", help=f"also show the devices on a page, /{STATUS_PAGE}")


def run(options: argparse.Namespace) -> None:
    """Serve and show until Ctrl-C."""
    options.web_root = options.folder or options.web_root
    settings = ServerOptions(faults=tuple(options.fault), rate=options.rate, status_page=options.status)
    serve_and_show(options.web_root, options.host, options.port, settings)
