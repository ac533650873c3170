"""Progress of what takes more than a second, on a terminal only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..text import shorten
from .terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY = 1.0
"""Seconds until the progress is shown."""

_BAR, _OTHERS, _MIN_TITLE = 24, 44, 16
"""Columns of the bar, of all but the title, and of the shortest title."""


@contextlib.contextmanager
def progress(title: str, total: int | None = None, *, silent: bool = False) -> Iterator[Callable[[], None]]:
    """Show how many of `total` steps are done, or without `total` only that work goes on, until the block ends.

    Yields the function to call after each step; it may be called in any thread.
    """
    if silent or not is_terminal():
        yield lambda: None
        return
    display = _Display(title, total)
    timer = threading.Timer(_DELAY, display.start)
    timer.daemon = True
    timer.start()
    try:
        yield display.advance
    finally:
        timer.cancel()
        display.stop()


class _Display:
    """Rich's display, which is loaded and started in another thread."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total, self._done = title, total, 0
        self._lock = threading.Lock()
        self._stopped = False
        self._progress: Progress | None = None

    def start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(soft_wrap=True)  # lines that other jobs print meanwhile get no line breaks
        title = TextColumn("{task.description}", markup=False)
        numbers = (MofNCompleteColumn(),) if self._total else ()
        with self._lock:
            if self._stopped:
                return
            self._progress = Progress(
                title, BarColumn(_BAR), *numbers, TimeElapsedColumn(), transient=True, console=console
            )
            short = shorten(self._title, max(_MIN_TITLE, console.width - _OTHERS))
            self._progress.add_task(short, total=self._total, completed=self._done)
            self._progress.start()

    def advance(self) -> None:
        with self._lock:
            self._done += 1
            if self._progress:
                self._progress.advance(self._progress.task_ids[0])

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._progress:
                self._progress.stop()
