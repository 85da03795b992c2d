"""Orders to the supervisor of an embedded sandbox, over its Unix socket."""

import hashlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from sandroad.running.client import SandboxError


def socket_path(data: Path) -> Path:
    """Return the socket's path: in the temporary folder, because a data directory's path may be too long for a socket."""
    mark = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sandroad-{os.getuid()}-{mark}.sock"


def _listens_at(data: Path) -> Path:
    """Return where the supervisor said it listens: it may have had another temporary folder than this process."""
    try:
        said = json.loads((data / "pids.json").read_text(encoding="utf-8"))
        return Path(said["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return socket_path(data)


def order(data: Path, *words: str, timeout: float = 60.0) -> dict[str, Any]:
    """Give an order and return the answer; raise ``SandboxError`` if no supervisor listens or it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        path = _listens_at(data)
        try:
            if (owner := path.lstat().st_uid) != os.getuid():
                # Everybody may make files in the temporary folder: whoever listens there is not our supervisor.
                raise SandboxError(f"{path} belongs to another user ({owner}): no supervisor of yours listens there")
            connection.connect(str(path))
        except OSError as defect:
            raise SandboxError(f"no sandbox runs in {data}: start it with `sandroad up`") from defect
        try:
            connection.sendall(" ".join(words).encode())
            connection.shutdown(socket.SHUT_WR)
            answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        except (OSError, ValueError) as defect:
            raise SandboxError(f"the supervisor of {data} is ending, or does not answer: {defect}") from defect
    if not answer.get("ok"):
        raise SandboxError(str(answer.get("reason", "the supervisor refused")))
    return answer


def is_running(data: Path) -> bool:
    """Tell whether a supervisor runs for this data directory."""
    try:
        order(data, "list", timeout=5)
    except SandboxError:
        return False
    return True
