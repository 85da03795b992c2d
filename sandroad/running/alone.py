"""One sandbox at a time in a data directory: a lock that the supervisor takes and its children inherit.

So it is free only when the last process has gone, also after the supervisor was killed and its children are still ending.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sandroad.running.client import SandboxError
from sandroad.running.orders import is_running
from sandroad.running.secrets import private_folder

PATIENCE = 25.0


@contextlib.contextmanager
def alone(data: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the data directory's lock. Raises ``SandboxError`` if a sandbox runs there, or if one has not ended within ``patience``."""
    handle = os.open(private_folder(data) / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + patience
    try:
        while not _locked(handle):
            if is_running(data):
                raise SandboxError(
                    f"a sandbox runs in {data} already: `sandroad status` shows it, `sandroad down` stops it"
                )
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"another `sandroad up` is at work in {data}, or processes of an earlier sandbox have not ended; "
                    f"wait for them, or end those that {data / 'pids.json'} lists"
                )
            time.sleep(0.1)  # a lock cannot be waited for with a deadline
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
