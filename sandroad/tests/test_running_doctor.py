"""The doctor names what is missing and who brings it, and a sandbox's files that are not as they should be are named too."""

import json
import os
import shutil
import socket
from collections import namedtuple
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandroad import cli
from sandroad.running import doctor
from sandroad.running.client import Running, Sandbox, SandboxError
from sandroad.running.doctor import Finding, examine
from sandroad.running.settle import silent_others, wait_until_healthy

Usage = namedtuple("Usage", "total used free")


def findings(
    data: Path, ports: range = range(0), *, running: bool = True, amqp: str = "", database: str = ""
) -> dict[str, Finding]:
    return {f.what: f for f in examine(data, ports, running=running, amqp=amqp, database=database)}


def test_a_sound_machine_has_nothing_to_complain_of(tmp_path: Path, free_port: int) -> None:
    found = findings(tmp_path, range(free_port, free_port + 1), running=False)
    assert found.keys() == {"Python", "SQLite", "disk", "data directory", "loopback", "ports"}
    assert all(finding.ok for finding in found.values()), found


def test_a_taken_port_is_named_with_another_block_as_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = findings(tmp_path, range(port, port + 1), running=False)["ports"]
    assert not found.ok
    assert found.said == f"taken: {port}"
    assert "--base-port" in found.remedy


def test_a_running_sandbox_does_not_complain_of_its_own_ports(tmp_path: Path) -> None:
    assert "ports" not in findings(tmp_path, running=True)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(10**9, 10**9 - 3 * 2**20, 3 * 2**20))
    found = findings(tmp_path / "not" / "yet")["disk"]
    assert not found.ok
    assert found.said == f"3 MB free in {tmp_path}"
    assert "500 MB" in found.remedy


def test_a_data_directory_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    found = findings(tmp_path / "file" / "data")["data directory"]
    assert not found.ok
    assert found.said == f"{tmp_path / 'file' / 'data'}: Not a directory"
    assert "--data" in found.remedy


if os.geteuid() != 0:  # root may write everywhere, so for root there is nothing to find

    def test_a_read_only_data_directory_is_named(tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        found = findings(tmp_path)["data directory"]
        assert found.said == f"{tmp_path}: Permission denied"


def test_a_machine_without_loopback_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unplugged(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(doctor.socket, "socket", Unplugged)
    found = findings(tmp_path)["loopback"]
    assert found.said == "Cannot assign requested address"
    assert found.remedy.endswith("ip link set lo up")


@pytest.mark.parametrize("label", ["RabbitMQ", "PostgreSQL"])
def test_a_server_that_does_not_listen_is_named_with_its_place(label: str, tmp_path: Path, free_port: int) -> None:
    scheme, option = {"RabbitMQ": ("amqp", "amqp"), "PostgreSQL": ("postgresql", "database")}[label]
    found = findings(tmp_path, **{option: f"{scheme}://user:hush@127.0.0.1:{free_port}/"})[label]  # type: ignore[arg-type]
    assert not found.ok
    assert found.said == f"nobody listens at 127.0.0.1:{free_port}"
    assert found.remedy == f"start {label}, or leave its option out"


def test_a_servers_url_that_cannot_be_read_is_named_without_its_password(tmp_path: Path) -> None:
    found = findings(tmp_path, amqp="amqp://user:hush@host:port/")["RabbitMQ"]
    assert not found.ok
    assert "its URL cannot be read" in found.said
    assert "hush" not in found.said + found.remedy


def test_the_command_says_what_is_wrong_and_ends_with_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        base = min(port, 65_400)
        done = CliRunner().invoke(cli.cli, ["doctor", "--data", str(tmp_path), "--base-port", str(base)])
    assert done.exit_code == 1, done.output
    assert f"NO  ports: taken: {port}" in done.output
    assert "→ choose another block of 100 ports with --base-port" in done.output


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"processes": []}', "\x00"])
@pytest.mark.parametrize("command", [["status"], ["clock", "show"], ["down"], ["doctor"], ["demo", "cash-transfer"]])
def test_a_sandbox_json_that_says_nothing_ends_no_command_in_a_stack_trace(
    text: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sandbox.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["sandroad", *command, "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("sandroad: ")
    assert str(tmp_path) in said


@pytest.mark.parametrize("command", [["status"], ["clock", "show"], ["down"], ["fault", "list"], ["logs", "nobody"]])
def test_where_no_sandbox_is_the_way_to_start_one_is_named(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sandroad", *command, "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_process_that_ends_again_and_again_is_told_with_its_last_words(tmp_path: Path, free_port: int) -> None:
    described = {"instance": "SANDBOX", "country": "", "transport": "direct", "processes": []}
    (tmp_path / "sandbox.json").write_text(json.dumps(described), encoding="utf-8")
    (tmp_path / "steward").mkdir()
    (tmp_path / "steward" / "tokens.json").write_text("{}", encoding="utf-8")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "doomed.log").write_text("first\nSettingsError: SANDROAD_X is not set\n\n", encoding="utf-8")
    url = f"http://127.0.0.1:{free_port}"
    doomed = Running("doomed", "GOV/X", "block", url, url, url, f"{url}/-/health")
    sandbox = Sandbox(tmp_path)

    class Polled(list[Running]):
        """Between two looks, the supervisor has had to start it three times more."""

        def __iter__(self):
            yield from super().__iter__()
            (tmp_path / "pids.json").write_text(
                json.dumps({"processes": {"doomed": {"restarts": 3}}}), encoding="utf-8"
            )

    with pytest.raises(
        SandboxError, match=r"^not healthy: doomed ended three times: SettingsError: SANDROAD_X is not set$"
    ):
        wait_until_healthy(sandbox, Polled([doomed]), longest=20)


def test_what_others_run_is_named_when_it_is_silent_and_not_waited_for(tmp_path: Path) -> None:
    doors = [socket.socket(), socket.socket()]
    for door in doors:
        door.bind(("127.0.0.1", 0))  # taken, but nobody listens
    urls = [f"http://127.0.0.1:{door.getsockname()[1]}/health" for door in doors]
    product, ours = (
        Running(name, "GOV/LANDS", "block", url, url, url, url, managed=managed)
        for name, url, managed in (("product", urls[0], False), ("ours", urls[1], True))
    )
    processes = [asdict(product), asdict(ours)]
    described = {"instance": "SANDBOX", "country": "", "transport": "direct", "processes": processes}
    (tmp_path / "sandbox.json").write_text(json.dumps(described), encoding="utf-8")
    (tmp_path / "steward").mkdir()
    (tmp_path / "steward" / "tokens.json").write_text("{}", encoding="utf-8")
    sandbox = Sandbox(tmp_path)
    wait_until_healthy(sandbox, [product], longest=0)
    assert silent_others(sandbox) == [
        f"product, which others run, is not there yet ({urls[0]}: no answer); its gateway waits for it"
    ]
    with pytest.raises(SandboxError, match="ours: no answer"):
        wait_until_healthy(sandbox, [product, ours], longest=0)
