"""Starts RabbitMQ and PostgreSQL for the tests: servers of their own, on free loopback ports, with private data.

``python -m tests.servers -- COMMAND…`` runs the command with their addresses in ``SANDROAD_TEST_AMQP`` and
``SANDROAD_TEST_POSTGRESQL``, and ends what it started. A server comes from a Docker image that is there or can be had, else
from installed binaries, else from Debian's packages where they may be installed. It says which, and what could not be had.
"""

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pg8000.dbapi
import pika

START_SECONDS = 120
RABBITMQ_IMAGE, POSTGRESQL_IMAGE = "rabbitmq:4-management", "postgres:17"


class NotStarted(Exception):
    """A server could not be had; the text says why."""


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def free_block(count: int = 100) -> int:
    """Return the first of ``count`` free ports in a row, below those that the system gives to outgoing connections."""
    for base in random.sample(range(20_000, 32_000, count), 100):
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(base, base + count):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return base
    raise NotStarted(f"no {count} free ports in a row")


@contextlib.contextmanager
def rabbitmq(say: Callable[[str], None]) -> Iterator[str]:
    """Run RabbitMQ with its management plugin; yield an administrator's URL."""
    amqp, management, epmd, dist = free_ports(4)
    password = secrets.token_hex(12)
    url = f"amqp://admin:{password}@127.0.0.1:{amqp}/?management=http://127.0.0.1:{management}"
    with contextlib.ExitStack() as stack:
        if _has_image(RABBITMQ_IMAGE):
            environment = {"RABBITMQ_DEFAULT_USER": "admin", "RABBITMQ_DEFAULT_PASS": password}
            stack.enter_context(_container(RABBITMQ_IMAGE, {5672: amqp, 15672: management}, environment))
            say(f"RabbitMQ: container of {RABBITMQ_IMAGE}")
        else:
            binary = _binary("rabbitmq-server", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], "rabbitmq-server", say)
            stack.enter_context(_local_rabbitmq(binary, amqp, management, epmd, dist, password))
            say(f"RabbitMQ: {binary}")
        _until(lambda: pika.BlockingConnection(pika.URLParameters(url.split("?")[0])).close(), "RabbitMQ")
        _until(lambda: socket.create_connection(("127.0.0.1", management), 1).close(), "RabbitMQ's management API")
        yield url


@contextlib.contextmanager
def postgresql(say: Callable[[str], None]) -> Iterator[str]:
    """Run PostgreSQL; yield an administrator's URL."""
    (port,) = free_ports(1)
    password = secrets.token_hex(12)
    with contextlib.ExitStack() as stack:
        if _has_image(POSTGRESQL_IMAGE):
            stack.enter_context(_container(POSTGRESQL_IMAGE, {5432: port}, {"POSTGRES_PASSWORD": password}))
            say(f"PostgreSQL: container of {POSTGRESQL_IMAGE}")
        else:
            versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
            binary = _binary("postgres", [str(v) for v in versions], "postgresql", say)
            stack.enter_context(_local_postgresql(Path(binary).resolve().parent, port, password))
            say(f"PostgreSQL: {binary}")

        def connect() -> None:
            pg8000.dbapi.connect("postgres", host="127.0.0.1", port=port, password=password, timeout=5).close()

        _until(connect, "PostgreSQL")
        yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"


