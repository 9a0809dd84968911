"""A lock on a folder, so that two sweeps do not write to one store at the same time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overlaps._support import argument_error

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

LOCK = "lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made. Raises ValueError if another sweep holds it.

    Does nothing where there are no such locks, or where the folder cannot be written: writing says what is wrong.
    """
    file = _locked(folder)
    try:
        yield
    finally:
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)  # pyright: ignore[reportOptionalMemberAccess] # also for forks that share the file
            file.close()


def _locked(folder: Path) -> Any:
    if fcntl is None:
        return None
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context((folder / LOCK).open("a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            came = f"another sweep writes to {str(folder.parent)!r}"
            raise argument_error("store", "be free", came, "Wait until it ends, or choose another path.") from None
        stack.pop_all()
        return file
    return None
