"""A server on this machine that answers with raw bytes, as valid or invalid as a test wants them."""

from __future__ import annotations

import socket
import threading


class RawServer:
    """Call answer() with each connection and its request, in a thread, until `listener` is closed."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.answer(connection, connection.recv(65536))

    def answer(self, connection: socket.socket, request: bytes) -> None:
        raise NotImplementedError
