"""The parent of an embedded sandbox: imports everything once, forks a process per app, restarts what dies, ends what it began.

The parent never opens a connection, makes a key or starts a thread: what is forked from it shares its memory and nothing else.
It listens on one Unix socket for ``stop NAME``, ``start NAME``, ``list`` and ``down`` (see ``orders``). When it is killed, its
children notice and end.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandroad.contracts import Contract
from sandroad.running.client import SandboxError
from sandroad.running.embedded import ROOT
from sandroad.running.one import serve_one
from sandroad.running.orders import socket_path
from sandroad.running.plan import Process
from sandroad.running.secrets import private_folder, write_private

STOP_SECONDS = 15.0
RESTART_WAIT = 0.5
LONGEST_RESTART_WAIT = 10.0


@dataclass
class Child:
    """One process that should run, and how it is doing."""

    name: str
    work: Callable[[], None]
    pid: int = 0
    wanted: bool = True
    restarts: int = 0
    started: float = 0.0
    due: float = 0.0


class Supervisor:
    """Runs ``plan`` until told to stop. ``settle`` is what the steward does once, in a process of its own."""

    def __init__(
        self, data: Path, plan: list[Process], settings: Callable[[Process], Path], settle: Callable[[], None]
    ) -> None:
        self._data = data
        self._plan = [process for process in plan if process.managed]
        self._settle = settle
        self._children = {p.name: Child(p.name, functools.partial(serve_one, settings(p))) for p in self._plan}
        self._settler = 0
        self._settle_again = False
        self._ending = False
        self._reader, self._writer = socket.socketpair()
        self._lifeline, self._life = os.pipe()  # nobody writes: its end is the parent's end
        self._own: list[socket.socket] = [self._reader, self._writer]

    def run(self) -> None:
        """Start all, and stay until ``down``, SIGTERM or SIGINT."""
        for process in self._plan:
            importlib.import_module(process.run.split(":")[0])
        for contract in sorted(ROOT.glob("contracts/*/openapi.yaml")):
            Contract.load(contract)  # compiled once here, so that what is forked shares it
        gc.collect()
        gc.freeze()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)
        with _listening(self._data) as orders, selectors.DefaultSelector() as selector:
            self._own.append(orders)
            selector.register(orders, selectors.EVENT_READ)
            selector.register(self._reader, selectors.EVENT_READ)
            for child in self._children.values():
                self._fork(child)
            self._settler = self._fork_settler()
            self._record()
            while not self._ending:
                self._turn(selector, orders)
            self._end()

    def _turn(self, selector: selectors.BaseSelector, orders: socket.socket) -> None:
        for key, _ in selector.select(timeout=self._until_next_start()):
            if key.fileobj is orders:
                self._answer(orders)
            else:
                self._wait_for_signal(0)
        self._reap()
        if self._settle_again and not self._settler and not self._ending:
            self._settle_again, self._settler = False, self._fork_settler()
        for child in self._children.values():
            if child.wanted and not child.pid and child.due <= time.monotonic():
                self._fork(child)
                self._record()

    def _wait_for_signal(self, seconds: float) -> None:
        """Return when a signal has come (a child's end is one), or after ``seconds``."""
        if select.select([self._reader], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(4096)

    def _until_next_start(self) -> float | None:
        waiting = [child.due for child in self._children.values() if child.wanted and not child.pid]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _on_signal(self, number: int, _frame: Any) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._ending = True

    def _fork(self, child: Child) -> None:
        child.started = time.monotonic()
        child.pid = self._forked(child.name, child.work)

    def _fork_settler(self) -> int:
        return self._forked("settle", self._settle)

    def _forked(self, name: str, work: Callable[[], None]) -> int:
        """Fork; the child does its work with its output in its own log, and never returns."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)
            self._let_go()
            _own_output(self._data / "logs" / f"{name}.log")
            threading.Thread(target=_end_with_parent, args=[self._lifeline], daemon=True).start()
            work()
            status = 0
        except SystemExit as wish:
            status = wish.code if isinstance(wish.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _let_go(self) -> None:
        """In a child: close what is the parent's, or orders would go to a socket on which nobody listens once the parent is gone."""
        for each in self._own:
            each.close()
        os.close(self._life)

    def _reap(self) -> None:
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self._settler:
                self._settler = 0  # the number may be somebody else's from now on
                self._settle_again |= os.WIFSIGNALED(status)
            for child in self._children.values():
                if child.pid == pid:
                    child.pid, changed = 0, True
                    lived = time.monotonic() - child.started
                    child.restarts = child.restarts + 1 if child.wanted else child.restarts
                    wait = (
                        RESTART_WAIT
                        if lived > 5
                        else min(LONGEST_RESTART_WAIT, RESTART_WAIT * 2 ** min(child.restarts, 6))
                    )
                    child.due = time.monotonic() + wait
        if changed:
            self._record()

    def _answer(self, orders: socket.socket) -> None:
        connection, _ = orders.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(2)
            words = connection.recv(65536).decode(errors="replace").split()
            connection.sendall(json.dumps(self._obey(words)).encode())

    def _obey(self, words: list[str]) -> dict[str, Any]:
        match words:
            case ["list"]:
                return {"ok": True, "processes": self._listing()}
            case ["down"]:
                self._ending = True
                return {"ok": True}
            case ["settle"]:
                self._settle_again = True
                return {"ok": True}
            case ["stop" | "start", name] if name not in self._children:
                return {"ok": False, "reason": f"no process {name!r}; there are: {', '.join(self._children)}"}
            case ["stop", name]:
                self._stop([self._children[name]])
                self._record()
                return {"ok": True}
            case ["start", name]:
                child = self._children[name]
                child.wanted, child.due = True, 0.0
                return {"ok": True}
        return {"ok": False, "reason": "orders are: list, down, settle, stop NAME, start NAME"}

    def _listing(self) -> dict[str, dict[str, Any]]:
        return {
            c.name: {"pid": c.pid or None, "wanted": c.wanted, "restarts": c.restarts} for c in self._children.values()
        }

    def _record(self) -> None:
        """Write who runs under which pid, for the command line."""
        known = {"supervisor": os.getpid(), "socket": str(socket_path(self._data)), "processes": self._listing()}
        write_private(self._data / "pids.json", json.dumps(known))

    def _stop(self, children: list[Child]) -> None:
        for child in children:
            child.wanted = False
            _signal(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(child.pid for child in children):
            self._reap()
            if time.monotonic() > deadline:
                for child in children:
                    _signal(child.pid, signal.SIGKILL)
            if any(child.pid for child in children):
                self._wait_for_signal(0.2)

    def _end(self) -> None:
        _signal(self._settler, signal.SIGTERM)
        gateways = {process.name for process in self._plan if process.kind in ("gateway", "central")}
        self._stop([child for child in self._children.values() if child.name not in gateways])
        self._stop([child for child in self._children.values() if child.name in gateways])
        (self._data / "pids.json").unlink(missing_ok=True)


@contextlib.contextmanager
def _listening(data: Path) -> Iterator[socket.socket]:
    """Listen for orders. Raises ``SandboxError`` if something that is not ours to remove is in the way."""
    path = socket_path(data)
    remedy = "remove it, or set TMPDIR to a folder of yours"
    with contextlib.suppress(FileNotFoundError):
        there = path.lstat()
        if there.st_uid != os.getuid():
            raise SandboxError(
                f"{path} belongs to another user ({there.st_uid}), orders could not be received: {remedy}"
            )
        if not stat.S_ISSOCK(there.st_mode):
            raise SandboxError(f"{path} is not a socket, orders could not be received: {remedy}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as defect:
        raise SandboxError(
            f"no orders can be received at {path}: {defect}; set TMPDIR to a folder of yours"
        ) from defect
    finally:
        os.umask(before)
    listener.listen(16)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _end_with_parent(lifeline: int) -> None:
    """In a child: wait for the parent's end, then end as if it had asked; else ports and databases would stay in use."""
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _own_output(path: Path) -> None:
    private_folder(path.parent)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _signal(pid: int, number: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
