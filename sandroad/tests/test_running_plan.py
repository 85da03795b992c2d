"""The plan and the files made from it: everybody is told their own secrets and nobody else's, and only they can read them."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandroad.country.topology import Topology
from sandroad.running import compose
from sandroad.running.embedded import Options, prepare, process_folder
from sandroad.running.plan import Process
from sandroad.running.provision import Provision
from sandroad.running.secrets import write_private
from sandroad.testing import ROOT


def prepared(data: Path, country: Path = ROOT / "country") -> list[Process]:
    return prepare(Options(data, country), Topology.read(country), Provision("", "", data))


def files(data: Path, plan: list[Process]) -> dict[str, Path]:
    return {p.name: process_folder(data, p.member, p.name) / "settings.json" for p in plan if p.managed}


def secrets(data: Path) -> dict[str, str]:
    """All secrets of a sandbox by what they are for: ``management/NAME``, ``gateway/APP``, ``enrolment/GATEWAY``."""
    tokens = json.loads((data / "steward" / "tokens.json").read_text(encoding="utf-8"))
    others: dict[str, str] = json.loads((data / "steward" / "secrets.json").read_text(encoding="utf-8"))
    return {f"management/{name}": token for name, token in tokens.items()} | others


def test_each_settings_file_holds_the_secrets_of_its_own_process_and_no_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    topology = Topology.read(ROOT / "country")
    plan = prepared(data)
    own: dict[str, set[str]] = {"central": {"management/central"}}
    for member in topology.members:
        gateway = {f"management/{member.gateway}", f"enrolment/{member.gateway}"}
        own[member.gateway] = gateway | {f"gateway/{app.name}" for app in member.apps if app.services}
        for app in member.apps:
            own[app.name] = {f"management/{app.name}", f"gateway/{app.name}"}
    known = secrets(data)
    assert len(set(known.values())) == len(known), "no two are the same"
    assert min(len(value) for value in known.values()) >= 32
    for name, path in files(data, plan).items():
        text = path.read_text(encoding="utf-8")
        assert {of for of, value in known.items() if value in text} == own[name], name


def test_sandbox_json_and_the_processes_descriptions_hold_no_secret(tmp_path: Path) -> None:
    plan = prepared(tmp_path / "data")
    known = secrets(tmp_path / "data")
    said = (tmp_path / "data" / "sandbox.json").read_text(encoding="utf-8") + repr(plan)
    assert not [of for of, value in known.items() if value in said]


def test_administrators_urls_are_not_kept(tmp_path: Path) -> None:
    from sandroad.running.embedded import describe

    options = Options(
        tmp_path, ROOT / "country", amqp="amqp://admin:hush@host:1/", database="postgresql://a:hush@host/p"
    )
    assert "hush" not in json.dumps(describe(options, Topology.read(ROOT / "country"), []))


def test_every_file_is_for_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "not" / "there" / "yet"
    prepared(data)
    for path in [data, *data.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path.relative_to(data)}: {mode:o}"


def test_a_second_start_keeps_every_secret(tmp_path: Path) -> None:
    before = {name: path.read_bytes() for name, path in files(tmp_path, prepared(tmp_path)).items()}
    known = secrets(tmp_path)
    assert {name: path.read_bytes() for name, path in files(tmp_path, prepared(tmp_path)).items()} == before
    assert secrets(tmp_path) == known


def test_a_new_member_gets_secrets_and_the_others_keep_theirs(tmp_path: Path) -> None:
    country = Path(shutil.copytree(ROOT / "country", tmp_path / "country"))
    prepared(tmp_path / "data", country)
    known = secrets(tmp_path / "data")
    topology = yaml.safe_load((country / "topology.yaml").read_text(encoding="utf-8"))
    topology["members"].append({"id": "COM/SHOP", "name": "Shop", "gateway": "shop-gateway", "subsystems": ["TILL"]})
    (country / "topology.yaml").write_text(yaml.safe_dump(topology, sort_keys=False), encoding="utf-8")
    prepared(tmp_path / "data", country)
    assert secrets(tmp_path / "data").items() > known.items()
    assert secrets(tmp_path / "data").keys() - known.keys() == {"management/shop-gateway", "enrolment/shop-gateway"}


def test_a_block_that_others_run_is_reached_by_its_gateway_at_its_url(tmp_path: Path) -> None:
    country = Path(shutil.copytree(ROOT / "country", tmp_path / "country"))
    topology = yaml.safe_load((country / "topology.yaml").read_text(encoding="utf-8"))
    app = next(app for m in topology["members"] for app in m["apps"] if app["name"] == "civil-identity")
    del app["package"]
    app |= {
        "managed": False,
        "url": "http://127.0.0.1:8090/esignet/",
        "health": "/health",
        "issuer": "https://login.example",
    }
    (country / "topology.yaml").write_text(yaml.safe_dump(topology, sort_keys=False), encoding="utf-8")
    plan = {process.name: process for process in prepared(tmp_path / "data", country)}
    identity = plan["civil-identity"]
    assert not identity.managed
    assert identity.health_url == "http://127.0.0.1:8090/esignet/health"
    assert not (tmp_path / "data" / "members" / "GOV-CIVIL" / "civil-identity").exists()
    (service,) = [s for s in plan["civil-gateway"].settings["SANDROAD_SERVICES"] if s["code"] == "identity"]
    assert service["url"] == "http://127.0.0.1:8090/esignet/"
    assert plan["cash-transfer"].settings["SANDROAD_IDENTITY_ISSUER"] == "https://login.example", (
        "where browsers log in"
    )


def test_no_two_processes_listen_on_one_port(tmp_path: Path) -> None:
    settings: list[Any] = [p.settings for p in prepared(tmp_path)]
    roles = ("SANDROAD_PORT", "SANDROAD_PEER_PORT", "SANDROAD_MANAGEMENT_PORT")
    taken = [each[role] for each in settings for role in roles if role in each]
    assert len(set(taken)) == len(taken)
    assert all(18000 <= port < 18100 for port in taken)
    assert {each["SANDROAD_HOST"] for each in settings} == {"127.0.0.1"}


def test_a_private_file_is_written_whole_whatever_a_killed_writer_left(tmp_path: Path) -> None:
    left = tmp_path / "settings.json.new"
    left.write_text("half of", encoding="utf-8")
    left.chmod(0o666)
    write_private(tmp_path / "settings.json", "all")
    assert (tmp_path / "settings.json").read_text(encoding="utf-8") == "all"
    assert stat.S_IMODE((tmp_path / "settings.json").stat().st_mode) == 0o600
    assert not left.exists()


def test_a_private_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "settings.json.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        write_private(tmp_path / "settings.json", "all")
    assert not (tmp_path / "elsewhere").exists()


class TestTheComposeFile:
    """``docker-compose.yml`` is made from the topology."""

    text = compose.render(Topology.read(ROOT / "country"))
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]

    def test_it_is_the_one_that_is_committed(self) -> None:
        assert (ROOT / "docker-compose.yml").read_text(encoding="utf-8") == self.text, "run `sandroad compose`"

    def test_it_publishes_on_loopback_only(self) -> None:
        published = [port for service in self.services.values() for port in service.get("ports", ())]
        assert published
        assert all(port.startswith("127.0.0.1:") for port in published)
        assert not any(
            service.get("network_mode") == "host" or service.get("privileged") for service in self.services.values()
        )

    def test_it_holds_no_password(self) -> None:
        for name, service in self.services.items():
            for variable in service.get("environment", {}):
                assert not any(word in variable for word in ("PASS", "SECRET", "TOKEN", "KEY")), f"{name}: {variable}"
        assert "://" not in self.text, "no URL, so none with a password"

    def test_an_apps_volume_is_mounted_by_itself_and_by_init_only(self) -> None:
        for process in prepared_names():
            users = [
                name
                for name, service in self.services.items()
                if any(volume.split(":")[0] == process for volume in service.get("volumes", ()))
            ]
            assert sorted(users) == sorted(["init", process])

    def test_a_server_sees_its_own_administrators_password_and_not_the_others(self) -> None:
        for server in ("rabbitmq", "postgresql"):
            assert [volume.split(":")[0] for volume in self.services[server]["volumes"]] == [server, f"admin-{server}"]
            assert f"admin-{server}:/admin/{server}" in self.services["init"]["volumes"]

    def test_no_process_of_ours_can_gain_privileges_in_its_container(self) -> None:
        for name in (*prepared_names(), "init", "provision", "steward"):
            assert self.services[name]["security_opt"] == ["no-new-privileges:true"], name

    def test_every_process_has_a_container(self) -> None:
        assert set(prepared_names()) <= self.services.keys()


def prepared_names() -> list[str]:
    topology = Topology.read(ROOT / "country")
    return ["central", *(m.gateway for m in topology.members), *(a.name for _, a in topology.apps())]
