"""The supervisor of an embedded sandbox with real, tiny processes: what it starts, starts again, stops, and never leaves behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandroad.running.alone import alone
from sandroad.running.client import SandboxError
from sandroad.running.orders import is_running, order, socket_path
from sandroad.testing import ROOT

WORKER = """
import os, signal, time

def run(settings):
    with open(settings["begins"], "a") as file:
        file.write(f"{os.getpid()} {time.time()}\\n")
    if settings.get("dies"):
        raise SystemExit(3)
    if settings.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
"""
PARENT = """
import json, sys
from pathlib import Path
from sandroad.running import supervisor
from sandroad.running.alone import alone
from sandroad.running.client import SandboxError
from sandroad.running.one import write_settings
from sandroad.running.plan import Process

asked = json.load(sys.stdin)
data = Path(asked["data"])
supervisor.STOP_SECONDS = 1.0
supervisor.ROOT = data / "no-contracts"
plan = [Process(name, "", "block", "tiny_worker:run", settings) for name, settings in asked["workers"].items()]
def settle():
    with (data / "settles").open("a") as file:
        file.write("settled\\n")
try:
    with alone(data, patience=asked.get("patience", 10.0)):
        for process in plan:
            write_settings(data / process.name / "settings.json", process)
        supervisor.Supervisor(data, plan, lambda process: data / process.name / "settings.json", settle).run()
except SandboxError as refused:
    sys.exit(str(refused))
