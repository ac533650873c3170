"""`rbootimg nginx-conf`: a web root -> a configuration of nginx."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..serve.nginx import configuration
from .arguments import port_number

DESCRIPTION = (
    "Print an nginx server block that serves a web root to devices. On Debian, write it to /etc/nginx/conf.d/roms.conf."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="WEBROOT", help="the web root on the server")
    parser.add_argument("--port", type=port_number, default=80, help="listen on this port (default: 80)")
    parser.add_argument("--server-name", default="_", metavar="NAME", help="set the host name (default: any)")


def run(options: argparse.Namespace) -> None:
    """Print the configuration."""
    print(configuration(options.file.absolute(), options.port, options.server_name), end="")
