"""The commands of docs/evidence.md, run as they stand there on real containers."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from sandroad.testing import ROOT
from tests.journeys.conftest import Journey

(SCRIPT,) = re.findall(
    r"^```sh\n(.*?)^```", (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8"), flags=re.M | re.S
)
ALWAYS = {
    "message: ok",
    "signed properties: ok",
    "signature: ok",
    "certificate named in the signature: ok",
    "certificate path: ok",
    "not revoked: ok",
    "in the batch: ok",
    "Verification: OK",
}


def by_hand(container: Path, anchor: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FILE": str(container), "ANCHOR": str(anchor)}
    return subprocess.run(["bash", "-c", SCRIPT], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def containers(embedded: Journey) -> list[Path]:
    if not list((embedded.data / "evidence").rglob("*.asice")):
        embedded.run("demo", "cash-transfer")
    return sorted((embedded.data / "evidence").rglob("*.asice"))


def test_every_command_says_ok_for_requests_and_responses(embedded: Journey, containers: list[Path]) -> None:
    for container in containers[:10]:
        done = by_hand(container, embedded.data / "anchor.json")
        assert done.returncode == 0, f"{container.name}: {done.stdout} {done.stderr}"
        assert set(done.stdout.splitlines()) >= ALWAYS, done.stdout
        with zipfile.ZipFile(container) as archive:
            assert ("body: ok" in done.stdout) == ("attachment1" in archive.namelist())
        assert "businessCategory" in done.stdout


@pytest.mark.parametrize("entry", ["message.xml", "attachment1", "META-INF/signatures.xml", "META-INF/timestamp.tst"])
def test_a_changed_entry_ends_the_script(embedded: Journey, containers: list[Path], entry: str, tmp_path: Path) -> None:
    container = max(containers, key=lambda path: path.stat().st_size)
    broken = tmp_path / "broken.asice"
    with zipfile.ZipFile(container) as archive, zipfile.ZipFile(broken, "w") as changed:
        for info in archive.infolist():
            content = archive.read(info)
            middle = len(content) // 2
            if info.filename == entry:
                content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            changed.writestr(info, content)
    done = by_hand(broken, embedded.data / "anchor.json")
    assert done.returncode != 0, done.stdout
