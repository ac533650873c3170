"""The development server beside nginx: requests per second of 200 connections, and its memory. Run by hand.

PYTHONPATH=tests python tests/benchmarks/bench_server.py    needs nginx and wrk (Debian: nginx-light, wrk)
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.nginx import NGINX, OUTER, free_port

from rbootimg.serve.nginx import configuration

SIZES = {"small.bin": 5_000, "rom0.bin": 450_000}
SECONDS = 10


def load(port: int, name: str) -> tuple[float, str]:
    command = ["wrk", "-t1", "-c200", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/{name}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s*([0-9.]+)", text)
    errors = re.search(r"(?:Socket errors|Non-2xx).*", text)
    assert rate
    return float(rate[1]), errors[0] if errors else "no errors"


def memory(process: subprocess.Popen[bytes]) -> int:
    """KB that are resident."""
    return int(re.search(r"VmRSS:\s*([0-9]+)", Path(f"/proc/{process.pid}/status").read_text())[1])  # type: ignore[index]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "root").mkdir()
        for file, size in SIZES.items():
            (directory / "root" / file).write_bytes(os.urandom(size))
        ports = {"nginx": free_port(), "rbootimg": free_port()}
        (directory / "site.conf").write_text(configuration(directory / "root", ports["nginx"]))
        (directory / "nginx.conf").write_text(OUTER.format(site=directory / "site.conf"))
        own = [sys.executable, "-m", "rbootimg", "serve", directory / "root", "--port", str(ports["rbootimg"])]
        processes = {
            "nginx": subprocess.Popen(
                [NGINX, "-p", directory, "-c", directory / "nginx.conf"], stderr=subprocess.DEVNULL
            ),
            "rbootimg": subprocess.Popen(own, stdout=subprocess.DEVNULL),
        }
        try:
            time.sleep(2)
            for file in SIZES:
                rates = {}
                for server in (*processes, *processes):
                    before = memory(processes[server])
                    rates[server], errors = load(ports[server], file)
                    after = memory(processes[server])
                    print(f"{file:<10}{server:<10}{rates[server]:9.0f}/s  {before:,} to {after:,} KB  {errors}")
                print(f"{file:<10}nginx is {rates['nginx'] / rates['rbootimg']:.1f} times as fast")
        finally:
            for process in processes.values():
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
