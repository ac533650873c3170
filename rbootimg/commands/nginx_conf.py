"""`rbootimg nginx-conf`: a web root -> what nginx must know to serve it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..serve.nginx import configuration
from .arguments import port_number

DESCRIPTION = (
    "Print a server block for nginx that serves a web root as devices need it; "
    "on Debian it goes to /etc/nginx/conf.d/roms.conf."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="WEBROOT", help="the folder to serve, on the server's machine")
    parser.add_argument("--port", type=port_number, default=80, help="the port (default: 80)")
    parser.add_argument("--server-name", default="_", metavar="NAME", help="the host name (default: whichever)")


def run(options: argparse.Namespace) -> None:
    """Print the configuration."""
    print(configuration(options.file.absolute(), options.port, options.server_name), end="")