"""


def until(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Return what ``what`` returns once it is something; there is no event to wait for outside of the supervisor."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended stays listed where nobody asks for orphans' ends, as in a container."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass
class Running:
    data: Path
    parent: "subprocess.Popen[str]"

    def listing(self) -> dict[str, Any]:
        found: dict[str, Any] = order(self.data, "list")["processes"]
        return found

    def pid(self, name: str) -> int:
        return int(self.listing()[name]["pid"] or 0)

    def begins(self, name: str) -> list[float]:
        path = self.data / f"{name}.begins"
        return [float(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    code = tmp_path / "code"
    code.mkdir()
    (code / "tiny_worker.py").write_text(WORKER, encoding="utf-8")
    parents: list[subprocess.Popen[str]] = []

    def begin(
        data: Path | None = None, *, wait: bool = True, patience: float = 10.0, **workers: dict[str, Any]
    ) -> Running:
        data = data or tmp_path / "data"
        told = {name: {**extra, "begins": str(data / f"{name}.begins")} for name, extra in workers.items()}
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, env={**os.environ, "PYTHONPATH": f"{ROOT}:{code}"},
        )  # fmt: skip
        parents.append(parent)
        assert parent.stdin is not None
        parent.stdin.write(json.dumps({"data": str(data), "workers": told, "patience": patience}))
        parent.stdin.close()
        parent.stdin = None  # or communicate() would want to close it
        running = Running(data, parent)
        if wait:
            until(lambda: parent.poll() is not None or is_running(data))
            assert parent.poll() is None, parent.stdout.read() if parent.stdout else ""
            until(lambda: all(running.begins(name) for name in workers))
        return running

    yield begin
    for parent in parents:
        if parent.poll() is None:
            parent.terminate()
            parent.wait(timeout=20)


def test_a_killed_process_is_started_again(start: Callable[..., Running]) -> None:
    sandbox = start(one={}, two={})
    killed, other = sandbox.pid("one"), sandbox.pid("two")
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(sandbox.begins("one")) == 2)
    assert sandbox.pid("one") not in (0, killed)
    assert sandbox.listing()["one"]["restarts"] == 1
    assert sandbox.pid("two") == other, "the others are left alone"


def test_stop_keeps_a_process_stopped_until_start(start: Callable[..., Running]) -> None:
    sandbox = start(one={}, two={})
    stopped = sandbox.pid("one")
    order(sandbox.data, "stop", "one")
    assert not psutil.pid_exists(stopped), "stop answers when the process has gone"
    assert sandbox.listing()["one"] == {"pid": None, "wanted": False, "restarts": 0}
    os.kill(sandbox.pid("two"), signal.SIGKILL)  # a restart elsewhere does not bring it back
    until(lambda: len(sandbox.begins("two")) == 2)
    assert len(sandbox.begins("one")) == 1
    order(sandbox.data, "start", "one")
    until(lambda: len(sandbox.begins("one")) == 2)
    assert sandbox.pid("one")
    order(sandbox.data, "start", "one")
    assert len(sandbox.begins("one")) == 2, "starting what runs changes nothing"


def test_a_process_that_does_not_hear_is_killed_in_the_end(start: Callable[..., Running]) -> None:
    sandbox = start(deaf={"deaf": True})
    pid = sandbox.pid("deaf")
    order(sandbox.data, "stop", "deaf")
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("how", ["down", "SIGTERM", "SIGINT"])
def test_the_end_of_the_supervisor_is_the_end_of_all(start: Callable[..., Running], how: str) -> None:
    sandbox = start(one={}, two={}, deaf={"deaf": True})
    pids = [state["pid"] for state in sandbox.listing().values()]
    if how == "down":
        order(sandbox.data, "down")
    else:
        sandbox.parent.send_signal(getattr(signal, how))
    assert sandbox.parent.wait(timeout=20) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (sandbox.data / "pids.json").exists()
    assert not socket_path(sandbox.data).exists()
    with pytest.raises(SandboxError, match="start it with `sandroad up`"):
        order(sandbox.data, "list")


def test_a_process_that_dies_at_once_is_tried_again_ever_more_slowly(start: Callable[..., Running]) -> None:
    sandbox = start(doomed={"dies": True}, one={})
    spent = psutil.Process(sandbox.parent.pid).cpu_times()
    begins = until(lambda: (found := sandbox.begins("doomed")) and len(found) >= 3 and found)
    after = psutil.Process(sandbox.parent.pid).cpu_times()
    first, second = (later - earlier for earlier, later in pairwise(begins[:3]))
    assert 0.9 <= first < 2.0
    assert 1.9 <= second < 4.0
    assert (after.user + after.system) - (spent.user + spent.system) < 0.8, "waiting does not spin"
    assert sandbox.listing()["one"]["restarts"] == 0


def test_orders_that_make_no_sense_are_refused_and_change_nothing(start: Callable[..., Running]) -> None:
    sandbox = start(one={})
    with pytest.raises(SandboxError, match="no process 'three'; there are: one"):
        order(sandbox.data, "stop", "three")
    for words in (["dance"], ["stop"], [], ["stop", "one", "two"], ["x" * 5000]):
        with pytest.raises(SandboxError, match="orders are: list, down, settle, stop NAME, start NAME"):
            order(sandbox.data, *words)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.connect(str(socket_path(sandbox.data)))
        silent.sendall(b"\xff\xfe")
    assert sandbox.pid("one")


def test_settling_can_be_asked_for_again_and_is_repeated_when_it_was_killed(start: Callable[..., Running]) -> None:
    sandbox = start(one={})
    settled = sandbox.data / "settles"
    until(settled.exists)
    order(sandbox.data, "settle")
    until(lambda: settled.read_text().count("settled") == 2)


def test_a_killed_supervisor_takes_its_processes_along_and_blocks_no_other(start: Callable[..., Running]) -> None:
    sandbox = start(one={}, deaf={"deaf": True})
    pids = [state["pid"] for state in sandbox.listing().values()]
    sandbox.parent.kill()
    sandbox.parent.wait()
    assert socket_path(sandbox.data).exists(), "the stale socket of a killed supervisor"
    assert (sandbox.data / "pids.json").exists()
    assert not is_running(sandbox.data)
    again = start(one={})
    assert again.pid("one") not in pids
    assert not any(is_alive(pid) for pid in pids), "it began only when the last of the old ones had gone"


def test_two_supervisors_of_one_data_directory_are_refused(start: Callable[..., Running]) -> None:
    first = start(one={})
    second = start(one={}, wait=False)
    said, _ = second.parent.communicate(timeout=30)
    assert second.parent.returncode == 1
    assert said.strip() == (
        f"a sandbox runs in {first.data} already: `sandroad status` shows it, `sandroad down` stops it"
    )
    assert len(first.begins("one")) == 1
    assert first.pid("one")


def test_one_that_is_still_preparing_is_waited_for_and_then_named(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    data = tmp_path / "data"
    with alone(data):
        second = start(data, one={}, wait=False, patience=0.3)
        said, _ = second.parent.communicate(timeout=30)
    assert said.startswith(f"another `sandroad up` is at work in {data}, or processes of an earlier sandbox")
    assert not (data / "pids.json").exists()


def test_the_lock_of_a_data_directory_is_no_link_that_somebody_laid(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), alone(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_where_the_socket_belongs_is_named_and_left_alone(tmp_path: Path, start: Callable[..., Running]) -> None:
    path = socket_path(tmp_path / "data")
    path.write_text("not ours", encoding="utf-8")
    try:
        refused = start(one={}, wait=False)
        said, _ = refused.parent.communicate(timeout=30)
        assert said.strip() == (
            f"{path} is not a socket, orders could not be received: remove it, or set TMPDIR to a folder of yours"
        )
        assert path.read_text(encoding="utf-8") == "not ours"
        assert not refused.begins("one"), "nothing was started"
    finally:
        path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket that belongs to somebody else")
def test_somebody_elses_socket_is_neither_removed_nor_obeyed(tmp_path: Path, start: Callable[..., Running]) -> None:
    data = tmp_path / "data"
    path = socket_path(data)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as forged:
        forged.bind(str(path))
        forged.listen()
        os.chown(path, 65534, 65534)
        try:
            refused = start(data, one={}, wait=False)
            said, _ = refused.parent.communicate(timeout=30)
            assert said.startswith(f"{path} belongs to another user (65534), orders could not be received: remove it,")
            assert path.exists()
            with pytest.raises(SandboxError, match="no supervisor of yours listens there"):
                order(data, "list")
            assert not is_running(data)
        finally:
            path.unlink()


def test_orders_find_a_supervisor_that_had_another_temporary_folder(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path("/tmp") / f"sandroad-test-{os.getpid()}"
    short.mkdir(mode=0o700)
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TMPDIR", str(short))
            elsewhere.setattr("tempfile.tempdir", None)
            sandbox = start(one={})
        monkeypatch.setattr("tempfile.tempdir", None)
        assert sandbox.pid("one")
        order(sandbox.data, "down")
        sandbox.parent.wait(timeout=20)
    finally:
        short.rmdir()
