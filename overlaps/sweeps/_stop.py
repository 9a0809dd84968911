"""Ctrl-C and SIGTERM: a sweep ends after the block in hand."""

import contextlib
import multiprocessing
import os
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
            at_once = KeyboardInterrupt()
            at_once.add_note("What is done is in the store. Call `sweep` again to go on.")
            raise at_once
        self.signal = number

    def raised(self, message: str) -> BaseException:
        """The exception that ends the program as the signal would have done."""
        stop = SystemExit(128 + signal.SIGTERM) if self.signal == signal.SIGTERM else KeyboardInterrupt()
        stop.add_note(message)
        return stop


def begin_worker() -> None:
    """What a worker process does first: it leaves signals to its parent, and ends when the parent does, also by a kill."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


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
