"""One writer of a folder at a time, among all processes that share its disk.

The system releases the lock of a process that has died, however it died. The lock file stands beside the folder while
it is held, and goes with the last holder.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

# What flock answers where the disk has no locks: some network and FUSE mounts.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
_POLL_S = 0.1

Report = Callable[[str], None]
"""Told one line on why something takes longer, or is less safe, than it should."""


@contextlib.contextmanager
def one_writer(folder: Path, report: Report = lambda line: None) -> Iterator[None]:
    """Hold the lock of a folder for the length of a block; wait for the process that holds it.

    On a disk without locks the block runs all the same, and `report` is told.

    Args:
        folder: what the block writes; need not exist.
        report: told if another process is waited for.

    Raises:
        OSError: the disk refuses the lock file.
    """
    held: list[int] = []
    file = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(file, poll_interval=_POLL_S, fallback_to_soft=False, on_acquired=held.append)
    try:
        _acquire(lock, held, lambda: report(f"another process is writing {folder}; waiting until it has finished"))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        report(f"the disk of {folder} has no file locks; start no second command that writes it")
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()  # before the release: who waits finds that its file has lost its name
        lock.release()


def _acquire(lock: FileLock, held: list[int], on_wait: Callable[[], None]) -> None:
    """Acquire a lock whose file still has its name; the last holder may have removed the one that was waited for."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    while not _is_named(lock.lock_file, held[-1]):
        lock.release()
        lock.acquire()


def _is_named(file: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False
