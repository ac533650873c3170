"""The development server of a web root. The only user of h11, a strict HTTP parser.

The server controls the TCP segments: header and first data are one segment, which rBoot's OTA client requires, and
faults are at their exact byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import math
import os
import resource
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from pathlib import Path

import h11

from .._version import __version__
from ..errors import ServerError, SettingError, error_subject
from ..text import printable
from ..webnames import STATUS_PAGE
from . import faults
from .devices import DeviceLog
from .events import Event, Listening, State, Transfer
from .responses import Answer, FilePart, answer, is_served, location, page, served_paths, split_target
from .statuspage import status_answer

_MAX_REQUEST = 8192
_PIECE = 64 * 1024
_TICK = 0.25
_LINGER = 1.0
_RETRY_AFTER = 5
_BACKLOG = 512
_REDIRECTED = "redirected"


@dataclass(frozen=True)
class ServerOptions:
    """Settings of the server. `rate` limits each connection, in bytes per second.

    The server drops a client that sends no request for `request_seconds`, or acknowledges nothing for `stall_seconds`.
    """

    faults: tuple[faults.Fault, ...] = ()
    rate: int | None = None
    status_page: bool = False
    connections: int = 256
    request_seconds: float = 10
    stall_seconds: float = 30


DEFAULTS = ServerOptions()


def serve(
    web_root: Path,
    host: str,
    port: int,
    options: ServerOptions,
    on_event: Callable[[Event], None],
    is_interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Serve `web_root` until Ctrl-C or SIGTERM; outside the main thread, until `is_interrupted`.

    Raises ServerError if the server cannot start, SettingError for an invalid fault or host name.
    """
    _raise_file_limit(3 * options.connections + _BACKLOG + 64)
    signals = threading.current_thread() is threading.main_thread()
    asyncio.run(_Server(web_root, options, on_event).run(host, port, signals, is_interrupted))


