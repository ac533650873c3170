"""A configuration for nginx: a web root as devices need it served."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import SettingError

# tcp_nopush holds the header back until there is data to go with it. The http block of a distribution may have gzip
# on.
_CONFIGURATION = """\
# rbootimg nginx-conf: a web root for rBoot devices. One server block, for the http block of nginx.
server {{
    listen {port};
    server_name {name};
    root {root};
    disable_symlinks on from=$document_root;

    # The header and the first data in one segment, always with a Content-Length.
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    gzip off;
    gzip_static off;
    chunked_transfer_encoding off;
    max_ranges 1;

    # A release replaces files: ask each time, by ETag or date.
    etag on;
    open_file_cache off;
    add_header Cache-Control no-cache always;

    index index.html;
    autoindex off;
    absolute_redirect off;
    server_tokens off;
    default_type application/octet-stream;
    types {{
        text/css css;
        text/html html;
        application/json json;
        image/svg+xml svg;
        text/plain txt;
    }}
    charset utf-8;
    charset_types text/css text/plain;

    client_header_timeout 10s;
    client_body_timeout 10s;
    client_max_body_size 1k;
    keepalive_timeout 10s;
    send_timeout 30s;
    reset_timedout_connection on;

    if ($request_method !~ ^(GET|HEAD)$) {{
        return 405;
    }}
    error_page 405 @method;
    location @method {{
        add_header Allow "GET, HEAD" always;
        add_header Cache-Control no-cache always;
        return 405;
    }}

    # A folder without an index, or a link.
    error_page 403 @none;
    location @none {{
        return 404;
    }}
    location ~ /\\. {{
        return 404;
    }}
}}
"""


def configuration(web_root: Path, port: int = 80, server_name: str = "_") -> str:
    """The server block for an absolute `web_root`. Raises SettingError for what nginx could not be told."""
    root = str(web_root)
    if not web_root.is_absolute() or not root.isprintable() or "$" in root:
        raise SettingError(
            "path not usable in an nginx configuration: it must be absolute, printable and without $", subject=web_root
        )
    if not re.fullmatch(r"[A-Za-z0-9._*-]+", server_name):
        raise SettingError(f"{server_name!r} is no host name for nginx; write one such as roms.example.org")
    if port < 1:
        raise SettingError("nginx needs a port; write 1 to 65535")
    quoted = '"{}"'.format(root.replace("\\", "\\\\").replace('"', '\\"'))
    return _CONFIGURATION.format(port=port, name=server_name, root=quoted)
