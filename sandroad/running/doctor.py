"""What has to be there before a sandbox can start, and who brings it."""

import contextlib
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

NEEDED_DISK = 500 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` says what to do if it is not as needed."""

    what: str
    ok: bool
    said: str
    remedy: str = ""


def examine(data: Path, ports: range, *, running: bool, amqp: str = "", database: str = "") -> Iterator[Finding]:
    """Yield a finding for each thing a sandbox needs."""
    yield _python()
    yield _sqlite()
    yield _disk(data)
    yield _writable(data)
    yield _loopback()
    if not running:
        yield _ports(ports)
    for label, url in (("RabbitMQ", amqp), ("PostgreSQL", database)):
        if url:
            yield _server(label, url)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(
        "Python",
        sys.version_info >= (3, 11),
        version,
        "install Python 3.11 or newer (Debian: python3 and python3-venv)",
    )


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    return Finding(
        "SQLite", sqlite3.sqlite_version_info >= (3, 35), version, "a Python built with SQLite 3.35 or newer"
    )


def _disk(data: Path) -> Finding:
    folder = next(parent for parent in [data.resolve(), *data.resolve().parents] if parent.exists())
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk", free > NEEDED_DISK, f"{free // 2**20} MB free in {folder}", "make 500 MB free, or choose another --data"
    )


def _writable(data: Path) -> Finding:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data / ".probe"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as defect:
        return Finding("data directory", False, f"{data}: {defect.strerror}", "choose a folder of yours with --data")
    return Finding("data directory", True, str(data))


def _loopback() -> Finding:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as defect:
        return Finding("loopback", False, str(defect.strerror), "bring the loopback interface up: ip link set lo up")
    return Finding("loopback", True, "127.0.0.1")


def _ports(ports: range) -> Finding:
    taken = [port for port in ports if not _is_free(port)]
    said = f"{ports[0]}–{ports[-1]} free" if not taken else f"taken: {', '.join(map(str, taken[:5]))}"
    return Finding("ports", not taken, said, "choose another block of 100 ports with --base-port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _server(label: str, url: str) -> Finding:
    remedy = f"start {label}, or leave its option out"
    try:
        parts = urlsplit(url)
        port = parts.port or {"amqp": 5672, "amqps": 5671}.get(parts.scheme, 5432)
    except ValueError as defect:
        return Finding(
            label, False, f"its URL cannot be read: {defect}", "give it as scheme://user:password@host:port/"
        )
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname or "127.0.0.1", port), timeout=3):
        return Finding(label, True, f"listens at {parts.hostname}:{port}")
    return Finding(label, False, f"nobody listens at {parts.hostname}:{port}", remedy)
