"""The real nginx, for the tests of its configuration."""

from __future__ import annotations

import shutil
import socket

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"  # which is not on every user's PATH

# As Debian's nginx.conf is: what a server block has to get along with.
OUTER = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    default_type text/plain;
    gzip on;
    gzip_min_length 1;
    gzip_types *;
    include {site};
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
