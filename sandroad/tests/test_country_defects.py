"""Every defect of a country's files is named with file, line and what would be right, and nothing else is said.

Each file of ``defects/country`` is one change to the country that is shipped: ``instead_of`` → ``stands`` (the first time that it
occurs), ``whole`` (the file's bytes, as Latin-1) or ``missing``; ``says`` is part of the complaint.
"""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sandroad import cli
from sandroad.country.documents import CountryError
from sandroad.country.files import check_files
from sandroad.testing import ROOT

DEFECTS = sorted((Path(__file__).parent / "defects" / "country").glob("*.yaml"))


@pytest.fixture
def country(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "country", tmp_path / "country"))


def complaints(folder: Path) -> list[str]:
    with pytest.raises(CountryError) as refused:
        check_files(folder)
    return refused.value.complaints


def test_the_country_that_is_shipped_is_sound(country: Path) -> None:
    check_files(country)


@pytest.mark.parametrize("defect", DEFECTS, ids=[path.stem for path in DEFECTS])
def test_a_defect_is_named_with_file_and_line(defect: Path, country: Path) -> None:
    case = yaml.safe_load(defect.read_text(encoding="utf-8"))
    path = country / case["file"]
    first_line = 1
    if case.get("missing"):
        path.unlink()
    elif "whole" in case:
        path.write_bytes(case["whole"].encode("latin-1"))
    else:
        before, found, after = path.read_text(encoding="utf-8").partition(case["instead_of"])
        assert found, "the defect no longer fits the country"
        path.write_text(before + case["stands"] + after, encoding="utf-8")
        first_line = before.count("\n") + 1
    said = complaints(country)
    fitting = [line for line in said if case["says"] in line]
    assert fitting, said
    named = re.match(rf"{re.escape(path.name)}:(\d+): ", fitting[0])
    assert named or case.get("missing"), fitting[0]
    if "instead_of" in case and named:
        # Whatever a complaint names starts in the changed lines, or is the object that they are part of.
        assert first_line - 8 <= int(named[1]) <= first_line + case["stands"].count("\n") + 1, fitting[0]


def test_all_complaints_about_all_files_come_at_once(country: Path) -> None:
    for name, old, new in (
        ("population.yaml", "low: 0.78", "low: 0.5"),
        ("planted.yaml", "village: Low Ford", "village: Nowhere"),
        ("agreement.yaml", "present: accounts", "present: acounts"),
    ):
        path = country / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert {line.split(":")[0] for line in complaints(country)} == {"population.yaml", "planted.yaml", "agreement.yaml"}


def test_a_country_of_too_many_processes_is_refused_with_the_number(country: Path) -> None:
    topology = yaml.safe_load((country / "topology.yaml").read_text(encoding="utf-8"))
    topology["members"] += [
        {"id": f"COM/SHOP-{i}", "name": f"Shop {i}", "gateway": f"shop-{i}-gateway", "subsystems": ["TILL"]}
        for i in range(20)
    ]
    (country / "topology.yaml").write_text(yaml.safe_dump(topology, sort_keys=False), encoding="utf-8")
    (said,) = complaints(country)
    assert re.fullmatch(r"topology\.yaml:\d+: this country needs \d{3} ports, a sandbox has 100", said)


def test_what_the_sandbox_tells_every_app_is_what_a_country_cannot_set() -> None:
    from sandroad.country.told import _plan
    from sandroad.country.topology import GIVEN, Topology

    topology = Topology.read(ROOT / "country")
    for process in _plan(topology):
        if process.kind in ("block", "usecase"):
            app = next(app for _, app in topology.apps() if app.name == process.name)
            own = {f"SANDROAD_{key.upper()}" for key in [*app.settings, *app.uses]}
            assert process.settings.keys() - own == {f"SANDROAD_{key.upper()}" for key in GIVEN}


@pytest.mark.parametrize("command", [["country", "check"], ["up", "--base-port", "31000"]], ids=["check", "up"])
def test_the_command_line_says_it_in_lines_and_without_a_stack_trace(
    command: list[str],
    country: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (country / "planted.yaml").unlink()
    words = ["sandroad", *command, "--country", str(country), "--data", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("sandroad: planted.yaml: there is no such file in")
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists(), "nothing was begun"


def test_checking_a_folder_needs_no_sandbox(country: Path) -> None:
    done = CliRunner().invoke(cli.cli, ["country", "check", "--country", str(country)])
    assert done.exit_code == 0, done.output
    assert f"the files in {country} are sound" in done.output
