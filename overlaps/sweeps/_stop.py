"""Ctrl-C and SIGTERM: a sweep ends after the block in hand."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a signal has asked to stop, and which one."""

    signal: int | None = None

    def __call__(self, number: int, frame: Any) -> None:
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt  # asked twice: at once
        self.signal = number

    def raised(self, message: str) -> BaseException:
        """The exception that ends the program as the signal would have done."""
        stop = SystemExit(128 + signal.SIGTERM) if self.signal == signal.SIGTERM else KeyboardInterrupt()
        stop.add_note(message)
        return stop


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Take note of the signals in place of what they do otherwise. Only the main thread of a program can."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