def _raise_file_limit(number: int) -> None:
    """Raise the limit of open files: sockets and files of current, closing and new connections.

    Beyond the limit, asyncio prints a traceback for each connection.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < number:
        number = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@contextlib.contextmanager
def serving(
    web_root: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    options: ServerOptions = DEFAULTS,
    on_event: Callable[[Event], None] | None = None,
) -> Iterator[Listening]:
    """Serve `web_root` in a thread within the context. `on_event` is called in that thread. Raises as serve()."""
    ready: Future[Listening] = Future()

    def handle(event: Event) -> None:
        if on_event:
            on_event(event)
        if isinstance(event, Listening):
            ready.set_result(event)

    server = _Server(web_root, options, handle)
    ended: Future[None] = Future()

    def run() -> None:
        try:
            asyncio.run(server.run(host, port))
            ended.set_result(None)
        except BaseException as error:
            ended.set_exception(error)
            if not ready.done():
                ready.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    listening = ready.result()
    try:
        yield listening
    finally:
        server.stop()
        thread.join()
    ended.result()


class _Server:
    def __init__(self, web_root: Path, options: ServerOptions, on_event: Callable[[Event], None]) -> None:
        if not web_root.is_dir():
            if web_root.exists():
                raise ServerError("not a directory", subject=web_root)
            raise ServerError("no such directory; publish a release to it first", subject=web_root)
        if not os.access(web_root, os.R_OK | os.X_OK):
            raise ServerError("directory not readable; change its mode or run as another user", subject=web_root)
        with error_subject(web_root):
            faults.check(options.faults, partial(is_served, web_root), partial(served_paths, web_root))
        page(404)  # loads the templates now, so that no device waits for them
        self.web_root = web_root
        self.options = options
        self.log = DeviceLog(time.time())
        self.running: dict[asyncio.Task[None], _Connection] = {}
        self._served: set[_Connection] = set()
        self._closing: dict[_Connection, None] = {}  # running but not served, the oldest first
        self._on_event = on_event
        self._failure: BaseException | None = None
        self._responses = 0
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    async def run(
        self, host: str, port: int, signals: bool = False, is_interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        if signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._stopped.set)
        try:
            listener = await asyncio.start_server(self._accept, host, port, limit=_MAX_REQUEST, backlog=_BACKLOG)
        except OSError as error:
            reason = "address in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ServerError(f"cannot listen: {reason}", subject=f"{host}:{port}") from None
        except UnicodeError:
            raise SettingError(
                "invalid host name: expected a name or an address, e.g. 0.0.0.0", subject=repr(host)
            ) from None
        self.report(Listening(host, listener.sockets[0].getsockname()[1]))
        try:
            while not (self._stopped.is_set() or is_interrupted()):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _TICK)
                for connection in self.running.values():
                    connection.check_progress()
        finally:
            listener.close()
            tasks = list(self.running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End run(). Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._stopped.set)

    def report(self, event: Event) -> None:
        """Report an event. A failing listener ends the server, not just the connection."""
        if isinstance(event, Transfer):
            self.log.add(event, time.time())
        try:
            self._on_event(event)
        except BaseException as error:
            self._fail(error)

    def next_number(self) -> int:
        self._responses += 1
        return self._responses

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopped.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = len(self._served) >= self.options.connections
        connection = _Connection(self, reader, writer, full)
        if full:
            self.close_later(connection)
        else:
            self._served.add(connection)
        task = self._loop.create_task(connection.run())
        self.running[task] = connection
        task.add_done_callback(self._ended)

    def close_later(self, connection: _Connection) -> None:
        """Free the slot of a connection that was rejected or has its last response.

        As many connections may be closing as are served; beyond that the oldest is aborted.
        """
        self._served.discard(connection)
        self._closing[connection] = None
        if len(self._closing) > self.options.connections:
            oldest = next(iter(self._closing))
            del self._closing[oldest]
            oldest.abort()

    def _ended(self, task: asyncio.Task[None]) -> None:
        connection = self.running.pop(task)
        self._served.discard(connection)
        self._closing.pop(connection, None)
        error = None if task.cancelled() else task.exception()
        if error:
            self._fail(error)


class _RequestError(Exception):
    """An invalid request, answered with this status."""

    def __init__(self, status: int) -> None:
        self.status = status


class _Connection:
    """A connection: requests and responses in turn, or a single response 503 if it was rejected."""

    def __init__(
        self, server: _Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rejected: bool
    ) -> None:
        self._server = server
        self._rejected = rejected
        self._options = server.options
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._transport.set_write_buffer_limits(high=0)  # drain() waits until the kernel has all data
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._address = str((writer.get_extra_info("peername") or [""])[0])
        self._http = self._next_cycle(b"")
        self._transfer: Transfer | None = None
        self._start_time = 0.0
        self._written = 0
        self._sent = 0
        self._acknowledged = 0
        self._progress_time = time.monotonic()
        self._lost = False

    async def run(self) -> None:
        """Answer requests until either side closes the connection."""
        try:
            while await self._exchange():
                self._http = self._next_cycle(self._http.trailing_data[0])
            if not self._rejected:
                self._server.close_later(self)
            self._writer.write_eof()
            with contextlib.suppress(asyncio.TimeoutError):  # a close with unread data would discard the response
                await asyncio.wait_for(self._discard(), _LINGER)
        except OSError:
            pass  # the client closed or stalled, or the file was truncated
        finally:
            self._finish(State.ABORTED)
            self.abort()

    def abort(self) -> None:
        """Abort the connection, which ends run()."""
        self._transport.abort()

    def check_progress(self) -> None:
        """Report the progress of the response, and abort if the client has acknowledged nothing for too long."""
        if self._transfer:
            self._update(State.SENDING)
        with contextlib.suppress(ConnectionResetError):
            pending, now = self._pending(), time.monotonic()
            acknowledged = self._written - pending
            if not pending or acknowledged != self._acknowledged:
                self._acknowledged, self._progress_time = acknowledged, now
            elif now - self._progress_time > self._options.stall_seconds:
                self.abort()

    def _next_cycle(self, received: bytes) -> h11.Connection:
        """Create the parser of the next request, with the bytes received so far.

        Empty lines before it are skipped (RFC 9112, 2.2): some clients send one too many after a request.
        """
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST)
        if data := received.lstrip(b"\r\n"):
            http.receive_data(data)
        return http

    async def _exchange(self) -> bool:
        """Read a request and send the response. Returns whether another request may follow."""
        try:
            request = await self._request()
        except _RequestError as error:
            await self._respond("-", "-", "", page(error.status))
            return False
        if request is None:
            return False
        method, target = request.method.decode("ascii"), request.target.decode("ascii")
        headers: dict[str, str] = {}
        for raw_name, raw_value in request.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        shown, found, active = self._answer(request.http_version, method, target, headers)
        complete = await self._respond(method, shown, headers.get("user-agent", ""), found, active)
        return complete and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _request(self) -> h11.Request | None:
        try:
            event = await asyncio.wait_for(self._next_event(), self._options.request_seconds)
            if isinstance(event, h11.Request):
                self._http.next_event()  # its end, or a body, which is not read and ends the connection
                return event
            return None
        except asyncio.TimeoutError:
            if not self._http.trailing_data[0]:
                return None
            raise _RequestError(408) from None
        except h11.RemoteProtocolError as error:
            long_line = error.error_status_hint == 431 and b"\n" not in self._http.trailing_data[0]
            raise _RequestError(414 if long_line else error.error_status_hint) from None

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(_MAX_REQUEST)
            if data and not self._http.trailing_data[0] and self._http.their_state is h11.IDLE:
                self._http = self._next_cycle(data)
            else:
                self._http.receive_data(data)
        return event

    def _answer(
        self, version: bytes, method: str, target: str, headers: dict[str, str]
    ) -> tuple[str, Answer, tuple[faults.Fault, ...]]:
        """Return the path to display, the answer, and the faults to inject into it."""
        if self._rejected:
            return target, page(503, (("Connection", "close"), ("Retry-After", str(_RETRY_AFTER)))), ()
        if not version.startswith(b"1."):
            return target, page(505, (("Connection", "close"),)), ()
        if headers.keys() >= {"content-length", "transfer-encoding"}:  # RFC 9112, 6.1
            return target, page(400, (("Connection", "close"),)), ()
        if method not in ("GET", "HEAD"):
            return target, page(405, (("Allow", "GET, HEAD"),)), ()
        try:
            path, query = split_target(target)
        except ValueError:
            return target, page(400), ()
        if self._is_status(f"/{path}"):
            name = path.partition("/")[2]
            return f"/{path}", status_answer(name, query, self._server.log, time.time()), ()
        active = faults.faults_for(path, self._options.faults)
        for fault in active:
            if fault.kind is faults.FaultKind.REDIRECT and query != _REDIRECTED:
                return f"/{path}", page(302, (("Location", f"{location(path)}?{_REDIRECTED}"),)), active
            if fault.kind in faults.STATUS and fault.kind is not faults.FaultKind.REDIRECT:
                shown_status = 404 if fault.kind is faults.FaultKind.NOT_FOUND_AS_200 else None
                return f"/{path}", page(faults.STATUS[fault.kind], shown_status=shown_status), active
        return f"/{path}", answer(self._server.web_root, method, path, headers), active

    def _is_status(self, path: str) -> bool:
        """Return whether `path` is the status page or below it, which no device requests."""
        return self._options.status_page and path.split("/")[1:2] == [STATUS_PAGE]

    @property
    def _rate(self) -> int | None:
        """The maximum rate of the response; the status page has none."""
        return self._options.rate if self._transfer else None

    async def _respond(
        self, method: str, path: str, agent: str, found: Answer, active: tuple[faults.Fault, ...] = ()
    ) -> bool:
        """Send a response. Returns whether the client has received all of it."""
        try:
            head = self._head(found)
            with_body = method != "HEAD" and found.status != 304
            size = found.size if with_body else 0
            if not self._is_status(path):
                number = self._server.next_number()
                shown = printable(agent, 80), printable(method, 80), printable(path, 80)
                self._transfer = Transfer(number, self._address, *shown, found.status, size)
                self._start_time, self._written, self._sent = time.monotonic(), -len(head), 0
                self._server.report(self._transfer)
            for step in faults.steps(active, head, self._framed(found.body, size), with_body):
                if isinstance(step, bytes):
                    await self._write(step)
                elif isinstance(step, faults.Pause):
                    await self._pause(step.seconds)
                else:
                    await self._wait_until_acknowledged()
                    if step is faults.End.RESET:
                        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        raise ConnectionResetError
                    self._finish(State.ABORTED)
                    return False
            await self._wait_until_acknowledged()
            self._finish(State.DONE)
            return True
        finally:
            if isinstance(found.body, FilePart):
                os.close(found.body.descriptor)

    def _head(self, found: Answer) -> bytes:
        headers = [
            ("Content-Length", str(found.size)),
            *found.headers,
            ("Date", formatdate(usegmt=True)),
            ("Server", f"rbootimg/{__version__}"),
        ]
        if self._http.their_state is not h11.DONE:  # a body that is not read, or no request
            headers.append(("Connection", "close"))
        reason = HTTPStatus(found.status).phrase
        return self._http.send(h11.Response(status_code=found.status, headers=headers, reason=reason)) or b""

    def _framed(self, body: bytes | FilePart, size: int) -> Iterator[bytes]:
        """Generate the body in pieces, framed and checked by h11."""
        piece_size = max(1, min(_PIECE, (self._rate or _PIECE * 10) // 10))
        for start in range(0, size, piece_size):
            length = min(piece_size, size - start)
            if isinstance(body, FilePart):
                piece = os.pread(body.descriptor, length, body.start + start)
                if len(piece) < length:
                    raise OSError("file truncated during the transfer")
            else:
                piece = body[start : start + length]
            yield self._http.send(h11.Data(data=piece)) or b""
        self._http.send(h11.EndOfMessage())

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self._written += len(data)
        if self._transport.get_write_buffer_size():
            await self._writer.drain()  # check_progress() aborts a stalled client
        else:
            await asyncio.sleep(0)  # let other connections run
        self._pending()
        if self._rate:
            await self._pause(self._start_time + self._written / self._rate - time.monotonic())

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the client closes the connection."""
        if seconds == math.inf:
            await self._discard()
            raise ConnectionResetError
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._pending()
            await asyncio.sleep(min(left, 0.1))

    async def _wait_until_acknowledged(self) -> None:
        """Wait until the client has acknowledged all data; check_progress() aborts a stalled client."""
        pause = 0.001
        while self._pending():
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _pending(self) -> int:
        """Return the number of written bytes that the client has not acknowledged (other than on Linux: not sent).

        Updates `_sent`. Raises ConnectionResetError if the connection is closed.
        """
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError
        queued = bytes(4)
        with contextlib.suppress(OSError):
            queued = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, queued)
        pending = int.from_bytes(queued, sys.byteorder) + self._transport.get_write_buffer_size()
        self._sent = max(self._sent, self._written - pending)
        # asyncio does not watch a connection whose other half is already closed.
        self._lost = bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self._lost:
            raise ConnectionResetError
        return pending

    def _update(self, state: State) -> None:
        assert self._transfer
        with contextlib.suppress(ConnectionResetError):
            self._pending()
        sent = self._transfer.size if state is State.DONE else min(self._transfer.size, self._sent)
        seconds = time.monotonic() - self._start_time
        self._transfer = dataclasses.replace(self._transfer, sent=sent, seconds=seconds, state=state)
        self._server.report(self._transfer)

    def _finish(self, state: State) -> None:
        if self._transfer:
            self._update(state)
            self._transfer = None

    async def _discard(self) -> None:
        while await self._reader.read(_MAX_REQUEST):
            pass