def _has_image(image: str) -> bool:
    """Tell whether Docker answers and has the image, or can fetch it."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return False
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0:
        return True
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(["docker", "pull", "-q", image], capture_output=True, timeout=180).returncode == 0
    return False


@contextlib.contextmanager
def _container(image: str, ports: dict[int, int], environment: dict[str, str]) -> Iterator[None]:
    name = f"sandroad-test-{secrets.token_hex(4)}"
    published = [word for inside, outside in ports.items() for word in ("-p", f"127.0.0.1:{outside}:{inside}")]
    variables = [word for key, value in environment.items() for word in ("-e", f"{key}={value}")]
    command = ["docker", "run", "-d", "--rm", "--name", name, *published, *variables, image]
    started = subprocess.run(command, capture_output=True, text=True)
    if started.returncode != 0:
        raise NotStarted(f"docker run {image}: {started.stderr.strip()[:300]}")
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], capture_output=True)


def _binary(name: str, places: list[str], package: str, say: Callable[[str], None]) -> str:
    """Return a server's program, installed from Debian's packages if this user may."""
    for place in [*places, *(f for f in [shutil.which(name)] if f)]:
        if Path(place).exists():
            return place
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NotStarted(f"no {name} here, and it cannot be installed; the Debian package is {package}")
    say(f"installing {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The package would start a server of its own, on the well-known port: that is not ours to do.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    finally:
        if ours:
            policy.unlink()
    if done.returncode != 0:
        raise NotStarted(f"apt-get install {package}: {done.stderr.strip()[-300:]}")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True) if package == "postgresql" else []
    return (
        str(found[0]) if found else next(place for place in [*places, str(shutil.which(name))] if Path(place).exists())
    )


@contextlib.contextmanager
def _local_rabbitmq(binary: str, amqp: int, management: int, epmd: int, dist: int, password: str) -> Iterator[None]:
    with _private_folder("rabbitmq") as folder:
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n"
            f"default_user = admin\ndefault_pass = {password}\nlog.console = false\n",
            encoding="utf-8",
        )
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n", encoding="utf-8")
        environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"t{secrets.token_hex(3)}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        with _process([binary], environment, folder, None):
            yield
        # epmd outlives the server that started it; it is ours, on our own port
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], capture_output=True, env=environment)


@contextlib.contextmanager
def _local_postgresql(folder_of_binaries: Path, port: int, password: str) -> Iterator[None]:
    with _private_folder("postgresql") as folder:
        user = None
        if os.geteuid() == 0:
            user = "postgres"
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        (folder / "password").write_text(password, encoding="utf-8")
        if user:
            os.chown(folder / "password", account.pw_uid, account.pw_gid)
        init = [
            str(folder_of_binaries / "initdb"), "-U", "postgres", f"--pwfile={folder}/password", "--auth=scram-sha-256",
            "-E", "UTF8", "--locale=C.UTF-8", "-D", str(folder / "data"),
        ]  # fmt: skip
        made = subprocess.run(_as(user, init), capture_output=True, text=True, cwd=folder)
        if made.returncode != 0:
            raise NotStarted(f"initdb: {made.stderr.strip()[-300:]}")
        server = [
            str(folder_of_binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={folder}", "-c", "max_connections=300", "-c", "fsync=on",
        ]  # fmt: skip
        with _process(_as(user, server), dict(os.environ), folder, signal.SIGINT):
            yield


def _as(user: str | None, command: list[str]) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command] if user else command


@contextlib.contextmanager
def _private_folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"sandroad-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _process(
    command: list[str], environment: dict[str, str], folder: Path, ending: signal.Signals | None
) -> Iterator[None]:
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, ending or signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _until(attempt: Callable[[], object], what: str) -> None:
    """Return when ``attempt`` succeeds; a server that is starting has no other way to tell."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
            return
        except Exception as defect:
            if time.monotonic() > deadline:
                raise NotStarted(f"{what} did not answer within {START_SECONDS} s: {defect}") from defect
            time.sleep(0.2)


def main(command: list[str]) -> int:
    """Run ``command`` with both servers; what could not be had is said, and its tests then skip with that reason."""
    environment = dict(os.environ)

    def say(line: str) -> None:
        print(f"servers: {line}", flush=True)

    with contextlib.ExitStack() as stack:
        for name, start in (("SANDROAD_TEST_AMQP", rabbitmq), ("SANDROAD_TEST_POSTGRESQL", postgresql)):
            if environment.get(name):
                say(f"{name} is set: used as it is")
                continue
            try:
                environment[name] = stack.enter_context(start(say))
            except NotStarted as reason:
                say(f"NOT AVAILABLE: {reason}")
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(words[1:] if words[:1] == ["--"] else words))
